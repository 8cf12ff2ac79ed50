import type { LogicalPort, LogicalSwitch, RouterPort } from '../model/objects.ts';
import type { Frame } from './frame.ts';
import type { PacketState } from './tracker.ts';

/** A packet somewhere on its way. Values: each step makes the next one. */
export interface Packet {
  readonly frame: Frame;
  /** Where it is computed now: the host where it came in, or its connection's anchor. */
  readonly host: string;
  /** Routers entered so far. */
  readonly hops: number;
  /** What conntrack said last; absent where none was asked. */
  readonly state?: PacketState;
  /** Interface of a workload, to which a switch never gives it back; absent behind a router. */
  readonly from?: { readonly port: string; readonly host: string };
  /** The outside of an L2 gateway by which it came in: its source is translated with the ports of that. */
  readonly gatewayPort?: string;
  /** It came in here, where packets may be larger than tunnels take. */
  readonly isLarger: boolean;
  /** It came through a tunnel to its anchor, and may go into no other. */
  readonly isFromTunnel: boolean;
  /** Its destination was a VIP until the client's port translated it. */
  readonly isViaVip: boolean;
  /** Its destination was a VIP until this member's host translated it; the member's port. */
  readonly vipMember?: string;
  /** A member that calls its own VIP gets it back. */
  readonly isToSelf: boolean;
  /** An uplink has let it in only as part of a known connection (docs/design/layer3.md, §5a). */
  readonly isKnownOnly: boolean;
  /** The router's own, at its first hop. */
  readonly isRouters: boolean;
}

const GROUP_BIT = 0x0100_0000_0000;

/** Its Ethernet source in a tunnel: the group bit, which no source has, says that it may only be of a known connection. */
export function sourceOf({ frame: { src }, isKnownOnly }: Packet): number {
  return isKnownOnly ? src + GROUP_BIT : src;
}

/** Where a packet goes on. */
export type Leg =
  /** In a switch, at step 6 of docs/design/layer2.md. */
  | { readonly at: 'switch'; readonly packet: Packet; readonly switch: LogicalSwitch; readonly vlan: number }
  /** Into a router, at step 1 of docs/design/layer3.md §6; `member`: its VIP was shared out to this port before the tunnel. */
  | { readonly at: 'router'; readonly packet: Packet; readonly port: RouterPort; readonly member?: string }
  /** At a port in every place that it has (docs/design/layer2.md step 7). */
  | {
      readonly at: 'port';
      readonly packet: Packet;
      readonly switch: LogicalSwitch;
      readonly port: LogicalPort;
      readonly vlan: number;
    };
