import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { OF15 } from '../version.ts';
import type { Bucket, GroupProperties } from './group.ts';
import { readBuckets, readGroupProperties, writeBuckets, writeGroupProperties } from './group.ts';
import { type Band, readBands, writeBands } from './meter.ts';

/**
 * Groups and meters as the switch has them (1.3.5 §7.3.5.8-14, 1.5.1 §7.3.5.10-15).
 *
 *  group stats:    length(2) 0(2) group(4) references(4) 0(4) packets(8) bytes(8) sec(4) nsec(4)
 *                  buckets: packets(8) bytes(8)
 *  group desc:     length(2) type(1) 0(1) group(4); 1.5: buckets' length(2) 0(6); buckets; 1.5: properties
 *  group features: types(4) capabilities(4) max groups(4 x4) actions(4 x4)
 *  meter stats:    meter(4) length(2) 0(6) flows(4) packets in(8) bytes in(8) sec(4) nsec(4)
 *                  bands: packets(8) bytes(8)
 *  meter config:   length(2) flags(2) meter(4) bands
 *  meter features: max meter(4) band types(4) capabilities(4) max bands(1) max colour(1) 0(2); 1.5: features(4) 0(4)
 */
export interface GroupStats {
  readonly group: number;
  readonly references: number;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly durationSec: number;
  readonly durationNsec: number;
  readonly buckets: readonly { readonly packets: bigint; readonly bytes: bigint }[];
}
export interface GroupDescription extends GroupProperties {
  readonly group: number;
  readonly type: number;
  readonly buckets: readonly Bucket[];
}
export interface GroupFeatures {
  readonly types: number;
  readonly capabilities: number;
  /** By group type. */
  readonly maxGroups: readonly number[];
  readonly actions: readonly number[];
}
export interface MeterStats {
  readonly meter: number;
  readonly flowCount: number;
  readonly packetsIn: bigint;
  readonly bytesIn: bigint;
  readonly durationSec: number;
  readonly durationNsec: number;
  readonly bands: readonly { readonly packets: bigint; readonly bytes: bigint }[];
}
export interface MeterConfig {
  readonly meter: number;
  readonly flags: number;
  readonly bands: readonly Band[];
}
export interface MeterFeatures {
  readonly maxMeter: number;
  readonly bandTypes: number;
  readonly capabilities: number;
  readonly maxBands: number;
  readonly maxColor: number;
  /** 1.5. */
  readonly features?: number;
}

function readPairs(r: ByteReader): { packets: bigint; bytes: bigint }[] {
  const pairs: { packets: bigint; bytes: bigint }[] = [];
  while (r.remaining > 0) pairs.push({ packets: r.u64('packets'), bytes: r.u64('bytes') });
  return pairs;
}

function writePairs(w: ByteWriter, pairs: readonly { packets: bigint; bytes: bigint }[]): void {
  for (const pair of pairs) w.u64(pair.packets).u64(pair.bytes);
}

/** The rest of an entry whose length, counted from its start, has just been read. */
function entry(reader: ByteReader, length: number, seen: number): ByteReader {
  if (length < seen) reader.fail('bad-length', 'entry length', `${length}`);
  return reader.sub(length - seen, 'entry');
}

export function readGroupStats(reader: ByteReader): GroupStats[] {
  const out: GroupStats[] = [];
  while (reader.remaining > 0) {
    const r = entry(reader, reader.u16('length'), 2);
    r.skip(2, 'padding');
    const [group, references] = [r.u32('group'), r.u32('references')];
    r.skip(4, 'padding');
    const counters = { packets: r.u64('packets'), bytes: r.u64('bytes') };
    const duration = { durationSec: r.u32('duration'), durationNsec: r.u32('duration') };
    out.push({ group, references, ...counters, ...duration, buckets: readPairs(r) });
  }
  return out;
}

export function writeGroupStats(w: ByteWriter, groups: readonly GroupStats[]): void {
  for (const g of groups) {
    w.u16(40 + 16 * g.buckets.length)
      .u16(0)
      .u32(g.group)
      .u32(g.references)
      .u32(0);
    w.u64(g.packets).u64(g.bytes).u32(g.durationSec).u32(g.durationNsec);
    writePairs(w, g.buckets);
  }
}

export function readGroupDescriptions(reader: ByteReader, version: number): GroupDescription[] {
  const out: GroupDescription[] = [];
  while (reader.remaining > 0) {
    const r = entry(reader, reader.u16('length'), 2);
    const type = r.u8('group type');
    r.skip(1, 'padding');
    const group = r.u32('group');
    if (version < OF15) {
      out.push({ group, type, buckets: readBuckets(r, version) });
      continue;
    }
    const length = r.u16('buckets length');
    r.skip(6, 'padding');
    const buckets = readBuckets(r.sub(length, 'buckets'), version);
    out.push({ group, type, buckets, ...readGroupProperties(r) });
  }
  return out;
}

export function writeGroupDescriptions(w: ByteWriter, groups: readonly GroupDescription[], version: number): void {
  for (const g of groups) {
    const start = w.length;
    w.u16(0).u8(g.type).u8(0).u32(g.group);
    if (version >= OF15) w.zeros(8);
    const bucketsAt = w.length;
    writeBuckets(w, g.buckets, version);
    if (version >= OF15) {
      w.patchU16(bucketsAt - 8, w.length - bucketsAt);
      writeGroupProperties(w, g, version);
    }
    w.patchU16(start, w.length - start);
  }
}

export function readGroupFeatures(r: ByteReader): GroupFeatures {
  const four = (name: string): number[] => [r.u32(name), r.u32(name), r.u32(name), r.u32(name)];
  return {
    types: r.u32('types'),
    capabilities: r.u32('capabilities'),
    maxGroups: four('max groups'),
    actions: four('actions'),
  };
}

export function writeGroupFeatures(w: ByteWriter, f: GroupFeatures): void {
  w.u32(f.types).u32(f.capabilities);
  for (let i = 0; i < 4; i++) w.u32(f.maxGroups[i] ?? 0);
  for (let i = 0; i < 4; i++) w.u32(f.actions[i] ?? 0);
}

export function readMeterStats(reader: ByteReader): MeterStats[] {
  const out: MeterStats[] = [];
  while (reader.remaining > 0) {
    const meter = reader.u32('meter');
    const r = entry(reader, reader.u16('length'), 6);
    r.skip(6, 'padding');
    const counters = { flowCount: r.u32('flows'), packetsIn: r.u64('packets'), bytesIn: r.u64('bytes') };
    const duration = { durationSec: r.u32('duration'), durationNsec: r.u32('duration') };
    out.push({ meter, ...counters, ...duration, bands: readPairs(r) });
  }
  return out;
}

export function writeMeterStats(w: ByteWriter, meters: readonly MeterStats[]): void {
  for (const m of meters) {
    w.u32(m.meter)
      .u16(40 + 16 * m.bands.length)
      .zeros(6);
    w.u32(m.flowCount).u64(m.packetsIn).u64(m.bytesIn).u32(m.durationSec).u32(m.durationNsec);
    writePairs(w, m.bands);
  }
}

export function readMeterConfigs(reader: ByteReader): MeterConfig[] {
  const out: MeterConfig[] = [];
  while (reader.remaining > 0) {
    const r = entry(reader, reader.u16('length'), 2);
    const flags = r.u16('flags');
    out.push({ flags, meter: r.u32('meter'), bands: readBands(r) });
  }
  return out;
}

export function writeMeterConfigs(w: ByteWriter, meters: readonly MeterConfig[]): void {
  for (const m of meters) {
    const start = w.length;
    w.u16(0).u16(m.flags).u32(m.meter);
    writeBands(w, m.bands);
    w.patchU16(start, w.length - start);
  }
}

export function readMeterFeatures(r: ByteReader, version: number): MeterFeatures {
  const base = {
    maxMeter: r.u32('max meter'),
    bandTypes: r.u32('band types'),
    capabilities: r.u32('capabilities'),
    maxBands: r.u8('max bands'),
    maxColor: r.u8('max colour'),
  };
  r.skip(2, 'padding');
  if (version < OF15 || r.remaining < 8) return base;
  const features = r.u32('features');
  r.skip(4, 'padding');
  return { ...base, features };
}

export function writeMeterFeatures(w: ByteWriter, f: MeterFeatures): void {
  w.u32(f.maxMeter).u32(f.bandTypes).u32(f.capabilities).u8(f.maxBands).u8(f.maxColor).u16(0);
  if (f.features !== undefined) w.u32(f.features).u32(0);
}
