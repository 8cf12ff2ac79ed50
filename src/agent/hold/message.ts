import { formatIp, type Ip, type Ipv4, type Ipv6, parseIp } from '../../base/addresses.ts';
import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';

/** Of TCP, where an agent takes copies of connections (docs/design/l2-gateways.md, §4). */
export const COPY_PORT = 10_790;
export const NONCE_BYTES = 16;

/** What the host where an L2 gateway is active and another place of it say to each other. */
export type CopyMessage =
  /** First, by the active one: connections of which port are told. */
  | { readonly kind: 'hello'; readonly port: string; readonly nonce: Uint8Array }
  | { readonly kind: 'welcome'; readonly nonce: Uint8Array }
  /** `isWhole`: what was told before and is not told from here on is over. Without changes it is a sign of life. */
  | {
      readonly kind: 'copies';
      readonly sequence: number;
      readonly isWhole: boolean;
      readonly changes: readonly CopyChange[];
    }
  /** All up to this one is held. */
  | { readonly kind: 'ack'; readonly sequence: number };

export interface CopyChange {
  readonly op: 'put' | 'gone';
  readonly entry: ConnectionEntry;
}

/** In one message. */
export const MOST_CHANGES = 1_000;

const MAGIC = 0x5743;
const VERSION = 1;
const TYPE = { hello: 1, welcome: 2, copies: 3, ack: 4 } as const;
const KINDS = ['own', 'vip', 'selfCall'] as const;
const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17 };
const WHOLE = 1;
const GONE = 0x80;

/** Connections of other protocols are not told. */
export function canBeTold({ protocol, original, reply }: ConnectionEntry): boolean {
  return (
    PROTOCOLS[protocol] !== undefined &&
    [original, reply].every(({ from, to }) => from.port !== undefined && to.port !== undefined)
  );
}

/**
 *      0                   1                   2                   3
 *     +-------------------------------+---------------+---------------+
 *     |          0x5743 ("WC")        |   version 1   |     type      |
 *     +-------------------------------+---------------+---------------+
 *     | hello: length (8), port's id, nonce (16 bytes)                |
 *     | welcome: nonce (16 bytes)                                     |
 *     | ack: sequence (32)                                            |
 *     | copies: sequence (32), flags (8; 1: whole), count (16), so many of:
 *     |   kind (7) and gone (high bit) | protocol | IP version | length, owner
 *     |   original: from, to; reply: from, to: each address, port (16)
 *     |   mark (32)
 *
 * Errors: `truncated`, `bad-value` for another protocol or version, `bad-type`, `bad-length` for bytes behind the end.
 */
export function decodeCopyMessage(bytes: Uint8Array): CopyMessage {
  const reader = new ByteReader(bytes);
  if (reader.u16('copy.magic') !== MAGIC) reader.fail('bad-value', 'copy.magic');
  if (reader.u8('copy.version') !== VERSION) reader.fail('bad-value', 'copy.version');
  const message = bodyOf(reader.u8('copy.type'), reader);
  if (reader.rest().length > 0) reader.fail('bad-length', 'copy.length');
  return message;
}

function bodyOf(type: number, reader: ByteReader): CopyMessage {
  switch (type) {
    case TYPE.hello:
      return { kind: 'hello', port: readText(reader, 'copy.port'), nonce: nonceOf(reader) };
    case TYPE.welcome:
      return { kind: 'welcome', nonce: nonceOf(reader) };
    case TYPE.ack:
      return { kind: 'ack', sequence: reader.u32('copy.sequence') };
    case TYPE.copies: {
      const sequence = reader.u32('copy.sequence');
      const isWhole = (reader.u8('copy.flags') & WHOLE) !== 0;
      const count = reader.u16('copy.count');
      if (count > MOST_CHANGES) reader.fail('bad-value', 'copy.count', `${count}`);
      return { kind: 'copies', sequence, isWhole, changes: Array.from({ length: count }, () => readChange(reader)) };
    }
    default:
      return reader.fail('bad-type', 'copy.type', `${type}`);
  }
}

export function encodeCopyMessage(message: CopyMessage): Uint8Array {
  const writer = new ByteWriter(64).u16(MAGIC).u8(VERSION).u8(TYPE[message.kind]);
  switch (message.kind) {
    case 'hello':
      writeText(writer, message.port).raw(message.nonce);
      break;
    case 'welcome':
      writer.raw(message.nonce);
      break;
    case 'ack':
      writer.u32(message.sequence);
      break;
    case 'copies':
      writer
        .u32(message.sequence)
        .u8(message.isWhole ? WHOLE : 0)
        .u16(message.changes.length);
      for (const change of message.changes) writeChange(writer, change);
      break;
  }
  return writer.finish();
}

function nonceOf(reader: ByteReader): Uint8Array {
  return reader.take(NONCE_BYTES, 'copy.nonce').slice();
}

function readText(reader: ByteReader, field: string): string {
  return new TextDecoder().decode(reader.take(reader.u8(field), field));
}

function writeText(writer: ByteWriter, text: string): ByteWriter {
  const bytes = new TextEncoder().encode(text);
  return writer.u8(bytes.length).raw(bytes);
}

function readChange(reader: ByteReader): CopyChange {
  const first = reader.u8('copy.kind');
  const kind = KINDS[first & ~GONE] ?? reader.fail('bad-value', 'copy.kind', `${first}`);
  const number = reader.u8('copy.protocol');
  const protocol = Object.keys(PROTOCOLS).find((name) => PROTOCOLS[name] === number);
  if (protocol === undefined) reader.fail('bad-value', 'copy.protocol', `${number}`);
  const version = reader.u8('copy.ipVersion');
  if (version !== 4 && version !== 6) reader.fail('bad-value', 'copy.ipVersion', `${version}`);
  const owner = readText(reader, 'copy.owner');
  const end = (): { address: string; port: number } => {
    const ip: Ip =
      version === 4
        ? { version: 4, value: reader.u32('copy.address') as Ipv4 }
        : { version: 6, value: reader.u128('copy.address') as Ipv6 };
    return { address: formatIp(ip), port: reader.u16('copy.port') };
  };
  const original = { from: end(), to: end() };
  const reply = { from: end(), to: end() };
  const mark = reader.u32('copy.mark');
  const entry = { owner, kind, protocol, original, reply, ...(protocol === 'tcp' ? { state: 'established' } : {}) };
  return { op: (first & GONE) === 0 ? 'put' : 'gone', entry: { ...entry, ...(mark === 0 ? {} : { mark }) } };
}

function writeChange(writer: ByteWriter, { op, entry }: CopyChange): void {
  const { owner, kind, protocol, original, reply, mark = 0 } = entry;
  writer.u8(KINDS.indexOf(kind) | (op === 'gone' ? GONE : 0)).u8(PROTOCOLS[protocol]!);
  const ends = [original.from, original.to, reply.from, reply.to];
  writer.u8(ends[0]!.address.includes(':') ? 6 : 4);
  writeText(writer, owner);
  for (const { address, port = 0 } of ends) {
    const ip = parseIp(address)!;
    if (ip.version === 4) writer.u32(ip.value);
    else writer.u128(ip.value);
    writer.u16(port);
  }
  writer.u32(mark);
}
