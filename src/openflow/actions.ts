import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { WeftError } from '../base/errors.ts';
import { readAction10, writeAction10, writeDecTtl } from './actions-10.ts';
import {
  type Nested,
  readMove,
  readNicira,
  readSetField,
  writeLoad,
  writeLoad2,
  writeMove,
  writeNicira,
} from './actions-nicira.ts';
import { fieldOf } from './fields.ts';
import { type Action, type FieldRange, type FieldValue, OFPP } from './flow.ts';
import { onesOf, widePort } from './oxm.ts';
import { closeAction, NX_VENDOR, writeRangeHeader, writeSetFieldBody } from './subfield.ts';

/**
 * Action lists. OpenFlow 1.0 §5.2.4 (actions-10.ts), 1.3.5 §7.2.5, 1.5.1 §7.2.6; Nicira's in actions-nicira.ts.
 *
 *  +-------------------------------+-------------------------------+
 *  |             type              |   length, a multiple of 8     |
 *  +-------------------------------+-------------------------------+
 *  |   the type's own …
 *
 * An action of an unknown type, or with a part that we do not know, comes back as `unknown` with all its bytes.
 */
const OFPAT = {
  output: 0,
  setVlanVid: 1,
  setVlanPcp: 2,
  copyTtlOut: 11,
  copyTtlIn: 12,
  setMplsTtl: 15,
  decMplsTtl: 16,
  pushVlan: 17,
  popVlan: 18,
  pushMpls: 19,
  popMpls: 20,
  setQueue: 21,
  group: 22,
  setNwTtl: 23,
  decNwTtl: 24,
  setField: 25,
  pushPbb: 26,
  popPbb: 27,
  copyField: 28,
  meter: 29,
  experimenter: 0xffff,
} as const;

const VERSION_10 = 1;
const VERSION_15 = 6;
/** "The whole packet": what a controller gets unless the action says less. */
const NO_BUFFER = 0xffff;
/** No sender nests deeper; a hostile one could otherwise exhaust the stack. */
const MAX_DEPTH = 16;

/** Actions until the end of the reader, in OpenFlow `version` (wire number). */
export function readActions(reader: ByteReader, version: number, depth = 0): Action[] {
  if (depth > MAX_DEPTH) reader.fail('too-deep', 'actions');
  const actions: Action[] = [];
  while (reader.remaining > 0) actions.push(readAction(reader, version, depth));
  return actions;
}

function readAction(reader: ByteReader, version: number, depth: number): Action {
  const start = reader.offset;
  const type = reader.u16('action type');
  const length = reader.u16('action length');
  if (length < 8 || length % 8 !== 0) reader.fail('bad-length', 'action length', `${length}`);
  reader.offset = start;
  const body = reader.sub(length, 'action');
  const action =
    type === OFPAT.experimenter
      ? readExperimenter(body, version, depth)
      : version === VERSION_10
        ? readAction10(body, type)
        : readStandard(body, type, version);
  return action ?? { kind: 'unknown', bytes: body.bytes.slice() };
}

function readExperimenter(body: ByteReader, version: number, depth: number): Action | undefined {
  body.skip(4, 'action header');
  const vendor = body.u32('action vendor');
  if (vendor !== NX_VENDOR || body.remaining < 8) return undefined;
  body.offset = 0;
  return readNicira(body, nestedOf(version, depth));
}

/** Nested lists are of the same version. */
function nestedOf(version: number, depth: number): Nested {
  return {
    read: (reader) => readActions(reader, version, depth + 1),
    write: (writer, actions) => writeActions(writer, version, actions),
  };
}

function readStandard(r: ByteReader, type: number, version: number): Action | undefined {
  r.skip(4, 'action header');
  switch (type) {
    case OFPAT.output:
      return readOutput(r);
    case OFPAT.setVlanVid:
      return { kind: 'setVlanVid', vid: r.u16('vlan vid') };
    case OFPAT.setVlanPcp:
      return { kind: 'setVlanPcp', pcp: r.u8('vlan pcp') };
    case OFPAT.copyTtlOut:
      return { kind: 'copyTtlOut' };
    case OFPAT.copyTtlIn:
      return { kind: 'copyTtlIn' };
    case OFPAT.setMplsTtl:
      return { kind: 'setMplsTtl', ttl: r.u8('mpls ttl') };
    case OFPAT.decMplsTtl:
      return { kind: 'decMplsTtl' };
    case OFPAT.pushVlan:
      return { kind: 'pushVlan', etherType: r.u16('ethertype') };
    case OFPAT.popVlan:
      return { kind: 'popVlan' };
    case OFPAT.pushMpls:
      return { kind: 'pushMpls', etherType: r.u16('ethertype') };
    case OFPAT.popMpls:
      return { kind: 'popMpls', etherType: r.u16('ethertype') };
    case OFPAT.setQueue:
      return { kind: 'setQueue', queue: r.u32('queue') };
    case OFPAT.group:
      return { kind: 'group', group: r.u32('group') };
    case OFPAT.setNwTtl:
      return { kind: 'setNwTtl', ttl: r.u8('ttl') };
    case OFPAT.decNwTtl:
      return { kind: 'decTtl' };
    case OFPAT.setField:
      return readSetField(r);
    case OFPAT.pushPbb:
      return { kind: 'pushPbb', etherType: r.u16('ethertype') };
    case OFPAT.popPbb:
      return { kind: 'popPbb' };
    case OFPAT.copyField:
      return version >= VERSION_15 ? readCopyField(r) : undefined;
    case OFPAT.meter:
      return version >= VERSION_15 ? { kind: 'meter', meter: r.u32('meter') } : undefined;
    default:
      return undefined;
  }
}

function readOutput(r: ByteReader): Action {
  const port = r.u32('output port');
  const maxLen = r.u16('max_len');
  return maxLen === defaultMaxLen(port) ? { kind: 'output', port } : { kind: 'output', port, maxLen };
}

function defaultMaxLen(port: number): number {
  return port === OFPP.controller ? NO_BUFFER : 0;
}

/**
 * OFPAT_COPY_FIELD, 1.5.1 §7.2.6.8.
 *  type(2) length(2) n_bits(2) src offset(2) dst offset(2) 0(2), then the headers of source and destination.
 */
function readCopyField(r: ByteReader): Action | undefined {
  return readMove(r, 2);
}

/**
 * Appends `actions` for OpenFlow `version`. An action that a version does not have is written in the nearest form
 * that means the same (`load` is set-field in 1.5); `WeftError('invalid')` when there is none.
 */
export function writeActions(writer: ByteWriter, version: number, actions: readonly Action[]): void {
  for (let i = 0; i < actions.length; i++) writeAction(writer, version, actions[i]!);
}

function writeAction(writer: ByteWriter, version: number, action: Action): void {
  if (action.kind === 'unknown') writer.raw(action.bytes);
  else if (version === VERSION_10 ? writeAction10(writer, action) : writeStandard(writer, version, action)) return;
  else if (!writeNicira(writer, action, nestedOf(version, 0)))
    throw new WeftError('invalid', `action: ${action.kind} cannot be sent in OpenFlow version ${version}`);
}

/** Writes what OpenFlow 1.1 and later have; false for anything else. */
function writeStandard(w: ByteWriter, version: number, a: Action): boolean {
  switch (a.kind) {
    case 'output':
      w.u16(OFPAT.output).u16(16).u32(a.port);
      w.u16(a.maxLen ?? defaultMaxLen(a.port)).zeros(6);
      return true;
    case 'setField':
      writeSetField(w, version, a);
      return true;
    case 'load':
      if (version >= VERSION_15) writeLoad15(w, version, a.dst, a.value);
      else writeLoad(w, a.dst, a.value);
      return true;
    case 'move':
      if (version >= VERSION_15) writeCopyField(w, version, a.src, a.dst);
      else writeMove(w, a.src, a.dst);
      return true;
    case 'group':
      w.u16(OFPAT.group).u16(8).u32(a.group);
      return true;
    case 'meter':
      if (version < VERSION_15) return false;
      w.u16(OFPAT.meter).u16(8).u32(a.meter);
      return true;
    case 'enqueue':
      w.u16(OFPAT.setQueue).u16(8).u32(a.queue);
      w.u16(OFPAT.output).u16(16).u32(a.port).u16(0).zeros(6);
      return writeNicira(w, { kind: 'popQueue' }, nestedOf(version, 0));
    case 'decTtl':
      if (a.controllers) writeDecTtl(w, a.controllers);
      else w.u16(OFPAT.decNwTtl).u16(8).u32(0);
      return true;
    default:
      return writeSmall(w, a);
  }
}

/** The 8-byte actions: nothing, or a number of 8, 16 or 32 bits after the header. */
function writeSmall(w: ByteWriter, a: Action): boolean {
  switch (a.kind) {
    case 'setVlanVid':
      return small16(w, OFPAT.setVlanVid, a.vid);
    case 'setVlanPcp':
      return small8(w, OFPAT.setVlanPcp, a.pcp);
    case 'stripVlan':
    case 'popVlan':
      return small16(w, OFPAT.popVlan, 0);
    case 'pushVlan':
      return small16(w, OFPAT.pushVlan, a.etherType);
    case 'pushMpls':
      return small16(w, OFPAT.pushMpls, a.etherType);
    case 'popMpls':
      return small16(w, OFPAT.popMpls, a.etherType);
    case 'pushPbb':
      return small16(w, OFPAT.pushPbb, a.etherType);
    case 'popPbb':
      return small16(w, OFPAT.popPbb, 0);
    case 'copyTtlOut':
      return small16(w, OFPAT.copyTtlOut, 0);
    case 'copyTtlIn':
      return small16(w, OFPAT.copyTtlIn, 0);
    case 'setMplsTtl':
      return small8(w, OFPAT.setMplsTtl, a.ttl);
    case 'decMplsTtl':
      return small16(w, OFPAT.decMplsTtl, 0);
    case 'setNwTtl':
      return small8(w, OFPAT.setNwTtl, a.ttl);
    case 'setQueue':
      w.u16(OFPAT.setQueue).u16(8).u32(a.queue);
      return true;
    default:
      return false;
  }
}

function small8(w: ByteWriter, type: number, value: number): boolean {
  w.u16(type).u16(8).u8(value).zeros(3);
  return true;
}

function small16(w: ByteWriter, type: number, value: number): boolean {
  w.u16(type).u16(8).u16(value).u16(0);
  return true;
}

/** Masked set-field is of 1.5; before, Nicira's REG_LOAD2 says the same. */
function writeSetField(w: ByteWriter, version: number, a: Extract<Action, { kind: 'setField' }>): void {
  if (a.mask !== undefined && version < VERSION_15) {
    writeLoad2(w, a);
    return;
  }
  const start = w.length;
  w.u16(OFPAT.setField).u16(0);
  writeSetFieldBody(w, a.field, a.value, a.mask, version);
  closeAction(w, start);
}

/** `load` in OpenFlow 1.5: a set-field, masked unless it covers the field. */
function writeLoad15(w: ByteWriter, version: number, dst: FieldRange, value: FieldValue): void {
  const { bits } = fieldOf(dst.field);
  const start = w.length;
  w.u16(OFPAT.setField).u16(0);
  if (dst.field === 'in_port' && dst.from === 0 && dst.bits === 16)
    writeSetFieldBody(w, dst.field, widePort(Number(value)), undefined, version);
  else if (dst.from === 0 && dst.bits === bits) writeSetFieldBody(w, dst.field, value, undefined, version);
  else if (bits <= 32) {
    const mask = Number(onesOf(dst.bits)) * 2 ** dst.from;
    writeSetFieldBody(w, dst.field, Number(value) * 2 ** dst.from, mask, version);
  } else {
    const mask = BigInt(onesOf(dst.bits)) << BigInt(dst.from);
    writeSetFieldBody(w, dst.field, BigInt(value) << BigInt(dst.from), mask, version);
  }
  closeAction(w, start);
}

function writeCopyField(w: ByteWriter, version: number, src: FieldRange, dst: FieldRange): void {
  const start = w.length;
  w.u16(OFPAT.copyField).u16(0).u16(src.bits).u16(src.from).u16(dst.from).u16(0);
  writeRangeHeader(w, src, version);
  writeRangeHeader(w, dst, version);
  closeAction(w, start);
}
