import { type Cidr, type Ip, parseCidr, parseIp } from '../base/addresses.ts';

/** What texts of objects stand for, once their schemas (kinds/) let them pass. */
export const ETHER_TYPE_NAMES = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd, rarp: 0x8035 } as const;
export const PROTOCOL_NAMES = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/** What can read what is said on a connection, and let the connections that it agrees on come as `related`. By the protocol that it reads. */
export const HELPER_PROTOCOLS = { ftp: 'tcp', tftp: 'udp' } as const;
export type Helper = keyof typeof HELPER_PROTOCOLS;

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** `80` or `8000-8080`; undefined for what is neither. */
export function parsePortRange(text: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  return first <= last && last <= 65535 ? { first, last } : undefined;
}

export function parseAddressOrCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr) return cidr;
  const ip = parseIp(text) as Ip;
  return { ip, prefix: ip.version === 4 ? 32 : 128 };
}
