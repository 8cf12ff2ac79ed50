import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { WeftError } from '../../base/errors.ts';
import { OFPP } from '../flow.ts';
import { widePort } from '../oxm.ts';
import type { FlowCounters } from '../oxs.ts';
import { OF10, OF15 } from '../version.ts';
import { type Codec, readText, writeText } from './codec.ts';
import {
  type FlowQuery,
  type FlowStats,
  readAggregate,
  readFlowQuery,
  readFlowStats,
  writeAggregate,
  writeFlowQuery,
  writeFlowStats,
} from './multipart-flow.ts';
import * as groups from './multipart-group.ts';
import {
  type PortStats,
  type QueueStats,
  readPortStats,
  readQueueStats,
  writePortStats,
  writeQueueStats,
} from './multipart-port.ts';
import * as tables from './multipart-table.ts';
import { type Port, readPort, writePort } from './port.ts';

/**
 * Multipart (in 1.0: statistics) requests and replies (1.0 §5.3.5, 1.3.5 §7.3.5).
 *
 *  +-------------------------------+-------------------------------+
 *  |             type              |  flags: 1, more follows       |
 *  +-------------------------------+-------------------------------+
 *  |                     0 (not in 1.0)                            |
 *  +---------------------------------------------------------------+
 *  |  the type's own …
 */
export interface MultipartRequest {
  readonly kind: 'multipartRequest';
  readonly flags: number;
  readonly body: RequestBody;
}
export interface MultipartReply {
  readonly kind: 'multipartReply';
  /** Another reply with the same xid follows. */
  readonly more: boolean;
  readonly body: ReplyBody;
}

export type RequestBody =
  | { readonly kind: 'desc' | 'table' | 'groupFeatures' | 'meterFeatures' | 'tableDesc' }
  | ({ readonly kind: 'flow' | 'aggregate' } & FlowQuery)
  /** Absent: all of them. `portDesc` and `groupDesc` can choose one only in 1.5. */
  | { readonly kind: 'port' | 'portDesc'; readonly port?: number }
  | { readonly kind: 'queue' | 'queueDesc'; readonly port?: number; readonly queue?: number }
  | { readonly kind: 'group' | 'groupDesc'; readonly group?: number }
  | { readonly kind: 'meter' | 'meterConfig'; readonly meter?: number }
  | { readonly kind: 'tableFeatures'; readonly tables: readonly tables.TableFeatures[] }
  | { readonly kind: 'unknown'; readonly type: number; readonly bytes: Uint8Array };

export type ReplyBody =
  | {
      readonly kind: 'desc';
      readonly manufacturer: string;
      readonly hardware: string;
      readonly software: string;
      readonly serial: string;
      readonly datapath: string;
    }
  | { readonly kind: 'flow'; readonly flows: readonly FlowStats[] }
  | ({ readonly kind: 'aggregate' } & FlowCounters)
  | { readonly kind: 'table'; readonly tables: readonly tables.TableStats[] }
  | { readonly kind: 'port'; readonly ports: readonly PortStats[] }
  | { readonly kind: 'portDesc'; readonly ports: readonly Port[] }
  | { readonly kind: 'queue'; readonly queues: readonly QueueStats[] }
  | { readonly kind: 'queueDesc'; readonly bytes: Uint8Array }
  | { readonly kind: 'group'; readonly groups: readonly groups.GroupStats[] }
  | { readonly kind: 'groupDesc'; readonly groups: readonly groups.GroupDescription[] }
  | ({ readonly kind: 'groupFeatures' } & groups.GroupFeatures)
  | { readonly kind: 'meter'; readonly meters: readonly groups.MeterStats[] }
  | { readonly kind: 'meterConfig'; readonly meters: readonly groups.MeterConfig[] }
  | ({ readonly kind: 'meterFeatures' } & groups.MeterFeatures)
  | { readonly kind: 'tableFeatures'; readonly tables: readonly tables.TableFeatures[] }
  | { readonly kind: 'tableDesc'; readonly tables: readonly tables.TableDescription[] }
  | { readonly kind: 'unknown'; readonly type: number; readonly bytes: Uint8Array };

type PartName = Exclude<ReplyBody['kind'], 'unknown'>;
const MORE = 1;
const ALL = 0xffff_ffff;
const ALL_GROUPS = 0xffff_fffc;
const NONE_10 = 0xffff;

/** The member of a union whose kind is, or may be, K. */
export type BodyOf<K, B> = B extends { readonly kind: infer Kinds } ? (K extends Kinds ? B : never) : never;

/** How one part's request and reply bodies are read and written. */
interface Part<K extends PartName> {
  readonly type: number;
  readRequest(reader: ByteReader, version: number): RequestBody;
  writeRequest(writer: ByteWriter, body: BodyOf<K, RequestBody>, version: number): void;
  readReply(reader: ByteReader, version: number): Extract<ReplyBody, { kind: K }>;
  writeReply(writer: ByteWriter, body: Extract<ReplyBody, { kind: K }>, version: number): void;
}

/** A request that is a number with four zeros; `all` stands for its absence. */
function idRequest<N extends string>(
  name: N,
  all: number,
  has: (version: number) => boolean = () => true,
): {
  read(reader: ByteReader, version: number): { [key in N]?: number };
  write(writer: ByteWriter, id: number | undefined, version: number): void;
} {
  return {
    read(r, version) {
      if (!has(version)) return {};
      const id = r.u32(name);
      r.skip(4, 'padding');
      return (id === all ? {} : { [name]: id }) as { [key in N]?: number };
    },
    write(w, id, version) {
      if (has(version)) w.u32(id ?? all).u32(0);
    },
  };
}

const since15 = (version: number): boolean => version >= OF15;
const groupId = idRequest('group', ALL_GROUPS);
const groupDescId = idRequest('group', ALL_GROUPS, since15);
const portDescId = idRequest('port', OFPP.any, since15);
const meterId = idRequest('meter', ALL);

function readPortId(r: ByteReader, version: number): { port?: number } {
  if (version === OF10) {
    const port = r.u16('port');
    r.skip(6, 'padding');
    return port === NONE_10 ? {} : { port: widePort(port) };
  }
  const port = r.u32('port');
  r.skip(4, 'padding');
  return port === OFPP.any ? {} : { port };
}

function readQueueId(r: ByteReader, version: number): { port?: number; queue?: number } {
  const port = version === OF10 ? widePort(r.u16('port')) : r.u32('port');
  if (version === OF10) r.skip(2, 'padding');
  const queue = r.u32('queue');
  const any = version === OF10 ? OFPP.all : OFPP.any;
  return { ...(port === any ? {} : { port }), ...(queue === ALL ? {} : { queue }) };
}

function writeQueueId(w: ByteWriter, body: { port?: number; queue?: number }, version: number): void {
  if (version === OF10) w.u16(body.port ?? OFPP.all).u16(0);
  else w.u32(body.port ?? OFPP.any);
  w.u32(body.queue ?? ALL);
}

const PARTS: { readonly [K in PartName]: Part<K> } = {
  desc: {
    type: 0,
    readRequest: () => ({ kind: 'desc' }),
    writeRequest: () => {},
    readReply: (r) => ({
      kind: 'desc',
      manufacturer: readText(r, 256, 'manufacturer'),
      hardware: readText(r, 256, 'hardware'),
      software: readText(r, 256, 'software'),
      serial: readText(r, 32, 'serial'),
      datapath: readText(r, 256, 'datapath'),
    }),
    writeReply(w, body) {
      for (const text of [body.manufacturer, body.hardware, body.software]) writeText(w, 256, text);
      writeText(w, 32, body.serial);
      writeText(w, 256, body.datapath);
    },
  },
  flow: {
    type: 1,
    readRequest: (r, version) => ({ kind: 'flow', ...readFlowQuery(r, version) }),
    writeRequest: (w, body, version) => writeFlowQuery(w, body, version),
    readReply: (r, version) => ({ kind: 'flow', flows: readFlowStats(r, version) }),
    writeReply: (w, body, version) => writeFlowStats(w, body.flows, version),
  },
  aggregate: {
    type: 2,
    readRequest: (r, version) => ({ kind: 'aggregate', ...readFlowQuery(r, version) }),
    writeRequest: (w, body, version) => writeFlowQuery(w, body, version),
    readReply: (r, version) => ({ kind: 'aggregate', ...readAggregate(r, version) }),
    writeReply: (w, body, version) => writeAggregate(w, body, version),
  },
  table: {
    type: 3,
    readRequest: () => ({ kind: 'table' }),
    writeRequest: () => {},
    readReply: (r, version) => ({ kind: 'table', tables: tables.readTableStats(r, version) }),
    writeReply: (w, body, version) => tables.writeTableStats(w, body.tables, version),
  },
  port: {
    type: 4,
    readRequest: (r, version) => ({ kind: 'port', ...readPortId(r, version) }),
    writeRequest(w, body, version) {
      if (version === OF10) w.u16(body.port ?? NONE_10).zeros(6);
      else w.u32(body.port ?? OFPP.any).u32(0);
    },
    readReply: (r, version) => ({ kind: 'port', ports: readPortStats(r, version) }),
    writeReply: (w, body, version) => writePortStats(w, body.ports, version),
  },
  queue: {
    type: 5,
    readRequest: (r, version) => ({ kind: 'queue', ...readQueueId(r, version) }),
    writeRequest: writeQueueId,
    readReply: (r, version) => ({ kind: 'queue', queues: readQueueStats(r, version) }),
    writeReply: (w, body, version) => writeQueueStats(w, body.queues, version),
  },
  group: {
    type: 6,
    readRequest: (r, version) => ({ kind: 'group', ...groupId.read(r, version) }),
    writeRequest: (w, body, version) => groupId.write(w, body.group, version),
    readReply: (r) => ({ kind: 'group', groups: groups.readGroupStats(r) }),
    writeReply: (w, body) => groups.writeGroupStats(w, body.groups),
  },
  groupDesc: {
    type: 7,
    readRequest: (r, version) => ({ kind: 'groupDesc', ...groupDescId.read(r, version) }),
    writeRequest: (w, body, version) => groupDescId.write(w, body.group, version),
    readReply: (r, version) => ({ kind: 'groupDesc', groups: groups.readGroupDescriptions(r, version) }),
    writeReply: (w, body, version) => groups.writeGroupDescriptions(w, body.groups, version),
  },
  groupFeatures: {
    type: 8,
    readRequest: () => ({ kind: 'groupFeatures' }),
    writeRequest: () => {},
    readReply: (r) => ({ kind: 'groupFeatures', ...groups.readGroupFeatures(r) }),
    writeReply: (w, body) => groups.writeGroupFeatures(w, body),
  },
  meter: {
    type: 9,
    readRequest: (r, version) => ({ kind: 'meter', ...meterId.read(r, version) }),
    writeRequest: (w, body, version) => meterId.write(w, body.meter, version),
    readReply: (r) => ({ kind: 'meter', meters: groups.readMeterStats(r) }),
    writeReply: (w, body) => groups.writeMeterStats(w, body.meters),
  },
  meterConfig: {
    type: 10,
    readRequest: (r, version) => ({ kind: 'meterConfig', ...meterId.read(r, version) }),
    writeRequest: (w, body, version) => meterId.write(w, body.meter, version),
    readReply: (r) => ({ kind: 'meterConfig', meters: groups.readMeterConfigs(r) }),
    writeReply: (w, body) => groups.writeMeterConfigs(w, body.meters),
  },
  meterFeatures: {
    type: 11,
    readRequest: () => ({ kind: 'meterFeatures' }),
    writeRequest: () => {},
    readReply: (r, version) => ({ kind: 'meterFeatures', ...groups.readMeterFeatures(r, version) }),
    writeReply: (w, body) => groups.writeMeterFeatures(w, body),
  },
  tableFeatures: {
    type: 12,
    readRequest: (r) => ({ kind: 'tableFeatures', tables: tables.readTableFeatures(r) }),
    writeRequest: (w, body) => tables.writeTableFeatures(w, body.tables),
    readReply: (r) => ({ kind: 'tableFeatures', tables: tables.readTableFeatures(r) }),
    writeReply: (w, body) => tables.writeTableFeatures(w, body.tables),
  },
  portDesc: {
    type: 13,
    readRequest: (r, version) => ({ kind: 'portDesc', ...portDescId.read(r, version) }),
    writeRequest: (w, body, version) => portDescId.write(w, body.port, version),
    readReply(r, version) {
      const ports: Port[] = [];
      while (r.remaining > 0) ports.push(readPort(r, version));
      return { kind: 'portDesc', ports };
    },
    writeReply(w, body, version) {
      for (const port of body.ports) writePort(w, port, version);
    },
  },
  tableDesc: {
    type: 14,
    readRequest: () => ({ kind: 'tableDesc' }),
    writeRequest: () => {},
    readReply: (r) => ({ kind: 'tableDesc', tables: tables.readTableDescriptions(r) }),
    writeReply: (w, body) => tables.writeTableDescriptions(w, body.tables),
  },
  queueDesc: {
    type: 15,
    readRequest: (r, version) => ({ kind: 'queueDesc', ...readQueueId(r, version) }),
    writeRequest: writeQueueId,
    readReply: (r) => ({ kind: 'queueDesc', bytes: r.rest().slice() }),
    writeReply: (w, body) => void w.raw(body.bytes),
  },
};

/** The same table without the pairing of names and bodies, which a lookup by a runtime value cannot keep. */
interface AnyPart {
  readonly type: number;
  readRequest(reader: ByteReader, version: number): RequestBody;
  writeRequest(writer: ByteWriter, body: RequestBody, version: number): void;
  readReply(reader: ByteReader, version: number): ReplyBody;
  writeReply(writer: ByteWriter, body: ReplyBody, version: number): void;
}
const BY_NAME = PARTS as unknown as Record<string, AnyPart>;
const BY_TYPE = new Map(Object.values(BY_NAME).map((part) => [part.type, part]));
/** 1.0 has types 0 to 5; Open vSwitch adds 13 to it. */
function partOf(type: number, version: number): AnyPart | undefined {
  return version === OF10 && type > 5 && type !== 13 ? undefined : BY_TYPE.get(type);
}

function readHead(r: ByteReader, version: number): { type: number; flags: number } {
  const head = { type: r.u16('multipart type'), flags: r.u16('multipart flags') };
  if (version !== OF10) r.skip(4, 'padding');
  return head;
}

function writeHead(w: ByteWriter, type: number, flags: number, version: number): void {
  w.u16(type).u16(flags);
  if (version !== OF10) w.u32(0);
}

function typeOf(body: RequestBody | ReplyBody): number {
  const part = body.kind === 'unknown' ? body : BY_NAME[body.kind];
  if (!part) throw new WeftError('invalid', `multipart: ${body.kind} is not known`);
  return part.type;
}

export const multipartRequestCodec: Codec<MultipartRequest> = {
  decode(r, version) {
    const { type, flags } = readHead(r, version);
    const part = partOf(type, version);
    const body: RequestBody = part ? part.readRequest(r, version) : { kind: 'unknown', type, bytes: r.rest().slice() };
    return { kind: 'multipartRequest', flags, body };
  },
  encode(w, message, version) {
    writeHead(w, typeOf(message.body), message.flags, version);
    if (message.body.kind === 'unknown') w.raw(message.body.bytes);
    else BY_NAME[message.body.kind]!.writeRequest(w, message.body, version);
  },
};

export const multipartReplyCodec: Codec<MultipartReply> = {
  decode(r, version) {
    const { type, flags } = readHead(r, version);
    const part = partOf(type, version);
    const body: ReplyBody = part ? part.readReply(r, version) : { kind: 'unknown', type, bytes: r.rest().slice() };
    return { kind: 'multipartReply', more: (flags & MORE) !== 0, body };
  },
  encode(w, message, version) {
    writeHead(w, typeOf(message.body), message.more ? MORE : 0, version);
    if (message.body.kind === 'unknown') w.raw(message.body.bytes);
    else BY_NAME[message.body.kind]!.writeReply(w, message.body, version);
  },
};

/** Puts the lists of consecutive replies together; what is no list is the same in all and taken from the first. */
export function joinReplies(replies: readonly ReplyBody[]): ReplyBody {
  const [first] = replies;
  if (!first) throw new WeftError('protocol', 'multipart: no reply');
  const joined = Object.entries(first).map(([key, value]) => {
    const lists = Array.isArray(value)
      ? replies.map((body) => (body as unknown as Record<string, unknown[]>)[key])
      : [];
    return [key, Array.isArray(value) ? lists.flatMap((list) => list ?? []) : value];
  });
  return Object.fromEntries(joined) as ReplyBody;
}
