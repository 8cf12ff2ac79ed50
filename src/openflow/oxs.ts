import type { ByteReader, ByteWriter } from '../base/bytes.ts';

/**
 * Flow statistics of OpenFlow 1.5 (OXS, 1.5.1 §7.2.4): like a match, a run of type-length-value entries.
 *
 *  +-------------------------------+-------------------------------+
 *  |               0               |  length, padding not counted  |
 *  +-------------------------------+-------------------------------+
 *  |  class 0x8002 (2) field (7 bits) 0 (1 bit) length (1), value …
 *  |  zeros up to a multiple of 8
 */
export interface FlowCounters {
  readonly durationSec?: number;
  readonly durationNsec?: number;
  readonly idleSec?: number;
  readonly idleNsec?: number;
  readonly flowCount?: number;
  readonly packets?: bigint;
  readonly bytes?: bigint;
  /** Entries of codes that we do not know, whole. */
  readonly unknownStats?: readonly Uint8Array[];
}

const OXS_BASIC = 0x8002;
const OXS = { duration: 0, idle: 1, flowCount: 3, packets: 4, bytes: 5 } as const;

export function readOxs(reader: ByteReader): FlowCounters {
  reader.skip(2, 'stats');
  const length = reader.u16('stats length');
  if (length < 4) reader.fail('bad-length', 'stats length', `${length}`);
  const r = reader.sub(length - 4, 'stats');
  reader.skip((8 - (length % 8)) % 8, 'stats padding');
  const out: { -readonly [K in keyof FlowCounters]: FlowCounters[K] } = {};
  const unknown: Uint8Array[] = [];
  while (r.remaining > 0) {
    const start = r.offset;
    const word = r.u32('oxs header');
    const body = r.sub(word & 0xff, 'oxs value');
    const code = word >>> 16 === OXS_BASIC ? (word >>> 9) & 0x7f : -1;
    if (code === OXS.duration) [out.durationSec, out.durationNsec] = [body.u32('duration'), body.u32('duration')];
    else if (code === OXS.idle) [out.idleSec, out.idleNsec] = [body.u32('idle time'), body.u32('idle time')];
    else if (code === OXS.flowCount) out.flowCount = body.u32('flow count');
    else if (code === OXS.packets) out.packets = body.u64('packets');
    else if (code === OXS.bytes) out.bytes = body.u64('bytes');
    else unknown.push(r.bytes.slice(start, r.offset));
  }
  if (unknown.length > 0) out.unknownStats = unknown;
  return out;
}

export function writeOxs(writer: ByteWriter, stats: FlowCounters): void {
  const start = writer.length;
  writer.u16(0).u16(0);
  const entry = (code: number, bytes: number): ByteWriter => writer.u32(OXS_BASIC * 0x1_0000 + code * 0x200 + bytes);
  if (stats.durationSec !== undefined)
    entry(OXS.duration, 8)
      .u32(stats.durationSec)
      .u32(stats.durationNsec ?? 0);
  if (stats.idleSec !== undefined)
    entry(OXS.idle, 8)
      .u32(stats.idleSec)
      .u32(stats.idleNsec ?? 0);
  if (stats.flowCount !== undefined) entry(OXS.flowCount, 4).u32(stats.flowCount);
  if (stats.packets !== undefined) entry(OXS.packets, 8).u64(stats.packets);
  if (stats.bytes !== undefined) entry(OXS.bytes, 8).u64(stats.bytes);
  for (const bytes of stats.unknownStats ?? []) writer.raw(bytes);
  writer.patchU16(start + 2, writer.length - start);
  writer.align(8, start);
}
