import type { Cidr, Ipv4 } from './addresses.ts';
import { cidrOf, keyOf } from './route-key.ts';

/** No slot has this number. */
export const NO_SLOT = 0;
const FIRST_CAPACITY = 64;
/** IPv4 networks have at most 32 bits. */
const IPV6 = 255;

/**
 * Prefixes of both IP versions, each with a number (its slot, from 1 on) and numbers of 32 bits that its user keeps of it, by column; 0 in a new one.
 * For a hundred thousand IPv4 prefixes that is 1.5 MB and 0.5 MB a column, where a Map costs 5 to 7 MB: their keys do not fit V8's small integers.
 *
 *     address, length ─▶ hash ─▶ #index (open addressing) ─▶ slot ─▶ columns
 */
export class PrefixSlots {
  #columns: Uint32Array[];
  #addresses = new Uint32Array(FIRST_CAPACITY);
  #lengths = new Uint8Array(FIRST_CAPACITY);
  /** Slots of IPv4 prefixes where their hash or a probe behind it says; twice as many places as there are slots, or more. */
  #index = new Uint32Array(2 * FIRST_CAPACITY);
  readonly #ipv6 = new Map<string, number>();
  readonly #ipv6Keys = new Map<number, string>();
  readonly #free: number[] = [];
  #next = 1;

  constructor(columns: number) {
    this.#columns = Array.from({ length: columns }, () => new Uint32Array(FIRST_CAPACITY));
  }

  get size(): number {
    return this.#next - 1 - this.#free.length;
  }

  get(column: number, slot: number): number {
    return this.#columns[column]![slot]!;
  }

  set(column: number, slot: number, value: number): void {
    this.#columns[column]![slot] = value;
  }

  /** The slot of a prefix, `NO_SLOT` without. */
  find(to: Cidr): number {
    if (to.ip.version === 6) return this.#ipv6.get(keyOf(to) as string) ?? NO_SLOT;
    return this.#index[this.#place(to.ip.value, to.prefix)]!;
  }

  /** The slot of a prefix, made where it has none. */
  take(to: Cidr): number {
    const known = this.find(to);
    if (known !== NO_SLOT) return known;
    const slot = this.#free.pop() ?? this.#next++;
    if (slot === this.#lengths.length) this.#grow();
    if (to.ip.version === 6) {
      const key = keyOf(to) as string;
      this.#lengths[slot] = IPV6;
      this.#ipv6.set(key, slot);
      this.#ipv6Keys.set(slot, key);
      return slot;
    }
    this.#addresses[slot] = to.ip.value;
    this.#lengths[slot] = to.prefix;
    this.#index[this.#place(to.ip.value, to.prefix)] = slot;
    return slot;
  }

  /** The number may be given to another prefix from now on. */
  release(slot: number): void {
    if (this.#lengths[slot] === IPV6) {
      this.#ipv6.delete(this.#ipv6Keys.get(slot)!);
      this.#ipv6Keys.delete(slot);
    } else this.#unplace(slot);
    for (const column of this.#columns) column[slot] = 0;
    this.#free.push(slot);
    // A number that is nobody's is told by a length that no prefix has.
    this.#lengths[slot] = IPV6;
  }

  cidrOf(slot: number): Cidr {
    const prefix = this.#lengths[slot]!;
    if (prefix === IPV6) return cidrOf(this.#ipv6Keys.get(slot)!);
    return { ip: { version: 4, value: this.#addresses[slot]! as Ipv4 }, prefix };
  }

  /** In no order; what is released or taken meanwhile may be among them or not. */
  *slots(): IterableIterator<number> {
    for (let slot = 1; slot < this.#next; slot++)
      if (this.#lengths[slot] !== IPV6 || this.#ipv6Keys.has(slot)) yield slot;
  }

  /** Where an IPv4 prefix is in the index, or would be. */
  #place(address: number, prefix: number): number {
    const mask = this.#index.length - 1;
    for (let at = hashOf(address, prefix) & mask; ; at = (at + 1) & mask) {
      const slot = this.#index[at]!;
      if (slot === NO_SLOT || (this.#addresses[slot] === address && this.#lengths[slot] === prefix)) return at;
    }
  }

  /** What stands behind it moves up where its own place is not behind the gap. */
  #unplace(slot: number): void {
    const mask = this.#index.length - 1;
    let gap = this.#place(this.#addresses[slot]!, this.#lengths[slot]!);
    for (let at = (gap + 1) & mask; this.#index[at] !== NO_SLOT; at = (at + 1) & mask) {
      const other = this.#index[at]!;
      const home = hashOf(this.#addresses[other]!, this.#lengths[other]!) & mask;
      if (((at - home) & mask) < ((at - gap) & mask)) continue;
      this.#index[gap] = other;
      gap = at;
    }
    this.#index[gap] = NO_SLOT;
  }

  #grow(): void {
    const capacity = 2 * this.#lengths.length;
    this.#columns = this.#columns.map((column) => larger(column, new Uint32Array(capacity)));
    this.#addresses = larger(this.#addresses, new Uint32Array(capacity));
    const known = this.#lengths.length;
    this.#lengths = larger(this.#lengths, new Uint8Array(capacity));
    this.#index = new Uint32Array(2 * capacity);
    for (let slot = 1; slot < known; slot++)
      if (this.#lengths[slot] !== IPV6) this.#index[this.#place(this.#addresses[slot]!, this.#lengths[slot]!)] = slot;
  }
}

function larger<A extends Uint32Array | Uint8Array>(array: A, into: A): A {
  into.set(array);
  return into;
}

/** 32 bits, of which the low ones are mixed best. */
function hashOf(address: number, prefix: number): number {
  let hash = Math.imul(address ^ (address >>> 15) ^ (prefix << 27), 0x2c1b_3c6d);
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a_2d39);
  return hash ^ (hash >>> 15);
}
