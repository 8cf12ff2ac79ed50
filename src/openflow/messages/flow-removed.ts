import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { Match } from '../flow.ts';
import { readMatch, writeMatch } from '../match.ts';
import { readMatch10, writeMatch10 } from '../match10.ts';
import { type FlowCounters, readOxs, writeOxs } from '../oxs.ts';
import { OF10, OF15 } from '../version.ts';
import type { Codec } from './codec.ts';

/**
 * Flow removed (1.0 §5.4.3, 1.3.5 §7.4.3, 1.5.1 §7.4.2).
 *
 *  1.0: match(40) cookie(8) priority(2) reason(1) 0(1) sec(4) nsec(4) idle(2) 0(2) packets(8) bytes(8)
 *  1.3: cookie(8) priority(2) reason(1) table(1) sec(4) nsec(4) idle(2) hard(2) packets(8) bytes(8) match
 *  1.5: table(1) reason(1) priority(2) idle(2) hard(2) cookie(8) match stats
 */
export interface FlowRemoved extends FlowCounters {
  readonly kind: 'flowRemoved';
  readonly match: Match;
  readonly cookie: bigint;
  readonly priority: number;
  /** One of `REMOVED_REASON`. */
  readonly reason: number;
  readonly table: number;
  readonly idleTimeout: number;
  readonly hardTimeout: number;
}

export const REMOVED_REASON = {
  idleTimeout: 0,
  hardTimeout: 1,
  delete: 2,
  groupDelete: 3,
  meterDelete: 4,
  eviction: 5,
} as const;

export const flowRemovedCodec: Codec<FlowRemoved> = {
  decode(reader, version) {
    if (version === OF10) return decode10(reader);
    return version >= OF15 ? decode15(reader) : decode13(reader);
  },
  encode(writer, body, version) {
    if (version === OF10) encode10(writer, body);
    else if (version >= OF15) {
      writer.u8(body.table).u8(body.reason).u16(body.priority).u16(body.idleTimeout).u16(body.hardTimeout);
      writer.u64(body.cookie);
      writeMatch(writer, body.match, version);
      writeOxs(writer, body);
    } else encode13(writer, body, version);
  },
};

function decode10(r: ByteReader): FlowRemoved {
  const match = readMatch10(r);
  const cookie = r.u64('cookie');
  const priority = r.u16('priority');
  const reason = r.u8('reason');
  r.skip(1, 'padding');
  const [durationSec, durationNsec] = [r.u32('duration'), r.u32('duration')];
  const idleTimeout = r.u16('idle timeout');
  r.skip(2, 'padding');
  const [packets, bytes] = [r.u64('packets'), r.u64('bytes')];
  const common = { match, cookie, priority, reason, durationSec, durationNsec, idleTimeout, packets, bytes };
  return { kind: 'flowRemoved', ...common, table: 0, hardTimeout: 0 };
}

function decode13(r: ByteReader): FlowRemoved {
  return {
    kind: 'flowRemoved',
    cookie: r.u64('cookie'),
    priority: r.u16('priority'),
    reason: r.u8('reason'),
    table: r.u8('table'),
    durationSec: r.u32('duration'),
    durationNsec: r.u32('duration'),
    idleTimeout: r.u16('idle timeout'),
    hardTimeout: r.u16('hard timeout'),
    packets: r.u64('packets'),
    bytes: r.u64('bytes'),
    match: readMatch(r),
  };
}

function decode15(r: ByteReader): FlowRemoved {
  return {
    kind: 'flowRemoved',
    table: r.u8('table'),
    reason: r.u8('reason'),
    priority: r.u16('priority'),
    idleTimeout: r.u16('idle timeout'),
    hardTimeout: r.u16('hard timeout'),
    cookie: r.u64('cookie'),
    match: readMatch(r),
    ...readOxs(r),
  };
}

function encode10(w: ByteWriter, body: FlowRemoved): void {
  writeMatch10(w, body.match);
  w.u64(body.cookie).u16(body.priority).u8(body.reason).u8(0);
  w.u32(body.durationSec ?? 0)
    .u32(body.durationNsec ?? 0)
    .u16(body.idleTimeout)
    .u16(0);
  w.u64(body.packets ?? 0n).u64(body.bytes ?? 0n);
}

function encode13(w: ByteWriter, body: FlowRemoved, version: number): void {
  w.u64(body.cookie).u16(body.priority).u8(body.reason).u8(body.table);
  w.u32(body.durationSec ?? 0)
    .u32(body.durationNsec ?? 0)
    .u16(body.idleTimeout)
    .u16(body.hardTimeout);
  w.u64(body.packets ?? 0n).u64(body.bytes ?? 0n);
  writeMatch(w, body.match, version);
}
