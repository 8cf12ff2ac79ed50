import type { Ipv4, Ipv6 } from '../base/addresses.ts';

/*
 * The Internet checksum (RFC 1071, updated by RFC 1141): the one's complement of the one's complement sum of all
 * 16-bit words; an odd last byte counts as the upper half of a word. A message that contains its own right checksum
 * sums to zero.
 */

/** Adds the 16-bit words of `bytes` to a running sum. Only the last piece of a message may have an odd length. */
export function addWords(sum: number, bytes: Uint8Array): number {
  const even = bytes.length & ~1;
  let total = sum;
  for (let i = 0; i < even; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  if (even !== bytes.length) total += bytes[even]! << 8;
  return total;
}

/** Folds a running sum to 16 bits and complements it. */
export function finishSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

/** The checksum of a message whose checksum field is zero; 0 for a message whose checksum is right. */
export function checksum(bytes: Uint8Array, sum = 0): number {
  return finishSum(addWords(sum, bytes));
}

/** The running sum of a pseudo header for an upper layer of so many bytes: encoders call it when they know them. */
export type PseudoHeader = (length: number) => number;

/**
 * Running sum of the IPv4 pseudo header (RFC 9293 §3.1, RFC 768).
 *
 *      0      7 8     15 16    23 24    31
 *     +--------+--------+--------+--------+
 *     |          source address           |
 *     +--------+--------+--------+--------+
 *     |        destination address        |
 *     +--------+--------+--------+--------+
 *     |  zero  |protocol|   length        |
 *     +--------+--------+--------+--------+
 */
export function pseudoHeader4(src: Ipv4, dst: Ipv4, protocol: number, length: number): number {
  return (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + length;
}

/**
 * Running sum of the IPv6 pseudo header (RFC 8200 §8.1): source, final destination, upper-layer length (32 bits),
 * three zero bytes and the upper-layer protocol.
 */
export function pseudoHeader6(src: Ipv6, dst: Ipv6, protocol: number, length: number): number {
  return words6(src) + words6(dst) + (length >>> 16) + (length & 0xffff) + protocol;
}

function words6(address: Ipv6): number {
  let sum = 0;
  for (let rest: bigint = address; rest > 0n; rest >>= 32n) {
    const low = Number(BigInt.asUintN(32, rest));
    sum += (low >>> 16) + (low & 0xffff);
  }
  return sum;
}
