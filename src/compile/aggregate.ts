import { type Cidr, formatCidr } from '../base/addresses.ts';
import { NO_NODE, PrefixTrie, ROOT } from './prefix-trie.ts';

/**
 * Fewer routes with the same longest-prefix decision for every address, "no route" included. In go a router's learned routes, as prefix and the
 * number of a set of next hops; out come changes of those that become flows. Two rules, both exact:
 *
 *   merge   where all addresses of a prefix go to one set and none is left to what covers it, that prefix alone is used
 *   cover   a route whose nearest covering one has the same set is not used
 *
 * Both need to know all of the router's routes. So what goes in is what all gateways together have learned (a gateway that left a prefix out of
 * its own report would take itself out of that prefix's ECMP set, as others may have it with another set), and prefixes with other
 * routes (static, connected) are `hold`: nothing is merged over them or covered from above them, and a learned route of just that prefix
 * is used as it is.
 *
 * A change costs the bits of its prefix, and `flush` besides what became different by it. Whatever the order of changes, the routes are those
 * that a fresh table would have.
 */
export interface AggregateChange {
  /** With the set that each had before, where it had one. */
  readonly put: readonly (AggregatedRoute & { readonly before?: number })[];
  /** With the set that each had. */
  readonly gone: readonly AggregatedRoute[];
}
export interface AggregatedRoute {
  readonly to: Cidr;
  /** The number of the set of next hops, as it went in. */
  readonly hops: number;
}

/** Instead of a set: */
const NONE = -1;
/** several in one subtree, or one that must not be merged; */
const MANY = -2;
/** routes that are not ours decide; */
const FOREIGN = -3;
/** a route above decides for the whole subtree; */
const DECIDED = -4;
/** never asked. */
const UNKNOWN = -5;

export class Aggregate {
  readonly #tables = { 4: new Table(4), 6: new Table(6) } as const;
  readonly #maxRoutes: number;
  #isCut = false;
  #leftOut = 0;
  #cutAt: Cidr | undefined;

  /** No more than `maxRoutes` are used: those with the shortest prefixes, of equal ones IPv4 first, then the smallest numbers. */
  constructor(maxRoutes: number) {
    this.#maxRoutes = maxRoutes;
  }

  /** A learned route, new or with another set. `hops` is not negative. `tag`: a number that is kept with it. */
  put(to: Cidr, hops: number, tag = NONE): void {
    this.#tables[to.ip.version].setOwn(to, hops, tag);
  }

  /** With a tag it is still known, though no route. */
  delete(to: Cidr, tag = NONE): void {
    this.#tables[to.ip.version].setOwn(to, NONE, tag);
  }

  /** -1 for a prefix that has none. */
  tagOf(to: Cidr): number {
    return this.#tables[to.ip.version].tagOf(to);
  }

  /** All prefixes with a tag, in no order. */
  *tags(): Iterable<{ readonly to: Cidr; readonly tag: number }> {
    yield* this.#tables[4].tags();
    yield* this.#tables[6].tags();
  }

  /** The set with which a prefix is used now; -1: it is not. */
  toldOf(to: Cidr): number {
    return this.#tables[to.ip.version].toldOf(to);
  }

  /** Other routes of the router are for just this prefix (or not any more). */
  hold(to: Cidr, isHeld: boolean): void {
    this.#tables[to.ip.version].setHeld(to, isHeld);
  }

  /** What is different since the last time. */
  flush(): AggregateChange {
    const change: Changes = { put: [], gone: [] };
    const tables = [this.#tables[4], this.#tables[6]] as const;
    for (const table of tables) table.settle(change.gone);
    const total = tables[0].count + tables[1].count;
    const wasCut = this.#isCut;
    this.#isCut = total > this.#maxRoutes;
    this.#leftOut = Math.max(0, total - this.#maxRoutes);
    if (!this.#isCut && !wasCut) for (const table of tables) table.tellTouched(change.put);
    else this.#cut(tables, change);
    for (const table of tables) table.forgetTouched();
    return change;
  }

  /** Beyond the limit, whatever the length where the limit falls: all routes are looked at. */
  #cut(tables: readonly [Table, Table], change: Changes): void {
    let left = this.#maxRoutes;
    let length = 0;
    for (; length <= 128; length++) {
      const here = tables[0].countOf(length) + tables[1].countOf(length);
      if (here > left) break;
      left -= here;
    }
    this.#cutAt = undefined;
    for (const table of tables) {
      const cutAt = table.tell(length, left, change);
      left = Math.max(0, left - table.countOf(length));
      this.#cutAt ??= cutAt;
    }
  }

  /** What people are told while the limit is exceeded. */
  get problem(): string | undefined {
    if (this.#leftOut === 0) return undefined;
    const total = (this.#leftOut + this.#maxRoutes).toLocaleString('en-US');
    const from = this.#cutAt === undefined ? '' : ` from ${formatCidr(this.#cutAt)} on`;
    return `${this.#leftOut.toLocaleString('en-US')} of ${total} learned routes are not used, the longest prefixes${from}: maxRoutes is ${this.#maxRoutes.toLocaleString('en-US')}`;
  }

  /** All that are used now, in no order. */
  *routes(): Iterable<AggregatedRoute> {
    yield* this.#tables[4].told();
    yield* this.#tables[6].told();
  }
}

interface Changes {
  readonly put: (AggregatedRoute & { readonly before?: number })[];
  readonly gone: AggregatedRoute[];
}

/** One IP version. */
class Table {
  readonly #trie: PrefixTrie;
  /** The learned route of just this prefix. */
  #own!: Int32Array;
  /** What its user keeps with it. */
  #tag!: Int32Array;
  /** Other routes are for it. */
  #held!: Uint8Array;
  /** Where the addresses below go that have a route in this subtree: NONE, one set, or MANY. */
  #below!: Int32Array;
  /** Some addresses below have no route in this subtree... */
  #isOpen!: Uint8Array;
  /** ... other than the node's own. */
  #needsOwn!: Uint8Array;
  #isDirty!: Uint8Array;
  /** What decides for addresses without a route in this subtree, when it was looked at last. */
  #above!: Int32Array;
  /** The set with which this prefix is to be used; NONE: it is not. */
  #wanted!: Int32Array;
  /** And as it was told. */
  #told!: Int32Array;
  #touched: number[] = [];
  #gone: AggregatedRoute[] = [];
  count = 0;
  readonly #countByLength = new Uint32Array(129);

  constructor(version: 4 | 6) {
    this.#trie = new PrefixTrie(version);
    const numbers = (initial: number, take: (array: Int32Array) => void): void =>
      this.#trie.column((capacity) => new Int32Array(capacity), initial, take);
    const flags = (initial: 0 | 1, take: (array: Uint8Array) => void): void =>
      this.#trie.column((capacity) => new Uint8Array(capacity), initial, take);
    numbers(NONE, (array) => (this.#own = array));
    numbers(NONE, (array) => (this.#tag = array));
    flags(0, (array) => (this.#held = array));
    numbers(NONE, (array) => (this.#below = array));
    flags(1, (array) => (this.#isOpen = array));
    flags(1, (array) => (this.#needsOwn = array));
    flags(1, (array) => (this.#isDirty = array));
    numbers(UNKNOWN, (array) => (this.#above = array));
    numbers(NONE, (array) => (this.#wanted = array));
    numbers(NONE, (array) => (this.#told = array));
  }

  setOwn(to: Cidr, hops: number, tag: number): void {
    const node = this.#trie.reach(to, hops !== NONE || tag !== NONE);
    if (node === undefined || (this.#own[node] === hops && this.#tag[node] === tag)) return;
    // One that had no tag may be new, with a fork above it: then what lies below is to be looked at.
    const isSame = this.#own[node] === hops && this.#tag[node] !== NONE && tag !== NONE;
    this.#tag[node] = tag;
    if (isSame) return;
    this.#own[node] = hops;
    this.#summarise();
  }

  tagOf(to: Cidr): number {
    const node = this.#trie.reach(to, false);
    return node === undefined ? NONE : this.#tag[node]!;
  }

  toldOf(to: Cidr): number {
    const node = this.#trie.reach(to, false);
    return node === undefined ? NONE : this.#told[node]!;
  }

  *tags(): Iterable<{ readonly to: Cidr; readonly tag: number }> {
    for (const node of this.#nodes())
      if (this.#tag[node] !== NONE) yield { to: this.#trie.cidrOf(node), tag: this.#tag[node]! };
  }

  setHeld(to: Cidr, isHeld: boolean): void {
    const node = this.#trie.reach(to, isHeld);
    if (node === undefined || (this.#held[node] === 1) === isHeld) return;
    this.#held[node] = isHeld ? 1 : 0;
    this.#summarise();
  }

  /** The way to the node that was changed, from below, as far as it makes a difference. */
  #summarise(): void {
    const { path } = this.#trie;
    // The last two may have been made just now.
    const old = path.length - 3;
    for (let at = path.length - 1; at >= 0; at--) {
      const node = path[at]!;
      const wasDirty = this.#isDirty[node] === 1;
      this.#isDirty[node] = 1;
      const [left, right] = [this.#trie.child(node, 0), this.#trie.child(node, 1)];
      let below = joined(this.#setOf(left), this.#setOf(right));
      const isOpen = this.#leavesOpen(node, left) || this.#leavesOpen(node, right);
      const own = this.#own[node]!;
      if (this.#held[node] === 1) below = MANY;
      else if (own !== NONE && isOpen) below = joined(below, own);
      const needsOwn = isOpen ? 1 : 0;
      // Other routes may be for some sources only: what they let pass is left to what covers them.
      const leavesOpen = isOpen && own === NONE ? 1 : 0;
      const isSame =
        this.#below[node] === below && this.#needsOwn[node] === needsOwn && this.#isOpen[node] === leavesOpen;
      // Those above have been told, and are dirty since.
      if (isSame && wasDirty && at <= old) return;
      this.#below[node] = below;
      this.#needsOwn[node] = needsOwn;
      this.#isOpen[node] = leavesOpen;
    }
  }

  #setOf(child: number): number {
    return child === NO_NODE ? NONE : this.#below[child]!;
  }

  /** Has the half of a node where this child is addresses without a route? */
  #leavesOpen(node: number, child: number): boolean {
    if (child === NO_NODE) return true;
    return this.#isOpen[child] === 1 || this.#trie.lengthOf(child) > this.#trie.lengthOf(node) + 1;
  }

  /** Which are to be used. `gone`: those that were and whose nodes may go. */
  settle(gone: AggregatedRoute[]): void {
    this.#walk(ROOT, NONE);
    for (const route of this.#gone) gone.push(route);
    this.#gone = [];
  }

  #walk(node: number, above: number): void {
    if (this.#isDirty[node] === 0 && this.#above[node] === above) return;
    this.#isDirty[node] = 0;
    this.#above[node] = above;
    const own = this.#own[node]!;
    const all = this.#isOpen[node] === 1 ? NONE : this.#below[node]!;
    let wanted = NONE;
    let below = above;
    if (above !== DECIDED) {
      if (all >= 0) [wanted, below] = [all === above ? NONE : all, DECIDED];
      else if (this.#held[node] === 1) [wanted, below] = [own, FOREIGN];
      else if (own !== NONE && this.#needsOwn[node] === 1) [wanted, below] = [own === above ? NONE : own, own];
    }
    this.#want(node, wanted);
    for (const side of [0, 1] as const) {
      const child = this.#trie.child(node, side);
      if (child === NO_NODE) continue;
      this.#walk(child, below);
      if (this.#isIdle(child)) this.#trie.splice(node, side);
    }
  }

  #want(node: number, wanted: number): void {
    const before = this.#wanted[node]!;
    if (wanted === before) return;
    const more = (wanted === NONE ? 0 : 1) - (before === NONE ? 0 : 1);
    this.count += more;
    this.#countByLength[this.#trie.lengthOf(node)]! += more;
    this.#wanted[node] = wanted;
    // Its node may be taken out at once, and its number be another's.
    if (wanted !== NONE) this.#touched.push(node);
    else this.#takeBack(node, this.#gone);
  }

  #takeBack(node: number, gone: AggregatedRoute[]): void {
    const hops = this.#told[node]!;
    if (hops === NONE) return;
    gone.push({ to: this.#trie.cidrOf(node), hops });
    this.#told[node] = NONE;
  }

  #isIdle(node: number): boolean {
    if (this.#own[node] !== NONE || this.#tag[node] !== NONE || this.#held[node] === 1) return false;
    return this.#trie.child(node, 0) === NO_NODE || this.#trie.child(node, 1) === NO_NODE;
  }

  tellTouched(put: Changes['put']): void {
    for (const node of this.#touched) this.#tell(node, put);
  }

  forgetTouched(): void {
    this.#touched = [];
  }

  #tell(node: number, put: Changes['put']): void {
    const hops = this.#wanted[node]!;
    const before = this.#told[node]!;
    if (hops === NONE || hops === before) return;
    this.#told[node] = hops;
    const to = this.#trie.cidrOf(node);
    put.push(before === NONE ? { to, hops } : { to, hops, before });
  }

  /** All that are shorter than `length`, and `most` of that length. Returns the first that is left out. */
  tell(length: number, most: number, change: Changes): Cidr | undefined {
    const atLimit: number[] = [];
    for (const node of this.#nodes()) {
      if (this.#wanted[node] === NONE) continue;
      const own = this.#trie.lengthOf(node);
      if (own < length) this.#tell(node, change.put);
      else if (own === length) atLimit.push(node);
      else this.#takeBack(node, change.gone);
    }
    atLimit.sort((a, b) => this.#trie.compare(a, b));
    for (const [i, node] of atLimit.entries())
      if (i < most) this.#tell(node, change.put);
      else this.#takeBack(node, change.gone);
    const first = atLimit[most];
    return first === undefined ? undefined : this.#trie.cidrOf(first);
  }

  countOf(length: number): number {
    return this.#countByLength[length] ?? 0;
  }

  *told(): Iterable<AggregatedRoute> {
    for (const node of this.#nodes())
      if (this.#told[node] !== NONE) yield { to: this.#trie.cidrOf(node), hops: this.#told[node]! };
  }

  *#nodes(): Iterable<number> {
    const open = [ROOT];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      yield node;
      for (const side of [1, 0] as const) {
        const child = this.#trie.child(node, side);
        if (child !== NO_NODE) open.push(child);
      }
    }
  }
}

function joined(a: number, b: number): number {
  if (a === NONE || a === b) return b;
  return b === NONE ? a : MANY;
}
