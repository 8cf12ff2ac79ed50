import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { WeftError } from '../base/errors.ts';
import { FIELDS, type Field, type FieldName, fieldByName } from './fields.ts';
import type { FieldValue, Masked, Match } from './flow.ts';
import {
  codeFor,
  type OxmHeader,
  readOxmHeader,
  readValue,
  widePort,
  wireBytes,
  writeOxmHeader,
  writeValue,
} from './oxm.ts';

/**
 * Matches of OpenFlow 1.2 and later, and Nicira's `nx_match`: a run of OXM entries (see oxm.ts).
 *
 *   ofp_match (1.3.5 §7.2.3.1)                     nx_match
 *  +---------------+---------------+               entries, then zeros up to a multiple of 8;
 *  |   type = 1    |    length     |               the length stands elsewhere in the message
 *  +---------------+---------------+
 *  |  entries … (length - 4 bytes)
 *  |  zeros up to a multiple of 8 (not in length)
 *  +-------------------------------
 *
 * Entries keep the order of the match's keys, but a field never goes before its prerequisites (`ip_src` before
 * `eth_type`), which switches refuse.
 */
const OFPMT_OXM = 1;

/** For each field, the fields that must stand before it, if the match has them. */
const FIRST: readonly (readonly FieldName[])[] = FIELDS.map((f) => f.prerequisites.map((p) => p.field));

/**
 * Appends the entries of `match` for OpenFlow `version` (wire number; 0 or 1: NXM codes).
 * Throws `WeftError('invalid')` for a field that this version cannot carry.
 */
export function writeMatchFields(writer: ByteWriter, match: Match, version: number): void {
  const written: Field[] = [];
  for (const name in match) {
    if (name === 'unknown') {
      for (const entry of match.unknown!) writer.raw(entry);
      continue;
    }
    const value = match[name as FieldName];
    if (value !== undefined) writeInOrder(writer, match, name as FieldName, value, version, written);
  }
}

function writeInOrder(
  writer: ByteWriter,
  match: Match,
  name: FieldName,
  value: FieldValue | Masked,
  version: number,
  written: Field[],
): void {
  const field = fieldByName(name);
  if (!field) throw new WeftError('invalid', `match: no field is called ${name}`);
  if (written.includes(field)) return;
  const first = FIRST[field.index]!;
  for (let i = 0; i < first.length; i++) {
    const needed = match[first[i]!];
    if (needed !== undefined) writeInOrder(writer, match, first[i]!, needed, version, written);
  }
  written.push(field);
  writeEntry(writer, field, value, version);
}

function writeEntry(writer: ByteWriter, field: Field, value: FieldValue | Masked, version: number): void {
  const code = codeFor(field, version);
  if (!code) throw new WeftError('invalid', `match: ${field.name} cannot be sent in OpenFlow version ${version}`);
  if (typeof value === 'object') {
    const bytes = wireBytes(field, code, value.value, value.mask);
    writeOxmHeader(writer, code, true, bytes);
    writeValue(writer, bytes, value.value);
    writeValue(writer, bytes, value.mask);
    return;
  }
  const bytes = wireBytes(field, code, value);
  writeOxmHeader(writer, code, false, bytes);
  writeValue(writer, bytes, value);
}

/** Appends a whole `ofp_match`, padded. */
export function writeMatch(writer: ByteWriter, match: Match, version: number): void {
  const start = writer.length;
  writer.u16(OFPMT_OXM).u16(0);
  writeMatchFields(writer, match, version);
  writer.patchU16(start + 2, writer.length - start);
  writer.align(8, start);
}

/** An `ofp_match` on its own, padded: also a compact key for comparing matches. */
export function encodeMatch(match: Match, version = 6): Uint8Array {
  const writer = new ByteWriter(64);
  writeMatch(writer, match, version);
  return writer.finish();
}

/**
 * Entries until the reader's end. What we do not know is kept in `unknown`, whose place among the keys is that of the
 * first of them. A field that appears twice is a `DecodeError` (OFPBMC_DUP_FIELD to a switch).
 */
export function readMatchFields(reader: ByteReader): Match {
  const match: Record<string, FieldValue | Masked | Uint8Array[]> = {};
  while (reader.remaining > 0) {
    const start = reader.offset;
    const header = readOxmHeader(reader);
    const value = readEntryValue(reader, header);
    if (value !== undefined && header.field) {
      if (header.field.name in match) reader.fail('bad-value', header.field.name, 'matched twice');
      match[header.field.name] = value;
    } else {
      match.unknown ??= [];
      (match.unknown as Uint8Array[]).push(reader.bytes.slice(start, reader.offset));
    }
  }
  return match as Match;
}

/** The value of an entry, or undefined (having passed over it) when it has no place in a `Match`. */
function readEntryValue(reader: ByteReader, header: OxmHeader): FieldValue | Masked | undefined {
  const { field, known, masked, payload } = header;
  const bytes = masked ? payload / 2 : payload;
  if (!field || !known) {
    reader.skip(payload, 'oxm payload');
    return undefined;
  }
  const fits = field.bits === 992 ? bytes > 0 && bytes <= 124 && Number.isInteger(bytes) : bytes === known.bytes;
  if (!fits) reader.fail('bad-length', field.name, `${payload} bytes`);
  const value = wide(field, readValue(reader, bytes, field.name));
  if (field.name === 'in_port' && bytes === 2) {
    if (masked) reader.skip(bytes, 'in_port mask');
    return masked ? undefined : widePort(Number(value));
  }
  return masked ? { value, mask: wide(field, readValue(reader, bytes, field.name)) } : value;
}

/** Short forms of a value (16-bit in_port, short tunnel metadata) as the field has them. */
function wide(field: Field, value: FieldValue): FieldValue {
  return field.bits > 48 ? BigInt(value) : value;
}

/** A whole `ofp_match`, padding included. */
export function readMatch(reader: ByteReader): Match {
  const type = reader.u16('match type');
  if (type !== OFPMT_OXM) reader.fail('bad-type', 'match type', `${type}`);
  const length = reader.u16('match length');
  if (length < 4) reader.fail('bad-length', 'match length', `${length}`);
  const match = readMatchFields(reader.sub(length - 4, 'match'));
  reader.skip((8 - (length % 8)) % 8, 'match padding');
  return match;
}

/** The inverse of `encodeMatch`. Throws `DecodeError`. */
export function decodeMatch(bytes: Uint8Array): Match {
  return readMatch(new ByteReader(bytes));
}
