import type { Cidr, Ipv4, Ipv6 } from '../base/addresses.ts';

/** No child, no parent: the root is never anybody's. */
export const NO_NODE = 0;
export const ROOT = 0;
const FIRST_CAPACITY = 64;

/**
 * Prefixes of one IP version as a compressed binary trie: a node for each prefix that somebody put in, and for each place where two of them part.
 * Nodes are numbers, what they hold are typed arrays: some 20 bytes a node (IPv6: 32), at most two nodes a prefix. Who uses it keeps more
 * columns of his own, by `column`. It allocates nothing while it is walked.
 */
export class PrefixTrie {
  readonly version: 4 | 6;
  /** Bits of an address. */
  readonly bits: number;
  readonly #words: number;
  /** Of each node its address, `#words` words of 32 bits. */
  #keys: Uint32Array;
  #lengths: Uint8Array;
  /** Of each node its two children. */
  #children: Uint32Array;
  #capacity = FIRST_CAPACITY;
  #next = 1;
  readonly #free: number[] = [];
  readonly #columns: { grow(capacity: number): void; readonly reset: (node: number) => void }[] = [];
  /** The prefix that is looked for. */
  readonly #wanted: Uint32Array;
  /** Nodes from the root to the one that was reached last. */
  readonly path: number[] = [];
  /** For what `path` is, as long as nothing was taken out since. */
  #reached: Cidr | undefined;

  constructor(version: 4 | 6) {
    this.version = version;
    this.bits = version === 4 ? 32 : 128;
    this.#words = this.bits / 32;
    this.#wanted = new Uint32Array(this.#words);
    this.#keys = new Uint32Array(FIRST_CAPACITY * this.#words);
    this.#lengths = new Uint8Array(FIRST_CAPACITY);
    this.#children = new Uint32Array(FIRST_CAPACITY * 2);
  }

  /** One number more per node, `initial` in a new one. The array is another after the trie grew: `take` gets it. */
  column<A extends Int32Array | Uint8Array>(
    make: (capacity: number) => A,
    initial: number,
    take: (array: A) => void,
  ): void {
    let array = make(this.#capacity).fill(initial) as A;
    take(array);
    this.#columns.push({
      grow: (capacity) => {
        const larger = make(capacity).fill(initial) as A;
        larger.set(array);
        array = larger;
        take(array);
      },
      reset: (node) => {
        array[node] = initial;
      },
    });
  }

  lengthOf(node: number): number {
    return this.#lengths[node]!;
  }

  child(node: number, side: 0 | 1): number {
    return this.#children[node * 2 + side]!;
  }

  cidrOf(node: number): Cidr {
    const at = node * this.#words;
    const prefix = this.#lengths[node]!;
    if (this.version === 4) return { ip: { version: 4, value: this.#keys[at]! as Ipv4 }, prefix };
    let value = 0n;
    for (let word = 0; word < this.#words; word++) value = (value << 32n) | BigInt(this.#keys[at + word]!);
    return { ip: { version: 6, value: value as Ipv6 }, prefix };
  }

  /** As numbers: negative where the first is smaller. For nodes of equal length. */
  compare(a: number, b: number): number {
    for (let word = 0; word < this.#words; word++) {
      const difference = this.#keys[a * this.#words + word]! - this.#keys[b * this.#words + word]!;
      if (difference !== 0) return difference;
    }
    return 0;
  }

  /** The node of a prefix, made where it is wanted; undefined without. `path` then leads to it. Bits behind the prefix do not count. */
  reach(to: Cidr, make: boolean): number | undefined {
    const { ip, prefix } = to;
    let node = ROOT;
    // Asked for first, and then made: goes on where it ended.
    if (to === this.#reached) node = this.path.pop()!;
    else {
      this.#want(ip.value, prefix);
      this.path.length = 0;
      this.#reached = to;
    }
    for (;;) {
      this.path.push(node);
      const length = this.#lengths[node]!;
      if (length === prefix) return node;
      const side = this.#sideOf(length);
      const below = this.child(node, side);
      const common = below === NO_NODE ? 0 : this.#common(below, prefix);
      if (below !== NO_NODE && common === this.#lengths[below]!) {
        node = below;
        continue;
      }
      if (!make) return undefined;
      return this.#insert(node, side, below, common, prefix);
    }
  }

  /** Where the way parts: a leaf, a node on the way to what was there, or a fork to both. */
  #insert(node: number, side: 0 | 1, below: number, common: number, prefix: number): number {
    const made = this.#make(prefix);
    let top = made;
    if (below !== NO_NODE) {
      if (common < prefix) {
        top = this.#make(common);
        this.path.push(top);
        this.#children[top * 2 + this.#sideOf(common)] = made;
      }
      this.#children[top * 2 + this.#bitOf(below, common)] = below;
    }
    this.#children[node * 2 + side] = top;
    this.path.push(made);
    return made;
  }

  /** Takes a child with at most one child out: that one, if any, comes up. */
  splice(node: number, side: 0 | 1): void {
    const gone = this.child(node, side);
    this.#children[node * 2 + side] = this.child(gone, 0) || this.child(gone, 1);
    for (const column of this.#columns) column.reset(gone);
    this.#free.push(gone);
    this.#reached = undefined;
  }

  #want(value: number | bigint, prefix: number): void {
    if (typeof value === 'number') {
      this.#wanted[0] = prefix === 0 ? 0 : value & (0xffff_ffff << (32 - prefix));
      return;
    }
    for (let word = 0; word < this.#words; word++) {
      const shift = BigInt(32 * (this.#words - 1 - word));
      const whole = Number((value >> shift) & 0xffff_ffffn);
      const left = prefix - 32 * word;
      this.#wanted[word] = left >= 32 ? whole : left <= 0 ? 0 : whole & (0xffff_ffff << (32 - left));
    }
  }

  /** The bit of the prefix that is looked for. */
  #sideOf(bit: number): 0 | 1 {
    return ((this.#wanted[bit >>> 5]! >>> (31 - (bit & 31))) & 1) as 0 | 1;
  }

  #bitOf(node: number, bit: number): 0 | 1 {
    return ((this.#keys[node * this.#words + (bit >>> 5)]! >>> (31 - (bit & 31))) & 1) as 0 | 1;
  }

  /** How many bits the prefix that is looked for has in common with a node's. */
  #common(node: number, prefix: number): number {
    const most = Math.min(prefix, this.#lengths[node]!);
    for (let word = 0; word * 32 < most; word++) {
      const difference = this.#keys[node * this.#words + word]! ^ this.#wanted[word]!;
      if (difference !== 0) return Math.min(most, word * 32 + Math.clz32(difference));
    }
    return most;
  }

  /** A node on the way that is looked for. */
  #make(prefix: number): number {
    const node = this.#free.pop() ?? this.#next++;
    if (node === this.#capacity) this.#grow();
    this.#lengths[node] = prefix;
    this.#children[node * 2] = NO_NODE;
    this.#children[node * 2 + 1] = NO_NODE;
    for (let word = 0; word < this.#words; word++) {
      const left = prefix - 32 * word;
      const mask = left >= 32 ? 0xffff_ffff : left <= 0 ? 0 : 0xffff_ffff << (32 - left);
      this.#keys[node * this.#words + word] = this.#wanted[word]! & mask;
    }
    return node;
  }

  #grow(): void {
    this.#capacity = Math.ceil(this.#capacity * 1.5);
    this.#keys = larger(this.#keys, this.#capacity * this.#words);
    this.#children = larger(this.#children, this.#capacity * 2);
    const lengths = new Uint8Array(this.#capacity);
    lengths.set(this.#lengths);
    this.#lengths = lengths;
    for (const column of this.#columns) column.grow(this.#capacity);
  }
}

function larger(array: Uint32Array, length: number): Uint32Array {
  const grown = new Uint32Array(length);
  grown.set(array);
  return grown;
}
