/**
 * The match fields, one row each: name (as `ovs-fields(7)` gives it first), width, code points, text form,
 * prerequisites. Sources: OpenFlow 1.3.5 §7.2.3.7, 1.5.1 §7.2.3.8, Open vSwitch's `meta-flow` documentation.
 */

/** How a field's value reads in `ovs-ofctl` syntax. */
export type FieldFormat =
  | 'decimal'
  | 'hex'
  | 'mac'
  | 'ipv4'
  | 'ipv6'
  | 'port'
  | 'frag'
  | 'ctState'
  | 'tcpFlags'
  | 'tunnelFlags'
  | 'packetType';

/** OXM classes (1.5.1 §7.2.3.3); `experimenter` entries carry a vendor id after the header. */
export const OXM_CLASS = {
  nxm0: 0x0000,
  nxm1: 0x0001,
  ericsson: 0x1000,
  basic: 0x8000,
  packetRegs: 0x8001,
  experimenter: 0xffff,
} as const;

export const VENDOR = { nicira: 0x0000_2320, onf: 0x4f4e_4600, nsh: 0x005a_d650, intel: 0x0000_aa01 } as const;

/** One code point of a field: what an OXM header says without its mask bit and length. */
export interface FieldCode {
  readonly class: number;
  readonly code: number;
  /** Experimenter id; 0 but for class 0xffff. */
  readonly vendor: number;
  /** The name that `ovs-ofctl` prints in `NXM_NX_REG0[]`. */
  readonly name: string;
  /** Width on the wire, when it is not that of the field (NXM_OF_IN_PORT has 16 bits, the field 32). */
  readonly bytes: number;
  /** First OpenFlow version (wire number) that has it. */
  readonly since: number;
  /** The OXM header's 32 bits with mask bit and length zero. */
  readonly header: number;
}

/** "The match must also have `field`" (one of `values`, when given). */
export interface Prerequisite {
  readonly field: FieldName;
  readonly values?: readonly number[];
}

export interface Field {
  readonly name: FieldName;
  /** Dense number of the field, for tables indexed by it. */
  readonly index: number;
  readonly bits: number;
  /** Bytes of the value on the wire (in OXM form; see `FieldCode.bytes`). */
  readonly bytes: number;
  readonly format: FieldFormat;
  readonly maskable: boolean;
  readonly writable: boolean;
  readonly prerequisites: readonly Prerequisite[];
  /** All code points. NXM (classes 0 and 1) is what Nicira actions prefer, the rest what OXM matches prefer. */
  readonly codes: readonly FieldCode[];
  /** Other names that `ovs-ofctl` takes. */
  readonly aliases: readonly string[];
}

interface Row {
  readonly bits: number;
  readonly format: FieldFormat;
  readonly maskable: boolean;
  readonly writable: boolean;
  readonly needs: readonly (readonly [field: string, ...values: number[]])[];
  readonly codes: readonly Code[];
  readonly aliases: readonly string[];
  /** Wire width, where it is not the next whole byte. */
  readonly bytes?: number;
}
type Code = readonly [class_: number, code: number, name: string, since?: number, vendor?: number, bytes?: number];

/** Flags of a row: `m` maskable, `w` writable. */
function row(bits: number, format: FieldFormat, flags: string, codes: readonly Code[], extra: Partial<Row> = {}): Row {
  const maskable = flags.includes('m');
  return { bits, format, maskable, writable: flags.includes('w'), codes, needs: [], aliases: [], ...extra };
}

const nxm0 = (code: number, name: string, bytes?: number): Code => [
  OXM_CLASS.nxm0,
  code,
  `NXM_OF_${name}`,
  1,
  0,
  bytes,
];
const nxm1 = (code: number, name: string): Code => [OXM_CLASS.nxm1, code, `NXM_NX_${name}`];
const oxm = (code: number, name: string, since = 3): Code => [OXM_CLASS.basic, code, `OXM_OF_${name}`, since];
const onf = (code: number, name: string): Code => [OXM_CLASS.experimenter, code, `ONFOXM_ET_${name}`, 4, VENDOR.onf];
const nx = (code: number, name: string): Code => [OXM_CLASS.experimenter, code, `NXOXM_ET_${name}`, 1, VENDOR.nicira];
const nsh = (code: number, name: string): Code => [OXM_CLASS.experimenter, code, `NXOXM_NSH_${name}`, 1, VENDOR.nsh];
const eric = (code: number, name: string): Code => [OXM_CLASS.ericsson, code, `ERICOXM_OF_${name}`];

const VLAN = { needs: [['vlan_vid']] } as const;
const MPLS = { needs: [['eth_type', 0x8847, 0x8848]] } as const;
const PBB = { needs: [['eth_type', 0x88e7]] } as const;
const IP4 = { needs: [['eth_type', 0x0800]] } as const;
const IP6 = { needs: [['eth_type', 0x86dd]] } as const;
const IP = { needs: [['eth_type', 0x0800, 0x86dd]] } as const;
const ARP = { needs: [['eth_type', 0x0806, 0x8035]] } as const;
const NSH = { needs: [['eth_type', 0x894f]] } as const;
const TCP = { needs: [...IP.needs, ['ip_proto', 6]] } as const;
const UDP = { needs: [...IP.needs, ['ip_proto', 17]] } as const;
const SCTP = { needs: [...IP.needs, ['ip_proto', 132]] } as const;
const ICMP4 = { needs: [...IP4.needs, ['ip_proto', 1]] } as const;
const ICMP6 = { needs: [...IP6.needs, ['ip_proto', 58]] } as const;
const ND = { needs: [...ICMP6.needs, ['icmpv6_type', 135, 136]] } as const;
const ND_SOLICIT = { needs: [...ICMP6.needs, ['icmpv6_type', 135]] } as const;
const ND_ADVERT = { needs: [...ICMP6.needs, ['icmpv6_type', 136]] } as const;
const CT4 = { needs: [...IP4.needs, ['ct_state']] } as const;
const CT6 = { needs: [...IP6.needs, ['ct_state']] } as const;
const CT = { needs: [...IP.needs, ['ct_state']] } as const;
const CT_PORT = { needs: [...CT.needs, ['ct_nw_proto']] } as const;

const NAMED = {
  in_port: row(32, 'port', 'w', [nxm0(0, 'IN_PORT', 2), oxm(0, 'IN_PORT')], { aliases: ['in_port_oxm'] }),
  in_phy_port: row(32, 'port', '', [oxm(1, 'IN_PHY_PORT')], { needs: [['in_port']] }),
  metadata: row(64, 'hex', 'mw', [oxm(2, 'METADATA')]),
  packet_type: row(32, 'packetType', '', [oxm(44, 'PACKET_TYPE', 6)]),
  actset_output: row(32, 'port', '', [onf(43, 'ACTSET_OUTPUT'), oxm(43, 'ACTSET_OUTPUT', 6)]),
  eth_src: row(48, 'mac', 'mw', [nxm0(2, 'ETH_SRC'), oxm(4, 'ETH_SRC')], { aliases: ['dl_src'] }),
  eth_dst: row(48, 'mac', 'mw', [nxm0(1, 'ETH_DST'), oxm(3, 'ETH_DST')], { aliases: ['dl_dst'] }),
  eth_type: row(16, 'hex', '', [nxm0(3, 'ETH_TYPE'), oxm(5, 'ETH_TYPE')], { aliases: ['dl_type'] }),
  vlan_tci: row(16, 'hex', 'mw', [nxm0(4, 'VLAN_TCI')]),
  vlan_vid: row(13, 'decimal', 'mw', [oxm(6, 'VLAN_VID')]),
  vlan_pcp: row(3, 'decimal', 'w', [oxm(7, 'VLAN_PCP')], VLAN),
  mpls_label: row(20, 'decimal', 'w', [oxm(34, 'MPLS_LABEL')], { ...MPLS, bytes: 4 }),
  mpls_tc: row(3, 'decimal', 'w', [oxm(35, 'MPLS_TC')], MPLS),
  mpls_bos: row(1, 'decimal', '', [oxm(36, 'MPLS_BOS', 4)], MPLS),
  mpls_ttl: row(8, 'decimal', 'w', [nxm1(30, 'MPLS_TTL')], MPLS),
  pbb_isid: row(24, 'hex', 'mw', [oxm(37, 'PBB_ISID', 4)], PBB),
  pbb_uca: row(1, 'decimal', 'w', [oxm(41, 'PBB_UCA', 5)], PBB),
  ip_proto: row(8, 'decimal', '', [nxm0(6, 'IP_PROTO'), oxm(10, 'IP_PROTO')], { ...IP, aliases: ['nw_proto'] }),
  /** The whole TOS byte with its ECN bits zero: what NXM and OpenFlow 1.0 have in place of `ip_dscp`. */
  nw_tos: row(8, 'decimal', 'w', [nxm0(5, 'IP_TOS')], IP),
  ip_dscp: row(6, 'decimal', 'w', [oxm(8, 'IP_DSCP')], IP),
  ip_ecn: row(2, 'decimal', 'w', [nxm1(28, 'IP_ECN'), oxm(9, 'IP_ECN')], { ...IP, aliases: ['nw_ecn'] }),
  ip_ttl: row(8, 'decimal', 'w', [nxm1(29, 'IP_TTL')], { ...IP, aliases: ['nw_ttl'] }),
  ip_frag: row(2, 'frag', 'm', [nxm1(26, 'IP_FRAG')], { ...IP, aliases: ['nw_frag'] }),
  ip_src: row(32, 'ipv4', 'mw', [nxm0(7, 'IP_SRC'), oxm(11, 'IPV4_SRC')], { ...IP4, aliases: ['nw_src'] }),
  ip_dst: row(32, 'ipv4', 'mw', [nxm0(8, 'IP_DST'), oxm(12, 'IPV4_DST')], { ...IP4, aliases: ['nw_dst'] }),
  ipv6_src: row(128, 'ipv6', 'mw', [nxm1(19, 'IPV6_SRC'), oxm(26, 'IPV6_SRC')], IP6),
  ipv6_dst: row(128, 'ipv6', 'mw', [nxm1(20, 'IPV6_DST'), oxm(27, 'IPV6_DST')], IP6),
  ipv6_label: row(20, 'hex', 'mw', [nxm1(27, 'IPV6_LABEL'), oxm(28, 'IPV6_FLABEL')], { ...IP6, bytes: 4 }),
  ipv6_exthdr: row(9, 'hex', 'm', [oxm(39, 'IPV6_EXTHDR', 4)], IP6),
  tcp_src: row(16, 'decimal', 'mw', [nxm0(9, 'TCP_SRC'), oxm(13, 'TCP_SRC')], { ...TCP, aliases: ['tp_src'] }),
  tcp_dst: row(16, 'decimal', 'mw', [nxm0(10, 'TCP_DST'), oxm(14, 'TCP_DST')], { ...TCP, aliases: ['tp_dst'] }),
  tcp_flags: row(12, 'tcpFlags', 'm', [nxm1(34, 'TCP_FLAGS'), onf(42, 'TCP_FLAGS'), oxm(42, 'TCP_FLAGS', 6)], TCP),
  udp_src: row(16, 'decimal', 'mw', [nxm0(11, 'UDP_SRC'), oxm(15, 'UDP_SRC')], UDP),
  udp_dst: row(16, 'decimal', 'mw', [nxm0(12, 'UDP_DST'), oxm(16, 'UDP_DST')], UDP),
  sctp_src: row(16, 'decimal', 'mw', [oxm(17, 'SCTP_SRC')], SCTP),
  sctp_dst: row(16, 'decimal', 'mw', [oxm(18, 'SCTP_DST')], SCTP),
  icmp_type: row(8, 'decimal', 'w', [nxm0(13, 'ICMP_TYPE'), oxm(19, 'ICMPV4_TYPE')], ICMP4),
  icmp_code: row(8, 'decimal', 'w', [nxm0(14, 'ICMP_CODE'), oxm(20, 'ICMPV4_CODE')], ICMP4),
  icmpv6_type: row(8, 'decimal', 'w', [nxm1(21, 'ICMPV6_TYPE'), oxm(29, 'ICMPV6_TYPE')], ICMP6),
  icmpv6_code: row(8, 'decimal', 'w', [nxm1(22, 'ICMPV6_CODE'), oxm(30, 'ICMPV6_CODE')], ICMP6),
  nd_target: row(128, 'ipv6', 'mw', [nxm1(23, 'ND_TARGET'), oxm(31, 'IPV6_ND_TARGET')], ND),
  nd_sll: row(48, 'mac', 'mw', [nxm1(24, 'ND_SLL'), oxm(32, 'IPV6_ND_SLL')], ND_SOLICIT),
  nd_tll: row(48, 'mac', 'mw', [nxm1(25, 'ND_TLL'), oxm(33, 'IPV6_ND_TLL')], ND_ADVERT),
  nd_reserved: row(32, 'decimal', 'w', [eric(1, 'ICMPV6_ND_RESERVED')], ND),
  nd_options_type: row(8, 'decimal', 'w', [eric(2, 'ICMPV6_ND_OPTIONS_TYPE')], ND),
  arp_op: row(16, 'decimal', 'w', [nxm0(15, 'ARP_OP'), oxm(21, 'ARP_OP')], ARP),
  arp_spa: row(32, 'ipv4', 'mw', [nxm0(16, 'ARP_SPA'), oxm(22, 'ARP_SPA')], ARP),
  arp_tpa: row(32, 'ipv4', 'mw', [nxm0(17, 'ARP_TPA'), oxm(23, 'ARP_TPA')], ARP),
  arp_sha: row(48, 'mac', 'mw', [nxm1(17, 'ARP_SHA'), oxm(24, 'ARP_SHA')], ARP),
  arp_tha: row(48, 'mac', 'mw', [nxm1(18, 'ARP_THA'), oxm(25, 'ARP_THA')], ARP),
  tun_id: row(64, 'hex', 'mw', [nxm1(16, 'TUN_ID'), oxm(38, 'TUNNEL_ID', 4)], { aliases: ['tunnel_id'] }),
  tun_src: row(32, 'ipv4', 'mw', [nxm1(31, 'TUN_IPV4_SRC')]),
  tun_dst: row(32, 'ipv4', 'mw', [nxm1(32, 'TUN_IPV4_DST')]),
  tun_ipv6_src: row(128, 'ipv6', 'mw', [nxm1(109, 'TUN_IPV6_SRC')]),
  tun_ipv6_dst: row(128, 'ipv6', 'mw', [nxm1(110, 'TUN_IPV6_DST')]),
  tun_flags: row(16, 'tunnelFlags', 'mw', [nxm1(104, 'TUN_FLAGS')]),
  tun_gbp_id: row(16, 'decimal', 'mw', [nxm1(38, 'TUN_GBP_ID')]),
  tun_gbp_flags: row(8, 'hex', 'mw', [nxm1(39, 'TUN_GBP_FLAGS')]),
  tun_erspan_idx: row(20, 'hex', 'mw', [nx(11, 'ERSPAN_IDX')], { bytes: 4 }),
  tun_erspan_ver: row(4, 'decimal', 'mw', [nx(12, 'ERSPAN_VER')]),
  tun_erspan_dir: row(1, 'decimal', 'mw', [nx(13, 'ERSPAN_DIR')]),
  tun_erspan_hwid: row(6, 'hex', 'mw', [nx(14, 'ERSPAN_HWID')]),
  tun_gtpu_flags: row(8, 'hex', 'm', [nx(15, 'GTPU_FLAGS')]),
  tun_gtpu_msgtype: row(8, 'decimal', 'm', [nx(16, 'GTPU_MSGTYPE')]),
  ct_state: row(32, 'ctState', 'm', [nxm1(105, 'CT_STATE')]),
  ct_zone: row(16, 'hex', '', [nxm1(106, 'CT_ZONE')]),
  ct_mark: row(32, 'hex', 'mw', [nxm1(107, 'CT_MARK')]),
  ct_label: row(128, 'hex', 'mw', [nxm1(108, 'CT_LABEL')]),
  ct_nw_proto: row(8, 'decimal', '', [nxm1(119, 'CT_NW_PROTO')], CT),
  ct_nw_src: row(32, 'ipv4', 'm', [nxm1(120, 'CT_NW_SRC')], CT4),
  ct_nw_dst: row(32, 'ipv4', 'm', [nxm1(121, 'CT_NW_DST')], CT4),
  ct_ipv6_src: row(128, 'ipv6', 'm', [nxm1(122, 'CT_IPV6_SRC')], CT6),
  ct_ipv6_dst: row(128, 'ipv6', 'm', [nxm1(123, 'CT_IPV6_DST')], CT6),
  ct_tp_src: row(16, 'decimal', 'm', [nxm1(124, 'CT_TP_SRC')], CT_PORT),
  ct_tp_dst: row(16, 'decimal', 'm', [nxm1(125, 'CT_TP_DST')], CT_PORT),
  conj_id: row(32, 'decimal', '', [nxm1(37, 'CONJ_ID')]),
  pkt_mark: row(32, 'hex', 'mw', [nxm1(33, 'PKT_MARK')]),
  dp_hash: row(32, 'hex', 'm', [nxm1(35, 'DP_HASH'), nx(0, 'DP_HASH')]),
  recirc_id: row(32, 'decimal', '', [nxm1(36, 'RECIRC_ID')]),
  /** Not on the wire: Open vSwitch keeps it to itself. */
  skb_priority: row(32, 'hex', '', []),
  nsh_flags: row(8, 'decimal', 'mw', [nsh(1, 'FLAGS')], NSH),
  nsh_mdtype: row(8, 'decimal', '', [nsh(2, 'MDTYPE')], NSH),
  nsh_np: row(8, 'decimal', '', [nsh(3, 'NP')], NSH),
  nsh_spi: row(24, 'hex', 'w', [nsh(4, 'SPI')], { ...NSH, aliases: ['nsp'], bytes: 4 }),
  nsh_si: row(8, 'decimal', 'w', [nsh(5, 'SI')], { ...NSH, aliases: ['nsi'] }),
  nsh_c1: row(32, 'hex', 'mw', [nsh(6, 'C1')], { ...NSH, aliases: ['nshc1'] }),
  nsh_c2: row(32, 'hex', 'mw', [nsh(7, 'C2')], { ...NSH, aliases: ['nshc2'] }),
  nsh_c3: row(32, 'hex', 'mw', [nsh(8, 'C3')], { ...NSH, aliases: ['nshc3'] }),
  nsh_c4: row(32, 'hex', 'mw', [nsh(9, 'C4')], { ...NSH, aliases: ['nshc4'] }),
  nsh_ttl: row(8, 'decimal', 'w', [nsh(10, 'TTL')], NSH),
} as const satisfies Record<string, Row>;

type Digit = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;
type RegisterName = `reg${Digit | 10 | 11 | 12 | 13 | 14 | 15}`;
type WideRegisterName = `xreg${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}` | `xxreg${0 | 1 | 2 | 3}`;
type TunnelMetadataName =
  | `tun_metadata${Digit}`
  | `tun_metadata${1 | 2 | 3 | 4 | 5}${Digit}`
  | `tun_metadata6${0 | 1 | 2 | 3}`;

export type FieldName = keyof typeof NAMED | RegisterName | WideRegisterName | TunnelMetadataName;

/** The fields that come in numbered series. `tun_metadataN` is as wide as its mapping says: up to 124 bytes. */
function numbered(): [string, Row][] {
  const rows: [string, Row][] = [];
  for (let n = 0; n < 16; n++) rows.push([`reg${n}`, row(32, 'hex', 'mw', [nxm1(n, `REG${n}`)])]);
  for (let n = 0; n < 8; n++)
    rows.push([`xreg${n}`, row(64, 'hex', 'mw', [[OXM_CLASS.packetRegs, n, `OXM_OF_PKT_REG${n}`, 4]])]);
  for (let n = 0; n < 4; n++) rows.push([`xxreg${n}`, row(128, 'hex', 'mw', [nxm1(111 + n, `XXREG${n}`)])]);
  for (let n = 0; n < 64; n++)
    rows.push([`tun_metadata${n}`, row(992, 'hex', 'mw', [nxm1(40 + n, `TUN_METADATA${n}`)])]);
  return rows;
}

function build(name: FieldName, source: Row, index: number): Field {
  const { bits, format, maskable, writable, aliases } = source;
  const bytes = source.bytes ?? Math.ceil(bits / 8);
  const codes = source.codes.map(([class_, code, label, since = 1, vendor = 0, width = bytes]) => ({
    class: class_,
    code,
    vendor,
    name: label,
    bytes: width,
    since,
    header: class_ * 0x1_0000 + code * 0x200,
  }));
  const prerequisites = source.needs.map(([field, ...values]) => ({
    field: field as FieldName,
    ...(values.length > 0 ? { values } : {}),
  }));
  return { name, index, bits, bytes, format, maskable, writable, prerequisites, codes, aliases };
}

/** Every field, in the order of its `index`. */
export const FIELDS: readonly Field[] = [...Object.entries<Row>(NAMED), ...numbered()].map(([name, source], index) =>
  build(name as FieldName, source, index),
);

export const FIELD_BITS = Object.fromEntries(FIELDS.map((f) => [f.name, f.bits])) as Readonly<
  Record<FieldName, number>
>;

const BY_NAME = new Map<string, Field>();
const BY_CODE_NAME = new Map<string, { field: Field; code: FieldCode }>();
const BY_CODE = new Map<number, { field: Field; code: FieldCode }>();
const BY_VENDOR_CODE = new Map<string, { field: Field; code: FieldCode }>();
for (const field of FIELDS) {
  BY_NAME.set(field.name, field);
  for (const alias of field.aliases) BY_NAME.set(alias, field);
  for (const code of field.codes) {
    BY_CODE_NAME.set(code.name, { field, code });
    if (code.vendor === 0) BY_CODE.set(code.class * 128 + code.code, { field, code });
    else BY_VENDOR_CODE.set(`${code.vendor}:${code.code}`, { field, code });
  }
}

/** The field of that name; for names known to exist. */
export function fieldOf(name: FieldName): Field {
  return BY_NAME.get(name)!;
}

/** By `ovs-ofctl` name or alias (`ip_src`, `nw_src`). */
export function fieldByName(name: string): Field | undefined {
  return BY_NAME.get(name);
}

/** By the name of a code point (`NXM_NX_REG0`, `OXM_OF_ETH_SRC`, `NXOXM_ET_DP_HASH`). */
export function fieldByCodeName(name: string): { readonly field: Field; readonly code: FieldCode } | undefined {
  return BY_CODE_NAME.get(name);
}

/** By OXM class, field code (7 bits) and, for class 0xffff, the experimenter's id. */
export function fieldByCode(
  class_: number,
  code: number,
  vendor = 0,
): { readonly field: Field; readonly code: FieldCode } | undefined {
  return vendor === 0 ? BY_CODE.get(class_ * 128 + code) : BY_VENDOR_CODE.get(`${vendor}:${code}`);
}

const nxmFirst = FIELDS.map((f) => f.codes.find((c) => c.class < 2) ?? f.codes.at(-1));
const oxmBest = new Map<number, readonly (FieldCode | undefined)[]>();

/** The code point that Nicira's actions use for a field: NXM where it has one. */
export function nxmCode(field: Field): FieldCode | undefined {
  return nxmFirst[field.index];
}

/**
 * The code point that a match or set-field of OpenFlow `version` (wire number) uses: the newest that it has, or a later
 * version's when it has none.
 */
export function oxmCode(field: Field, version: number): FieldCode | undefined {
  let table = oxmBest.get(version);
  if (!table) {
    const best = (f: Field): FieldCode | undefined =>
      f.codes.findLast((c) => c.class >= 0x1000 && c.since <= version && c.vendor !== VENDOR.nicira) ??
      f.codes.find((c) => c.since <= version) ??
      f.codes[0];
    table = FIELDS.map(best);
    oxmBest.set(version, table);
  }
  return table[field.index];
}
