import fc from 'fast-check';
import {
  both,
  type ChainSketch,
  chainSketch,
  linkMatch,
  type ModelSketch,
  modelSketch,
  networkMatch,
  type PortSketch,
  perhaps,
  portSketch,
  type RuleSketch,
  type SwitchSketch,
  seldom,
  small,
  withNames,
} from './generate.ts';
import type { GroupRule, Mirror, RouterPort, RuleMatch } from './objects.ts';

/**
 * Random models of layers 3 and 4: routers, groups, sets, translation and balancers over a few switches. As in generate.ts all parts
 * are indexes and flags; generate-build-routed.ts makes records of them.
 */
export interface NetworkSketch {
  /** Groups, sets, routers and balancers belong in turn to the tenants, as chains and switches do. */
  readonly groups: readonly GroupSketch[];
  /** Each a list of indexes into `SET_MEMBERS`. */
  readonly sets: readonly (readonly number[])[];
  readonly routers: readonly RouterSketch[];
  readonly floating: readonly FloatingSketch[];
  readonly balancers: readonly BalancerSketch[];
  readonly mirrors?: readonly MirrorSketch[];
}

/** Of the ports of the tenant of the first. */
export interface MirrorSketch {
  readonly ports: readonly number[];
  readonly wholeSwitch: boolean;
  readonly direction: Mirror['direction'];
  readonly match: Mirror['match'];
  readonly to: number;
}

export interface GroupSketch {
  readonly ingress: readonly GroupRuleSketch[];
  /** Absent: everything. */
  readonly egress?: readonly GroupRuleSketch[] | undefined;
}

export interface GroupRuleSketch {
  readonly match: Omit<GroupRule, 'group' | 'addressSet'>;
  /** Of the tenant's groups and sets. */
  readonly group?: number | undefined;
  readonly set?: number | undefined;
}

export interface RouterSketch {
  readonly down: boolean;
  readonly ports: readonly RouterPortSketch[];
  readonly routes: readonly RouteSketch[];
  readonly policies: readonly PolicySketch[];
  readonly snat: readonly SnatSketch[];
  /** Of the tenant's chains that can be pre-filters. */
  readonly prefilter?: number | undefined;
  readonly speaks?: boolean;
}

export interface RouterPortSketch {
  /** Of the switches that the router may join (its tenant's and shared ones), of the tenant's other routers, or of all switches. */
  readonly to: { readonly kind: 'switch' | 'peer' | 'any'; readonly at: number };
  readonly outside: boolean;
  readonly down: boolean;
  readonly inChain?: number | undefined;
  readonly outChain?: number | undefined;
  /** Without some of the switch's subnets: bit n leaves the n-th out. */
  readonly without: number;
  /** Where it is not outside and joins a switch. */
  readonly sourceCheck?: RouterPort['sourceCheck'];
}

export interface RouteSketch {
  /** Of the networks that there are, `FAR_NETWORKS` among them. */
  readonly to: number;
  readonly from?: number | undefined;
  readonly action: 'via' | 'blackhole' | 'reject';
  /** Of the addresses in the router's networks, others' first; where it has several next hops, each its own weight. */
  /** `six`: of an IPv4 route, an IPv6 one. */
  readonly via: readonly { readonly at: number; readonly weight: number; readonly six?: boolean | undefined }[];
  /** `learned`: by gateways, whatever `from` and `action` say: the n-th next hop by the n-th host, by the next one too where its weight is 2. */
  readonly metric: number | 'learned';
}

export interface PolicySketch {
  readonly src?: number | undefined;
  readonly dst?: number | undefined;
  readonly upper: {
    readonly protocol?: 'tcp' | 'udp' | 'icmp' | 6;
    readonly dstPorts?: string;
    readonly srcPorts?: string;
  };
  readonly action: 'reroute' | 'allow' | 'drop';
  readonly via: number;
}

export interface SnatSketch {
  readonly version: 4 | 6;
  /** Of the networks that there are. */
  readonly from: number;
  /** Its own address for it, or that of the router's outside port. */
  readonly own: boolean;
  /** So many more addresses of its own that sources share. */
  readonly more?: number;
  /** Blocks of ports per host: how many, and the binary logarithm of their size. */
  readonly leases: readonly { readonly blocks: number; readonly bits: number }[];
}

export interface FloatingSketch {
  /** Of the routers with an outside port. */
  readonly router: number;
  /** Of the tenant's ports with an address. */
  readonly port: number;
  readonly version: 4 | 6;
  readonly fixed?: number | undefined;
  readonly prefilter?: number | undefined;
}

export interface BalancerSketch {
  readonly version: 4 | 6;
  readonly on: { readonly kind: 'router' | 'switch'; readonly at: number };
  /** Of a router's VIP: in an outside network, in one of its inside networks, in none. */
  readonly where: 'outside' | 'inside' | 'nowhere';
  /** It shares the address of one of those before it, if there are any. */
  readonly beside?: number | undefined;
  readonly listeners: readonly {
    readonly protocol: 'tcp' | 'udp' | 'sctp';
    readonly port: number | string;
    readonly memberPort?: number | string;
    readonly adminUp?: boolean;
  }[];
  readonly members: readonly MemberSketch[];
  readonly sticky: 'none' | 'source';
  /** Of a sticky one: what hosts say of clients that it keeps; each number makes one record of its own. */
  readonly kept?: readonly number[] | undefined;
  readonly onEmpty: 'reject' | 'drop';
  readonly down: boolean;
  readonly prefilter?: number | undefined;
}

export interface MemberSketch {
  readonly port: number;
  readonly weight: number;
  readonly drain: boolean;
  readonly down: boolean;
  readonly health?: boolean | undefined;
}

export const FAR_NETWORKS = [
  '0.0.0.0/0',
  '::/0',
  '198.18.0.0/15',
  '2001:db8:5000::/36',
  '10.128.0.0/9',
  '10.0.0.0/8',
] as const;
export const SET_MEMBERS = [
  '10.100.0.10',
  '10.100.0.0/24',
  '10.101.0.0/24',
  '10.101.0.10',
  '2001:db8:100::/64',
  '2001:db8:101::a',
  '198.18.0.0/16',
  '0.0.0.0/0',
  '::/0',
  '10.102.0.8/29',
] as const;

const sparse = <T>(arbitrary: fc.Arbitrary<T>, weight: number, most: number): fc.Arbitrary<readonly T[]> =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    { weight, arbitrary: fc.array(arbitrary, { minLength: 1, maxLength: most }) },
  );

const PORTS = ['80', '443', '79-81', '8080', '1-1023', '1024-65535', '53', '0-65535'] as const;

/** What rules ask beyond layer 2. */
const statefulMatch: fc.Arbitrary<RuleMatch> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      state: fc.constantFrom<NonNullable<RuleMatch['state']>>(
        ['new'],
        ['established'],
        ['reply'],
        ['related'],
        ['established', 'related'],
        ['invalid'],
        ['new', 'reply'],
        ['established', 'reply'],
      ),
    }),
  },
  fc.record({ fragment: fc.constantFrom<NonNullable<RuleMatch['fragment']>>('no', 'first', 'later', 'any') }),
  fc.record({ dscp: fc.constantFrom(0, 46, 10) }),
  fc.record({
    protocol: fc.constant('tcp' as const),
    tcpFlags: fc.constantFrom('+syn-ack', '+syn', '-syn', '+ack', '+syn+ack', '+rst', '-ack-rst', '+fin'),
  }),
  fc.record({ protocol: fc.constantFrom('tcp' as const, 'udp' as const), dstPorts: fc.constantFrom(...PORTS) }),
);

const withNot = (match: fc.Arbitrary<RuleMatch>): fc.Arbitrary<RuleMatch> =>
  fc.tuple(match, fc.nat({ max: 5 }), fc.constantFrom(false, false, false, true)).map(([given, pick, turned]) => {
    const fields = Object.keys(given);
    return turned && fields.length > 0 ? { ...given, not: [fields[pick % fields.length]!] } : given;
  });

const end: fc.Arbitrary<NonNullable<RuleSketch['ends']>> = fc.oneof(
  ...(['srcSet', 'dstSet', 'srcGroup', 'dstGroup'] as const).map((field) => small.map((n) => ({ [field]: n }))),
  fc.record({ srcGroup: small, dstSet: small }),
);

export const routedRule: fc.Arbitrary<RuleSketch> = fc.record({
  match: withNot(
    fc.oneof(
      { weight: 1, arbitrary: fc.constant({}) },
      { weight: 5, arbitrary: statefulMatch },
      { weight: 1, arbitrary: networkMatch },
      { weight: 1, arbitrary: both(statefulMatch, linkMatch) },
    ),
  ),
  ends: fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, { weight: 2, arbitrary: end }),
  action: fc.constantFrom('accept', 'drop', 'jump', 'return', 'log', 'accept', 'reject', 'accept'),
  jump: small,
});

const routedChain: fc.Arbitrary<ChainSketch> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      policy: fc.constantFrom('accept', 'accept', 'accept', 'drop'),
      rules: fc.array(routedRule, { maxLength: 4 }),
    }),
  },
  { weight: 1, arbitrary: chainSketch },
);

const groupMatch = fc.oneof<fc.Arbitrary<GroupRuleSketch['match']>[]>(
  fc.constant({}),
  fc.record({ protocol: fc.constantFrom('tcp' as const, 'udp' as const, 17), ports: fc.constantFrom(...PORTS) }),
  fc.record({
    protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const, 'icmp' as const, 'icmpv6' as const, 47),
  }),
  fc.record({ protocol: fc.constant('icmp' as const), icmpType: fc.constant(8) }),
  fc.record({ protocol: fc.constant('icmpv6' as const), icmpType: fc.constant(128), icmpCode: fc.constant(0) }),
  fc.record({ ipVersion: fc.constantFrom<4 | 6>(4, 6) }),
);
const groupRule: fc.Arbitrary<GroupRuleSketch> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ match: groupMatch }) },
  { weight: 3, arbitrary: fc.record({ match: groupMatch, group: small }) },
  { weight: 2, arbitrary: fc.record({ match: groupMatch, set: small }) },
  {
    weight: 1,
    arbitrary: fc.record({
      match: fc.record({ cidr: fc.constantFrom('10.100.0.0/24', '10.101.0.10', '2001:db8:100::/64', '0.0.0.0/0') }),
    }),
  },
);
const groupSketch: fc.Arbitrary<GroupSketch> = fc.record({
  ingress: fc.array(groupRule, { maxLength: 3 }),
  egress: fc.oneof(
    { weight: 2, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.array(groupRule, { maxLength: 2 }) },
  ),
});

const routerPort: fc.Arbitrary<RouterPortSketch> = fc.record({
  to: fc.record({ kind: fc.constantFrom('switch', 'switch', 'switch', 'peer'), at: small }),
  outside: fc.constantFrom(false, false, false, true),
  down: seldom,
  inChain: perhaps(small, 4),
  outChain: perhaps(small, 4),
  without: fc.constantFrom(0, 0, 0, 1, 2),
  sourceCheck: perhaps(fc.constantFrom('own' as const, 'loose' as const, 'strict' as const, 'strict' as const), 12),
});
const route: fc.Arbitrary<RouteSketch> = fc.record({
  to: fc.oneof({ weight: 1, arbitrary: fc.constantFrom(0, 1) }, { weight: 1, arbitrary: fc.nat({ max: 15 }) }),
  from: perhaps(fc.nat({ max: 15 }), 5),
  action: fc.constantFrom('via', 'via', 'via', 'via', 'blackhole', 'reject'),
  via: fc.array(
    fc.record({ at: small, weight: fc.constantFrom(1, 1, 2, 40), six: fc.constantFrom(undefined, undefined, true) }),
    { minLength: 1, maxLength: 3 },
  ),
  metric: fc.constantFrom<RouteSketch['metric'][]>(100, 100, 50, 200, 20, 'learned', 'learned', 'learned'),
});
const policy: fc.Arbitrary<PolicySketch> = fc.record({
  src: perhaps(fc.nat({ max: 15 }), 2),
  dst: perhaps(fc.nat({ max: 15 }), 2),
  upper: fc.constantFrom<PolicySketch['upper'][]>(
    {},
    {},
    { protocol: 'tcp', dstPorts: '80' },
    { protocol: 'udp', dstPorts: '0-1023' },
    { protocol: 6, srcPorts: '1024-65535' },
    { protocol: 'icmp' },
  ),
  action: fc.constantFrom('reroute', 'reroute', 'allow', 'drop'),
  via: small,
});
const snat: fc.Arbitrary<SnatSketch> = fc.record({
  version: fc.constantFrom<4 | 6>(4, 4, 4, 6),
  // Often everything.
  from: fc.oneof(fc.constant(0), fc.nat({ max: 15 })),
  own: fc.boolean(),
  more: fc.constantFrom(0, 0, 0, 1, 2, 4),
  leases: fc.array(fc.record({ blocks: fc.constantFrom(1, 1, 2, 0), bits: fc.constantFrom(0, 6, 6, 1) }), {
    maxLength: 4,
  }),
});
const routerSketch: fc.Arbitrary<RouterSketch> = fc.record({
  down: seldom,
  ports: fc.array(routerPort, { minLength: 2, maxLength: 4 }),
  routes: sparse(route, 3, 3),
  policies: sparse(policy, 1, 3),
  snat: sparse(snat, 4, 2),
  prefilter: perhaps(small, 7),
});

const listeners = fc.uniqueArray(
  fc.constantFrom<BalancerSketch['listeners'][number][]>(
    { protocol: 'tcp', port: 80 },
    { protocol: 'tcp', port: 443, memberPort: 8080 },
    { protocol: 'udp', port: 53 },
    { protocol: 'udp', port: 80, memberPort: 53 },
    { protocol: 'sctp', port: 80 },
    { protocol: 'tcp', port: 80, adminUp: false },
    { protocol: 'udp', port: 80, adminUp: false },
    { protocol: 'tcp', port: '75-90' },
    { protocol: 'tcp', port: '440-447', memberPort: 8080 },
    { protocol: 'udp', port: '1-65535' },
    { protocol: 'udp', port: '50-53', memberPort: '8077-8080' },
    { protocol: 'tcp', port: '442-443', memberPort: '79-80' },
    { protocol: 'sctp', port: '79-82' },
  ),
  { minLength: 1, maxLength: 3, selector: ({ protocol, port }) => `${protocol}/${port}` },
);
const balancerSketch: fc.Arbitrary<BalancerSketch> = fc.record({
  version: fc.constantFrom<4 | 6>(4, 4, 6),
  on: fc.record({ kind: fc.constantFrom('router', 'switch'), at: small }),
  where: fc.constantFrom('outside', 'outside', 'inside', 'nowhere'),
  beside: perhaps(small, 2),
  listeners,
  members: fc.array(
    fc.record({
      port: small,
      weight: fc.constantFrom(1, 1, 3),
      drain: seldom,
      down: seldom,
      health: fc.constantFrom(undefined, undefined, true, false),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  sticky: fc.constantFrom('none', 'source'),
  kept: perhaps(fc.uniqueArray(fc.nat({ max: 15 }), { minLength: 1, maxLength: 2 }), 3),
  onEmpty: fc.constantFrom('reject', 'drop'),
  down: seldom,
  prefilter: perhaps(small, 5),
});

const networkSketch: fc.Arbitrary<NetworkSketch> = fc.record({
  groups: fc.array(groupSketch, { maxLength: 3 }),
  sets: fc.array(fc.array(fc.nat({ max: SET_MEMBERS.length - 1 }), { maxLength: 4 }), { maxLength: 3 }),
  routers: fc.array(routerSketch, { minLength: 1, maxLength: 4 }),
  floating: sparse(
    fc.record({
      router: small,
      port: small,
      version: fc.constantFrom<4 | 6>(4, 4, 4, 6),
      fixed: perhaps(small, 2),
      prefilter: perhaps(small, 4),
    }),
    5,
    2,
  ),
  balancers: sparse(balancerSketch, 3, 2),
  mirrors: sparse(
    fc.record({
      ports: fc.uniqueArray(small, { minLength: 1, maxLength: 3 }),
      wholeSwitch: fc.boolean(),
      direction: fc.constantFrom('both', 'from', 'to'),
      match: fc.constantFrom({}, {}, { protocol: 'tcp' }, { dst: '10.0.0.0/9' }, { protocol: 'udp', dstPorts: '53' }),
      to: small,
    }),
    2,
    2,
  ),
});

const routedPort: fc.Arbitrary<PortSketch> = fc
  .tuple(
    portSketch,
    fc.record({
      chains: fc.nat({ max: 3 }),
      plain: fc.nat({ max: 7 }),
      dscp: perhaps(fc.constantFrom(0, 46, 10), 6),
      wire: fc.nat({ max: 11 }),
      groups: fc.oneof(
        { weight: 3, arbitrary: fc.constant([]) },
        { weight: 2, arbitrary: fc.uniqueArray(fc.nat({ max: 2 }), { minLength: 1, maxLength: 2 }) },
      ),
    }),
  )
  .map(([port, { chains, plain, groups, dscp, wire }]): PortSketch => {
    const { fromChain, toChain, ...rest } = port;
    const isWire = wire === 11;
    return {
      ...rest,
      unsecured: isWire || (plain === 7 && port.unsecured),
      addresses: isWire ? [] : plain > 0 ? [0, 1] : port.addresses,
      pairs: plain > 1 ? [] : port.pairs,
      binding: plain > 1 && port.binding.kind === 'none' ? { kind: 'one', host: plain } : port.binding,
      ...(chains === 1 ? { fromChain } : {}),
      ...(chains === 2 ? { toChain } : {}),
      groups,
      dscp,
    };
  });

/** Its own networks of both versions; whatever else a switch of layer 2 may have is rare. */
const routedSwitch: fc.Arbitrary<SwitchSketch> = fc.record({
  vlanAware: seldom,
  down: seldom,
  subnets: fc
    .tuple(
      fc.boolean(),
      fc.boolean(),
      perhaps(fc.constantFrom(10, 20), 5),
      fc.constantFrom([5, 6], [5, 6], [5, 6], [5], [6]),
    )
    .map(([dhcp, gateway, vlan, picks]) => picks.map((pick) => ({ pick, dhcp, gateway, vlan }))),
  ports: fc.array(routedPort, { minLength: 1, maxLength: 4 }),
  learned: fc.constant([]),
  shared: fc.constantFrom(false, false, true),
  mtu: perhaps(fc.constantFrom(1280, 1400, 1460), 3),
  bare: seldom,
  prefilter: perhaps(small, 9),
  neighbours: sparse(fc.record({ subnet: fc.nat({ max: 1 }), mac: fc.nat({ max: 1 }) }), 1, 2),
});

/** A whole model with routers. Its first switch is shared: the provider's, as a rule. */
export const routedModelSketch: fc.Arbitrary<ModelSketch> = fc
  .record({
    base: modelSketch,
    tenants: fc.constantFrom<1 | 2>(1, 1, 2),
    chains: fc.array(routedChain, { maxLength: 4 }),
    switches: fc.oneof(
      { weight: 1, arbitrary: fc.array(routedSwitch, { minLength: 1, maxLength: 4 }) },
      { weight: 4, arbitrary: fc.array(routedSwitch, { minLength: 2, maxLength: 4 }) },
    ),
    network: networkSketch,
    underlayMtu: fc.constantFrom(1500, 1400),
  })
  .map(({ base, switches, ...rest }) => ({
    ...base,
    ...rest,
    hosts: base.hosts.slice(0, 3),
    switches: switches.map(withNames).map((each, n) => (n === 0 ? { ...each, shared: true } : each)),
  }));
