import type { Ipv6 } from '../base/addresses.ts';
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { type Input, readerOf } from './input.ts';
import { IP_PROTO } from './ip-protocol.ts';

/** An extension header (RFC 8200 §4). `data` is everything after the next-header and length bytes. */
export type Ipv6Extension =
  /** Options as on the wire with their padding: 6, 14, 22 … bytes. `decodeIpv6Options` reads them. */
  | { readonly kind: 'hopByHop' | 'destination'; readonly data: Uint8Array }
  /** `data` after the four fixed bytes: 4, 12, 20 … bytes. */
  | {
      readonly kind: 'routing';
      readonly routingType: number;
      readonly segmentsLeft: number;
      readonly data: Uint8Array;
    }
  /** `offset` in bytes, a multiple of 8. */
  | { readonly kind: 'fragment'; readonly offset: number; readonly more: boolean; readonly id: number }
  /** RFC 4302: 6, 10, 14 … bytes. */
  | { readonly kind: 'authentication'; readonly data: Uint8Array };

export interface Ipv6Header {
  /** DSCP in the upper six bits, ECN in the lower two. */
  readonly trafficClass: number;
  readonly flowLabel: number;
  readonly hopLimit: number;
  readonly src: Ipv6;
  readonly dst: Ipv6;
  /** In the order of the wire. */
  readonly extensions: readonly Ipv6Extension[];
  /** What follows the last extension header; for a later fragment what the fragment header says. */
  readonly nextHeader: number;
}

export interface Ipv6Option {
  readonly type: number;
  readonly data: Uint8Array;
}

export const IPV6_HEADER_LENGTH = 40;

/** A header with what the sender of a fresh, whole packet leaves at its default. */
export function ipv6Header(given: Partial<Ipv6Header> & Pick<Ipv6Header, 'src' | 'dst' | 'nextHeader'>): Ipv6Header {
  return { trafficClass: 0, flowLabel: 0, hopLimit: 64, extensions: [], ...given };
}

/** The packet's fragment header, unless it says "first and last" (an atomic fragment, RFC 6946, is a whole packet). */
export function fragmentOf(header: Ipv6Header): Extract<Ipv6Extension, { kind: 'fragment' }> | undefined {
  for (const extension of header.extensions)
    if (extension.kind === 'fragment' && (extension.more || extension.offset !== 0)) return extension;
  return undefined;
}

/**
 * The address of the pseudo header (RFC 8200 §8.1): the last of a source route, of types 0 and 2 (RFC 6275 §6.4) the
 * last address of the list, of type 4 (RFC 8754 §2) the first.
 */
export function finalDestination(header: Ipv6Header): Ipv6 {
  for (const extension of header.extensions) {
    if (extension.kind !== 'routing' || extension.segmentsLeft === 0 || extension.data.length < 20) continue;
    const addresses = new ByteReader(extension.data.subarray(4, 4 + ((extension.data.length - 4) & ~15)));
    if (extension.routingType === 4) return addresses.u128('ipv6.segment') as Ipv6;
    if (extension.routingType !== 0 && extension.routingType !== 2) continue;
    addresses.skip(addresses.length - 16, 'ipv6.segment');
    return addresses.u128('ipv6.segment') as Ipv6;
  }
  return header.dst;
}

/**
 * RFC 8200 §3, and the chain of extension headers.
 *
 *      0       4               12                                     31
 *     +-------+---------------+----------------------------------------+
 *     |   6   | traffic class |               flow label               |
 *     +-------+---------------+---------+---------------+--------------+
 *     |        payload length           |  next header  |  hop limit   |
 *     +---------------------------------+---------------+--------------+
 *     |                     source address (16 bytes)                  |
 *     +----------------------------------------------------------------+
 *     |                  destination address (16 bytes)                |
 *     +----------------------------------------------------------------+
 *
 * `body` is what follows the last extension header; what is left in the reader is Ethernet padding. Jumbograms
 * (RFC 2675) do not fit an overlay: their zero payload length reads as no payload.
 * Errors: `truncated`, `bad-version`.
 */
export function decodeIpv6(input: Input): { readonly header: Ipv6Header; readonly body: ByteReader } {
  const reader = readerOf(input);
  const first = reader.u32('ipv6.version');
  if (first >>> 28 !== 6) reader.fail('bad-version', 'ipv6.version', `${first >>> 28}`);
  const payloadLength = reader.u16('ipv6.payloadLength');
  let nextHeader = reader.u8('ipv6.nextHeader');
  const hopLimit = reader.u8('ipv6.hopLimit');
  const src = reader.u128('ipv6.src') as Ipv6;
  const dst = reader.u128('ipv6.dst') as Ipv6;
  const rest = reader.sub(payloadLength, 'ipv6.payload');
  const extensions: Ipv6Extension[] = [];
  for (let later = false; !later && isExtension(nextHeader); ) {
    const following = rest.u8('ipv6.extension.nextHeader');
    const extension = decodeExtension(rest, nextHeader);
    extensions.push(extension);
    nextHeader = following;
    later = extension.kind === 'fragment' && extension.offset !== 0;
  }
  const header: Ipv6Header = {
    trafficClass: (first >>> 20) & 0xff,
    flowLabel: first & 0xf_ffff,
    hopLimit,
    src,
    dst,
    extensions,
    nextHeader,
  };
  return { header, body: rest.sub(rest.remaining, 'ipv6.payload') };
}

function isExtension(nextHeader: number): boolean {
  return (
    nextHeader === IP_PROTO.hopByHop ||
    nextHeader === IP_PROTO.routing ||
    nextHeader === IP_PROTO.fragment ||
    nextHeader === IP_PROTO.authentication ||
    nextHeader === IP_PROTO.destination
  );
}

/**
 * From the length byte on. RFC 8200 §4.3 to §4.6, RFC 4302 §2.
 *
 *      0             8             16                              31
 *     +-------------+-------------+---------------------------------+
 *     | next header |  length     | options, or type, segments left |  length in units of 8 bytes, the first not
 *     +-------------+-------------+---------------------------------+  counted (authentication: 4 bytes, two not
 *     | next header |  reserved   | offset / 8 (13) | 0 (2) | M (1) |  counted); the fragment header has none
 *     +-------------+-------------+---------------------------------+
 *     |                  identification (fragment)                  |
 *     +-------------------------------------------------------------+
 */
function decodeExtension(reader: ByteReader, type: number): Ipv6Extension {
  const length = reader.u8('ipv6.extension.length');
  if (type === IP_PROTO.fragment) {
    const offset = reader.u16('ipv6.fragment.offset');
    return { kind: 'fragment', offset: offset & 0xfff8, more: (offset & 1) !== 0, id: reader.u32('ipv6.fragment.id') };
  }
  if (type === IP_PROTO.authentication)
    return { kind: 'authentication', data: reader.take(length * 4 + 6, 'ipv6.authentication') };
  if (type === IP_PROTO.routing) {
    const routingType = reader.u8('ipv6.routing.type');
    const segmentsLeft = reader.u8('ipv6.routing.segmentsLeft');
    return { kind: 'routing', routingType, segmentsLeft, data: reader.take(length * 8 + 4, 'ipv6.routing.data') };
  }
  const kind = type === IP_PROTO.hopByHop ? 'hopByHop' : 'destination';
  return { kind, data: reader.take(length * 8 + 6, 'ipv6.extension.options') };
}

/** Writes the header and its extensions for a payload of so many bytes; the payload is the caller's to write. */
export function encodeIpv6(header: Ipv6Header, payloadLength: number, writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  const { extensions } = header;
  writer.u32(((6 << 28) | (header.trafficClass << 20) | header.flowLabel) >>> 0);
  writer.u16(0);
  writer.u8(extensions[0] ? IP_PROTO[extensions[0].kind] : header.nextHeader);
  writer.u8(header.hopLimit).u128(header.src).u128(header.dst);
  for (const [i, extension] of extensions.entries()) {
    const following = extensions[i + 1];
    writer.u8(following ? IP_PROTO[following.kind] : header.nextHeader);
    encodeExtension(extension, writer);
  }
  const total = writer.length - from - IPV6_HEADER_LENGTH + payloadLength;
  if (total > 0xffff) throw new RangeError(`IPv6 payload of ${total} bytes is too long`);
  writer.patchU16(from + 4, total);
  return writer.view(from);
}

function encodeExtension(extension: Ipv6Extension, writer: ByteWriter): void {
  switch (extension.kind) {
    case 'fragment':
      writer.u8(0).u16(extension.offset | (extension.more ? 1 : 0));
      writer.u32(extension.id);
      break;
    case 'authentication':
      writer.u8(units(extension.data.length - 6, 4)).raw(extension.data);
      break;
    case 'routing':
      writer.u8(units(extension.data.length - 4, 8));
      writer.u8(extension.routingType).u8(extension.segmentsLeft).raw(extension.data);
      break;
    case 'hopByHop':
    case 'destination':
      writer.u8(units(extension.data.length - 6, 8)).raw(extension.data);
      break;
  }
}

function units(length: number, unit: number): number {
  if (length < 0 || length % unit !== 0 || length / unit > 255)
    throw new RangeError(`IPv6 extension header: ${length} bytes beyond the first unit are not a multiple of ${unit}`);
  return length / unit;
}

/** Options of a hop-by-hop or destination header without Pad1 and PadN (RFC 8200 §4.2). Error: `truncated`. */
export function decodeIpv6Options(input: Input): Ipv6Option[] {
  const reader = readerOf(input);
  const options: Ipv6Option[] = [];
  while (reader.remaining > 0) {
    const type = reader.u8('ipv6.option.type');
    if (type === 0) continue;
    const data = reader.take(reader.u8('ipv6.option.length'), 'ipv6.option.data');
    if (type !== 1) options.push({ type, data });
  }
  return options;
}

/** The options with the padding that `Ipv6Extension.data` of a hop-by-hop or destination header wants. */
export function encodeIpv6Options(options: readonly Ipv6Option[], writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  for (const option of options) writer.u8(option.type).u8(option.data.length).raw(option.data);
  const missing = (14 - ((writer.length - from) % 8)) % 8;
  if (missing === 1) writer.u8(0);
  else if (missing > 1)
    writer
      .u8(1)
      .u8(missing - 2)
      .zeros(missing - 2);
  return writer.view(from);
}
