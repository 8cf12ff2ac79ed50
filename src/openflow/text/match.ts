import { type Field, type FieldName, fieldOf } from '../fields.ts';
import type { FieldValue, Masked, Match } from '../flow.ts';
import { badText, formatHexBytes, hex, hex0, type Item, parseHexBytes, splitItems } from './items.ts';
import { fieldByText, printedName, rangeFromText } from './subfield.ts';
import { formatValue, fullMask, parseValue, sized, valueAndMask } from './values.ts';

/**
 * Matches in `ovs-ofctl` syntax (`ovs-fields(7)`). The canonical text is what Open vSwitch prints: protocol names in
 * place of `eth_type` and `ip_proto`, VLAN fields as `dl_vlan` and `dl_vlan_pcp`, wide registers as their 32-bit parts.
 * `parseMatch` returns the fields as OpenFlow 1.3 has them (`vlan_vid` with the "present" bit, `ip_dscp`), so that
 * `parseMatch(formatMatch(m))` equals `m` but for such other ways of saying the same.
 */

/** Shorthands, in the order in which `formatMatch` looks for them. */
const PROTOCOLS: readonly (readonly [name: string, ethType: number, ipProto?: number])[] = [
  ['icmp', 0x0800, 1],
  ['tcp', 0x0800, 6],
  ['udp', 0x0800, 17],
  ['sctp', 0x0800, 132],
  ['ip', 0x0800],
  ['icmp6', 0x86dd, 58],
  ['tcp6', 0x86dd, 6],
  ['udp6', 0x86dd, 17],
  ['sctp6', 0x86dd, 132],
  ['ipv6', 0x86dd],
  ['arp', 0x0806],
  ['rarp', 0x8035],
  ['mpls', 0x8847],
  ['mplsm', 0x8848],
  ['ipv4', 0x0800],
  ['ip4', 0x0800],
  ['ip6', 0x86dd],
];
const PROTOCOL_BY_NAME = new Map(PROTOCOLS.map((row) => [row[0], row]));

const VLAN_PRESENT = 0x1000;

/** How Open vSwitch's match printer writes numbers, where `formatValue` writes them otherwise. */
type Style = 'hash-hex' | 'decimal-or-hex' | 'label' | 'value';
type Column = readonly [field: FieldName, style?: Style, label?: string];

const registers = Array.from({ length: 16 }, (_, n): Column => [`reg${n}` as FieldName, 'hash-hex']);
const tunnelMetadata = Array.from({ length: 64 }, (_, n): Column => [`tun_metadata${n}` as FieldName]);

/** Fields that stand before the protocol name, between it and the VLAN, and after; in the order of printing. */
const BEFORE_PROTOCOL: readonly Column[] = [
  ['pkt_mark', 'hash-hex'],
  ['recirc_id', 'hash-hex'],
  ['dp_hash', 'hash-hex'],
  ['conj_id'],
  ['skb_priority', 'hash-hex'],
  ['actset_output'],
  ['ct_state'],
  ['ct_zone', 'decimal-or-hex'],
  ['ct_mark', 'hash-hex'],
  ['ct_label'],
  ['ct_nw_src'],
  ['ct_ipv6_src'],
  ['ct_nw_dst'],
  ['ct_ipv6_dst'],
  ['ct_nw_proto'],
  ['ct_tp_src', 'decimal-or-hex'],
  ['ct_tp_dst', 'decimal-or-hex'],
  ['packet_type'],
];
const BEFORE_VLAN: readonly Column[] = [
  ...registers,
  ['tun_id', 'hash-hex'],
  ['tun_src'],
  ['tun_dst'],
  ['tun_ipv6_src'],
  ['tun_ipv6_dst'],
  ['tun_gbp_id', 'decimal-or-hex'],
  ['tun_gbp_flags', 'hash-hex'],
  ['tun_erspan_ver'],
  ['tun_erspan_idx', 'hash-hex'],
  ['tun_erspan_dir'],
  ['tun_erspan_hwid', 'hash-hex'],
  ['tun_gtpu_flags', 'hash-hex'],
  ['tun_gtpu_msgtype'],
  ['tun_flags'],
  ...tunnelMetadata,
  ['metadata', 'hash-hex'],
  ['in_port'],
  ['in_phy_port'],
];
const AFTER_VLAN: readonly Column[] = [
  ['eth_src', 'value', 'dl_src'],
  ['eth_dst', 'value', 'dl_dst'],
  ['pbb_isid'],
  ['pbb_uca'],
  ['ipv6_src'],
  ['ipv6_dst'],
  ['ipv6_label', 'label'],
  ['ipv6_exthdr'],
  ['arp_spa'],
  ['arp_tpa'],
  ['ip_src', 'value', 'nw_src'],
  ['ip_dst', 'value', 'nw_dst'],
  ['nsh_flags', 'decimal-or-hex'],
  ['nsh_ttl'],
  ['nsh_mdtype'],
  ['nsh_np'],
  ['nsh_spi', 'hash-hex'],
  ['nsh_si'],
  ['nsh_c1', 'hash-hex'],
  ['nsh_c2', 'hash-hex'],
  ['nsh_c3', 'hash-hex'],
  ['nsh_c4', 'hash-hex'],
  ['arp_op'],
  ['arp_sha'],
  ['arp_tha'],
  ['nw_tos'],
  ['ip_ecn', 'value', 'nw_ecn'],
  ['ip_ttl', 'value', 'nw_ttl'],
  ['mpls_label'],
  ['mpls_tc'],
  ['mpls_ttl'],
  ['mpls_bos'],
  ['ip_frag', 'value', 'nw_frag'],
  ['icmp_type'],
  ['icmp_code'],
  ['icmpv6_type', 'value', 'icmp_type'],
  ['icmpv6_code', 'value', 'icmp_code'],
  ['nd_target'],
  ['nd_sll'],
  ['nd_tll'],
  ['nd_reserved'],
  ['nd_options_type'],
  ['tcp_src', 'decimal-or-hex', 'tp_src'],
  ['udp_src', 'decimal-or-hex', 'tp_src'],
  ['sctp_src', 'decimal-or-hex', 'tp_src'],
  ['tcp_dst', 'decimal-or-hex', 'tp_dst'],
  ['udp_dst', 'decimal-or-hex', 'tp_dst'],
  ['sctp_dst', 'decimal-or-hex', 'tp_dst'],
  ['tcp_flags'],
];

/** The canonical text of a match; '' matches everything. */
export function formatMatch(match: Match): string {
  const plain = narrowRegisters(match);
  const out: string[] = [];
  put(out, plain, BEFORE_PROTOCOL);
  const protocol = protocolOf(plain);
  if (protocol) out.push(protocol[0]);
  put(out, plain, BEFORE_VLAN);
  formatVlan(out, plain);
  put(out, plain, AFTER_VLAN.slice(0, 2));
  if (!protocol && plain.eth_type !== undefined) out.push(`dl_type=${hex0(Number(plain.eth_type), 4)}`);
  if (protocol?.[2] === undefined && plain.ip_proto !== undefined) {
    const at = AFTER_VLAN.findIndex(([field]) => field === 'arp_op');
    put(out, plain, AFTER_VLAN.slice(2, at));
    out.push(`nw_proto=${plain.ip_proto}`);
    put(out, plain, AFTER_VLAN.slice(at));
  } else put(out, plain, AFTER_VLAN.slice(2));
  for (const bytes of match.unknown ?? []) out.push(`unknown(${formatHexBytes(bytes, '')})`);
  return out.join(',');
}

function protocolOf(match: Match): (typeof PROTOCOLS)[number] | undefined {
  return PROTOCOLS.find(
    ([, ethType, proto]) => match.eth_type === ethType && (proto === undefined || match.ip_proto === proto),
  );
}

function put(out: string[], match: Match, columns: readonly Column[]): void {
  for (const [name, style = 'value', label] of columns) {
    const entry = match[name];
    if (entry === undefined) continue;
    const field = fieldOf(name);
    const { value, mask } = valueAndMask(field, entry);
    if (mask !== undefined && BigInt(mask) === 0n) continue;
    out.push(`${label ?? name}=${styled(field, style, value, mask)}`);
  }
}

function styled(field: Field, style: Style, value: FieldValue, mask: FieldValue | undefined): string {
  switch (style) {
    case 'hash-hex':
      return mask === undefined ? hex(value) : `${hex(value)}/${hex(mask)}`;
    case 'decimal-or-hex':
      return mask === undefined ? `${value}` : `${hex0(value)}/${hex0(mask)}`;
    case 'label':
      return mask === undefined ? hex0(value, 5) : `${hex0(value, 5)}/${hex0(mask, 5)}`;
    case 'value':
      return formatValue(field, value, mask);
  }
}

/** Matches on xreg and xxreg as matches on the 32-bit registers that they consist of; DSCP as the TOS byte. */
function narrowRegisters(match: Match): Match {
  if (!Object.keys(match).some((name) => name.startsWith('x') || name === 'ip_dscp')) return match;
  const out: Record<string, FieldValue | Masked> = {};
  for (const [name, entry] of Object.entries(match) as [FieldName, FieldValue | Masked][]) {
    const wide = /^(xx?)reg(\d+)$/.exec(name);
    if (name === 'ip_dscp') out.nw_tos = Number(entry) << 2;
    else if (wide) splitWide(out, wide[1] === 'xx' ? 4 : 2, Number(wide[2]), entry);
    else out[name] ??= entry;
  }
  return out as Match;
}

function splitWide(
  out: Record<string, FieldValue | Masked>,
  parts: number,
  n: number,
  entry: FieldValue | Masked,
): void {
  const { value, mask = fullMask(32 * parts) } = typeof entry === 'object' ? entry : { value: entry };
  for (let part = 0; part < parts; part++) {
    const shift = BigInt(32 * (parts - 1 - part));
    const partMask = Number((BigInt(mask) >> shift) & 0xffff_ffffn);
    const partValue = Number((BigInt(value) >> shift) & 0xffff_ffffn);
    if (partMask !== 0)
      out[`reg${n * parts + part}`] = partMask === 0xffff_ffff ? partValue : { value: partValue, mask: partMask };
  }
}

/** VLAN matches are one masked TCI to Open vSwitch, printed by what its mask covers. */
function formatVlan(out: string[], match: Match): void {
  let [tci, mask] = [0, 0];
  const add = (entry: FieldValue | Masked | undefined, all: number, shift: number): void => {
    if (entry === undefined) return;
    const [v, m] = typeof entry === 'object' ? [Number(entry.value), Number(entry.mask)] : [Number(entry), all];
    tci |= (v & m) << shift;
    mask |= m << shift;
  };
  add(match.vlan_tci, 0xffff, 0);
  add(match.vlan_vid, 0x1fff, 0);
  if (match.vlan_pcp !== undefined) add({ value: Number(match.vlan_pcp) * 2 + 1, mask: 0xf }, 0xf, 12);
  if (mask === 0) return;
  const [vid, pcp] = [mask & 0xfff, mask & 0xe000];
  const whole = (vid === 0 || vid === 0xfff) && (pcp === 0 || pcp === 0xe000) && (vid | pcp) !== 0;
  if (mask & tci & VLAN_PRESENT && whole) {
    if (vid) out.push(`dl_vlan=${tci & 0xfff}`);
    if (pcp) out.push(`dl_vlan_pcp=${tci >>> 13}`);
  } else out.push(`vlan_tci=${hex0(tci, 4)}${mask === 0xffff ? '' : `/${hex0(mask, 4)}`}`);
}

/** Reads a match; `base` is where the text stands in a larger one. Throws `DecodeError('bad-text')`. */
export function parseMatch(text: string, base = 0): Match {
  const builder = new MatchBuilder();
  for (const item of splitItems(text, base)) {
    if (!builder.take(item)) badText(item.at, item.key, 'no such match field');
  }
  return builder.finish();
}

/** Takes a match item by item, so that `parseFlow` can take its own keys out. */
export class MatchBuilder {
  readonly #match: Record<string, FieldValue | Masked> = {};
  readonly #places = new Map<string, number>();
  readonly #unknown: Uint8Array[] = [];
  /** `tp_src` and the like, which mean a field of the protocol that may yet come. */
  readonly #ports: Item[] = [];

  /** Returns false for a key that belongs to no match. */
  take(item: Item): boolean {
    const { key } = item;
    const protocol = item.form === '' ? PROTOCOL_BY_NAME.get(key) : undefined;
    if (protocol) {
      this.#set('eth_type', protocol[1], item);
      if (protocol[2] !== undefined) this.#set('ip_proto', protocol[2], item);
    } else if (key === 'unknown' && item.form === '(')
      this.#unknown.push(parseHexBytes(item.value, item.valueAt, 'unknown'));
    else if (key === 'eth' && item.form === '') this.#set('packet_type', 0, item);
    else if (/^(tp_src|tp_dst|icmp_type|icmp_code)$/.test(key)) this.#ports.push(item);
    else if (/^(dl_vlan|dl_vlan_pcp|vlan_tci|vlan_tci0|vlan_pcp)$/.test(key)) this.#vlan(item);
    else return this.#field(item);
    return true;
  }

  #field(item: Item): boolean {
    const name = item.form === '=' && item.key.endsWith(']') ? item.key : undefined;
    const field = fieldByText(item.key);
    if (name !== undefined) return this.#bits(item);
    if (!field) return false;
    this.#parsed(field, item);
    return true;
  }

  #parsed(field: Field, item: Item): void {
    const { value, mask } = parseValue(field, wanted(item), item.valueAt);
    if (field.name === 'nw_tos') {
      if (Number(value) & 3) badText(item.valueAt, 'nw_tos', 'the lower two bits belong to nw_ecn: make them zero');
      this.#set('ip_dscp', Number(value) >>> 2, item);
    } else if (mask === undefined) this.#set(field.name, value, item);
    else if (BigInt(mask) !== 0n)
      this.#set(field.name, { value: sized(field.bits, BigInt(value) & BigInt(mask)), mask }, item);
  }

  /** `reg0[0..15]=5`: some bits of a field; several such items on one field add up. */
  #bits(item: Item): boolean {
    const range = rangeFromText(item.key, item.at);
    if (!range) return false;
    const field = fieldOf(range.field);
    const { value } = parseValue({ ...field, bits: range.bits, format: 'decimal' }, wanted(item), item.valueAt);
    const shift = BigInt(range.from);
    const [bits, mask] = [BigInt(value) << shift, BigInt(fullMask(range.bits)) << shift];
    const before = this.#match[field.name];
    const old = before === undefined ? { value: 0n, mask: 0n } : valueWithMask(field, before);
    const all = old.mask | mask;
    const merged = sized(field.bits, (old.value & ~mask) | bits);
    const exact = all === BigInt(fullMask(field.bits));
    this.#match[field.name] = exact ? merged : { value: merged, mask: sized(field.bits, all) };
    this.#places.set(field.name, item.at);
    return true;
  }

  #vlan(item: Item): void {
    const text = wanted(item);
    if (item.key === 'dl_vlan') {
      const vid = Number(parseValue({ ...fieldOf('vlan_vid'), bits: 16 }, text, item.valueAt).value);
      if (vid > 0xfff && vid !== 0xffff) badText(item.valueAt, 'dl_vlan', '0 to 4095 wanted, or 0xffff for no VLAN');
      this.#set('vlan_vid', vid === 0xffff ? 0 : VLAN_PRESENT | vid, item);
    } else if (item.key === 'dl_vlan_pcp' || item.key === 'vlan_pcp') {
      this.#set('vlan_pcp', parseValue(fieldOf('vlan_pcp'), text, item.valueAt).value, item);
    } else this.#tci(item, text);
  }

  /** As `vlan_vid` and `vlan_pcp` where those can say it. */
  #tci(item: Item, text: string): void {
    const parsed = parseValue(fieldOf('vlan_tci'), text, item.valueAt);
    const mask = Number(parsed.mask ?? 0xffff);
    const tci = Number(parsed.value) & mask;
    const pcp = mask & 0xe000;
    const present = (tci & mask & VLAN_PRESENT) !== 0;
    if (pcp !== 0 && !(pcp === 0xe000 && present)) {
      this.#set('vlan_tci', mask === 0xffff ? tci : { value: tci, mask }, item);
      return;
    }
    if (pcp) this.#set('vlan_pcp', tci >>> 13, item);
    if ((mask & 0x1fff) === 0) return;
    const vid = { value: tci & 0x1fff, mask: mask & 0x1fff };
    this.#set('vlan_vid', vid.mask === 0x1fff ? vid.value : vid, item);
  }

  #set(name: FieldName, value: FieldValue | Masked, item: Item): void {
    const before = this.#match[name];
    if (before !== undefined && !(typeof before !== 'object' && before === value))
      badText(item.at, item.key, `${name} is given twice`);
    this.#match[name] = value;
    if (!this.#places.has(name)) this.#places.set(name, item.at);
  }

  /** The match. Throws when a field's prerequisites are not in it. */
  finish(): Match {
    for (const item of this.#ports) this.#port(item);
    const match = this.#match;
    if (match.vlan_pcp !== undefined && match.vlan_vid === undefined)
      match.vlan_vid = { value: VLAN_PRESENT, mask: VLAN_PRESENT };
    for (const [name, at] of this.#places) {
      for (const { field, values } of fieldOf(name as FieldName).prerequisites) {
        const entry = match[field];
        const meets = entry !== undefined && (!values || (typeof entry !== 'object' && values.includes(Number(entry))));
        if (!meets) badText(at, name, `add ${prerequisiteText(field, values)} to the match`);
      }
    }
    return (this.#unknown.length > 0 ? { ...match, unknown: this.#unknown } : match) as Match;
  }

  #port(item: Item): void {
    const proto = Number(this.#match.ip_proto);
    const v6 = this.#match.eth_type === 0x86dd;
    if (item.key.startsWith('icmp')) {
      const name = v6 ? item.key.replace('icmp', 'icmpv6') : item.key;
      this.#parsed(fieldOf(name as FieldName), item);
      return;
    }
    const prefix = { 6: 'tcp', 17: 'udp', 132: 'sctp' }[proto];
    if (!prefix) badText(item.at, item.key, 'add tcp, udp or sctp (or tcp6 …) to the match');
    this.#parsed(fieldOf(item.key.replace('tp', prefix) as FieldName), item);
  }
}

function wanted(item: Item): string {
  if (item.form === '' || item.value === '') badText(item.valueAt, item.key, `write ${item.key}=value`);
  return item.form === '(' ? `(${item.value})` : item.value;
}

function valueWithMask(field: Field, entry: FieldValue | Masked): { value: bigint; mask: bigint } {
  return typeof entry === 'object'
    ? { value: BigInt(entry.value), mask: BigInt(entry.mask) }
    : { value: BigInt(entry), mask: BigInt(fullMask(field.bits)) };
}

function prerequisiteText(field: FieldName, values: readonly number[] | undefined): string {
  const name = printedName(fieldOf(field));
  if (!values) return name;
  const shown = values.map((value) => {
    const short = field === 'eth_type' && PROTOCOLS.find(([, type, proto]) => type === value && proto === undefined);
    return short ? short[0] : `${name}=${field === 'eth_type' ? hex0(value, 4) : value}`;
  });
  return shown.join(' or ');
}
