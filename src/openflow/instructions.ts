import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { WeftError } from '../base/errors.ts';
import { readActions, writeActions } from './actions.ts';
import type { Action, Instructions } from './flow.ts';

/**
 * Instructions of a flow. OpenFlow 1.3.5 §7.2.4, 1.5.1 §7.2.5. In 1.0 a flow has a bare action list, in which
 * `gotoTable` becomes a resubmit and `writeMetadata` Nicira's action.
 *
 *  +-------------------------------+-------------------------------+
 *  |             type              |   length, a multiple of 8     |
 *  +-------------------------------+-------------------------------+
 *  |  goto: table(1) 0(3) | metadata: 0(4) value(8) mask(8) | actions: 0(4) list | clear: 0(4) | meter: id(4)
 */
const OFPIT = { goto: 1, metadata: 2, write: 3, apply: 4, clear: 5, meter: 6, statTrigger: 7 } as const;
/** Stands for all unknown instructions in an order. */
const UNKNOWN = 0;
const VERSION_10 = 1;
const VERSION_15 = 6;

type Mutable = { -readonly [K in keyof Instructions]: Instructions[K] };

/** Instructions until the end of the reader. A second one of a type, and an unknown type, is kept in `unknown`. */
export function readInstructions(reader: ByteReader, version: number): Instructions {
  if (version === VERSION_10) return { actions: readActions(reader, version) };
  const out: Mutable = { actions: [] };
  const unknown: Uint8Array[] = [];
  const seen: number[] = [];
  while (reader.remaining > 0) {
    const start = reader.offset;
    const type = reader.u16('instruction type');
    const length = reader.u16('instruction length');
    if (length < 8 || length % 8 !== 0) reader.fail('bad-length', 'instruction length', `${length}`);
    reader.offset = start;
    const body = reader.sub(length, 'instruction');
    const known = !seen.includes(type) && readInstruction(body, type, version, out);
    if (!known) unknown.push(body.bytes.slice());
    seen.push(known ? type : UNKNOWN);
  }
  if (unknown.length > 0) out.unknown = unknown;
  if (!inOrder(seen)) out.order = [...new Set(seen)];
  return out;
}

function inOrder(types: readonly number[]): boolean {
  let last = -1;
  for (const type of types) {
    const rank = EXECUTION_ORDER.indexOf(type);
    if (rank < last) return false;
    last = rank;
  }
  return true;
}

function readInstruction(r: ByteReader, type: number, version: number, out: Mutable): boolean {
  r.skip(4, 'instruction header');
  switch (type) {
    case OFPIT.goto:
      out.gotoTable = r.u8('table');
      return true;
    case OFPIT.metadata:
      r.skip(4, 'padding');
      out.writeMetadata = { value: r.u64('metadata'), mask: r.u64('metadata mask') };
      return true;
    case OFPIT.apply:
      r.skip(4, 'padding');
      if (r.remaining === 0) return false;
      out.actions = readActions(r, version);
      return true;
    case OFPIT.write:
      r.skip(4, 'padding');
      out.writeActions = readActions(r, version);
      return true;
    case OFPIT.clear:
      out.clearActions = true;
      return true;
    case OFPIT.meter:
      if (version >= VERSION_15) return false;
      out.meter = r.u32('meter');
      return true;
    case OFPIT.statTrigger:
      if (version < VERSION_15) return false;
      out.statTrigger = r.bytes.slice();
      return true;
    default:
      return false;
  }
}

/** The order in which a switch executes them (1.3.5 §5.9). */
const EXECUTION_ORDER: readonly number[] = [
  OFPIT.meter,
  OFPIT.apply,
  OFPIT.clear,
  OFPIT.write,
  OFPIT.metadata,
  OFPIT.statTrigger,
  UNKNOWN,
  OFPIT.goto,
];

/** Appends instructions in the order of execution, or in `value.order`. */
export function writeInstructions(writer: ByteWriter, version: number, value: Instructions): void {
  if (version === VERSION_10) {
    writeFlat(writer, value);
    return;
  }
  const order = value.order ?? EXECUTION_ORDER;
  for (let i = 0; i < order.length; i++) writeInstruction(writer, version, order[i]!, value);
}

function writeInstruction(w: ByteWriter, version: number, type: number, value: Instructions): void {
  switch (type) {
    case OFPIT.meter:
      if (value.meter !== undefined && version < VERSION_15) w.u16(OFPIT.meter).u16(8).u32(value.meter);
      return;
    case OFPIT.apply: {
      const meter = version >= VERSION_15 ? value.meter : undefined;
      if (value.actions.length > 0 || meter !== undefined) writeList(w, version, OFPIT.apply, value.actions, meter);
      return;
    }
    case OFPIT.clear:
      if (value.clearActions) w.u16(OFPIT.clear).u16(8).u32(0);
      return;
    case OFPIT.write:
      if (value.writeActions) writeList(w, version, OFPIT.write, value.writeActions, undefined);
      return;
    case OFPIT.metadata:
      if (value.writeMetadata) {
        w.u16(OFPIT.metadata).u16(24).u32(0);
        w.u64(value.writeMetadata.value).u64(value.writeMetadata.mask);
      }
      return;
    case OFPIT.statTrigger:
      if (value.statTrigger) w.raw(value.statTrigger);
      return;
    case OFPIT.goto:
      if (value.gotoTable !== undefined) w.u16(OFPIT.goto).u16(8).u8(value.gotoTable).zeros(3);
      return;
    default:
      if (value.unknown) for (const bytes of value.unknown) w.raw(bytes);
  }
}

/** Of a list that came twice in a row, as its bytes: routes of one set of next hops come by the thousand with the same one. */
let repeated: { readonly list: readonly Action[]; readonly version: number; bytes?: Uint8Array } | undefined;

/** `meter`: 1.5 has an action for it, which goes first. */
function writeList(w: ByteWriter, version: number, type: number, list: readonly Action[], meter?: number): void {
  const known = repeated?.list === list && repeated.version === version ? repeated : undefined;
  const start = w.length;
  w.u16(type).u16(0).u32(0);
  if (meter !== undefined) writeActions(w, version, [{ kind: 'meter', meter }]);
  if (known?.bytes) w.raw(known.bytes);
  else {
    const from = w.length;
    writeActions(w, version, list);
    if (known) known.bytes = w.view().slice(from);
    else repeated = { list, version };
  }
  const length = w.length - start;
  if (length > 0xffff) throw new WeftError('invalid', 'instruction: longer than 65,535 bytes');
  w.patchU16(start + 2, length);
}

function writeFlat(w: ByteWriter, value: Instructions): void {
  if (value.writeActions || value.clearActions || value.meter !== undefined)
    throw new WeftError('invalid', 'OpenFlow 1.0 has no action sets and no meters');
  writeActions(w, VERSION_10, value.actions);
  if (value.writeMetadata) {
    const { value: metadata, mask } = value.writeMetadata;
    w.u16(0xffff).u16(32).u32(0x2320).u16(22).zeros(6).u64(metadata).u64(mask);
  }
  if (value.gotoTable !== undefined) writeActions(w, VERSION_10, [{ kind: 'resubmit', table: value.gotoTable }]);
}
