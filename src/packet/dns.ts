import type { Ipv4, Ipv6 } from '../base/addresses.ts';
import { ByteWriter } from '../base/bytes.ts';
import { decodeDomainName, encodeDomainName } from './domain-name.ts';
import { type Input, readerOf } from './input.ts';

/*
 * DNS (RFC 1035 §4) as far as Weft answers it: one question, and address records in the answer. Other records of a message (an EDNS
 * option among the additional ones, RFC 6891) are passed over.
 */

export const DNS_TYPE = { a: 1, aaaa: 28, any: 255 } as const;
export const DNS_CLASS_IN = 1;
export const DNS_CODE = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const;
/** Bits of the 16-bit flags word. */
export const DNS_FLAG = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
} as const;
const OPCODE = 0x7800;

export interface DnsQuestion {
  /** In the text form of domain-name.ts. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** A query with one question; the opcode is 0 (a standard query). */
export interface DnsQuery {
  readonly id: number;
  readonly isRecursionDesired: boolean;
  readonly question: DnsQuestion;
}

export interface DnsAnswer {
  readonly id: number;
  readonly isRecursionDesired: boolean;
  readonly isAuthoritative: boolean;
  /** One of `DNS_CODE`. */
  readonly code: number;
  readonly question: DnsQuestion;
  /** Addresses of the name asked for; version 4 as number. */
  readonly addresses: readonly (Ipv4 | Ipv6)[];
  readonly ttlS: number;
}

/**
 * Reads a standard query with one question.
 *
 *      0      2       4         6         8           10           12
 *     +------+-------+---------+---------+-----------+------------+------------------------- - -
 *     |  id  | flags | 1       | answers | authority | additional | name | type | class | …
 *     +------+-------+---------+---------+-----------+------------+------------------------- - -
 *
 * Errors: `truncated`; `bad-type` for answers and other operations; `bad-value` for another number of questions, and for bad names.
 */
export function decodeDnsQuery(input: Input): DnsQuery {
  const reader = readerOf(input);
  const id = reader.u16('dns.id');
  const flags = reader.u16('dns.flags');
  if ((flags & (DNS_FLAG.response | OPCODE)) !== 0) reader.fail('bad-type', 'dns.flags', `0x${flags.toString(16)}`);
  const questions = reader.u16('dns.questions');
  if (questions !== 1) reader.fail('bad-value', 'dns.questions', `${questions}, 1 wanted`);
  reader.skip(6, 'dns.counts');
  const name = decodeDomainName(reader, 'dns.name');
  const question = { name, type: reader.u16('dns.type'), class: reader.u16('dns.class') };
  return { id, isRecursionDesired: (flags & DNS_FLAG.recursionDesired) !== 0, question };
}

export function encodeDnsQuery(query: DnsQuery, writer = new ByteWriter(64)): Uint8Array {
  const from = writer.length;
  writer.u16(query.id).u16(query.isRecursionDesired ? DNS_FLAG.recursionDesired : 0);
  writer.u16(1).zeros(6);
  encodeQuestion(query.question, writer);
  return writer.view(from);
}

/** Where the name of the question stands, as a compression pointer (RFC 1035 §4.1.4). */
const QUESTION_NAME = 0xc00c;

export function encodeDnsAnswer(answer: DnsAnswer, writer = new ByteWriter(512)): Uint8Array {
  const from = writer.length;
  const flags =
    DNS_FLAG.response |
    (answer.isAuthoritative ? DNS_FLAG.authoritative : 0) |
    (answer.isRecursionDesired ? DNS_FLAG.recursionDesired : 0);
  writer.u16(answer.id).u16(flags | answer.code);
  writer.u16(1).u16(answer.addresses.length).u16(0).u16(0);
  encodeQuestion(answer.question, writer);
  for (const address of answer.addresses) {
    const is4 = typeof address === 'number';
    writer
      .u16(QUESTION_NAME)
      .u16(is4 ? DNS_TYPE.a : DNS_TYPE.aaaa)
      .u16(DNS_CLASS_IN)
      .u32(answer.ttlS);
    if (is4) writer.u16(4).u32(address);
    else writer.u16(16).u128(address);
  }
  return writer.view(from);
}

function encodeQuestion(question: DnsQuestion, writer: ByteWriter): void {
  encodeDomainName(question.name, writer);
  writer.u16(question.type).u16(question.class);
}
