import {
  type Cidr,
  cidrContains,
  formatIp,
  type Ip,
  type Ipv4,
  type Ipv6,
  linkLocalOf,
  type Mac,
  parseCidr,
  parseIp,
  parseIpv4,
  parseMac,
} from '../../base/addresses.ts';
import { SERVICE_MAC } from '../../compile/probe.ts';
import { mtuOfSwitch, tunnelMtu } from '../../model/mtu.ts';
import type { LogicalPort, LogicalSwitch, RouterPort, Subnet } from '../../model/objects.ts';
import { routerOf } from '../../model/subnets.ts';
import { networksOf } from '../router-addresses.ts';
import type { Scope } from '../scope.ts';

/** What a port's link looks like to its workload: who answers there, its subnets, and how large packets may be. */
export interface Link {
  readonly port: LogicalPort;
  readonly switch: LogicalSwitch;
  readonly scope: Scope;
  /** Our host's id. */
  readonly host: string | undefined;
}

/** The MAC by which hosts answer for a switch: `0a:57:46` and the switch's key. */
export function serviceMac(sw: LogicalSwitch): Mac {
  return (SERVICE_MAC + sw.key) as Mac;
}

export function serviceLinkLocal(sw: LogicalSwitch): Ipv6 {
  return linkLocalOf(serviceMac(sw));
}

/** Who DHCPv4 answers come from: the gateway, or a link-local address where the subnet has none. */
export function serviceAddress(link: Link, subnet: Subnet): Ipv4 {
  return gateway4(link, subnet) ?? parseIpv4('169.254.0.1')!;
}

/** The default gateway of an IPv4 subnet: the one that it names, else the router port of the switch in this network. */
export function gateway4(link: Link, subnet: Subnet): Ipv4 | undefined {
  if (subnet.gateway !== undefined) return parseIpv4(subnet.gateway);
  const ip = routerIn(link, subnet)?.ip;
  return ip?.version === 4 ? ip.value : undefined;
}

function routerIn({ switch: sw, scope }: Link, subnet: Subnet): ReturnType<typeof routerOf<RouterPort>> {
  const ports = [...scope.all('routerPort')].filter(
    ({ switch: onSwitch, router }) => onSwitch === sw.id && scope.get('router', router)?.adminUp !== false,
  );
  return routerOf(subnet, sw.tenant, ports);
}

/** DNS servers that workloads of the subnet are told: the gateway first, where it answers names of workloads. */
export function dnsServersOf(link: Link, subnet: Subnet): string[] {
  const gateway = subnet.gateway ?? (link.switch.dns ? formatted(routerIn(link, subnet)?.ip) : undefined);
  return link.switch.dns && gateway !== undefined ? [gateway, ...subnet.dhcp.dns] : [...subnet.dhcp.dns];
}

function formatted(ip: Ip | undefined): string | undefined {
  return ip && formatIp(ip);
}

export interface OwnSubnet {
  readonly subnet: Subnet;
  readonly cidr: Cidr;
  /** The port's address there; absent where it has none. */
  readonly address: Ip | undefined;
}

/** Subnets of this IP version with DHCP on that the VLAN reaches, with the port's own address in each. */
export function subnetsOf({ port, switch: sw }: Link, version: 4 | 6, vlan: number): OwnSubnet[] {
  const own = port.addresses.map((text) => parseIp(text)!);
  return sw.subnets.flatMap((subnet) => {
    const cidr = parseCidr(subnet.cidr)!;
    if (cidr.ip.version !== version || !subnet.dhcp.enabled || (sw.vlanAware && (subnet.vlan ?? 0) !== vlan)) return [];
    return [{ subnet, cidr, address: own.find((ip) => cidrContains(cidr, ip)) }];
  });
}

/** The largest IP packet that the workload may send. */
export function mtuOf({ switch: sw, scope, host }: Link): number {
  return mtuOfSwitch(sw, tunnelMtuOf(scope, host));
}

/** Taken where it is not known what the tunnels take. */
const CAUTIOUS_MTU = 1400;

/** The largest IP packet that tunnels of the host take. */
export function tunnelMtuOf(scope: Scope, hostId: string | undefined): number {
  const host = hostId === undefined ? undefined : scope.host(hostId);
  const zone = host && scope.get('tunnelZone', host.zone);
  return zone ? tunnelMtu(host, zone.encap) : CAUTIOUS_MTU;
}

/** A default router as advertisements tell it. */
export interface AdvertisedRouter {
  readonly ip: Ipv6;
  /** Known where it is a router port; others are asked for theirs. */
  readonly mac?: Mac;
}

/**
 * The default router of an IPv6 subnet, by its link-local address: that of the gateway which the subnet names (a link-local address
 * itself, a workload, or a router port), else the router port of the switch in this network.
 */
export function gateway6(link: Link, subnet: Subnet): AdvertisedRouter | undefined {
  const { switch: sw, scope } = link;
  if (subnet.gateway === undefined) {
    const router = routerIn(link, subnet);
    return router?.ip.version === 6 ? advertised(router.port) : undefined;
  }
  const gateway = parseIp(subnet.gateway);
  if (gateway?.version !== 6) return undefined;
  if (gateway.value >> 118n === 0x3fan) return { ip: gateway.value }; // fe80::/10
  for (const port of scope.all('routerPort'))
    if (port.switch === sw.id && networksOf(port).some(({ ip }) => ip.value === gateway.value)) return advertised(port);
  for (const port of scope.all('port'))
    if (port.switch === sw.id && port.addresses.includes(subnet.gateway))
      return { ip: linkLocalOf(parseMac(port.mac)!) };
  return undefined;
}

function advertised({ mac }: RouterPort): AdvertisedRouter {
  return { ip: linkLocalOf(parseMac(mac)!), mac: parseMac(mac)! };
}
