import { isDeepStrictEqual } from 'node:util';
import type { LearnedHop, LearnedRoute } from '../../model/objects.ts';
import { MOST_ROUTES_IN_REPORT, type Report, type ReportedRoute } from '../../server/protocol.ts';

/** A route that a daemon of this host learned; without `via` it is gone. */
export interface RouteNews {
  readonly router: string;
  /** A network, as `formatCidr` writes it. */
  readonly to: string;
  readonly via: readonly LearnedHop[] | undefined;
}

/** What is different now, for the flows here, and for the server. */
export interface OwnRouteChanges {
  readonly put: readonly LearnedRoute[];
  readonly gone: readonly LearnedRoute[];
  readonly reports: readonly Report[];
}

/** The routes of one router. */
interface Table {
  /** By network; as the server was told. */
  readonly told: Map<string, LearnedRoute>;
  /** What there was no room for, in the order in which it came. */
  readonly excess: Map<string, readonly LearnedHop[]>;
}

/**
 * The learned routes of this host's own daemons: they take effect here at once, and the server is told in reports of a size that it can take in.
 * No more of a router than `maxRoutes` are told; further ones come in when others go.
 */
export class OwnRoutes {
  readonly #host: string;
  readonly #maxRoutes: (router: string) => number;
  readonly #tables = new Map<string, Table>();

  constructor(host: string, maxRoutes: (router: string) => number) {
    this.#host = host;
    this.#maxRoutes = maxRoutes;
  }

  /** How many routes of a router there is no room for. */
  excessOf(router: string): number {
    return this.#tables.get(router)?.excess.size ?? 0;
  }

  /** The record that we told, by its id: what the server takes from us while we hold it has to be told again. */
  get(id: string): LearnedRoute | undefined {
    const router = id.slice(0, id.indexOf('/'));
    const record = this.#tables.get(router)?.told.get(id.slice(router.length + 1, id.lastIndexOf('/')));
    return record?.id === id ? record : undefined;
  }

  /** Of several news of one route the last holds. */
  take(news: Iterable<RouteNews>): OwnRouteChanges {
    const put: LearnedRoute[] = [];
    const gone: LearnedRoute[] = [];
    for (const [router, latest] of latestOf(news)) {
      const table = this.#tables.get(router) ?? { told: new Map(), excess: new Map() };
      this.#tables.set(router, table);
      const { told, excess } = table;
      const fresh: [string, readonly LearnedHop[]][] = [];
      for (const [to, via] of latest) {
        const known = told.get(to);
        excess.delete(to);
        if (via === undefined || via.length === 0) {
          if (known && told.delete(to)) gone.push(known);
        } else if (!known) fresh.push([to, via]);
        else if (!isDeepStrictEqual(known.via, via)) put.push(this.#tell(table, router, to, via));
      }
      for (const [to, via] of fresh) excess.set(to, via);
      for (const [to, via] of excess) {
        if (told.size >= this.#maxRoutes(router)) break;
        excess.delete(to);
        put.push(this.#tell(table, router, to, via));
      }
    }
    return { put, gone, reports: reportsOf(put, gone) };
  }

  /** The router has no speaker here any more. */
  forget(router: string): OwnRouteChanges {
    const gone = [...(this.#tables.get(router)?.told.values() ?? [])];
    this.#tables.delete(router);
    return { put: [], gone, reports: reportsOf([], gone) };
  }

  /** Everything, for a new connection to the server. */
  all(): readonly Report[] {
    const routes = [...this.#tables.values()].flatMap(({ told }) => [...told.values()].map(reported));
    const chunks = chunksOf(routes);
    if (chunks.length === 0) return [{ type: 'learnedRoutesAll', routes: [] }];
    return chunks.map((chunk, i) => ({
      type: 'learnedRoutesAll',
      routes: chunk,
      ...(i < chunks.length - 1 ? { isMore: true } : {}),
    }));
  }

  #tell({ told }: Table, router: string, to: string, via: readonly LearnedHop[]): LearnedRoute {
    const id = `${router}/${to}/${this.#host}`;
    // Until the server sends it with its own revision.
    const record: LearnedRoute = { kind: 'learnedRoute', id, revision: -1, router, to, host: this.#host, via };
    told.set(to, record);
    return record;
  }
}

function latestOf(news: Iterable<RouteNews>): ReadonlyMap<string, ReadonlyMap<string, RouteNews['via']>> {
  const latest = new Map<string, Map<string, RouteNews['via']>>();
  for (const { router, to, via } of news) {
    const ofRouter = latest.get(router);
    if (ofRouter) ofRouter.set(to, via);
    else latest.set(router, new Map([[to, via]]));
  }
  return latest;
}

function reportsOf(put: readonly LearnedRoute[], gone: readonly LearnedRoute[]): readonly Report[] {
  return [
    // What goes makes room for what comes.
    ...chunksOf(gone).map(
      (chunk): Report => ({
        type: 'learnedRoutes',
        put: [],
        gone: chunk.map(({ router, to }) => ({ router, to })),
      }),
    ),
    ...chunksOf(put).map((chunk): Report => ({ type: 'learnedRoutes', put: chunk.map(reported), gone: [] })),
  ];
}

function reported({ router, to, via }: LearnedRoute): ReportedRoute {
  return { router, to, via };
}

function chunksOf<T>(all: readonly T[]): readonly (readonly T[])[] {
  const chunks: (readonly T[])[] = [];
  for (let from = 0; from < all.length; from += MOST_ROUTES_IN_REPORT)
    chunks.push(all.slice(from, from + MOST_ROUTES_IN_REPORT));
  return chunks;
}
