import type { FieldName } from '../openflow/fields.ts';

/**
 * The pipeline as data: its tables, in the order in which a frame meets them, each with one job. Everything else refers
 * to tables by these names. docs/pipeline.md is generated from here.
 */

/** Why a frame ends: the words that `weft trace` prints (docs/design/layer2.md). */
export const REASONS = {
  'shut-off': 'the port sprayed frames that need the agent, and is shut off for a while',
  'port-down': 'the port is administratively down',
  'switch-down': 'the switch is administratively down',
  'not-active': 'the port is active on another host, and was not asked to move here',
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
} as const;
export type Reason = keyof typeof REASONS;

/** How contributions of several units with the same priority and match become one flow. `equal`: they have to agree. */
export type MergeRule = 'equal';

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
    prefixes: ['tun_src'],
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
    job: 'the IP and ARP source: does the port own it',
    merge: 'equal',
    prefixes: ['ip_src', 'ip_dst', 'ipv6_src'],
  },
  service: { number: 5, job: 'what no workload may say; neighbour discovery goes on to be checked', merge: 'equal' },
  linkLayer: { number: 6, job: 'the link-layer address inside neighbour discovery', merge: 'equal' },
  ndTarget: { number: 7, job: 'the address that a neighbour advertisement is about', merge: 'equal' },
  learn: { number: 8, job: 'addresses behind ports without port security', merge: 'equal' },
  fromPort: { number: 10, job: 'the chain for frames that the port sends', merge: 'equal' },
  chainStart: { number: 11, job: 'runs the segments of one chain, one after the other', merge: 'equal' },
  chain: { number: 12, job: 'the rules of one segment of one chain', merge: 'equal' },
  fromVerdict: { number: 14, job: 'what the chain decided', merge: 'equal' },
  answer: { number: 20, job: 'ARP, ND, DHCP and router solicitations, answered on this host', merge: 'equal' },
  respond: { number: 21, job: 'turns the question into its answer', merge: 'equal' },
  advertise: { number: 22, job: 'second half of a neighbour advertisement', merge: 'equal' },
  tag: { number: 23, job: 'gives a frame of a VLAN its tag', merge: 'equal' },
  lookup: { number: 24, job: 'where the destination MAC is', merge: 'equal' },
  flood: { number: 26, job: 'one copy per remote host', merge: 'equal' },
  floodLocal: { number: 27, job: 'one copy per local port', merge: 'equal', missReason: 'nobody' },
  tunnelOut: { number: 30, job: 'into the tunnel, unless it came from one', merge: 'equal', missReason: 'no-tunnel' },
  toPort: { number: 40, job: 'the chain for frames that the port receives', merge: 'equal' },
  toVerdict: { number: 44, job: 'what the chain decided', merge: 'equal' },
  deliver: { number: 48, job: 'takes the tag off where the port has none, and hands the frame over', merge: 'equal' },
} as const satisfies Record<string, Table>;
export type TableName = keyof typeof TABLES;

const BY_NUMBER = new Map<number, TableName>(
  (Object.keys(TABLES) as TableName[]).map((name) => [TABLES[name].number, name]),
);

/** The name of a table number of our pipeline. */
export function tableName(number: number): TableName | undefined {
  return BY_NUMBER.get(number);
}

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
} as const;
export type PacketInClass = keyof typeof PACKET_IN;
