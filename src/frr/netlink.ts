import { type Cidr, type Ip, type Ipv4, type Ipv6, networkOf } from '../base/addresses.ts';
import { ByteWriter } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';

/**
 * The part of rtnetlink (rtnetlink(7), linux/rtnetlink.h, linux/nexthop.h) that zebra's module dplane_fpm_nl sends: routes and
 * next-hop objects. Whatever else arrives is kept as `other`; attributes that are not known are passed over.
 *
 *     0               4       6       8               12              16
 *     +---------------+-------+-------+---------------+---------------+
 *     | length        | type  | flags | sequence      | port id       |   nlmsghdr
 *     +---------------+-------+-------+---------------+---------------+
 *     | rtmsg (12 bytes) or nhmsg (8 bytes), then attributes: u16 length, u16 type, value, padded to 4
 *
 * Numbers are in the byte order of the machine (netlink never leaves it), addresses in network order.
 */
export type NetlinkMessage = RouteMessage | NextHopMessage | NextHopGone | OtherMessage;

/** RTM_NEWROUTE or RTM_DELROUTE. A deletion names the prefix; zebra tells no hops with it. */
export type RouteMessage = {
  readonly kind: 'route';
  readonly action: 'put' | 'gone';
  readonly to: Cidr;
  readonly table: number;
  /** Who made the route (`RouteProtocol`; unknown numbers are kept). */
  readonly protocol: number;
  /** `RouteType`; unknown numbers are kept. */
  readonly type: number;
  readonly priority: number | undefined;
  /** Id of a next-hop object that was told before; then `hops` is empty. */
  readonly nextHopId: number | undefined;
  readonly hops: readonly RouteHop[];
};

export type RouteHop = {
  /** Of either family, whatever the family of the route (RFC 8950, which was RFC 5549). */
  readonly gateway: Ip | undefined;
  /** Index of the interface, in the namespace of the sender. */
  readonly oif: number | undefined;
  /** 1..256. */
  readonly weight: number;
};

/** RTM_NEWNEXTHOP: one hop, or a group of others by their ids. The same id again replaces what it meant. */
export type NextHopMessage = {
  readonly kind: 'nextHop';
  readonly id: number;
  readonly protocol: number;
  readonly is:
    | { readonly kind: 'hop'; readonly gateway: Ip | undefined; readonly oif: number | undefined }
    | { readonly kind: 'group'; readonly members: readonly { readonly id: number; readonly weight: number }[] }
    | { readonly kind: 'blackhole' };
};

/** RTM_DELNEXTHOP. */
export type NextHopGone = { readonly kind: 'nextHopGone'; readonly id: number };

export type OtherMessage = { readonly kind: 'other'; readonly type: number; readonly body: Uint8Array };

export const RouteType = { unicast: 1, blackhole: 6, unreachable: 7, prohibit: 8 } as const;
export const RouteProtocol = { kernel: 2, boot: 3, zebra: 11, bgp: 186, static: 196 } as const;
export const MAIN_TABLE = 254;

const Rtm = { newRoute: 24, delRoute: 25, newNextHop: 104, delNextHop: 105 } as const;
const Rta = { dst: 1, oif: 4, gateway: 5, priority: 6, multipath: 9, table: 15, via: 18, nhId: 30 } as const;
const Nha = { id: 1, group: 2, blackhole: 4, oif: 5, gateway: 6 } as const;
const AF_INET = 2;
const AF_INET6 = 10;
/** NLM_F_REQUEST | NLM_F_CREATE, and NLM_F_REPLACE. */
const REQUEST_CREATE = 0x401;
const REPLACE = 0x100;
const HEADER = 16;
const ROUTE_BODY = 12;
const NEXT_HOP_BODY = 8;
/** Bits of an attribute's type that say how its value is written, not what it is. */
const ATTRIBUTE_TYPE = 0x3fff;
const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** All messages of a buffer that holds nothing else. Throws `DecodeError` with the offset within the buffer. */
export function decodeNetlink(bytes: Uint8Array): NetlinkMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at < bytes.length; ) {
    need(at, HEADER, bytes.length, 'nlmsghdr');
    const length = view.getUint32(at, LITTLE);
    if (length < HEADER) throw new DecodeError('bad-length', at, 'nlmsg_len', `${length}`);
    need(at, length, bytes.length, 'nlmsg_len');
    messages.push(decodeMessage(view, view.getUint16(at + 4, LITTLE), at + HEADER, at + length));
    at = Math.min(align(at + length), bytes.length);
  }
  return messages;
}

function decodeMessage(view: DataView, type: number, start: number, end: number): NetlinkMessage {
  switch (type) {
    case Rtm.newRoute:
      return decodeRoute(view, 'put', start, end);
    case Rtm.delRoute:
      return decodeRoute(view, 'gone', start, end);
    case Rtm.newNextHop:
      return decodeNextHop(view, start, end);
    case Rtm.delNextHop:
      return { kind: 'nextHopGone', id: decodeNextHopId(view, start, end) };
    default:
      return { kind: 'other', type, body: bytesOf(view, start, end - start) };
  }
}

/** rtmsg: family, bits of destination and of source, tos, table, protocol, scope, type, u32 flags. */
function decodeRoute(view: DataView, action: 'put' | 'gone', start: number, end: number): RouteMessage {
  need(start, ROUTE_BODY, end, 'rtmsg');
  const family = view.getUint8(start);
  if (family !== AF_INET && family !== AF_INET6) throw new DecodeError('bad-value', start, 'rtm_family', `${family}`);
  const prefix = view.getUint8(start + 1);
  if (prefix > (family === AF_INET ? 32 : 128))
    throw new DecodeError('bad-value', start + 1, 'rtm_dst_len', `${prefix}`);
  let table = view.getUint8(start + 4);
  let ip: Ip | undefined;
  let gateway: Ip | undefined;
  let oif: number | undefined;
  let priority: number | undefined;
  let nextHopId: number | undefined;
  let hops: RouteHop[] | undefined;
  for (let at = start + ROUTE_BODY; at < end; at = nextAttribute(view, at, end)) {
    const [type, value, size] = attribute(view, at, end);
    if (type === Rta.dst) ip = address(view, value, size, family, 'RTA_DST');
    else if (type === Rta.gateway) gateway = address(view, value, size, family, 'RTA_GATEWAY');
    else if (type === Rta.via) gateway = via(view, value, size);
    else if (type === Rta.oif) oif = u32(view, value, size, 'RTA_OIF') || undefined;
    else if (type === Rta.priority) priority = u32(view, value, size, 'RTA_PRIORITY');
    else if (type === Rta.table) table = u32(view, value, size, 'RTA_TABLE');
    else if (type === Rta.nhId) nextHopId = u32(view, value, size, 'RTA_NH_ID');
    else if (type === Rta.multipath) hops = multipath(view, value, value + size, family);
  }
  if (ip === undefined) {
    // The default route may come without a destination.
    if (prefix !== 0) throw new DecodeError('bad-length', end, 'RTA_DST', 'missing');
    ip = family === AF_INET ? { version: 4, value: 0 as Ipv4 } : { version: 6, value: 0n as Ipv6 };
  }
  hops ??= gateway === undefined && oif === undefined ? [] : [{ gateway, oif, weight: 1 }];
  return {
    kind: 'route',
    action,
    to: networkOf({ ip, prefix }),
    table,
    protocol: view.getUint8(start + 5),
    type: view.getUint8(start + 7),
    priority,
    nextHopId,
    hops,
  };
}

/** RTA_MULTIPATH: rtnexthop (u16 length, u8 flags, u8 weight-1, i32 interface), each followed by attributes. */
function multipath(view: DataView, start: number, end: number, family: number): RouteHop[] {
  const hops: RouteHop[] = [];
  for (let at = start; at < end; ) {
    need(at, 8, end, 'rtnexthop');
    const length = view.getUint16(at, LITTLE);
    if (length < 8) throw new DecodeError('bad-length', at, 'rtnh_len', `${length}`);
    need(at, length, end, 'rtnh_len');
    const stop = at + length;
    let gateway: Ip | undefined;
    for (let inner = at + 8; inner < stop; inner = nextAttribute(view, inner, stop)) {
      const [type, value, size] = attribute(view, inner, stop);
      if (type === Rta.gateway) gateway = address(view, value, size, family, 'RTA_GATEWAY');
      else if (type === Rta.via) gateway = via(view, value, size);
    }
    hops.push({ gateway, oif: view.getUint32(at + 4, LITTLE) || undefined, weight: view.getUint8(at + 3) + 1 });
    at = align(stop);
  }
  return hops;
}

/** nhmsg: family, scope, protocol, reserved, u32 flags. */
function decodeNextHop(view: DataView, start: number, end: number): NextHopMessage {
  need(start, NEXT_HOP_BODY, end, 'nhmsg');
  const family = view.getUint8(start);
  const protocol = view.getUint8(start + 2);
  let id: number | undefined;
  let gateway: Ip | undefined;
  let oif: number | undefined;
  let blackhole = false;
  let members: { id: number; weight: number }[] | undefined;
  for (let at = start + NEXT_HOP_BODY; at < end; at = nextAttribute(view, at, end)) {
    const [type, value, size] = attribute(view, at, end);
    if (type === Nha.id) id = u32(view, value, size, 'NHA_ID');
    else if (type === Nha.oif) oif = u32(view, value, size, 'NHA_OIF') || undefined;
    else if (type === Nha.blackhole) blackhole = true;
    else if (type === Nha.gateway) gateway = address(view, value, size, family, 'NHA_GATEWAY');
    else if (type === Nha.group) members = groupMembers(view, value, size);
  }
  if (id === undefined) throw new DecodeError('bad-length', end, 'NHA_ID', 'missing');
  if (members) return { kind: 'nextHop', id, protocol, is: { kind: 'group', members } };
  if (blackhole) return { kind: 'nextHop', id, protocol, is: { kind: 'blackhole' } };
  return { kind: 'nextHop', id, protocol, is: { kind: 'hop', gateway, oif } };
}

/** struct nexthop_grp: u32 id, u8 weight-1, 3 bytes reserved. */
function groupMembers(view: DataView, at: number, size: number): { id: number; weight: number }[] {
  if (size % 8 !== 0) throw new DecodeError('bad-length', at, 'NHA_GROUP', `${size}`);
  const members: { id: number; weight: number }[] = [];
  for (let i = at; i < at + size; i += 8)
    members.push({ id: view.getUint32(i, LITTLE), weight: view.getUint8(i + 4) + 1 });
  return members;
}

function decodeNextHopId(view: DataView, start: number, end: number): number {
  need(start, NEXT_HOP_BODY, end, 'nhmsg');
  for (let at = start + NEXT_HOP_BODY; at < end; at = nextAttribute(view, at, end)) {
    const [type, value, size] = attribute(view, at, end);
    if (type === Nha.id) return u32(view, value, size, 'NHA_ID');
  }
  throw new DecodeError('bad-length', end, 'NHA_ID', 'missing');
}

/** Type, start and size of an attribute's value. */
function attribute(view: DataView, at: number, end: number): readonly [number, number, number] {
  need(at, 4, end, 'rta_len');
  const length = view.getUint16(at, LITTLE);
  if (length < 4) throw new DecodeError('bad-length', at, 'rta_len', `${length}`);
  need(at, length, end, 'rta_len');
  return [view.getUint16(at + 2, LITTLE) & ATTRIBUTE_TYPE, at + 4, length - 4];
}

function nextAttribute(view: DataView, at: number, end: number): number {
  return Math.min(align(at + view.getUint16(at, LITTLE)), end);
}

function u32(view: DataView, at: number, size: number, field: string): number {
  if (size !== 4) throw new DecodeError('bad-length', at, field, `${size}`);
  return view.getUint32(at, LITTLE);
}

function address(view: DataView, at: number, size: number, family: number, field: string): Ip {
  if (family === AF_INET && size === 4) return { version: 4, value: view.getUint32(at) as Ipv4 };
  if (family === AF_INET6 && size === 16)
    return { version: 6, value: ((view.getBigUint64(at) << 64n) | view.getBigUint64(at + 8)) as Ipv6 };
  throw new DecodeError('bad-length', at, field, `${size} bytes in family ${family}`);
}

/** struct rtvia: u16 family, address. */
function via(view: DataView, at: number, size: number): Ip {
  if (size < 2) throw new DecodeError('bad-length', at, 'RTA_VIA', `${size}`);
  return address(view, at + 2, size - 2, view.getUint16(at, LITTLE), 'RTA_VIA');
}

function need(at: number, n: number, end: number, field: string): void {
  if (at + n > end) throw new DecodeError('truncated', at, field, `${n} bytes wanted, ${end - at} left`);
}

function align(n: number): number {
  return (n + 3) & ~3;
}

function bytesOf(view: DataView, at: number, size: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, size);
}

/** As zebra would write it; `decodeNetlink` gives the same value back. */
export function encodeNetlink(message: NetlinkMessage): Uint8Array {
  switch (message.kind) {
    case 'route':
      return encodeRoute(message);
    case 'nextHop':
      return encodeNextHop(message);
    case 'nextHopGone':
      return framed(Rtm.delNextHop, REQUEST_CREATE, (out) => {
        out.zeros(NEXT_HOP_BODY);
        attributeU32(out, Nha.id, message.id);
      });
    case 'other':
      return framed(message.type, REQUEST_CREATE, (out) => out.raw(message.body));
  }
}

function encodeRoute(route: RouteMessage): Uint8Array {
  const { action, to, table, hops } = route;
  const put = action === 'put';
  return framed(put ? Rtm.newRoute : Rtm.delRoute, REQUEST_CREATE | (put ? REPLACE : 0), (out) => {
    out.u8(familyOf(to.ip)).u8(to.prefix).u8(0).u8(0);
    out
      .u8(table < 256 ? table : 0)
      .u8(route.protocol)
      .u8(0)
      .u8(route.type)
      .zeros(4);
    attributeOf(out, Rta.dst, () => writeIp(out, to.ip));
    if (route.priority !== undefined) attributeU32(out, Rta.priority, route.priority);
    if (table >= 256) attributeU32(out, Rta.table, table);
    if (route.nextHopId !== undefined) attributeU32(out, Rta.nhId, route.nextHopId);
    if (hops.length === 1 && hops[0]!.weight === 1) {
      encodeGateway(out, hops[0]!, to.ip);
      if (hops[0]!.oif !== undefined) attributeU32(out, Rta.oif, hops[0]!.oif);
    } else if (hops.length > 0) {
      attributeOf(out, Rta.multipath, () => {
        for (const hop of hops) {
          const at = out.length;
          hostU16(out, 0);
          out.u8(0).u8(hop.weight - 1);
          hostU32(out, hop.oif ?? 0);
          encodeGateway(out, hop, to.ip);
          patchHostU16(out, at, out.length - at);
        }
      });
    }
  });
}

function encodeGateway(out: ByteWriter, hop: RouteHop, to: Ip): void {
  const { gateway } = hop;
  if (gateway === undefined) return;
  if (gateway.version === to.version) attributeOf(out, Rta.gateway, () => writeIp(out, gateway));
  else
    attributeOf(out, Rta.via, () => {
      hostU16(out, familyOf(gateway));
      writeIp(out, gateway);
    });
}

function encodeNextHop(message: NextHopMessage): Uint8Array {
  const { is } = message;
  return framed(Rtm.newNextHop, REQUEST_CREATE | REPLACE, (out) => {
    out.u8(is.kind === 'hop' ? (is.gateway ? familyOf(is.gateway) : AF_INET) : 0);
    out.u8(0).u8(message.protocol).zeros(5);
    attributeU32(out, Nha.id, message.id);
    if (is.kind === 'blackhole') attributeOf(out, Nha.blackhole, () => {});
    else if (is.kind === 'group')
      attributeOf(out, Nha.group, () => {
        for (const member of is.members) {
          hostU32(out, member.id);
          out.u8(member.weight - 1).zeros(3);
        }
      });
    else {
      const { gateway } = is;
      if (gateway) attributeOf(out, Nha.gateway, () => writeIp(out, gateway));
      if (is.oif !== undefined) attributeU32(out, Nha.oif, is.oif);
    }
  });
}

function framed(type: number, flags: number, body: (out: ByteWriter) => void): Uint8Array {
  const out = new ByteWriter(128);
  hostU32(out, 0);
  hostU16(out, type);
  hostU16(out, flags);
  out.zeros(8);
  body(out);
  const length = out.length;
  out.align(4);
  const bytes = out.finish();
  new DataView(bytes.buffer).setUint32(0, length, LITTLE);
  return bytes;
}

function attributeOf(out: ByteWriter, type: number, value: () => void): void {
  const at = out.length;
  hostU16(out, 0);
  hostU16(out, type);
  value();
  patchHostU16(out, at, out.length - at);
  out.align(4);
}

function attributeU32(out: ByteWriter, type: number, value: number): void {
  attributeOf(out, type, () => hostU32(out, value));
}

function writeIp(out: ByteWriter, ip: Ip): void {
  if (ip.version === 4) out.u32(ip.value);
  else out.u128(ip.value);
}

function familyOf(ip: Ip): number {
  return ip.version === 4 ? AF_INET : AF_INET6;
}

function hostU16(out: ByteWriter, value: number): void {
  out.u16(LITTLE ? ((value & 0xff) << 8) | (value >>> 8) : value);
}

function patchHostU16(out: ByteWriter, at: number, value: number): void {
  out.patchU16(at, LITTLE ? ((value & 0xff) << 8) | (value >>> 8) : value);
}

function hostU32(out: ByteWriter, value: number): void {
  if (LITTLE)
    out
      .u8(value & 0xff)
      .u8((value >>> 8) & 0xff)
      .u8((value >>> 16) & 0xff)
      .u8(value >>> 24);
  else out.u32(value);
}
