import type { LearnedHop, LearnedRoute, Router, ScopeKind, ScopeRecord } from '../../model/objects.ts';
import { MOST_ROUTES_IN_REPORT, type Report, type ReportedRoute, type ReportedSession } from '../../server/protocol.ts';
import type { Effect, ScopeChange } from '../events.ts';
import type { Ground } from '../ground.ts';
import type { SpeakerPlan } from './plan.ts';

/** Changes of the scope are gathered for so long: many come together, and each asks what is advertised. */
const SETTLE_MS = 100;
const NONE = '[]';
const LEFT = '';
/** May be very many, and have no part in what a speaker is to be. */
const BESIDE: ReadonlySet<ScopeKind> = new Set(['learnedRoute', 'learned']);

/** Routes that a speaker told: `via` undefined: the route is gone. */
export type ToldRoute = { readonly to: string; readonly via: readonly LearnedHop[] | undefined };

/**
 * BGP of this host: which speakers it runs, and what they learned. The speakers themselves are `speaker-link.ts`'s.
 *
 *     scope ─▶ effect `planSpeakers` ─▶ plan.ts ─▶ event `planned` ─▶ effect `speak` ─▶ namespaces, FRR
 *     FRR ─▶ event `learnedRoutes` ─▶ records here at once, reports for all others
 */
export class Sessions {
  readonly #ground: Ground;
  #isDue = false;
  /** As text; `LEFT` where an earlier agent's speakers may run still. */
  #planned: string;
  #wakeMs = Number.POSITIVE_INFINITY;
  /** Router → network → next hops: what the server knows of us, or will when the reports are through. */
  readonly #routes = new Map<string, Map<string, readonly LearnedHop[]>>();
  /** Routers whose speaker has told all that it learned; until then what was known before holds. */
  readonly #synced = new Set<string>();
  #sessions: readonly ReportedSession[] = [];
  #speakerPorts: ReadonlyMap<string, number> = new Map();
  /** Routers of which a next hop is probed by BFD. */
  readonly #withBfd = new Set<string>();

  /** `areLeft`: an earlier agent's speakers are there, wanted or not. */
  constructor(ground: Ground, areLeft = false) {
    this.#ground = ground;
    this.#planned = areLeft ? LEFT : NONE;
  }

  // ── what speakers this host has ──────────────────────────────────────────────────────────────────────────────────

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    for (const { op, record } of changes)
      if (op === 'put' && record.kind === 'learnedRoute') this.#adopt(record as LearnedRoute);
    for (const { op, record } of changes)
      if (record.kind === 'router') {
        const hasBfd = op === 'put' && (record as Router).routes.some(({ probe }) => probe?.type === 'bfd');
        if (hasBfd) this.#withBfd.add(record.id);
        else this.#withBfd.delete(record.id);
      }
    const mayHave = this.#ground.scope.count('bgpPeer') + this.#withBfd.size > 0 || this.#planned !== NONE;
    if (this.#isDue || !mayHave || changes.every(({ record }) => BESIDE.has(record.kind))) return [];
    this.#isDue = true;
    this.#wakeMs = nowMs + SETTLE_MS;
    return [{ kind: 'wake', inMs: SETTLE_MS }];
  }

  /** Routes of ours that the disk or the server remembers hold until the speaker has told what it knows. */
  #adopt({ host, router, to, via }: LearnedRoute): void {
    if (host === this.#ground.host && !this.#synced.has(router)) this.#routesOf(router).set(to, via);
  }

  wake(nowMs: number): Effect[] {
    if (!this.#isDue || nowMs < this.#wakeMs || this.#ground.host === undefined) return [];
    this.#isDue = false;
    return [{ kind: 'planSpeakers' }];
  }

  planned(plans: readonly SpeakerPlan[]): Effect[] {
    const text = JSON.stringify(plans, (key, value: unknown) => (key === 'revision' ? undefined : value));
    if (text === this.#planned) return [];
    this.#planned = text;
    const routers = new Set(plans.map(({ router }) => router));
    const ended = [...this.#routes.keys()].filter((router) => !routers.has(router));
    return [{ kind: 'speak', plans }, ...ended.flatMap((router) => this.#end(router))];
  }

  #end(router: string): Effect[] {
    const gone = [...(this.#routes.get(router)?.keys() ?? [])].map((to): ToldRoute => ({ to, via: undefined }));
    const effects = this.#take(router, gone);
    this.#routes.delete(router);
    this.#synced.delete(router);
    return effects;
  }

  /** Interfaces of speakers as they are in the bridge now. */
  portsTold(ofports: ReadonlyMap<string, number>): Effect[] {
    const before = this.#speakerPorts;
    this.#speakerPorts = ofports;
    return this.#ground.compile([
      ...[...ofports].map(([id, ofport]) => ({ op: 'put', record: { kind: 'speaker', id, ofport } }) as const),
      ...[...before.keys()].flatMap((id) => (ofports.has(id) ? [] : [{ op: 'delete', kind: 'speaker', id } as const])),
    ]);
  }

  // ── what they learned ────────────────────────────────────────────────────────────────────────────────────────────

  /** Changes; with `isAll` everything that the speaker knows: what is not named is gone. */
  routesTold(router: string, routes: readonly ToldRoute[], isAll: boolean): Effect[] {
    if (!isAll) return this.#take(router, routes);
    const named = new Set(routes.map(({ to }) => to));
    const gone = [...this.#routesOf(router).keys()].filter((to) => !named.has(to));
    const wasSynced = this.#allSynced();
    this.#synced.add(router);
    const effects = this.#take(router, [...routes, ...gone.map((to): ToldRoute => ({ to, via: undefined }))]);
    return wasSynced || !this.#allSynced() ? effects : [...effects, ...this.#ground.report(this.#allRoutes())];
  }

  #take(router: string, routes: readonly ToldRoute[]): Effect[] {
    const known = this.#routesOf(router);
    const put: ReportedRoute[] = [];
    const gone: { router: string; to: string }[] = [];
    for (const { to, via } of routes) {
      const before = known.get(to);
      if (via === undefined) {
        if (before === undefined) continue;
        known.delete(to);
        gone.push({ router, to });
      } else if (before === undefined || !isSame(before, via)) {
        known.set(to, via);
        put.push({ router, to, via });
      }
    }
    if (put.length + gone.length === 0) return [];
    return [...this.#overlay(put, gone), ...this.#ground.report(inParts(put, gone))];
  }

  /** Here at once, also while the server is away. */
  #overlay(put: readonly ReportedRoute[], gone: readonly { router: string; to: string }[]): Effect[] {
    const host = this.#ground.host!;
    const changes: ScopeChange[] = [];
    for (const { router, to, via } of put)
      changes.push({
        op: 'put',
        record: { kind: 'learnedRoute', id: `${router}/${to}/${host}`, revision: 0, router, to, host, via },
      });
    for (const { router, to } of gone)
      changes.push({ op: 'delete', record: { kind: 'learnedRoute', id: `${router}/${to}/${host}` } });
    this.#ground.scope.apply(changes);
    return this.#ground.compile(
      changes.map(({ op, record }) =>
        op === 'put' ? { op, record: record as ScopeRecord } : { op, kind: record.kind, id: record.id },
      ),
    );
  }

  sessionsTold(sessions: readonly ReportedSession[]): Effect[] {
    this.#sessions = sessions;
    return this.#ground.report([{ type: 'bgp', peers: sessions }]);
  }

  // ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** For a server that may know nothing; routes once the speakers have told theirs, for until then it knows better. */
  all(): Report[] {
    return [{ type: 'bgp', peers: this.#sessions }, ...(this.#allSynced() ? this.#allRoutes() : [])];
  }

  #allSynced(): boolean {
    if (this.#isDue || this.#planned === LEFT) return false;
    const plans = JSON.parse(this.#planned) as readonly { readonly router: string }[];
    return plans.every(({ router }) => this.#synced.has(router));
  }

  #allRoutes(): Report[] {
    const routes: ReportedRoute[] = [];
    for (const [router, known] of this.#routes) for (const [to, via] of known) routes.push({ router, to, via });
    const reports: Report[] = [];
    for (let at = 0; at === 0 || at < routes.length; at += MOST_ROUTES_IN_REPORT) {
      const isMore = at + MOST_ROUTES_IN_REPORT < routes.length;
      reports.push({ type: 'learnedRoutesAll', routes: routes.slice(at, at + MOST_ROUTES_IN_REPORT), isMore });
    }
    return reports;
  }

  #routesOf(router: string): Map<string, readonly LearnedHop[]> {
    const known = this.#routes.get(router) ?? new Map<string, readonly LearnedHop[]>();
    this.#routes.set(router, known);
    return known;
  }
}

function isSame(a: readonly LearnedHop[], b: readonly LearnedHop[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ address, routerPort, weight }, i) => {
      const other = b[i]!;
      return address === other.address && routerPort === other.routerPort && weight === other.weight;
    })
  );
}

function inParts(
  put: readonly ReportedRoute[],
  gone: readonly { readonly router: string; readonly to: string }[],
): Report[] {
  const reports: Report[] = [];
  for (let at = 0; at < Math.max(put.length, gone.length); at += MOST_ROUTES_IN_REPORT) {
    const to = at + MOST_ROUTES_IN_REPORT;
    reports.push({ type: 'learnedRoutes', put: put.slice(at, to), gone: gone.slice(at, to) });
  }
  return reports;
}
