import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { DecodeError, WeftError } from '../base/errors.ts';
import * as async from './messages/async-config.ts';
import * as bundle from './messages/bundle.ts';
import type { Codec } from './messages/codec.ts';
import { type ErrorMessage, errorCodec } from './messages/error.ts';
import * as features from './messages/features.ts';
import { type FlowMod, flowModCodec, writeFlowMod } from './messages/flow-mod.ts';
import { type FlowRemoved, flowRemovedCodec } from './messages/flow-removed.ts';
import { type GroupMod, groupModCodec } from './messages/group.ts';
import * as hello from './messages/hello.ts';
import { type MeterMod, meterModCodec } from './messages/meter.ts';
import {
  type MultipartReply,
  type MultipartRequest,
  multipartReplyCodec,
  multipartRequestCodec,
} from './messages/multipart.ts';
import * as nicira from './messages/nicira.ts';
import * as packetIn from './messages/packet-in.ts';
import { type PacketOut, packetOutCodec } from './messages/packet-out.ts';
import { type PortMod, type PortStatus, portModCodec, portStatusCodec } from './messages/port.ts';
import * as queue from './messages/queue.ts';
import * as role from './messages/role.ts';
import * as table from './messages/table.ts';
import { isOpenFlowVersion, OF10, OF13, OF14 } from './version.ts';

/**
 * OpenFlow messages as values. `decodeMessage` and `encodeMessage` are each other's inverse for versions 1.0, 1.3, 1.4
 * and 1.5; what they do not know (a message type, an experimenter, an action, a property) they keep as bytes.
 */
export type MessageBody =
  | hello.Hello
  | hello.EchoRequest
  | hello.EchoReply
  | hello.BarrierRequest
  | hello.BarrierReply
  | ErrorMessage
  | features.FeaturesRequest
  | features.FeaturesReply
  | features.GetConfigRequest
  | features.GetConfigReply
  | features.SetConfig
  | packetIn.PacketIn
  | packetIn.Resume
  | PacketOut
  | FlowMod
  | FlowRemoved
  | GroupMod
  | MeterMod
  | PortMod
  | PortStatus
  | table.TableMod
  | table.TableStatus
  | table.RequestForward
  | MultipartRequest
  | MultipartReply
  | queue.QueueGetConfigRequest
  | queue.QueueGetConfigReply
  | role.RoleRequest
  | role.RoleReply
  | role.RoleStatus
  | async.GetAsyncRequest
  | async.GetAsyncReply
  | async.SetAsync
  | bundle.BundleControl
  | bundle.BundleAdd
  | nicira.SetPacketInFormat
  | nicira.FlowModTableId
  | nicira.SetControllerId
  | nicira.CtFlushZone
  | nicira.TlvTableMod
  | nicira.TlvTableRequest
  | nicira.TlvTableReply
  | Experimenter
  | UnknownMessage;

export type MessageKind = MessageBody['kind'];
export type Message = MessageBody & { readonly version: number; readonly xid: number };

/** An experimenter's (in 1.0: vendor's) message that we do not know: its id(4), then the rest. */
export interface Experimenter {
  readonly kind: 'experimenter';
  readonly experimenter: number;
  readonly data: Uint8Array;
}

/** A type that we do not know, or a version that we do not speak. */
export interface UnknownMessage {
  readonly kind: 'unknown';
  readonly type: number;
  readonly data: Uint8Array;
}

export const HEADER_BYTES = 8;
const EXPERIMENTER_TYPE = 4;
const NX = 0x0000_2320;
const ONF = 0x4f4e_4600;

/** Where a message is found: its type in 1.0, its type from `since` (1.3 by default) on, or an experimenter's. */
interface Place {
  readonly of10?: number;
  readonly of13?: number;
  readonly since?: number;
  /** Nicira's, in versions `nxIn` (all by default). */
  readonly nx?: number;
  readonly nxIn?: readonly number[];
  /** The ONF's, in 1.3 only. */
  readonly onf?: number;
}

interface Row {
  readonly kind: MessageKind;
  readonly place: Place;
  readonly codec: Codec<{ readonly kind: string }>;
}

function row<B extends { readonly kind: MessageKind }>(kind: B['kind'], place: Place, codec: Codec<B>): Row {
  return { kind, place, codec: codec as unknown as Row['codec'] };
}

const both = (type: number): Place => ({ of10: type, of13: type });

const ROWS: readonly Row[] = [
  row('hello', both(0), hello.helloCodec),
  row('error', both(1), errorCodec),
  row('echoRequest', both(2), hello.echoRequestCodec),
  row('echoReply', both(3), hello.echoReplyCodec),
  row('featuresRequest', both(5), features.featuresRequestCodec),
  row('featuresReply', both(6), features.featuresReplyCodec),
  row('getConfigRequest', both(7), features.getConfigRequestCodec),
  row('getConfigReply', both(8), features.getConfigReplyCodec),
  row('setConfig', both(9), features.setConfigCodec),
  row('packetIn', both(10), packetIn.packetInCodec),
  row('packetIn', { nx: 17 }, packetIn.nxtPacketInCodec),
  row('packetIn', { nx: 30 }, packetIn.nxtPacketIn2Codec),
  row('flowRemoved', both(11), flowRemovedCodec),
  row('portStatus', both(12), portStatusCodec),
  row('packetOut', both(13), packetOutCodec),
  row('flowMod', both(14), flowModCodec),
  row('groupMod', { of13: 15 }, groupModCodec),
  row('portMod', { of10: 15, of13: 16 }, portModCodec),
  row('tableMod', { of13: 17 }, table.tableModCodec),
  row('multipartRequest', { of10: 16, of13: 18 }, multipartRequestCodec),
  row('multipartReply', { of10: 17, of13: 19 }, multipartReplyCodec),
  row('barrierRequest', { of10: 18, of13: 20 }, hello.barrierRequestCodec),
  row('barrierReply', { of10: 19, of13: 21 }, hello.barrierReplyCodec),
  row('queueGetConfigRequest', { of10: 20, of13: 22 }, queue.queueGetConfigRequestCodec),
  row('queueGetConfigReply', { of10: 21, of13: 23 }, queue.queueGetConfigReplyCodec),
  row('roleRequest', { of13: 24, nx: 10, nxIn: [OF10] }, role.roleRequestCodec),
  row('roleReply', { of13: 25, nx: 11, nxIn: [OF10] }, role.roleReplyCodec),
  row('getAsyncRequest', { of13: 26 }, async.getAsyncRequestCodec),
  row('getAsyncReply', { of13: 27 }, async.getAsyncReplyCodec),
  row('setAsync', { of13: 28, nx: 19, nxIn: [OF10] }, async.setAsyncCodec),
  row('meterMod', { of13: 29 }, meterModCodec),
  row('roleStatus', { of13: 30, since: OF14, onf: 1911 }, role.roleStatusCodec),
  row('tableStatus', { of13: 31, since: OF14 }, table.tableStatusCodec),
  row('requestForward', { of13: 32, since: OF14, onf: 2350 }, table.requestForwardCodec),
  row('bundleControl', { of13: 33, since: OF14, onf: 2300 }, bundle.bundleControlCodec),
  row('bundleAdd', { of13: 34, since: OF14, onf: 2301 }, bundle.bundleAddCodec),
  row('setPacketInFormat', { nx: 16 }, nicira.setPacketInFormatCodec),
  row('flowModTableId', { nx: 15, nxIn: [OF10] }, nicira.flowModTableIdCodec),
  row('setControllerId', { nx: 20 }, nicira.setControllerIdCodec),
  row('tlvTableMod', { nx: 24 }, nicira.tlvTableModCodec),
  row('tlvTableRequest', { nx: 25 }, nicira.tlvTableRequestCodec),
  row('tlvTableReply', { nx: 26 }, nicira.tlvTableReplyCodec),
  row('resume', { nx: 28 }, packetIn.resumeCodec),
  row('ctFlushZone', { nx: 29 }, nicira.ctFlushZoneCodec),
];

/** Where a row is in a version: its type, or its experimenter and subtype. */
function locate(place: Place, version: number): { type: number } | { vendor: number; subtype: number } | undefined {
  if (version === OF10 && place.of10 !== undefined) return { type: place.of10 };
  if (version !== OF10 && place.of13 !== undefined && version >= (place.since ?? OF13)) return { type: place.of13 };
  if (version === OF13 && place.onf !== undefined) return { vendor: ONF, subtype: place.onf };
  if (place.nx !== undefined && (place.nxIn?.includes(version) ?? true)) return { vendor: NX, subtype: place.nx };
  return undefined;
}

interface Located {
  readonly row: Row;
  readonly type: number;
  readonly vendor: number;
  readonly subtype: number;
}

interface Tables {
  readonly byType: readonly (Row | undefined)[];
  readonly byVendor: ReadonlyMap<string, Row>;
  readonly byKind: ReadonlyMap<string, Located>;
}

function buildTables(version: number): Tables {
  const byType: (Row | undefined)[] = [];
  const byVendor = new Map<string, Row>();
  const byKind = new Map<string, Located>();
  for (const entry of ROWS) {
    const at = locate(entry.place, version);
    if (!at) continue;
    const isOfficial = 'type' in at;
    if (isOfficial) byType[at.type] = entry;
    else byVendor.set(`${at.vendor}:${at.subtype}`, entry);
    const located = isOfficial
      ? { row: entry, type: at.type, vendor: 0, subtype: 0 }
      : { row: entry, type: EXPERIMENTER_TYPE, ...at };
    const form = FORMS.get(entry.codec);
    byKind.set(form ? `${entry.kind}:${form}` : entry.kind, located);
  }
  return { byType, byVendor, byKind };
}

/** Kinds that have several forms on the wire are told apart by the body's `form`. */
const FORMS = new Map<unknown, packetIn.PacketIn['form']>([
  [packetIn.packetInCodec, 'of'],
  [packetIn.nxtPacketInCodec, 'nxt'],
  [packetIn.nxtPacketIn2Codec, 'nxt2'],
]);

const TABLES = new Map<number, Tables>();
for (const version of [OF10, OF13, OF14, 6]) TABLES.set(version, buildTables(version));
/** Hello, error and echo are alike in all versions; of those that we do not speak nothing else is understood. */
const LAST_COMMON_TYPE = 3;

/**
 * One whole message. Throws `DecodeError`: `bad-length` when header and bytes disagree, or when bytes are left over.
 * Parts of the result are views of `bytes` (frames, echo data): copy what is to be kept while the buffer is reused.
 */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new ByteReader(plain(bytes));
  const version = reader.u8('version');
  const type = reader.u8('type');
  const length = reader.u16('length');
  const xid = reader.u32('xid');
  if (length !== bytes.length) throw new DecodeError('bad-length', 2, 'length', `says ${length}, has ${bytes.length}`);
  const body = decodeBody(reader, version, type);
  if (reader.remaining > 0) reader.fail('bad-length', 'message', `${reader.remaining} bytes too many`);
  return Object.assign(body, { version, xid });
}

/** A `Buffer` as what it is a view of: its `slice` would not copy, and it would show in the parts that we hand out. */
function plain(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

function decodeBody(reader: ByteReader, version: number, type: number): MessageBody {
  const tables = TABLES.get(isOpenFlowVersion(version) ? version : OF13)!;
  if (!isOpenFlowVersion(version) && type > LAST_COMMON_TYPE) return { kind: 'unknown', type, data: reader.rest() };
  if (type === EXPERIMENTER_TYPE) return decodeExperimenter(reader, version, tables);
  const found = tables.byType[type];
  if (!found) return { kind: 'unknown', type, data: reader.rest() };
  return found.codec.decode(reader, version) as MessageBody;
}

function decodeExperimenter(reader: ByteReader, version: number, tables: Tables): MessageBody {
  const experimenter = reader.u32('experimenter');
  const start = reader.offset;
  if (reader.remaining >= 4) {
    const found = tables.byVendor.get(`${experimenter}:${reader.u32('experimenter type')}`);
    if (found) return found.codec.decode(reader, version) as MessageBody;
    reader.offset = start;
  }
  return { kind: 'experimenter', experimenter, data: reader.rest() };
}

/** The bytes of a message. Throws `WeftError('invalid')` for what its version cannot say. */
export function encodeMessage(message: Message): Uint8Array {
  const writer = new ByteWriter();
  writeMessage(writer, message.version, message.xid, message);
  return writer.finish();
}

/** Appends a message to a writer. */
export function writeMessage(writer: ByteWriter, version: number, xid: number, body: MessageBody): void {
  const start = writer.length;
  writer.u8(version).u8(0).u16(0).u32(xid);
  if (body.kind === 'unknown') {
    writer.patchU8(start + 1, body.type);
    writer.raw(body.data);
  } else if (body.kind === 'experimenter') {
    writer.patchU8(start + 1, EXPERIMENTER_TYPE);
    writer.u32(body.experimenter).raw(body.data);
  } else {
    const key = body.kind === 'packetIn' ? `packetIn:${body.form}` : body.kind;
    const at = (TABLES.get(version) ?? TABLES.get(OF13)!).byKind.get(key);
    if (!at) throw new WeftError('invalid', `OpenFlow version ${version} has no ${body.kind}`);
    writer.patchU8(start + 1, at.type);
    if (at.vendor !== 0) writer.u32(at.vendor).u32(at.subtype);
    at.row.codec.encode(writer, body, version);
  }
  closeMessage(writer, start);
}

function closeMessage(writer: ByteWriter, start: number): void {
  const length = writer.length - start;
  if (length > 0xffff)
    throw new WeftError('invalid', `message: ${length} bytes are more than OpenFlow allows (65,535)`);
  writer.patchU16(start + 2, length);
}

const FLOW_MOD_TYPE = 14;

/**
 * Appends one flow mod, header included: the fast path for many. `mod` is what `compile` makes plus a command
 * (`FLOW_COMMAND`); no `kind` is needed.
 */
export function encodeFlowMod(writer: ByteWriter, version: number, mod: Omit<FlowMod, 'kind'>, xid = 0): void {
  const start = writer.length;
  writer.u8(version).u8(FLOW_MOD_TYPE).u16(0).u32(xid);
  writeFlowMod(writer, version, mod);
  closeMessage(writer, start);
}

const BUNDLE_ADD_TYPE = 34;
const ONF_BUNDLE_ADD = 2301;

/** Appends a bundle-add message around what `inner` writes, which must be one whole message with the same xid. */
export function writeBundleAdd(
  writer: ByteWriter,
  version: number,
  xid: number,
  bundleId: number,
  flags: number,
  inner: (writer: ByteWriter) => void,
): void {
  const start = writer.length;
  if (version >= OF14) writer.u8(version).u8(BUNDLE_ADD_TYPE).u16(0).u32(xid);
  else writer.u8(version).u8(EXPERIMENTER_TYPE).u16(0).u32(xid).u32(ONF).u32(ONF_BUNDLE_ADD);
  writer.u32(bundleId).u16(0).u16(flags);
  inner(writer);
  closeMessage(writer, start);
}
