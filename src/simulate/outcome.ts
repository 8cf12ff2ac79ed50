import type { KindName } from '../model/kind.ts';

/** Why a frame goes no further. The words are those of docs/design/layer2.md; `compile` uses the same. */
export const DROP_REASONS = {
  'port-down': 'the port is administratively down',
  'switch-down': 'the switch is administratively down',
  'not-bound': 'no host has the interface of the port',
  'not-active': 'the port is active on another host; this interface only claims it',
  tagged: 'the frame carries a VLAN tag where none is allowed',
  vlan: "the frame's VLAN is not allowed at this port",
  'spoofed-mac': 'the source MAC address does not belong to the port',
  'spoofed-arp': 'the ARP sender does not belong to the port',
  'spoofed-ip': 'the source IP address does not belong to the port',
  'spoofed-nd': 'the neighbour discovery message names an address that does not belong to the port',
  probe: 'a probe for duplicate addresses: not needed, addresses are guarded',
  'dhcp-server': 'a workload may not act as DHCP server',
  router: 'a workload may not send router advertisements or redirects',
  rule: 'a rule drops it',
  policy: 'no rule accepts it, and the policy of the chain is drop',
  hairpin: 'the destination is the port that sent it',
  'unknown-mac': 'no port has the destination MAC address',
  nobody: 'nobody else is on the switch',
  'no-tunnel': 'the port is on a host of another tunnel zone',
  'tunnel-source': 'the outer source is not a host of the zone',
  'tunnel-key': 'the tunnel key is not known here, or the destination MAC address does not fit it',
} as const;
export type DropReason = keyof typeof DROP_REASONS;

export interface ObjectRef {
  readonly kind: KindName;
  readonly id: string;
}

export interface Drop {
  readonly reason: DropReason;
  /** The host where it happens. */
  readonly host: string;
  /** What decided: the rule, chain, port or switch. */
  readonly by: ObjectRef;
  /** The port that it was on its way to, once that was known. */
  readonly to?: string;
}

export interface Delivery {
  readonly port: string;
  readonly host: string;
  /** VLAN id that the frame carries when the workload gets it; 0 for none. */
  readonly tag: number;
}

/** The agent of the ingress host answers. */
export type AgentService = 'dhcp' | 'dhcp6' | 'ra';

/** Answered by the switch itself, back to the sender. */
export interface Answer {
  readonly kind: 'arp' | 'nd';
  readonly port: string;
  readonly mac: string;
  readonly address: string;
}

/** One line of the story, in the order in which it happens. */
export interface Step {
  readonly host: string;
  readonly about: ObjectRef;
  readonly text: string;
}

/** Everything that happens to one frame. Where it goes to many, each has a delivery or a drop. */
export interface Outcome {
  readonly deliveries: readonly Delivery[];
  readonly drops: readonly Drop[];
  readonly answer?: Answer;
  readonly agent?: AgentService;
  /** The frame teaches that its source lives behind the port. */
  readonly learns?: { readonly vlan: number; readonly mac: string };
  /** The frame moves the port's traffic to the ingress host. */
  readonly activates: boolean;
  /** Rules that log it, in order. */
  readonly logs: readonly string[];
  readonly steps: readonly Step[];
}
