import type { FieldName } from '../openflow/fields.ts';
import type { FieldValue, Nat } from '../openflow/flow.ts';
import { extractFlowKey } from '../packet/flow-key.ts';
import { placeOf, readField, writeField } from './layout.ts';
import { PacketState } from './packet-state.ts';
import { renewIcmpChecksum } from './rewrite.ts';

/** Bits of `ct_state` (`ovs-fields(7)`). */
export const CT_STATE = {
  new: 0x01,
  established: 0x02,
  related: 0x04,
  reply: 0x08,
  invalid: 0x10,
  tracked: 0x20,
  srcNat: 0x40,
  dstNat: 0x80,
} as const;

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

/** What a packet learns from the tracker. */
export interface Tracked {
  readonly state: number;
  readonly mark: number;
  readonly label: bigint;
  /** The connection's original direction, before translation. */
  readonly original?: Tuple;
}

export interface Connection {
  readonly zone: number;
  readonly original: Tuple;
  /** What answers look like: the original turned round and translated. */
  readonly reply: Tuple;
  readonly nat: 'src' | 'dst' | undefined;
  mark: number;
  label: bigint;
  /** An answer was seen: the connection is established. */
  answered: boolean;
  /** Directions that sent FIN (1 original, 2 reply); 3 or a reset: over. */
  finished: number;
}

export interface TrackRequest {
  readonly zone: number;
  readonly commit: boolean;
  readonly force: boolean;
  readonly nat: Nat | undefined;
  readonly mark: { readonly value: number; readonly mask: number };
  readonly label: { readonly value: bigint; readonly mask: bigint };
}

const PROTO = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
const TCP_FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;
/** Protocols with ports, by the names of their fields. */
const TRANSPORT: { readonly [proto: number]: string } = {
  [PROTO.tcp]: 'tcp',
  [PROTO.udp]: 'udp',
  [PROTO.sctp]: 'sctp',
};
const TCP_FLAGS = placeOf('tcp_flags').word;
const IP_PROTO = placeOf('ip_proto').word;
const IP_FRAG = placeOf('ip_frag').word;
const ETH_TYPE = placeOf('eth_type').word;
const TP_SRC = placeOf('tcp_src').word;
const TP_DST = placeOf('tcp_dst').word;
const LATER_FRAGMENT = 2;
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

interface Found {
  readonly connection: Connection;
  readonly isReply: boolean;
}

/** What came of a first fragment: the same comes of the later ones. */
interface FirstFragment {
  readonly tracked: Tracked;
  readonly found: Found | undefined;
}

const INVALID: Tracked = { state: CT_STATE.tracked | CT_STATE.invalid, mark: 0, label: 0n };
/** How many packets of which the first fragment was seen are remembered. */
const MOST_FRAGMENTED = 1000;

/**
 * A connection tracker: states new, established, related, reply and invalid; zones, marks and labels; translation of
 * sources and destinations with address and port ranges, inside ICMP errors too. Connections do not age; those closed by FIN or RST give way
 * to a new SYN. Later fragments belong to the connection of their first, which has to come before them (Open vSwitch holds
 * fragments back until all are there: they come out the same, but none where one is missing). Not modelled: TCP sequence windows and
 * checksums (Open vSwitch calls what is wrong there invalid), helpers (`alg`).
 */
export class Conntrack {
  readonly #byTuple = new Map<string, Found>();
  readonly #firstFragments = new Map<string, FirstFragment>();
  readonly #limits = new Map<number, number>();

  /** Every connection once. */
  *connections(): Iterable<Connection> {
    for (const { connection, isReply } of this.#byTuple.values()) if (!isReply) yield connection;
  }

  /** How many connections a zone may hold. Beyond that packets pass as new ones and none is made: the userspace datapath's way. */
  limit(zone: number, most: number): void {
    this.#limits.set(zone, most);
  }

  #isFull(zone: number): boolean {
    const most = this.#limits.get(zone);
    if (most === undefined) return false;
    let count = 0;
    for (const connection of this.connections()) if (connection.zone === zone) count++;
    return count >= most;
  }

  /** Forgets the connections of a zone, or all. */
  flush(zone?: number): void {
    for (const connection of [...this.connections()])
      if (zone === undefined || connection.zone === zone) this.#remove(connection);
  }

  #remove(connection: Connection): void {
    this.#byTuple.delete(keyOf(connection.zone, connection.original));
    this.#byTuple.delete(keyOf(connection.zone, connection.reply));
  }

  /** Tracks a packet; NAT rewrites it. */
  track(packet: PacketState, request: TrackRequest): Tracked {
    if (packet.translated?.zone !== request.zone) packet.translated = undefined;
    const fragment = packet.key[IP_FRAG]!;
    if (fragment === 0) return this.#whole(packet, request).tracked;
    const key = fragmentKey(packet, request);
    if (fragment & LATER_FRAGMENT) return likeFirst(packet, this.#firstFragments.get(key));
    const first = this.#whole(packet, request);
    this.#firstFragments.set(key, first);
    const [oldest] = this.#firstFragments.keys();
    if (this.#firstFragments.size > MOST_FRAGMENTED) this.#firstFragments.delete(oldest!);
    return first.tracked;
  }

  #whole(packet: PacketState, request: TrackRequest): FirstFragment {
    const flags = packet.key[TCP_FLAGS]!;
    const error = this.#related(packet, request);
    if (error) return error;
    const tuple = tupleOf(packet);
    if (tuple.proto === PROTO.tcp && senselessFlags(flags)) return { tracked: INVALID, found: undefined };
    let found = this.#find(packet, request.zone, tuple);
    const obstructs = found && (reopens(found.connection, flags) || (found.isReply && request.force && request.commit));
    if (found && obstructs) {
      this.#remove(found.connection);
      found = undefined;
    }
    if (found) return { tracked: this.#known(packet, request, found, flags), found };
    return opens(tuple, packet.key[TP_SRC]!, flags)
      ? this.#open(packet, request, tuple)
      : { tracked: INVALID, found: undefined };
  }

  /** A packet that this zone has translated already is known by what its answers look like. */
  #find(packet: PacketState, zone: number, tuple: Tuple): Found | undefined {
    if (!packet.translated) return this.#byTuple.get(keyOf(zone, tuple));
    const answer = this.#byTuple.get(keyOf(zone, turned(tuple)));
    if (answer) return { connection: answer.connection, isReply: !answer.isReply };
    // The connection went away meanwhile: the packet begins anew, as it is.
    packet.translated = undefined;
    return undefined;
  }

  #known(packet: PacketState, request: TrackRequest, { connection, isReply }: Found, flags: number): Tracked {
    if (isReply) connection.answered = true;
    if (flags & TCP_FLAG.rst) connection.finished = 3;
    else if (flags & TCP_FLAG.fin) connection.finished |= isReply ? 2 : 1;
    if (request.commit) setMarks(connection, request);
    // Of TCP only another SYN is new; other protocols are until they are answered.
    const isTcp = connection.original.proto === PROTO.tcp;
    const established = connection.answered || (isTcp && !isSyn(flags));
    const state =
      CT_STATE.tracked |
      (established ? CT_STATE.established : CT_STATE.new) |
      (isReply ? CT_STATE.reply : 0) |
      (request.nat ? translate(packet, connection, isReply) : (packet.translated?.flags ?? 0));
    return { state, mark: connection.mark, label: connection.label, original: connection.original };
  }

  #open(packet: PacketState, request: TrackRequest, original: Tuple): FirstFragment {
    const state = CT_STATE.tracked | CT_STATE.new;
    const uncommitted = { tracked: { state, mark: 0, label: 0n, original }, found: undefined };
    const { nat, zone } = request;
    if (!request.commit || this.#isFull(zone)) return uncommitted;
    const reply = this.#chooseReply(zone, original, nat);
    if (!reply) return uncommitted;
    const connection: Connection = {
      zone,
      original,
      reply,
      nat: nat?.kind,
      mark: 0,
      label: 0n,
      answered: false,
      finished: 0,
    };
    setMarks(connection, request);
    this.#byTuple.set(keyOf(zone, reply), { connection, isReply: true });
    this.#byTuple.set(keyOf(zone, original), { connection, isReply: false });
    const translated = nat ? translate(packet, connection, false) : 0;
    const { mark, label } = connection;
    return { tracked: { state: state | translated, mark, label, original }, found: { connection, isReply: false } };
  }

  /** The reply tuple of a new connection: free, and within the ranges. Undefined when all are taken. */
  #chooseReply(zone: number, original: Tuple, nat: Nat | undefined): Tuple | undefined {
    const plain = turned(original);
    if (!nat?.kind || nat.ipMin === undefined) return plain;
    const last = nat.ipMax ?? nat.ipMin;
    for (let ip = BigInt(nat.ipMin); ip <= BigInt(last); ip++) {
      const address: FieldValue = typeof nat.ipMin === 'bigint' ? ip : Number(ip);
      for (const reply of candidates(original, plain, nat, address))
        if (!this.#byTuple.has(keyOf(zone, reply))) return reply;
    }
    return undefined;
  }

  /** An ICMP error about a known connection. */
  #related(packet: PacketState, request: TrackRequest): FirstFragment | undefined {
    const { key } = packet;
    const proto = key[IP_PROTO]!;
    const isForeign = proto === (key[ETH_TYPE] === 0x86dd ? PROTO.icmp : PROTO.icmpv6);
    if (isForeign || !ICMP_ERRORS[proto]?.includes(key[TP_SRC]!)) return undefined;
    const inner = innerTuple(packet);
    // The error goes against the packet that it quotes, and is known by what that packet's answers look like.
    const found = inner && this.#find(packet, request.zone, turned(inner));
    if (!found) return { tracked: INVALID, found: undefined };
    const { connection, isReply } = found;
    if (request.commit) setMarks(connection, request);
    const state = CT_STATE.tracked | CT_STATE.related | (isReply ? CT_STATE.reply : 0);
    const translated = request.nat ? translate(packet, connection, isReply, true) : (packet.translated?.flags ?? 0);
    const { mark, label, original } = connection;
    return { tracked: { state: state | translated, mark, label, original }, found };
  }
}

/** A later fragment has its first one's addresses translated too. */
function likeFirst(packet: PacketState, first: FirstFragment | undefined): Tracked {
  if (!first) return INVALID;
  const { tracked, found } = first;
  if (found && tracked.state & (CT_STATE.srcNat | CT_STATE.dstNat)) translate(packet, found.connection, found.isReply);
  return tracked;
}

function keyOf(zone: number, t: Tuple): string {
  return `${zone}|${t.proto}|${t.src}|${t.dst}|${t.srcPort}|${t.dstPort}|${t.id}`;
}

function setMarks(connection: Connection, { mark, label }: TrackRequest): void {
  connection.mark = ((connection.mark & ~mark.mask) | (mark.value & mark.mask)) >>> 0;
  connection.label = (connection.label & ~label.mask) | (label.value & label.mask);
}

function isIcmp(proto: number): boolean {
  return proto === PROTO.icmp || proto === PROTO.icmpv6;
}

/**
 * Reply tuples to try. For a destination first its ports; then, as for a source without ports of its own, other source
 * ports of the class (below 512, below 1024, above) that the packet's is in. Other protocols have no ports to choose.
 */
function* candidates(original: Tuple, plain: Tuple, nat: Nat, address: FieldValue): Iterable<Tuple> {
  const base = nat.kind === 'src' ? { ...plain, dst: address } : { ...plain, src: address };
  if (!TRANSPORT[original.proto]) {
    yield base;
    return;
  }
  const { portMin, portMax = portMin } = nat;
  if (portMin !== undefined && nat.kind === 'src') {
    for (const dstPort of portsFrom(original.srcPort, portMin, portMax!)) yield { ...base, dstPort };
    return;
  }
  let target = base;
  if (portMin !== undefined) {
    for (const srcPort of portsFrom(original.dstPort, portMin, portMax!)) yield { ...base, srcPort };
    target = { ...base, srcPort: portMin };
  }
  const own = original.srcPort;
  const [low, high] = own < 512 ? [1, 511] : own < 1024 ? [600, 1023] : [1024, 65535];
  for (const dstPort of portsFrom(own, low, high)) yield { ...target, dstPort };
}

/** All ports of a range, from `first` on where it is in it, and round. */
function* portsFrom(first: number, low: number, high: number): Iterable<number> {
  const start = first >= low && first <= high ? first : low;
  for (let port = start; port <= high; port++) yield port;
  for (let port = low; port < start; port++) yield port;
}

function turned(t: Tuple): Tuple {
  if (isIcmp(t.proto)) return { ...t, src: t.dst, dst: t.src, srcPort: counterpart(t.proto, t.srcPort) };
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

function isSyn(flags: number): boolean {
  return (flags & (TCP_FLAG.syn | TCP_FLAG.ack)) === TCP_FLAG.syn;
}

/** A SYN on a connection that is over begins a new one. */
function reopens(connection: Connection, flags: number): boolean {
  return connection.original.proto === PROTO.tcp && connection.finished === 3 && isSyn(flags);
}

/** Flags that no sender means: SYN with FIN or RST, neither SYN nor ACK nor RST, and FIN, PSH or URG without ACK. */
function senselessFlags(flags: number): boolean {
  const { fin, syn, rst, psh, ack, urg } = TCP_FLAG;
  if (flags & syn ? flags & (rst | fin) : !(flags & (ack | rst))) return true;
  return !(flags & ack) && (flags & (fin | psh | urg)) !== 0;
}

/** Whether a packet of no known connection may begin one; in the middle of a TCP connection it may. */
function opens(tuple: Tuple, icmpType: number, flags: number): boolean {
  if (isIcmp(tuple.proto)) return ICMP_PAIRS[tuple.proto]![icmpType] !== undefined;
  const synAck = TCP_FLAG.syn | TCP_FLAG.ack;
  return tuple.proto !== PROTO.tcp || (flags & synAck) !== synAck;
}

function tupleOf(packet: PacketState): Tuple {
  const { key } = packet;
  const v6 = key[ETH_TYPE] === 0x86dd;
  const proto = key[IP_PROTO]!;
  // Of ICMP over the other version of IP the type counts for what may begin a connection, and is no part of it.
  const isForeign = proto === (v6 ? PROTO.icmp : PROTO.icmpv6);
  return {
    v6,
    proto,
    src: readField(key, placeOf(v6 ? 'ipv6_src' : 'ip_src')),
    dst: readField(key, placeOf(v6 ? 'ipv6_dst' : 'ip_dst')),
    srcPort: isForeign ? 0 : key[TP_SRC]!,
    dstPort: isForeign ? 0 : key[TP_DST]!,
    id: isIcmp(proto) && !isForeign && !(key[IP_FRAG]! & LATER_FRAGMENT) ? icmpId(packet.bytes, key) : 0,
  };
}

/** Identifier of an echo: bytes 4 and 5 of the ICMP header, which ends the headers that were read. */
function icmpId(bytes: Uint8Array, key: Uint32Array): number {
  const at = icmpOffset(bytes, key);
  return at + 6 <= bytes.length ? (bytes[at + 4]! << 8) | bytes[at + 5]! : 0;
}

function networkOffset(bytes: Uint8Array): number {
  let at = 12;
  for (;;) {
    const type = (bytes[at]! << 8) | bytes[at + 1]!;
    if (type !== 0x8100 && type !== 0x88a8) return type < 0x600 ? at + 10 : at + 2;
    at += 4;
  }
}

function icmpOffset(bytes: Uint8Array, key: Uint32Array): number {
  const l3 = networkOffset(bytes);
  return key[ETH_TYPE] === 0x86dd ? extensionsEnd(bytes, l3) : l3 + (bytes[l3]! & 15) * 4;
}

/** The same for all fragments of a packet that meet the same action. */
function fragmentKey(packet: PacketState, { zone, commit, nat }: TrackRequest): string {
  const { src, dst } = tupleOf(packet);
  return `${src}|${dst}|${fragmentId(packet)}|${zone}|${commit}|${nat !== undefined}|${packet.translated?.flags}`;
}

/** What all fragments of a packet have in common. */
function fragmentId({ bytes, key }: PacketState): number {
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
function quotedFrame(quoted: Uint8Array, v6: boolean): Uint8Array | undefined {
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

function quotation({ bytes, key }: PacketState): Uint8Array {
  return bytes.subarray(icmpOffset(bytes, key) + 8);
}

/** The tuple of the packet that an ICMP error quotes. */
function innerTuple(packet: PacketState): Tuple | undefined {
  const v6 = packet.key[ETH_TYPE] === 0x86dd;
  const frame = quotedFrame(quotation(packet), v6);
  if (!frame) return undefined;
  const key = extractFlowKey(frame);
  const l4 = 14 + (v6 ? 40 : (frame[14]! & 15) * 4);
  return {
    v6,
    proto: key.ipProto,
    src: v6 ? key.ipv6Src : key.ipSrc,
    dst: v6 ? key.ipv6Dst : key.ipDst,
    srcPort: key.tpSrc,
    dstPort: key.tpDst,
    id: isIcmp(key.ipProto) ? (frame[l4 + 4]! << 8) | frame[l4 + 5]! : 0,
  };
}

/** Rewrites a packet of a translated connection, unless it was already; the bits of `ct_state` that say so. */
function translate(packet: PacketState, connection: Connection, isReply: boolean, error = false): number {
  const { zone, original, reply, nat } = connection;
  if (packet.translated) return packet.translated.flags;
  if (!nat) return 0;
  const wanted = turnedEnds(isReply ? original : reply);
  const side = (nat === 'src') !== isReply ? 'src' : 'dst';
  setAddress(packet, wanted, side, !error);
  if (error) translateQuotation(packet, isReply ? original : reply, side === 'src' ? 'dst' : 'src');
  const flags = side === 'src' ? CT_STATE.srcNat : CT_STATE.dstNat;
  packet.translated = { zone, flags };
  return flags;
}

/** Makes the quoted packet look as its sender sent it, and works the error's checksum out anew. */
function translateQuotation(packet: PacketState, wanted: Tuple, side: 'src' | 'dst'): void {
  const frame = quotedFrame(quotation(packet), wanted.v6);
  if (!frame) return;
  const inner = PacketState.from({ bytes: frame, inPort: 0 });
  setAddress(inner, wanted, side, true);
  const bytes = packet.writable();
  const quoted = quotation(packet);
  const mended = wanted.v6 ? [4, 5] : [2, 3];
  const offsetOfTcp = (wanted.v6 ? 40 : (quoted[0]! & 15) * 4) + 12;
  if (wanted.proto === PROTO.tcp) mended.push(offsetOfTcp);
  for (let i = 0; i < quoted.length; i++) if (!mended.includes(i)) quoted[i] = inner.bytes[14 + i]!;
  renewIcmpChecksum(bytes, networkOffset(bytes), icmpOffset(bytes, packet.key), wanted.v6);
}

/** Turned round by addresses and ports alone: ICMP types stay. */
function turnedEnds(t: Tuple): Tuple {
  return { ...t, src: t.dst, dst: t.src, srcPort: t.dstPort, dstPort: t.srcPort };
}

function setAddress(packet: PacketState, wanted: Tuple, side: 'src' | 'dst', ports: boolean): void {
  set(packet, `${wanted.v6 ? 'ipv6' : 'ip'}_${side}` as FieldName, wanted[side]);
  const transport = TRANSPORT[wanted.proto];
  if (!ports || !transport || packet.key[IP_FRAG]! & LATER_FRAGMENT) return;
  // Whichever address is translated, either port may have been chosen anew.
  set(packet, `${transport}_src` as FieldName, wanted.srcPort);
  set(packet, `${transport}_dst` as FieldName, wanted.dstPort);
}

function set(packet: PacketState, name: FieldName, value: FieldValue): void {
  const place = placeOf(name);
  if (readField(packet.key, place) === value) return;
  writeField(packet.key, place, value);
  packet.headerChanged(name);
}
