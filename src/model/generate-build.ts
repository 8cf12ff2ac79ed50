import { cidrContains, formatIp, parseCidr, plus } from '../base/addresses.ts';
import {
  BARE_SUBNETS,
  LEARNED_MACS,
  MAC_PREFIXES,
  type ModelSketch,
  PAIR_ADDRESSES,
  PAIR_MACS,
  PORT_VLANS,
  type PortSketch,
  type RuleSketch,
  SUBNETS,
  type SwitchSketch,
} from './generate.ts';
import { buildGroups } from './generate-build-groups.ts';
import { buildNeighbours, buildNetwork, prefilterOf } from './generate-build-routed.ts';
import { at, generatedId, ofTenant } from './generated.ts';
import type {
  Binding,
  Chain,
  L2Gateway,
  LearnedAddress,
  LogicalPort,
  LogicalSwitch,
  Rule,
  RuleMatch,
  ScopeRecord,
  Subnet,
  Vtep,
} from './objects.ts';
import { isInVlan } from './subnets.ts';

/** An interface of a port on a host. `early`: the port's binding does not know of it yet. */
export interface PluggedInterface {
  readonly port: string;
  readonly host: string;
  readonly early: boolean;
}

export interface GeneratedModel {
  readonly records: readonly ScopeRecord[];
  readonly interfaces: readonly PluggedInterface[];
}

/** The records of a sketch; they keep the rules of `rules.ts`. Equal sketches give equal records. */
export function buildModel(sketch: ModelSketch): GeneratedModel {
  const records: ScopeRecord[] = [];
  const interfaces: PluggedInterface[] = [];
  const id = generatedId;
  for (let n = 0; n < (sketch.tenants ?? 2); n++)
    records.push({ kind: 'tenant', id: id('tenant', n), name: `tenant-${n}`, revision: 1 });
  for (const [n, encap] of sketch.encaps.entries())
    records.push({ kind: 'tunnelZone', id: id('tunnelZone', n), name: `zone-${n}`, revision: 1, encap });
  const gatewayInterfaces = sketch.switches.flatMap(({ ports }, n) =>
    ports.flatMap((port, p) => (isOutside(port) ? [`eth${n * 100 + p}`] : [])),
  );
  for (const [n, zone] of sketch.hosts.entries())
    records.push({
      kind: 'host',
      id: id('host', n),
      name: `host-${n}`,
      revision: 1,
      zone: id('tunnelZone', zone % sketch.encaps.length),
      tunnelAddress: `${sketch.underlay === 6 ? '2001:db8:ffff::' : '198.51.100.'}${n + 1}`,
      underlayMtu: sketch.underlayMtu ?? 1500,
      drain: false,
      ...(gatewayInterfaces.length === 0 ? {} : { gatewayInterfaces }),
    });
  buildGroups(sketch, records);
  buildChains(sketch, records);
  for (const [n, device] of sketch.switches.entries()) buildSwitch(sketch, n, device, records, interfaces);
  buildNetwork(sketch, records);
  const bare = new Set(sketch.switches.flatMap((device, n) => (device.bare ? [id('switch', n)] : [])));
  return {
    records: records.map((each) => (each.kind === 'switch' && bare.has(each.id) ? { ...each, subnets: [] } : each)),
    interfaces,
  };
}

function tenantOf({ tenants = 2 }: ModelSketch, n: number): string {
  return generatedId('tenant', n % tenants);
}

/** The chains that objects of the same tenant as the n-th switch may use; undefined where there are none. */
function chainFor(sketch: ModelSketch, n: number, index: number | undefined): string | undefined {
  const { tenants = 2, chains } = sketch;
  const chain = ofTenant(tenants, chains.length, n % tenants, index);
  return chain === undefined ? undefined : generatedId('chain', chain);
}

function buildChains(sketch: ModelSketch, records: ScopeRecord[]): void {
  for (const [c, { policy, rules }] of sketch.chains.entries()) {
    const chain: Chain = {
      kind: 'chain',
      id: generatedId('chain', c),
      name: `chain-${c}`,
      tenant: tenantOf(sketch, c),
      revision: 1,
      policy,
      key: 10 + c,
    };
    records.push(chain);
    // Only later chains: jumps lead to no circle.
    const later = sketch.chains.flatMap((_, other) =>
      other > c && tenantOf(sketch, other) === tenantOf(sketch, c) ? [other] : [],
    );
    for (const [r, rule] of rules.entries()) {
      const jumps = rule.action === 'jump' && later.length > 0;
      const record: Rule = {
        kind: 'rule',
        id: generatedId('rule', c * 100 + r),
        name: `rule-${r}`,
        tenant: tenantOf(sketch, c),
        revision: 1,
        chain: chain.id,
        position: (r + 1) * 10,
        match: matchOf(sketch, c, rule),
        action: rule.action === 'jump' && !jumps ? 'log' : rule.action,
        ...(jumps ? { jumpTo: generatedId('chain', at(later, rule.jump)) } : {}),
      };
      records.push(record);
    }
  }
}

/** With the sets and groups that it names. */
function matchOf({ tenants = 2, network }: ModelSketch, c: number, { match, ends = {} }: RuleSketch): RuleMatch {
  const type = match.etherType;
  const isIp = type === undefined || [0x0800, 0x86dd, 'ipv4', 'ipv6'].includes(type);
  if (!isIp || (match.arpOp ?? match.arpSender ?? match.arpTarget) !== undefined) return { ...match };
  const named: Record<string, string> = {};
  for (const [field, index] of Object.entries(ends)) {
    const kind = field.endsWith('Set') ? 'addressSet' : 'securityGroup';
    const count = (kind === 'addressSet' ? network?.sets : network?.groups)?.length ?? 0;
    const found = ofTenant(tenants, count, c % tenants, index);
    if (found !== undefined) named[field] = generatedId(kind, found);
  }
  return { ...match, ...named };
}

function buildSwitch(
  sketch: ModelSketch,
  n: number,
  device: SwitchSketch,
  records: ScopeRecord[],
  interfaces: PluggedInterface[],
): void {
  const record: LogicalSwitch = {
    kind: 'switch',
    id: generatedId('switch', n),
    name: `switch-${n}`,
    tenant: tenantOf(sketch, n),
    revision: 1,
    key: 100 + n,
    vlanAware: device.vlanAware,
    adminUp: !device.down,
    shared: device.shared ?? false,
    ...(device.mtu === undefined ? {} : { mtu: device.mtu }),
    ...prefilterOf(records, tenantOf(sketch, n), device.prefilter),
    ...(device.dns ? { dns: true } : {}),
    subnets: subnetsOf(device, n),
  };
  records.push(record);
  const ports = device.ports.map((port, p) => buildPort(sketch, n, p, port, record));
  for (const [p, port] of ports.entries()) {
    records.push(port);
    if (isOutside(device.ports[p]!)) records.push(...outsideOf(sketch, record, port, n * 100 + p));
    bind(sketch, device.ports[p]!, port, records, interfaces);
  }
  buildNeighbours(device, record, ports, records);
  const open = ports.filter((port) => !port.portSecurity);
  const seen = new Set<string>();
  for (const { port, mac, vlan } of open.length > 0 ? device.learned : []) {
    const behind = at(open, port);
    const binding = records.find((r): r is Binding => r.kind === 'binding' && r.id === behind.id);
    const learnedId = `${record.id}/${record.vlanAware ? vlan : 0}/${at(LEARNED_MACS, mac)}`;
    if (binding?.active === undefined || seen.has(learnedId)) continue;
    seen.add(learnedId);
    const learned: LearnedAddress = {
      kind: 'learned',
      id: learnedId,
      revision: 1,
      switch: record.id,
      port: behind.id,
      host: binding.active,
      mac: at(LEARNED_MACS, mac),
      vlan: record.vlanAware ? vlan : 0,
    };
    records.push(learned);
  }
}

function isOutside({ unsecured, outside }: PortSketch): boolean {
  return unsecured && outside === true;
}

/** Of one VLAN: every other one a binding of a VTEP of its own, which every host talks to. */
function outsideOf(sketch: ModelSketch, device: LogicalSwitch, port: LogicalPort, n: number): ScopeRecord[] {
  if (n % 2 === 0 || (device.vlanAware && !(port.vlan && 'access' in port.vlan)))
    return [gatewayOf(sketch, device, port, n)];
  const vtep: Vtep = {
    ...{ kind: 'vtep', id: generatedId('vtep', n), name: `vtep-${n}`, revision: 1, failBack: true },
    ...{ management: `tcp:vtep-${n}:6640`, physicalPorts: ['eth1'] },
    places: sketch.hosts.map((_, h) => ({ host: generatedId('host', h), address: `192.0.2.${h + 1}` })),
  };
  return [
    vtep,
    {
      ...{ kind: 'vtepBinding', id: generatedId('vtepBinding', n), name: `binding-${n}`, tenant: port.tenant },
      ...{ revision: 1, port: port.id, vtep: vtep.id, vni: port.key, adminUp: true },
      physicalPorts: [{ port: 'eth1', vlan: n % 3 }],
    },
  ];
}

/** Each has interfaces of its own, and a place on every host. */
function gatewayOf(sketch: ModelSketch, device: LogicalSwitch, port: LogicalPort, n: number): L2Gateway {
  const isTrunk = device.vlanAware && !(port.vlan && 'access' in port.vlan);
  return {
    ...{ kind: 'l2Gateway', id: generatedId('l2Gateway', n), name: `gateway-${n}`, tenant: port.tenant, revision: 1 },
    ...{ port: port.id, silenceS: 3, failBack: true, adminUp: true },
    places: sketch.hosts.map((_, h) => ({ host: generatedId('host', h), interface: `eth${n}` })),
    ...(isTrunk ? {} : { vlan: 100 + (n % 2) }),
  };
}

function subnetsOf(device: SwitchSketch, n: number): Subnet[] {
  const picked = new Map(device.subnets.map((subnet) => [subnet.pick, subnet]));
  return [...picked.values()].map(({ pick, dhcp, gateway, vlan }) => {
    const cidr = SUBNETS[pick] ?? (pick === 5 ? `10.${100 + n}.0.0/24` : `2001:db8:${100 + n}::/64`);
    const first = parseCidr(cidr)!.ip;
    return {
      cidr,
      dhcp: { enabled: dhcp, dns: [], ntp: [], routes: [], leaseSeconds: 3600 },
      ...(gateway && !device.shared ? { gateway: formatIp(plus(first, 1)) } : {}),
      ...(vlan !== undefined && device.vlanAware ? { vlan } : {}),
      ...(pick === 1 ? { ipv6Mode: 'slaac' as const } : pick === 3 ? { ipv6Mode: 'stateful' as const } : {}),
    };
  });
}

function buildPort(sketch: ModelSketch, n: number, p: number, port: PortSketch, device: LogicalSwitch): LogicalPort {
  const vlan = device.vlanAware && port.vlan !== undefined ? at(PORT_VLANS, port.vlan) : undefined;
  const fromChain = chainFor(sketch, n, port.fromChain);
  const toChain = chainFor(sketch, n, port.toChain);
  const record: LogicalPort = {
    kind: 'port',
    id: generatedId('port', n * 100 + p),
    name: `port-${n}-${p}`,
    tenant: tenantOf(sketch, n),
    revision: 1,
    switch: device.id,
    key: 1000 + n * 100 + p,
    mac: `${at(MAC_PREFIXES, port.mac)}:${(p + 1).toString(16).padStart(2, '0')}`,
    addresses: [],
    groups: groupsOf(sketch, n, port),
    allowedPairs: pairsFor(port, device),
    portSecurity: !port.unsecured,
    adminUp: !port.down,
    ...(port.dscp === undefined ? {} : { dscp: port.dscp }),
    ...(vlan === undefined ? {} : { vlan: vlan as LogicalPort['vlan'] }),
    ...(fromChain === undefined ? {} : { fromChain }),
    ...(toChain === undefined ? {} : { toChain }),
    ...(port.requested === undefined || isOutside(port) ? {} : { host: hostOf(sketch, port.requested) }),
  };
  return { ...record, addresses: addressesFor(port, p, record, device) };
}

/** On a shared switch no pair is of everything: other tenants' routers have addresses there. */
function pairsFor({ pairs }: PortSketch, { shared }: LogicalSwitch): LogicalPort['allowedPairs'] {
  const all = pairs.map(({ mac, address }) => ({
    ...(mac === undefined ? {} : { mac: at(PAIR_MACS, mac) }),
    address: at(PAIR_ADDRESSES, address),
  }));
  return shared ? all.filter(({ address }) => !address.endsWith('/0')) : all;
}

function groupsOf({ tenants = 2, network }: ModelSketch, n: number, { groups = [] }: PortSketch): string[] {
  const own = groups.flatMap((group) => ofTenant(tenants, network?.groups.length ?? 0, n % tenants, group) ?? []);
  return [...new Set(own)].map((group) => generatedId('securityGroup', group));
}

/** The (10 + p)-th address of each subnet, where the port is in the subnet's VLAN. */
function addressesFor(port: PortSketch, p: number, record: LogicalPort, device: LogicalSwitch): string[] {
  const cidrs = device.subnets.length > 0 ? device.subnets.map(({ cidr }) => cidr) : BARE_SUBNETS;
  const addresses = new Set<string>();
  for (const index of port.addresses) {
    const cidr = at(cidrs, index);
    const ip = plus(parseCidr(cidr)!.ip, (cidr === '10.0.1.0/28' ? 4 : 10) + p);
    const subnet = device.subnets.find((each) => cidrContains(parseCidr(each.cidr)!, ip));
    if (!subnet || isInVlan(device, record, subnet.vlan ?? 0)) addresses.add(formatIp(ip));
  }
  return [...addresses];
}

function hostOf(sketch: ModelSketch, index: number): string {
  return generatedId('host', index % sketch.hosts.length);
}

function bind(
  sketch: ModelSketch,
  { binding }: PortSketch,
  port: LogicalPort,
  records: ScopeRecord[],
  interfaces: PluggedInterface[],
): void {
  if (binding.kind === 'none') return;
  const host = hostOf(sketch, binding.host);
  if (binding.kind === 'early') {
    interfaces.push({ port: port.id, host, early: true });
    return;
  }
  const other = binding.kind === 'two' ? hostOf(sketch, binding.other) : host;
  const hosts = other === host ? [host] : [host, other];
  const claims = hosts.map((claimer) => ({ host: claimer, interface: `if-${port.name}`, sinceMs: 1 }));
  records.push({ kind: 'binding', id: port.id, revision: 1, switch: port.switch, claims, active: host });
  for (const claimer of hosts) interfaces.push({ port: port.id, host: claimer, early: false });
}
