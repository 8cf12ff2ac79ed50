import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { checksum, type PseudoHeader } from './checksum.ts';
import { type Input, NO_BYTES, readerOf } from './input.ts';

/** Bits of `TcpHeader.flags` (RFC 9293 §3.1, RFC 3168; 0x100 was NS). */
export const TCP_FLAG = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const;

export interface TcpHeader {
  readonly srcPort: number;
  readonly dstPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Twelve bits: the reserved ones survive. */
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  /** As on the wire, with padding: a multiple of 4 bytes, at most 40. `decodeTcpOptions` reads them. */
  readonly options: Uint8Array;
}

/** RFC 9293 §3.2, RFC 7323, RFC 2018. */
export type TcpOption =
  | { readonly kind: 'noOperation' }
  | { readonly kind: 'maxSegmentSize'; readonly bytes: number }
  | { readonly kind: 'windowScale'; readonly shift: number }
  | { readonly kind: 'sackPermitted' }
  | { readonly kind: 'timestamps'; readonly value: number; readonly echo: number }
  | { readonly kind: 'unknown'; readonly code: number; readonly data: Uint8Array };

export const TCP_HEADER_LENGTH = 20;
const OPTIONS_MAX = 40;

/**
 * RFC 9293 §3.1. `pseudo` gives the pseudo header; decoding verifies the checksum only when it is there.
 *
 *      0        4            16                            31
 *     +---------------------+------------------------------+
 *     |     source port     |       destination port       |
 *     +---------------------+------------------------------+
 *     |                   sequence number                  |
 *     +----------------------------------------------------+
 *     |                acknowledgement number              |
 *     +--------+------------+------------------------------+
 *     | offset |   flags    |            window            |
 *     +--------+------------+------------------------------+
 *     |      checksum       |        urgent pointer        |
 *     +---------------------+------------------------------+
 *     |              options (offset - 5 words)            |
 *     +----------------------------------------------------+
 *
 * Errors: `truncated`, `bad-length`; `bad-checksum` only with `pseudo`.
 */
export function decodeTcp(
  input: Input,
  pseudo?: PseudoHeader,
): { readonly header: TcpHeader; readonly body: ByteReader } {
  const reader = readerOf(input);
  const start = reader.offset;
  const srcPort = reader.u16('tcp.srcPort');
  const dstPort = reader.u16('tcp.dstPort');
  const sequence = reader.u32('tcp.sequence');
  const acknowledgement = reader.u32('tcp.acknowledgement');
  const control = reader.u16('tcp.flags');
  const headerLength = (control >> 12) * 4;
  if (headerLength < TCP_HEADER_LENGTH) reader.fail('bad-length', 'tcp.offset', `${control >> 12} words`);
  const window = reader.u16('tcp.window');
  reader.skip(2, 'tcp.checksum');
  const urgent = reader.u16('tcp.urgent');
  const options = reader.take(headerLength - TCP_HEADER_LENGTH, 'tcp.options');
  if (pseudo !== undefined && checksum(reader.bytes.subarray(start), pseudo(reader.length - start)) !== 0)
    reader.fail('bad-checksum', 'tcp.checksum');
  const flags = control & 0xfff;
  return {
    header: { srcPort, dstPort, sequence, acknowledgement, flags, window, urgent, options },
    body: reader.sub(reader.remaining, 'tcp.payload'),
  };
}

export function encodeTcp(
  header: TcpHeader,
  payload: Uint8Array,
  pseudo: PseudoHeader,
  writer = new ByteWriter(),
): Uint8Array {
  const from = writer.length;
  if (header.options.length % 4 !== 0 || header.options.length > OPTIONS_MAX)
    throw new RangeError(`TCP options of ${header.options.length} bytes: a multiple of 4 up to ${OPTIONS_MAX} wanted`);
  writer.u16(header.srcPort).u16(header.dstPort).u32(header.sequence).u32(header.acknowledgement);
  writer.u16((((TCP_HEADER_LENGTH + header.options.length) / 4) << 12) | header.flags);
  writer.u16(header.window).u16(0).u16(header.urgent).raw(header.options).raw(payload);
  writer.patchU16(from + 16, checksum(writer.view(from), pseudo(writer.length - from)));
  return writer.view(from);
}

/** What follows an end-of-list option is padding and not given. Errors: `truncated`, `bad-length`. */
export function decodeTcpOptions(input: Input): TcpOption[] {
  const reader = readerOf(input);
  const options: TcpOption[] = [];
  while (reader.remaining > 0) {
    const code = reader.u8('tcp.option.kind');
    if (code === 0) break;
    if (code === 1) {
      options.push({ kind: 'noOperation' });
      continue;
    }
    const length = reader.u8('tcp.option.length');
    if (length < 2) reader.fail('bad-length', 'tcp.option.length', `${length}`);
    options.push(decodeTcpOption(code, reader.sub(length - 2, 'tcp.option.data')));
  }
  return options;
}

function decodeTcpOption(code: number, data: ByteReader): TcpOption {
  if (code === 2 && data.length === 2) return { kind: 'maxSegmentSize', bytes: data.u16('tcp.option.mss') };
  if (code === 3 && data.length === 1) return { kind: 'windowScale', shift: data.u8('tcp.option.shift') };
  if (code === 4 && data.length === 0) return { kind: 'sackPermitted' };
  if (code === 8 && data.length === 8)
    return { kind: 'timestamps', value: data.u32('tcp.option.value'), echo: data.u32('tcp.option.echo') };
  return { kind: 'unknown', code, data: data.length === 0 ? NO_BYTES : data.rest() };
}

/** The options filled with zeros to a multiple of 4 bytes, as `TcpHeader.options` wants them. */
export function encodeTcpOptions(options: readonly TcpOption[], writer = new ByteWriter(OPTIONS_MAX)): Uint8Array {
  const from = writer.length;
  for (const option of options) {
    switch (option.kind) {
      case 'noOperation':
        writer.u8(1);
        break;
      case 'maxSegmentSize':
        writer.u8(2).u8(4).u16(option.bytes);
        break;
      case 'windowScale':
        writer.u8(3).u8(3).u8(option.shift);
        break;
      case 'sackPermitted':
        writer.u8(4).u8(2);
        break;
      case 'timestamps':
        writer.u8(8).u8(10).u32(option.value).u32(option.echo);
        break;
      case 'unknown':
        writer
          .u8(option.code)
          .u8(option.data.length + 2)
          .raw(option.data);
        break;
    }
  }
  writer.align(4, from);
  return writer.view(from);
}
