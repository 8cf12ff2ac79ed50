import { formatIp } from '../../base/addresses.ts';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { listNamespaces } from '../../base/namespaces.ts';
import type { RouteChange, Ways } from '../../frr/route-table.ts';
import type { PeerState } from '../../frr/show.ts';
import { Speaker } from '../../frr/speaker.ts';
import type { LearnedHop } from '../../model/objects.ts';
import type { ReportedSession } from '../../server/protocol.ts';
import type { AgentEvent } from '../events.ts';
import { endedHops } from './ended-hops.ts';
import { Flaps } from './flaps.ts';
import type { SpeakerPlan } from './plan.ts';
import type { ToldRoute } from './sessions.ts';
import { configOf } from './speaker-config.ts';
import { interfacesOf, namespaceOf, preparePlace, removeEnd, removeNamespace } from './speaker-place.ts';
import { StateAges } from './state-ages.ts';

export interface SpeakerLinkOptions {
  /** Of the names of network namespaces; on one machine no two agents have the same. */
  readonly namespacePrefix: string;
  readonly datapathType: string;
  readonly emit: (event: AgentEvent) => void;
  /** The bridge has exactly these interfaces of speakers afterwards. Error: OVSDB's. */
  readonly setSpeakerPorts: (interfaces: ReadonlyMap<string, string>) => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** The most that a next hop of ours can have; the kernel knows 256. */
const MOST_WEIGHT = 100;
const RETRY_MS = 2_000;
const ASK_MS = 1_000;
/** What one has not answered by then is told as it was before. */
const ANSWER_MS = 500;
const ASK_BFD_MS = 100;
/** That nothing has changed is told now and then: who has begun to probe since knows nothing yet. */
const TELL_BFD_MS = 1_000;
/** A daemon that has not answered for so long knows of no session that is up. */
const DEAF_MS = 10_000;
/** A speaker that has told no routes by then has none: those of before are not kept for it. */
const UNTOLD_MS = 60_000;
/** Until Open vSwitch has taken an interface off its bridge. */
const LET_GO_MS = 500;

interface Running {
  plan: SpeakerPlan;
  readonly namespace: string;
  readonly speaker: Speaker;
  problem: string | undefined;
  /** While its daemons are told their configuration. */
  applying: Promise<void> | undefined;
  /** The plan is newer than what they were told. */
  isDue: boolean;
  /** While bgpd is asked for its sessions. */
  asking: Promise<void> | undefined;
  /** As it said last; undefined until it was asked once. */
  sessions: readonly ReportedSession[] | undefined;
  /** By when its routes have to be told; undefined once they were. */
  untoldUntilMs: number | undefined;
  /** What ways come to, for many routes the same. */
  hops: Map<Ways, readonly LearnedHop[] | undefined>;
}

/** The speakers of this host as they are: namespaces, interfaces, FRR. What should be comes by `speak`. */
export class SpeakerLink {
  readonly #options: SpeakerLinkOptions;
  readonly #running = new Map<string, Running>();
  #wanted: readonly SpeakerPlan[] | undefined;
  #plans: readonly SpeakerPlan[] = [];
  #isSettling = false;
  #isRetryDue = false;
  /** Namespaces of speakers that end: a new one of the same router waits for that, and no other. */
  readonly #ending = new Set<string>();
  /** Running, and not wanted by the plans before the last: what was learned by them is forgotten. */
  readonly #forgotten = new Set<string>();
  #isSwept = false;
  #told = '';
  #toldProblems = '';
  readonly #ages = new StateAges();
  readonly #flaps = new Flaps();

  constructor(options: SpeakerLinkOptions) {
    this.#options = options;
  }

  /** Nothing is done until the first plans are told: what an earlier agent left running goes on. */
  speak(plans: readonly SpeakerPlan[]): void {
    this.#wanted = plans;
    for (const router of this.#running.keys())
      if (!plans.some((plan) => plan.router === router)) this.#forgotten.add(router);
    if (!this.#isSettling) void this.#settle();
  }

  async run(): Promise<void> {
    const { clock, signal } = this.#options;
    const watching = this.#watchBfd();
    while (!signal.aborted) {
      if (this.#running.size > 0 || this.#told !== '') await this.#tellSessions();
      this.#tellProblems();
      this.#tellNothing();
      await clock.sleep(ASK_MS, signal).catch(() => {});
    }
    await watching;
    // The sessions go on.
    for (const { speaker } of this.#running.values()) speaker.close();
  }

  /** bfdd tells nobody by itself that a session is down: it is asked, where there are any. */
  async #watchBfd(): Promise<void> {
    const { clock, emit, signal } = this.#options;
    const told = new Map<string, { readonly text: string; readonly atMs: number }>();
    const answeredMs = new Map<string, number>();
    const asked = new Set<string>();
    // One that does not answer holds up no other.
    const ask = async (router: string, speaker: Speaker): Promise<void> => {
      if (asked.has(router)) return;
      asked.add(router);
      const states = await speaker.bfd().catch(() => undefined);
      asked.delete(router);
      const plan = this.#running.get(router)?.plan;
      if (!plan) return;
      const nowMs = clock.monotonicMs();
      if (states) answeredMs.set(router, nowMs);
      else if (nowMs - (answeredMs.get(router) ?? nowMs) < DEAF_MS) return;
      const isUp = (address: string): boolean => states?.some((s) => s.up && s.peer === address) === true;
      const up = plan.bfd.flatMap(({ address }) => (isUp(address) ? [address] : []));
      const text = up.join();
      const before = told.get(router);
      if (before?.text === text && nowMs - before.atMs < TELL_BFD_MS) return;
      told.set(router, { text, atMs: nowMs });
      emit({ kind: 'bfd', router, up });
    };
    while (!signal.aborted) {
      for (const known of [told, answeredMs])
        for (const router of known.keys()) if (!this.#running.get(router)?.plan.bfd.length) known.delete(router);
      for (const [router, { plan, speaker }] of this.#running) if (plan.bfd.length > 0) void ask(router, speaker);
      await clock.sleep(ASK_BFD_MS, signal).catch(() => {});
    }
  }

  async #settle(): Promise<void> {
    const { clock, log, signal } = this.#options;
    this.#isSettling = true;
    while (this.#wanted !== undefined && !signal.aborted) {
      const plans = this.#wanted;
      this.#wanted = undefined;
      this.#plans = plans;
      try {
        await this.#bringTo(plans);
      } catch (error) {
        log.warn('speakers are not as they should be; trying again', { error });
        this.#wanted ??= plans;
        await clock.sleep(RETRY_MS, signal).catch(() => {});
      }
    }
    this.#isSettling = false;
  }

  async #bringTo(plans: readonly SpeakerPlan[]): Promise<void> {
    const routers = new Set(plans.map(({ router }) => router));
    for (const [router, running] of this.#running)
      if (!routers.has(router)) {
        this.#running.delete(router);
        this.#forgotten.delete(router);
        running.isDue = false;
        running.speaker.close();
        void this.#end(running);
      }
    this.#sweep(plans);
    const isUserspace = this.#options.datapathType === 'netdev';
    const made = new Set<string>();
    const ready: Running[] = [];
    const possible = plans.filter(({ router }) => !this.#ending.has(this.#namespaceOf(router)));
    for (const plan of possible) {
      const running = this.#running.get(plan.router) ?? this.#create(plan);
      try {
        for (const { id } of running.plan.ports)
          if (!plan.ports.some((port) => port.id === id)) await removeEnd(running.namespace, id);
        running.plan = plan;
        running.hops = new Map();
        for (const end of await preparePlace(running.namespace, plan.ports, isUserspace)) made.add(end);
        ready.push(running);
      } catch (error) {
        this.#failed(running, error);
      }
      const wasForgotten = this.#forgotten.delete(plan.router);
      if (wasForgotten && !running.speaker.synced)
        running.untoldUntilMs = this.#options.clock.monotonicMs() + UNTOLD_MS;
      if (wasForgotten) this.#tellAll(running);
      // By which next hops those are reached the plan says.
      if (running.speaker.ended.length > 0) this.#tellEnded(running, running.speaker.ended);
    }
    const ports = possible.flatMap((plan) => plan.ports.map(({ id }) => [interfacesOf(id).outer, id] as const));
    // The userspace datapath goes on reading from an interface that is gone, though another has its name: it must let go of that first.
    if (made.size > 0 && (await this.#options.setSpeakerPorts(new Map(ports.filter(([name]) => !made.has(name))))))
      await this.#options.clock.sleep(LET_GO_MS, this.#options.signal);
    await this.#options.setSpeakerPorts(new Map(ports));
    for (const running of ready) this.#apply(running);
    this.#tellProblems();
  }

  /** Its daemons get their configuration, however long that takes: one that does not answer holds up no other speaker. */
  #apply(running: Running): void {
    running.isDue = true;
    running.applying ??= this.#applyLatest(running);
  }

  async #applyLatest(running: Running): Promise<void> {
    const { signal } = this.#options;
    const { router } = running.plan;
    const isWanted = (): boolean => this.#running.get(router) === running && !signal.aborted;
    while (running.isDue && isWanted()) {
      running.isDue = false;
      try {
        await running.speaker.apply(configOf(running.plan));
        running.hops = new Map();
        running.problem = undefined;
      } catch (error) {
        this.#failed(running, error);
      }
      this.#tellProblems();
    }
    running.applying = undefined;
  }

  /** All is tried again, from the beginning: what it stands on may be gone. */
  #failed(running: Running, error: unknown): void {
    const { clock, log, signal } = this.#options;
    running.problem = error instanceof Error ? error.message : String(error);
    log.warn('a speaker is not as it should be; trying again', { router: running.plan.router, error });
    if (this.#isRetryDue) return;
    this.#isRetryDue = true;
    const again = (): void => {
      this.#isRetryDue = false;
      this.speak(this.#wanted ?? this.#plans);
    };
    clock.sleep(RETRY_MS, signal).then(again, () => {});
  }

  /** Everything that it knows, where that is all. */
  #tellAll(running: Running): void {
    const { router } = running.plan;
    if (running.speaker.synced)
      this.#options.emit({ kind: 'learnedRoutes', router, routes: allOf(running), isAll: true });
  }

  #tellEnded({ plan }: Running, ended: readonly string[]): void {
    this.#options.emit({ kind: 'endedHops', router: plan.router, addresses: endedHops(plan, ended) });
  }

  /** Where they are others than before: daemons refuse what they are told, which may be long after it was to be so. */
  #tellProblems(): void {
    const problems = [...this.#running.values()].flatMap((running) => {
      const problem = problemOf(running);
      return problem === undefined ? [] : [`BGP: ${problem}`];
    });
    const text = problems.join('\n');
    if (text === this.#toldProblems) return;
    this.#toldProblems = text;
    this.#options.emit({ kind: 'speakerProblems', problems });
  }

  #create(plan: SpeakerPlan): Running {
    const { router } = plan;
    const namespace = this.#namespaceOf(router);
    const { emit } = this.#options;
    const running: Running = {
      ...{ plan, namespace, problem: undefined, hops: new Map() },
      ...{ applying: undefined, isDue: false, asking: undefined, sessions: undefined },
      untoldUntilMs: this.#options.clock.monotonicMs() + UNTOLD_MS,
      speaker: new Speaker({
        ...{ namespace, log: this.#options.log },
        onChanges: (changes) =>
          emit({
            kind: 'learnedRoutes',
            router,
            routes: changes.map((change) => toldOf(change, running)),
            isAll: false,
          }),
        onEnded: (ended) => this.#tellEnded(running, ended),
        onSynced: () => {
          running.untoldUntilMs = undefined;
          this.#tellAll(running);
        },
      }),
    };
    this.#running.set(router, running);
    return running;
  }

  async #end(ended: Pick<Running, 'namespace' | 'speaker' | 'applying'>): Promise<void> {
    const { clock, log, signal } = this.#options;
    const { namespace, speaker } = ended;
    this.#ending.add(namespace);
    while (!signal.aborted)
      try {
        await ended.applying;
        await speaker.stop();
        await removeNamespace(namespace);
        break;
      } catch (error) {
        log.warn('a speaker does not end; trying again', { namespace, error });
        await clock.sleep(RETRY_MS, signal).catch(() => {});
      }
    this.#ending.delete(namespace);
    if (this.#plans.some(({ router }) => this.#namespaceOf(router) === namespace))
      this.speak(this.#wanted ?? this.#plans);
  }

  #namespaceOf(router: string): string {
    return namespaceOf(this.#options.namespacePrefix, router);
  }

  /** Speakers that an earlier agent ran for routers that have none here any more. */
  #sweep(plans: readonly SpeakerPlan[]): void {
    if (this.#isSwept) return;
    this.#isSwept = true;
    const { namespacePrefix, log } = this.#options;
    const wanted = new Set(plans.map(({ router }) => this.#namespaceOf(router)));
    for (const namespace of listNamespaces(namespacePrefix)) {
      if (wanted.has(namespace)) continue;
      log.info('ending a speaker that an earlier agent left', { namespace });
      void this.#end({ namespace, speaker: new Speaker({ namespace, log, onChanges: () => {} }), applying: undefined });
    }
  }

  /** Others' routes do not wait for who never tells any. */
  #tellNothing(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [router, running] of this.#running) {
      // One that has begun to tell them comes to an end.
      if (running.untoldUntilMs === undefined || nowMs < running.untoldUntilMs || running.speaker.connected) continue;
      running.untoldUntilMs = undefined;
      this.#options.emit({ kind: 'learnedRoutes', router, routes: [], isAll: true });
    }
  }

  async #tellSessions(): Promise<void> {
    const { clock, signal } = this.#options;
    const all = [...this.#running.values()];
    for (const running of all) running.asking ??= this.#ask(running);
    // What is not named counts as ended: nothing is told of any before each was asked once.
    await Promise.all(all.flatMap(({ sessions, asking }) => (sessions === undefined ? [asking] : [])));
    await Promise.race([Promise.all(all.map(({ asking }) => asking)), clock.sleep(ANSWER_MS, signal).catch(() => {})]);
    const sessions = all.flatMap(({ plan, sessions: its }) => {
      const planned = new Set([...plan.peers.map(({ id }) => id), ...plan.leftOut.map(({ peer }) => peer)]);
      return its?.filter(({ peer }) => planned.has(peer)) ?? [];
    });
    const known = new Set(sessions.map(({ peer }) => peer));
    this.#ages.keep(known);
    this.#flaps.keep(known);
    const text = JSON.stringify(sessions);
    if (text === this.#told) return;
    this.#told = text;
    this.#options.emit({ kind: 'sessions', sessions });
  }

  async #ask(running: Running): Promise<void> {
    const told = await running.speaker.peers().catch(() => undefined);
    running.sessions = this.#sessionsOf(running, told);
    running.asking = undefined;
  }

  #sessionsOf(running: Running, told: readonly PeerState[] | undefined): readonly ReportedSession[] {
    const { plan } = running;
    const [nowMs, steadyMs] = [this.#options.clock.now(), this.#options.clock.monotonicMs()];
    const leftOut = plan.leftOut.map(({ peer, problem: why }): ReportedSession => {
      const sinceMs = this.#ages.since(peer, 'idle', nowMs, undefined);
      return { peer, state: 'idle', sinceMs, accepted: 0, sent: 0, problem: why };
    });
    const spoken = plan.peers.map((peer): ReportedSession => {
      const state = told?.find(({ address }) => address === peer.address);
      const name = state?.state.toLowerCase() ?? 'idle';
      const flaps = state && this.#flaps.note(peer.id, state.drops, steadyMs);
      const said = state ? state.problem : (problemOf(running) ?? 'bgpd does not run yet');
      const why =
        flaps === undefined
          ? said
          : `it went down ${flaps} times within a minute${said === undefined ? '' : `; ${said}`}`;
      return {
        ...{ peer: peer.id, state: name, sinceMs: this.#ages.since(peer.id, name, nowMs, state?.upSince) },
        ...{ accepted: state?.accepted ?? 0, sent: state?.sent ?? 0 },
        ...(state?.refused === undefined ? {} : { refused: state.refused.prefixes }),
        ...(state?.refused?.hasDefault ? { refusesDefault: true } : {}),
        ...(why === undefined ? {} : { problem: why }),
      };
    });
    return [...spoken, ...leftOut];
  }
}

/** Why it is not as it should be, for people. */
function problemOf({ problem, speaker }: Running): string | undefined {
  const refused = speaker.refused().map(({ daemon, line, said }) => `${daemon} refused "${line}": ${said}`);
  return problem ?? (refused.join('; ') || undefined);
}

function toldOf({ to, ways }: RouteChange, running: Running): ToldRoute {
  return { to, via: ways && hopsOf(ways, running) };
}

function allOf(running: Running): readonly ToldRoute[] {
  const routes: ToldRoute[] = [];
  for (const { to, ways } of running.speaker.routes?.routes() ?? []) routes.push({ to, via: hopsOf(ways, running) });
  return routes.filter(({ via }) => via !== undefined);
}

const MOST_WAYS_KNOWN = 10_000;

function hopsOf(ways: Ways, running: Running): readonly LearnedHop[] | undefined {
  const { hops: known } = running;
  if (!known.has(ways)) {
    if (known.size >= MOST_WAYS_KNOWN) known.clear();
    known.set(ways, usableHops(ways, running));
  }
  return known.get(ways);
}

/** Undefined where no next hop is left: blackholes that upstreams ask for are not taken. */
function usableHops(ways: Ways, { plan, speaker }: Running): readonly LearnedHop[] | undefined {
  if (ways.kind !== 'forward') return undefined;
  const ports = new Map(plan.ports.map(({ id }) => [speaker.interfaces.get(interfacesOf(id).inner), id]));
  const hops = ways.vias.flatMap(({ gateway, oif, weight }): LearnedHop[] => {
    const routerPort = oif === undefined ? undefined : ports.get(oif);
    return gateway && routerPort !== undefined
      ? [{ address: formatIp(gateway), routerPort, weight: Math.min(weight, MOST_WEIGHT) }]
      : [];
  });
  return hops.length === 0 ? undefined : hops;
}
