import type { Cidr } from '../../base/addresses.ts';
import { cidrOf, keyOf, type RouteKey } from '../../base/route-key.ts';
import type { LearnedHop, LearnedRoutes, LearnedSet } from '../../model/objects.ts';
import { blockOf, packBlock, routesIn } from '../../model/packed-routes.ts';

type Block = Map<RouteKey, string>;
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

/** What the speaker of one router here learned, as the records that tell of it (docs/design/gateways.md, §2). Some 60 bytes a route. */
export class LearnedTable {
  readonly router: string;
  readonly host: string;
  readonly #blocks = new Map<string, Block>();
  readonly #hops = new Map<string, Hops>();
  /** Next hops as text → number of their set. */
  readonly #numbers = new Map<string, string>();
  readonly #known = new WeakMap<readonly LearnedHop[], string>();
  #last = 0;
  #ended: ReadonlySet<string> = new Set();
  readonly #dirty = new Set<string>();
  /** As they were told. */
  readonly #toldSets = new Map<string, LearnedSet>();
  readonly #toldBlocks = new Map<string, LearnedRoutes>();

  constructor(router: string, host: string) {
    this.router = router;
    this.host = host;
  }

  /** Takes a record for told: one of ours that the disk or the server remembers. */
  adopt(record: LearnedSet | LearnedRoutes): void {
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
    for (const set of this.#blocks.get(block)?.values() ?? []) this.#use(set, -1);
    const own: Block = new Map();
    for (const { to, set } of routesIn(routes)) {
      own.set(keyOf(to), set);
      this.#use(set, 1);
    }
    this.#blocks.set(block, own);
  }

  put(to: Cidr, via: readonly LearnedHop[]): void {
    const set = this.#numberOf(via);
    const name = blockOf(to);
    const block = this.#blocks.get(name) ?? new Map<RouteKey, string>();
    this.#blocks.set(name, block);
    const key = keyOf(to);
    const before = block.get(key);
    if (before === set) return;
    if (before !== undefined) this.#use(before, -1);
    this.#use(set, 1);
    block.set(key, set);
    this.#dirty.add(name);
  }

  delete(to: Cidr): void {
    this.#drop(blockOf(to), keyOf(to));
  }

  /** What is not among these is gone. */
  keep(keys: ReadonlySet<RouteKey>): void {
    for (const [name, block] of this.#blocks) for (const key of block.keys()) if (!keys.has(key)) this.#drop(name, key);
  }

  /** Sessions with the routers of these addresses ended: nothing goes to them, whatever becomes of their routes. */
  avoid(ended: ReadonlySet<string>): void {
    this.#ended = ended;
  }

  /** The records that are different since this was asked last. */
  take(): TableChange {
    const blocks: LearnedRoutes[] = [];
    const goneBlocks: string[] = [];
    for (const name of this.#dirty) {
      const before = this.#toldBlocks.get(name);
      const own = this.#blocks.get(name);
      if (own === undefined || own.size === 0) {
        this.#blocks.delete(name);
        if (this.#toldBlocks.delete(name)) goneBlocks.push(name);
        continue;
      }
      const after = this.#blockOf(name, own);
      if (before !== undefined && JSON.stringify(before.routes) === JSON.stringify(after.routes)) continue;
      this.#toldBlocks.set(name, after);
      blocks.push(after);
    }
    this.#dirty.clear();
    return { ...this.#takeSets(), blocks, goneBlocks };
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
      const id = `${router}/${host}/${set}`;
      const common = { kind: 'learnedSet', id, revision: 0, router, host, set, via } as const;
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

  #blockOf(block: string, own: Block): LearnedRoutes {
    const { router, host } = this;
    const routes = [...own].map(([key, set]) => ({ to: cidrOf(key), set }));
    return {
      ...{ kind: 'learnedRoutes', id: `${router}/${host}/${block}`, revision: 0, router, host, block },
      ...packBlock(routes),
    };
  }

  #drop(name: string, key: RouteKey): void {
    const block = this.#blocks.get(name);
    const set = block?.get(key);
    if (set === undefined) return;
    block!.delete(key);
    this.#use(set, -1);
    this.#dirty.add(name);
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
