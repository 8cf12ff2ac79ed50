import type { KindName } from '../model/kind.ts';
import type { Connection } from './connections.ts';
import type { Frame } from './frame.ts';

/** Why a frame goes no further within its switch: the words of docs/design/layer2.md; `compile` uses the same. */
export const FRAME_DROP_REASONS = {
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

/** Why a packet goes no further at connection tracking, groups, routers, translation: those of docs/design/layer3.md. */
export const PACKET_DROP_REASONS = {
  invalid: 'it belongs to no connection and can begin none',
  group: 'no rule of the security groups allows the connection',
  rejected: 'it is refused, and the sender is told',
  'no-member': 'no member of the load balancer serves',
  'unknown-connection': 'it may only go on as part of a known connection, and is of none that is known here',
  'connection-limit': 'the address has as many connections as it may have, and this would be a new one',
  'router-down': 'the router or its port is administratively down',
  'not-ip': 'only IPv4 and IPv6 go through a router',
  'too-many-hops': 'it went through 16 routers',
  'not-translated': 'nothing translates its destination, and without that it leads nowhere here',
  agent: "the host's agent takes it: it answers what the agent asked",
  speaker: 'it is for the BGP speaker of the gateway',
  own: 'it is for the router itself, which does not serve that',
  ttl: 'its time to live has run out',
  'route-policy': 'a policy route drops it',
  blackhole: 'the route is a black hole',
  'no-route': 'no route leads there',
  'too-big': 'it is larger than the next network, or the tunnels, take',
  'no-ports': 'this host has no free port of the translated address',
  'no-neighbour': 'nobody has the address of the next hop',
  'source-check': 'packets from its source do not come in there',
  prefilter: 'a pre-filter drops it',
  'tunnel-loop': 'it came through a tunnel and would have to go into another',
} as const;

/** Why a frame goes no further. */
export const DROP_REASONS = { ...FRAME_DROP_REASONS, ...PACKET_DROP_REASONS };
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
  /** What it gets, but for the outer tag: MACs, TTL, addresses and ports as they became on the way. `writeFrame` makes bytes of it. */
  readonly frame: Frame;
}

/** The agent of the ingress host answers. */
export type AgentService = 'dhcp' | 'dhcp6' | 'ra' | 'dns';

/** What a host's agent is asked for about a packet that goes no further by itself (docs/design/layer3.md, §6). */
export type RequestService =
  | 'unreachable'
  | 'ttl'
  | 'too-big'
  | 'port-unreachable'
  | 'reset'
  | 'reject'
  | 'resolve'
  /** An ARP reply or neighbour advertisement for a router: what its agent asked for. */
  | 'neighbour'
  /** A member's answer to a probe of its health. */
  | 'health'
  /** What a next hop outside answers to a probe. */
  | 'next-hop'
  /** What another attachment of an L2 gateway of the switch says of itself. */
  | 'hello';

export interface AgentRequest {
  readonly service: RequestService;
  readonly host: string;
  /** The router port by which it came in (`resolve`: by which it would leave), or the port whose chain or balancer refused it. */
  readonly at: ObjectRef;
  /** Of `resolve`: whose MAC is wanted. */
  readonly address?: string;
  /** Nothing is sent back: the packet is an ICMP error, a later fragment, or from or to a group address. */
  readonly isSilent: boolean;
}

/** A packet that is handed to its connection's anchor through a tunnel. */
export interface Anchoring {
  readonly from: string;
  readonly to: string;
  readonly routerPort: string;
  /** As it travels: the destination MAC is the router port's, or marks the member of a VIP that was chosen. */
  readonly frame: Frame;
}

/** A copy that a mirror made; it goes where it goes, whatever becomes of the frame. */
export interface Copy {
  readonly mirror: string;
  /** The host where it is made, and the port that sent or gets the frame. */
  readonly from: string;
  readonly port: string;
  readonly frame: Frame;
  /** VLAN id of its outer tag; 0 for none. */
  readonly tag: number;
  /** One of both: where it is delivered, or the address of the underlay that it is sent to with this tunnel key. */
  readonly to?: { readonly port: string; readonly host: string };
  readonly collector?: { readonly address: string; readonly key: number };
}

/** Answered by the switch itself, back to the sender. */
export interface Answer {
  readonly kind: 'arp' | 'nd';
  /** The port, router port, floating address, router (for an SNAT address) or load balancer that has the address. */
  readonly by: ObjectRef;
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
  readonly requests: readonly AgentRequest[];
  /** Connections that it made or changed, whole: `Connections.with(outcome.commits)` is the state after it. */
  readonly commits: readonly Connection[];
  /** Tunnels that it went through to a connection's anchor, with the router port's key (docs/design/layer3.md, §7 and §8). */
  readonly anchored: readonly Anchoring[];
  readonly copies: readonly Copy[];
  /** The frame teaches that its source lives behind the port. */
  readonly learns?: { readonly vlan: number; readonly mac: string };
  /** The frame moves the port's traffic to the ingress host. */
  readonly activates: boolean;
  /** Rules that log it, in order. */
  readonly logs: readonly string[];
  readonly steps: readonly Step[];
}
