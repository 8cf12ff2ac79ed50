import { formatIp, type Ip, parseIp, parseMac } from '../base/addresses.ts';
import { type ModelIndex, modelOf } from '../model/model-index.ts';
import type { LogicalPort, Router, RouterPort, Rule, RuleMatch, ScopeRecord, SecurityGroup } from '../model/objects.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { Connections } from './connections.ts';
import type { Frame } from './frame.ts';
import type { Outcome } from './outcome.ts';
import { walkFrame } from './simulate.ts';

/**
 * A three-tier application, by hand; ids are names.
 *
 *     client 203.0.113.200 ─┐
 *     isp    203.0.113.1   ─┤ internet (shared)
 *                           │ 203.0.113.2, outside; SNAT to .10, floating .20 → web-1, VIP .80:80 → web-1|2:8080
 *                         edge
 *        ┌──────────────────┼───────────────────┐
 *     web 10.0.1.0/24    app 10.0.2.0/24     db 10.0.3.0/24
 *     web-1 .11 (h1)     app-1 .11 (h1)      db-1 .11 (h2)
 *     web-2 .12 (h2)     app-2 .12 (h2)
 *                        VIP .100:8000 → app-1|2
 *
 * Groups: web takes tcp/8080, tcp/22 and ping from anywhere; app tcp/8000 from web; db tcp/5432 from app. client and isp are on h3. web and app have IPv6 too.
 */
export function threeTier(...more: readonly ScopeRecord[]): ModelIndex {
  const tiers = [
    ['web', '10.0.1', '2001:db8:1::'],
    ['app', '10.0.2', '2001:db8:2::'],
    ['db', '10.0.3', undefined],
  ] as const;
  return modelOf([
    { kind: 'tenant', id: 'acme', name: 'acme', revision: 1 },
    { kind: 'tenant', id: 'operator', name: 'operator', revision: 1 },
    { kind: 'tunnelZone', id: 'zone', name: 'zone', revision: 1, encap: 'geneve' },
    ...['h1', 'h2', 'h3'].map((id, n) => ({
      ...({ kind: 'host', id, name: id, revision: 1, zone: 'zone', underlayMtu: 1500, drain: false } as const),
      tunnelAddress: `198.51.100.${n + 1}`,
    })),
    ...tiers.flatMap(([name, net4, net6]): ScopeRecord[] => [
      logicalSwitch(name, [`${net4}.0/24`, `${net4}.1`], ...(net6 ? [[`${net6}/64`, `${net6}1`] as const] : [])),
      routerPort(name, { switch: name, addresses: [`${net4}.1/24`, ...(net6 ? [`${net6}1/64`] : [])] }),
    ]),
    { ...logicalSwitch('internet', ['203.0.113.0/24', '203.0.113.1']), tenant: 'operator', shared: true },
    router({
      routes: [{ to: '0.0.0.0/0', via: '203.0.113.1', metric: 100, weight: 1 }],
      snat: [{ from: '10.0.0.0/16', to: '203.0.113.10' }],
    }),
    routerPort('outside', { switch: 'internet', addresses: ['203.0.113.2/24'], outside: true }),
    group('web', [{ protocol: 'tcp', ports: '8080' }, { protocol: 'tcp', ports: '22' }, { protocol: 'icmp' }]),
    group('app', [{ protocol: 'tcp', ports: '8000', group: 'web' }]),
    group('db', [{ protocol: 'tcp', ports: '5432', group: 'app' }]),
    ...workload('web-1', 'h1', { switch: 'web', addresses: ['10.0.1.11', '2001:db8:1::11'], groups: ['web'] }),
    ...workload('web-2', 'h2', { switch: 'web', addresses: ['10.0.1.12', '2001:db8:1::12'], groups: ['web'] }),
    ...workload('app-1', 'h1', { switch: 'app', addresses: ['10.0.2.11', '2001:db8:2::11'], groups: ['app'] }),
    ...workload('app-2', 'h2', { switch: 'app', addresses: ['10.0.2.12', '2001:db8:2::12'], groups: ['app'] }),
    ...workload('db-1', 'h2', { switch: 'db', addresses: ['10.0.3.11'], groups: ['db'] }),
    ...workload('client', 'h3', { switch: 'internet', addresses: ['203.0.113.200'], tenant: 'operator' }),
    ...workload('isp', 'h3', { switch: 'internet', addresses: ['203.0.113.1'], tenant: 'operator' }),
    {
      ...{ kind: 'floatingAddress', id: 'public-web', name: 'public-web', tenant: 'acme', revision: 1, adminUp: true },
      ...{ address: '203.0.113.20', router: 'edge', port: 'web-1' },
    },
    balancer('shop', '203.0.113.80', { port: 80, memberPort: 8080 }, ['web-1', 'web-2']),
    balancer('api', '10.0.2.100', { port: 8000 }, ['app-1', 'app-2']),
    lease('h1', 1024),
    lease('h2', 2048),
    ...more,
  ]);
}

let key = 0;
const nextKey = (): number => ++key;

export function logicalSwitch(
  id: string,
  ...subnets: readonly (readonly [string, string])[]
): ScopeRecord & { kind: 'switch' } {
  return {
    ...{ kind: 'switch', id, name: id, tenant: 'acme', revision: 1, key: nextKey() },
    ...{ vlanAware: false, adminUp: true, shared: false },
    subnets: subnets.map(([cidr, gateway]) => ({
      cidr,
      gateway,
      dhcp: { enabled: true, dns: [], ntp: [], routes: [], leaseSeconds: 3600 },
    })),
  };
}

export function router(fields: Partial<Router>, id = 'edge'): Router {
  return {
    ...{ kind: 'router', id, name: id, tenant: 'acme', revision: 1, key: nextKey() },
    ...{ routes: [], policies: [], snat: [], adminUp: true },
    ...fields,
  };
}

export function routerPort(name: string, fields: Partial<RouterPort>, of = 'edge'): RouterPort {
  const own = nextKey();
  return {
    ...{ kind: 'routerPort', id: `${of}/${name}`, name, tenant: 'acme', revision: 1, key: own, router: of },
    ...{ mac: mac(0xee, own), addresses: [], outside: false, adminUp: true },
    ...fields,
  };
}

export function workload(id: string, host: string, fields: Partial<LogicalPort>): ScopeRecord[] {
  const own = nextKey();
  const port: LogicalPort = {
    ...{ kind: 'port', id, name: id, tenant: 'acme', revision: 1, key: own, switch: 'web', mac: mac(0xaa, own) },
    ...{ addresses: [], allowedPairs: [], portSecurity: true, adminUp: true, groups: [] },
    ...fields,
  };
  const claims = [{ host, interface: id, sinceMs: 1 }];
  return [port, { kind: 'binding', id, revision: 1, switch: port.switch, claims, active: host }];
}

export function group(
  id: string,
  ingress: SecurityGroup['ingress'],
  egress: SecurityGroup['egress'] = [{}],
): ScopeRecord {
  return { kind: 'securityGroup', id, name: id, tenant: 'acme', revision: 1, key: nextKey(), ingress, egress };
}

export function balancer(
  id: string,
  address: string,
  listener: { readonly port: number; readonly memberPort?: number },
  members: readonly string[],
): ScopeRecord & { kind: 'loadBalancer' } {
  return {
    ...{ kind: 'loadBalancer', id, name: id, tenant: 'acme', revision: 1, key: nextKey(), address, router: 'edge' },
    listeners: [{ protocol: 'tcp', ...listener }],
    members: members.map((port) => ({ port, weight: 1, drain: false, adminUp: true })),
    ...{ sticky: 'none', onEmpty: 'reject', slots: 32, adminUp: true },
  };
}

export function lease(host: string, first: number): ScopeRecord {
  const id = `edge/203.0.113.10/${host}`;
  const blocks = [{ first, size: 1024 }];
  return { kind: 'natLease', id, revision: 1, router: 'edge', address: '203.0.113.10', host, blocks };
}

/** A chain of the given rules: match and action. */
export function chain(
  id: string,
  policy: 'accept' | 'drop',
  ...rules: readonly (readonly [RuleMatch, Rule['action']])[]
): ScopeRecord[] {
  return [
    { kind: 'chain', id, name: id, tenant: 'acme', revision: 1, key: nextKey(), policy },
    ...rules.map(([match, action], n): Rule => {
      const name = `rule-${n}`;
      const common = { kind: 'rule', id: `${id}/${name}`, name, tenant: 'acme', revision: 1 } as const;
      return { ...common, chain: id, position: 10 * (n + 1), match, action };
    }),
  ];
}

function mac(kind: number, n: number): string {
  const hex = (byte: number): string => byte.toString(16).padStart(2, '0');
  return `02:${hex(kind)}:00:00:${hex(n >> 8)}:${hex(n & 255)}`;
}

/** Gives an object other fields. */
export function change(model: ModelIndex, kind: ScopeRecord['kind'], id: string, fields: object): void {
  model.put({ ...model.get(kind, id)!, ...fields } as ScopeRecord);
}

export interface PacketFields {
  readonly src: string;
  readonly dst: string;
  readonly protocol?: 'tcp' | 'udp' | 'icmp';
  readonly ports?: readonly [number, number];
  readonly flags?: number;
  readonly icmp?: Frame['icmp'];
  readonly ttl?: number;
  readonly length?: number;
  readonly quoted?: Frame['quoted'];
}

/** A packet from a port to the router port (or whatever has that id) whose MAC is its next hop; TCP SYN to port 80 unless said otherwise. */
export function packet(model: ModelIndex, from: string, via: string, fields: PacketFields): Frame {
  const next = model.get('routerPort', via) ?? model.get('port', via);
  const [src, dst] = [ip(fields.src), ip(fields.dst)];
  const kind = fields.protocol ?? 'tcp';
  const [sport, dport] = fields.ports ?? [40_000, 80];
  return {
    src: parseMac(model.get('port', from)!.mac)!,
    dst: next ? parseMac(next.mac)! : parseMac(via)!,
    etherType: src.version === 4 ? ETHER_TYPE.ipv4 : ETHER_TYPE.ipv6,
    ip: {
      ...{ version: src.version, src, dst, ttl: fields.ttl ?? 64, dscp: 0, fragment: 'no' },
      protocol: { tcp: 6, udp: 17, icmp: src.version === 4 ? 1 : 58 }[kind],
      length: fields.length ?? 60,
    },
    ...(kind === 'icmp'
      ? { icmp: fields.icmp ?? { type: src.version === 4 ? 8 : 128, code: 0, id: 7 } }
      : { ports: { src: sport, dst: dport } }),
    ...(kind === 'tcp' ? { tcpFlags: fields.flags ?? TCP_FLAG.syn } : {}),
    ...(fields.quoted === undefined ? {} : { quoted: fields.quoted }),
  };
}

export function ip(text: string): Ip {
  return parseIp(text)!;
}

/** Sends a frame from a port's active host. */
export function send(model: ModelIndex, port: string, frame: Frame, connections?: Connections): Outcome {
  return walkFrame(model, { port, host: model.bindingOf(port)!.active!, frame }, connections ?? new Connections());
}

/** What happened in a few words: `web-1 10.0.1.11:8080 ttl 63`, `drop ttl`, `ask ttl`. */
export function gist({ deliveries, drops, requests }: Outcome): string[] {
  const end = (address: Ip, port: number | undefined): string =>
    `${formatIp(address)}${port === undefined ? '' : `:${port}`}`;
  return [
    ...deliveries.map(({ port, frame: { ip: part, ports } }) =>
      part ? `${port}: ${end(part.src, ports?.src)} → ${end(part.dst, ports?.dst)} ttl ${part.ttl}` : `${port}: no IP`,
    ),
    ...drops.map(({ reason }) => `drop ${reason}`),
    ...requests.map(({ service, isSilent }) => `ask ${service}${isSilent ? ' in silence' : ''}`),
  ];
}
