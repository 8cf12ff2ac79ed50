/*
 * src/packet: bytes of the wire to values and back, one protocol a file.
 *
 * This folder owns the layouts, lengths and checksums of what workloads and underlay send: Ethernet, ARP, IPv4, IPv6,
 * ICMP, neighbour discovery, TCP, UDP, DHCP, LLDP; and `flow-key.ts`, what Open vSwitch sees in a frame. It does not own
 * what to answer, nor OpenFlow. One grammar for all: `decodeX(bytes or reader)` throws `DecodeError` and nothing else on
 * whatever bytes; `encodeX(value, writer?)` fills in lengths and checksums, and returns the bytes that it wrote. What
 * we do not know (options, codes, protocols) survives a round trip; reserved bits and padding that a specification
 * wants zero are sent as zero. Byte arrays in decoded values are views of the input, not copies.
 *
 * This file opens a whole frame:
 *
 *      ethernet  vlans*  l3: arp | ipv4 | ipv6   l4: icmp | icmpv6 | nd | tcp | udp   payload  trailer
 */
import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { type Arp, decodeArp, encodeArp, isForeignArp } from './arp.ts';
import { type PseudoHeader, pseudoHeader4, pseudoHeader6 } from './checksum.ts';
import {
  decodeEthernet,
  ETHER_TYPE,
  type EthernetHeader,
  type EthernetStart,
  encodeEthernet,
  type VlanTag,
} from './ethernet.ts';
import { decodeIcmp, encodeIcmp, type IcmpHeader } from './icmp.ts';
import { decodeIcmpv6, encodeIcmpv6, type Icmpv6Header } from './icmpv6.ts';
import { type Input, NO_BYTES, readerOf } from './input.ts';
import { IP_PROTO } from './ip-protocol.ts';
import { decodeIpv4, encodeIpv4, type Ipv4Header, isFragment } from './ipv4.ts';
import { decodeIpv6, encodeIpv6, finalDestination, fragmentOf, type Ipv6Header } from './ipv6.ts';
import { decodeNd, encodeNd, isNd, type NdMessage } from './nd.ts';
import { decodeTcp, encodeTcp, type TcpHeader } from './tcp.ts';
import { decodeUdp, encodeUdp, type UdpHeader } from './udp.ts';

/** ARP is also what RARP frames (EtherType 0x8035) carry. */
export type Layer3 =
  | ({ readonly kind: 'arp' } & Arp)
  | ({ readonly kind: 'ipv4' } & Ipv4Header)
  | ({ readonly kind: 'ipv6' } & Ipv6Header);

export type Layer4 =
  | ({ readonly kind: 'icmp' } & IcmpHeader)
  | ({ readonly kind: 'icmpv6' } & Icmpv6Header)
  | { readonly kind: 'nd'; readonly message: NdMessage }
  | ({ readonly kind: 'tcp' } & TcpHeader)
  | ({ readonly kind: 'udp' } & UdpHeader);

export interface Packet {
  readonly ethernet: EthernetHeader;
  /** Outermost first. */
  readonly vlans: readonly VlanTag[];
  /** Absent for EtherTypes that are none of these: all is payload then. */
  readonly l3?: Layer3;
  /** Absent for fragments and for protocols that are none of these. */
  readonly l4?: Layer4;
  /** What follows the last layer that is there. */
  readonly payload: Uint8Array;
  /** Bytes of the frame beyond the end of the network packet, such as the padding to 60 bytes. */
  readonly trailer?: Uint8Array;
}

export interface DecodeOptions {
  /** Off by default: a guest with checksum offload leaves the sum to a card that its frames never meet. */
  readonly verifyChecksums?: boolean;
}

/**
 * Opens a frame as far as it is understood. UDP payload ends with UDP's length.
 * Error: `DecodeError`, whatever the bytes, when a layer that is understood is malformed.
 */
export function decodePacket(input: Input, options: DecodeOptions = {}): Packet {
  const reader = readerOf(input);
  const verify = options.verifyChecksums ?? false;
  const start = decodeEthernet(reader);
  switch (start.ethernet.etherType) {
    case ETHER_TYPE.arp:
    case ETHER_TYPE.rarp: {
      if (isForeignArp(reader.bytes.subarray(reader.offset))) break;
      const l3: Layer3 = { kind: 'arp', ...decodeArp(reader) };
      return withTrailer({ ...start, l3, payload: NO_BYTES }, reader);
    }
    case ETHER_TYPE.ipv4:
      return decodeFrame4(start, reader, verify);
    case ETHER_TYPE.ipv6:
      return decodeFrame6(start, reader, verify);
  }
  return { ...start, payload: reader.rest() };
}

function withTrailer(packet: Packet, reader: ByteReader): Packet {
  return reader.remaining > 0 ? { ...packet, trailer: reader.rest() } : packet;
}

function decodeFrame4(start: EthernetStart, reader: ByteReader, verify: boolean): Packet {
  const { header, body } = decodeIpv4(reader, verify);
  const l3 = { kind: 'ipv4', ...header } as const;
  if (isFragment(header)) return withTrailer({ ...start, l3, payload: body.rest() }, reader);
  const pseudo = verify ? pseudoOf(l3) : undefined;
  const upper =
    header.protocol === IP_PROTO.icmp ? icmpLayer(body, verify) : decodePortLayer(header.protocol, body, pseudo);
  return withTrailer({ ...start, l3, ...(upper ?? { payload: body.rest() }) }, reader);
}

function decodeFrame6(start: EthernetStart, reader: ByteReader, verify: boolean): Packet {
  const { header, body } = decodeIpv6(reader);
  const l3 = { kind: 'ipv6', ...header } as const;
  if (fragmentOf(header)) return withTrailer({ ...start, l3, payload: body.rest() }, reader);
  const pseudo = verify ? pseudoOf(l3) : undefined;
  const upper =
    header.nextHeader === IP_PROTO.icmpv6
      ? icmpv6Layer(body, pseudo)
      : decodePortLayer(header.nextHeader, body, pseudo);
  return withTrailer({ ...start, l3, ...(upper ?? { payload: body.rest() }) }, reader);
}

/** What upper layers count into their checksums. */
export function pseudoOf(l3: Exclude<Layer3, { readonly kind: 'arp' }>): PseudoHeader {
  if (l3.kind === 'ipv4') return (length) => pseudoHeader4(l3.src, l3.dst, l3.protocol, length);
  const dst = finalDestination(l3);
  return (length) => pseudoHeader6(l3.src, dst, l3.nextHeader, length);
}

/** The last layer and what it carries. */
interface Upper {
  readonly l4: Layer4;
  readonly payload: Uint8Array;
}

function icmpLayer(reader: ByteReader, verify: boolean): Upper {
  const { header, body } = decodeIcmp(reader, verify);
  return { l4: { kind: 'icmp', ...header }, payload: body.rest() };
}

function icmpv6Layer(reader: ByteReader, pseudo: PseudoHeader | undefined): Upper {
  if (reader.length >= 2 && isNd(reader.bytes[0]!, reader.bytes[1]!))
    return { l4: { kind: 'nd', message: decodeNd(reader, pseudo) }, payload: NO_BYTES };
  const { header, body } = decodeIcmpv6(reader, pseudo);
  return { l4: { kind: 'icmpv6', ...header }, payload: body.rest() };
}

function decodePortLayer(protocol: number, reader: ByteReader, pseudo: PseudoHeader | undefined): Upper | undefined {
  if (protocol === IP_PROTO.tcp) {
    const { header, body } = decodeTcp(reader, pseudo);
    return { l4: { kind: 'tcp', ...header }, payload: body.rest() };
  }
  if (protocol === IP_PROTO.udp) {
    const { header, body } = decodeUdp(reader, pseudo);
    return { l4: { kind: 'udp', ...header }, payload: body.rest() };
  }
  return undefined;
}

/**
 * The frame with all lengths and checksums. Types and protocols are written as the headers say, so they have to agree
 * with the layers; no padding is added (Ethernet's minimum is the sending interface's to fill).
 * Error: `RangeError` for a packet that is longer than its headers can say.
 */
export function encodePacket(packet: Packet, writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  encodeEthernet(packet, writer);
  const { l3 } = packet;
  switch (l3?.kind) {
    case 'arp':
      encodeArp(l3, writer);
      writer.raw(packet.payload);
      break;
    case 'ipv4':
    case 'ipv6': {
      const upper = encodeUpper(packet, pseudoOf(l3));
      if (l3.kind === 'ipv4') encodeIpv4(l3, upper.length, writer);
      else encodeIpv6(l3, upper.length, writer);
      writer.raw(upper);
      break;
    }
    case undefined:
      writer.raw(packet.payload);
      break;
  }
  if (packet.trailer) writer.raw(packet.trailer);
  return writer.view(from);
}

function encodeUpper(packet: Packet, pseudo: PseudoHeader): Uint8Array {
  const { l4, payload } = packet;
  switch (l4?.kind) {
    case 'icmp':
      return encodeIcmp(l4, payload);
    case 'icmpv6':
      return encodeIcmpv6(l4, payload, pseudo);
    case 'nd':
      return encodeNd(l4.message, pseudo);
    case 'tcp':
      return encodeTcp(l4, payload, pseudo);
    case 'udp':
      return encodeUdp(l4, payload, pseudo);
    case undefined:
      return payload;
  }
}
