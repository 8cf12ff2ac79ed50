import fc from 'fast-check';
import type { NetworkSketch } from './generate-routed.ts';
import type { Encap, Rule, RuleMatch } from './objects.ts';

/**
 * Random models for property tests. A *sketch* is a small description whose parts are indexes and flags, so that it
 * shrinks to something plain; `buildModel` (generate-build.ts) makes records of it that keep the model's rules, and
 * `buildFrame` (generate-frames.ts) a frame for it. All indexes are taken modulo what there is.
 *
 * For whoever compiles, simulates or benches: `modelSketch` → `buildModel` → `modelOf(records)` or changes to put.
 */
export interface ModelSketch {
  /** One zone each. */
  readonly encaps: readonly Encap[];
  /** The zone of each host. */
  readonly hosts: readonly number[];
  /** IP version of tunnel addresses; 4 if absent. */
  readonly underlay?: 4 | 6;
  /** Of all hosts; 1500 if absent. */
  readonly underlayMtu?: number;
  readonly chains: readonly ChainSketch[];
  readonly switches: readonly SwitchSketch[];
  /** What layers 3 and 4 add: generate-routed.ts. */
  readonly network?: NetworkSketch;
  /** How many tenants own things in turn; 2 if absent. */
  readonly tenants?: 1 | 2;
}

/** Chains and switches belong in turn to the tenants, which use the same addresses. */
export interface ChainSketch {
  readonly policy: 'accept' | 'drop';
  readonly rules: readonly RuleSketch[];
}

export interface RuleSketch {
  readonly match: RuleMatch;
  /** Of the tenant's sets and groups; left out where it has none. */
  readonly ends?: { readonly [field in 'srcSet' | 'dstSet' | 'srcGroup' | 'dstGroup']?: number | undefined };
  readonly action: Rule['action'];
  /** A later chain of the tenant; where there is none, the rule logs instead. */
  readonly jump: number;
}

export interface SwitchSketch {
  readonly vlanAware: boolean;
  readonly down: boolean;
  readonly subnets: readonly SubnetSketch[];
  readonly ports: readonly PortSketch[];
  readonly learned: readonly LearnedSketch[];
  readonly shared?: boolean;
  readonly mtu?: number | undefined;
  /** It has no subnets in the end: those who would be in them are not told of any. */
  readonly bare?: boolean;
  /** Of the tenant's chains that can be pre-filters. */
  readonly prefilter?: number | undefined;
  /** Hosts answer names of workloads. */
  readonly dns?: boolean;
  readonly neighbours?: readonly NeighbourSketch[];
}

export interface SubnetSketch {
  /** Of `SUBNETS`; 5 and 6 are networks that no other switch has (IPv4, IPv6), which routers can join. */
  readonly pick: number;
  readonly dhcp: boolean;
  readonly gateway: boolean;
  readonly vlan?: number | undefined;
}

export interface PortSketch {
  readonly unsecured: boolean;
  readonly down: boolean;
  /** Addresses of these subnets of the switch (or of `BARE_SUBNETS` where it has none). */
  readonly addresses: readonly number[];
  readonly pairs: readonly PairSketch[];
  /** Of `PORT_VLANS`. */
  readonly vlan?: number | undefined;
  readonly fromChain?: number | undefined;
  readonly toChain?: number | undefined;
  readonly requested?: number | undefined;
  readonly binding: BindingSketch;
  /** Of `MAC_PREFIXES`. */
  readonly mac: number;
  /** Without port security: it is the outside of an L2 gateway with a place on every host. */
  readonly outside?: boolean;
  /** Of the tenant's security groups. */
  readonly groups?: readonly number[];
  readonly dscp?: number | undefined;
}

export interface PairSketch {
  /** Of `PAIR_MACS`; absent: the port's. */
  readonly mac?: number | undefined;
  /** Of `PAIR_ADDRESSES`. */
  readonly address: number;
}

/** Where the interface is: nowhere, on one host, on two (active on `host`), or on a host that only itself knows. */
export type BindingSketch =
  | { readonly kind: 'none' }
  | { readonly kind: 'one'; readonly host: number }
  | { readonly kind: 'two'; readonly host: number; readonly other: number }
  | { readonly kind: 'early'; readonly host: number };

export interface LearnedSketch {
  /** Of the ports without port security. */
  readonly port: number;
  /** Of `LEARNED_MACS`. */
  readonly mac: number;
  readonly vlan: number;
}

/** An address of the n-th subnet that no port owns, with the MAC that ARP or ND told. */
export interface NeighbourSketch {
  readonly subnet: number;
  readonly mac: number;
}

export const SUBNETS = ['10.0.0.0/24', '2001:db8::/64', '10.0.1.0/28', '2001:db8:1::/120', '2001:db8:2::/64'] as const;
export const BARE_SUBNETS = ['10.9.0.0/24', '2001:db8:9::/64'] as const;
export const MAC_PREFIXES = ['02:00:00:00:00', '52:54:00:ab:cd', '00:16:3e:00:ff', 'fe:ff:ff:ff:ff'] as const;
export const SHARED_MACS = ['00:00:5e:00:01:01', '00:00:5e:00:02:07'] as const;
export const LEARNED_MACS = ['06:00:00:00:00:aa', '06:00:00:00:00:bb', '02:00:00:00:00:01', SHARED_MACS[0]] as const;
export const PAIR_MACS = [...SHARED_MACS, '02:00:00:00:00:01', '02:00:00:00:00:02'] as const;
export const PAIR_ADDRESSES = [
  '10.0.0.100',
  '10.0.0.64/26',
  '0.0.0.0/0',
  '2001:db8::100',
  '2001:db8::/64',
  '::/0',
  '10.0.0.11',
  '2001:db8::b',
] as const;
export const PORT_VLANS = [
  { access: 10 },
  { access: 20 },
  { trunk: 'all' },
  { trunk: [10, 20] },
  { trunk: [10, 11, 12, 13, 100], native: 20 },
  { trunk: 'all', native: 10 },
  { trunk: [20], native: 20 },
] as const;
const VLANS = [10, 20] as const;

export const small = fc.nat({ max: 7 });
/** Absent in one of so many cases. */
export function perhaps<T>(arbitrary: fc.Arbitrary<T>, oneOf: number): fc.Arbitrary<T | undefined> {
  return fc.option(arbitrary, { nil: undefined, freq: oneOf });
}
/** Not an end of the range, which fast-check prefers. */
export const seldom = fc.nat({ max: 29 }).map((n) => n === 7);

const ADDRESSES4 = ['10.0.0.10', '10.0.0.11', '10.0.0.8/30', '10.0.0.0/24', '10.0.1.0/28', '0.0.0.0/0'];
const ADDRESSES6 = ['2001:db8::a', '2001:db8::b', '2001:db8::/64', 'fe80::/10', '::/0', 'ff02::/16'];
const PORT_RANGES = ['80', '79-81', '8000-8080', '0-1023', '1-65535', '68', '67-68', '546-547', '0-65535', '443-8079'];
const MACS = [
  '02:00:00:00:00:01',
  '02:00:00:00:00:02',
  'ff:ff:ff:ff:ff:ff',
  '02:00:00:00:00:00/ff:00:00:00:00:00',
  '01:00:00:00:00:00/01:00:00:00:00:00',
  '00:00:5e:00:00:00/ff:ff:ff:00:00:00',
  '52:54:00:ab:cd:02/ff:ff:ff:ff:ff:ff',
];

const ends = (addresses: readonly string[]): fc.Arbitrary<RuleMatch> =>
  fc.oneof(
    fc.record({ src: fc.constantFrom(...addresses) }),
    fc.record({ dst: fc.constantFrom(...addresses) }),
    fc.record({ src: fc.constantFrom(...addresses), dst: fc.constantFrom(...addresses) }),
  );
const portRanges = fc.oneof(
  fc.record({ dstPorts: fc.constantFrom(...PORT_RANGES) }),
  fc.record({ srcPorts: fc.constantFrom(...PORT_RANGES) }),
  fc.record({ srcPorts: fc.constantFrom(...PORT_RANGES), dstPorts: fc.constantFrom(...PORT_RANGES) }),
);
const icmpOf = (types: readonly number[]): fc.Arbitrary<RuleMatch> =>
  fc.oneof(
    fc.constant({}),
    fc.record({ icmpType: fc.constantFrom(...types) }),
    fc.record({ icmpCode: fc.constantFrom(0, 1) }),
    fc.record({ icmpType: fc.constantFrom(...types), icmpCode: fc.constantFrom(0, 1) }),
  );
export const both = (...parts: readonly fc.Arbitrary<RuleMatch>[]): fc.Arbitrary<RuleMatch> =>
  fc.tuple(...parts).map((all) => Object.assign({}, ...all) as RuleMatch);
const transport = (protocols: fc.Arbitrary<RuleMatch['protocol']>): fc.Arbitrary<RuleMatch> =>
  both(
    protocols.map((protocol) => ({ protocol })),
    fc.oneof({ weight: 1, arbitrary: fc.constant({}) }, { weight: 3, arbitrary: portRanges }),
  );
const ipVersion = fc.constantFrom<RuleMatch>({}, { etherType: 'ipv4' }, { etherType: 'ipv6' }, { etherType: 0x0800 });
const withPorts = fc.constantFrom<NonNullable<RuleMatch['protocol']>>('tcp', 'udp', 'sctp', 6, 17);

/** What a rule may ask of layer 3 and up; only combinations that the schema of rules takes. */
export const networkMatch: fc.Arbitrary<RuleMatch> = fc.oneof(
  fc.constantFrom<RuleMatch>({}, { etherType: 'arp' }, { etherType: 'rarp' }, { etherType: 0x88cc }),
  { weight: 3, arbitrary: both(transport(withPorts), ipVersion) },
  both(transport(withPorts), ends(ADDRESSES4)),
  both(transport(withPorts), ends(ADDRESSES6)),
  ends(ADDRESSES4),
  ends(ADDRESSES6),
  fc.constantFrom<RuleMatch>({ protocol: 47 }, { protocol: 1 }, { protocol: 58 }, { protocol: 44 }, { protocol: 0 }),
  both(fc.constantFrom<RuleMatch>({ protocol: 'icmp' }, { protocol: 1 }), icmpOf([0, 8, 3])),
  both(fc.constantFrom<RuleMatch>({ protocol: 'icmpv6' }, { protocol: 58 }), icmpOf([128, 133, 135, 136])),
  fc.oneof(
    fc.record({ arpOp: fc.constantFrom(1, 1, 2, 3, 256, 257) }),
    fc.record({ arpSender: fc.constantFrom('10.0.0.10', '10.0.0.11', '0.0.0.0') }),
    fc.record({ arpTarget: fc.constantFrom('10.0.0.10', '10.0.0.11', '10.0.0.1') }),
    fc.record({ arpOp: fc.constantFrom(1, 2), arpSender: fc.constant('10.0.0.10') }),
    fc.record({ arpOp: fc.constant(1), arpSender: fc.constant('10.0.0.11'), arpTarget: fc.constant('10.0.0.10') }),
  ),
);

const vlan = fc.constantFrom(10, 20, 10, 20, 30);
export const linkMatch: fc.Arbitrary<RuleMatch> = fc.oneof(
  fc.record({ vlan }),
  fc.record({ srcMac: fc.constantFrom(...MACS) }),
  fc.record({ dstMac: fc.constantFrom(...MACS) }),
  fc.record({ vlan, srcMac: fc.constantFrom(...MACS), dstMac: fc.constantFrom(...MACS) }),
);

export const ruleMatch: fc.Arbitrary<RuleMatch> = fc.oneof(
  { weight: 1, arbitrary: fc.constant({}) },
  { weight: 4, arbitrary: networkMatch },
  { weight: 2, arbitrary: linkMatch },
  { weight: 1, arbitrary: both(networkMatch, linkMatch) },
);

const ruleSketch: fc.Arbitrary<RuleSketch> = fc.record({
  match: ruleMatch,
  action: fc.constantFrom('accept', 'drop', 'jump', 'return', 'log', 'accept', 'drop', 'jump'),
  jump: small,
});

export const chainSketch: fc.Arbitrary<ChainSketch> = fc.record({
  policy: fc.constantFrom('accept', 'accept', 'drop', 'accept'),
  rules: fc.array(ruleSketch, { maxLength: 5 }),
});

export const bindingSketch: fc.Arbitrary<BindingSketch> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('one'), host: small }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('two'), host: small, other: small }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'none' as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('early'), host: small }) },
);

/** Some of those without port security, chosen by what is chosen anyway: seeds go on to mean what they meant. */
const OUTSIDE_MAC = 3;

export const portSketch: fc.Arbitrary<PortSketch> = fc
  .record({
    unsecured: fc.constantFrom(false, false, true),
    down: seldom,
    addresses: fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom([0, 1, 2], [0, 1], [0, 1, 2, 3]) },
      { weight: 1, arbitrary: fc.constant([]) },
      { weight: 2, arbitrary: fc.array(fc.nat({ max: 4 }), { maxLength: 3 }) },
    ),
    pairs: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(fc.record({ mac: perhaps(small, 2), address: small }), { maxLength: 3 }) },
    ),
    vlan: perhaps(fc.nat({ max: PORT_VLANS.length - 1 }), 4),
    fromChain: perhaps(small, 2),
    toChain: perhaps(small, 2),
    requested: perhaps(small, 2),
    binding: bindingSketch,
    mac: fc.constantFrom(0, 0, 0, 1, 2, 3),
  })
  .map((port) => ({ ...port, outside: port.unsecured && port.mac === OUTSIDE_MAC }));

/** Of every other switch, chosen by what is chosen anyway: seeds go on to mean what they meant. */
export function withNames(sketch: SwitchSketch): SwitchSketch {
  return { ...sketch, dns: sketch.ports.length % 2 === 1 };
}

const flatSwitch: fc.Arbitrary<SwitchSketch> = fc.record({
  vlanAware: fc.constantFrom(false, false, true),
  down: seldom,
  subnets: fc.oneof(
    { weight: 1, arbitrary: fc.constant([]) },
    {
      weight: 4,
      arbitrary: fc.array(
        fc.record({
          pick: fc.constantFrom(0, 1, 0, 1, 2, 3, 4),
          dhcp: fc.boolean(),
          gateway: fc.boolean(),
          vlan: perhaps(fc.constantFrom(...VLANS), 2),
        }),
        { minLength: 1, maxLength: 4 },
      ),
    },
  ),
  ports: fc.oneof(
    fc.array(portSketch, { minLength: 1, maxLength: 6 }),
    fc.array(portSketch, { minLength: 3, maxLength: 6 }),
  ),
  learned: fc.array(
    fc.record({ port: small, mac: fc.nat({ max: LEARNED_MACS.length - 1 }), vlan: fc.constantFrom(0, 0, 10, 20) }),
    { maxLength: 3 },
  ),
});
const switchSketch = flatSwitch.map(withNames);

/** A whole model. */
export const modelSketch: fc.Arbitrary<ModelSketch> = fc.record({
  encaps: fc.array(fc.constantFrom<Encap>('geneve', 'vxlan', 'gre'), { minLength: 1, maxLength: 2 }),
  hosts: fc.oneof(
    { weight: 4, arbitrary: fc.array(fc.constant(0), { minLength: 1, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.array(fc.constantFrom(0, 1), { minLength: 2, maxLength: 4 }) },
  ),
  underlay: fc.constantFrom(4, 4, 4, 6),
  chains: fc.oneof(
    fc.array(chainSketch, { maxLength: 5 }),
    fc.array(chainSketch, { minLength: 2, maxLength: 5, size: 'max' }),
  ),
  switches: fc.array(switchSketch, { minLength: 1, maxLength: 3 }),
});
