import { formatMac } from '../src/base/addresses.ts';
import type { Encap, Host, LogicalPort, LogicalSwitch, ScopeRecord } from '../src/model/objects.ts';

/**
 * Networks for benches: dual-stack switches with ports spread over two hosts, as records (what an agent's compiler
 * takes) and as objects (what the API takes). Everything follows from the numbers, so that two runs compare.
 */
export interface NetworkSize {
  readonly switches: number;
  /** Over all switches, evenly. */
  readonly ports: number;
  /** Of them on the first host, which lie on the first `localSwitches` switches, evenly. */
  readonly localPorts: number;
  readonly localSwitches: number;
  /** Where all others are: on the second host, or (when not given) on a far one that is only talked about. */
  readonly others?: 1 | 2;
}

export const TENANT_ID = benchId(0, 1);
export const ZONE_ID = benchId(1, 1);
export const HOST_IDS = [benchId(2, 1), benchId(2, 2), benchId(2, 3)] as const;
/** The lab's hosts. */
export const HOST_NAMES = ['one', 'two'] as const;
/** The host that no agent runs on: most ports of a large network are there. */
export const FAR_HOST = 'far';
const FAR_ADDRESS = '172.31.0.99';
export const ENCAP: Encap = 'geneve';

export interface PlannedPort {
  readonly id: string;
  readonly name: string;
  readonly switchIndex: number;
  /** 0: the first host, where the bench looks; 1: the second; 2: the far one. */
  readonly host: 0 | 1 | 2;
  readonly mac: string;
  readonly addresses: readonly [string, string];
}

/** Ports in the order of their switches; on a local switch, local ports come first. */
export function planPorts(size: NetworkSize): PlannedPort[] {
  const ports: PlannedPort[] = [];
  for (let s = 0; s < size.switches; s++) {
    const count = share(size.ports, size.switches, s);
    const local = s < size.localSwitches ? share(size.localPorts, size.localSwitches, s) : 0;
    for (let p = 0; p < count; p++) ports.push(planPort(s, p, p < local ? 0 : (size.others ?? 2)));
  }
  return ports;
}

/** The port with this place on its switch; places are never used twice. */
export function planPort(switchIndex: number, place: number, host: 0 | 1 | 2): PlannedPort {
  const mac = formatMac(0x0200_0000_0000 + switchIndex * 0x1_0000 + place + 1);
  return {
    id: benchId(4, switchIndex * 0x1_0000 + place + 1),
    name: `p-${switchIndex}-${place}`,
    switchIndex,
    host,
    mac,
    // Every switch has the same IPv4 subnet: networks of tenants may overlap.
    addresses: [
      `10.${place >> 8}.${place & 255}.5`,
      `fd00:${(switchIndex + 1).toString(16)}::${(place + 16).toString(16)}`,
    ],
  };
}

export function switchId(index: number): string {
  return benchId(3, index + 1);
}

/** All records of a network, bindings included: every port is bound where it was planned. */
export function networkRecords(size: NetworkSize): ScopeRecord[] {
  const records: ScopeRecord[] = [
    { kind: 'tenant', id: TENANT_ID, name: 'bench', revision: 1 },
    { kind: 'tunnelZone', id: ZONE_ID, name: 'bench', revision: 1, encap: ENCAP },
    ...HOST_IDS.map((_, index) => hostRecord(index)),
  ];
  for (let s = 0; s < size.switches; s++) records.push(switchRecord(s));
  for (const port of planPorts(size)) records.push(portRecord(port), bindingRecord(port));
  return records;
}

function hostRecord(index: number): Host {
  return {
    kind: 'host',
    id: HOST_IDS[index]!,
    name: HOST_NAMES[index] ?? FAR_HOST,
    revision: 1,
    zone: ZONE_ID,
    tunnelAddress: `172.31.0.${11 + index}`,
    underlayMtu: 1500,
    drain: false,
  };
}

function switchRecord(index: number): LogicalSwitch {
  const dhcp = { enabled: true, dns: [], ntp: [], routes: [], leaseSeconds: 86_400 };
  const [v4, v6] = subnetsOf(index);
  return {
    kind: 'switch',
    id: switchId(index),
    name: `s-${index}`,
    tenant: TENANT_ID,
    revision: 1,
    subnets: [
      { cidr: v4, dhcp },
      { cidr: v6, dhcp, ipv6Mode: 'stateful' },
    ],
    vlanAware: false,
    adminUp: true,
    shared: false,
    key: index + 1,
  };
}

function subnetsOf(index: number): readonly [string, string] {
  return ['10.0.0.0/12', `fd00:${(index + 1).toString(16)}::/64`];
}

export function portRecord(port: PlannedPort): LogicalPort {
  return {
    kind: 'port',
    id: port.id,
    name: port.name,
    tenant: TENANT_ID,
    revision: 1,
    switch: switchId(port.switchIndex),
    mac: port.mac,
    addresses: [...port.addresses],
    allowedPairs: [],
    portSecurity: true,
    adminUp: true,
    groups: [],
    key: keyOf(port),
  };
}

/** Tunnel keys of ports lie above those of switches. */
function keyOf(port: PlannedPort): number {
  return 0x1_0000 + port.switchIndex * 0x1000 + (Number.parseInt(port.id.slice(-4), 16) & 0xfff);
}

export function bindingRecord(port: PlannedPort): ScopeRecord {
  const host = HOST_IDS[port.host];
  return {
    kind: 'binding',
    id: port.id,
    revision: 1,
    switch: switchId(port.switchIndex),
    claims: [{ host, interface: port.name, sinceMs: 0 }],
    active: host,
  };
}

/** The same network as objects for `POST /v1/apply`, in a zone that has the lab's hosts already. */
export function networkObjects(size: NetworkSize, zone: string): Record<string, unknown>[] {
  const objects: Record<string, unknown>[] = [
    { kind: 'tenant', name: 'bench' },
    { kind: 'host', name: FAR_HOST, zone, tunnelAddress: FAR_ADDRESS },
  ];
  for (let s = 0; s < size.switches; s++) {
    const [v4, v6] = subnetsOf(s);
    const subnets = [{ cidr: v4 }, { cidr: v6, ipv6Mode: 'stateful' }];
    objects.push({ kind: 'switch', name: `s-${s}`, tenant: 'bench', subnets });
  }
  for (const port of planPorts(size)) objects.push(portObject(port));
  return objects;
}

export function portObject(port: PlannedPort): Record<string, unknown> {
  const { id: portId, name, switchIndex, mac, addresses } = port;
  return { kind: 'port', id: portId, name, tenant: 'bench', switch: `s-${switchIndex}`, mac, addresses };
}

/** How many of `total` fall to part `index` of `parts`, when they are spread evenly. */
function share(total: number, parts: number, index: number): number {
  return Math.floor((total * (index + 1)) / parts) - Math.floor((total * index) / parts);
}

/** A UUID (version 8, RFC 9562 §5.8: free for any use) from a kind's number and a number within it. */
export function benchId(kind: number, number: number): string {
  const digits = number.toString(16).padStart(12, '0');
  return `00000000-0000-8000-8${kind.toString(16).padStart(3, '0')}-${digits}`;
}
