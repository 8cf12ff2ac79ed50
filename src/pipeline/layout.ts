import { WeftError } from '../base/errors.ts';
import { FIELDS, type FieldName, fieldOf } from '../openflow/fields.ts';
import type { FieldValue } from '../openflow/flow.ts';

/**
 * Where each match field lives in a packet's *key*: an array of 32-bit words. A field of more than 32 bits takes
 * several words, the most significant first, so that `xreg0` simply is `reg0` and `reg1`. Fields that are bits of one
 * another share their word: `vlan_vid` and `vlan_pcp` with `vlan_tci`, `ip_dscp` and `ip_ecn` with the TOS byte, the
 * ports of TCP, UDP, SCTP and ICMP's type and code with each other (prerequisites keep them apart).
 */
export interface Place {
  readonly name: FieldName;
  /** First word. */
  readonly word: number;
  readonly words: number;
  /** Bit of the last word at which the field begins; only fields within one word have one. */
  readonly shift: number;
  readonly bits: number;
  /** Of the packet itself, not of its metadata: a write to it changes bytes. */
  readonly header: boolean;
}

/** Fields that share a word with the first of their row, at these shifts. */
const SHARED: readonly (readonly (readonly [name: FieldName, shift: number])[])[] = [
  [
    ['vlan_tci', 0],
    ['vlan_vid', 0],
    ['vlan_pcp', 13],
  ],
  [
    ['nw_tos', 0],
    ['ip_dscp', 2],
    ['ip_ecn', 0],
  ],
  [
    ['mpls_label', 12],
    ['mpls_tc', 9],
    ['mpls_bos', 8],
    ['mpls_ttl', 0],
  ],
  (['tcp_src', 'udp_src', 'sctp_src', 'icmp_type', 'icmpv6_type'] as const).map((name) => [name, 0]),
  (['tcp_dst', 'udp_dst', 'sctp_dst', 'icmp_code', 'icmpv6_code'] as const).map((name) => [name, 0]),
  [
    ['in_port', 0],
    ['in_phy_port', 0],
  ],
];

const HEADER = /^(eth_|vlan_|mpls_|pbb_|ip_|nw_tos|ipv6_|tcp_|udp_|sctp_|icmp|nd_|arp_|nsh_)/;

/** Tunnel metadata that the executor models: the first eight, of 128 bits each. */
const TUNNEL_METADATA = { count: 8, bits: 128 };

const PLACES = new Map<FieldName, Place>();
let next = 0;

function add(name: FieldName, word: number, words: number, shift: number, bits: number): void {
  PLACES.set(name, { name, word, words, shift, bits, header: HEADER.test(name) });
}

for (let n = 0; n < 16; n++) add(`reg${n}` as FieldName, next++, 1, 0, 32);
for (let n = 0; n < 8; n++) add(`xreg${n}` as FieldName, 2 * n, 2, 0, 64);
for (let n = 0; n < 4; n++) add(`xxreg${n}` as FieldName, 4 * n, 4, 0, 128);
for (const row of SHARED) {
  for (const [name, shift] of row) add(name, next, 1, shift, fieldOf(name).bits);
  next++;
}
for (const { name, bits } of FIELDS) {
  if (PLACES.has(name)) continue;
  const tunnel = /^tun_metadata(\d+)$/.exec(name);
  if (tunnel && Number(tunnel[1]) >= TUNNEL_METADATA.count) continue;
  const width = tunnel ? TUNNEL_METADATA.bits : bits;
  const words = Math.ceil(width / 32);
  add(name, next, words, 0, width);
  next += words;
}

/** Words of a key. */
export const KEY_WORDS = next;

/** Throws `WeftError('invalid')` for a field that the executor does not model. */
export function placeOf(name: FieldName): Place {
  const place = PLACES.get(name);
  if (!place) throw new WeftError('invalid', `pipeline: ${name} is not modelled`);
  return place;
}

/** `count` (1 to 32) bits of a field from bit `from`. */
export function readBits(key: Uint32Array, place: Place, from: number, count: number): number {
  const at = from + place.shift;
  const index = place.word + place.words - 1 - (at >>> 5);
  const offset = at & 31;
  let value = key[index]! >>> offset;
  if (offset + count > 32) value |= key[index - 1]! << (32 - offset);
  return count === 32 ? value >>> 0 : (value & ((1 << count) - 1)) >>> 0;
}

/** Writes `count` (1 to 32) bits of a field from bit `from`. */
export function writeBits(key: Uint32Array, place: Place, from: number, count: number, value: number): void {
  const at = from + place.shift;
  const index = place.word + place.words - 1 - (at >>> 5);
  const offset = at & 31;
  const mask = count === 32 ? 0xffff_ffff : 2 ** count - 1;
  key[index] = (key[index]! & ~(mask << offset)) | ((value & mask) << offset);
  if (offset + count > 32) {
    const over = 32 - offset;
    key[index - 1] = (key[index - 1]! & ~(mask >>> over)) | ((value & mask) >>> over);
  }
}

/** Writes any number of bits, from a number (up to 48 bits) or a bigint. */
export function writeWide(key: Uint32Array, place: Place, from: number, count: number, value: FieldValue): void {
  if (count <= 32 && typeof value === 'number') {
    writeBits(key, place, from, count, value % 0x1_0000_0000);
    return;
  }
  let rest = BigInt(value);
  for (let done = 0; done < count; done += 32) {
    writeBits(key, place, from + done, Math.min(32, count - done), Number(rest & 0xffff_ffffn));
    rest >>= 32n;
  }
}

/** Copies `count` bits; source and destination may overlap only when they are the same. */
export function copyBits(
  key: Uint32Array,
  src: Place,
  srcFrom: number,
  dst: Place,
  dstFrom: number,
  count: number,
): void {
  if (count <= 32) {
    writeBits(key, dst, dstFrom, count, readBits(key, src, srcFrom, count));
    return;
  }
  const pieces: number[] = [];
  for (let done = 0; done < count; done += 32)
    pieces.push(readBits(key, src, srcFrom + done, Math.min(32, count - done)));
  for (let done = 0; done < count; done += 32)
    writeBits(key, dst, dstFrom + done, Math.min(32, count - done), pieces[done / 32]!);
}

/** A whole field as a value: a number up to 48 bits, else a bigint. */
export function readField(key: Uint32Array, place: Place): FieldValue {
  if (place.bits <= 32) return readBits(key, place, 0, place.bits);
  if (place.bits <= 48) return key[place.word]! * 0x1_0000_0000 + key[place.word + 1]!;
  let value = 0n;
  for (let i = 0; i < place.words; i++) value = (value << 32n) | BigInt(key[place.word + i]!);
  return value;
}

/** Sets a whole field. */
export function writeField(key: Uint32Array, place: Place, value: FieldValue): void {
  if (place.bits <= 32) writeBits(key, place, 0, place.bits, Number(value));
  else if (typeof value === 'number' && place.words === 2) {
    key[place.word] = Math.floor(value / 0x1_0000_0000);
    key[place.word + 1] = value % 0x1_0000_0000;
  } else writeWide(key, place, 0, place.bits, value);
}
