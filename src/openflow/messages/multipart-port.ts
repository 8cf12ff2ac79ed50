import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { widePort } from '../oxm.ts';
import { OF10, OF14 } from '../version.ts';
import { readProperties, writeProperty } from './codec.ts';

/**
 * Counters of ports and queues (1.0 §5.3.5, 1.3.5 §7.3.5.6-7, 1.4.1 §7.3.5.7-8).
 *
 *  port 1.0: number(2) 0(6) twelve counters(8 each)
 *  port 1.3: number(4) 0(4) twelve counters sec(4) nsec(4)
 *  port 1.4: length(2) 0(2) number(4) sec(4) nsec(4) eight counters, properties; 0 ethernet: 0(4) four counters
 *  queue 1.0: port(2) 0(2) queue(4) bytes(8) packets(8) errors(8)
 *  queue 1.3: port(4) queue(4) bytes(8) packets(8) errors(8) sec(4) nsec(4)
 *  queue 1.4: length(2) 0(6), as 1.3, properties
 */
export interface PortStats {
  readonly port: number;
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
  readonly rxErrors: bigint;
  readonly txErrors: bigint;
  readonly ethernet?: {
    readonly frameErrors: bigint;
    readonly overruns: bigint;
    readonly crcErrors: bigint;
    readonly collisions: bigint;
  };
  readonly durationSec?: number;
  readonly durationNsec?: number;
  readonly unknown?: readonly Uint8Array[];
}

export interface QueueStats {
  readonly port: number;
  readonly queue: number;
  readonly txBytes: bigint;
  readonly txPackets: bigint;
  readonly txErrors: bigint;
  readonly durationSec?: number;
  readonly durationNsec?: number;
  readonly properties?: Uint8Array;
}

const ETHERNET = 0;

type Counters = Omit<PortStats, 'port' | 'ethernet' | 'durationSec' | 'durationNsec' | 'unknown'>;

function readCounters(r: ByteReader): Counters {
  return {
    rxPackets: r.u64('rx packets'),
    txPackets: r.u64('tx packets'),
    rxBytes: r.u64('rx bytes'),
    txBytes: r.u64('tx bytes'),
    rxDropped: r.u64('rx dropped'),
    txDropped: r.u64('tx dropped'),
    rxErrors: r.u64('rx errors'),
    txErrors: r.u64('tx errors'),
  };
}

function readEthernet(r: ByteReader): NonNullable<PortStats['ethernet']> {
  return {
    frameErrors: r.u64('frame errors'),
    overruns: r.u64('overruns'),
    crcErrors: r.u64('crc errors'),
    collisions: r.u64('collisions'),
  };
}

export function readPortStats(reader: ByteReader, version: number): PortStats[] {
  const ports: PortStats[] = [];
  while (reader.remaining > 0) {
    if (version === OF10) {
      const port = widePort(reader.u16('port'));
      reader.skip(6, 'padding');
      ports.push({ port, ...readCounters(reader), ethernet: readEthernet(reader) });
    } else if (version < OF14) {
      const port = reader.u32('port');
      reader.skip(4, 'padding');
      const counters = { ...readCounters(reader), ethernet: readEthernet(reader) };
      ports.push({ port, ...counters, durationSec: reader.u32('duration'), durationNsec: reader.u32('duration') });
    } else ports.push(readPortStats14(reader));
  }
  return ports;
}

function readPortStats14(reader: ByteReader): PortStats {
  const length = reader.u16('port stats length');
  if (length < 80) reader.fail('bad-length', 'port stats length', `${length}`);
  const r = reader.sub(length - 2, 'port stats');
  r.skip(2, 'padding');
  const port = r.u32('port');
  const duration = { durationSec: r.u32('duration'), durationNsec: r.u32('duration') };
  const counters = readCounters(r);
  let ethernet: PortStats['ethernet'];
  const unknown: Uint8Array[] = [];
  for (const { type, body, whole } of readProperties(r)) {
    if (type === ETHERNET && !ethernet) {
      body.skip(4, 'padding');
      ethernet = readEthernet(body);
    } else unknown.push(whole);
  }
  const extra = { ...(ethernet ? { ethernet } : {}), ...(unknown.length > 0 ? { unknown } : {}) };
  return { port, ...duration, ...counters, ...extra };
}

function writeCounters(w: ByteWriter, s: Counters): void {
  w.u64(s.rxPackets).u64(s.txPackets).u64(s.rxBytes).u64(s.txBytes);
  w.u64(s.rxDropped).u64(s.txDropped).u64(s.rxErrors).u64(s.txErrors);
}

function writeEthernet(w: ByteWriter, e: PortStats['ethernet']): void {
  w.u64(e?.frameErrors ?? 0n)
    .u64(e?.overruns ?? 0n)
    .u64(e?.crcErrors ?? 0n)
    .u64(e?.collisions ?? 0n);
}

function writeDuration(w: ByteWriter, s: { durationSec?: number; durationNsec?: number }): void {
  w.u32(s.durationSec ?? 0).u32(s.durationNsec ?? 0);
}

export function writePortStats(w: ByteWriter, ports: readonly PortStats[], version: number): void {
  for (const s of ports) {
    const start = w.length;
    if (version < OF14) {
      if (version === OF10) w.u16(s.port).zeros(6);
      else w.u32(s.port).u32(0);
      writeCounters(w, s);
      writeEthernet(w, s.ethernet);
      if (version !== OF10) writeDuration(w, s);
      continue;
    }
    w.u16(0).u16(0).u32(s.port);
    writeDuration(w, s);
    writeCounters(w, s);
    if (s.ethernet) writeProperty(w, ETHERNET, (p) => writeEthernet(p.u32(0), s.ethernet));
    for (const bytes of s.unknown ?? []) w.raw(bytes);
    w.patchU16(start, w.length - start);
  }
}

export function readQueueStats(reader: ByteReader, version: number): QueueStats[] {
  const queues: QueueStats[] = [];
  while (reader.remaining > 0) {
    let r = reader;
    if (version >= OF14) {
      const length = reader.u16('queue stats length');
      if (length < 48) reader.fail('bad-length', 'queue stats length', `${length}`);
      r = reader.sub(length - 2, 'queue stats');
      r.skip(6, 'padding');
    }
    const port = version === OF10 ? widePort(r.u16('port')) : r.u32('port');
    if (version === OF10) r.skip(2, 'padding');
    const base = { port, queue: r.u32('queue'), ...readQueueCounters(r) };
    if (version === OF10) queues.push(base);
    else {
      const duration = { durationSec: r.u32('duration'), durationNsec: r.u32('duration') };
      const properties = version >= OF14 && r.remaining > 0 ? { properties: r.rest().slice() } : {};
      queues.push({ ...base, ...duration, ...properties });
    }
  }
  return queues;
}

function readQueueCounters(r: ByteReader): Pick<QueueStats, 'txBytes' | 'txPackets' | 'txErrors'> {
  return { txBytes: r.u64('tx bytes'), txPackets: r.u64('tx packets'), txErrors: r.u64('tx errors') };
}

export function writeQueueStats(w: ByteWriter, queues: readonly QueueStats[], version: number): void {
  for (const s of queues) {
    const start = w.length;
    if (version >= OF14) w.u16(0).zeros(6);
    if (version === OF10) w.u16(s.port).u16(0);
    else w.u32(s.port);
    w.u32(s.queue).u64(s.txBytes).u64(s.txPackets).u64(s.txErrors);
    if (version !== OF10) writeDuration(w, s);
    if (s.properties) w.raw(s.properties);
    if (version >= OF14) w.patchU16(start, w.length - start);
  }
}
