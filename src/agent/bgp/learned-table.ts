import type { Cidr } from '../../base/addresses.ts';
import { NO_SLOT, PrefixSlots } from '../../base/prefix-slots.ts';
import type { LearnedHop, LearnedRoutes, LearnedSet } from '../../model/objects.ts';
import { BLOCKS, blockNameOf, blockNumberOf, packBlock, routesIn } from '../../model/packed-routes.ts';
import type { ScopeChange } from '../events.ts';

interface Hops {
  readonly name: string;
  readonly via: readonly LearnedHop[];
  /** Routes that have it. */
  uses: number;
}

/** What is different in the records of a table. */
export interface TableChange {
  readonly sets: readonly LearnedSet[];
  readonly blocks: readonly LearnedRoutes[];
  /** Numbers and names. */
  readonly goneSets: readonly string[];
  readonly goneBlocks: readonly string[];
}

/** Columns of a route: the number of its set (0: it is gone, its block not taken yet), and the next route of its block. */
const [SET, NEXT] = [0, 1];
/** Records that were told gone are remembered until there are so many. */
const MOST_TOLD = 1_000;

/** What the speaker of one router here learned, as the records that tell of it (docs/design/gateways.md, §2). Some 25 bytes a route. */
export class LearnedTable {
  readonly router: string;
  readonly host: string;
  readonly #routes = new PrefixSlots(2);
  /** The first route of each block. */
  readonly #heads = new Uint32Array(BLOCKS);
  readonly #hops = new Map<string, Hops>();
  /** Next hops as text → number of their set. */
  readonly #numbers = new Map<string, string>();
  readonly #known = new WeakMap<readonly LearnedHop[], string>();
  #last = 0;
  #ended: ReadonlySet<string> = new Set();
  readonly #dirty = new Set<number>();
  /** As they were told. */
  readonly #toldSets = new Map<string, LearnedSet>();
  readonly #toldBlocks = new Map<string, LearnedRoutes>();
  /** How often changes were taken, in the life of the records. */
  #told = 0;
  /** Of records that this agent told, or told gone: when it did so last. */
  readonly #toldHere = new Map<string, number>();

  constructor(router: string, host: string) {
    this.router = router;
    this.host = host;
  }

  /** Takes a record for told: one of ours that the disk or the server remembers. */
  adopt(record: LearnedSet | LearnedRoutes): void {
    const { told = 0 } = record;
    // It is what we told ourselves.
    if (this.#toldHere.get(keyOf(record)) === told) return;
    this.#told = Math.max(this.#told, told);
    if (record.kind === 'learnedSet') {
      const { set, via } = record;
      this.#toldSets.set(set, record);
      this.#last = Math.max(this.#last, Number(set));
      const name = JSON.stringify(via);
      const known = this.#hops.get(set);
      // Told twice, by the disk and by the server: the later one holds.
      if (known && known.name !== name && this.#numbers.get(known.name) === set) this.#numbers.delete(known.name);
      this.#hops.set(set, { name, via, uses: known?.uses ?? 0 });
      this.#numbers.set(name, set);
      return;
    }
    const { block, routes } = record;
    this.#toldBlocks.set(block, record);
    const number = Number.parseInt(block, 16);
    for (const slot of this.#routesOf(number)) this.#drop(slot);
    for (const { to, set } of routesIn(routes)) this.#put(number, to, set);
    this.#forgetDropped(number);
  }

  /** Is it one of ours, as we told it before we told it anew? */
  isOutdated({ op, record }: ScopeChange): boolean {
    const toldHere = this.#toldHere.get(keyOf(record));
    if (toldHere === undefined) return false;
    if (op === 'put') return ((record as LearnedSet | LearnedRoutes).told ?? 0) < toldHere;
    const name = record.id.slice(record.id.lastIndexOf('/') + 1);
    return record.kind === 'learnedSet' ? this.#toldSets.has(name) : this.#toldBlocks.has(name);
  }

  put(to: Cidr, via: readonly LearnedHop[]): void {
    const block = blockNumberOf(to);
    if (this.#put(block, to, this.#numberOf(via))) this.#dirty.add(block);
  }

  delete(to: Cidr): void {
    const slot = this.#routes.find(to);
    if (slot !== NO_SLOT && this.#drop(slot)) this.#dirty.add(blockNumberOf(to));
  }

  /** What is not among these is gone. */
  keep(kept: Iterable<Cidr>): void {
    const slots = new Set<number>();
    for (const to of kept) slots.add(this.#routes.find(to));
    for (let block = 0; block < BLOCKS; block++)
      for (const slot of this.#routesOf(block)) if (!slots.has(slot) && this.#drop(slot)) this.#dirty.add(block);
  }

  /** Sessions with the routers of these addresses ended: nothing goes to them, whatever becomes of their routes. */
  avoid(ended: ReadonlySet<string>): void {
    this.#ended = ended;
  }

  /** The records that are different since this was asked last. */
  take(): TableChange {
    this.#told++;
    const blocks: LearnedRoutes[] = [];
    const goneBlocks: string[] = [];
    for (const block of this.#dirty) {
      this.#forgetDropped(block);
      const name = blockNameOf(block);
      if (this.#heads[block] === NO_SLOT) {
        if (this.#toldBlocks.delete(name)) goneBlocks.push(name);
        continue;
      }
      const before = this.#toldBlocks.get(name);
      const after = this.#blockOf(block, name);
      if (before !== undefined && JSON.stringify(before.routes) === JSON.stringify(after.routes)) continue;
      this.#toldBlocks.set(name, after);
      blocks.push(after);
    }
    this.#dirty.clear();
    const { sets, goneSets } = this.#takeSets();
    for (const record of [...sets, ...blocks]) this.#toldHere.set(keyOf(record), this.#told);
    const ids = { learnedSet: goneSets, learnedRoutes: goneBlocks };
    for (const kind of ['learnedSet', 'learnedRoutes'] as const)
      for (const name of ids[kind]) this.#toldHere.set(keyOf({ kind, id: this.#idOf(name) }), this.#told);
    if (this.#toldHere.size > MOST_TOLD + 2 * (this.#toldSets.size + BLOCKS)) this.#forgetGone();
    return { sets, blocks, goneSets, goneBlocks };
  }

  /** What was told gone long ago does not come back any more. */
  #forgetGone(): void {
    const known = new Set([...this.#toldSets.values(), ...this.#toldBlocks.values()].map(keyOf));
    for (const key of this.#toldHere.keys()) if (!known.has(key)) this.#toldHere.delete(key);
  }

  #takeSets(): Pick<TableChange, 'sets' | 'goneSets'> {
    const sets: LearnedSet[] = [];
    const goneSets: string[] = [];
    for (const [set, { name, via, uses }] of this.#hops) {
      if (uses === 0) {
        this.#hops.delete(set);
        if (this.#numbers.get(name) === set) this.#numbers.delete(name);
        if (this.#toldSets.delete(set)) goneSets.push(set);
        continue;
      }
      const before = this.#toldSets.get(set);
      const ended = via.flatMap(({ address }) => (this.#ended.has(address) ? [address] : []));
      // Of one that was adopted without its next hops nothing can be told.
      if (via.length === 0 || (before !== undefined && (before.ended ?? []).join() === ended.join())) continue;
      const { router, host } = this;
      const told = this.#told;
      const common = { kind: 'learnedSet', id: this.#idOf(set), revision: 0, router, host, set, via, told } as const;
      const after: LearnedSet = ended.length === 0 ? common : { ...common, ended };
      this.#toldSets.set(set, after);
      sets.push(after);
    }
    return { sets, goneSets };
  }

  /** All that there is, as it was told. */
  all(): Pick<TableChange, 'sets' | 'blocks'> {
    return { sets: [...this.#toldSets.values()], blocks: [...this.#toldBlocks.values()] };
  }

  /** Of a set by its number, of a block by its name. */
  #idOf(name: string): string {
    return `${this.router}/${this.host}/${name}`;
  }

  #blockOf(number: number, block: string): LearnedRoutes {
    const { router, host } = this;
    const routes = [...this.#routesOf(number)].map((slot) => ({
      to: this.#routes.cidrOf(slot),
      set: `${this.#routes.get(SET, slot)}`,
    }));
    return {
      ...{ kind: 'learnedRoutes', id: this.#idOf(block), revision: 0, router, host, block },
      ...packBlock(routes),
      told: this.#told,
    };
  }

  /** Those that were dropped are among them until `#forgetDropped`. */
  *#routesOf(block: number): Iterable<number> {
    for (let slot = this.#heads[block]!; slot !== NO_SLOT; slot = this.#routes.get(NEXT, slot)) yield slot;
  }

  /** Is it another than before? */
  #put(block: number, to: Cidr, set: string): boolean {
    let slot = this.#routes.find(to);
    if (slot === NO_SLOT) {
      slot = this.#routes.take(to);
      this.#routes.set(NEXT, slot, this.#heads[block]!);
      this.#heads[block] = slot;
    }
    const before = this.#routes.get(SET, slot);
    if (before === Number(set)) return false;
    if (before !== 0) this.#use(`${before}`, -1);
    this.#use(set, 1);
    this.#routes.set(SET, slot, Number(set));
    return true;
  }

  /** Was it there? */
  #drop(slot: number): boolean {
    const set = this.#routes.get(SET, slot);
    if (set === 0) return false;
    this.#use(`${set}`, -1);
    this.#routes.set(SET, slot, 0);
    return true;
  }

  #forgetDropped(block: number): void {
    let last = NO_SLOT;
    for (let slot = this.#heads[block]!; slot !== NO_SLOT; ) {
      const next = this.#routes.get(NEXT, slot);
      if (this.#routes.get(SET, slot) !== 0) last = slot;
      else {
        if (last === NO_SLOT) this.#heads[block] = next;
        else this.#routes.set(NEXT, last, next);
        this.#routes.release(slot);
      }
      slot = next;
    }
  }

  /** A set that was dropped may be among them: its next hops are not known then, and it leads nowhere. */
  #use(set: string, by: 1 | -1): void {
    const hops = this.#hops.get(set);
    if (hops) hops.uses += by;
    else if (by === 1) this.#hops.set(set, { name: '', via: [], uses: 1 });
  }

  #numberOf(via: readonly LearnedHop[]): string {
    const known = this.#known.get(via);
    if (known !== undefined && this.#hops.has(known)) return known;
    const name = JSON.stringify(via);
    let set = this.#numbers.get(name);
    if (set === undefined) {
      set = `${++this.#last}`;
      this.#numbers.set(name, set);
      this.#hops.set(set, { name, via, uses: 0 });
    }
    this.#known.set(via, set);
    return set;
  }
}

function keyOf({ kind, id }: { readonly kind: string; readonly id: string }): string {
  return `${kind} ${id}`;
}
