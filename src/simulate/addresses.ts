import { type Cidr, type Ip, linkLocalOf, parseCidr, parseIp, parseMac } from '../base/addresses.ts';
import type { FloatingAddress, LogicalPort, RouterPort } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { sameIp } from './tuple.ts';

/** Who has which address. */

/** Multicast, or the limited broadcast of IPv4. */
export function isGroupIp(ip: Ip): boolean {
  return ip.version === 4
    ? ip.value >= 0xe000_0000 && (ip.value < 0xf000_0000 || ip.value === 0xffff_ffff)
    : ip.value >> 120n === 0xffn;
}

export function isLinkLocal(ip: Ip): boolean {
  return ip.version === 6 && ip.value >> 118n === 0xfe80n >> 6n;
}

/** Interface addresses of a router port with their networks. */
export function networksOf(port: RouterPort): Cidr[] {
  return port.addresses.map((text) => parseCidr(text)!);
}

/** With an IPv6 address the link-local one of its MAC is its own too. */
export function routerPortOwns(port: RouterPort, ip: Ip): boolean {
  const networks = networksOf(port);
  if (networks.some((network) => sameIp(network.ip, ip))) return true;
  const hasIpv6 = networks.some((network) => network.ip.version === 6);
  return hasIpv6 && ip.version === 6 && ip.value === linkLocalOf(parseMac(port.mac)!);
}

export function routerOwns(model: ModelView, router: string, ip: Ip): boolean {
  for (const port of model.routerPortsOfRouter(router)) if (routerPortOwns(port, ip)) return true;
  return false;
}

/** A router's floating addresses, without those that are administratively down. */
export function floatingOf(model: ModelView, router: string): FloatingAddress[] {
  return [...model.floatingAddressesOfRouter(router)].filter(({ adminUp }) => adminUp);
}

/** The workload's address that a floating address stands for; absent where the port has none of its version. */
export function fixedOf(model: ModelView, floating: FloatingAddress): Ip | undefined {
  if (floating.fixed !== undefined) return parseIp(floating.fixed);
  const port = model.get('port', floating.port);
  return port && firstAddress(port, parseIp(floating.address)!.version);
}

export function firstAddress(port: LogicalPort, version: 4 | 6): Ip | undefined {
  return port.addresses.map((text) => parseIp(text)!).find((ip) => ip.version === version);
}
