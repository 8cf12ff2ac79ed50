import {
  formatIpv4,
  formatIpv6,
  formatMac,
  parseIpv4,
  parseIpv6,
  parseMac,
  prefixMask4,
  prefixMask6,
} from '../../base/addresses.ts';
import type { Field } from '../fields.ts';
import type { FieldValue, Masked } from '../flow.ts';
import { badText, hex, hex0, parseInteger } from './items.ts';
import { formatPort, parsePort } from './ports.ts';

/** Values of fields as text, in the form that each field has (`Field.format`). */

export const CT_STATE_FLAGS = ['new', 'est', 'rel', 'rpl', 'inv', 'trk', 'snat', 'dnat'] as const;
const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns', '[200]', '[400]', '[800]'] as const;
/** Open vSwitch's FLOW_TNL_F_*; only `oam` is for matching and setting. */
const TUNNEL_FLAGS = ['oam'] as const;

/** `ip_frag`: bit 0 says that it is a fragment, bit 1 that it is not the first one. */
const FRAGMENTS: readonly (readonly [name: string, value: number, mask: number])[] = [
  ['no', 0, 3],
  ['first', 1, 3],
  ['later', 3, 3],
  ['no', 0, 1],
  ['yes', 1, 1],
  ['not_later', 0, 2],
];

/** All ones in the width of a field. */
export function fullMask(bits: number): FieldValue {
  return bits <= 48 ? 2 ** bits - 1 : (1n << BigInt(bits)) - 1n;
}

/** Number or bigint, as the width asks for. */
export function sized(bits: number, value: bigint): FieldValue {
  return bits <= 48 ? Number(value) : value;
}

/** Value and mask of a match entry; no mask when it is exact. */
export function valueAndMask(field: Field, entry: FieldValue | Masked): { value: FieldValue; mask?: FieldValue } {
  if (typeof entry !== 'object') return { value: entry };
  return BigInt(entry.mask) === BigInt(fullMask(flagBits(field))) || BigInt(entry.mask) === BigInt(fullMask(field.bits))
    ? { value: entry.value }
    : entry;
}

/** How many of a flag field's bits mean anything: a mask of all those is an exact match. */
function flagBits(field: Field): number {
  return field.format === 'ctState' ? CT_STATE_FLAGS.length : field.format === 'tunnelFlags' ? 1 : field.bits;
}

/** As `set_field` prints it: value, and `/mask` unless the mask is absent or full. */
export function formatValue(field: Field, value: FieldValue, mask?: FieldValue): string {
  const full = mask === undefined || BigInt(mask) === BigInt(fullMask(field.bits));
  switch (field.format) {
    case 'port':
      return formatPort(Number(value));
    case 'mac':
      return full ? formatMac(Number(value)) : `${formatMac(Number(value))}/${formatMac(Number(mask))}`;
    case 'ipv4':
      return full ? formatIpv4(Number(value)) : `${formatIpv4(Number(value))}/${formatMask4(Number(mask))}`;
    case 'ipv6':
      return full ? formatIpv6(BigInt(value)) : `${formatIpv6(BigInt(value))}/${formatMask6(BigInt(mask))}`;
    case 'ctState':
      return formatFlags(CT_STATE_FLAGS, Number(value), mask === undefined ? 0xff : Number(mask) & 0xff);
    case 'tcpFlags':
      return formatFlags(TCP_FLAGS, Number(value), mask === undefined ? 0xfff : Number(mask));
    case 'tunnelFlags':
      return formatFlags(TUNNEL_FLAGS, Number(value), mask === undefined ? 1 : Number(mask) & 1);
    case 'frag':
      return formatFragment(Number(value), mask === undefined ? 3 : Number(mask));
    case 'packetType':
      return `(${Math.floor(Number(value) / 0x1_0000)},${hex0(Number(value) & 0xffff)})`;
    case 'decimal':
      return full ? `${value}` : `${value}/${hex0(mask)}`;
    case 'hex':
      return full ? hex(value) : `${hex(value)}/${hex(mask)}`;
  }
}

function formatFlags(names: readonly string[], value: number, mask: number): string {
  const all = 2 ** names.length - 1;
  if (mask === all) {
    const set = names.filter((_, bit) => value & (1 << bit));
    return set.length > 0 ? set.join('|') : '0';
  }
  return names.flatMap((name, bit) => (mask & (1 << bit) ? [`${value & (1 << bit) ? '+' : '-'}${name}`] : [])).join('');
}

function formatFragment(value: number, mask: number): string {
  const known = FRAGMENTS.find(([, v, m]) => v === (value & mask) && m === mask);
  return known ? known[0] : `${value}/${mask}`;
}

function formatMask4(mask: number): string {
  const prefix = Math.clz32(~mask);
  return prefixMask4(prefix) === mask ? `${prefix}` : formatIpv4(mask);
}

function formatMask6(mask: bigint): string {
  let prefix = 0;
  while (prefix < 128 && (mask >> BigInt(127 - prefix)) & 1n) prefix++;
  return prefixMask6(prefix) === mask ? `${prefix}` : formatIpv6(mask);
}

/** Reads `value` or `value/mask` of `field`; a mask of all ones is left out. Throws `DecodeError('bad-text')`. */
export function parseValue(field: Field, text: string, at: number): { value: FieldValue; mask?: FieldValue } {
  const parsed = parseRaw(field, text, at);
  if (parsed.mask === undefined) return parsed;
  if (BigInt(parsed.mask) === BigInt(fullMask(field.bits))) return { value: parsed.value };
  if (!field.maskable) badText(at, field.name, 'this field takes no mask');
  return parsed;
}

function parseRaw(field: Field, text: string, at: number): { value: FieldValue; mask?: FieldValue } {
  switch (field.format) {
    case 'port':
      return { value: parsePort(text, at, field.name) };
    case 'ctState':
      return parseFlags(CT_STATE_FLAGS, text, at, field);
    case 'tcpFlags':
      return parseFlags(TCP_FLAGS, text, at, field);
    case 'tunnelFlags':
      return parseFlags(TUNNEL_FLAGS, text, at, field);
    case 'frag':
      return parseFragment(text, at);
    case 'packetType':
      return parsePacketType(text, at);
    default:
  }
  const slash = text.indexOf('/');
  if (slash < 0) return { value: parseOne(field, text, at) };
  return {
    value: parseOne(field, text.slice(0, slash), at),
    mask: parseMask(field, text.slice(slash + 1), at + slash + 1),
  };
}

function parseOne(field: Field, text: string, at: number): FieldValue {
  switch (field.format) {
    case 'mac':
      return parseMac(text) ?? badText(at, field.name, 'a MAC address such as 02:00:00:00:00:01 wanted');
    case 'ipv4':
      return parseIpv4(text) ?? badText(at, field.name, 'an IPv4 address wanted');
    case 'ipv6':
      return parseIpv6(text) ?? badText(at, field.name, 'an IPv6 address wanted');
    default:
      return sized(field.bits, parseInteger(text, field.bits, at, field.name));
  }
}

function parseMask(field: Field, text: string, at: number): FieldValue {
  const bits = field.format === 'ipv4' ? 32 : field.format === 'ipv6' ? 128 : 0;
  if (bits === 0 || !/^\d{1,3}$/.test(text)) return parseOne(field, text, at);
  const prefix = Number(text);
  if (prefix > bits) badText(at, field.name, `a prefix has at most ${bits} bits`);
  return bits === 32 ? prefixMask4(prefix) : prefixMask6(prefix);
}

/** `+new-est`, `new|trk`, `0`, or `value/mask` in numbers. */
function parseFlags(names: readonly string[], text: string, at: number, field: Field): Masked | { value: number } {
  if (/^\d/.test(text)) {
    const [value, mask] = text.split('/');
    const number = Number(parseInteger(value!, field.bits, at, field.name));
    return mask === undefined
      ? { value: number }
      : { value: number, mask: Number(parseInteger(mask, field.bits, at, field.name)) };
  }
  const bitOf = (name: string): number => {
    const bit = names.indexOf(name);
    return bit >= 0 ? 2 ** bit : badText(at, field.name, `${JSON.stringify(name)} is none of ${names.join(', ')}`);
  };
  if (!/^[+-]/.test(text)) return { value: text.split('|').reduce((sum, name) => sum | bitOf(name), 0) };
  let value = 0;
  let mask = 0;
  for (const [, sign, name] of text.matchAll(/([+-])([^+-]*)/g)) {
    const bit = bitOf(name!);
    if (mask & bit) badText(at, field.name, `${name} is given twice`);
    mask |= bit;
    if (sign === '+') value |= bit;
  }
  return mask === 2 ** flagBits(field) - 1 ? { value } : { value, mask };
}

function parseFragment(text: string, at: number): { value: number; mask?: number } {
  const known = FRAGMENTS.find(([name]) => name === text.toLowerCase());
  if (!known) badText(at, 'ip_frag', `one of ${FRAGMENTS.map(([name]) => name).join(', ')} wanted`);
  return known[2] === 3 ? { value: known[1] } : { value: known[1], mask: known[2] };
}

function parsePacketType(text: string, at: number): { value: number } {
  const match = /^\((\w+),(\w+)\)$/.exec(text);
  if (!match) badText(at, 'packet_type', 'write (namespace,type), for example (1,0x800)');
  const [ns, type] = [match[1]!, match[2]!].map((part) => Number(parseInteger(part, 16, at, 'packet_type')));
  return { value: ns! * 0x1_0000 + type! };
}
