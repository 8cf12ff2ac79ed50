import fc from 'fast-check';
import type {
  Binding,
  Chain,
  Encap,
  Host,
  LearnedAddress,
  LogicalPort,
  LogicalSwitch,
  Rule,
  RuleMatch,
  ScopeRecord,
  Subnet,
  TunnelZone,
} from '../../model/objects.ts';

/**
 * Random models for property tests: small, and with everything that a model may have (docs/design/layer2.md), so that every pair of
 * options meets soon. Deterministic from fast-check's seed; they shrink to fewer hosts, ports, rules and options. Tests only.
 */

/** An interface that a host has for a port. */
export interface GeneratedInterface {
  readonly host: string;
  readonly port: string;
  readonly ofport: number;
}

/** A whole model; each host's scope is all of it. */
export interface GeneratedModel {
  readonly zone: TunnelZone;
  readonly hosts: readonly Host[];
  readonly switches: readonly LogicalSwitch[];
  readonly ports: readonly LogicalPort[];
  readonly chains: readonly Chain[];
  readonly rules: readonly Rule[];
  readonly bindings: readonly Binding[];
  readonly learned: readonly LearnedAddress[];
  readonly interfaces: readonly GeneratedInterface[];
}

/** The records of a model, in an order in which references lead to what was before. */
export function recordsOf(model: GeneratedModel): ScopeRecord[] {
  return [
    model.zone,
    ...model.hosts,
    ...model.switches,
    ...model.chains,
    ...model.rules,
    ...model.ports,
    ...model.bindings,
    ...model.learned,
  ];
}

/** VLANs that everything draws from, so that ports meet. */
export const VLAN_POOL = [1, 5, 6, 7, 100, 4094] as const;
/** MACs that several ports may hold (VRRP, RFC 5798 §7.3). */
export const VIRTUAL_MACS = ['00:00:5e:00:01:01', '00:00:5e:00:01:02'] as const;
/** MACs that are learned behind ports without port security. */
export const GUEST_MACS = ['02:aa:00:00:00:01', '02:aa:00:00:00:02', '06:bb:00:00:00:f3'] as const;
/** Addresses of allowed pairs. */
export const PAIR_ADDRESSES = ['10.0.0.200', '10.9.0.0/16', '0.0.0.0/0', '2001:db8::c8', '2001:db8:9::/48'] as const;

interface SubnetSpec {
  readonly family: 'v4' | 'v6' | 'v4b';
  readonly vlan: number | undefined;
  readonly dhcp: boolean;
}
interface SwitchSpec {
  readonly vlanAware: boolean;
  readonly adminUp: boolean;
  readonly subnets: readonly SubnetSpec[];
}
interface PortSpec {
  readonly on: number;
  readonly addresses: number;
  readonly pairs: readonly { readonly mac: number; readonly address: number }[];
  readonly portSecurity: boolean;
  readonly adminUp: boolean;
  readonly vlan: LogicalPort['vlan'];
  readonly fromChain: number | undefined;
  readonly toChain: number | undefined;
  readonly at: number | undefined;
  readonly second: number | undefined;
  readonly requested: number | undefined;
}
interface RuleSpec {
  readonly match: RuleMatch;
  readonly action: Rule['action'];
  readonly jumpTo: number;
}

const small = fc.nat({ max: 7 });
const maybe = <T>(value: fc.Arbitrary<T>, freq = 2): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined, freq });
const mostly = (freq: number): fc.Arbitrary<boolean> => fc.nat({ max: freq }).map((n) => n !== freq);
const rarely = (freq: number): fc.Arbitrary<boolean> => fc.nat({ max: freq }).map((n) => n === freq);
const vlanId = fc.constantFrom(...VLAN_POOL);

const subnetSpec: fc.Arbitrary<SubnetSpec> = fc.record({
  family: fc.constantFrom<SubnetSpec['family'][]>('v4', 'v6', 'v4b'),
  vlan: maybe(vlanId),
  dhcp: mostly(3),
});

const switchSpec: fc.Arbitrary<SwitchSpec> = fc.record({
  vlanAware: rarely(1),
  adminUp: mostly(9),
  subnets: fc.uniqueArray(subnetSpec, { selector: ({ family }) => family, maxLength: 3 }),
});

const portVlan: fc.Arbitrary<LogicalPort['vlan']> = fc.oneof(
  fc.constant(undefined),
  fc.record({ access: vlanId }),
  trunk(fc.constant('all' as const)),
  trunk(fc.uniqueArray(vlanId, { minLength: 1, maxLength: 4 })),
  trunk(fc.constant(Array.from({ length: 90 }, (_, i) => i + 3))),
);

function trunk(ids: fc.Arbitrary<'all' | number[]>): fc.Arbitrary<LogicalPort['vlan']> {
  return fc
    .tuple(ids, maybe(vlanId))
    .map(([list, native]) => (native === undefined ? { trunk: list } : { trunk: list, native }));
}

const portSpec: fc.Arbitrary<PortSpec> = fc.record({
  on: small,
  /** Bits: the first address of each family, a second one of the first. */
  addresses: fc.constantFrom(7, 3, 0, 1, 2, 15),
  pairs: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(fc.record({ mac: small, address: small }), { maxLength: 2 }) },
  ),
  portSecurity: mostly(2),
  adminUp: mostly(9),
  vlan: portVlan,
  fromChain: maybe(small, 1),
  toChain: maybe(small, 1),
  at: maybe(small, 6),
  second: maybe(small, 1),
  requested: maybe(small, 1),
});

const ADDRESSES4 = ['10.0.0.1', '10.0.0.2', '10.0.0.0/30', '10.0.1.0/24', '0.0.0.0/0'] as const;
const ADDRESSES6 = ['2001:db8::1', '2001:db8::2', '2001:db8::/64', '::/0'] as const;
const PORT_RANGES = ['80', '0', '53-67', '1024-65535', '0-1023', '67', '68', '1000-1999'] as const;
const MASKED_MACS = [
  '02:00:00:00:00:01',
  '02:00:00:00:00:00/ff:00:00:00:00:00',
  'ff:ff:ff:ff:ff:ff',
  '01:00:00:00:00:00/01:00:00:00:00:00',
];

const defined = <T extends object>(value: T): RuleMatch =>
  Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as RuleMatch;

const ethernetMatch = fc.record({
  srcMac: maybe(fc.constantFrom(...MASKED_MACS), 1),
  dstMac: maybe(fc.constantFrom(...MASKED_MACS), 1),
  vlan: maybe(vlanId, 1),
});

const layer3Match: fc.Arbitrary<Partial<RuleMatch>> = fc.oneof(
  fc.constant({}),
  fc.record({
    etherType: fc.constantFrom<NonNullable<RuleMatch['etherType']>[]>('ipv4', 'arp', 'ipv6', 'rarp', 0x88cc, 0x0800),
  }),
  fc.record({ src: maybe(fc.constantFrom(...ADDRESSES4)), dst: maybe(fc.constantFrom(...ADDRESSES4)) }),
  fc.record({ src: maybe(fc.constantFrom(...ADDRESSES6)), dst: maybe(fc.constantFrom(...ADDRESSES6)) }),
  fc.record({
    arpOp: maybe(fc.constantFrom(1, 2, 300)),
    arpSender: maybe(fc.constantFrom('10.0.0.1', '10.0.0.2')),
    arpTarget: maybe(fc.constantFrom('10.0.0.1', '10.0.0.2')),
  }),
  fc.record({
    protocol: fc.constantFrom<NonNullable<RuleMatch['protocol']>[]>('tcp', 'udp', 'sctp', 6, 17),
    srcPorts: maybe(fc.constantFrom(...PORT_RANGES), 1),
    dstPorts: maybe(fc.constantFrom(...PORT_RANGES)),
    src: maybe(fc.constantFrom(...ADDRESSES4, '2001:db8::/64'), 1),
  }),
  fc.record({
    protocol: fc.constantFrom<NonNullable<RuleMatch['protocol']>[]>('icmp', 'icmpv6'),
    icmpType: maybe(fc.constantFrom(0, 8, 128, 129, 135, 136)),
    icmpCode: maybe(fc.constantFrom(0, 1), 1),
  }),
  fc.record({
    protocol: fc.constantFrom(47, 'tcp' as const),
    etherType: fc.constantFrom('ipv4' as const, 'ipv6' as const),
  }),
);

const ruleMatch: fc.Arbitrary<RuleMatch> = fc
  .tuple(fc.oneof({ weight: 2, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: ethernetMatch }), layer3Match)
  .map(([ethernet, layer3]) => defined({ ...ethernet, ...layer3 }));

const ruleSpec: fc.Arbitrary<RuleSpec> = fc.record({
  match: ruleMatch,
  action: fc.constantFrom<Rule['action'][]>('drop', 'accept', 'jump', 'return', 'log'),
  jumpTo: small,
});

const learnedSpec = fc.record({
  port: small,
  vlan: fc.constantFrom(0, ...VLAN_POOL),
  mac: fc.nat({ max: GUEST_MACS.length - 1 }),
});

export interface GenerateOptions {
  /** At most; 4 and 8 by default. */
  readonly maxHosts?: number;
  readonly maxPorts?: number;
  /** Only plain switches: not VLAN-aware. */
  readonly noVlans?: boolean;
}

/** Random models; all of them would be accepted by the server. */
export function generatedModel(options: GenerateOptions = {}): fc.Arbitrary<GeneratedModel> {
  return fc
    .record({
      encap: fc.constantFrom<Encap[]>('geneve', 'vxlan', 'gre'),
      hosts: fc.array(rarely(3), { minLength: 1, maxLength: options.maxHosts ?? 4 }),
      switches: fc.array(options.noVlans ? switchSpec.map((spec) => ({ ...spec, vlanAware: false })) : switchSpec, {
        minLength: 1,
        maxLength: 3,
      }),
      chains: fc.array(fc.record({ drops: rarely(2), rules: fc.array(ruleSpec, { maxLength: 6 }) }), { maxLength: 4 }),
      ports: fc.array(portSpec, { minLength: 1, maxLength: options.maxPorts ?? 8 }),
      learned: fc.array(learnedSpec, { maxLength: 3 }),
    })
    .map(build);
}

interface ModelSpec {
  readonly encap: Encap;
  readonly hosts: readonly boolean[];
  readonly switches: readonly SwitchSpec[];
  readonly chains: readonly { readonly drops: boolean; readonly rules: readonly RuleSpec[] }[];
  readonly ports: readonly PortSpec[];
  readonly learned: readonly { readonly port: number; readonly vlan: number; readonly mac: number }[];
}

const KIND_DIGITS = { tenant: 1, zone: 2, host: 3, switch: 4, chain: 5, rule: 6, port: 7 } as const;

/** Ids that tell in a failure what they are: `40000000-0000-4000-8000-000000000002` is the second switch. */
export function generatedId(kind: keyof typeof KIND_DIGITS, number: number): string {
  return `${KIND_DIGITS[kind]}0000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
}

const TENANT = generatedId('tenant', 1);

function build(spec: ModelSpec): GeneratedModel {
  const zone: TunnelZone = {
    kind: 'tunnelZone',
    id: generatedId('zone', 1),
    name: 'zone',
    revision: 1,
    encap: spec.encap,
  };
  const hosts = spec.hosts.map(
    (isV6, i): Host => ({
      kind: 'host',
      id: generatedId('host', i + 1),
      name: `h${i + 1}`,
      revision: 1,
      zone: zone.id,
      tunnelAddress: isV6 ? `2001:db8:ffff::${i + 1}` : `192.0.2.${i + 1}`,
      underlayMtu: 1500,
    }),
  );
  const switches = spec.switches.map(
    (each, i): LogicalSwitch => ({
      kind: 'switch',
      id: generatedId('switch', i + 1),
      name: `s${i + 1}`,
      revision: 1,
      tenant: TENANT,
      key: 0x100 + i + 1,
      vlanAware: each.vlanAware,
      adminUp: each.adminUp,
      subnets: each.subnets.map((subnet) => buildSubnet(subnet, each.vlanAware)),
    }),
  );
  const chains = spec.chains.map(
    ({ drops }, i): Chain => ({
      kind: 'chain',
      id: generatedId('chain', i + 1),
      name: `c${i + 1}`,
      revision: 1,
      tenant: TENANT,
      key: 0x200 + i + 1,
      policy: drops ? 'drop' : 'accept',
    }),
  );
  const ports = spec.ports.map((port, i) => buildPort(port, i, switches, chains, hosts));
  const placed = spec.ports.map((port, i) => buildBinding(port, ports[i]!, hosts));
  return {
    zone,
    hosts,
    switches,
    chains,
    rules: spec.chains.flatMap(({ rules }, i) => buildRules(rules, i, chains)),
    ports,
    bindings: placed.filter((binding) => binding !== undefined),
    interfaces: interfacesOf(placed, ports),
    learned: buildLearned(spec, switches, ports, placed),
  };
}

const CIDRS = { v4: '10.0.0.0/24', v6: '2001:db8::/64', v4b: '10.0.1.0/24' } as const;

function buildSubnet({ family, vlan, dhcp }: SubnetSpec, vlanAware: boolean): Subnet {
  return {
    cidr: CIDRS[family],
    ...(vlanAware && vlan !== undefined ? { vlan } : {}),
    dhcp: { enabled: dhcp, dns: [], ntp: [], routes: [], leaseSeconds: 3600 },
    ...(family === 'v6' ? { ipv6Mode: 'slaac' as const } : {}),
  };
}

function buildPort(
  spec: PortSpec,
  index: number,
  switches: readonly LogicalSwitch[],
  chains: readonly Chain[],
  hosts: readonly Host[],
): LogicalPort {
  const onSwitch = switches[spec.on % switches.length]!;
  const number = index + 1;
  const addresses = onSwitch.subnets.flatMap(({ cidr }, i) =>
    (spec.addresses & (1 << i)) === 0 ? [] : addressesIn(cidr, number, i === 0 && (spec.addresses & 8) !== 0),
  );
  const chain = (at: number | undefined): string | undefined =>
    at === undefined || chains.length === 0 ? undefined : chains[at % chains.length]!.id;
  const from = chain(spec.fromChain);
  const to = chain(spec.toChain);
  const macs = [undefined, undefined, ...VIRTUAL_MACS, macOfPort(1), macOfPort(number)];
  return {
    kind: 'port',
    id: generatedId('port', number),
    name: `p${number}`,
    revision: 1,
    tenant: TENANT,
    switch: onSwitch.id,
    key: 0x1000 + number,
    mac: macOfPort(number),
    addresses,
    allowedPairs: spec.pairs.map(({ mac, address }) => {
      const pairMac = macs[mac % macs.length];
      return {
        address: PAIR_ADDRESSES[address % PAIR_ADDRESSES.length]!,
        ...(pairMac === undefined ? {} : { mac: pairMac }),
      };
    }),
    portSecurity: spec.portSecurity,
    adminUp: spec.adminUp,
    ...(onSwitch.vlanAware && spec.vlan !== undefined ? { vlan: spec.vlan } : {}),
    ...(spec.requested === undefined ? {} : { host: hosts[spec.requested % hosts.length]!.id }),
    ...(from === undefined ? {} : { fromChain: from }),
    ...(to === undefined ? {} : { toChain: to }),
  };
}

function macOfPort(number: number): string {
  return `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`;
}

function addressesIn(cidr: string, number: number, second: boolean): string[] {
  const base = cidr.includes(':') ? '2001:db8::' : cidr.slice(0, cidr.lastIndexOf('.') + 1);
  return second ? [`${base}${number}`, `${base}${number + 40}`] : [`${base}${number}`];
}

/** Jumps lead to later chains only: circles are refused by the server. */
function buildRules(rules: readonly RuleSpec[], of: number, chains: readonly Chain[]): Rule[] {
  const chain = chains[of]!;
  const later = chains.slice(of + 1);
  return rules.map(({ match, action, jumpTo }, i): Rule => {
    const target = action === 'jump' && later.length > 0 ? later[jumpTo % later.length] : undefined;
    return {
      kind: 'rule',
      id: generatedId('rule', of * 100 + i + 1),
      name: `r${i + 1}`,
      revision: 1,
      tenant: TENANT,
      chain: chain.id,
      position: (i + 1) * 10,
      match,
      action: action === 'jump' && target === undefined ? 'return' : action,
      ...(target === undefined ? {} : { jumpTo: target.id }),
    };
  });
}

/** On one host, on two (a move, or a copy-paste mistake), or on none. The first to claim is active. */
function buildBinding(spec: PortSpec, port: LogicalPort, hosts: readonly Host[]): Binding | undefined {
  if (spec.at === undefined) return undefined;
  const at = [hosts[spec.at % hosts.length]!.id];
  const second = spec.second === undefined ? undefined : hosts[spec.second % hosts.length]!.id;
  if (second !== undefined && second !== at[0]) at.push(second);
  return {
    kind: 'binding',
    id: port.id,
    revision: 1,
    switch: port.switch,
    claims: at.map((host, i) => ({ host, interface: `tap-${port.name}`, sinceMs: i })),
    active: at[0]!,
  };
}

function interfacesOf(bindings: readonly (Binding | undefined)[], ports: readonly LogicalPort[]): GeneratedInterface[] {
  return bindings.flatMap((binding, i) =>
    (binding?.claims ?? []).map(({ host }) => ({ host, port: ports[i]!.id, ofport: i + 1 })),
  );
}

function buildLearned(
  spec: ModelSpec,
  switches: readonly LogicalSwitch[],
  ports: readonly LogicalPort[],
  bindings: readonly (Binding | undefined)[],
): LearnedAddress[] {
  const learned = new Map<string, LearnedAddress>();
  const teachers = ports.flatMap((port, i) => {
    const host = bindings[i]?.active;
    return port.portSecurity || host === undefined ? [] : [{ port, host }];
  });
  for (const entry of spec.learned) {
    const teacher = teachers[entry.port % teachers.length];
    if (teacher === undefined) continue;
    const isAware = switches.find(({ id }) => id === teacher.port.switch)!.vlanAware;
    const vlan = isAware ? entry.vlan : 0;
    const mac = GUEST_MACS[entry.mac]!;
    const id = `${teacher.port.switch}/${vlan}/${mac}`;
    const { port, host } = teacher;
    learned.set(id, { kind: 'learned', id, revision: 1, switch: port.switch, port: port.id, host, mac, vlan });
  }
  return [...learned.values()];
}
