import { type Ip, isMulticastMac } from '../../base/addresses.ts';
import { DecodeError } from '../../base/errors.ts';
import { decodeEthernet, ETHER_TYPE, type VlanTag } from '../../packet/ethernet.ts';
import { ICMP_TYPE } from '../../packet/icmp.ts';
import { ICMPV6_TYPE } from '../../packet/icmpv6.ts';
import { readerOf } from '../../packet/input.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { decodeIpv4 } from '../../packet/ipv4.ts';
import { decodeIpv6, fragmentOf } from '../../packet/ipv6.ts';

/** A packet that does not go on, as what is said about it needs it. */
export interface Offender {
  readonly srcMac: number;
  readonly dstMac: number;
  readonly vlans: readonly VlanTag[];
  readonly src: Ip;
  readonly dst: Ip;
  /** The upper layer's protocol number. */
  readonly protocol: number;
  /** The IP packet, without what Ethernet filled up. */
  readonly packet: Uint8Array;
  /** What follows the IP header and its extensions. */
  readonly payload: Uint8Array;
}

/** ICMPv4 messages that are no errors (RFC 792, 950, 1256): about all others, known or not, nothing is said. */
const ICMP_QUERIES: ReadonlySet<number> = new Set([
  ICMP_TYPE.echoReply,
  ICMP_TYPE.echoRequest,
  9,
  10,
  13,
  14,
  15,
  16,
  17,
  18,
]);
const FIRST_QUERY_6 = 128;

/**
 * Reads a frame about which something may be said to its sender. Undefined for what RFC 1812 §4.3.2.7 and RFC 4443 §2.4 (e) except:
 * ICMP errors and redirects, later fragments, group and broadcast addresses (of the frame, too), sources that are nobody's; and for
 * what is no IP, or cut.
 */
export function offenderOf(frame: Uint8Array): Offender | undefined {
  try {
    const reader = readerOf(frame);
    const { ethernet, vlans } = decodeEthernet(reader);
    if (isMulticastMac(ethernet.dst) || isMulticastMac(ethernet.src)) return undefined;
    const layer2 = { srcMac: ethernet.src, dstMac: ethernet.dst, vlans };
    const start = reader.offset;
    if (ethernet.etherType === ETHER_TYPE.ipv4) {
      const { header, body } = decodeIpv4(reader);
      const { protocol } = header;
      const ends = { src: { version: 4, value: header.src }, dst: { version: 4, value: header.dst } } as const;
      if (header.fragmentOffset !== 0 || !isHost(ends.src) || !isHost(ends.dst)) return undefined;
      const payload = body.rest();
      if (protocol === IP_PROTO.icmp && !ICMP_QUERIES.has(payload[0] ?? -1)) return undefined;
      return { ...layer2, ...ends, protocol, packet: frame.subarray(start, reader.offset), payload };
    }
    if (ethernet.etherType !== ETHER_TYPE.ipv6) return undefined;
    const { header, body } = decodeIpv6(reader);
    const protocol = header.nextHeader;
    const ends = { src: { version: 6, value: header.src }, dst: { version: 6, value: header.dst } } as const;
    if (fragmentOf(header)?.offset || !isHost(ends.src) || !isHost(ends.dst)) return undefined;
    const payload = body.rest();
    const type = payload[0] ?? 0;
    if (protocol === IP_PROTO.icmpv6 && (type < FIRST_QUERY_6 || type === ICMPV6_TYPE.redirect)) return undefined;
    return { ...layer2, ...ends, protocol, packet: frame.subarray(start, reader.offset), payload };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** One host's address, as far as it can be seen: not unspecified, loopback, of a group, reserved or broadcast. */
function isHost(ip: Ip): boolean {
  if (ip.version === 6) return ip.value > 1n && ip.value >> 120n !== 0xffn;
  const first = ip.value >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}
