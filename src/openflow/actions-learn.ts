import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import type { Action, FieldRange, LearnSpec } from './flow.ts';
import { readFieldHeader } from './oxm.ts';
import { closeAction, openNicira, rangeOf, writeRangeHeader } from './subfield.ts';

/**
 * NXAST_LEARN and NXAST_LEARN2 (`ovs-actions(7)`, "learn"): a flow made from a packet.
 *
 *   after the ten bytes of every Nicira action:
 *  idle(2) hard(2) priority(2) cookie(8) flags(2) table(1) 0(1) fin idle(2) fin hard(2)
 *  learn2 only: limit(4) result offset(2) 0(2) [result field's header, when flags has 4]
 *  then specifications, each:
 *
 *   15 14 13 12 11 10                 0
 *  +-----+--+-----+--------------------+
 *  |  0  |s | dst |       n_bits       |  s: 0 field, 1 value; dst: 0 match, 1 load, 2 output
 *  +-----+--+-----+--------------------+
 *  source: header(4) offset(2), or the value in whole 16-bit words, right-aligned
 *  destination (not for output): header(4) offset(2)
 */
const NXAST_LEARN = 16;
const NXAST_LEARN2 = 45;
const WRITE_RESULT = 4;
const VALUE_SOURCE = 1 << 13;
const DESTINATIONS = ['match', 'load', 'output'] as const;

type Learn = Extract<Action, { kind: 'learn' }>;

export function readLearn(r: ByteReader, second: boolean): Action | undefined {
  const common = {
    kind: 'learn',
    idleTimeout: r.u16('idle timeout'),
    hardTimeout: r.u16('hard timeout'),
    priority: r.u16('priority'),
    cookie: r.u64('cookie'),
    flags: r.u16('flags'),
    table: r.u8('table'),
    ...skipped(r, 1),
    finIdleTimeout: r.u16('fin idle timeout'),
    finHardTimeout: r.u16('fin hard timeout'),
  } as const;
  if (!second) {
    const specs = readSpecs(r);
    return specs && { ...common, specs };
  }
  const limit = r.u32('limit');
  const from = r.u16('result offset');
  r.skip(2, 'padding');
  if ((common.flags & WRITE_RESULT) === 0) {
    const specs = readSpecs(r);
    return specs && { ...common, specs, limit };
  }
  const field = readFieldHeader(r);
  const result = rangeOf(field, { from, bits: 1 });
  const specs = result && readSpecs(r);
  return specs && { ...common, specs, limit, result };
}

function skipped(r: ByteReader, bytes: number): Record<never, never> {
  r.skip(bytes, 'padding');
  return {};
}

function readSpecs(r: ByteReader): LearnSpec[] | undefined {
  const specs: LearnSpec[] = [];
  while (r.remaining >= 2) {
    const word = r.u16('learn spec');
    if (word === 0) break;
    const bits = word & 0x7ff;
    const kind = DESTINATIONS[(word >> 11) & 3];
    if (!kind || word >> 14 !== 0 || bits === 0) return undefined;
    const src = word & VALUE_SOURCE ? readImmediate(r, bits) : readRange(r, bits);
    const dst = kind === 'output' ? undefined : readRange(r, bits);
    if (!src || (kind !== 'output' && !dst)) return undefined;
    specs.push(dst ? { kind, src, dst } : { kind, src });
  }
  return specs;
}

function readImmediate(r: ByteReader, bits: number): { value: bigint; bits: number } {
  let value = 0n;
  for (const byte of r.take(2 * Math.ceil(bits / 16), 'learn value')) value = (value << 8n) | BigInt(byte);
  return { value, bits };
}

function readRange(r: ByteReader, bits: number): FieldRange | undefined {
  const field = readFieldHeader(r);
  const from = r.u16('offset');
  return rangeOf(field, { from, bits });
}

export function writeLearn(writer: ByteWriter, a: Learn): void {
  const start = writer.length;
  const second = a.limit !== undefined || a.result !== undefined;
  openNicira(writer, second ? NXAST_LEARN2 : NXAST_LEARN, 0);
  writer.u16(a.idleTimeout).u16(a.hardTimeout).u16(a.priority).u64(a.cookie);
  writer
    .u16(a.result ? a.flags | WRITE_RESULT : a.flags)
    .u8(a.table)
    .u8(0);
  writer.u16(a.finIdleTimeout).u16(a.finHardTimeout);
  if (second) {
    writer
      .u32(a.limit ?? 0)
      .u16(a.result?.from ?? 0)
      .u16(0);
    if (a.result) writeRangeHeader(writer, a.result);
  }
  for (const spec of a.specs) writeSpec(writer, spec);
  closeAction(writer, start);
}

function writeSpec(writer: ByteWriter, spec: LearnSpec): void {
  const immediate = 'value' in spec.src;
  writer.u16((immediate ? VALUE_SOURCE : 0) | (DESTINATIONS.indexOf(spec.kind) << 11) | spec.src.bits);
  if ('value' in spec.src) {
    for (let word = Math.ceil(spec.src.bits / 16) - 1; word >= 0; word--)
      writer.u16(Number((spec.src.value >> BigInt(16 * word)) & 0xffffn));
  } else {
    writeRangeHeader(writer, spec.src);
    writer.u16(spec.src.from);
  }
  if (spec.dst) {
    writeRangeHeader(writer, spec.dst);
    writer.u16(spec.dst.from);
  }
}
