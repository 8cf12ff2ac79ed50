import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { checksum, type PseudoHeader } from './checksum.ts';
import { type Input, readerOf } from './input.ts';

/** RFC 4443, RFC 2710, RFC 3810, RFC 4861. */
export const ICMPV6_TYPE = {
  unreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  parameterProblem: 4,
  echoRequest: 128,
  echoReply: 129,
  mldQuery: 130,
  mldReport: 131,
  mldDone: 132,
  routerSolicit: 133,
  routerAdvert: 134,
  neighborSolicit: 135,
  neighborAdvert: 136,
  redirect: 137,
  mldV2Report: 143,
} as const;

/** Codes of `unreachable` (RFC 4443 §3.1). */
export const ICMPV6_UNREACHABLE = { noRoute: 0, prohibited: 1, beyondScope: 2, address: 3, port: 4 } as const;

export interface Icmpv6Header {
  readonly type: number;
  readonly code: number;
  /** The 32 bits after the checksum: of an echo identifier and sequence, of "packet too big" the MTU. */
  readonly rest: number;
}

/**
 * RFC 4443 §2.1; laid out as in version 4, but the checksum covers a pseudo header: `pseudo` gives its running sum
 * (`pseudoHeader6`). Decoding verifies only when it is there.
 *
 *      0               8               16                            31
 *     +---------------+---------------+------------------------------+
 *     |     type      |     code      |           checksum           |
 *     +---------------+---------------+------------------------------+
 *     |   rest: identifier, sequence | MTU | pointer | …             |
 *     +--------------------------------------------------------------+
 *
 * Errors: `truncated`; `bad-checksum` only with `pseudo`.
 */
export function decodeIcmpv6(
  input: Input,
  pseudo?: PseudoHeader,
): { readonly header: Icmpv6Header; readonly body: ByteReader } {
  const reader = readerOf(input);
  const start = reader.offset;
  const type = reader.u8('icmpv6.type');
  const code = reader.u8('icmpv6.code');
  reader.skip(2, 'icmpv6.checksum');
  const rest = reader.u32('icmpv6.rest');
  if (pseudo !== undefined && checksum(reader.bytes.subarray(start), pseudo(reader.length - start)) !== 0)
    reader.fail('bad-checksum', 'icmpv6.checksum');
  return { header: { type, code, rest }, body: reader.sub(reader.remaining, 'icmpv6.payload') };
}

export function encodeIcmpv6(
  header: Icmpv6Header,
  payload: Uint8Array,
  pseudo: PseudoHeader,
  writer = new ByteWriter(),
): Uint8Array {
  const from = writer.length;
  writer.u8(header.type).u8(header.code).u16(0).u32(header.rest).raw(payload);
  writer.patchU16(from + 2, checksum(writer.view(from), pseudo(writer.length - from)));
  return writer.view(from);
}
