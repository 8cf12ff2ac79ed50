import { checksum } from '../packet/checksum.ts';
import { decodePacket, encodePacket, type Layer4, type Packet } from '../packet/packet.ts';
import { withSctpChecksum } from '../packet/sctp.ts';
import { TCP_FLAG } from '../packet/tcp.ts';

/** What workloads say after a first frame: random conversations are made of these. All take and give whole frames. */

const { syn: SYN, ack: ACK, fin: FIN } = TCP_FLAG;

/** The frame that the receiver of a frame answers with: all ends turned round; undefined where there is nothing to answer to. */
export function replyTo(bytes: Uint8Array): Uint8Array | undefined {
  const packet = decode(bytes);
  if (!packet?.l3 || packet.l3.kind === 'arp') return undefined;
  const { ethernet, l3, l4, vlans, payload } = packet;
  const turned = { vlans, ethernet: { ...ethernet, src: ethernet.dst, dst: ethernet.src } };
  const ip = turnedIp(l3);
  if (!l4) return isSctp(l3) ? encodePacket({ ...turned, l3: ip, payload: sctpReply(payload) }).slice() : undefined;
  const answer = answerTo(l4);
  return answer && encodePacket({ ...turned, l3: ip, l4: answer, payload: payload.subarray(0, 64) }).slice();
}

/** A datagram of the receiver's that answers from a port of its own, as TFTP does; undefined of other protocols. */
export function asideTo(bytes: Uint8Array): Uint8Array | undefined {
  const packet = decode(bytes);
  if (!packet?.l3 || packet.l3.kind === 'arp' || packet.l4?.kind !== 'udp') return undefined;
  const { ethernet, l3, l4, vlans } = packet;
  const turned = { vlans, ethernet: { ...ethernet, src: ethernet.dst, dst: ethernet.src } };
  const answer = { ...l4, srcPort: 5000, dstPort: l4.srcPort };
  return encodePacket({ ...turned, l3: turnedIp(l3), l4: answer, payload: new Uint8Array(4) }).slice();
}

function turnedIp<T extends Exclude<Packet['l3'], undefined | { kind: 'arp' }>>(l3: T): T {
  const fresh = l3.kind === 'ipv4' ? { ttl: 64 } : { hopLimit: 64 };
  return { ...l3, ...fresh, src: l3.dst, dst: l3.src };
}

function isSctp(l3: Exclude<Packet['l3'], undefined | { kind: 'arp' }>): boolean {
  return (l3.kind === 'ipv4' ? l3.protocol : l3.nextHeader) === 132;
}

function answerTo(l4: Layer4): Layer4 | undefined {
  switch (l4.kind) {
    case 'udp':
      return { ...l4, srcPort: l4.dstPort, dstPort: l4.srcPort };
    case 'tcp': {
      const flags = l4.flags & SYN && !(l4.flags & ACK) ? SYN | ACK : ACK;
      const numbers = { sequence: l4.acknowledgement || 5000, acknowledgement: l4.sequence + 1 };
      return { ...l4, ...numbers, flags, srcPort: l4.dstPort, dstPort: l4.srcPort };
    }
    case 'icmp':
      return l4.type === 8 ? { ...l4, type: 0 } : undefined;
    case 'icmpv6':
      return l4.type === 128 ? { ...l4, type: 129 } : undefined;
    case 'nd':
      return undefined;
  }
}

/** Ports turned round; the chunk as it was. */
function sctpReply(payload: Uint8Array): Uint8Array {
  const turned = payload.slice();
  turned.set(payload.subarray(2, 4), 0);
  turned.set(payload.subarray(0, 2), 2);
  return withSctpChecksum(turned);
}

/** The next frame of the same sender: of TCP one with data and no SYN, and behind that its end; all others say the same again. */
export function furtherOf(bytes: Uint8Array): Uint8Array {
  const packet = decode(bytes);
  if (packet?.l4?.kind !== 'tcp') return bytes;
  const numbers = { sequence: packet.l4.sequence + 1, acknowledgement: packet.l4.acknowledgement || 5001 };
  const flags = packet.l4.flags & SYN ? ACK : FIN | ACK;
  return encodePacket({ ...packet, l4: { ...packet.l4, ...numbers, flags } }).slice();
}

/** As much as fits into 576 bytes (RFC 1812 §4.3.2.3). With the eight bytes of TCP that RFC 792 asks for, Open vSwitch writes behind the packet: decisions.md. */
const QUOTED_4 = 548;

/** An ICMP error of the receiver's about the frame: port unreachable, with what RFC 1812 and 4443 quote. */
export function errorAbout(bytes: Uint8Array): Uint8Array | undefined {
  const packet = decode(bytes);
  if (!packet?.l3 || packet.l3.kind === 'arp') return undefined;
  const { ethernet, l3, vlans } = packet;
  const start = 14 + 4 * vlans.length;
  const quoted = bytes.slice(start, start + (l3.kind === 'ipv4' ? QUOTED_4 : 48 + 64));
  const turned = { vlans, ethernet: { ...ethernet, src: ethernet.dst, dst: ethernet.src } };
  if (l3.kind === 'ipv4') {
    const ip = { ...turnedIp(l3), protocol: 1, dontFragment: false, options: new Uint8Array(0) };
    return encodePacket({
      ...turned,
      l3: ip,
      l4: { kind: 'icmp', type: 3, code: 3, rest: 0 },
      payload: quoted,
    }).slice();
  }
  const ip = { ...turnedIp(l3), nextHeader: 58, extensions: [] };
  return encodePacket({
    ...turned,
    l3: ip,
    l4: { kind: 'icmpv6', type: 1, code: 4, rest: 0 },
    payload: quoted,
  }).slice();
}

const ETHERNET = 14;
/** Of the first fragment's payload: shorter ones Open vSwitch's userspace datapath takes for an attack (it wants 1,200 and 1,280). */
const FIRST_PART = 1256;

/** The packet cut in two, as a sender with a small MTU does (RFC 791 §3.2, RFC 8200 §4.5); itself where it is too short. */
export function fragmentsOf(bytes: Uint8Array): readonly Uint8Array[] {
  const packet = decode(bytes);
  if (!packet?.l3 || packet.l3.kind === 'arp') return [bytes];
  const l3 = ETHERNET + 4 * packet.vlans.length;
  if (packet.l3.kind === 'ipv4') return fragments4(bytes, l3);
  if (packet.l3.extensions.length > 0 || bytes.length - l3 - 40 <= FIRST_PART) return [bytes];
  const part = (offset: number, data: Uint8Array, more: boolean): Uint8Array => {
    const out = new Uint8Array(l3 + 48 + data.length);
    out.set(bytes.subarray(0, l3 + 40));
    const view = new DataView(out.buffer);
    view.setUint16(l3 + 4, 8 + data.length);
    out[l3 + 40] = bytes[l3 + 6]!;
    out[l3 + 6] = 44;
    view.setUint16(l3 + 42, offset | (more ? 1 : 0));
    view.setUint32(l3 + 44, 77);
    out.set(data, l3 + 48);
    return out;
  };
  const data = bytes.subarray(l3 + 40);
  return [part(0, data.subarray(0, FIRST_PART), true), part(FIRST_PART, data.subarray(FIRST_PART), false)];
}

function fragments4(bytes: Uint8Array, l3: number): readonly Uint8Array[] {
  const header = (bytes[l3]! & 15) * 4;
  const data = bytes.subarray(l3 + header);
  if (data.length <= FIRST_PART) return [bytes];
  const part = (offset: number, piece: Uint8Array, more: boolean): Uint8Array => {
    const out = new Uint8Array(l3 + header + piece.length);
    out.set(bytes.subarray(0, l3 + header));
    const view = new DataView(out.buffer);
    view.setUint16(l3 + 2, header + piece.length);
    view.setUint16(l3 + 6, (offset >> 3) | (more ? 0x2000 : 0));
    view.setUint16(l3 + 10, 0);
    view.setUint16(l3 + 10, checksum(out.subarray(l3, l3 + header)));
    out.set(piece, l3 + header);
    return out;
  };
  return [part(0, data.subarray(0, FIRST_PART), true), part(FIRST_PART, data.subarray(FIRST_PART), false)];
}

function decode(bytes: Uint8Array): Packet | undefined {
  try {
    return decodePacket(bytes);
  } catch {
    return undefined;
  }
}
