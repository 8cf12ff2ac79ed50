import { type Ip, type Mac, parseIp } from '../../base/addresses.ts';
import type { Action, Nat } from '../../openflow/flow.ts';
import { ETHER_TYPE } from '../../packet/ethernet.ts';
import { echoRest, ICMP_TYPE } from '../../packet/icmp.ts';
import { ICMPV6_TYPE } from '../../packet/icmpv6.ts';
import { NO_BYTES } from '../../packet/input.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { ipv4Header } from '../../packet/ipv4.ts';
import { ipv6Header } from '../../packet/ipv6.ts';
import { encodePacket, type Layer3, type Layer4 } from '../../packet/packet.ts';
import { TCP_FLAG } from '../../packet/tcp.ts';
import type { Tracked, Tuple } from './dump.ts';

/**
 * Connection tracking can be read and not written, but packets write it. An entry is made again by what would have made it: one packet of its
 * original direction that commits it in its zone, with its mark and its translation; one of the reply direction, and the original one
 * once more where it was answered (docs/design/flow-database.md, §5). They go nowhere: the entry is all that is left of them.
 *
 *     tcp,orig=(10.0.1.12#52960 → 203.0.113.101#80),reply=(203.0.113.101#80 → 203.0.113.2#1386),zone=8,state=ESTABLISHED
 *
 *     10.0.1.12#52960 → 203.0.113.101#80  ack    ct(commit,zone=8,nat(src=203.0.113.2:1386))
 *     203.0.113.101#80 → 203.0.113.2#1386 ack    ct(zone=8,nat)
 *     10.0.1.12#52960 → 203.0.113.101#80  ack    ct(zone=8,nat)
 *
 * Sequence numbers are not known to us, so conntrack must not ask for them (conntrack-link.ts; the kernel's does not of connections that it
 * first sees in the middle). An entry that is there already stays what it is.
 */

/** A packet that is run through actions and then forgotten. */
export interface TrackingPacket {
  readonly frame: Uint8Array;
  readonly actions: readonly Action[];
}

/** As much of an entry as it takes to make it again. */
export type Recreatable = Pick<
  Tracked,
  'protocol' | 'original' | 'reply' | 'state' | 'mark' | 'isUnanswered' | 'isOver'
>;

/** With the zone that it is to be in. */
export interface EntryInZone {
  readonly entry: Recreatable;
  readonly zone: number;
}

/** TCP that nobody has answered. */
const UNANSWERED: ReadonlySet<string> = new Set(['syn-sent', 'syn-sent2', 'none']);

/** The packets that make the entry in this zone; none for what is over, and for protocols that cannot be. */
export function recreation(entry: Recreatable, zone: number): TrackingPacket[] {
  const { protocol, original, reply, state, mark, isUnanswered, isOver } = entry;
  if (isOver) return [];
  const isSyn = state !== undefined && (UNANSWERED.has(state) || state === 'syn-recv');
  const first = packetOf(protocol, original, isSyn ? TCP_FLAG.syn : TCP_FLAG.ack, false);
  const back = packetOf(protocol, reply, isSyn ? TCP_FLAG.syn | TCP_FLAG.ack : TCP_FLAG.ack, true);
  const nat = natOf(original, reply);
  if (!first || !back || nat === 'other') return [];
  const exec: Action[] = mark ? [{ kind: 'setField', field: 'ct_mark', value: mark }] : [];
  const begin: Action = {
    kind: 'ct',
    commit: true,
    zone,
    ...(nat === undefined ? {} : { nat }),
    ...(exec.length === 0 ? {} : { exec }),
  };
  const goOn: Action = { kind: 'ct', zone, ...(nat === undefined ? {} : { nat: {} }) };
  const packets = [{ frame: first, actions: [begin] }];
  if (isUnanswered || (state !== undefined && UNANSWERED.has(state))) return packets;
  packets.push({ frame: back, actions: [goOn] });
  if (protocol === 'tcp' && !isSyn) packets.push({ frame: first, actions: [goOn] });
  return packets;
}

/** The packet that ends the entry, of TCP, where it was recreated and is gone at its origin; others end by themselves. */
export function ending({ protocol, original, reply }: Recreatable, zone: number): TrackingPacket[] {
  const frame = protocol === 'tcp' ? packetOf(protocol, original, TCP_FLAG.rst | TCP_FLAG.ack, false) : undefined;
  if (!frame) return [];
  const isTranslated = natOf(original, reply) !== undefined;
  return [{ frame, actions: [{ kind: 'ct', zone, ...(isTranslated ? { nat: {} } : {}) }] }];
}

/** Which end of the entry is translated, and to what; `other`: none that is made here. Entries may come from another host, with any text in them. */
function natOf({ from, to }: Tuple, reply: Tuple): Nat | 'other' | undefined {
  const src = differs(reply.to, from) ? ({ kind: 'src', end: reply.to } as const) : undefined;
  const dst = differs(reply.from, to) ? ({ kind: 'dst', end: reply.from } as const) : undefined;
  if (src && dst) return 'other';
  const translated = src ?? dst;
  if (!translated) return undefined;
  const { address, port } = translated.end;
  const ip = parseIp(address);
  if (!ip) return 'other';
  return { kind: translated.kind, ipMin: ip.value, ...(port === undefined ? {} : { portMin: port }) };
}

function differs(a: Tuple['from'], b: Tuple['from']): boolean {
  return a.address !== b.address || a.port !== b.port;
}

const ETHERNET = { dst: 0x0a57_0000_0001 as Mac, src: 0x0a57_0000_0002 as Mac };
/** ECHO request and reply, by IP version (RFC 792, RFC 4443 §4). */
const ECHO = {
  4: [ICMP_TYPE.echoRequest, ICMP_TYPE.echoReply],
  6: [ICMPV6_TYPE.echoRequest, ICMPV6_TYPE.echoReply],
} as const;

/** Undefined for what is no TCP, UDP or echo. */
function packetOf(protocol: string, tuple: Tuple, flags: number, isReply: boolean): Uint8Array | undefined {
  const [src, dst] = [parseIp(tuple.from.address), parseIp(tuple.to.address)];
  const l4 = src && upperOf(protocol, tuple, flags, isReply, src.version);
  const l3 = src && dst && l4 && networkOf(src, dst, protocol);
  if (!l3) return undefined;
  const etherType = l3.kind === 'ipv4' ? ETHER_TYPE.ipv4 : ETHER_TYPE.ipv6;
  return encodePacket({ ethernet: { ...ETHERNET, etherType }, vlans: [], l3, l4, payload: NO_BYTES });
}

const NUMBERS: Readonly<Record<string, number>> = {
  tcp: IP_PROTO.tcp,
  udp: IP_PROTO.udp,
  icmp: IP_PROTO.icmp,
  icmpv6: IP_PROTO.icmpv6,
};

function networkOf(src: Ip, dst: Ip, protocol: string): Layer3 | undefined {
  const number = NUMBERS[protocol]!;
  if (src.version === 4 && dst.version === 4)
    return { kind: 'ipv4', ...ipv4Header({ src: src.value, dst: dst.value, protocol: number }) };
  if (src.version === 6 && dst.version === 6)
    return { kind: 'ipv6', ...ipv6Header({ src: src.value, dst: dst.value, nextHeader: number }) };
  return undefined;
}

function upperOf(
  protocol: string,
  { from, to, icmpId, icmpType }: Tuple,
  flags: number,
  isReply: boolean,
  version: 4 | 6,
): Layer4 | undefined {
  if (protocol === 'icmp' || protocol === 'icmpv6') {
    const type = ECHO[version][isReply ? 1 : 0];
    if (icmpId === undefined || icmpType !== type) return undefined;
    return { kind: protocol, type, code: 0, rest: echoRest(icmpId, 0) };
  }
  if (from.port === undefined || to.port === undefined) return undefined;
  const ports = { srcPort: from.port, dstPort: to.port };
  if (protocol === 'udp') return { kind: 'udp', ...ports, noChecksum: false };
  if (protocol !== 'tcp') return undefined;
  const numbers = { sequence: 1, acknowledgement: flags === TCP_FLAG.syn ? 0 : 1, window: 0xffff, urgent: 0 };
  return { kind: 'tcp', ...ports, ...numbers, flags, options: NO_BYTES };
}
