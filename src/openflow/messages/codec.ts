import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { DecodeError } from '../../base/errors.ts';

/**
 * The contract of every message family in this folder: a diagram of the offsets, then `decode` and `encode` of what
 * follows the header that all messages have (OpenFlow 1.3.5 §7.1):
 *
 *  +---------------+---------------+-------------------------------+
 *  |    version    |     type      |   length, header included     |
 *  +---------------+---------------+-------------------------------+
 *  |                              xid                              |
 *  +---------------------------------------------------------------+
 *
 * `decode` gets a reader over the body alone and throws nothing but `DecodeError`; bytes that it leaves are refused by
 * the caller. `encode` may throw `WeftError('invalid')` for what a version cannot say.
 */
export interface Codec<B extends { readonly kind: string }> {
  readonly decode: (reader: ByteReader, version: number) => B;
  readonly encode: (writer: ByteWriter, body: B, version: number) => void;
}

/** A message that is nothing but its header. */
export function emptyCodec<K extends string>(kind: K): Codec<{ readonly kind: K }> {
  return { decode: () => ({ kind }), encode: () => {} };
}

/** A property (1.4 and later): type, length without padding, body padded to 8. Kept whole where we do not know it. */
export interface Property {
  readonly type: number;
  readonly body: ByteReader;
  readonly whole: Uint8Array;
}

/** Properties until the reader's end. Throws `DecodeError` (`bad-length`). */
export function* readProperties(reader: ByteReader): Generator<Property, void, void> {
  while (reader.remaining > 0) {
    const start = reader.offset;
    const type = reader.u16('property type');
    const length = reader.u16('property length');
    if (length < 4) reader.fail('bad-length' satisfies DecodeError['code'], 'property length', `${length}`);
    const body = reader.sub(length - 4, 'property');
    reader.skip(Math.min(reader.remaining, (8 - (length % 8)) % 8), 'property padding');
    yield { type, body, whole: reader.bytes.slice(start, reader.offset) };
  }
}

/** Writes one property; `body` writes what follows its four bytes. */
export function writeProperty(writer: ByteWriter, type: number, body: (writer: ByteWriter) => void): void {
  const start = writer.length;
  writer.u16(type).u16(0);
  body(writer);
  writer.patchU16(start + 2, writer.length - start);
  writer.align(8, start);
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });
/** A byte of a text that is not UTF-8, in the manner of Python's surrogateescape. */
const LONE_BYTE = /(?<![\ud800-\udbff])[\udc80-\udcff]/;

/**
 * A fixed-size, zero-filled string: UTF-8; where it is not, bytes from 0x80 on become lone surrogates U+DC80…U+DCFF, so
 * that the same bytes can be written again.
 */
export function readText(reader: ByteReader, bytes: number, field: string): string {
  const raw = reader.take(bytes, field);
  const end = raw.indexOf(0);
  const text = end < 0 ? raw : raw.subarray(0, end);
  try {
    return UTF8.decode(text);
  } catch {
    return String.fromCharCode(...Array.from(text, (byte) => (byte < 0x80 ? byte : 0xdc00 + byte)));
  }
}

/** As `readText` reads it, cut to fit. */
export function writeText(writer: ByteWriter, bytes: number, text: string): void {
  const whole = LONE_BYTE.test(text) ? Uint8Array.from(text, (c) => c.charCodeAt(0) & 0xff) : Buffer.from(text, 'utf8');
  const raw = whole.subarray(0, bytes);
  writer.raw(raw).zeros(bytes - raw.length);
}
