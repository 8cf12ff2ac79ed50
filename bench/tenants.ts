import { formatMac } from '../src/base/addresses.ts';
import { benchId } from './network.ts';

/**
 * A cloud of tenants for benches, as a plan that each side (OVN, Weft) writes in its own words. Every tenant has one
 * router towards a network outside, switches with a subnet and DHCP, one security group on all ports
 * (what is established; from the same group; tcp/22 from anywhere; nothing else), source translation to one address,
 * and one balancer with two members. All tenants have the same subnets. Everything follows from the numbers.
 *
 *     port ─ switch 10.S.0.0/24 ─ router ─ outside 172.24.0.0/14 (gateway 172.24.0.1)
 */
export interface TenantsSize {
  readonly tenants: number;
  /** Of each tenant. */
  readonly switches: number;
  /** Of each switch. */
  readonly ports: number;
  /** How many ports are on each of the lab's two hosts. The others are nowhere yet. */
  readonly localPorts: number;
  /**
   * `spread`: every switch has its part on both hosts. `whole`: the first tenants are on the first host, the next on the
   * second. `apart`: members of balancers are on the second host and all other ports on the first.
   */
  readonly placement: 'spread' | 'whole' | 'apart';
  /** One network outside for all tenants' routers, as a provider's is, or one for each. */
  readonly outside: 'shared' | 'own';
  /** So many of the last tenants have switches and a router only: no group, no balancer, no translation. */
  readonly plainTenants?: number;
  /** Of every balancer; TCP 80 with 8080 when not given. */
  readonly listeners?: readonly Listener[];
  /** Of every balancer; 2 when not given. */
  readonly members?: number;
}

export interface Listener {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly memberPort: number;
}
const LISTENERS: readonly Listener[] = [{ protocol: 'tcp', port: 80, memberPort: 8080 }];

export function listenersOf(size: TenantsSize): readonly Listener[] {
  return size.listeners ?? LISTENERS;
}

export interface TenantPort {
  /** A UUID: what `external_ids:iface-id` holds. */
  readonly id: string;
  /** Unique in the whole cloud, and short enough for an interface. */
  readonly name: string;
  readonly tenant: number;
  readonly switchIndex: number;
  readonly mac: string;
  readonly address: string;
  /** 0 and 1: the lab's hosts; undefined: nowhere. */
  readonly host: 0 | 1 | undefined;
}

export const OUTSIDE = { network: '172.24.0.0/14', prefix: 14, gateway: '172.24.0.1' } as const;
/** The port that every group lets in from anywhere, at first. */
export const OPEN_PORT = 22;
export const VIP = '10.200.0.1';
const UUID_KIND = 5;
const PLACES_PER_SWITCH = 250;
/** Room for switches, in names and MACs. */
const SWITCHES_PER_TENANT = 16;

export function planTenantPorts(size: TenantsSize): TenantPort[] {
  const ports: TenantPort[] = [];
  for (let tenant = 0; tenant < size.tenants; tenant++)
    for (let s = 0; s < size.switches; s++)
      for (let place = 0; place < size.ports; place++)
        ports.push(planTenantPort(tenant, s, place, hostOf(size, tenant, s, place)));
  return ports;
}

/** The port with this place on its switch; places from `size.ports` on are free for ports that come later. */
export function planTenantPort(tenant: number, s: number, place: number, host: 0 | 1 | undefined): TenantPort {
  const number = (tenant * SWITCHES_PER_TENANT + s) * 256 + place;
  return {
    id: benchId(UUID_KIND, number + 1),
    name: `p${tenant}-${s}-${place}`,
    tenant,
    switchIndex: s,
    mac: formatMac(0x0200_0100_0000 + number),
    address: `10.${s}.0.${4 + (place % PLACES_PER_SWITCH)}`,
    host,
  };
}

export function isPlain(size: TenantsSize, tenant: number): boolean {
  return tenant >= size.tenants - (size.plainTenants ?? 0);
}

function hostOf(size: TenantsSize, tenant: number, s: number, place: number): 0 | 1 | undefined {
  if (size.placement === 'apart') return s === 0 && place < membersIn(size) ? 1 : 0;
  const perTenant = size.switches * size.ports;
  if (size.placement === 'whole') {
    const tenantsPerHost = Math.ceil(size.localPorts / perTenant);
    return tenant < tenantsPerHost ? 0 : tenant < 2 * tenantsPerHost ? 1 : undefined;
  }
  // Spread evenly over all places of all switches: port i is on a host when i's share of the whole goes up there.
  const i = (tenant * size.switches + s) * size.ports + place;
  const total = size.tenants * perTenant;
  const part = (n: number): number => Math.floor((n * 2 * size.localPorts) / total);
  const count = part(i);
  return part(i + 1) === count ? undefined : ((count % 2) as 0 | 1);
}

export function subnetOf(s: number): { readonly cidr: string; readonly gateway: string } {
  return { cidr: `10.${s}.0.0/24`, gateway: `10.${s}.0.1` };
}

/** The address of a tenant's router outside, to which its traffic is translated. */
export function outsideAddress(tenant: number): string {
  const number = tenant + 256;
  return `172.24.${number >> 8}.${number & 255}`;
}

/** The MAC of a tenant's router in a switch; of its outside port where `s` is not given. */
export function routerMac(tenant: number, s?: number): string {
  return formatMac(0x0200_0200_0000 + (tenant * SWITCHES_PER_TENANT + (s ?? SWITCHES_PER_TENANT - 1)));
}

function membersIn(size: TenantsSize): number {
  return size.members ?? 2;
}

/** The members of a tenant's balancer: the first ports of its first switch. */
export function membersOf(size: TenantsSize, tenant: number): TenantPort[] {
  return Array.from({ length: membersIn(size) }, (_, place) => planTenantPort(tenant, 0, place, undefined));
}
