import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { OF10 } from '../version.ts';
import { readProperties, readText, writeText } from './codec.ts';

/**
 * Tables: counters, features and descriptions (1.0 §5.3.5, 1.3.5 §7.3.5.4-5, 1.4.1 §7.3.5.17).
 *
 *  stats 1.0: table(1) 0(3) name(32) wildcards(4) max entries(4) active(4) lookups(8) matched(8)
 *  stats 1.3: table(1) 0(3) active(4) lookups(8) matched(8)
 *  features:  length(2) table(1) command(1, 1.5) 0(4) name(32) metadata match(8) metadata write(8) config(4)
 *             max entries(4) properties
 *  desc 1.4:  length(2) table(1) 0(1) config(4) properties
 */
export interface TableStats {
  readonly table: number;
  readonly active: number;
  readonly lookups: bigint;
  readonly matched: bigint;
  /** 1.0. */
  readonly name?: string;
  readonly wildcards?: number;
  readonly maxEntries?: number;
}

export interface TableFeatures {
  readonly table: number;
  /** 1.5: 0 replace, 1 modify, 2 enable, 3 disable. */
  readonly command: number;
  readonly name: string;
  readonly metadataMatch: bigint;
  readonly metadataWrite: bigint;
  /** 1.5: capabilities. */
  readonly config: number;
  readonly maxEntries: number;
  readonly properties: readonly TableProperty[];
}

/** `TABLE_PROPERTY` types, each for flows and (one more) for table misses. */
export type TableProperty =
  /** nextTables: table numbers. */
  | { readonly kind: 'tables'; readonly type: number; readonly tables: readonly number[] }
  /** match, wildcards, set-fields: OXM headers without values (experimenters' in full: see `bytes`). */
  | { readonly kind: 'fields'; readonly type: number; readonly headers: readonly number[] }
  /** Others: as on the wire, with the property's own header and padding. */
  | { readonly kind: 'other'; readonly type: number; readonly bytes: Uint8Array }
  /** instructions and actions: their types. */
  | { readonly kind: 'types'; readonly type: number; readonly types: readonly number[] };

export const TABLE_PROPERTY = {
  instructions: 0,
  nextTables: 2,
  writeActions: 4,
  applyActions: 6,
  match: 8,
  wildcards: 10,
  writeSetField: 12,
  applySetField: 14,
} as const;

export interface TableDescription {
  readonly table: number;
  readonly config: number;
  readonly properties?: Uint8Array;
}

export function readTableStats(r: ByteReader, version: number): TableStats[] {
  const out: TableStats[] = [];
  while (r.remaining > 0) {
    const table = r.u8('table');
    r.skip(3, 'padding');
    const old =
      version === OF10
        ? { name: readText(r, 32, 'table name'), wildcards: r.u32('wildcards'), maxEntries: r.u32('max entries') }
        : {};
    out.push({ table, ...old, active: r.u32('active'), lookups: r.u64('lookups'), matched: r.u64('matched') });
  }
  return out;
}

export function writeTableStats(w: ByteWriter, tables: readonly TableStats[], version: number): void {
  for (const t of tables) {
    w.u8(t.table).zeros(3);
    if (version === OF10) {
      writeText(w, 32, t.name ?? '');
      w.u32(t.wildcards ?? 0).u32(t.maxEntries ?? 0);
    }
    w.u32(t.active).u64(t.lookups).u64(t.matched);
  }
}

export function readTableFeatures(reader: ByteReader): TableFeatures[] {
  const out: TableFeatures[] = [];
  while (reader.remaining > 0) {
    const length = reader.u16('table features length');
    if (length < 64) reader.fail('bad-length', 'table features length', `${length}`);
    const r = reader.sub(length - 2, 'table features');
    const [table, command] = [r.u8('table'), r.u8('command')];
    r.skip(4, 'padding');
    const name = readText(r, 32, 'table name');
    const metadata = { metadataMatch: r.u64('metadata match'), metadataWrite: r.u64('metadata write') };
    const limits = { config: r.u32('config'), maxEntries: r.u32('max entries') };
    const properties: TableProperty[] = [];
    for (const { type, body, whole } of readProperties(r)) properties.push(readTableProperty(type, body, whole));
    out.push({ table, command, name, ...metadata, ...limits, properties });
  }
  return out;
}

function readTableProperty(type: number, body: ByteReader, whole: Uint8Array): TableProperty {
  const base = type & ~1;
  const isList = base <= TABLE_PROPERTY.applySetField && whole.length % 8 === 0;
  if (isList && base === TABLE_PROPERTY.nextTables) return { kind: 'tables', type, tables: [...body.rest()] };
  if (!isList || body.remaining % 4 !== 0) return { kind: 'other', type, bytes: whole };
  const words: number[] = [];
  while (body.remaining > 0) words.push(body.u32('property entry'));
  const hasTypes = base === TABLE_PROPERTY.instructions || (base >= 4 && base <= TABLE_PROPERTY.applyActions);
  if (!hasTypes) return { kind: 'fields', type, headers: words };
  if (words.some((word) => (word & 0xffff) !== 4)) return { kind: 'other', type, bytes: whole };
  return { kind: 'types', type, types: words.map((word) => word >>> 16) };
}

export function writeTableFeatures(w: ByteWriter, tables: readonly TableFeatures[]): void {
  for (const t of tables) {
    const start = w.length;
    w.u16(0).u8(t.table).u8(t.command).zeros(4);
    writeText(w, 32, t.name);
    w.u64(t.metadataMatch).u64(t.metadataWrite).u32(t.config).u32(t.maxEntries);
    for (const property of t.properties) writeTableProperty(w, property);
    w.patchU16(start, w.length - start);
  }
}

function writeTableProperty(w: ByteWriter, property: TableProperty): void {
  if (property.kind === 'other') {
    w.raw(property.bytes);
    return;
  }
  const start = w.length;
  w.u16(property.type).u16(0);
  if (property.kind === 'tables') for (const table of property.tables) w.u8(table);
  else if (property.kind === 'fields') for (const header of property.headers) w.u32(header);
  else for (const type of property.types) w.u16(type).u16(4);
  w.patchU16(start + 2, w.length - start);
  w.align(8, start);
}

export function readTableDescriptions(reader: ByteReader): TableDescription[] {
  const out: TableDescription[] = [];
  while (reader.remaining > 0) {
    const length = reader.u16('table description length');
    if (length < 8) reader.fail('bad-length', 'table description length', `${length}`);
    const r = reader.sub(length - 2, 'table description');
    const table = r.u8('table');
    r.skip(1, 'padding');
    const base = { table, config: r.u32('config') };
    out.push(r.remaining > 0 ? { ...base, properties: r.rest().slice() } : base);
  }
  return out;
}

export function writeTableDescriptions(w: ByteWriter, tables: readonly TableDescription[]): void {
  for (const t of tables) {
    w.u16(8 + (t.properties?.length ?? 0))
      .u8(t.table)
      .u8(0)
      .u32(t.config);
    if (t.properties) w.raw(t.properties);
  }
}
