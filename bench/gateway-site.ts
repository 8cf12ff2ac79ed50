import type { WorkloadInput } from '../src/lab/spec.ts';
import type { CloudSite } from './cloud.ts';
import { benchId } from './network.ts';
import { type Pair, TRAFFIC_PORTS } from './traffic.ts';

/**
 * A site with two gateways, as a plan that each make of cloud writes in its own words; all ways through it are static.
 *
 *     client ── internet ─┬─ up-1 ── gw-1 ─┐             ┌─ plain network ─ routed-1, routed-2
 *                         └─ up-2 ── gw-2 ─┴─ (tunnels) ─┤
 *                                                        └─ private network ─ named-1, named-2, member-1, member-2
 *
 * The plain network's addresses are known outside. Of the private one the *named* have a floating address each, the *members* stand behind a
 * virtual one, and what else leaves it has its source translated. Of each pair one is on the host east, the other on west. The client has sixteen
 * addresses, since who chooses a gateway by addresses uses both of them only then.
 */
export const GATEWAYS = [1, 2].map((n) => ({
  ...{ host: `gw-${n}`, router: `up-${n}` },
  ...{ there: `192.0.2.${4 * n + 1}`, here: `192.0.2.${4 * n + 2}`, prefix: 30 },
  /** Of the host's end of the link. */
  interface: `u-up-${n}`,
  wire: benchId(7, n),
}));
export const PLAIN = { cidr: '10.77.0.0/24', gateway: '10.77.0.1' } as const;
export const PRIVATE = { cidr: '10.1.0.0/24', gateway: '10.1.0.1' } as const;
/** Floating, virtual and shared addresses are of it. */
export const PUBLIC = { cidr: '203.0.113.0/24', gateway: '203.0.113.1' } as const;
export const FLOATING = ['203.0.113.21', '203.0.113.22'] as const;
export const VIRTUAL = '203.0.113.80';
/** Clouds that translate at a gateway need one for each. */
export const SHARED = ['203.0.113.11', '203.0.113.12'] as const;
export const LISTENERS = TRAFFIC_PORTS;

const HOSTS = ['east', 'west'] as const;
const CLIENT = 'client';
const CLIENT_ADDRESSES = Array.from({ length: 16 }, (_, n) => `198.51.100.${64 + n}`);

export interface SiteWorkload {
  readonly name: string;
  readonly id: string;
  readonly host: string;
  readonly mac: string;
  readonly address: string;
}

function pair(role: string, number: number, network: string): readonly SiteWorkload[] {
  return HOSTS.map((host, i) => ({
    ...{ name: `${role}-${i + 1}`, id: benchId(8, number + i), host },
    ...{ mac: `02:00:04:00:00:0${number + i}`, address: `${network}.${10 + number + i}` },
  }));
}
export const ROUTED = pair('routed', 1, '10.77.0');
export const NAMED = pair('named', 3, '10.1.0');
export const MEMBERS = pair('member', 5, '10.1.0');

export function gatewaySite(): CloudSite {
  const behind = (gateway: string, workloads: readonly SiteWorkload[]): WorkloadInput[] =>
    workloads.map(({ id, name, host, mac, address }) => ({
      ...{ name, host, mac, port: id },
      ...{ addresses: [`${address}/24`], gateways: [gateway] },
    }));
  return {
    hosts: [...GATEWAYS.map(({ host }) => host), ...HOSTS].map((name) => ({ name })),
    workloads: [...behind(PLAIN.gateway, ROUTED), ...behind(PRIVATE.gateway, [...NAMED, ...MEMBERS])],
    internet: { subnets: ['198.51.100.0/24'], peering: false },
    routers: GATEWAYS.map(({ router, host, here, there, prefix, interface: name }, i) => ({
      ...{ name: router, asn: 64_601 + i },
      routes: [PLAIN, PUBLIC].map(({ cidr }) => ({ to: cidr, via: here })),
      links: [{ host, interface: name, addresses: [`${there}/${prefix}`] }],
    })),
    outside: [{ name: CLIENT, addresses: CLIENT_ADDRESSES.map((address) => `${address}/24`), mtu: 1400 }],
  };
}

/** Every way is two pairs of places, one for each of the hosts east and west; the outer one is always the client. */
export const WAYS = ['routed, out', 'SNAT, out', 'routed, in', 'floating address, in', 'VIP, in'] as const;
export type Way = (typeof WAYS)[number];

/** What a way is held against: the plain one in the same direction. */
export const PLAIN_OF: ReadonlyMap<Way, Way> = new Map([
  ['SNAT, out', 'routed, out'],
  ['floating address, in', 'routed, in'],
  ['VIP, in', 'routed, in'],
]);

export function pairsOf(way: Way): readonly Pair[] {
  const client = CLIENT_ADDRESSES.join();
  const out = (workloads: readonly SiteWorkload[]): Pair[] =>
    workloads.map(({ name, address }) => ({
      ...{ from: name, fromAddress: address, to: CLIENT, toAddress: client, isSpread: true },
    }));
  const into = (workloads: readonly SiteWorkload[], address: (i: number) => string): Pair[] =>
    workloads.map(({ name }, i) => ({
      ...{ from: CLIENT, fromAddress: client, to: name, toAddress: address(i), isSpread: true },
    }));
  switch (way) {
    case 'routed, out':
      return out(ROUTED);
    case 'SNAT, out':
      return out(MEMBERS);
    case 'routed, in':
      return into(ROUTED, (i) => ROUTED[i]!.address);
    case 'floating address, in':
      return into(NAMED, (i) => FLOATING[i]!);
    case 'VIP, in':
      return into(MEMBERS, () => VIRTUAL);
  }
}
