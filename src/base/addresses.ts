/**
 * Addresses as values: a `Mac` is a 48-bit number, an `Ipv4` a 32-bit number, an `Ipv6` a 128-bit bigint.
 * Text is parsed strictly (no octal, no missing parts: RFC 4291 §2.2, RFC 5952 for output); `parse…` returns undefined
 * for anything else, so that a caller can say where the bad text stood.
 */
export type Mac = number & { readonly __mac: true };
export type Ipv4 = number & { readonly __ipv4: true };
export type Ipv6 = bigint & { readonly __ipv6: true };
export type Ip = { readonly version: 4; readonly value: Ipv4 } | { readonly version: 6; readonly value: Ipv6 };
export type Cidr = { readonly ip: Ip; readonly prefix: number };

export const BROADCAST_MAC = 0xffff_ffff_ffff as Mac;
/** Host bits of an Ethernet address that mark a group address (IEEE 802.3 §3.2.3), as a 48-bit mask. */
export const MULTICAST_BIT = 0x0100_0000_0000 as Mac;

export function parseMac(text: string): Mac | undefined {
  if (!/^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/.test(text)) return undefined;
  return Number.parseInt(text.replaceAll(':', ''), 16) as Mac;
}

export function formatMac(mac: number): string {
  const hex = mac.toString(16).padStart(12, '0');
  return `${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}:${hex.slice(6, 8)}:${hex.slice(8, 10)}:${hex.slice(10)}`;
}

export function isMulticastMac(mac: number): boolean {
  return Math.floor(mac / 0x0100_0000_0000) % 2 === 1;
}

export function parseIpv4(text: string): Ipv4 | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  let value = 0;
  for (let i = 1; i <= 4; i++) {
    const part = match[i]!;
    if ((part.length > 1 && part[0] === '0') || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value as Ipv4;
}

export function formatIpv4(ip: number): string {
  return `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`;
}

export function parseIpv6(text: string): Ipv6 | undefined {
  if (!/^[0-9a-fA-F:.]+$/.test(text)) return undefined;
  let body = text;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted) {
    const v4 = parseIpv4(dotted[2]!);
    if (v4 === undefined) return undefined;
    body = `${dotted[1]}${(v4 >>> 16).toString(16)}:${(v4 & 0xffff).toString(16)}`;
  } else if (text.includes('.')) return undefined;
  const halves = body.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string): string[] => (half === '' ? [] : half.split(':'));
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  let value = 0n;
  for (const group of [...head, ...Array<string>(missing).fill('0'), ...tail]) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    value = (value << 16n) | BigInt(`0x${group}`);
  }
  return value as Ipv6;
}

/** RFC 5952: lower case, the longest run of two or more zero groups as `::`, the first of equals. */
export function formatIpv6(ip: bigint): string {
  const groups: string[] = [];
  for (let i = 7; i >= 0; i--) groups.push(Number((ip >> BigInt(i * 16)) & 0xffffn).toString(16));
  let bestAt = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === '0') n++;
    if (n > bestLength) [bestAt, bestLength] = [i, n];
    i += n;
  }
  if (bestAt < 0) return groups.join(':');
  return `${groups.slice(0, bestAt).join(':')}::${groups.slice(bestAt + bestLength).join(':')}`;
}

export function parseIp(text: string): Ip | undefined {
  const v4 = parseIpv4(text);
  if (v4 !== undefined) return { version: 4, value: v4 };
  const v6 = parseIpv6(text);
  return v6 === undefined ? undefined : { version: 6, value: v6 };
}

export function formatIp(ip: Ip): string {
  return ip.version === 4 ? formatIpv4(ip.value) : formatIpv6(ip.value);
}

/** `10.0.0.0/24` or `2001:db8::/64`; host bits may be set (the caller decides whether that is an error). */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  if (!ip || !/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const prefix = Number(digits);
  return prefix > (ip.version === 4 ? 32 : 128) ? undefined : { ip, prefix };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr.ip)}/${cidr.prefix}`;
}

export function prefixMask4(prefix: number): Ipv4 {
  return (prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0) as Ipv4;
}

export function prefixMask6(prefix: number): Ipv6 {
  return (((1n << BigInt(prefix)) - 1n) << BigInt(128 - prefix)) as Ipv6;
}

/** The network of a CIDR: host bits cleared. */
export function networkOf(cidr: Cidr): Cidr {
  const { ip, prefix } = cidr;
  return ip.version === 4
    ? { ip: { version: 4, value: ((ip.value & prefixMask4(prefix)) >>> 0) as Ipv4 }, prefix }
    : { ip: { version: 6, value: (ip.value & prefixMask6(prefix)) as Ipv6 }, prefix };
}

/** The n-th address behind one. */
export function plus(ip: Ip, n: number): Ip {
  return ip.version === 4
    ? { version: 4, value: (ip.value + n) as Ipv4 }
    : { version: 6, value: (ip.value + BigInt(n)) as Ipv6 };
}

export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  if (cidr.ip.version !== ip.version) return false;
  const network = networkOf(cidr).ip;
  return network.value === networkOf({ ip, prefix: cidr.prefix }).ip.value;
}

export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  return a.prefix <= b.prefix ? cidrContains(a, b.ip) : cidrContains(b, a.ip);
}

/** The link-local address that SLAAC derives from a MAC (RFC 4291 appendix A, modified EUI-64). */
export function linkLocalOf(mac: number): Ipv6 {
  return ((0xfe80n << 112n) | eui64(mac)) as Ipv6;
}

/** The lower 64 bits that SLAAC derives from a MAC. */
export function eui64(mac: number): bigint {
  const m = BigInt(mac) ^ 0x0200_0000_0000n;
  return ((m >> 24n) << 40n) | (0xfffen << 24n) | (m & 0xff_ffffn);
}

/** `33:33:` and the lower 32 bits (RFC 2464 §7). */
export function multicastMacOf6(ip: bigint): Mac {
  return (0x3333_0000_0000 + Number(ip & 0xffff_ffffn)) as Mac;
}

/** RFC 4291 §2.7.1. */
export function solicitedNodeOf(ip: bigint): Ipv6 {
  return (0xff02_0000_0000_0000_0000_0001_ff00_0000n | (ip & 0xff_ffffn)) as Ipv6;
}
