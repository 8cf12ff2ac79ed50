import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { type Field, type FieldCode, fieldByCode, fieldOf, nxmCode, OXM_CLASS, oxmCode } from './fields.ts';
import type { FieldRange, FieldValue } from './flow.ts';

/**
 * One OXM (or NXM: the same layout) entry, the building block of matches, set-field and Nicira's actions.
 * OpenFlow 1.3.5 §7.2.3.2, 1.5.1 §7.2.3.2.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-------------------------------+-------------+-+---------------+
 *  |             class             |    field    |M|    length     |
 *  +-------------------------------+-------------+-+---------------+
 *  |          experimenter, only when class = 0xffff               |
 *  +---------------------------------------------------------------+
 *  |  value (then, when M, a mask of the same size) …
 *
 * `length` counts what follows the first four bytes, the experimenter id included.
 */
export interface OxmHeader {
  readonly class: number;
  readonly code: number;
  readonly masked: boolean;
  readonly vendor: number;
  /** Bytes of value and mask together. */
  readonly payload: number;
  /** Undefined for a code that we do not know. */
  readonly field: Field | undefined;
  readonly known: FieldCode | undefined;
}

export function readOxmHeader(reader: ByteReader): OxmHeader {
  const word = reader.u32('oxm header');
  const class_ = word >>> 16;
  const code = (word >>> 9) & 0x7f;
  const masked = (word & 0x100) !== 0;
  let payload = word & 0xff;
  let vendor = 0;
  if (class_ === OXM_CLASS.experimenter) {
    if (payload < 4) reader.fail('bad-length', 'oxm header', 'no room for the experimenter id');
    vendor = reader.u32('oxm experimenter');
    payload -= 4;
  }
  const found = fieldByCode(class_, code, vendor);
  return { class: class_, code, masked, vendor, payload, field: found?.field, known: found?.code };
}

/** `bytes` is the width of the value; `masked` doubles what is announced. */
export function writeOxmHeader(writer: ByteWriter, code: FieldCode, masked: boolean, bytes = code.bytes): void {
  const payload = masked ? 0x100 + 2 * bytes : bytes;
  if (code.vendor === 0) writer.u32(code.header + payload);
  else {
    writer.u32(code.header + payload + 4);
    writer.u32(code.vendor);
  }
}

/** A value of `bytes` bytes; of up to 6 bytes as a number, wider as a bigint. */
export function readValue(reader: ByteReader, bytes: number, name: string): FieldValue {
  switch (bytes) {
    case 1:
      return reader.u8(name);
    case 2:
      return reader.u16(name);
    case 3:
      return reader.u24(name);
    case 4:
      return reader.u32(name);
    case 6:
      return reader.u48(name);
    case 8:
      return reader.u64(name);
    case 16:
      return reader.u128(name);
    default: {
      let value = 0n;
      for (const byte of reader.take(bytes, name)) value = (value << 8n) | BigInt(byte);
      return value;
    }
  }
}

export function writeValue(writer: ByteWriter, bytes: number, value: FieldValue): void {
  switch (bytes) {
    case 1:
      writer.u8(Number(value));
      return;
    case 2:
      writer.u16(Number(value));
      return;
    case 3:
      writer.u24(Number(value));
      return;
    case 4:
      writer.u32(Number(value));
      return;
    case 6:
      writer.u48(Number(value));
      return;
    case 8:
      writer.u64(BigInt(value));
      return;
    case 16:
      writer.u128(BigInt(value));
      return;
    default: {
      const wide = BigInt(value);
      for (let i = bytes - 1; i >= 0; i--) writer.u8(Number((wide >> BigInt(8 * i)) & 0xffn));
    }
  }
}

/**
 * Bytes that a value needs on the wire. Tunnel metadata is as long as the option it is mapped to, which the value
 * does not say; Open vSwitch aligns shorter ones to the right, so the fewest multiple of four bytes will do.
 */
export function wireBytes(field: Field, code: FieldCode, value: FieldValue, mask?: FieldValue): number {
  if (field.bits !== 992) return code.bytes;
  const bits = (BigInt(value) | BigInt(mask ?? 0)).toString(2).length;
  return Math.min(124, Math.ceil(bits / 32) * 4);
}

/** The code point of `field` for a match or set-field in OpenFlow `version`; version 0 and 1 mean NXM. */
export function codeFor(field: Field, version: number): FieldCode | undefined {
  return version <= 1 ? nxmCode(field) : oxmCode(field, version);
}

/** All ones in `bits` bits: a number up to 48, a bigint beyond. */
export function onesOf(bits: number): FieldValue {
  return bits <= 48 ? 2 ** bits - 1 : (1n << BigInt(bits)) - 1n;
}

const IN_PORT_OXM = fieldOf('in_port').codes[1]!;

/**
 * The header that names a field in an action. Nicira's actions prefer NXM codes; the 16-bit NXM_OF_IN_PORT stands for
 * `in_port` as long as the range keeps within it.
 */
export function rangeCode(field: Field, range: FieldRange, version = 0): FieldCode | undefined {
  if (field.name === 'in_port') return range.from + range.bits <= 16 ? field.codes[0] : IN_PORT_OXM;
  return codeFor(field, version);
}

/** Reads the header of a field in an action; undefined for a field that we do not know, or one with a mask. */
export function readFieldHeader(reader: ByteReader): Field | undefined {
  const header = readOxmHeader(reader);
  return header.masked ? undefined : header.field;
}

/** Port numbers of OpenFlow 1.0 have 16 bits; the reserved ones keep their meaning (0xfffe is 0xfffffffe). */
export function widePort(port: number): number {
  return port >= 0xff00 ? port + 0xffff_0000 : port;
}
