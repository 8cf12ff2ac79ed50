import type { FieldName } from '../openflow/fields.ts';
import { addWords, checksum } from '../packet/checksum.ts';
import { crc32c } from '../packet/crc32c.ts';
import { placeOf } from './layout.ts';

/**
 * Puts changed header fields into a frame's bytes and mends the checksums that cover them (RFC 1624 eqn. 3: a
 * checksum is corrected by what changed, so one that was wrong stays wrong).
 */

const IPV4 = 0x0800;
const PROTO = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
const ETH_TYPE = placeOf('eth_type').word;
const IP_PROTO = placeOf('ip_proto').word;
const IP_FRAG = placeOf('ip_frag').word;
const LATER_FRAGMENT = 2;

/** `l3` is where the network header begins. The key holds the new value of `name`. */
export function rewriteHeader(bytes: Uint8Array, key: Uint32Array, name: FieldName, l3: number): void {
  const place = placeOf(name);
  const word = key[place.word]!;
  switch (name) {
    case 'eth_dst':
      put48(bytes, 0, key, place.word);
      return;
    case 'eth_src':
      put48(bytes, 6, key, place.word);
      return;
    case 'mpls_label':
    case 'mpls_tc':
    case 'mpls_ttl':
      put32(bytes, l3, word);
      return;
    case 'arp_op':
      put16(bytes, l3 + 6, word);
      return;
    case 'arp_sha':
      put48(bytes, l3 + 8, key, place.word);
      return;
    case 'arp_spa':
      put32(bytes, l3 + 14, word);
      return;
    case 'arp_tha':
      put48(bytes, l3 + 18, key, place.word);
      return;
    case 'arp_tpa':
      put32(bytes, l3 + 24, word);
      return;
    default:
      if (key[ETH_TYPE] === IPV4) rewriteIpv4(bytes, key, name, l3);
      else rewriteIpv6(bytes, key, name, l3);
  }
}

/** Where it reads no protocol Open vSwitch takes the header for cut short, and leaves it alone (`commit_set_nw_action`). */
function hasHeader(key: Uint32Array): boolean {
  return key[IP_PROTO] !== 0;
}

function rewriteIpv4(bytes: Uint8Array, key: Uint32Array, name: FieldName, l3: number): void {
  const { word } = placeOf(name);
  const value = key[word]!;
  const header = l3 + 10;
  switch (name) {
    case 'nw_tos':
    case 'ip_dscp':
    case 'ip_ecn':
      if (hasHeader(key)) checked16(bytes, l3, (bytes[l3]! << 8) | (value & 0xff), header);
      return;
    case 'ip_ttl':
      checked16(bytes, l3 + 8, (value << 8) | bytes[l3 + 9]!, header);
      return;
    case 'ip_src':
    case 'ip_dst': {
      const at = l3 + (name === 'ip_src' ? 12 : 16);
      const transport = transportChecksum(bytes, key, l3 + (bytes[l3]! & 15) * 4);
      const old = [get16(bytes, at), get16(bytes, at + 2)] as const;
      checked16(bytes, at, value >>> 16, header);
      checked16(bytes, at + 2, value & 0xffff, header);
      if (transport === undefined || key[IP_PROTO] === PROTO.icmp) return;
      adjust(bytes, transport, old[0], value >>> 16, key[IP_PROTO] === PROTO.udp);
      adjust(bytes, transport, old[1], value & 0xffff, key[IP_PROTO] === PROTO.udp);
      return;
    }
    default:
      rewriteTransport(bytes, key, name, l3 + (bytes[l3]! & 15) * 4);
  }
}

function rewriteIpv6(bytes: Uint8Array, key: Uint32Array, name: FieldName, l3: number): void {
  const { word } = placeOf(name);
  const value = key[word]!;
  switch (name) {
    case 'nw_tos':
    case 'ip_dscp':
    case 'ip_ecn':
      if (hasHeader(key)) put16(bytes, l3, (get16(bytes, l3) & 0xf00f) | ((value & 0xff) << 4));
      return;
    case 'ipv6_label':
      put32(bytes, l3, (get32(bytes, l3) & 0xfff0_0000) | (value & 0xf_ffff));
      return;
    case 'ip_ttl':
      bytes[l3 + 7] = value;
      return;
    case 'ipv6_src':
    case 'ipv6_dst': {
      const at = l3 + (name === 'ipv6_src' ? 8 : 24);
      const checksum =
        routed(bytes, l3) && name === 'ipv6_dst' ? undefined : transportChecksum(bytes, key, ipv6Payload(bytes, l3));
      for (let i = 0; i < 8; i++) {
        const half = (key[word + (i >> 1)]! >>> (i & 1 ? 0 : 16)) & 0xffff;
        if (checksum !== undefined)
          adjust(bytes, checksum, get16(bytes, at + 2 * i), half, key[IP_PROTO] === PROTO.udp);
        put16(bytes, at + 2 * i, half);
      }
      return;
    }
    default:
      rewriteTransport(bytes, key, name, ipv6Payload(bytes, l3));
      // Open vSwitch works these two's checksum out anew (packets.c, packet_set_nd_ext): a wrong one is right then.
      if (name === 'nd_reserved' || name === 'nd_options_type')
        renewIcmpChecksum(bytes, l3, ipv6Payload(bytes, l3), true);
  }
}

/** With a routing header the pseudo header holds the last address, not the one in the IPv6 header (RFC 8200 §8.1). */
function routed(bytes: Uint8Array, l3: number): boolean {
  return extension(bytes, l3, 43).found;
}

/** Where the upper layer begins, past extension headers. */
function ipv6Payload(bytes: Uint8Array, l3: number): number {
  return extension(bytes, l3, -1).end;
}

function extension(bytes: Uint8Array, l3: number, wanted: number): { found: boolean; end: number } {
  let next = bytes[l3 + 6]!;
  let at = l3 + 40;
  for (;;) {
    if (next === wanted) return { found: true, end: at };
    const isExtension = next === 0 || next === 43 || next === 44 || next === 51 || next === 60;
    if (!isExtension || at + 8 > bytes.length) return { found: false, end: at };
    const length = next === 44 ? 8 : next === 51 ? (bytes[at + 1]! + 2) * 4 : (bytes[at + 1]! + 1) * 8;
    if (next === 44 && get16(bytes, at + 2) & 0xfff8) return { found: false, end: at + 8 };
    next = bytes[at]!;
    at += length;
  }
}

/** Where the checksum stands that covers the pseudo header; undefined when there is none to mend. */
function transportChecksum(bytes: Uint8Array, key: Uint32Array, l4: number): number | undefined {
  if (key[IP_FRAG]! & LATER_FRAGMENT) return undefined;
  const proto = key[IP_PROTO];
  const at =
    proto === PROTO.tcp
      ? l4 + 16
      : proto === PROTO.udp
        ? l4 + 6
        : proto === PROTO.icmpv6 || proto === PROTO.icmp
          ? l4 + 2
          : undefined;
  if (at === undefined || at + 2 > bytes.length) return undefined;
  return proto === PROTO.udp && get16(bytes, at) === 0 ? undefined : at;
}

function rewriteTransport(bytes: Uint8Array, key: Uint32Array, name: FieldName, l4: number): void {
  const { word } = placeOf(name);
  const value = key[word]!;
  const checksum = transportChecksum(bytes, key, l4);
  const udp = key[IP_PROTO] === PROTO.udp;
  switch (name) {
    case 'tcp_src':
    case 'tcp_dst':
    case 'udp_src':
    case 'udp_dst':
      checked16(bytes, l4 + (name.endsWith('src') ? 0 : 2), value, checksum, udp);
      return;
    case 'sctp_src':
    case 'sctp_dst':
      rewriteSctp(bytes, l4, name === 'sctp_src' ? 0 : 2, value);
      return;
    case 'icmp_type':
    case 'icmpv6_type':
      checked16(bytes, l4, (value << 8) | bytes[l4 + 1]!, checksum);
      return;
    case 'icmp_code':
    case 'icmpv6_code':
      checked16(bytes, l4, (bytes[l4]! << 8) | (value & 0xff), checksum);
      return;
    case 'nd_reserved':
      checkedWords(bytes, l4 + 4, [value], checksum);
      return;
    case 'nd_options_type':
      // Of the first option, whatever it is (Open vSwitch, packets.c, packet_set_nd_ext).
      if (l4 + 32 <= bytes.length) checked16(bytes, l4 + 24, (value << 8) | bytes[l4 + 25]!, checksum);
      return;
    case 'nd_target':
      checkedWords(bytes, l4 + 8, key.subarray(word, word + 4), checksum);
      return;
    case 'nd_sll':
    case 'nd_tll': {
      const at = ndOption(bytes, l4, name === 'nd_sll' ? 1 : 2);
      if (at === undefined) return;
      checked16(bytes, at + 2, value & 0xffff, checksum);
      checkedWords(bytes, at + 4, [key[word + 1]!], checksum);
      return;
    }
    default:
      return;
  }
}

/** Works the checksum of an ICMP or ICMPv6 message out anew. */
export function renewIcmpChecksum(bytes: Uint8Array, l3: number, l4: number, v6: boolean): void {
  const end = Math.min(bytes.length, l3 + (v6 ? 40 + get16(bytes, l3 + 4) : get16(bytes, l3 + 2)));
  if (l4 + 4 > end) return;
  put16(bytes, l4 + 2, 0);
  const pseudo = v6 ? addWords(PROTO.icmpv6 + end - l4, bytes.subarray(l3 + 8, l3 + 40)) : 0;
  put16(bytes, l4 + 2, checksum(bytes.subarray(l4, end), pseudo));
}

/** The first link-layer option of a type in a neighbour solicitation or advertisement. */
function ndOption(bytes: Uint8Array, l4: number, type: number): number | undefined {
  for (let at = l4 + 24; at + 8 <= bytes.length; ) {
    const length = bytes[at + 1]! * 8;
    if (length === 0) return undefined;
    if (bytes[at] === type && length === 8) return at;
    at += length;
  }
  return undefined;
}

function checkedWords(bytes: Uint8Array, at: number, words: ArrayLike<number>, checksum: number | undefined): void {
  for (let i = 0; i < words.length; i++) {
    checked16(bytes, at + 4 * i, words[i]! >>> 16, checksum);
    checked16(bytes, at + 4 * i + 2, words[i]! & 0xffff, checksum);
  }
}

function checked16(bytes: Uint8Array, at: number, value: number, checksum: number | undefined, udp = false): void {
  if (checksum !== undefined) adjust(bytes, checksum, get16(bytes, at), value, udp);
  put16(bytes, at, value);
}

/** RFC 1624: HC' = ~(~HC + ~m + m'). UDP sends a sum of zero as all ones (RFC 768). */
function adjust(bytes: Uint8Array, checksum: number, old: number, value: number, udp: boolean): void {
  let sum = (~get16(bytes, checksum) & 0xffff) + (~old & 0xffff) + value;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  const result = ~sum & 0xffff;
  put16(bytes, checksum, udp && result === 0 ? 0xffff : result);
}

/** SCTP's checksum is a CRC-32C over the packet (RFC 9260 appendix A); a wrong one stays wrong by the same bits. */
function rewriteSctp(bytes: Uint8Array, l4: number, offset: number, port: number): void {
  const packet = bytes.subarray(l4);
  const given = packet.slice(8, 12);
  packet.fill(0, 8, 12);
  const before = crc32c(packet);
  put16(packet, offset, port);
  const after = crc32c(packet);
  const difference = before ^ after;
  for (let i = 0; i < 4; i++) packet[8 + i] = given[i]! ^ ((difference >>> (8 * i)) & 0xff);
}

function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function get32(bytes: Uint8Array, at: number): number {
  return ((get16(bytes, at) << 16) | get16(bytes, at + 2)) >>> 0;
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value & 0xffff);
}

function put48(bytes: Uint8Array, at: number, key: Uint32Array, word: number): void {
  put16(bytes, at, key[word]! & 0xffff);
  put32(bytes, at + 2, key[word + 1]!);
}
