import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { readActions, writeActions } from '../actions.ts';
import type { Action, Match } from '../flow.ts';
import { readMatchFields, writeMatchFields } from '../match.ts';
import { OF15 } from '../version.ts';
import { type Codec, readProperties, readText, writeProperty, writeText } from './codec.ts';

/**
 * Group mod (1.3.5 §7.3.4.2, 1.5.1 §7.3.4.3).
 *
 *  1.3: command(2) type(1) 0(1) group(4) buckets
 *  1.5: command(2) type(1) 0(1) group(4) buckets' length(2) 0(2) command bucket(4) buckets properties
 *
 *  bucket 1.3: len(2) weight(2) watch port(4) watch group(4) 0(4) actions
 *  bucket 1.5: len(2) actions' length(2) bucket id(4) actions properties
 *              (0 weight: weight(2) 0(2); 1 watch port(4); 2 watch group(4))
 */
export interface GroupMod extends GroupProperties {
  readonly kind: 'groupMod';
  /** One of `GROUP_COMMAND`. */
  readonly command: number;
  /** One of `GROUP_TYPE`. */
  readonly type: number;
  readonly group: number;
  readonly buckets: readonly Bucket[];
  /** 1.5: the bucket that insert and remove refer to. */
  readonly commandBucket?: number;
}

export interface Bucket {
  /** 1.5. */
  readonly id?: number;
  readonly weight?: number;
  readonly watchPort?: number;
  readonly watchGroup?: number;
  readonly actions: readonly Action[];
  /** 1.5: properties that we do not know, whole. */
  readonly unknown?: readonly Uint8Array[];
}

/** 1.5: what Netronome's property says about a select group, which Open vSwitch understands. */
export interface GroupProperties {
  /** `hash` or `dp_hash`. */
  readonly selectionMethod?: string;
  readonly selectionParam?: bigint;
  /** `hash`: the fields that are hashed; a field's value is the mask of the bits that count. */
  readonly selectionFields?: Match;
  /** Properties that we do not know, whole. */
  readonly unknown?: readonly Uint8Array[];
}

export const GROUP_COMMAND = {
  add: 0,
  modify: 1,
  delete: 2,
  insertBucket: 3,
  removeBucket: 5,
  addOrModify: 0x8000,
} as const;
export const GROUP_TYPE = { all: 0, select: 1, indirect: 2, fastFailover: 3 } as const;
export const ALL_GROUPS = 0xffff_fffc;
export const COMMAND_BUCKET = { first: 0xffff_fffd, last: 0xffff_fffe, all: 0xffff_ffff } as const;

const ANY = 0xffff_ffff;
const BUCKET_PROP = { weight: 0, watchPort: 1, watchGroup: 2 } as const;
const EXPERIMENTER_PROP = 0xffff;
const NETRONOME = 0x0000_154d;
const SELECTION_METHOD = 1;

export const groupModCodec: Codec<GroupMod> = {
  decode(r, version) {
    const [command, type] = [r.u16('command'), r.u8('group type')];
    r.skip(1, 'padding');
    const group = r.u32('group');
    const base = { kind: 'groupMod', command, type, group } as const;
    if (version < OF15) return { ...base, buckets: readBuckets(r, version) };
    const length = r.u16('buckets length');
    r.skip(2, 'padding');
    const commandBucket = r.u32('command bucket');
    const buckets = readBuckets(r.sub(length, 'buckets'), version);
    const named = commandBucket === COMMAND_BUCKET.all ? {} : { commandBucket };
    return { ...base, buckets, ...named, ...readGroupProperties(r) };
  },
  encode(w, body, version) {
    w.u16(body.command).u8(body.type).u8(0).u32(body.group);
    if (version < OF15) {
      writeBuckets(w, body.buckets, version);
      return;
    }
    const lengthAt = w.length;
    w.u16(0).u16(0);
    w.u32(body.commandBucket ?? COMMAND_BUCKET.all);
    const start = w.length;
    writeBuckets(w, body.buckets, version);
    w.patchU16(lengthAt, w.length - start);
    writeGroupProperties(w, body, version);
  },
};

export function readBuckets(reader: ByteReader, version: number): Bucket[] {
  const buckets: Bucket[] = [];
  while (reader.remaining > 0) {
    const length = reader.u16('bucket length');
    const least = version < OF15 ? 16 : 8;
    if (length < least) reader.fail('bad-length', 'bucket length', `${length}`);
    const body = reader.sub(length - 2, 'bucket');
    buckets.push(version < OF15 ? readBucket13(body, version) : readBucket15(body, version));
  }
  return buckets;
}

function readBucket13(r: ByteReader, version: number): Bucket {
  const weight = r.u16('weight');
  const [watchPort, watchGroup] = [r.u32('watch port'), r.u32('watch group')];
  r.skip(4, 'padding');
  return {
    ...(weight === 0 ? {} : { weight }),
    ...(watchPort === ANY ? {} : { watchPort }),
    ...(watchGroup === ANY ? {} : { watchGroup }),
    actions: readActions(r, version),
  };
}

function readBucket15(r: ByteReader, version: number): Bucket {
  const length = r.u16('actions length');
  const id = r.u32('bucket id');
  const actions = readActions(r.sub(length, 'bucket actions'), version);
  const out: { weight?: number; watchPort?: number; watchGroup?: number } = {};
  const unknown: Uint8Array[] = [];
  for (const { type, body, whole } of readProperties(r)) {
    if (type === BUCKET_PROP.weight) out.weight = body.u16('weight');
    else if (type === BUCKET_PROP.watchPort) out.watchPort = body.u32('watch port');
    else if (type === BUCKET_PROP.watchGroup) out.watchGroup = body.u32('watch group');
    else unknown.push(whole);
  }
  return { id, ...out, actions, ...(unknown.length > 0 ? { unknown } : {}) };
}

export function writeBuckets(w: ByteWriter, buckets: readonly Bucket[], version: number): void {
  for (const [index, bucket] of buckets.entries()) {
    const start = w.length;
    if (version < OF15) writeBucket13(w, bucket, version);
    else writeBucket15(w, bucket, index, version);
    w.patchU16(start, w.length - start);
  }
}

function writeBucket13(w: ByteWriter, bucket: Bucket, version: number): void {
  w.u16(0).u16(bucket.weight ?? 0);
  w.u32(bucket.watchPort ?? ANY)
    .u32(bucket.watchGroup ?? ANY)
    .u32(0);
  writeActions(w, version, bucket.actions);
}

/** A bucket without an id gets its place in the list, as Open vSwitch numbers them. */
function writeBucket15(w: ByteWriter, bucket: Bucket, index: number, version: number): void {
  const start = w.length;
  w.u16(0)
    .u16(0)
    .u32(bucket.id ?? index);
  writeActions(w, version, bucket.actions);
  w.patchU16(start + 2, w.length - start - 8);
  if (bucket.weight !== undefined) writeProperty(w, BUCKET_PROP.weight, (p) => p.u16(bucket.weight!).u16(0));
  if (bucket.watchPort !== undefined) writeProperty(w, BUCKET_PROP.watchPort, (p) => p.u32(bucket.watchPort!));
  if (bucket.watchGroup !== undefined) writeProperty(w, BUCKET_PROP.watchGroup, (p) => p.u32(bucket.watchGroup!));
  for (const bytes of bucket.unknown ?? []) w.raw(bytes);
}

/**
 * Netronome's selection method: experimenter property, then
 * 0(4) method(16, zero-terminated) param(8) fields (OXM without masks; a value is a mask of bits that count).
 */
export function readGroupProperties(reader: ByteReader): GroupProperties {
  let out: GroupProperties = {};
  const unknown: Uint8Array[] = [];
  for (const { type, body, whole } of readProperties(reader)) {
    const known = type === EXPERIMENTER_PROP && body.remaining >= 36;
    if (!known || body.u32('experimenter') !== NETRONOME || body.u32('property') !== SELECTION_METHOD) {
      unknown.push(whole);
      continue;
    }
    body.skip(4, 'padding');
    const selectionMethod = readText(body, 16, 'selection method');
    const selectionParam = body.u64('selection param');
    const selectionFields = readMatchFields(body);
    out = { selectionMethod, ...(selectionParam === 0n ? {} : { selectionParam }) };
    if (Object.keys(selectionFields).length > 0) out = { ...out, selectionFields };
  }
  return unknown.length > 0 ? { ...out, unknown } : out;
}

export function writeGroupProperties(w: ByteWriter, group: GroupProperties, version: number): void {
  if (group.selectionMethod !== undefined)
    writeProperty(w, EXPERIMENTER_PROP, (p) => {
      p.u32(NETRONOME).u32(SELECTION_METHOD).u32(0);
      writeText(p, 16, group.selectionMethod!);
      p.u64(group.selectionParam ?? 0n);
      writeMatchFields(p, group.selectionFields ?? {}, version);
    });
  for (const bytes of group.unknown ?? []) w.raw(bytes);
}
