import type { Ip } from '../base/addresses.ts';
import { finishSum } from '../packet/checksum.ts';
import { crc32c } from '../packet/crc32c.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { extractFlowKey } from '../packet/flow-key.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { type Frame, readFrame } from './frame.ts';
import { locateIp } from './locate.ts';
import { isIcmp, keyOfTuple, sameIp, type Tuple } from './tuple.ts';

/**
 * The bytes of a frame as it became on its way: `sent` with the fields of `frame` that a way changes (MACs, outer tag, TTL, DSCP, addresses, ports, ICMP type, what
 * an ICMP error quotes). Checksums are corrected by what changed (RFC 1624), so that a wrong one stays wrong.
 *
 * `tag`: VLAN id of the outer tag, 0 for none.
 */
export function writeFrame(sent: Uint8Array, frame: Frame, tag: number): Uint8Array {
  // Too short for an Ethernet header: nothing is known of it.
  if (sent.length < 14) return sent;
  // Headers that are cut short or contradict themselves read as zeros: only what changed is written.
  const before = readFrame(sent);
  const bytes = new Editable(sent.slice());
  bytes.mac(0, frame.dst);
  bytes.mac(6, frame.src);
  const key = extractFlowKey(sent);
  const { network, upper, length } = locateIp(sent, key);
  const isIpv4 = key.ethType === ETHER_TYPE.ipv4;
  if (frame.ip && before.ip && sent.length >= network + (isIpv4 ? 20 : 40)) {
    const transport = frame.ip.fragment === 'later' ? undefined : upper;
    const sum = transport === undefined ? undefined : checksumOf(bytes, frame.ip.protocol, transport);
    const headerSum = isIpv4 ? network + 10 : undefined;
    // ICMP of version 4 has no pseudo header.
    const pseudoSum = frame.ip.protocol === IP_PROTO.icmp ? undefined : sum;
    if (frame.ip.ttl !== before.ip.ttl) bytes.byte(network + (isIpv4 ? 8 : 7), frame.ip.ttl, headerSum);
    // A packet without a protocol is taken for one that is cut short.
    if (frame.ip.protocol !== 0 && frame.ip.dscp !== before.ip.dscp)
      writeDscp(bytes, network, frame.ip.dscp, headerSum);
    if (!sameIp(frame.ip.src, before.ip.src))
      bytes.address(network + (isIpv4 ? 12 : 8), frame.ip.src, headerSum, pseudoSum);
    if (!sameIp(frame.ip.dst, before.ip.dst))
      bytes.address(network + (isIpv4 ? 16 : 24), frame.ip.dst, headerSum, pseudoSum);
    const { ports } = before;
    if (transport !== undefined && frame.ports && (frame.ports.src !== ports?.src || frame.ports.dst !== ports?.dst)) {
      const isWholeSctp = frame.ip.protocol === IP_PROTO.sctp && frame.ip.fragment === 'no';
      writePorts(bytes, transport, frame.ports, sum, isWholeSctp ? network + length : undefined);
    }
    if (transport !== undefined && frame.icmp && frame.icmp.type !== before.icmp?.type)
      bytes.byte(transport, frame.icmp.type, sum);
    // UDP sends a sum of zero as all ones (RFC 768).
    if (sum !== undefined && frame.ip.protocol === IP_PROTO.udp && bytes.at(sum) === 0) bytes.word(sum, 0xffff);
    // What is quoted may be cut short or senseless: it is left alone unless it changed.
    if (transport !== undefined && frame.quoted && sum !== undefined && isOtherQuote(sent, frame.quoted))
      writeQuoted(bytes, transport + 8, frame.quoted, sum);
  }
  return (before.tag ?? 0) === tag ? bytes.bytes : retagged(bytes.bytes, before.tag !== undefined, tag);
}

/** `sctpEnd`: where a packet of SCTP ends, whose checksum is that of all its bytes. */
function writePorts(
  bytes: Editable,
  at: number,
  { src, dst }: NonNullable<Frame['ports']>,
  sum: number | undefined,
  sctpEnd: number | undefined,
): void {
  const write = (): void => {
    bytes.word(at, src, sum);
    bytes.word(at + 2, dst, sum);
  };
  if (sctpEnd === undefined) write();
  else bytes.withCrc(at, sctpEnd, write);
}

/** The upper six bits of the traffic class, which begins with the second byte of IPv4 and within the first of IPv6. */
function writeDscp(bytes: Editable, network: number, dscp: number, headerSum: number | undefined): void {
  const old = bytes.at(network);
  const word = headerSum === undefined ? (old & 0xf03f) | (dscp << 6) : (old & 0xff03) | (dscp << 2);
  bytes.word(network, word, headerSum);
}

function isOtherQuote(sent: Uint8Array, quoted: Tuple): boolean {
  const before = readFrame(sent).quoted;
  return before === undefined || keyOfTuple(before) !== keyOfTuple(quoted);
}

/** Where the checksum of a transport header stands; undefined where there is none, or none was sent (UDP over IPv4). */
function checksumOf(bytes: Editable, protocol: number, transport: number): number | undefined {
  const offset = { [IP_PROTO.tcp]: 16, [IP_PROTO.udp]: 6, [IP_PROTO.icmp]: 2, [IP_PROTO.icmpv6]: 2 }[protocol];
  if (offset === undefined || transport + offset + 2 > bytes.length) return undefined;
  const isLeftOut = protocol === IP_PROTO.udp && bytes.at(transport + offset) === 0;
  return isLeftOut ? undefined : transport + offset;
}

/** Addresses and ports of the packet within an ICMP error, with its own checksums as far as they are quoted; the error's covers all of it. */
function writeQuoted(bytes: Editable, at: number, quoted: Tuple, sum: number): void {
  const before = new Editable(bytes.bytes.slice(at));
  const isIpv4 = quoted.version === 4;
  const transport = at + (isIpv4 ? (bytes.bytes[at]! & 15) * 4 : 40);
  const header = isIpv4 ? at + 10 : undefined;
  const own = checksumOf(bytes, quoted.protocol, transport);
  const pseudo = quoted.protocol === IP_PROTO.icmp ? undefined : own;
  bytes.address(at + (isIpv4 ? 12 : 8), quoted.src, header, pseudo);
  bytes.address(at + (isIpv4 ? 16 : 24), quoted.dst, header, pseudo);
  if (!isIcmp(quoted.protocol) && quoted.srcPort !== 0) {
    const sctpEnd = quoted.protocol === IP_PROTO.sctp ? bytes.length : undefined;
    writePorts(bytes, transport, { src: quoted.srcPort, dst: quoted.dstPort }, own, sctpEnd);
  }
  if (own !== undefined && quoted.protocol === IP_PROTO.udp && bytes.at(own) === 0) bytes.word(own, 0xffff);
  for (let offset = 0; offset + 2 <= before.length; offset += 2)
    bytes.changed(sum, before.at(offset), bytes.at(at + offset));
}

/** `isTagged`: as it was read. A frame that is cut short within its tag has none, whatever its type says. */
function retagged(bytes: Uint8Array, isTagged: boolean, tag: number): Uint8Array {
  if (isTagged && tag !== 0) {
    bytes[14] = (bytes[14]! & 0xf0) | (tag >> 8);
    bytes[15] = tag & 0xff;
    return bytes;
  }
  const rest = bytes.subarray(isTagged ? 16 : 12);
  return Uint8Array.of(...bytes.subarray(0, 12), ...(tag === 0 ? [] : [0x81, 0, tag >> 8, tag & 0xff]), ...rest);
}

/** Bytes whose checksums follow what is written. Offsets of checksums are even from the start of what they cover. */
class Editable {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.bytes.length;
  }

  at(offset: number): number {
    return this.#view.getUint16(offset);
  }

  mac(offset: number, mac: number): void {
    this.#view.setUint16(offset, Math.floor(mac / 0x1_0000_0000));
    this.#view.setUint32(offset + 2, mac % 0x1_0000_0000);
  }

  byte(offset: number, value: number, ...sums: readonly (number | undefined)[]): void {
    const even = offset & ~1;
    const word = offset & 1 ? (this.at(even) & 0xff00) | value : (value << 8) | (this.at(even) & 0xff);
    this.word(even, word, ...sums);
  }

  word(offset: number, value: number, ...sums: readonly (number | undefined)[]): void {
    if (offset + 2 > this.length) return;
    const old = this.at(offset);
    if (old === value) return;
    this.#view.setUint16(offset, value);
    for (const sum of sums) if (sum !== undefined) this.changed(sum, old, value);
  }

  /** Changes a packet of SCTP, as much of it as there is, and its checksum with it (RFC 9260 appendix A: a CRC of all, with zeros in its place). */
  withCrc(start: number, end: number, change: () => void): void {
    const packet = this.bytes.subarray(start, end);
    const place = start + 8;
    if (packet.length < 12) return change();
    const given = this.#view.getUint32(place, true);
    this.#view.setUint32(place, 0);
    const before = crc32c(packet);
    change();
    this.#view.setUint32(place, (given ^ before ^ crc32c(packet)) >>> 0, true);
  }

  /** A word that the checksum covers has become another. */
  changed(sum: number, old: number, value: number): void {
    if (old !== value) this.#view.setUint16(sum, finishSum((~this.at(sum) & 0xffff) + (~old & 0xffff) + value));
  }

  address(offset: number, ip: Ip, ...sums: readonly (number | undefined)[]): void {
    const words = ip.version === 4 ? 2 : 8;
    for (let i = 0; i < words; i++)
      this.word(offset + 2 * i, Number((BigInt(ip.value) >> BigInt(16 * (words - 1 - i))) & 0xffffn), ...sums);
  }
}
