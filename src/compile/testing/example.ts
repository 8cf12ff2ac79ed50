import type {
  AddressSet,
  Binding,
  Chain,
  FloatingAddress,
  Host,
  L2Gateway,
  LoadBalancer,
  LogicalPort,
  LogicalSwitch,
  Mirror,
  NatLease,
  Route,
  Router,
  RouterPort,
  Rule,
  RuleMatch,
  SecurityGroup,
  TunnelZone,
} from '../../model/objects.ts';
import type { BoundInterface, InputRecord, NatZone, Self } from '../inputs.ts';

/** Records with everything filled in, for tests and for the dump in docs/pipeline.md. */

const TENANT = '10000000-0000-4000-8000-000000000001';
const ZONE = '20000000-0000-4000-8000-000000000001';

const envelope = (kind: string, id: string, name: string): { id: string; name: string; revision: number } => ({
  id: id.padEnd(8, '0').length === 8 ? `${id.padStart(8, '0')}-0000-4000-8000-${kindDigits(kind)}` : id,
  name,
  revision: 1,
});

function kindDigits(kind: string): string {
  return [...kind.slice(0, 6)]
    .map((letter) => letter.charCodeAt(0).toString(16))
    .join('')
    .padEnd(12, '0');
}

export function idOf(kind: string, number: number): string {
  return envelope(kind, number.toString(16), '').id;
}

export function zone(encap: TunnelZone['encap'] = 'geneve'): TunnelZone {
  return { kind: 'tunnelZone', id: ZONE, name: 'zone', revision: 1, encap };
}

export function host(number: number, tunnelAddress = `192.0.2.${number}`): Host {
  return {
    kind: 'host',
    ...envelope('host', number.toString(16), `h${number}`),
    zone: ZONE,
    tunnelAddress,
    underlayMtu: 1500,
    drain: false,
  };
}

/** With a place on each host, untagged where no VLAN is said. */
export function l2Gateway(
  number: number,
  port: LogicalPort,
  hosts: readonly Host[],
  options: Partial<L2Gateway> = {},
): L2Gateway {
  return {
    kind: 'l2Gateway',
    ...envelope('l2Gateway', number.toString(16), `l${number}`),
    tenant: TENANT,
    port: port.id,
    vlan: 0,
    places: hosts.map((host) => ({ host: host.id, interface: 'eth1' })),
    silenceS: 3,
    failBack: true,
    adminUp: true,
    ...options,
  };
}

export function logicalSwitch(number: number, options: Partial<LogicalSwitch> = {}): LogicalSwitch {
  return {
    kind: 'switch',
    ...envelope('switch', number.toString(16), `s${number}`),
    tenant: TENANT,
    key: 0x100 + number,
    subnets: [],
    vlanAware: false,
    adminUp: true,
    shared: false,
    ...options,
  };
}

export function subnet(
  cidr: string,
  options: Partial<LogicalSwitch['subnets'][number]> = {},
): LogicalSwitch['subnets'][number] {
  return { cidr, dhcp: { enabled: true, dns: [], ntp: [], routes: [], leaseSeconds: 3600 }, ...options };
}

export function port(number: number, onSwitch: LogicalSwitch, options: Partial<LogicalPort> = {}): LogicalPort {
  return {
    kind: 'port',
    ...envelope('port', number.toString(16), `p${number}`),
    tenant: TENANT,
    switch: onSwitch.id,
    key: 0x1000 + number,
    mac: `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`,
    addresses: [],
    allowedPairs: [],
    portSecurity: true,
    adminUp: true,
    groups: [],
    ...options,
  };
}

/** Claimed by these hosts, the first being active. */
export function binding(of: LogicalPort, ...hosts: readonly Host[]): Binding {
  const claims = hosts.map(({ id }) => ({ host: id, interface: `tap-${of.name}`, sinceMs: 0 }));
  const active = hosts[0]?.id;
  return {
    kind: 'binding',
    id: of.id,
    revision: 1,
    switch: of.switch,
    claims,
    ...(active === undefined ? {} : { active }),
  };
}

export function boundInterface(of: LogicalPort, ofport: number): BoundInterface {
  return { kind: 'interface', id: of.id, ofport, name: `tap-${of.name}` };
}

export function self(of: Host, options: Partial<Self> = {}): Self {
  return { kind: 'self', id: 'self', host: of.id, tunnelPorts: { geneve: 100, vxlan: 101, gre: 102 }, ...options };
}

export function chain(number: number, policy: Chain['policy'] = 'accept'): Chain {
  return {
    kind: 'chain',
    ...envelope('chain', number.toString(16), `c${number}`),
    tenant: TENANT,
    key: 0x200 + number,
    policy,
  };
}

export function rule(
  number: number,
  of: Chain,
  position: number,
  action: Rule['action'],
  match: RuleMatch = {},
  jumpTo?: Chain,
): Rule {
  return {
    kind: 'rule',
    ...envelope('rule', number.toString(16), `r${number}`),
    tenant: TENANT,
    chain: of.id,
    position,
    match,
    action,
    ...(jumpTo === undefined ? {} : { jumpTo: jumpTo.id }),
  };
}

export function securityGroup(number: number, options: Partial<SecurityGroup> = {}): SecurityGroup {
  return {
    kind: 'securityGroup',
    ...envelope('securityGroup', number.toString(16), `g${number}`),
    tenant: TENANT,
    key: 0x300 + number,
    ingress: [],
    egress: [{}],
    ...options,
  };
}

export function addressSet(number: number, addresses: readonly string[]): AddressSet {
  return {
    kind: 'addressSet',
    ...envelope('addressSet', number.toString(16), `a${number}`),
    tenant: TENANT,
    key: 0x400 + number,
    addresses: [...addresses],
  };
}

/** Two hosts, a dual-stack switch with two ports on the first and one on the second; the view of the first. */
export function twoHosts(): InputRecord[] {
  const h1 = host(1);
  const h2 = host(2);
  const net = logicalSwitch(1, { subnets: [subnet('10.0.0.0/24'), subnet('2001:db8::/64', { ipv6Mode: 'slaac' })] });
  const p1 = port(1, net, { addresses: ['10.0.0.1', '2001:db8::1'] });
  const p2 = port(2, net, { addresses: ['10.0.0.2', '2001:db8::2'] });
  const p3 = port(3, net, { addresses: ['10.0.0.3', '2001:db8::3'] });
  return [
    zone(),
    h1,
    h2,
    net,
    p1,
    p2,
    p3,
    binding(p1, h1),
    binding(p2, h1),
    binding(p3, h2),
    boundInterface(p1, 1),
    boundInterface(p2, 2),
    self(h1),
  ];
}

export function router(number: number, options: Partial<Router> = {}): Router {
  return {
    kind: 'router',
    ...envelope('router', number.toString(16), `router${number}`),
    tenant: TENANT,
    key: 0x300 + number,
    routes: [],
    policies: [],
    snat: [],
    adminUp: true,
    ...options,
  };
}

/** Numbered over all routers; key and MAC follow from the number. */
export function routerPort(number: number, of: Router, options: Partial<RouterPort> = {}): RouterPort {
  const low = number.toString(16).padStart(4, '0');
  return {
    kind: 'routerPort',
    ...envelope('rport', number.toString(16), `rp${number}`),
    tenant: TENANT,
    router: of.id,
    key: 0x2000 + number,
    mac: `02:00:00:01:${low.slice(0, 2)}:${low.slice(2)}`,
    addresses: [],
    outside: false,
    adminUp: true,
    ...options,
  };
}

export function route(to: string, options: Partial<Route> = {}): Route {
  return { to, metric: 100, weight: 1, ...options };
}

/** Its members serve TCP 80; the options say on which router or switch. */
export function loadBalancer(
  number: number,
  address: string,
  members: readonly LogicalPort[],
  options: Partial<LoadBalancer> = {},
): LoadBalancer {
  return {
    kind: 'loadBalancer',
    ...envelope('lb', number.toString(16), `lb${number}`),
    tenant: TENANT,
    key: 0x500 + number,
    address,
    listeners: [{ protocol: 'tcp', port: 80 }],
    members: members.map(({ id }) => ({ port: id, weight: 1, drain: false, adminUp: true })),
    sticky: 'none',
    onEmpty: 'reject',
    slots: 32,
    adminUp: true,
    ...options,
  };
}

export function floatingAddress(number: number, address: string, of: Router, to: LogicalPort): FloatingAddress {
  return {
    kind: 'floatingAddress',
    ...envelope('float', number.toString(16), `f${number}`),
    tenant: TENANT,
    address,
    router: of.id,
    port: to.id,
    adminUp: true,
  };
}

/** Copies of what `ports` send and receive. */
export function mirror(
  number: number,
  ports: readonly LogicalPort[],
  to: Mirror['to'],
  more: Partial<Mirror> = {},
): Mirror {
  return {
    kind: 'mirror',
    ...envelope('mirror', number.toString(16), `m${number}`),
    tenant: TENANT,
    ports: ports.map(({ id }) => id),
    direction: 'both',
    match: {},
    to,
    adminUp: true,
    key: 0x700 + number,
    ...more,
  };
}

export function natZone(of: Router, zone: number, isTight = false): NatZone {
  return { kind: 'natZone', id: of.id, zone, ...(isTight && { isTight }) };
}

export function natLease(
  of: Router,
  address: string,
  to: Host,
  ...blocks: readonly [first: number, size: number][]
): NatLease {
  return {
    kind: 'natLease',
    id: `${of.id}/${address}/${to.id}`,
    revision: 1,
    router: of.id,
    address,
    host: to.id,
    blocks: blocks.map(([first, size]) => ({ first, size })),
  };
}

/**
 * `twoHosts`, and a router from there to a second switch, its outside, which has one port on the second host. There the first port has an
 * address of its own, the other two serve behind a virtual one, and all else leaves by a third.
 */
export function routedHosts(): InputRecord[] {
  const [h1, h2] = [host(1), host(2)];
  const net = logicalSwitch(1);
  const [p1, p2, p3] = [port(1, net), port(2, net), port(3, net)];
  const far = logicalSwitch(2, { subnets: [subnet('10.0.2.0/24'), subnet('2001:db8:2::/64')], mtu: 1400 });
  const core = router(1, {
    routes: [route('0.0.0.0/0', { via: '10.0.2.4' })],
    snat: [{ from: '10.0.0.0/24', to: '10.0.2.51' }],
  });
  const p4 = port(4, far, { addresses: ['10.0.2.4', '2001:db8:2::4'] });
  return [
    ...twoHosts().map((record, i) => (record.kind === 'interface' ? { ...record, zone: 4 * i } : record)),
    far,
    core,
    routerPort(1, core, { switch: net.id, addresses: ['10.0.0.254/24', '2001:db8::fe/64'] }),
    routerPort(2, core, { switch: far.id, addresses: ['10.0.2.254/24', '2001:db8:2::fe/64'], outside: true }),
    p4,
    binding(p4, h2),
    natZone(core, 400),
    natLease(core, '10.0.2.51', h1, [10240, 64]),
    natLease(core, '10.0.2.51', h2, [20480, 64]),
    floatingAddress(1, '10.0.2.50', core, p1),
    loadBalancer(1, '10.0.2.80', [p2, p3], { router: core.id, slots: 16 }),
  ];
}
