import type { Ipv4, Ipv6, Mac } from '../base/addresses.ts';
import { ETHER_TYPE, ETHER_TYPE_MIN, isVlanType } from './ethernet.ts';
import { ICMPV6_TYPE } from './icmpv6.ts';
import { IP_PROTO } from './ip-protocol.ts';

/*
 * What Open vSwitch sees in a frame. Unlike the decoders this never fails: as in Open vSwitch's `flow_extract`, a header
 * that is truncated or contradicts itself ends the reading, and the fields from there on are zero, so that flows match
 * such a frame here exactly as there. Checksums and version numbers are not looked at.
 */

/** Bits of `ipFrag`: set for any fragment; set for all but the first. */
export const IP_FRAG = { any: 1, later: 2 } as const;

/** `ethType` of an 802.3 frame without SNAP header. */
export const ETH_TYPE_NONE = 0x05ff;

/** Bit of a TCI that Open vSwitch sets to say that the tag is there (802.1Q's DEI, which it does not keep). */
export const VLAN_PRESENT = 0x1000;

export interface FlowTag {
  readonly tpid: number;
  /** With `VLAN_PRESENT`. */
  readonly tci: number;
}

/** Zero where the frame does not have the field. */
export interface FlowKey {
  ethSrc: Mac;
  ethDst: Mac;
  /** After the tags that were read. */
  ethType: number;
  /** Outermost first, no more than the limit. */
  vlans: readonly FlowTag[];
  /** Whole label stack entries (label, class, bottom, TTL), top first, at most three. */
  mpls: readonly number[];
  ipSrc: Ipv4;
  ipDst: Ipv4;
  ipv6Src: Ipv6;
  ipv6Dst: Ipv6;
  ipv6Label: number;
  /** After extension headers; 44 for a later IPv6 fragment. */
  ipProto: number;
  /** DSCP and ECN. */
  ipTos: number;
  ipTtl: number;
  /** Of `IP_FRAG`. */
  ipFrag: number;
  /** Ports of TCP, UDP and SCTP; type and code of ICMP, ICMPv6 and IGMP. */
  tpSrc: number;
  tpDst: number;
  /** Twelve bits. */
  tcpFlags: number;
  /** Zero for operations past 255. */
  arpOp: number;
  arpSpa: Ipv4;
  arpTpa: Ipv4;
  arpSha: Mac;
  arpTha: Mac;
  /** Of neighbour solicitations and advertisements. */
  ndTarget: Ipv6;
  ndSll: Mac;
  ndTll: Mac;
  /** The 32 bits with the flags of an advertisement. */
  ndReserved: number;
  /** 1 or 2: the first link-layer option. */
  ndOptionsType: number;
}

/** `other_config:vlan-limit` of Open vSwitch when it is not set. */
export const VLAN_LIMIT_DEFAULT = 1;

const ETHERNET_LENGTH = 14;
const MPLS_LABELS_MAX = 3;
const ARP_LENGTH = 28;
const LLA_OPTION_LENGTH = 8;

export function emptyFlowKey(): FlowKey {
  return {
    ethSrc: 0 as Mac,
    ethDst: 0 as Mac,
    ethType: 0,
    vlans: [],
    mpls: [],
    ipSrc: 0 as Ipv4,
    ipDst: 0 as Ipv4,
    ipv6Src: 0n as Ipv6,
    ipv6Dst: 0n as Ipv6,
    ipv6Label: 0,
    ipProto: 0,
    ipTos: 0,
    ipTtl: 0,
    ipFrag: 0,
    tpSrc: 0,
    tpDst: 0,
    tcpFlags: 0,
    arpOp: 0,
    arpSpa: 0 as Ipv4,
    arpTpa: 0 as Ipv4,
    arpSha: 0 as Mac,
    arpTha: 0 as Mac,
    ndTarget: 0n as Ipv6,
    ndSll: 0 as Mac,
    ndTll: 0 as Mac,
    ndReserved: 0,
    ndOptionsType: 0,
  };
}

/** `vlanLimit`: how many tags are read (0 to 2); the others stay behind `ethType` 0x8100 or 0x88a8. Never throws. */
export function extractFlowKey(frame: Uint8Array, vlanLimit = VLAN_LIMIT_DEFAULT): Readonly<FlowKey> {
  const key = emptyFlowKey();
  if (frame.length < ETHERNET_LENGTH) return key;
  const cursor = new Cursor(frame);
  key.ethDst = cursor.mac(0);
  key.ethSrc = cursor.mac(6);
  cursor.pull(12);
  key.vlans = readTags(cursor, vlanLimit);
  key.ethType = readEtherType(cursor);
  switch (key.ethType) {
    case ETHER_TYPE.mpls:
    case ETHER_TYPE.mplsMulticast:
      key.mpls = readMpls(cursor);
      break;
    case ETHER_TYPE.ipv4:
      if (readIpv4(key, cursor)) readTransport(key, cursor);
      break;
    case ETHER_TYPE.ipv6:
      if (readIpv6(key, cursor)) readTransport(key, cursor);
      break;
    case ETHER_TYPE.arp:
    case ETHER_TYPE.rarp:
      readArp(key, cursor);
      break;
  }
  return key;
}

/** Where the reading is, and how much is left. Callers look at `size` before they read. */
class Cursor {
  readonly #view: DataView;
  #at = 0;
  size: number;

  constructor(frame: Uint8Array) {
    this.#view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    this.size = frame.length;
  }

  /** Moves on if there is that much. */
  pull(n: number): boolean {
    if (n > this.size) return false;
    this.#at += n;
    this.size -= n;
    return true;
  }
  u8(offset: number): number {
    return this.#view.getUint8(this.#at + offset);
  }
  u16(offset: number): number {
    return this.#view.getUint16(this.#at + offset);
  }
  u32(offset: number): number {
    return this.#view.getUint32(this.#at + offset);
  }
  ipv4(offset: number): Ipv4 {
    return this.u32(offset) as Ipv4;
  }
  mac(offset: number): Mac {
    return (this.u16(offset) * 0x1_0000_0000 + this.u32(offset + 2)) as Mac;
  }
  ipv6(offset: number): Ipv6 {
    const at = this.#at + offset;
    return ((this.#view.getBigUint64(at) << 64n) | this.#view.getBigUint64(at + 8)) as Ipv6;
  }
}

/** A tag counts only when the type behind it is there too. */
function readTags(cursor: Cursor, limit: number): FlowTag[] {
  const tags: FlowTag[] = [];
  while (tags.length < limit && cursor.size >= 6 && isVlanType(cursor.u16(0))) {
    tags.push({ tpid: cursor.u16(0), tci: cursor.u16(2) | VLAN_PRESENT });
    cursor.pull(4);
  }
  return tags;
}

/** An 802.3 frame has its type in a SNAP header with the organization 0, or none. */
function readEtherType(cursor: Cursor): number {
  const type = cursor.u16(0);
  cursor.pull(2);
  if (type >= ETHER_TYPE_MIN) return type;
  if (cursor.size < 8 || cursor.u32(0) !== 0xaaaa_0300 || cursor.u16(4) !== 0) return ETH_TYPE_NONE;
  const snapType = cursor.u16(6);
  cursor.pull(8);
  return snapType >= ETHER_TYPE_MIN ? snapType : ETH_TYPE_NONE;
}

function readMpls(cursor: Cursor): number[] {
  const entries: number[] = [];
  while (entries.length < MPLS_LABELS_MAX && cursor.size >= 4) {
    const entry = cursor.u32(0);
    entries.push(entry);
    cursor.pull(4);
    if (entry & 0x100) break;
  }
  return entries;
}

function readIpv4(key: FlowKey, cursor: Cursor): boolean {
  if (cursor.size < 20) return false;
  const headerLength = (cursor.u8(0) & 15) * 4;
  const totalLength = cursor.u16(2);
  if (headerLength < 20 || cursor.size < headerLength) return false;
  if (totalLength > cursor.size || headerLength > totalLength || cursor.size - totalLength > 0xffff) return false;
  cursor.size = totalLength;
  const fragment = cursor.u16(6);
  if (fragment & 0x3fff) key.ipFrag = fragment & 0x1fff ? IP_FRAG.any | IP_FRAG.later : IP_FRAG.any;
  key.ipTos = cursor.u8(1);
  key.ipTtl = cursor.u8(8);
  key.ipProto = cursor.u8(9);
  key.ipSrc = cursor.ipv4(12);
  key.ipDst = cursor.ipv4(16);
  return cursor.pull(headerLength);
}

function readIpv6(key: FlowKey, cursor: Cursor): boolean {
  if (cursor.size < 40) return false;
  const payloadLength = cursor.u16(4);
  const padding = cursor.size - 40 - payloadLength;
  if (padding < 0 || padding > 0xffff) return false;
  key.ipv6Src = cursor.ipv6(8);
  key.ipv6Dst = cursor.ipv6(24);
  const first = cursor.u32(0);
  const hopLimit = cursor.u8(7);
  const nextHeader = cursor.u8(6);
  cursor.pull(40);
  cursor.size = payloadLength;
  const end = skipExtensions(cursor, nextHeader);
  if (!end) return false;
  key.ipv6Label = first & 0xf_ffff;
  key.ipTos = (first >>> 20) & 0xff;
  key.ipTtl = hopLimit;
  key.ipProto = end.proto;
  key.ipFrag = end.frag;
  return true;
}

/** Undefined when a header does not fit. A later fragment ends the chain: what follows is payload. */
function skipExtensions(cursor: Cursor, first: number): { readonly proto: number; readonly frag: number } | undefined {
  let proto = first;
  let frag = 0;
  for (;;) {
    let length: number;
    switch (proto) {
      case IP_PROTO.hopByHop:
      case IP_PROTO.routing:
      case IP_PROTO.destination:
        if (cursor.size < 8) return undefined;
        length = (cursor.u8(1) + 1) * 8;
        break;
      case IP_PROTO.authentication:
        if (cursor.size < 8) return undefined;
        length = (cursor.u8(1) + 2) * 4;
        break;
      case IP_PROTO.fragment: {
        if (cursor.size < 8) return undefined;
        const offset = cursor.u16(2);
        length = 8;
        if (offset !== 0) frag = IP_FRAG.any;
        if (offset & 0xfff8) return { proto: IP_PROTO.fragment, frag: IP_FRAG.any | IP_FRAG.later };
        break;
      }
      default:
        return { proto, frag };
    }
    proto = cursor.u8(0);
    if (!cursor.pull(length)) return undefined;
  }
}

function readArp(key: FlowKey, cursor: Cursor): void {
  if (cursor.size < ARP_LENGTH) return;
  if (cursor.u16(0) !== 1 || cursor.u16(2) !== ETHER_TYPE.ipv4 || cursor.u16(4) !== 0x0604) return;
  const op = cursor.u16(6);
  key.arpOp = op <= 0xff ? op : 0;
  key.arpSha = cursor.mac(8);
  key.arpSpa = cursor.ipv4(14);
  key.arpTha = cursor.mac(18);
  key.arpTpa = cursor.ipv4(24);
}

function readTransport(key: FlowKey, cursor: Cursor): void {
  if (key.ipFrag & IP_FRAG.later) return;
  switch (key.ipProto) {
    case IP_PROTO.tcp: {
      if (cursor.size < 20) return;
      const control = cursor.u16(12);
      const headerLength = (control >> 12) * 4;
      if (headerLength < 20 || cursor.size < headerLength) return;
      key.tcpFlags = control & 0xfff;
      readPorts(key, cursor);
      break;
    }
    case IP_PROTO.udp:
      if (cursor.size >= 8) readPorts(key, cursor);
      break;
    case IP_PROTO.sctp:
      if (cursor.size >= 12) readPorts(key, cursor);
      break;
    case IP_PROTO.icmp:
    case IP_PROTO.igmp:
      if (cursor.size >= 8) readTypeAndCode(key, cursor);
      break;
    case IP_PROTO.icmpv6:
      if (cursor.size >= 8) readIcmpv6(key, cursor);
      break;
  }
}

function readPorts(key: FlowKey, cursor: Cursor): void {
  key.tpSrc = cursor.u16(0);
  key.tpDst = cursor.u16(2);
}

function readTypeAndCode(key: FlowKey, cursor: Cursor): void {
  key.tpSrc = cursor.u8(0);
  key.tpDst = cursor.u8(1);
}

function readIcmpv6(key: FlowKey, cursor: Cursor): void {
  readTypeAndCode(key, cursor);
  const solicitOrAdvert = key.tpSrc === ICMPV6_TYPE.neighborSolicit || key.tpSrc === ICMPV6_TYPE.neighborAdvert;
  if (!solicitOrAdvert || key.tpDst !== 0) return;
  key.ndReserved = cursor.u32(4);
  cursor.pull(8);
  if (cursor.size < 16) return;
  key.ndTarget = cursor.ipv6(0);
  cursor.pull(16);
  readNdOptions(key, cursor);
}

/** An option that comes twice makes target and addresses zero; which option came first stays. */
function readNdOptions(key: FlowKey, cursor: Cursor): void {
  while (cursor.size >= LLA_OPTION_LENGTH) {
    const type = cursor.u8(0);
    const length = cursor.u8(1) * 8;
    if (length === 0 || length > cursor.size) return;
    if (length === LLA_OPTION_LENGTH && (type === 1 || type === 2)) {
      const field = type === 1 ? 'ndSll' : 'ndTll';
      if (key[field] !== 0) {
        key.ndTarget = 0n as Ipv6;
        key.ndSll = 0 as Mac;
        key.ndTll = 0 as Mac;
        return;
      }
      key[field] = cursor.mac(2);
      key.ndOptionsType ||= type;
    }
    cursor.pull(length);
  }
}
