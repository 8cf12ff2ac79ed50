import type { Ipv4 } from '../base/addresses.ts';
import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { addWords, checksum, finishSum } from './checksum.ts';
import { type Input, NO_BYTES, readerOf } from './input.ts';

export interface Ipv4Header {
  /** DSCP in the upper six bits, ECN in the lower two (RFC 2474, RFC 3168). */
  readonly tos: number;
  readonly id: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** In bytes; a multiple of 8. */
  readonly fragmentOffset: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly src: Ipv4;
  readonly dst: Ipv4;
  /** As on the wire, with padding: a multiple of 4 bytes, at most 40. `decodeIpv4Options` reads them. */
  readonly options: Uint8Array;
}

/** Type with copy bit and class; no-operation (1) and end (0) have no data. */
export interface Ipv4Option {
  readonly type: number;
  readonly data: Uint8Array;
}

export const IPV4_HEADER_LENGTH = 20;
const OPTIONS_MAX = 40;
const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;

/** A header with what the sender of a fresh, whole packet leaves at its default. */
export function ipv4Header(given: Partial<Ipv4Header> & Pick<Ipv4Header, 'src' | 'dst' | 'protocol'>): Ipv4Header {
  return {
    tos: 0,
    id: 0,
    dontFragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    ttl: 64,
    options: NO_BYTES,
    ...given,
  };
}

export function isFragment(header: Ipv4Header): boolean {
  return header.moreFragments || header.fragmentOffset !== 0;
}

/**
 * RFC 791 §3.1.
 *
 *      0       4       8              14  16  17 18 19              24              31
 *     +-------+-------+--------------+---+----------------------------------------+
 *     |  4    |  IHL  |     DSCP     |ECN|              total length              |
 *     +-------+-------+--------------+---+---+--+--+------------------------------+
 *     |          identification          | 0 |DF|MF|  fragment offset / 8         |
 *     +---------------+------------------+---+--+--+------------------------------+
 *     |      TTL      |     protocol     |            header checksum             |
 *     +---------------+------------------+----------------------------------------+
 *     |                              source address                               |
 *     +---------------------------------------------------------------------------+
 *     |                            destination address                            |
 *     +---------------------------------------------------------------------------+
 *     |                           options (IHL - 5 words)                         |
 *     +---------------------------------------------------------------------------+
 *
 * `body` is the payload, as long as the total length says; what is left in the reader is Ethernet padding.
 * Errors: `truncated`, `bad-version`, `bad-length`; `bad-checksum` only with `verify`.
 */
export function decodeIpv4(input: Input, verify = false): { readonly header: Ipv4Header; readonly body: ByteReader } {
  const reader = readerOf(input);
  const start = reader.offset;
  const first = reader.u8('ipv4.version');
  if (first >> 4 !== 4) reader.fail('bad-version', 'ipv4.version', `${first >> 4}`);
  const headerLength = (first & 15) * 4;
  if (headerLength < IPV4_HEADER_LENGTH) reader.fail('bad-length', 'ipv4.ihl', `${first & 15} words`);
  const tos = reader.u8('ipv4.tos');
  const totalLength = reader.u16('ipv4.totalLength');
  if (totalLength < headerLength) reader.fail('bad-length', 'ipv4.totalLength', `${totalLength}`);
  const id = reader.u16('ipv4.id');
  const fragment = reader.u16('ipv4.fragment');
  const ttl = reader.u8('ipv4.ttl');
  const protocol = reader.u8('ipv4.protocol');
  reader.skip(2, 'ipv4.checksum');
  const src = reader.u32('ipv4.src') as Ipv4;
  const dst = reader.u32('ipv4.dst') as Ipv4;
  const options = reader.take(headerLength - IPV4_HEADER_LENGTH, 'ipv4.options');
  if (verify && checksum(reader.bytes.subarray(start, reader.offset)) !== 0)
    reader.fail('bad-checksum', 'ipv4.checksum');
  const header: Ipv4Header = {
    tos,
    id,
    dontFragment: (fragment & DONT_FRAGMENT) !== 0,
    moreFragments: (fragment & MORE_FRAGMENTS) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    ttl,
    protocol,
    src,
    dst,
    options,
  };
  return { header, body: reader.sub(totalLength - headerLength, 'ipv4.payload') };
}

/** Writes the header for a payload of so many bytes, with its checksum; the payload is the caller's to write. */
export function encodeIpv4(header: Ipv4Header, payloadLength: number, writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  const headerLength = IPV4_HEADER_LENGTH + header.options.length;
  if (header.options.length % 4 !== 0 || header.options.length > OPTIONS_MAX)
    throw new RangeError(`IPv4 options of ${header.options.length} bytes: a multiple of 4 up to ${OPTIONS_MAX} wanted`);
  if (headerLength + payloadLength > 0xffff) throw new RangeError(`IPv4 payload of ${payloadLength} bytes is too long`);
  const flags = (header.dontFragment ? DONT_FRAGMENT : 0) | (header.moreFragments ? MORE_FRAGMENTS : 0);
  writer.u8(0x40 | (headerLength / 4)).u8(header.tos);
  writer.u16(headerLength + payloadLength).u16(header.id);
  writer.u16(flags | (header.fragmentOffset / 8));
  writer.u8(header.ttl).u8(header.protocol).u16(0);
  writer.u32(header.src).u32(header.dst).raw(header.options);
  writer.patchU16(from + 10, finishSum(addWords(0, writer.view(from))));
  return writer.view(from);
}

/** RFC 791 §3.1. What follows an end-of-list option is padding and not given. Errors: `truncated`, `bad-length`. */
export function decodeIpv4Options(input: Input): Ipv4Option[] {
  const reader = readerOf(input);
  const options: Ipv4Option[] = [];
  while (reader.remaining > 0) {
    const type = reader.u8('ipv4.option.type');
    if (type === 0) break;
    if (type === 1) {
      options.push({ type, data: NO_BYTES });
      continue;
    }
    const length = reader.u8('ipv4.option.length');
    if (length < 2) reader.fail('bad-length', 'ipv4.option.length', `${length}`);
    options.push({ type, data: reader.take(length - 2, 'ipv4.option.data') });
  }
  return options;
}

/** The options filled with zeros to a multiple of 4 bytes, as `Ipv4Header.options` wants them. */
export function encodeIpv4Options(options: readonly Ipv4Option[], writer = new ByteWriter(OPTIONS_MAX)): Uint8Array {
  const from = writer.length;
  for (const option of options) {
    writer.u8(option.type);
    if (option.type > 1) writer.u8(option.data.length + 2).raw(option.data);
  }
  writer.align(4, from);
  return writer.view(from);
}
