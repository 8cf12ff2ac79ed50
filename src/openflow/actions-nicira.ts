import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { readCt, writeCt } from './actions-ct.ts';
import { readLearn, writeLearn } from './actions-learn.ts';
import { fieldOf } from './fields.ts';
import { type Action, type FieldRange, type FieldValue, type MultipathFields, OFPP } from './flow.ts';
import { onesOf, readFieldHeader, readOxmHeader, readValue, widePort } from './oxm.ts';
import {
  after,
  closeAction,
  isShortHeader,
  openNicira,
  packRange,
  rangeOf,
  unpackRange,
  writeRangeHeader,
  writeSetFieldBody,
} from './subfield.ts';

/**
 * Nicira's extension actions (Open vSwitch `ofp-actions`, `ovs-actions(7)`), for every OpenFlow version.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-------------------------------+-------------------------------+
 *  |   type = 0xffff               |   length, a multiple of 8     |
 *  +-------------------------------+-------------------------------+
 *  |   vendor = 0x00002320                                         |
 *  +-------------------------------+-------------------------------+
 *  |   subtype (NXAST below)       |   subtype's own, from byte 10
 */
export const NXAST = {
  resubmit: 1,
  setTunnel: 2,
  setQueue: 4,
  popQueue: 5,
  regMove: 6,
  regLoad: 7,
  note: 8,
  setTunnel64: 9,
  multipath: 10,
  bundle: 12,
  bundleLoad: 13,
  resubmitTable: 14,
  outputReg: 15,
  learn: 16,
  exit: 17,
  decTtl: 18,
  finTimeout: 19,
  controller: 20,
  decTtlCntIds: 21,
  writeMetadata: 22,
  pushMpls: 23,
  popMpls: 24,
  setMplsTtl: 25,
  decMplsTtl: 26,
  stackPush: 27,
  stackPop: 28,
  sample: 29,
  setMplsLabel: 30,
  setMplsTc: 31,
  outputReg2: 32,
  regLoad2: 33,
  conjunction: 34,
  ct: 35,
  nat: 36,
  controller2: 37,
  sample2: 38,
  outputTrunc: 39,
  group: 40,
  sample3: 41,
  clone: 42,
  ctClear: 43,
  resubmitTableCt: 44,
  learn2: 45,
  encap: 46,
  decap: 47,
  checkPktLarger: 49,
  deleteField: 50,
} as const;

const HASH_FIELDS: readonly MultipathFields[] = [
  'eth_src',
  'symmetric_l4',
  'symmetric_l3l4',
  'symmetric_l3l4+udp',
  'nw_src',
  'nw_dst',
  'symmetric_l3',
];
const MULTIPATH_ALGORITHMS = ['modulo_n', 'hash_threshold', 'hrw', 'iter_hash'] as const;
const BUNDLE_ALGORITHMS = ['active_backup', 'hrw'] as const;
/** What a bundle's members are: ports, as this header says. */
const NXM_OF_IN_PORT = 0x0000_0002;
/** Properties of NXAST_CONTROLLER2, type-length-value padded to 8. */
const CONTROLLER2 = { maxLen: 0, controller: 1, reason: 2, userdata: 3, pause: 4, meter: 5 } as const;
const OFPR_ACTION = 1;
/** "As much as there is." */
const NO_LIMIT = 0xffff;

/** How nested actions (ct, clone) are read and written; given by actions.ts. */
export interface Nested {
  read(reader: ByteReader): Action[];
  write(writer: ByteWriter, actions: readonly Action[]): void;
}

// ---------------------------------------------------------------- reading

/** `reader` covers the whole action. Undefined for a subtype, or a field within it, that we do not know. */
export function readNicira(reader: ByteReader, nested: Nested): Action | undefined {
  reader.skip(8, 'nicira action');
  const subtype = reader.u16('nicira subtype');
  return READERS[subtype]?.(reader, nested);
}

type Read = (reader: ByteReader, nested: Nested) => Action | undefined;

const READERS: { readonly [subtype: number]: Read } = {
  [NXAST.resubmit]: (r) => ({ kind: 'resubmit', ...resubmitPort(r.u16('resubmit port')) }),
  [NXAST.resubmitTable]: (r) => readResubmit(r, false),
  [NXAST.resubmitTableCt]: (r) => readResubmit(r, true),
  [NXAST.setTunnel]: (r) => ({ kind: 'setTunnel', id: BigInt(after(r, 2).u32('tunnel id')) }),
  [NXAST.setTunnel64]: (r) => {
    const id = after(r, 6).u64('tunnel id');
    return id < 0x1_0000_0000n ? { kind: 'setTunnel', id, wide: true } : { kind: 'setTunnel', id };
  },
  [NXAST.setQueue]: (r) => ({ kind: 'setQueue', queue: after(r, 2).u32('queue') }),
  [NXAST.popQueue]: () => ({ kind: 'popQueue' }),
  [NXAST.regMove]: (r) => readMove(r, 0),
  [NXAST.regLoad]: readLoad,
  [NXAST.regLoad2]: readSetField,
  [NXAST.note]: (r) => ({ kind: 'note', bytes: r.rest().slice() }),
  [NXAST.multipath]: readMultipath,
  [NXAST.bundle]: (r) => readBundle(r, false),
  [NXAST.bundleLoad]: (r) => readBundle(r, true),
  [NXAST.outputReg]: readOutputReg,
  [NXAST.outputReg2]: readOutputReg2,
  [NXAST.learn]: (r) => readLearn(r, false),
  [NXAST.learn2]: (r) => readLearn(r, true),
  [NXAST.exit]: () => ({ kind: 'exit' }),
  [NXAST.decTtl]: () => ({ kind: 'decTtl' }),
  [NXAST.decTtlCntIds]: readDecTtl,
  [NXAST.finTimeout]: (r) => ({ kind: 'fin', idleTimeout: r.u16('fin idle'), hardTimeout: r.u16('fin hard') }),
  [NXAST.controller]: (r) => ({
    kind: 'controller',
    maxLen: r.u16('max_len'),
    controller: r.u16('controller id'),
    reason: r.u8('reason'),
  }),
  [NXAST.controller2]: readController2,
  [NXAST.pushMpls]: (r) => ({ kind: 'pushMpls', etherType: r.u16('ethertype') }),
  [NXAST.popMpls]: (r) => ({ kind: 'popMpls', etherType: r.u16('ethertype') }),
  [NXAST.setMplsTtl]: (r) => ({ kind: 'setMplsTtl', ttl: r.u8('mpls ttl') }),
  [NXAST.decMplsTtl]: () => ({ kind: 'decMplsTtl' }),
  [NXAST.setMplsLabel]: (r) => ({ kind: 'setField', field: 'mpls_label', value: after(r, 2).u32('label') }),
  [NXAST.setMplsTc]: (r) => ({ kind: 'setField', field: 'mpls_tc', value: r.u8('mpls tc') }),
  [NXAST.stackPush]: (r) => readStack(r, 'push'),
  [NXAST.stackPop]: (r) => readStack(r, 'pop'),
  [NXAST.sample]: (r) => readSample(r, NXAST.sample),
  [NXAST.sample2]: (r) => readSample(r, NXAST.sample2),
  [NXAST.sample3]: (r) => readSample(r, NXAST.sample3),
  [NXAST.conjunction]: (r) => ({
    kind: 'conjunction',
    clause: r.u8('clause') + 1,
    of: r.u8('clauses'),
    id: r.u32('conjunction id'),
  }),
  [NXAST.ct]: readCt,
  [NXAST.outputTrunc]: (r) => ({
    kind: 'outputTrunc',
    port: widePort(r.u16('port')),
    maxLen: r.u32('max_len'),
  }),
  [NXAST.group]: (r) => ({ kind: 'group', group: after(r, 2).u32('group') }),
  [NXAST.clone]: (r, nested) => ({ kind: 'clone', actions: nested.read(after(r, 6)) }),
  [NXAST.ctClear]: () => ({ kind: 'ctClear' }),
  [NXAST.encap]: (r) => ({ kind: 'encap', bytes: r.bytes.slice() }),
  [NXAST.decap]: (r) => ({ kind: 'decap', bytes: r.bytes.slice() }),
  [NXAST.checkPktLarger]: (r) => {
    const length = r.u16('packet length');
    const from = r.u16('offset');
    const dst = rangeOf(readFieldHeader(r), { from, bits: 1 });
    return dst && { kind: 'checkPktLarger', length, dst };
  },
  [NXAST.deleteField]: (r) => {
    const field = readFieldHeader(r);
    return field && { kind: 'deleteField', field: field.name };
  },
};

function resubmitPort(port: number): { port?: number } {
  return port === 0xfff8 ? {} : { port: widePort(port) };
}

function readResubmit(r: ByteReader, ct: boolean): Action {
  const port = resubmitPort(r.u16('resubmit port'));
  const table = r.u8('resubmit table');
  return ct ? { kind: 'resubmit', ...port, table, ct } : { kind: 'resubmit', ...port, table };
}

/** `n_bits`, the two offsets, the two headers: the order of NXAST_REG_MOVE and, with padding, of OFPAT_COPY_FIELD. */
export function readMove(r: ByteReader, padding: number): Action | undefined {
  const bits = r.u16('n_bits');
  const [srcFrom, dstFrom] = [r.u16('src offset'), r.u16('dst offset')];
  const src = rangeOf(readFieldHeader(after(r, padding)), { from: srcFrom, bits });
  const dst = src && rangeOf(readFieldHeader(r), { from: dstFrom, bits });
  return src && dst && { kind: 'move', src, dst };
}

function readLoad(r: ByteReader): Action | undefined {
  const range = unpackRange(r.u16('ofs_nbits'));
  const dst = rangeOf(readFieldHeader(r), range);
  const value = r.u64('load value');
  return dst && value < 1n << BigInt(dst.bits) ? { kind: 'load', value, dst } : undefined;
}

/** One OXM entry as a `setField`: the body of OFPAT_SET_FIELD and of NXAST_REG_LOAD2. */
export function readSetField(r: ByteReader): Action | undefined {
  const header = readOxmHeader(r);
  const { field, masked } = header;
  const bytes = masked ? header.payload / 2 : header.payload;
  if (!field || (field.bits !== 992 && bytes !== header.known?.bytes) || !Number.isInteger(bytes)) return undefined;
  const own = (value: FieldValue): FieldValue => (field.bits > 48 ? BigInt(value) : value);
  const value = own(readValue(r, bytes, field.name));
  if (masked) return { kind: 'setField', field: field.name, value, mask: own(readValue(r, bytes, field.name)) };
  const narrowPort = field.name === 'in_port' && bytes === 2;
  return { kind: 'setField', field: field.name, value: narrowPort ? widePort(Number(value)) : value };
}

function readMultipath(r: ByteReader): Action | undefined {
  const fields = HASH_FIELDS[r.u16('hash fields')];
  const basis = r.u16('basis');
  const algorithm = MULTIPATH_ALGORITHMS[after(r, 2).u16('algorithm')];
  const links = r.u16('max_link') + 1;
  const arg = r.u32('arg');
  const range = unpackRange(after(r, 2).u16('ofs_nbits'));
  const dst = rangeOf(readFieldHeader(r), range);
  if (!fields || !algorithm || !dst) return undefined;
  return { kind: 'multipath', fields, basis, algorithm, links, arg, dst };
}

function readBundle(r: ByteReader, load: boolean): Action | undefined {
  const algorithm = BUNDLE_ALGORITHMS[r.u16('algorithm')];
  const fields = HASH_FIELDS[r.u16('hash fields')];
  const basis = r.u16('basis');
  const memberType = r.u32('member type');
  const count = r.u16('members');
  const range = unpackRange(r.u16('ofs_nbits'));
  if (!load) r.skip(4, 'dst');
  const dst = load ? rangeOf(readFieldHeader(r), range) : undefined;
  r.skip(4, 'padding');
  if (!algorithm || !fields || memberType !== NXM_OF_IN_PORT || (load && !dst)) return undefined;
  const members: number[] = [];
  for (let i = 0; i < count; i++) members.push(widePort(r.u16('member')));
  const common = { kind: 'bundle', fields, basis, algorithm, members } as const;
  return dst ? { ...common, dst } : common;
}

function readOutputReg(r: ByteReader): Action | undefined {
  const range = unpackRange(r.u16('ofs_nbits'));
  const src = rangeOf(readFieldHeader(r), range);
  return src && outputReg(src, r.u16('max_len'));
}

function readOutputReg2(r: ByteReader): Action | undefined {
  const range = unpackRange(r.u16('ofs_nbits'));
  const maxLen = r.u16('max_len');
  const src = rangeOf(readFieldHeader(r), range);
  return src && outputReg(src, maxLen);
}

function outputReg(src: FieldRange, maxLen: number): Action {
  return maxLen === NO_LIMIT ? { kind: 'outputReg', src } : { kind: 'outputReg', src, maxLen };
}

function readDecTtl(r: ByteReader): Action {
  const count = r.u16('controllers');
  after(r, 4);
  return { kind: 'decTtl', controllers: Array.from({ length: count }, () => r.u16('controller id')) };
}

function readController2(r: ByteReader): Action | undefined {
  after(r, 6);
  let [maxLen, controller, reason]: number[] = [NO_LIMIT, 0, OFPR_ACTION];
  let userdata: Uint8Array | undefined;
  let pause = false;
  let meter: number | undefined;
  while (r.remaining > 0) {
    const type = r.u16('property type');
    const length = r.u16('property length');
    if (length < 4) r.fail('bad-length', 'controller property', `${length}`);
    const body = r.sub(length - 4, 'controller property');
    r.skip(Math.min(r.remaining, (8 - (length % 8)) % 8), 'property padding');
    if (type === CONTROLLER2.maxLen) maxLen = body.u16('max_len');
    else if (type === CONTROLLER2.controller) controller = body.u16('controller id');
    else if (type === CONTROLLER2.reason) reason = body.u8('reason');
    else if (type === CONTROLLER2.userdata) userdata = body.rest().slice();
    else if (type === CONTROLLER2.pause) pause = true;
    else if (type === CONTROLLER2.meter) meter = body.u32('meter');
    else return undefined;
  }
  if (!userdata && !pause && meter === undefined) userdata = new Uint8Array(0);
  return {
    kind: 'controller',
    maxLen: maxLen!,
    reason: reason!,
    controller: controller!,
    ...(userdata ? { userdata } : {}),
    ...(pause ? { pause } : {}),
    ...(meter === undefined ? {} : { meter }),
  };
}

function readStack(r: ByteReader, kind: 'push' | 'pop'): Action | undefined {
  const from = r.u16('offset');
  const field = readFieldHeader(r);
  const range = rangeOf(field, { from, bits: r.u16('n_bits') });
  return range && { kind, range };
}

function readSample(r: ByteReader, subtype: number): Action | undefined {
  const common = {
    kind: 'sample',
    probability: r.u16('probability'),
    collectorSet: r.u32('collector set'),
    domain: r.u32('observation domain'),
    point: r.u32('observation point'),
  } as const;
  if (subtype === NXAST.sample) return common;
  const port = widePort(r.u16('sampling port'));
  const direction = r.u8('direction');
  if (subtype === NXAST.sample2) return { ...common, port };
  return direction > 2 ? undefined : { ...common, port, direction: direction as 0 | 1 | 2 };
}

// ---------------------------------------------------------------- writing

function simple(writer: ByteWriter, subtype: number): void {
  openNicira(writer, subtype, 16).zeros(6);
}

/** One 32-bit argument. */
export function writeNx32(writer: ByteWriter, subtype: number, value: number): void {
  openNicira(writer, subtype, 16).zeros(2).u32(value);
}

/** One 16-bit argument. */
export function writeNx16(writer: ByteWriter, subtype: number, value: number): void {
  openNicira(writer, subtype, 16).u16(value).zeros(4);
}

/** One 8-bit argument. */
export function writeNx8(writer: ByteWriter, subtype: number, value: number): void {
  openNicira(writer, subtype, 16).u8(value).zeros(5);
}

export function writeNxVoid(writer: ByteWriter, subtype: number): void {
  simple(writer, subtype);
}

/** NXAST_REG_LOAD, or REG_LOAD2 where a value or header is too wide for it. */
export function writeLoad(writer: ByteWriter, dst: FieldRange, value: FieldValue): void {
  if (dst.bits <= 64 && dst.from < 1024 && isShortHeader(dst)) {
    openNicira(writer, NXAST.regLoad, 24).u16(packRange(dst));
    writeRangeHeader(writer, dst);
    writer.u64(BigInt(value));
    return;
  }
  const shifted = BigInt(value) << BigInt(dst.from);
  const mask = BigInt(onesOf(dst.bits)) << BigInt(dst.from);
  const whole = dst.bits === fieldOf(dst.field).bits;
  const start = writer.length;
  openNicira(writer, NXAST.regLoad2, 0);
  writeSetFieldBody(writer, dst.field, shifted, whole ? undefined : mask, 0);
  closeAction(writer, start);
}

export function writeLoad2(writer: ByteWriter, action: Extract<Action, { kind: 'setField' }>): void {
  const start = writer.length;
  openNicira(writer, NXAST.regLoad2, 0);
  writeSetFieldBody(writer, action.field, action.value, action.mask, 0);
  closeAction(writer, start);
}

export function writeMove(writer: ByteWriter, src: FieldRange, dst: FieldRange): void {
  const start = writer.length;
  openNicira(writer, NXAST.regMove, 24).u16(src.bits).u16(src.from).u16(dst.from);
  writeRangeHeader(writer, src);
  writeRangeHeader(writer, dst);
  closeAction(writer, start);
}

/** Writes an action that only Nicira's extensions have; false for any other. */
export function writeNicira(writer: ByteWriter, action: Action, nested: Nested): boolean {
  const write = WRITERS[action.kind] as ((w: ByteWriter, a: Action, n: Nested) => void) | undefined;
  if (!write) return false;
  write(writer, action, nested);
  return true;
}

/** The member of `Action` whose kind is, or may be, K. */
type ActionOf<K, A = Action> = A extends { readonly kind: infer Kinds } ? (K extends Kinds ? A : never) : never;
type Writers = {
  readonly [K in Action['kind']]?: (writer: ByteWriter, action: ActionOf<K>, nested: Nested) => void;
};

const WRITERS: Writers = {
  resubmit: writeResubmit,
  setTunnel: (w, a) => {
    if (a.wide || a.id > 0xffff_ffffn) openNicira(w, NXAST.setTunnel64, 24).zeros(6).u64(a.id);
    else writeNx32(w, NXAST.setTunnel, Number(a.id));
  },
  popQueue: (w) => simple(w, NXAST.popQueue),
  note: (w, a) => {
    const start = w.length;
    openNicira(w, NXAST.note, 0).raw(a.bytes);
    if (a.bytes.length < 6) w.zeros(6 - a.bytes.length);
    closeAction(w, start);
  },
  multipath: (w, a) => {
    openNicira(w, NXAST.multipath, 32).u16(HASH_FIELDS.indexOf(a.fields)).u16(a.basis).u16(0);
    w.u16(MULTIPATH_ALGORITHMS.indexOf(a.algorithm))
      .u16(a.links - 1)
      .u32(a.arg)
      .u16(0)
      .u16(packRange(a.dst));
    writeRangeHeader(w, a.dst);
  },
  bundle: (w, a) => {
    const start = w.length;
    openNicira(w, a.dst ? NXAST.bundleLoad : NXAST.bundle, 0).u16(BUNDLE_ALGORITHMS.indexOf(a.algorithm));
    w.u16(HASH_FIELDS.indexOf(a.fields)).u16(a.basis).u32(NXM_OF_IN_PORT).u16(a.members.length);
    if (a.dst) {
      w.u16(packRange(a.dst));
      writeRangeHeader(w, a.dst);
      w.zeros(4);
    } else w.zeros(10);
    for (const port of a.members) w.u16(port);
    closeAction(w, start);
  },
  outputReg: (w, a) => {
    const maxLen = a.maxLen ?? NO_LIMIT;
    const start = w.length;
    if (isShortHeader(a.src)) {
      openNicira(w, NXAST.outputReg, 24).u16(packRange(a.src));
      writeRangeHeader(w, a.src);
      w.u16(maxLen).zeros(6);
      return;
    }
    openNicira(w, NXAST.outputReg2, 24).u16(packRange(a.src)).u16(maxLen);
    writeRangeHeader(w, a.src);
    closeAction(w, start);
  },
  learn: writeLearn,
  exit: (w) => simple(w, NXAST.exit),
  fin: (w, a) => void openNicira(w, NXAST.finTimeout, 16).u16(a.idleTimeout).u16(a.hardTimeout).u16(0),
  controller: writeController,
  push: (w, a) => writeStack(w, NXAST.stackPush, a.range),
  pop: (w, a) => writeStack(w, NXAST.stackPop, a.range),
  sample: writeSample,
  conjunction: (w, a) =>
    void openNicira(w, NXAST.conjunction, 16)
      .u8(a.clause - 1)
      .u8(a.of)
      .u32(a.id),
  ct: writeCt,
  outputTrunc: (w, a) => void openNicira(w, NXAST.outputTrunc, 16).u16(a.port).u32(a.maxLen),
  clone: (w, a, nested) => {
    const start = w.length;
    openNicira(w, NXAST.clone, 0).zeros(6);
    nested.write(w, a.actions);
    closeAction(w, start);
  },
  ctClear: (w) => simple(w, NXAST.ctClear),
  encap: (w, a) => void w.raw(a.bytes),
  decap: (w, a) => void w.raw(a.bytes),
  checkPktLarger: (w, a) => {
    const start = w.length;
    openNicira(w, NXAST.checkPktLarger, 0).u16(a.length).u16(a.dst.from);
    writeRangeHeader(w, a.dst);
    w.zeros(24 - (w.length - start));
    closeAction(w, start);
  },
  deleteField: (w, a) => {
    const start = w.length;
    openNicira(w, NXAST.deleteField, 0);
    writeRangeHeader(w, { field: a.field, from: 0, bits: Math.min(32, fieldOf(a.field).bits) });
    w.zeros(24 - (w.length - start));
    closeAction(w, start);
  },
};

function writeResubmit(w: ByteWriter, a: Extract<Action, { kind: 'resubmit' }>): void {
  const port = a.port ?? OFPP.inPort;
  if (a.table === undefined && !a.ct) writeNx16(w, NXAST.resubmit, port);
  else
    openNicira(w, a.ct ? NXAST.resubmitTableCt : NXAST.resubmitTable, 16)
      .u16(port)
      .u8(a.table ?? 0xff)
      .zeros(3);
}

function writeStack(w: ByteWriter, subtype: number, range: FieldRange): void {
  const start = w.length;
  openNicira(w, subtype, 24).u16(range.from);
  writeRangeHeader(w, range);
  w.u16(range.bits);
  w.zeros(24 - (w.length - start));
}

function writeController(w: ByteWriter, a: Extract<Action, { kind: 'controller' }>): void {
  if (!a.userdata && !a.pause && a.meter === undefined) {
    openNicira(w, NXAST.controller, 16).u16(a.maxLen).u16(a.controller).u8(a.reason).u8(0);
    return;
  }
  const start = w.length;
  openNicira(w, NXAST.controller2, 0).zeros(6);
  if (a.maxLen !== NO_LIMIT) w.u16(CONTROLLER2.maxLen).u16(8).u16(a.maxLen).u16(0);
  if (a.controller !== 0) w.u16(CONTROLLER2.controller).u16(8).u16(a.controller).u16(0);
  if (a.reason !== OFPR_ACTION) w.u16(CONTROLLER2.reason).u16(5).u8(a.reason).align(8, start);
  if (a.userdata && a.userdata.length > 0)
    w.u16(CONTROLLER2.userdata)
      .u16(4 + a.userdata.length)
      .raw(a.userdata)
      .align(8, start);
  if (a.pause) w.u16(CONTROLLER2.pause).u16(4).align(8, start);
  if (a.meter !== undefined) w.u16(CONTROLLER2.meter).u16(8).u32(a.meter);
  closeAction(w, start);
}

function writeSample(w: ByteWriter, a: Extract<Action, { kind: 'sample' }>): void {
  const plain = a.port === undefined && !a.direction;
  const subtype = plain ? NXAST.sample : a.direction === undefined ? NXAST.sample2 : NXAST.sample3;
  openNicira(w, subtype, plain ? 24 : 32)
    .u16(a.probability)
    .u32(a.collectorSet)
    .u32(a.domain)
    .u32(a.point);
  if (!plain)
    w.u16(a.port ?? 0xffff)
      .u8(a.direction ?? 0)
      .zeros(5);
}
