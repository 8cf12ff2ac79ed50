import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { type Flow, type Match, OFPP } from '../flow.ts';
import { readInstructions, writeInstructions } from '../instructions.ts';
import { readMatch, writeMatch } from '../match.ts';
import { readMatch10, writeMatch10 } from '../match10.ts';
import { widePort } from '../oxm.ts';
import { type FlowCounters, readOxs, writeOxs } from '../oxs.ts';
import { OF10, OF14, OF15 } from '../version.ts';
import { ALL_TABLES, flowOptions } from './flow-mod.ts';

/**
 * Flow entries and their sums (1.0 §5.3.5, 1.3.5 §7.3.5.2-3, 1.5.1 §7.3.5.2-4).
 *
 *  request 1.0: match(40) table(1) 0(1) out_port(2)
 *  request 1.3: table(1) 0(3) out_port(4) out_group(4) 0(4) cookie(8) cookie mask(8) match
 *  entry 1.0: length(2) table(1) 0(1) match(40) sec(4) nsec(4) priority(2) idle(2) hard(2) 0(6) cookie(8) packets(8)
 *             bytes(8) actions
 *  entry 1.3: length(2) table(1) 0(1) sec(4) nsec(4) priority(2) idle(2) hard(2) flags(2) importance(2, 1.4) 0(2)
 *             cookie(8) packets(8) bytes(8) match instructions
 *  entry 1.5: length(2) 0(2) table(1) 0(1) priority(2) idle(2) hard(2) flags(2) importance(2) cookie(8) match stats
 *             instructions
 *  aggregate: packets(8) bytes(8) flows(4) 0(4); 1.5: stats
 */
export interface FlowQuery {
  /** Absent: all tables. */
  readonly table?: number;
  readonly match?: Match;
  readonly outPort?: number;
  readonly outGroup?: number;
  readonly cookie?: bigint;
  readonly cookieMask?: bigint;
}

/** A flow as the switch has it, with what it counted. */
export interface FlowStats extends Flow, FlowCounters {}

const ANY_GROUP = 0xffff_ffff;
const NONE_10 = 0xffff;

export function readFlowQuery(r: ByteReader, version: number): FlowQuery {
  if (version === OF10) {
    const match = readMatch10(r);
    const table = r.u8('table');
    r.skip(1, 'padding');
    const outPort = r.u16('out_port');
    return {
      match,
      ...(table === ALL_TABLES ? {} : { table }),
      ...(outPort === NONE_10 ? {} : { outPort: widePort(outPort) }),
    };
  }
  const table = r.u8('table');
  r.skip(3, 'padding');
  const [outPort, outGroup] = [r.u32('out_port'), r.u32('out_group')];
  r.skip(4, 'padding');
  const [cookie, cookieMask] = [r.u64('cookie'), r.u64('cookie mask')];
  return {
    ...(table === ALL_TABLES ? {} : { table }),
    ...(outPort === OFPP.any ? {} : { outPort }),
    ...(outGroup === ANY_GROUP ? {} : { outGroup }),
    ...(cookie === 0n ? {} : { cookie }),
    ...(cookieMask === 0n ? {} : { cookieMask }),
    match: readMatch(r),
  };
}

export function writeFlowQuery(w: ByteWriter, query: FlowQuery, version: number): void {
  if (version === OF10) {
    writeMatch10(w, query.match ?? {});
    w.u8(query.table ?? ALL_TABLES)
      .u8(0)
      .u16(query.outPort ?? NONE_10);
    return;
  }
  w.u8(query.table ?? ALL_TABLES).zeros(3);
  w.u32(query.outPort ?? OFPP.any)
    .u32(query.outGroup ?? ANY_GROUP)
    .u32(0);
  w.u64(query.cookie ?? 0n).u64(query.cookieMask ?? 0n);
  writeMatch(w, query.match ?? {}, version);
}

export function readFlowStats(reader: ByteReader, version: number): FlowStats[] {
  const flows: FlowStats[] = [];
  while (reader.remaining > 0) {
    const length = reader.u16('flow length');
    if (length < 24) reader.fail('bad-length', 'flow length', `${length}`);
    const r = reader.sub(length - 2, 'flow');
    flows.push(version === OF10 ? readFlow10(r) : version >= OF15 ? readFlow15(r, version) : readFlow13(r, version));
  }
  return flows;
}

function readFlow10(r: ByteReader): FlowStats {
  const table = r.u8('table');
  r.skip(1, 'padding');
  const match = readMatch10(r);
  const [durationSec, durationNsec] = [r.u32('duration'), r.u32('duration')];
  const priority = r.u16('priority');
  const [idle, hard] = [r.u16('idle timeout'), r.u16('hard timeout')];
  r.skip(6, 'padding');
  const cookie = r.u64('cookie');
  const counters = { durationSec, durationNsec, packets: r.u64('packets'), bytes: r.u64('bytes') };
  const options = flowOptions(idle, hard, 0, 0);
  return { table, priority, match, cookie, ...options, ...counters, ...readInstructions(r, OF10) };
}

function readFlow13(r: ByteReader, version: number): FlowStats {
  const table = r.u8('table');
  r.skip(1, 'padding');
  const [durationSec, durationNsec] = [r.u32('duration'), r.u32('duration')];
  const priority = r.u16('priority');
  const [idle, hard] = [r.u16('idle timeout'), r.u16('hard timeout')];
  const [flags, importance] = [r.u16('flags'), r.u16('importance')];
  r.skip(2, 'padding');
  const cookie = r.u64('cookie');
  const counters = { durationSec, durationNsec, packets: r.u64('packets'), bytes: r.u64('bytes') };
  const match = readMatch(r);
  const options = flowOptions(idle, hard, flags, version >= OF14 ? importance : 0);
  return { table, priority, match, cookie, ...options, ...counters, ...readInstructions(r, version) };
}

function readFlow15(r: ByteReader, version: number): FlowStats {
  r.skip(2, 'padding');
  const table = r.u8('table');
  r.skip(1, 'padding');
  const priority = r.u16('priority');
  const [idle, hard] = [r.u16('idle timeout'), r.u16('hard timeout')];
  const [flags, importance] = [r.u16('flags'), r.u16('importance')];
  const cookie = r.u64('cookie');
  const match = readMatch(r);
  const counters = readOxs(r);
  const options = flowOptions(idle, hard, flags, importance);
  return { table, priority, match, cookie, ...options, ...counters, ...readInstructions(r, version) };
}

export function writeFlowStats(w: ByteWriter, flows: readonly FlowStats[], version: number): void {
  for (const flow of flows) {
    const start = w.length;
    w.u16(0);
    if (version === OF10) writeFlow10(w, flow);
    else if (version >= OF15) writeFlow15(w, flow, version);
    else writeFlow13(w, flow, version);
    w.patchU16(start, w.length - start);
  }
}

function writeFlow10(w: ByteWriter, f: FlowStats): void {
  w.u8(f.table).u8(0);
  writeMatch10(w, f.match);
  w.u32(f.durationSec ?? 0)
    .u32(f.durationNsec ?? 0)
    .u16(f.priority);
  w.u16(f.idleTimeout ?? 0)
    .u16(f.hardTimeout ?? 0)
    .zeros(6);
  w.u64(f.cookie)
    .u64(f.packets ?? 0n)
    .u64(f.bytes ?? 0n);
  writeInstructions(w, OF10, f);
}

function writeFlow13(w: ByteWriter, f: FlowStats, version: number): void {
  w.u8(f.table)
    .u8(0)
    .u32(f.durationSec ?? 0)
    .u32(f.durationNsec ?? 0);
  w.u16(f.priority)
    .u16(f.idleTimeout ?? 0)
    .u16(f.hardTimeout ?? 0);
  w.u16(f.flags ?? 0)
    .u16(version >= OF14 ? (f.importance ?? 0) : 0)
    .u16(0);
  w.u64(f.cookie)
    .u64(f.packets ?? 0n)
    .u64(f.bytes ?? 0n);
  writeMatch(w, f.match, version);
  writeInstructions(w, version, f);
}

function writeFlow15(w: ByteWriter, f: FlowStats, version: number): void {
  w.u16(0).u8(f.table).u8(0).u16(f.priority);
  w.u16(f.idleTimeout ?? 0).u16(f.hardTimeout ?? 0);
  w.u16(f.flags ?? 0)
    .u16(f.importance ?? 0)
    .u64(f.cookie);
  writeMatch(w, f.match, version);
  writeOxs(w, f);
  writeInstructions(w, version, f);
}

export function readAggregate(r: ByteReader, version: number): FlowCounters {
  if (version >= OF15) return readOxs(r);
  const counters = { packets: r.u64('packets'), bytes: r.u64('bytes'), flowCount: r.u32('flows') };
  r.skip(4, 'padding');
  return counters;
}

export function writeAggregate(w: ByteWriter, counters: FlowCounters, version: number): void {
  if (version >= OF15) writeOxs(w, counters);
  else {
    w.u64(counters.packets ?? 0n)
      .u64(counters.bytes ?? 0n)
      .u32(counters.flowCount ?? 0)
      .u32(0);
  }
}
