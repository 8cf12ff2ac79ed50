import { ByteReader, ByteWriter, equalBytes } from '../base/bytes.ts';
import { WeftError } from '../base/errors.ts';
import type { FieldName } from './fields.ts';
import type { FieldValue, Masked, Match } from './flow.ts';
import { widePort } from './oxm.ts';

/**
 * `ofp_match` of OpenFlow 1.0 (§5.2.3): forty bytes, every field always there.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +---------------------------------------------------------------+
 *  |                           wildcards                           |
 *  +-------------------------------+-------------------------------+
 *  |            in_port            |  dl_src (6)                   |
 *  +-------------------------------+-------------------------------+
 *  |                                                               |
 *  +---------------------------------------------------------------+
 *  |  dl_dst (6)                                                   |
 *  +-------------------------------+-------------------------------+
 *  |                               |            dl_vlan            |
 *  +---------------+---------------+-------------------------------+
 *  |  dl_vlan_pcp  |       0       |            dl_type            |
 *  +---------------+---------------+-------------------------------+
 *  |    nw_tos     |   nw_proto    |               0               |
 *  +---------------+---------------+-------------------------------+
 *  |                            nw_src                             |
 *  |                            nw_dst                             |
 *  +-------------------------------+-------------------------------+
 *  |            tp_src             |            tp_dst             |
 *  +-------------------------------+-------------------------------+
 *
 * A bit set in `wildcards` makes its field a wildcard; nw_src and nw_dst have six bits each, the number of low bits
 * that do not matter (32 and more: all). Meanings depend on dl_type and nw_proto: ARP puts its operation into
 * nw_proto and its addresses into nw_src and nw_dst, ICMP its type and code into the ports.
 *
 * What a switch ignores (values under wildcards, ports without a protocol) has no place in a `Match`; so that the
 * same bytes come out again, they are kept whole in `unknown` when they differ from what we would write.
 */
const MATCH_BYTES = 40;
const WILD = {
  inPort: 1 << 0,
  vlan: 1 << 1,
  src: 1 << 2,
  dst: 1 << 3,
  type: 1 << 4,
  proto: 1 << 5,
  tpSrc: 1 << 6,
  tpDst: 1 << 7,
  pcp: 1 << 20,
  tos: 1 << 21,
} as const;
const NW_SRC_SHIFT = 8;
const NW_DST_SHIFT = 14;
const WILD_ALL = 0x3f_ffff;
/** All wildcards, with the address counts in the form that most senders use. */
const WILD_ALL_32 = WILD_ALL & ~(0x1f << NW_SRC_SHIFT) & ~(0x1f << NW_DST_SHIFT);
const VLAN_NONE = 0xffff;
const VLAN_PRESENT = 0x1000;
const ETH_IP = 0x0800;
const ETH_ARP = 0x0806;

export function readMatch10(reader: ByteReader): Match {
  const bytes = reader.take(MATCH_BYTES, 'ofp_match');
  const match = readFields(new ByteReader(bytes));
  return equalBytes(encodeFields(match), bytes) ? match : { ...match, unknown: [bytes.slice()] };
}

export function writeMatch10(writer: ByteWriter, match: Match): void {
  const own = encodeFields(match);
  const kept = match.unknown?.[0];
  const same = kept?.length === MATCH_BYTES && equalBytes(encodeFields(readFields(new ByteReader(kept))), own);
  writer.raw(same ? kept : own);
}

type Fields = { -readonly [F in FieldName]?: FieldValue | Masked };

function readFields(r: ByteReader): Match {
  const out: Fields = {};
  const wild = r.u32('wildcards');
  const inPort = r.u16('in_port');
  const [src, dst] = [r.u48('dl_src'), r.u48('dl_dst')];
  const vlan = r.u16('dl_vlan');
  const pcp = r.u8('dl_vlan_pcp');
  r.skip(1, 'padding');
  const type = r.u16('dl_type');
  const [tos, proto] = [r.u8('nw_tos'), r.u8('nw_proto')];
  r.skip(2, 'padding');
  const [nwSrc, nwDst] = [r.u32('nw_src'), r.u32('nw_dst')];
  const [tpSrc, tpDst] = [r.u16('tp_src'), r.u16('tp_dst')];

  if (!(wild & WILD.inPort)) out.in_port = widePort(inPort);
  if (!(wild & WILD.src)) out.eth_src = src;
  if (!(wild & WILD.dst)) out.eth_dst = dst;
  readVlan(out, wild, vlan, pcp);
  if (wild & WILD.type) return out as Match;
  out.eth_type = type;
  const isIp = type === ETH_IP;
  if (!isIp && type !== ETH_ARP) return out as Match;
  if (isIp && !(wild & WILD.tos)) out.ip_dscp = tos >> 2;
  if (!(wild & WILD.proto)) out[isIp ? 'ip_proto' : 'arp_op'] = proto;
  const [from, to] = [prefixed(nwSrc, wild >>> NW_SRC_SHIFT), prefixed(nwDst, wild >>> NW_DST_SHIFT)];
  if (from !== undefined) out[isIp ? 'ip_src' : 'arp_spa'] = from;
  if (to !== undefined) out[isIp ? 'ip_dst' : 'arp_tpa'] = to;
  const ports = isIp && !(wild & WILD.proto) ? PORTS[proto] : undefined;
  if (ports && !(wild & WILD.tpSrc)) out[ports[0]] = ports[2] ? tpSrc & 0xff : tpSrc;
  if (ports && !(wild & WILD.tpDst)) out[ports[1]] = ports[2] ? tpDst & 0xff : tpDst;
  return out as Match;
}

/** What tp_src and tp_dst are for an IP protocol, and whether they have but 8 bits. */
const PORTS: { readonly [proto: number]: readonly [FieldName, FieldName, boolean] | undefined } = {
  1: ['icmp_type', 'icmp_code', true],
  6: ['tcp_src', 'tcp_dst', false],
  17: ['udp_src', 'udp_dst', false],
  132: ['sctp_src', 'sctp_dst', false],
};

function readVlan(out: Fields, wild: number, vlan: number, pcp: number): void {
  const tagged = (wild & WILD.vlan) === 0;
  if (tagged && vlan === VLAN_NONE) {
    out.vlan_vid = 0;
    return;
  }
  if (tagged) out.vlan_vid = VLAN_PRESENT | (vlan & 0xfff);
  else if (!(wild & WILD.pcp)) out.vlan_vid = { value: VLAN_PRESENT, mask: VLAN_PRESENT };
  if (!(wild & WILD.pcp)) out.vlan_pcp = pcp;
}

/** `bits`: the low bits that do not matter, in the lower six bits. */
function prefixed(value: number, bits: number): FieldValue | Masked | undefined {
  const ignored = bits & 0x3f;
  if (ignored === 0) return value;
  if (ignored >= 32) return undefined;
  const mask = (0xffff_ffff << ignored) >>> 0;
  return { value: (value & mask) >>> 0, mask };
}

interface Wire {
  wild: number;
  inPort: number;
  src: number;
  dst: number;
  vlan: number;
  pcp: number;
  type: number;
  tos: number;
  proto: number;
  nwSrc: number;
  nwDst: number;
  tpSrc: number;
  tpDst: number;
}

/** How each field of a match is put into the forty bytes; what is not here cannot be said in OpenFlow 1.0. */
const PUT: { readonly [F in FieldName]?: (wire: Wire, value: number, mask: number | undefined) => boolean } = {
  in_port: (w, v) => exact(w, 'inPort', v & 0xffff, WILD.inPort),
  eth_src: (w, v, m) => m === undefined && exact(w, 'src', v, WILD.src),
  eth_dst: (w, v, m) => m === undefined && exact(w, 'dst', v, WILD.dst),
  eth_type: (w, v) => exact(w, 'type', v, WILD.type),
  vlan_vid: (w, v, m) => {
    if (m === VLAN_PRESENT && v === VLAN_PRESENT) return true;
    if (m !== undefined && m !== 0x1fff) return false;
    return exact(w, 'vlan', v === 0 ? VLAN_NONE : v & 0xfff, WILD.vlan);
  },
  vlan_pcp: (w, v) => exact(w, 'pcp', v, WILD.pcp),
  ip_dscp: (w, v) => exact(w, 'tos', v << 2, WILD.tos),
  nw_tos: (w, v) => exact(w, 'tos', v, WILD.tos),
  ip_proto: (w, v) => exact(w, 'proto', v, WILD.proto),
  arp_op: (w, v) => v < 256 && exact(w, 'proto', v, WILD.proto),
  ip_src: (w, v, m) => address(w, 'nwSrc', v, m, NW_SRC_SHIFT),
  arp_spa: (w, v, m) => address(w, 'nwSrc', v, m, NW_SRC_SHIFT),
  ip_dst: (w, v, m) => address(w, 'nwDst', v, m, NW_DST_SHIFT),
  arp_tpa: (w, v, m) => address(w, 'nwDst', v, m, NW_DST_SHIFT),
  icmp_type: (w, v) => exact(w, 'tpSrc', v, WILD.tpSrc),
  icmp_code: (w, v) => exact(w, 'tpDst', v, WILD.tpDst),
  tcp_src: (w, v, m) => m === undefined && exact(w, 'tpSrc', v, WILD.tpSrc),
  tcp_dst: (w, v, m) => m === undefined && exact(w, 'tpDst', v, WILD.tpDst),
  udp_src: (w, v, m) => m === undefined && exact(w, 'tpSrc', v, WILD.tpSrc),
  udp_dst: (w, v, m) => m === undefined && exact(w, 'tpDst', v, WILD.tpDst),
  sctp_src: (w, v, m) => m === undefined && exact(w, 'tpSrc', v, WILD.tpSrc),
  sctp_dst: (w, v, m) => m === undefined && exact(w, 'tpDst', v, WILD.tpDst),
};

function exact(wire: Wire, key: keyof Wire, value: number, bit: number): boolean {
  wire[key] = value;
  wire.wild &= ~bit;
  return true;
}

function address(wire: Wire, key: 'nwSrc' | 'nwDst', value: number, mask: number | undefined, shift: number): boolean {
  const full = mask ?? 0xffff_ffff;
  const inverse = ~full >>> 0;
  if ((inverse & (inverse + 1)) !== 0) return false;
  const ignored = 32 - Math.clz32(inverse);
  wire[key] = value;
  wire.wild = (wire.wild & ~(0x3f << shift)) | (ignored << shift);
  return true;
}

function encodeFields(match: Match): Uint8Array {
  const w: Wire = {
    wild: WILD_ALL_32,
    inPort: 0,
    src: 0,
    dst: 0,
    vlan: 0,
    pcp: 0,
    type: 0,
    tos: 0,
    proto: 0,
    nwSrc: 0,
    nwDst: 0,
    tpSrc: 0,
    tpDst: 0,
  };
  for (const name in match) {
    const value = match[name as FieldName];
    if (name === 'unknown' || value === undefined) continue;
    const put = PUT[name as FieldName];
    const done =
      typeof value === 'object'
        ? put?.(w, Number(value.value), Number(value.mask))
        : put?.(w, Number(value), undefined);
    if (!done) throw new WeftError('invalid', `match: OpenFlow 1.0 cannot say ${name}${put ? ' with this mask' : ''}`);
  }
  const out = new ByteWriter(MATCH_BYTES).u32(w.wild).u16(w.inPort).u48(w.src).u48(w.dst).u16(w.vlan);
  out.u8(w.pcp).u8(0).u16(w.type).u8(w.tos).u8(w.proto).u16(0);
  return out.u32(w.nwSrc).u32(w.nwDst).u16(w.tpSrc).u16(w.tpDst).finish();
}
