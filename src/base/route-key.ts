import { type Cidr, formatCidr, type Ipv4, parseCidr } from './addresses.ts';

/** An IPv4 prefix as address * 64 + bits, an IPv6 prefix as text: a million of them must fit. */
export type RouteKey = number | string;

export function keyOf({ ip, prefix }: Cidr): RouteKey {
  return ip.version === 4 ? ip.value * 64 + prefix : formatCidr({ ip, prefix });
}

export function cidrOf(key: RouteKey): Cidr {
  if (typeof key === 'string') return parseCidr(key)!;
  return { ip: { version: 4, value: Math.floor(key / 64) as Ipv4 }, prefix: key % 64 };
}
