import type { FieldValue } from '../openflow/flow.ts';
import { extractFlowKey } from '../packet/flow-key.ts';
import { placeOf, readField } from './layout.ts';
import type { PacketState } from './packet-state.ts';

/** A direction of a connection as packets of it look. ICMP: `srcPort` is type, `dstPort` code, `id` tells apart. */
export interface Tuple {
  readonly v6: boolean;
  readonly proto: number;
  readonly src: FieldValue;
  readonly dst: FieldValue;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly id: number;
}

/** What a packet is about: its own tuple, or, of an ICMP error, that of what answers to the packet it quotes look like. */
export interface Subject {
  readonly tuple: Tuple;
  readonly isError: boolean;
}

export const PROTO = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
/** Protocols with ports, by the names of their fields. */
export const TRANSPORT: { readonly [proto: number]: string } = {
  [PROTO.tcp]: 'tcp',
  [PROTO.udp]: 'udp',
  [PROTO.sctp]: 'sctp',
};
const IP_PROTO = placeOf('ip_proto').word;
const IP_FRAG = placeOf('ip_frag').word;
const ETH_TYPE = placeOf('eth_type').word;
const TP_SRC = placeOf('tcp_src').word;
const TP_DST = placeOf('tcp_dst').word;
export const LATER_FRAGMENT = 2;
const FRAGMENT_HEADER = 44;

/** Requests that open a connection, with their answers: by protocol. */
const ICMP_PAIRS: { readonly [proto: number]: { readonly [request: number]: number } } = {
  [PROTO.icmp]: { 8: 0, 13: 14, 15: 16 },
  [PROTO.icmpv6]: { 128: 129 },
};
const ICMP_ERRORS: { readonly [proto: number]: readonly number[] } = {
  [PROTO.icmp]: [3, 4, 5, 11, 12],
  [PROTO.icmpv6]: [1, 2, 3, 4],
};

/** ICMP of this version of IP: of the other's nothing but the addresses tells connections apart. */
function isIcmp({ v6, proto }: Pick<Tuple, 'v6' | 'proto'>): boolean {
  return proto === (v6 ? PROTO.icmpv6 : PROTO.icmp);
}

/** Whether a packet of ICMP, of either version, may begin a connection. */
export function beginsIcmp(packet: PacketState): boolean {
  return ICMP_PAIRS[packet.key[IP_PROTO]!]?.[packet.key[TP_SRC]!] !== undefined;
}

/** Undefined where Open vSwitch cannot tell what a packet is about. */
export function subjectOf(packet: PacketState): Subject | undefined {
  const tuple = tupleOf(packet);
  if (!isIcmp(tuple) || isQuery(tuple)) return { tuple, isError: false };
  if (!ICMP_ERRORS[tuple.proto]!.includes(tuple.srcPort)) return undefined;
  const inner = innerTuple(packet);
  if (!inner || inner.src !== tuple.dst || (isIcmp(inner) && !isQuery(inner))) return undefined;
  return { tuple: turned(inner), isError: true };
}

function isQuery({ proto, srcPort, dstPort }: Tuple): boolean {
  return dstPort === 0 && (ICMP_PAIRS[proto]![srcPort] !== undefined || counterpart(proto, srcPort) !== srcPort);
}

/** What answers look like. */
export function turned(t: Tuple): Tuple {
  if (isIcmp(t)) return { ...t, src: t.dst, dst: t.src, srcPort: counterpart(t.proto, t.srcPort) };
  return { ...t, src: t.dst, dst: t.src, srcPort: t.dstPort, dstPort: t.srcPort };
}

/** Of a query its answer's type, and of an answer the query's. */
function counterpart(proto: number, type: number): number {
  const pairs = ICMP_PAIRS[proto]!;
  const answer = pairs[type];
  if (answer !== undefined) return answer;
  for (const query in pairs) if (pairs[query] === type) return Number(query);
  return type;
}

export function tupleOf(packet: PacketState): Tuple {
  const { key } = packet;
  const v6 = key[ETH_TYPE] === 0x86dd;
  const proto = key[IP_PROTO]!;
  // Of ICMP over the other version of IP the type counts for what may begin a connection, and is no part of it.
  const isForeign = proto === (v6 ? PROTO.icmp : PROTO.icmpv6);
  const isOwn = isIcmp({ v6, proto });
  return {
    v6,
    proto,
    src: readField(key, placeOf(v6 ? 'ipv6_src' : 'ip_src')),
    dst: readField(key, placeOf(v6 ? 'ipv6_dst' : 'ip_dst')),
    srcPort: isForeign ? 0 : key[TP_SRC]!,
    dstPort: isForeign ? 0 : key[TP_DST]!,
    id: isOwn && !(key[IP_FRAG]! & LATER_FRAGMENT) ? icmpId(packet.bytes, key) : 0,
  };
}

/** Identifier of an echo: bytes 4 and 5 of the ICMP header, which ends the headers that were read. */
function icmpId(bytes: Uint8Array, key: Uint32Array): number {
  const at = icmpOffset(bytes, key);
  return at + 6 <= bytes.length ? (bytes[at + 4]! << 8) | bytes[at + 5]! : 0;
}

export function networkOffset(bytes: Uint8Array): number {
  let at = 12;
  for (;;) {
    const type = (bytes[at]! << 8) | bytes[at + 1]!;
    if (type !== 0x8100 && type !== 0x88a8) return type < 0x600 ? at + 10 : at + 2;
    at += 4;
  }
}

export function icmpOffset(bytes: Uint8Array, key: Uint32Array): number {
  const l3 = networkOffset(bytes);
  return key[ETH_TYPE] === 0x86dd ? extensionsEnd(bytes, l3) : l3 + (bytes[l3]! & 15) * 4;
}

/** What all fragments of a packet have in common. */
export function fragmentId({ bytes, key }: PacketState): number {
  const l3 = networkOffset(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (key[ETH_TYPE] !== 0x86dd) return view.getUint16(l3 + 4);
  const at = extensionsEnd(bytes, l3, FRAGMENT_HEADER);
  return at + 8 <= bytes.length ? view.getUint32(at + 4) : 0;
}

/** Where the headers that may stand between IPv6 and its payload end, or the one of a type begins. */
function extensionsEnd(bytes: Uint8Array, l3: number, until?: number): number {
  let next = bytes[l3 + 6]!;
  let at = l3 + 40;
  while (next !== until && [0, 43, FRAGMENT_HEADER, 60].includes(next) && at + 8 <= bytes.length) {
    const length = next === FRAGMENT_HEADER ? 8 : (bytes[at + 1]! + 1) * 8;
    next = bytes[at]!;
    at += length;
  }
  return at;
}

/** A frame of the packet that an ICMP error quotes, readable although it is cut short: its lengths are mended, and room is made. */
export function quotedFrame(quoted: Uint8Array, v6: boolean): Uint8Array | undefined {
  const headerLength = v6 ? 40 : (quoted[0]! & 15) * 4;
  if (quoted.length < headerLength + 8) return undefined;
  const frame = new Uint8Array(14 + Math.max(quoted.length, headerLength + 20));
  frame[12] = v6 ? 0x86 : 0x08;
  frame[13] = v6 ? 0xdd : 0x00;
  frame.set(quoted, 14);
  const length = frame.length - 14 - (v6 ? 40 : 0);
  frame[14 + (v6 ? 4 : 2)] = length >>> 8;
  frame[14 + (v6 ? 5 : 3)] = length & 0xff;
  if (quoted[v6 ? 6 : 9] === PROTO.tcp) frame[14 + headerLength + 12] = 0x50;
  return frame;
}

export function quotation({ bytes, key }: PacketState): Uint8Array {
  return bytes.subarray(icmpOffset(bytes, key) + 8);
}

/** The tuple of the packet that an ICMP error quotes. */
function innerTuple(packet: PacketState): Tuple | undefined {
  const v6 = packet.key[ETH_TYPE] === 0x86dd;
  const frame = quotedFrame(quotation(packet), v6);
  if (!frame) return undefined;
  const key = extractFlowKey(frame);
  const l4 = 14 + (v6 ? 40 : (frame[14]! & 15) * 4);
  const proto = key.ipProto;
  const isForeign = proto === (v6 ? PROTO.icmp : PROTO.icmpv6);
  return {
    v6,
    proto,
    src: v6 ? key.ipv6Src : key.ipSrc,
    dst: v6 ? key.ipv6Dst : key.ipDst,
    srcPort: isForeign ? 0 : key.tpSrc,
    dstPort: isForeign ? 0 : key.tpDst,
    id: isIcmp({ v6, proto }) ? (frame[l4 + 4]! << 8) | frame[l4 + 5]! : 0,
  };
}
