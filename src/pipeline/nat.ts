import type { FieldName } from '../openflow/fields.ts';
import type { FieldValue, Nat } from '../openflow/flow.ts';
import { placeOf, readField, writeField } from './layout.ts';
import { PacketState } from './packet-state.ts';
import { renewIcmpChecksum } from './rewrite.ts';
import {
  icmpOffset,
  LATER_FRAGMENT,
  networkOffset,
  PROTO,
  quotation,
  quotedFrame,
  TRANSPORT,
  type Tuple,
  turned,
} from './tuple.ts';

const IP_FRAG = placeOf('ip_frag').word;

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

/** Reply tuples that a new connection may have, best first. */
export function replies(original: Tuple, nat: Nat): Iterable<Tuple> {
  return nat.kind && nat.ipMin !== undefined ? addressed(original, nat, nat.ipMin) : [turned(original)];
}

function* addressed(original: Tuple, nat: Nat, first: FieldValue): Iterable<Tuple> {
  const plain = turned(original);
  for (let ip = BigInt(first); ip <= BigInt(nat.ipMax ?? first); ip++)
    yield* candidates(original, plain, nat, typeof first === 'bigint' ? ip : Number(ip));
}

/** A connection that is translated: which of its originator's ends it is. */
interface Translation {
  readonly original: Tuple;
  readonly reply: Tuple;
  readonly nat: 'src' | 'dst';
}

/** Rewrites a packet of a translated connection, or an error about it; which of the packet's ends that was. */
export function translate(
  packet: PacketState,
  connection: Translation,
  isReply: boolean,
  isError: boolean,
): 'src' | 'dst' {
  const { original, reply, nat } = connection;
  const wanted = turnedEnds(isReply ? original : reply);
  const side = (nat === 'src') !== isReply ? 'src' : 'dst';
  setAddress(packet, wanted, side, !isError);
  if (isError) translateQuotation(packet, isReply ? original : reply, side === 'src' ? 'dst' : 'src');
  return side;
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

/** Where a later fragment goes, its first one's ends say. */
export function copyEnds(packet: PacketState, v6: boolean, ends: Pick<Tuple, 'src' | 'dst'>): void {
  for (const side of ['src', 'dst'] as const) set(packet, `${v6 ? 'ipv6' : 'ip'}_${side}`, ends[side]);
}

function set(packet: PacketState, name: FieldName, value: FieldValue): void {
  const place = placeOf(name);
  if (readField(packet.key, place) === value) return;
  writeField(packet.key, place, value);
  packet.headerChanged(name);
}
