import { gatewaysOf } from '../model/gateways.ts';
import type { ModelIndex } from '../model/view.ts';
import type { RecordChange } from './desired-state.ts';
import type { LeasedRecords } from './leased-records.ts';
import type { ReportedRoute } from './protocol.ts';

/** What taking routes in came to. */
export interface TakenRoutes {
  readonly changes: readonly RecordChange[];
  /** Routers of which the host is no gateway (they may have been taken away in the very moment), with no BGP, or unknown. */
  readonly strange: ReadonlySet<string>;
  /** Routers with more routes than they use: how many were left out. */
  readonly excess: ReadonlyMap<string, number>;
}

/** Routes that gateways learned (docs/design/gateways.md, §2), as leased records. */
export class LearnedRoutes {
  readonly #index: ModelIndex;
  readonly #leased: LeasedRecords;
  /** Host → ids that its list of all, which is still coming in, has named so far. */
  readonly #coming = new Map<string, Set<string>>();

  constructor(index: ModelIndex, leased: LeasedRecords) {
    this.#index = index;
    this.#leased = leased;
  }

  put(hostId: string, routes: readonly ReportedRoute[]): TakenRoutes {
    const changes: RecordChange[] = [];
    const strange = new Set<string>();
    const excess = new Map<string, number>();
    const room = new Map<string, number>();
    for (const { router, to, via } of routes) {
      let left = room.get(router) ?? this.#room(hostId, router);
      if (left === undefined) {
        strange.add(router);
        continue;
      }
      const id = routeId(router, to, hostId);
      const isNew = this.#index.get('learnedRoute', id) === undefined;
      if (isNew && left <= 0) excess.set(router, (excess.get(router) ?? 0) + 1);
      else {
        if (isNew) left--;
        changes.push(...this.#leased.put({ kind: 'learnedRoute', id, router, to, host: hostId, via }));
      }
      room.set(router, left);
    }
    return { changes, strange, excess };
  }

  gone(hostId: string, routes: readonly { readonly router: string; readonly to: string }[]): readonly RecordChange[] {
    return routes.flatMap(({ router, to }) => this.#leased.end(hostId, 'learnedRoute', routeId(router, to, hostId)));
  }

  /** A part of all that the host has; with the last, what no part named goes. */
  replace(hostId: string, routes: readonly ReportedRoute[], isMore: boolean): TakenRoutes {
    const named = this.#coming.get(hostId) ?? new Set<string>();
    for (const { router, to } of routes) named.add(routeId(router, to, hostId));
    if (isMore) this.#coming.set(hostId, named);
    else this.#coming.delete(hostId);
    // What goes makes room for what comes.
    const gone = isMore ? [] : this.#leased.endAll(hostId, ['learnedRoute'], named);
    const taken = this.put(hostId, routes);
    return { ...taken, changes: [...gone, ...taken.changes] };
  }

  /** A new connection begins its list anew. */
  forgetComing(hostId: string): void {
    this.#coming.delete(hostId);
  }

  /** How many routes of the router the host may still add; undefined where it may not tell any. */
  #room(hostId: string, routerId: string): number | undefined {
    const bgp = this.#index.get('router', routerId)?.bgp;
    if (bgp === undefined || !gatewaysOf(this.#index, routerId).has(hostId)) return undefined;
    return bgp.maxRoutes - this.#leased.count(hostId, routerId);
  }
}

function routeId(router: string, to: string, host: string): string {
  return `${router}/${to}/${host}`;
}
