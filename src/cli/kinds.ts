import type { KindName } from '../model/kind.ts';
import { UsageError } from './exit-codes.ts';
import { nearest } from './output.ts';

/**
 * What the CLI knows of kinds without loading their schemas (which costs more than a whole `weft get`); a test holds
 * this against `src/model`. Schemas are loaded where they are needed: `weft create`.
 */
export interface CliKind {
  readonly kind: KindName;
  readonly plural: string;
  /** What people may type beside kind and plural. */
  readonly short: readonly string[];
  readonly tenantOwned: boolean;
  /** Names are unique within this field's object: people write its name before, as `router/port`. */
  readonly nameWithin?: string;
  readonly columns: readonly Column[];
}

/** A column of `weft get`: the title, and where the value stands in the object. `wide`: only with `-o wide`. */
export interface Column {
  readonly title: string;
  readonly path: string;
  readonly wide?: boolean;
}

const column = (title: string, path: string): Column => ({ title, path });
const wide = (title: string, path: string): Column => ({ title, path, wide: true });

export const CLI_KINDS: readonly CliKind[] = [
  {
    kind: 'tenant',
    plural: 'tenants',
    short: [],
    tenantOwned: false,
    columns: [column('DESCRIPTION', 'description')],
  },
  {
    kind: 'tunnelZone',
    plural: 'tunnel-zones',
    short: ['tunnel-zone', 'zone', 'zones', 'tz'],
    tenantOwned: false,
    columns: [column('ENCAP', 'encap')],
  },
  {
    kind: 'host',
    plural: 'hosts',
    short: ['h'],
    tenantOwned: false,
    columns: [
      column('ZONE', 'zone'),
      column('TUNNEL ADDRESS', 'tunnelAddress'),
      column('STATE', 'status.state'),
      column('APPLIED', 'status.applied'),
      wide('PORTS', 'status.health.localPorts'),
      wide('FLOWS', 'status.health.flows'),
      wide('OPEN VSWITCH', 'status.health.openvswitchVersion'),
      wide('DATAPATH', 'status.health.datapathType'),
      wide('UNDERLAY MTU', 'underlayMtu'),
      wide('DRAINED', 'drain'),
    ],
  },
  {
    kind: 'addressSet',
    plural: 'address-sets',
    short: ['address-set', 'as'],
    tenantOwned: true,
    columns: [column('ADDRESSES', 'addresses.length'), wide('KEY', 'key')],
  },
  {
    kind: 'securityGroup',
    plural: 'security-groups',
    short: ['security-group', 'group', 'groups', 'sg'],
    tenantOwned: true,
    columns: [
      column('INGRESS', 'ingress.length'),
      column('EGRESS', 'egress.length'),
      column('PORTS', 'status.ports'),
      wide('KEY', 'key'),
    ],
  },
  {
    kind: 'chain',
    plural: 'chains',
    short: ['ch'],
    tenantOwned: true,
    columns: [column('POLICY', 'policy'), wide('KEY', 'key')],
  },
  {
    kind: 'rule',
    plural: 'rules',
    short: ['r'],
    tenantOwned: true,
    nameWithin: 'chain',
    columns: [
      column('CHAIN', 'chain'),
      column('POSITION', 'position'),
      column('ACTION', 'action'),
      column('MATCH', 'match'),
      column('PACKETS', 'status.packets'),
      wide('BYTES', 'status.bytes'),
      wide('JUMP TO', 'jumpTo'),
    ],
  },
  {
    kind: 'switch',
    plural: 'switches',
    short: ['sw'],
    tenantOwned: true,
    columns: [
      column('SUBNETS', 'subnets[].cidr'),
      column('VLANS', 'vlanAware'),
      column('SHARED', 'shared'),
      column('UP', 'adminUp'),
      wide('MTU', 'mtu'),
      wide('KEY', 'key'),
    ],
  },
  {
    kind: 'port',
    plural: 'ports',
    short: ['p'],
    tenantOwned: true,
    columns: [
      column('SWITCH', 'switch'),
      column('MAC', 'mac'),
      column('ADDRESSES', 'addresses'),
      column('HOST', 'status.host'),
      column('STATE', 'status.state'),
      wide('INTERFACE', 'status.interface'),
      wide('SECURITY', 'portSecurity'),
      wide('GROUPS', 'groups'),
      wide('FROM', 'fromChain'),
      wide('TO', 'toChain'),
      wide('VLAN', 'vlan'),
      wide('KEY', 'key'),
    ],
  },
  {
    kind: 'router',
    plural: 'routers',
    short: ['rt'],
    tenantOwned: true,
    columns: [
      column('ROUTES', 'routes[].to'),
      column('SNAT', 'snat[].to'),
      column('UP', 'adminUp'),
      wide('POLICIES', 'policies.length'),
      wide('LEASES', 'status.leases.length'),
      wide('KEY', 'key'),
    ],
  },
  {
    kind: 'routerPort',
    plural: 'router-ports',
    short: ['router-port', 'rp'],
    tenantOwned: true,
    nameWithin: 'router',
    columns: [
      column('ROUTER', 'router'),
      column('SWITCH', 'switch'),
      column('PEER', 'peer'),
      column('ADDRESSES', 'addresses'),
      column('MAC', 'mac'),
      column('OUTSIDE', 'outside'),
      wide('IN', 'inChain'),
      wide('OUT', 'outChain'),
      wide('UP', 'adminUp'),
      wide('KEY', 'key'),
    ],
  },
  {
    kind: 'floatingAddress',
    plural: 'floating-addresses',
    short: ['floating-address', 'floating', 'fip', 'fips'],
    tenantOwned: true,
    columns: [
      column('ADDRESS', 'address'),
      column('ROUTER', 'router'),
      column('PORT', 'port'),
      column('HOST', 'status.host'),
      column('STATE', 'status.state'),
      wide('FIXED', 'fixed'),
      wide('KBPS', 'limit.kbps'),
      wide('UP', 'adminUp'),
    ],
  },
  {
    kind: 'loadBalancer',
    plural: 'load-balancers',
    short: ['load-balancer', 'balancer', 'balancers', 'lb', 'lbs', 'vip', 'vips'],
    tenantOwned: true,
    columns: [
      column('ADDRESS', 'address'),
      column('ROUTER', 'router'),
      column('SWITCH', 'switch'),
      column('PORTS', 'listeners[].port'),
      column('MEMBERS', 'members.length'),
      column('HEALTHY', 'status.healthy'),
      wide('STICKY', 'sticky'),
      wide('FOR', 'stickyS'),
      wide('SLOTS', 'slots'),
      wide('UP', 'adminUp'),
      wide('KEY', 'key'),
    ],
  },
  {
    kind: 'mirror',
    plural: 'mirrors',
    short: ['mi'],
    tenantOwned: true,
    columns: [
      column('PORTS', 'ports'),
      column('SWITCH', 'switch'),
      column('DIRECTION', 'direction'),
      column('TO PORT', 'to.port'),
      column('COLLECTOR', 'to.collector.address'),
      column('UP', 'adminUp'),
      wide('MATCH', 'match'),
      wide('KEY', 'key'),
    ],
  },
  {
    kind: 'bgpPeer',
    plural: 'bgp-peers',
    short: ['bgp-peer', 'peer', 'peers'],
    tenantOwned: true,
    nameWithin: 'router',
    columns: [
      column('ROUTER', 'router'),
      column('PORT', 'routerPort'),
      column('ADDRESS', 'address'),
      column('AS', 'asn'),
      column('STATE', 'status.state'),
      column('ACCEPTED', 'status.accepted'),
      column('SENT', 'status.sent'),
      wide('BFD', 'bfd'),
      wide('UP', 'adminUp'),
    ],
  },
  {
    kind: 'l2Gateway',
    plural: 'l2-gateways',
    short: ['l2-gateway', 'l2gw'],
    tenantOwned: true,
    columns: [
      column('PORT', 'port'),
      column('VLAN', 'vlan'),
      column('HOSTS', 'places[].host'),
      column('INTERFACES', 'places[].interface'),
      column('ACTIVE', 'status.active'),
      column('STATE', 'status.state'),
      wide('PROBE', 'probe'),
      wide('UP', 'adminUp'),
    ],
  },
  {
    kind: 'vtep',
    plural: 'vteps',
    short: [],
    tenantOwned: false,
    columns: [
      column('MANAGEMENT', 'management'),
      column('HOSTS', 'places[].host'),
      column('PORTS', 'physicalPorts[]'),
      column('TUNNELS', 'status.tunnelAddress'),
      column('STATE', 'status.state'),
    ],
  },
  {
    kind: 'vtepBinding',
    plural: 'vtep-bindings',
    short: ['vtep-binding'],
    tenantOwned: true,
    columns: [
      column('PORT', 'port'),
      column('VTEP', 'vtep'),
      column('PHYSICAL', 'physicalPorts[].port'),
      column('VLAN', 'physicalPorts[].vlan'),
      column('VNI', 'vni'),
      column('ACTIVE', 'status.active'),
      column('STATE', 'status.state'),
      wide('UP', 'adminUp'),
    ],
  },
];

/** One of them, in the words of the command line: `floating-address`. */
export function singularOf({ kind }: CliKind): string {
  return kind.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Every word that names a kind, as typed on the command line or written in a file. */
const BY_WORD = new Map(
  CLI_KINDS.flatMap((entry) =>
    [entry.kind, entry.plural, ...entry.short].map((word): [string, CliKind] => [word.toLowerCase(), entry]),
  ),
);

export function kindOf(word: string): CliKind | undefined {
  return BY_WORD.get(word.toLowerCase());
}

/** The kind that a word means. Error `invalid` with the words that were perhaps meant. */
export function requireKind(word: string): CliKind {
  const found = kindOf(word);
  if (found) return found;
  const near = nearest(word.toLowerCase(), new Set(CLI_KINDS.flatMap((k) => [k.plural, k.kind.toLowerCase()])));
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `kinds: ${plurals()}`;
  throw new UsageError(`there is no kind ${word}; ${hint}`);
}

export function entryOf(kind: KindName): CliKind {
  return CLI_KINDS.find((entry) => entry.kind === kind)!;
}

export function plurals(): string {
  return CLI_KINDS.map((entry) => entry.plural).join(', ');
}
