import type { Cidr } from '../../base/addresses.ts';
import { DEFAULT_DRAIN_WAIT_S } from '../../model/gateways.ts';
import type { LearnedHop, LearnedRoutes, LearnedSet, Router, ScopeKind, ScopeRecord } from '../../model/objects.ts';
import {
  MOST_BLOCKS_IN_REPORT,
  MOST_SETS_IN_REPORT,
  type Report,
  type ReportedBlock,
  type ReportedSession,
  type ReportedSet,
} from '../../server/protocol.ts';
import type { Effect, ScopeChange } from '../events.ts';
import type { Ground } from '../ground.ts';
import { LearnedTable, type TableChange } from './learned-table.ts';
import { Leaving } from './leaving.ts';
import type { SpeakerPlan } from './plan.ts';

/** Changes of the scope are gathered for so long: many come together, and each asks what is advertised. */
const SETTLE_MS = 100;
/** So many blocks of routes change in a full table, not in what comes and goes one by one. */
const MANY_BLOCKS = 64;
const NONE = '[]';
const LEFT = '';
/** May be very many, and have no part in what a speaker is to be. */
const BESIDE: ReadonlySet<ScopeKind> = new Set(['learnedSet', 'learnedRoutes', 'learned']);

/** Routes that a speaker told: `via` undefined: the route is gone. */
export type ToldRoute = { readonly to: Cidr; readonly via: readonly LearnedHop[] | undefined };

/**
 * BGP of this host: which speakers it runs, and what they learned. The speakers themselves are `speaker-link.ts`'s.
 *
 *     scope ─▶ effect `planSpeakers` ─▶ plan.ts ─▶ event `planned` ─▶ effect `speak` ─▶ namespaces, FRR
 *     FRR ─▶ event `learnedRoutes` ─▶ records here at once (of a full table: a turn later), reports for all others
 */
export class Sessions {
  readonly #ground: Ground;
  #isDue = false;
  /** As text; `LEFT` where an earlier agent's speakers may run still. */
  #planned: string;
  #wakeMs = Number.POSITIVE_INFINITY;
  /** By router: what the server knows of us, or will when the reports are through. */
  readonly #tables = new Map<string, LearnedTable>();
  /** Routers that have a speaker here, once that is known. */
  #routers: ReadonlySet<string> | undefined;
  /** Routers whose speaker has told all that it learned; until then what was known before holds. */
  readonly #synced = new Set<string>();
  /** The server is to hear all routes as soon as all speakers have told theirs. */
  #owesAll = false;
  /** Reported, and not in use here yet. */
  #later: ScopeChange[] = [];
  #sessions: readonly ReportedSession[] = [];
  #speakerPorts: ReadonlyMap<string, number> = new Map();
  /** Routers of which a next hop is probed by BFD. */
  readonly #withBfd = new Set<string>();
  /** Undefined until it is known. */
  #wasDrained: boolean | undefined;
  /** Undefined: it is not being drained, or is already. */
  #leaving: Leaving | undefined;

  /** `areLeft`: an earlier agent's speakers are there, wanted or not. */
  constructor(ground: Ground, areLeft = false) {
    this.#ground = ground;
    this.#planned = areLeft ? LEFT : NONE;
  }

  // ── what speakers this host has ──────────────────────────────────────────────────────────────────────────────────

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    for (const { op, record } of changes)
      if (op === 'put' && (record.kind === 'learnedSet' || record.kind === 'learnedRoutes'))
        this.#adopt(record as LearnedSet | LearnedRoutes);
    for (const { op, record } of changes)
      if (record.kind === 'router') {
        const hasBfd = op === 'put' && (record as Router).routes.some(({ probe }) => probe?.type === 'bfd');
        if (hasBfd) this.#withBfd.add(record.id);
        else this.#withBfd.delete(record.id);
      }
    const mayHave = this.#ground.scope.count('bgpPeer') + this.#withBfd.size > 0 || this.#planned !== NONE;
    this.#noteDrain(changes, nowMs);
    if (!mayHave || changes.every(({ record }) => BESIDE.has(record.kind))) return [];
    return this.#planSoon(nowMs);
  }

  /** Other hosts answer no more, or again: what they serve is advertised only while they do. */
  hostsTold(nowMs: number): Effect[] {
    return this.#planned === NONE ? [] : this.#planSoon(nowMs);
  }

  #planSoon(nowMs: number): Effect[] {
    if (this.#isDue) return [];
    this.#isDue = true;
    this.#wakeMs = nowMs + SETTLE_MS;
    return [{ kind: 'wake', inMs: SETTLE_MS }];
  }

  /** Without what the server gives back of our own routes, and we have told anew since: flows would follow it for a moment. */
  withoutOutdated(changes: readonly ScopeChange[]): readonly ScopeChange[] {
    return changes.filter((change) => {
      const { kind, id } = change.record;
      if (kind !== 'learnedRoutes' && kind !== 'learnedSet') return true;
      return this.#tables.get(id.slice(0, id.indexOf('/')))?.isOutdated(change) !== true;
    });
  }

  /** Routes of ours that the disk or the server remembers hold until the speaker has told what it knows. */
  #adopt(record: LearnedSet | LearnedRoutes): void {
    const { host, router } = record;
    if (host === this.#ground.host && !this.#synced.has(router)) this.#tableOf(router).adopt(record);
  }

  wake(nowMs: number): Effect[] {
    const used = this.#use([]);
    const own = this.#ground.host;
    if (own === undefined) return used;
    const hasLeft = this.#leaving?.isOver(this.#ground.scope.host(own)?.drainWaitS ?? DEFAULT_DRAIN_WAIT_S, nowMs);
    if (!hasLeft && (!this.#isDue || nowMs < this.#wakeMs)) return used;
    if (hasLeft) this.#leaving = undefined;
    this.#isDue = false;
    return [...used, { kind: 'planSpeakers', isLeaving: this.#leaving !== undefined }];
  }

  /** Once a second. */
  tick(nowMs: number): Effect[] {
    const counting: Effect[] = this.#leaving ? [{ kind: 'readPassing', ofports: this.#wires() }] : [];
    return [...this.wake(nowMs), ...counting];
  }

  /** Packets that came in by the wires, but for those of sessions. */
  passingTold(packets: number, nowMs: number): Effect[] {
    this.#leaving?.counted(packets, nowMs);
    return this.wake(nowMs);
  }

  /** Interfaces behind which peers are: ports without port security on the switches of their router ports. */
  #wires(): number[] {
    const { scope, interfaces } = this.#ground;
    const switches = new Set([...scope.all('bgpPeer')].map((peer) => scope.get('routerPort', peer.routerPort)?.switch));
    return [...interfaces.bound()].flatMap(([id, { ofport }]) => {
      const port = scope.port(id);
      return port && !port.portSecurity && switches.has(port.switch) && ofport !== undefined ? [ofport] : [];
    });
  }

  planned(plans: readonly SpeakerPlan[]): Effect[] {
    const text = JSON.stringify(plans, (key, value: unknown) => (key === 'revision' ? undefined : value));
    if (text === this.#planned) return this.#tellOwed();
    this.#planned = text;
    const routers = new Set(plans.map(({ router }) => router));
    this.#routers = routers;
    const ended = [...this.#tables.keys()].filter((router) => !routers.has(router));
    return [{ kind: 'speak', plans }, ...ended.flatMap((router) => this.#end(router)), ...this.#tellOwed()];
  }

  #end(router: string): Effect[] {
    const table = this.#tableOf(router);
    table.keep(new Set());
    const effects = this.#take(table);
    this.#tables.delete(router);
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

  /** Drained from now on: not what it was when this agent started. */
  #noteDrain(changes: readonly ScopeChange[], nowMs: number): void {
    const own = this.#ground.host;
    const change = changes.find(({ record }) => record.kind === 'host' && record.id === own);
    if (change === undefined) return;
    const isDrained = this.#ground.scope.host(own!)?.drain === true;
    const isNew = isDrained && this.#wasDrained === false;
    this.#wasDrained = isDrained;
    if (!isDrained) this.#leaving = undefined;
    // Without peers there is nobody to tell.
    if (isNew && this.#ground.scope.count('bgpPeer') > 0) this.#leaving = new Leaving(nowMs);
  }

  // ── what they learned ────────────────────────────────────────────────────────────────────────────────────────────

  /** Changes; with `isAll` everything that the speaker knows: what is not named is gone. */
  routesTold(router: string, routes: readonly ToldRoute[], isAll: boolean): Effect[] {
    // A speaker that is being ended still talks.
    if (this.#routers?.has(router) === false) return [];
    const table = this.#tableOf(router);
    for (const { to, via } of routes)
      if (via === undefined) table.delete(to);
      else table.put(to, via);
    if (!isAll) return this.#take(table);
    table.keep(routes.map(({ to }) => to));
    if (!this.#synced.has(router)) this.#owesAll = true;
    this.#synced.add(router);
    return [...this.#take(table), ...this.#tellOwed()];
  }

  /** The sessions with these next hops ended; their routes go one by one, and may take their time. */
  endedTold(router: string, ended: readonly string[]): Effect[] {
    if (this.#routers?.has(router) === false) return [];
    const table = this.#tableOf(router);
    table.avoid(new Set(ended));
    return this.#take(table);
  }

  #take(table: LearnedTable): Effect[] {
    const change = table.take();
    const { sets, blocks, goneSets, goneBlocks } = change;
    if (sets.length + blocks.length + goneSets.length + goneBlocks.length === 0) return [];
    const changes = changesOf(table, change);
    const reports = this.#ground.report(inParts(table, change));
    if (blocks.length + goneBlocks.length < MANY_BLOCKS) return [...this.#use(changes), ...reports];
    // Others make their flows of them meanwhile.
    this.#later.push(...changes);
    return [...reports, { kind: 'wake', inMs: 0 }];
  }

  /** Here at once, also while the server is away. */
  #use(changes: readonly ScopeChange[]): Effect[] {
    const all = [...this.#later, ...changes];
    if (all.length === 0) return [];
    this.#later = [];
    this.#ground.scope.apply(all);
    return this.#ground.compile(
      all.map(({ op, record }) =>
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
    this.#owesAll = !this.#allSynced();
    return [{ type: 'bgp', peers: this.#sessions }, ...(this.#owesAll ? [] : this.#allRoutes())];
  }

  /** What speakers know may be what the server knew before, and nothing a change then: so the list itself must not be left out. */
  #tellOwed(): Effect[] {
    if (!this.#owesAll || !this.#allSynced()) return [];
    this.#owesAll = false;
    return this.#ground.report(this.#allRoutes());
  }

  #allSynced(): boolean {
    if (this.#isDue || this.#planned === LEFT) return false;
    return [...(this.#routers ?? [])].every((router) => this.#synced.has(router));
  }

  #allRoutes(): Report[] {
    const all = [...this.#tables.values()].map((table) => table.all());
    const blocks = all.flatMap((each) => each.blocks).map(reportedBlock);
    const sets = all.flatMap((each) => each.sets).map(reportedSet);
    const reports: Report[] = [];
    for (let at = 0; at < sets.length; at += MOST_SETS_IN_REPORT)
      reports.push({
        ...{ type: 'learnedRoutesAll', sets: sets.slice(at, at + MOST_SETS_IN_REPORT), blocks: [], isMore: true },
      });
    for (let at = 0; at === 0 || at < blocks.length; at += MOST_BLOCKS_IN_REPORT) {
      const to = at + MOST_BLOCKS_IN_REPORT;
      const isMore = to < blocks.length;
      reports.push({ type: 'learnedRoutesAll', sets: [], blocks: blocks.slice(at, to), isMore });
    }
    return reports;
  }

  #tableOf(router: string): LearnedTable {
    const known = this.#tables.get(router) ?? new LearnedTable(router, this.#ground.host!);
    this.#tables.set(router, known);
    return known;
  }
}

function changesOf(table: LearnedTable, { sets, blocks, goneSets, goneBlocks }: TableChange): ScopeChange[] {
  const gone = (kind: 'learnedSet' | 'learnedRoutes', names: readonly string[]) =>
    names.map((name) => ({ op: 'delete', record: { kind, id: `${table.router}/${table.host}/${name}` } }) as const);
  return [
    ...[...sets, ...blocks].map((record) => ({ op: 'put', record }) as const),
    ...gone('learnedRoutes', goneBlocks),
    ...gone('learnedSet', goneSets),
  ];
}

function reportedSet({ router, set, via, ended, told }: LearnedSet): ReportedSet {
  return { router, set, via, ...(ended === undefined ? {} : { ended }), ...(told === undefined ? {} : { told }) };
}

function reportedBlock({ router, block, routes, count, told }: LearnedRoutes): ReportedBlock {
  return { router, block, routes, count, ...(told === undefined ? {} : { told }) };
}

/** Sets before the blocks that name them, and what goes behind all. */
function inParts({ router }: LearnedTable, { sets, blocks, goneSets, goneBlocks }: TableChange): Report[] {
  const nothing = { type: 'learnedRoutes', sets: [], blocks: [], goneSets: [], goneBlocks: [] } as const;
  const reports: Report[] = [];
  for (let at = 0; at < sets.length; at += MOST_SETS_IN_REPORT)
    reports.push({ ...nothing, sets: sets.slice(at, at + MOST_SETS_IN_REPORT).map(reportedSet) });
  for (let at = 0; at < blocks.length; at += MOST_BLOCKS_IN_REPORT)
    reports.push({ ...nothing, blocks: blocks.slice(at, at + MOST_BLOCKS_IN_REPORT).map(reportedBlock) });
  if (goneBlocks.length > 0) reports.push({ ...nothing, goneBlocks: goneBlocks.map((block) => ({ router, block })) });
  for (let at = 0; at < goneSets.length; at += MOST_SETS_IN_REPORT) {
    const some = goneSets.slice(at, at + MOST_SETS_IN_REPORT);
    reports.push({ ...nothing, goneSets: some.map((set) => ({ router, set })) });
  }
  return reports;
}
