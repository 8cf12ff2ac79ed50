import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { checksum } from './checksum.ts';
import { type Input, readerOf } from './input.ts';

/** RFC 792, IANA registry. */
export const ICMP_TYPE = {
  echoReply: 0,
  unreachable: 3,
  redirect: 5,
  echoRequest: 8,
  timeExceeded: 11,
  parameterProblem: 12,
} as const;

/** Codes of `unreachable` (RFC 792, RFC 1191, RFC 1812 §5.2.7.1). */
export const ICMP_UNREACHABLE = {
  net: 0,
  host: 1,
  protocol: 2,
  port: 3,
  fragmentationNeeded: 4,
  prohibited: 13,
} as const;

export interface IcmpHeader {
  readonly type: number;
  readonly code: number;
  /** The 32 bits after the checksum: of an echo identifier and sequence, of "fragmentation needed" the MTU. */
  readonly rest: number;
}

export function echoRest(id: number, sequence: number): number {
  return ((id << 16) | sequence) >>> 0;
}

/** Identifier and sequence of an echo request or reply. */
export function echoOf(header: { readonly rest: number }): { readonly id: number; readonly sequence: number } {
  return { id: header.rest >>> 16, sequence: header.rest & 0xffff };
}

/**
 * RFC 792. `body` is an echo's data or, in an error, the packet that caused it.
 *
 *      0               8               16                            31
 *     +---------------+---------------+------------------------------+
 *     |     type      |     code      |           checksum           |
 *     +---------------+---------------+------------------------------+
 *     |   rest: identifier, sequence | unused, MTU | gateway | …     |
 *     +--------------------------------------------------------------+
 *
 * Errors: `truncated`; `bad-checksum` only with `verify`.
 */
export function decodeIcmp(input: Input, verify = false): { readonly header: IcmpHeader; readonly body: ByteReader } {
  const reader = readerOf(input);
  const start = reader.offset;
  const type = reader.u8('icmp.type');
  const code = reader.u8('icmp.code');
  reader.skip(2, 'icmp.checksum');
  const rest = reader.u32('icmp.rest');
  if (verify && checksum(reader.bytes.subarray(start)) !== 0) reader.fail('bad-checksum', 'icmp.checksum');
  return { header: { type, code, rest }, body: reader.sub(reader.remaining, 'icmp.payload') };
}

export function encodeIcmp(header: IcmpHeader, payload: Uint8Array, writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  writer.u8(header.type).u8(header.code).u16(0).u32(header.rest).raw(payload);
  writer.patchU16(from + 2, checksum(writer.view(from)));
  return writer.view(from);
}
