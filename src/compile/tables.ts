import type { FieldName } from '../openflow/fields.ts';

/**
 * The pipeline as data: its tables, in the order in which a frame meets them, each with one job. Everything else refers
 * to tables by these names. docs/pipeline.md is generated from here.
 */

/** Why a frame ends: the words that `weft trace` prints (docs/design/layer2.md). */
export const REASONS = {
  'shut-off': 'the port sprayed frames that need the agent, and is shut off for a while',
  loop: 'the outside leads back into the switch: the attachment of the L2 gateway is cut',
  'port-down': 'the port is administratively down',
  'switch-down': 'the switch is administratively down',
  'not-active': 'the port is active on another host, and was not asked to move here',
  importing: 'the port has just moved here, and this may be a connection that is still on its way here',
  tagged: 'a VLAN tag where none may be',
  vlan: 'a VLAN that the port does not carry',
  'spoofed-mac': 'an Ethernet source that the port does not own, or an interface that is no port',
  'spoofed-arp': 'ARP for an address that the port does not own',
  'spoofed-ip': 'an IP source that the port does not own',
  'spoofed-nd': 'neighbour discovery for an address that the port does not own',
  probe: 'a probe for duplicates, for which there is no need',
  'dhcp-server': 'a DHCP answer from a workload',
  router: 'a router advertisement or redirect from a workload',
  rule: 'a rule says so',
  policy: 'no rule decided, and the chain drops',
  answered: 'it was answered on this host',
  agent: 'the agent answers it',
  'unknown-mac': 'nobody has the destination',
  hairpin: 'it would go back to where it came from',
  nobody: 'there is nobody else',
  'not-bound': 'the destination is on no host',
  'no-tunnel': 'no tunnel leads from this host to the other',
  'tunnel-source': 'a tunnel packet from an address that is no host of our zone',
  'tunnel-key': 'a tunnel key that is unknown here, or that the inner destination does not fit',
  'tunnel-loop': 'from a tunnel into a tunnel',
  invalid: 'conntrack cannot make sense of it',
  group: 'no rule of the security groups allows the connection',
  rejected: 'a rule rejects it, and says so to the sender',
  'no-member': 'no member of the load balancer serves',
  'unknown-connection': 'it may only be of a known connection, and nobody here knows that',
  'router-down': 'the router or its port is administratively down',
  'not-ip': 'a router takes IP only',
  'too-many-hops': 'more than 16 routers on its way',
  'not-translated': 'from outside, and to no address that is translated',
  own: 'the router itself has no use for it',
  speaker: 'it is for the BGP speaker of the gateway',
  ttl: 'its time to live is over',
  'route-policy': 'a policy route drops it',
  blackhole: 'its route is a blackhole',
  'no-route': 'the router knows no way',
  'too-big': 'larger than the next network, or the tunnels, take: for the agent, who may cut it',
  'no-ports': 'no port of the translated address is left',
  'conntrack-full': 'the port has as many connections as one may have',
  'connection-limit': 'the address has as many connections as it may have',
  'no-neighbour': 'nobody answers for the next hop',
  'source-check': 'its source cannot come in by this router port',
  prefilter: 'the pre-filter of where it would go drops it',
} as const;
export type Reason = keyof typeof REASONS;

/**
 * How contributions of several units with the same priority and match become one flow. `equal`: they have to agree.
 * `conjunction`: their `conjunction` actions are put together (one address in ten sets is one flow); others have to agree.
 */
export type MergeRule = 'equal' | 'conjunction';

export interface Table {
  readonly number: number;
  /** One line: what a frame learns here. */
  readonly job: string;
  readonly merge: MergeRule;
  /** What it means when no flow fits; absent: the table has a flow for that, or a miss cannot be. */
  readonly missReason?: Reason;
  /** Fields for `Flow_Table:prefixes`: with these, sources that nobody owns cost few megaflows. */
  readonly prefixes?: readonly FieldName[];
}

export const TABLES = {
  classify: {
    number: 0,
    job: 'which port (or tunnel) it came from, and may that port send at all',
    merge: 'equal',
    prefixes: ['tun_src', 'ip_dst', 'ipv6_dst'],
  },
  vlan: { number: 1, job: 'which VLAN a frame of a VLAN-aware switch is in', merge: 'equal' },
  tunnel: {
    number: 2,
    job: 'where a tunnel key goes on',
    merge: 'equal',
    missReason: 'tunnel-key',
    prefixes: ['tun_id'],
  },
  source: { number: 3, job: 'the Ethernet source, where classify could not ask it', merge: 'equal' },
  guard: {
    number: 4,
    job: "the IP and ARP source: does the port own it, or is it a peer of a gateway's daemon",
    merge: 'equal',
    prefixes: ['ip_src', 'ip_dst', 'ipv6_src'],
  },
  service: { number: 5, job: 'what no workload may say; neighbour discovery goes on to be checked', merge: 'equal' },
  linkLayer: { number: 6, job: 'the link-layer address inside neighbour discovery', merge: 'equal' },
  ndTarget: { number: 7, job: 'the address that a neighbour advertisement is about', merge: 'equal' },
  learn: { number: 8, job: 'addresses behind ports without port security', merge: 'equal' },
  vip: { number: 9, job: 'is it for a virtual address that clients of this switch reach', merge: 'equal' },
  track: { number: 10, job: "what the connection tracking of the sender's port knows", merge: 'equal' },
  tracked: { number: 11, job: 'new, known, a reply, or invalid', merge: 'equal' },
  fromGroup: { number: 12, job: 'may the groups of the sender have this connection', merge: 'equal' },
  group: {
    number: 13,
    job: 'the rules of security groups, by the original direction',
    merge: 'conjunction',
    prefixes: ['ct_nw_src', 'ct_nw_dst', 'ct_ipv6_src'],
  },
  fromPort: { number: 14, job: 'the chain for frames that the port sends', merge: 'equal' },
  chainStart: { number: 15, job: 'runs the segments of one chain, one after the other', merge: 'equal' },
  chain: { number: 16, job: 'the rules of one segment of one chain', merge: 'conjunction' },
  fromVerdict: { number: 17, job: 'what the chain decided', merge: 'equal' },
  commit: { number: 18, job: "remembers a new connection in the zone of the sender's port", merge: 'equal' },
  unVip: {
    number: 19,
    job: 'a reply of a member whose client is outside gets its virtual source back',
    merge: 'equal',
  },
  answer: { number: 20, job: 'ARP, ND, DHCP and router solicitations, answered on this host', merge: 'equal' },
  respond: { number: 21, job: 'turns the question into its answer', merge: 'equal' },
  advertise: { number: 22, job: 'second half of a neighbour advertisement', merge: 'equal' },
  tag: { number: 23, job: 'gives a frame of a VLAN its tag', merge: 'equal' },
  lookup: { number: 24, job: 'where the destination MAC is', merge: 'equal' },
  set: {
    number: 25,
    job: 'is an address of the packet in the set that a rule asks for',
    merge: 'conjunction',
    prefixes: ['ip_src', 'ip_dst', 'ipv6_src'],
  },
  flood: { number: 26, job: 'one copy per remote host', merge: 'equal' },
  floodLocal: { number: 27, job: 'one copy per local port', merge: 'equal', missReason: 'nobody' },
  moved: {
    number: 28,
    job: 'the host where a workload is now whose connections have outside ports of another',
    merge: 'equal',
    missReason: 'not-bound',
  },
  tunnelOut: { number: 29, job: 'into the tunnel, unless it came from one', merge: 'equal', missReason: 'no-tunnel' },
  routerIn: { number: 30, job: 'into a router: is it up, is it IP', merge: 'equal', missReason: 'not-ip' },
  anchor: {
    number: 31,
    job: 'what comes in from outside: where its translation lives',
    merge: 'equal',
    missReason: 'not-translated',
  },
  anchored: { number: 32, job: 'translated, or unknown', merge: 'equal' },
  slot: {
    number: 33,
    job: 'which member of a balancer has the slot',
    merge: 'equal',
    missReason: 'no-member',
    prefixes: ['ip_src', 'ipv6_src'],
  },
  member: { number: 34, job: 'on to the member that was chosen', merge: 'equal' },
  inChain: { number: 35, job: 'the chain for packets that enter the router', merge: 'equal' },
  inVerdict: { number: 36, job: 'what the chain decided', merge: 'equal' },
  own: { number: 37, job: 'is it for the router itself', merge: 'equal' },
  ttl: { number: 38, job: 'may it go one hop further', merge: 'equal' },
  policy: { number: 39, job: 'policy routes', merge: 'equal' },
  route: { number: 40, job: 'the longest prefix', merge: 'equal', missReason: 'no-route' },
  spread: { number: 41, job: 'which slot of an ECMP route it has', merge: 'equal' },
  ecmp: { number: 42, job: 'one of several next hops', merge: 'equal' },
  outChain: { number: 43, job: 'the chain for packets that leave the router', merge: 'equal' },
  outVerdict: { number: 44, job: 'what the chain decided', merge: 'equal' },
  leave: { number: 45, job: 'TTL, size, source MAC, and where the port leads', merge: 'equal' },
  snat: { number: 46, job: 'source translation', merge: 'equal' },
  snatted: { number: 47, job: 'was it translated', merge: 'equal' },
  next: { number: 48, job: 'asks for the MAC of the next hop', merge: 'equal' },
  resolve: { number: 49, job: 'which MAC has an address of a switch', merge: 'equal' },
  arrive: { number: 50, job: 'into the next switch, or the next hop is looked for', merge: 'equal' },
  admit: {
    number: 51,
    job: 'has the share of the port room for the connection, and the address it is for',
    merge: 'equal',
    missReason: 'conntrack-full',
  },
  hold: {
    number: 52,
    job: 'was another host told of the connection of an L2 gateway, before its first reply goes on',
    merge: 'equal',
  },
  pause: { number: 53, job: 'while an agent is there to let it go on, a first reply waits here', merge: 'equal' },
  sourceCheck: {
    number: 54,
    job: 'may packets from this source come in by the router port',
    merge: 'equal',
    prefixes: ['ip_src', 'ipv6_src'],
  },
  reversed: { number: 55, job: 'does the way back to the source lead there', merge: 'equal' },
  prefilter: {
    number: 56,
    job: 'the chains that protect what is outside: of the switch, the router, the address',
    merge: 'equal',
    prefixes: ['ip_dst', 'ipv6_dst'],
  },
  prefiltered: { number: 57, job: 'what the chain decided', merge: 'equal' },
  uplink: {
    number: 58,
    job: 'what the in-chain of an uplink says of a packet as one that begins a connection, or as one of a known connection',
    merge: 'equal',
  },
  unknown: {
    number: 59,
    job: 'what was to be of a known connection, and is of none: counted',
    merge: 'equal',
    missReason: 'unknown-connection',
  },
  toPort: { number: 60, job: 'may the port receive at all', merge: 'equal' },
  toTracked: { number: 61, job: "what the connection tracking of the receiver's port knows", merge: 'equal' },
  toGroup: { number: 62, job: 'may the groups of the receiver have this connection', merge: 'equal' },
  toChain: { number: 63, job: 'the chain for frames that the port receives', merge: 'equal' },
  toVerdict: { number: 64, job: 'what the chain decided', merge: 'equal' },
  toCommit: { number: 65, job: "remembers a new connection in the zone of the receiver's port", merge: 'equal' },
  fromVip: { number: 66, job: 'an answer of a member gets its virtual source back', merge: 'equal' },
  mirror: { number: 67, job: 'where the copies of a mirror go, if it wants them', merge: 'equal' },
  deliver: { number: 68, job: 'takes the tag off where the port has none, and hands the frame over', merge: 'equal' },
} as const satisfies Record<string, Table>;
export type TableName = keyof typeof TABLES;

const BY_NUMBER = new Map<number, TableName>(
  (Object.keys(TABLES) as TableName[]).map((name) => [TABLES[name].number, name]),
);

/** The name of a table number of our pipeline. */
export function tableName(number: number): TableName | undefined {
  return BY_NUMBER.get(number);
}

/** Tables whose drops are counted for people: few flows each, whatever the number of ports and routes. */
export const COUNTED_DROPS = [
  ...(['sourceCheck', 'reversed', 'prefiltered', 'fromVerdict', 'inVerdict', 'outVerdict', 'toVerdict'] as const),
  ...(['ttl', 'leave', 'arrive', 'admit', 'unknown'] as const),
] satisfies readonly TableName[];

/** What the switch's `Flow_Table:prefixes` should be, by table number. */
export const WANTED_PREFIXES: ReadonlyMap<number, readonly FieldName[]> = new Map(
  (Object.values(TABLES) as Table[]).flatMap(({ number, prefixes }) => (prefixes ? [[number, prefixes] as const] : [])),
);

/**
 * First byte of a packet-in's userdata: what the flow wants of the agent (docs/design/layer2.md, Packet-ins). `stray`
 * is a frame to a MAC that nobody has: one or another is nothing, many with ever other addresses are a spray.
 */
export const PACKET_IN = {
  dhcp: 1,
  dhcp6: 2,
  routerSolicit: 3,
  learn: 4,
  announce: 5,
  log: 6,
  guard: 7,
  stray: 8,
  /** A rule rejects it. */
  reject: 9,
  /** No route, or a reject route. */
  unreachable: 10,
  ttl: 11,
  tooBig: 12,
  portUnreachable: 13,
  reset: 14,
  /** The next hop's MAC is not known: `nextHop`, `switch` and `routerPort` are in the registers. */
  resolve: 15,
  /** ARP or ND that tells where an address is which no port owns as its own. */
  neighbour: 16,
  dns: 17,
  /** Source translation without a block of ports. */
  noPorts: 18,
  /** A member answers a health probe. */
  probe: 19,
  /** An attachment of an L2 gateway says who it is. */
  hello: 20,
  /** The first reply of a connection of an L2 gateway, paused: another host has to be told of the connection first. */
  firstReply: 21,
  /** A next hop outside answers a probe of ours. */
  nextHop: 22,
} as const;
export type PacketInClass = keyof typeof PACKET_IN;
