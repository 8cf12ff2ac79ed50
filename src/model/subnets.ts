import { isDeepStrictEqual } from 'node:util';
import { type Cidr, cidrContains, type Ip, parseCidr, prefixMask4, prefixMask6 } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch, Subnet } from './objects.ts';

/** Arithmetic of subnets and VLANs that rules and allocation share. */

/**
 * Can a host have the address as its own: neither group, loopback, unspecified nor limited broadcast? Nor one of ::/96 (RFC 4291 §2.5.5.1,
 * deprecated): as a number it is an IPv4 address, and switches know next hops by number.
 */
export function isHostAddress(ip: Ip): boolean {
  if (ip.version === 4) {
    const first = ip.value >>> 24;
    return first !== 0 && first !== 127 && first < 224;
  }
  return ip.value >> 32n !== 0n && ip.value >> 120n !== 0xffn;
}

/** The first address of an IPv4 subnet names the network and the last is its broadcast; /31 (RFC 3021) and /32 have neither. */
export function isReservedIn(cidr: Cidr, ip: Ip): boolean {
  if (cidr.ip.version !== ip.version) return false;
  // IPv6: the first is the subnet-router anycast address (RFC 4291 §2.6.1).
  if (ip.version === 6) return cidr.prefix < 127 && ip.value === cidr.ip.value;
  if (cidr.prefix >= 31) return false;
  return ip.value === cidr.ip.value || ip.value === lastOf(cidr).value;
}

export function lastOf(cidr: Cidr): Ip {
  const { ip, prefix } = cidr;
  return ip.version === 4
    ? { version: 4, value: ((ip.value | ~prefixMask4(prefix)) >>> 0) as typeof ip.value }
    : { version: 6, value: (ip.value | (prefixMask6(prefix) ^ ((1n << 128n) - 1n))) as typeof ip.value };
}

export function subnetOf(device: Pick<LogicalSwitch, 'subnets'>, ip: Ip): Subnet | undefined {
  return device.subnets.find((subnet) => cidrContains(parseCidr(subnet.cidr)!, ip));
}

/** Is the port in the VLAN (0: frames without a tag)? docs/design/layer2.md, step 6. */
export function isInVlan(
  device: Pick<LogicalSwitch, 'vlanAware'>,
  port: { readonly vlan?: LogicalPort['vlan'] | undefined },
  vlan: number,
): boolean {
  if (!device.vlanAware || port.vlan === undefined) return true;
  if ('access' in port.vlan) return port.vlan.access === vlan;
  return port.vlan.trunk === 'all' || port.vlan.trunk.includes(vlan) || port.vlan.native === vlan;
}

/** Do the two states give ports the same subnets and VLANs? */
export function sameAddressing(a: LogicalSwitch, b: LogicalSwitch): boolean {
  return a.vlanAware === b.vlanAware && (a.subnets === b.subnets || isDeepStrictEqual(a.subnets, b.subnets));
}

/** fe80::/10 (RFC 4291 §2.5.6). */
export function isLinkLocal6(ip: Ip): boolean {
  return ip.version === 6 && ip.value >> 118n === 0x3fan;
}

/** A router port as far as subnets care. */
export interface GatewayCandidate {
  readonly id: string;
  readonly tenant: string;
  readonly addresses: readonly string[];
  readonly outside: boolean;
  readonly adminUp: boolean;
}

/**
 * The router of a subnet, of those on its switch: the first (by id) with an address in it. One that faces outside is no way out for those
 * here, and one of another tenant (the switch is shared) gets nobody's traffic by being there.
 */
export function routerOf<P extends GatewayCandidate>(
  subnet: Subnet,
  tenant: string | undefined,
  ports: Iterable<P>,
): { readonly port: P; readonly ip: Ip } | undefined {
  const cidr = parseCidr(subnet.cidr)!;
  let found: { port: P; ip: Ip } | undefined;
  for (const port of ports) {
    if (port.outside || !port.adminUp || port.tenant !== tenant || (found && found.port.id < port.id)) continue;
    const ip = port.addresses.map((text) => parseCidr(text)!.ip).find((own) => cidrContains(cidr, own));
    if (ip) found = { port, ip };
  }
  return found;
}
