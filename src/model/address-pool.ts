import { formatCidr, formatIp, type Ip, networkOf, parseCidr, parseIp, plus } from '../base/addresses.ts';
import { lastOf } from './subnets.ts';

/** Some addresses, all those from the first to the last. */
export interface AddressRange {
  readonly first: Ip;
  readonly last: Ip;
}

/** An address, a range (`203.0.113.10-203.0.113.17`), or a network, which stands for all that it has; undefined for what is none, or upside down. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const ends = endsOf(text);
  return ends && ends.first.version === ends.last.version && ends.first.value <= ends.last.value ? ends : undefined;
}

function endsOf(text: string): AddressRange | undefined {
  const cidr = parseCidr(text);
  if (cidr) {
    const network = networkOf(cidr);
    return { first: network.ip, last: lastOf(network) };
  }
  const [first, last = first, ...more] = text.split('-').map(parseIp);
  return first && last && more.length === 0 ? { first, last } : undefined;
}

/** What is wrong with the text, for who wrote it. */
export function rangeProblem(text: string): string | undefined {
  const ends = endsOf(text);
  if (!ends)
    return 'an address, a range or a network is wanted, as 203.0.113.10, 203.0.113.10-203.0.113.17 or 203.0.113.16/29';
  const { first, last } = ends;
  if (first.version !== last.version) return `${text} goes from one IP version to the other`;
  if (first.value > last.value) return `${text} is upside down; write ${formatIp(last)}-${formatIp(first)}`;
  const cidr = parseCidr(text);
  return cidr && cidr.ip.value !== first.value
    ? `host bits are set in ${text}; write ${formatCidr(networkOf(cidr))}`
    : undefined;
}

/** In one spelling (RFC 5952), as ranges and networks stay what they are; what is neither is left as it is. */
export function canonicalRange(text: string): string {
  const cidr = parseCidr(text);
  if (cidr) return formatCidr(cidr);
  return text
    .split('-')
    .map((part) => {
      const ip = parseIp(part);
      return ip ? formatIp(ip) : part;
    })
    .join('-');
}

export function addressCount({ first, last }: AddressRange): bigint {
  return BigInt(last.value) - BigInt(first.value) + 1n;
}

export function* addressesIn(range: AddressRange): Iterable<Ip> {
  const count = addressCount(range);
  for (let n = 0; n < count; n++) yield plus(range.first, n);
}

/** The first address that both have. */
export function firstInBoth(a: AddressRange, b: AddressRange): Ip | undefined {
  if (a.first.version !== b.first.version || a.first.value > b.last.value || b.first.value > a.last.value)
    return undefined;
  return a.first.value > b.first.value ? a.first : b.first;
}
