import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { Match } from '../flow.ts';
import { readMatch, readMatchFields, writeMatch, writeMatchFields } from '../match.ts';
import { widePort } from '../oxm.ts';
import { OF10 } from '../version.ts';
import { type Codec, readProperties, writeProperty } from './codec.ts';

/**
 * A packet that the switch hands over, in the four forms that Open vSwitch has; and Nicira's resume, which hands a
 * paused one back.
 *
 *  1.0 (§5.4.1):    buffer(4) total_len(2) in_port(2) reason(1) 0(1) frame
 *  1.3 (§7.4.1):    buffer(4) total_len(2) reason(1) table(1) cookie(8) ofp_match 0(2) frame
 *  nxt_packet_in:   buffer(4) total_len(2) reason(1) table(1) cookie(8) match_len(2) 0(6) nx_match 0(2) frame
 *  nxt_packet_in2:  properties: 0 frame, 1 full length(4), 2 buffer(4), 3 table(1), 4 cookie(8), 5 reason(1),
 *                   6 metadata fields, 7 userdata, 8 continuation; each padded to 8
 *  nxt_resume:      the same properties; the switch reads frame, metadata and continuation
 */
export interface PacketIn {
  readonly kind: 'packetIn';
  readonly form: 'of' | 'nxt' | 'nxt2';
  readonly bufferId?: number;
  /** Length of the whole frame, of which `frame` may be the beginning. */
  readonly totalLength: number;
  /** One of `PACKET_IN_REASON`. */
  readonly reason: number;
  readonly table?: number;
  readonly cookie?: bigint;
  /** in_port and the packet's metadata: registers, tunnel fields and so on, as far as they are not zero. */
  readonly match: Match;
  readonly frame: Uint8Array;
  /** nxt2: what the controller action carried. */
  readonly userdata?: Uint8Array;
  /** nxt2: given by the switch when the action said `pause`; goes back unchanged in `resume`. */
  readonly continuation?: Uint8Array;
  /** nxt2: properties that we do not know, whole. */
  readonly unknown?: readonly Uint8Array[];
}

/** Continues the pipeline for a paused packet; frame and metadata may have been changed. */
export interface Resume {
  readonly kind: 'resume';
  readonly frame: Uint8Array;
  readonly match: Match;
  readonly continuation: Uint8Array;
  readonly unknown?: readonly Uint8Array[];
}

export const PACKET_IN_REASON = {
  noMatch: 0,
  action: 1,
  invalidTtl: 2,
  actionSet: 3,
  group: 4,
  packetOut: 5,
} as const;

const NO_BUFFER = 0xffff_ffff;

export const packetInCodec: Codec<PacketIn> = {
  decode: (reader, version) => (version === OF10 ? decode10(reader) : decode13(reader)),
  encode(writer, body, version) {
    if (version === OF10) encode10(writer, body);
    else {
      writer
        .u32(body.bufferId ?? NO_BUFFER)
        .u16(body.totalLength)
        .u8(body.reason);
      writer.u8(body.table ?? 0).u64(body.cookie ?? 0n);
      writeMatch(writer, body.match, version);
      writer.u16(0).raw(body.frame);
    }
  },
};

function buffered(bufferId: number): { bufferId?: number } {
  return bufferId === NO_BUFFER ? {} : { bufferId };
}

function decode10(r: ByteReader): PacketIn {
  const bufferId = r.u32('buffer');
  const totalLength = r.u16('total length');
  const inPort = r.u16('in_port');
  const reason = r.u8('reason');
  r.skip(1, 'padding');
  const match = { in_port: widePort(inPort) };
  return { kind: 'packetIn', form: 'of', ...buffered(bufferId), totalLength, reason, match, frame: r.rest() };
}

function encode10(w: ByteWriter, body: PacketIn): void {
  const port = body.match.in_port ?? 0;
  w.u32(body.bufferId ?? NO_BUFFER)
    .u16(body.totalLength)
    .u16(Number(typeof port === 'object' ? port.value : port));
  w.u8(body.reason).u8(0).raw(body.frame);
}

function decode13(r: ByteReader): PacketIn {
  const bufferId = r.u32('buffer');
  const totalLength = r.u16('total length');
  const [reason, table] = [r.u8('reason'), r.u8('table')];
  const cookie = r.u64('cookie');
  const match = readMatch(r);
  r.skip(2, 'padding');
  const common = { totalLength, reason, table, cookie, match, frame: r.rest() };
  return { kind: 'packetIn', form: 'of', ...buffered(bufferId), ...common };
}

export const nxtPacketInCodec: Codec<PacketIn> = {
  decode(r) {
    const bufferId = r.u32('buffer');
    const totalLength = r.u16('total length');
    const [reason, table] = [r.u8('reason'), r.u8('table')];
    const cookie = r.u64('cookie');
    const matchLength = r.u16('match length');
    r.skip(6, 'padding');
    const match = readMatchFields(r.sub(matchLength, 'nx_match'));
    r.skip(((8 - (matchLength % 8)) % 8) + 2, 'padding');
    const common = { totalLength, reason, table, cookie, match, frame: r.rest() };
    return { kind: 'packetIn', form: 'nxt', ...buffered(bufferId), ...common };
  },
  encode(writer, body) {
    writer
      .u32(body.bufferId ?? NO_BUFFER)
      .u16(body.totalLength)
      .u8(body.reason);
    writer.u8(body.table ?? 0).u64(body.cookie ?? 0n);
    const lengthAt = writer.length;
    writer.zeros(8);
    const start = writer.length;
    writeMatchFields(writer, body.match, 0);
    writer.patchU16(lengthAt, writer.length - start);
    writer.align(8, start).zeros(2).raw(body.frame);
  },
};

const PROP = {
  packet: 0,
  fullLength: 1,
  buffer: 2,
  table: 3,
  cookie: 4,
  reason: 5,
  metadata: 6,
  userdata: 7,
  continuation: 8,
} as const;

type Props = { -readonly [K in keyof PacketIn]?: PacketIn[K] };

function readProps(reader: ByteReader): Props & { unknown?: Uint8Array[] } {
  const out: Props = {};
  const unknown: Uint8Array[] = [];
  for (const { type, body, whole } of readProperties(reader)) {
    if (type === PROP.packet) out.frame = body.rest();
    else if (type === PROP.fullLength) out.totalLength = body.u32('full length');
    else if (type === PROP.buffer) out.bufferId = body.u32('buffer');
    else if (type === PROP.table) out.table = body.u8('table');
    else if (type === PROP.cookie) out.cookie = wide64(body);
    else if (type === PROP.reason) out.reason = body.u8('reason');
    else if (type === PROP.metadata) out.match = readMetadata(body);
    else if (type === PROP.userdata) out.userdata = body.rest();
    else if (type === PROP.continuation) out.continuation = body.rest();
    else unknown.push(whole);
  }
  return unknown.length > 0 ? { ...out, unknown } : (out as Props & { unknown?: Uint8Array[] });
}

/** A 64-bit property is aligned to 8 within the message: four zeros come first. */
function wide64(body: ByteReader): bigint {
  body.skip(4, 'padding');
  return body.u64('cookie');
}

function readMetadata(body: ByteReader): Match {
  return readMatchFields(body);
}

export const nxtPacketIn2Codec: Codec<PacketIn> = {
  decode(reader) {
    const props = readProps(reader);
    const frame = props.frame ?? new Uint8Array(0);
    const common = { totalLength: frame.length, reason: 0, match: {}, ...props, frame };
    return { kind: 'packetIn', form: 'nxt2', ...common };
  },
  encode(writer, body, version) {
    writeProperty(writer, PROP.packet, (w) => w.raw(body.frame));
    if (body.totalLength !== body.frame.length) writeProperty(writer, PROP.fullLength, (w) => w.u32(body.totalLength));
    if (body.bufferId !== undefined) writeProperty(writer, PROP.buffer, (w) => w.u32(body.bufferId!));
    if (body.table !== undefined) writeProperty(writer, PROP.table, (w) => w.u8(body.table!));
    if (body.cookie !== undefined) writeProperty(writer, PROP.cookie, (w) => w.u32(0).u64(body.cookie!));
    writeProperty(writer, PROP.reason, (w) => w.u8(body.reason));
    writeProperty(writer, PROP.metadata, (w) => writeMatchFields(w, body.match, version));
    if (body.userdata) writeProperty(writer, PROP.userdata, (w) => w.raw(body.userdata!));
    if (body.continuation) writeProperty(writer, PROP.continuation, (w) => w.raw(body.continuation!));
    for (const bytes of body.unknown ?? []) writer.raw(bytes);
  },
};

export const resumeCodec: Codec<Resume> = {
  decode(reader) {
    const { frame, match, continuation, unknown } = readProps(reader);
    const empty = new Uint8Array(0);
    const common = { frame: frame ?? empty, match: match ?? {}, continuation: continuation ?? empty };
    return { kind: 'resume', ...common, ...(unknown ? { unknown } : {}) };
  },
  encode(writer, body, version) {
    writeProperty(writer, PROP.packet, (w) => w.raw(body.frame));
    writeProperty(writer, PROP.metadata, (w) => writeMatchFields(w, body.match, version));
    writeProperty(writer, PROP.continuation, (w) => w.raw(body.continuation));
    for (const bytes of body.unknown ?? []) writer.raw(bytes);
  },
};
