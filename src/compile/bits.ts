import { type AlignedBlock, blocksOfRange, blocksOfSet } from '../base/aligned-blocks.ts';
import type { FieldValue, Masked } from '../openflow/flow.ts';

/** Sets of numbers as masked matches: ranges and VLAN lists by prefixes, "none of these" by single bits. */

/** The fewest aligned blocks that make up the range `first..last` of `bits`-bit numbers. */
export function prefixCover(first: number, last: number, bits: number): Masked[] {
  return blocksOfRange(first, last).map((block) => maskedOf(block, bits));
}

/** Ports `first..last` as values of a field: numbers where a block has one port. */
export function portCover(first: number, last: number): (number | Masked)[] {
  return prefixCover(first, last, 16).map((block) => (block.mask === 0xffff ? Number(block.value) : block));
}

/** Aligned blocks that make up a set of `bits`-bit numbers. */
export function setCover(values: Iterable<number>, bits: number): Masked[] {
  return blocksOfSet(values).map((block) => maskedOf(block, bits));
}

function maskedOf({ first, size }: AlignedBlock, bits: number): Masked {
  return { value: first, mask: 2 ** bits - size };
}

/** A value whose `mask` bits are fixed, of a field of up to 128 bits. */
export interface Fixed {
  readonly value: bigint;
  readonly mask: bigint;
}

/**
 * "None of these" in few, wide matches. A drop that has to compare a whole address costs the datapath one megaflow per
 * address; a spray of random ones would fill its cache. So, above the flows that ask for the whole address, stand up to `limit` flows that each look at one bit
 * which all owned addresses share: the bit being the other way round is enough to drop. Random addresses pass all of n such flows with
 * probability 2^-n, so n + 1 megaflows take all but that share of a spray.
 * `onlyZeros`: use only bits that are 0 in all owned addresses, so that the all-zero value ("absent") passes.
 */
export function otherBits(owned: readonly Fixed[], bits: number, limit: number, onlyZeros = false): Fixed[] {
  if (owned.length === 0) return [];
  const found: Fixed[] = [];
  for (let i = 0; i < bits && found.length < limit; i++) {
    const bit = 1n << BigInt(i);
    const want = owned[0]!.value & bit;
    if (onlyZeros && want !== 0n) continue;
    if (owned.every(({ value, mask }) => (mask & bit) !== 0n && (value & bit) === want))
      found.push({ value: want ^ bit, mask: bit });
  }
  return found;
}

/**
 * The bits that all of some addresses share, from the bytes that they have: each as place (0 is the last, in hexadecimal), two digits, and of
 * networks two more for the bits of the byte that are fixed. No bytes at all: no common bits.
 */
export function commonBits(bytes: readonly string[], bits: 32 | 48): Fixed {
  if (bytes.length === 0) return { value: 0n, mask: 0n };
  const places = bits / 8;
  const and = new Uint8Array(places).fill(0xff);
  const or = new Uint8Array(places);
  const fixed = new Uint8Array(places).fill(0xff);
  for (const byte of bytes) {
    const place = Number.parseInt(byte[0]!, 16);
    const digits = Number.parseInt(byte.slice(1, 3), 16);
    and[place]! &= digits;
    or[place]! |= digits;
    if (byte.length > 3) fixed[place]! &= Number.parseInt(byte.slice(3), 16);
  }
  let mask = 0n;
  let value = 0n;
  for (let place = 0; place < places; place++) {
    const shared = ~(and[place]! ^ or[place]!) & fixed[place]! & 0xff;
    mask |= BigInt(shared) << BigInt(place * 8);
    value |= BigInt(and[place]! & shared) << BigInt(place * 8);
  }
  return { value, mask };
}

/** Which bit a one-bit mask is. As part of a priority it makes equal masks stand together, so that subtables stay in order. */
export function placeOf({ mask }: Fixed): number {
  return mask.toString(2).length - 1;
}

/** As a match of a field that is held as a number (up to 48 bits). */
export function narrow({ value, mask }: Fixed): Masked {
  return { value: Number(value), mask: Number(mask) };
}

/** A prefix match; undefined for prefix 0, which fits everything. */
export function prefixMatch(value: FieldValue, prefix: number, bits: 32 | 128): FieldValue | Masked | undefined {
  if (prefix === 0) return undefined;
  if (prefix === bits) return value;
  if (bits === 32) {
    const mask = (0xffff_ffff << (32 - prefix)) >>> 0;
    return { value: (Number(value) & mask) >>> 0, mask };
  }
  const mask = ((1n << BigInt(prefix)) - 1n) << BigInt(128 - prefix);
  return { value: BigInt(value) & mask, mask };
}
