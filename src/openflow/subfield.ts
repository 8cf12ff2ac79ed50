import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { WeftError } from '../base/errors.ts';
import { type Field, fieldOf } from './fields.ts';
import type { FieldRange, FieldValue } from './flow.ts';
import { codeFor, rangeCode, widePort, wireBytes, writeOxmHeader, writeValue } from './oxm.ts';

/** What Nicira's actions share: their header, field ranges, and set-field bodies. */

export const NX_VENDOR = 0x0000_2320;

/** The ten bytes that every Nicira action starts with; `length` may be patched by `closeAction`. */
export function openNicira(writer: ByteWriter, subtype: number, length: number): ByteWriter {
  return writer.u16(0xffff).u16(length).u32(NX_VENDOR).u16(subtype);
}

/** Pads the action that began at `start` to a multiple of 8 bytes and writes its length. */
export function closeAction(writer: ByteWriter, start: number): void {
  writer.align(8, start);
  const length = writer.length - start;
  if (length > 0xffff) throw new WeftError('invalid', 'action: longer than 65,535 bytes');
  writer.patchU16(start + 2, length);
}

/** `ofs_nbits`: bit offset in the upper 10 bits, width less one in the lower 6. */
export function packRange(range: FieldRange): number {
  return (range.from << 6) | (range.bits - 1);
}

export function unpackRange(packed: number): { from: number; bits: number } {
  return { from: packed >>> 6, bits: (packed & 0x3f) + 1 };
}

/** The header of a range's field; version 0: NXM first. */
export function writeRangeHeader(writer: ByteWriter, range: FieldRange, version = 0): void {
  const field = fieldOf(range.field);
  const code = rangeCode(field, range, version);
  if (!code) throw new WeftError('invalid', `action: ${range.field} cannot be sent`);
  const bytes = field.bits === 992 ? Math.ceil((range.from + range.bits) / 32) * 4 : code.bytes;
  writeOxmHeader(writer, code, false, bytes);
}

/** Whether a range's header takes 4 bytes (8: an experimenter's field). */
export function isShortHeader(range: FieldRange): boolean {
  return rangeCode(fieldOf(range.field), range)?.vendor === 0;
}

/**
 * The OXM entry of a set-field; `version` chooses the code point (0: NXM). `in_port` goes as NXM_OF_IN_PORT where 16
 * bits say it: Open vSwitch refuses some values of OXM_OF_IN_PORT there, and to others it cannot be set at all.
 */
export function writeSetFieldBody(
  writer: ByteWriter,
  name: FieldRange['field'],
  value: FieldValue,
  mask: FieldValue | undefined,
  version: number,
): void {
  const field = fieldOf(name);
  const short = name === 'in_port' && mask === undefined && widePort(Number(value) & 0xffff) === Number(value);
  const code = codeFor(field, short ? 0 : version);
  if (!code) throw new WeftError('invalid', `set_field: ${name} cannot be sent in OpenFlow version ${version}`);
  const bytes = wireBytes(field, code, value, mask);
  writeOxmHeader(writer, code, mask !== undefined, bytes);
  writeValue(writer, bytes, value);
  if (mask !== undefined) writeValue(writer, bytes, mask);
}

/** A range of a field; undefined when there is no such field, or when it has not so many bits. */
export function rangeOf(
  field: Field | undefined,
  { from, bits }: { readonly from: number; readonly bits: number },
): FieldRange | undefined {
  return field && bits > 0 && from + bits <= field.bits ? { field: field.name, from, bits } : undefined;
}

/** Passes over `bytes` bytes, for use within an expression. */
export function after(reader: ByteReader, bytes: number): ByteReader {
  reader.skip(bytes, 'padding');
  return reader;
}
