import { gatewaysOf } from '../model/gateways.ts';
import type { ModelIndex } from '../model/model-index.ts';
import { packBlock, routesIn } from '../model/packed-routes.ts';
import type { RecordChange } from './desired-state.ts';
import type { LeasedRecords } from './leased-records.ts';
import type { LearnedReport, ReportedBlock, ReportedSet } from './protocol.ts';

/** What taking routes in came to. */
export interface TakenRoutes {
  readonly changes: readonly RecordChange[];
  /** Routers of which the host is no gateway (they may have been taken away in the very moment), with no BGP, or unknown. */
  readonly strange: ReadonlySet<string>;
  /** Routers with more than they use. */
  readonly excess: readonly Excess[];
}

interface Excess {
  readonly router: string;
  readonly of: 'routes' | 'sets of next hops';
  readonly most: number;
}

/** Each set has a route at least; while routes get other next hops there are the former sets, too. */
const SETS_PER_ROUTE = 2;

/** Ids that the parts of a list have named so far: of what there is, and of blocks that there may be. */
interface Named {
  readonly sets: Set<string>;
  readonly blocks: Set<string>;
}

/** Routes that gateways learned (docs/design/gateways.md, §2), as leased records. */
export class LearnedRoutes {
  readonly #index: ModelIndex;
  readonly #leased: LeasedRecords;
  /** Host → what its list of all, which is still coming in, has named so far. */
  readonly #coming = new Map<string, Named>();

  constructor(index: ModelIndex, leased: LeasedRecords) {
    this.#index = index;
    this.#leased = leased;
  }

  /** Sets before the blocks that name them, and what goes behind. */
  take(hostId: string, { sets, blocks, goneSets, goneBlocks }: LearnedReport): TakenRoutes {
    const taken = this.#put(hostId, sets, blocks);
    const gone = [
      ...goneBlocks.flatMap((of) => this.#leased.end(hostId, 'learnedRoutes', blockId(hostId, of))),
      ...goneSets.flatMap((of) => this.#leased.end(hostId, 'learnedSet', setId(hostId, of))),
    ];
    return { ...taken, changes: [...taken.changes, ...gone] };
  }

  /** A part of all that the host has; with the last, what no part named goes. */
  replace(
    hostId: string,
    sets: readonly ReportedSet[],
    blocks: readonly ReportedBlock[],
    isMore: boolean,
  ): TakenRoutes {
    const named = this.#coming.get(hostId) ?? { sets: new Set(), blocks: new Set() };
    for (const of of blocks) if (this.#most(hostId, of.router) !== undefined) named.blocks.add(blockId(hostId, of));
    if (isMore) this.#coming.set(hostId, named);
    else this.#coming.delete(hostId);
    // What goes makes room for what comes; sets go behind the blocks that named them.
    const gone = isMore ? [] : this.#leased.endAll(hostId, ['learnedRoutes'], named.blocks);
    const taken = this.#put(hostId, sets, blocks);
    for (const id of sets.map((of) => setId(hostId, of))) if (this.#index.get('learnedSet', id)) named.sets.add(id);
    const goneSets = isMore ? [] : this.#leased.endAll(hostId, ['learnedSet'], named.sets);
    return { ...taken, changes: [...gone, ...taken.changes, ...goneSets] };
  }

  /** A new connection begins its list anew. */
  forgetComing(hostId: string): void {
    this.#coming.delete(hostId);
  }

  #put(hostId: string, sets: readonly ReportedSet[], blocks: readonly ReportedBlock[]): TakenRoutes {
    const changes: RecordChange[] = [];
    const strange = new Set<string>();
    const excess = new Map<string, Excess>();
    const exceeds = (router: string, of: Excess['of'], most: number): void =>
      void excess.set(`${router} ${of}`, { router, of, most });
    for (const of of sets) {
      const id = setId(hostId, of);
      const most = this.#most(hostId, of.router);
      const mostSets = SETS_PER_ROUTE * (most ?? 0);
      const isNew = this.#index.get('learnedSet', id) === undefined;
      if (most === undefined) strange.add(of.router);
      else if (isNew && this.#leased.count('learnedSet', hostId, of.router) >= mostSets)
        exceeds(of.router, 'sets of next hops', mostSets);
      else changes.push(...this.#leased.put({ kind: 'learnedSet', id, host: hostId, ...of }));
    }
    for (const of of blocks) {
      const most = this.#most(hostId, of.router);
      if (most === undefined) {
        strange.add(of.router);
        continue;
      }
      const id = blockId(hostId, of);
      const others =
        this.#leased.count('learnedRoutes', hostId, of.router) - (this.#index.get('learnedRoutes', id)?.count ?? 0);
      const left = Math.max(0, most - others);
      let { routes, count } = of;
      if (count > left) {
        exceeds(of.router, 'routes', most);
        ({ routes, count } = packBlock([...routesIn(routes)].slice(0, left)));
      }
      const { router, block, told } = of;
      changes.push(
        ...this.#leased.put({
          ...{ kind: 'learnedRoutes', id, router, host: hostId, block, routes, count },
          ...(told === undefined ? {} : { told }),
        }),
      );
    }
    return { changes, strange, excess: [...excess.values()] };
  }

  /** How many routes of the router the host may tell; undefined where it may not tell any. */
  #most(hostId: string, routerId: string): number | undefined {
    const bgp = this.#index.get('router', routerId)?.bgp;
    return bgp === undefined || !gatewaysOf(this.#index, routerId).has(hostId) ? undefined : bgp.maxRoutes;
  }
}

function setId(host: string, { router, set }: { readonly router: string; readonly set: string }): string {
  return `${router}/${host}/${set}`;
}

function blockId(host: string, { router, block }: { readonly router: string; readonly block: string }): string {
  return `${router}/${host}/${block}`;
}
