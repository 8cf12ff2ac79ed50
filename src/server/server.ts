import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { append } from '../base/append.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import type { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { MemoryTrimmer } from '../base/memory.ts';
import { systemRandom } from '../base/random.ts';
import type { FlowStore, Troubles } from '../flow-database/flow-store.ts';
import type { RedisSettings } from '../flow-database/redis-settings.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { Outside } from '../model/objects.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import type { Store } from '../store/store.ts';
import { AgentStreams, HEARTBEAT_MS } from './agent-streams.ts';
import type { ServerContext } from './context.ts';
import { type Commit, DesiredState, type RecordChange } from './desired-state.ts';
import { EventRing } from './events.ts';
import { FlowDatabase, openFlowStore } from './flows.ts';
import { createApi } from './http.ts';
import { LateTicks } from './late-ticks.ts';
import { Listeners, type ListenSettings } from './listeners.ts';
import { endLeases, idleLeases } from './nat-leases.ts';
import { Presenter, silenceText } from './present.ts';
import { Relay } from './relay.ts';
import { MOST_AT_ONCE, Reports } from './reports.ts';
import { Runtime } from './runtime.ts';

/**
 * The weft server: API, desired state, scope and watch streams, bindings and runtime state in one process.
 *
 *     people ──▶ routes/objects ──▶ desired-state ──▶ store
 *                                       │ commit
 *                                       ▼
 *     agents ◀── agent-streams ◀──── scope ◀──── runtime ◀── reports ◀── agents
 */
export interface ServerOptions extends ListenSettings {
  /** Holds the store, `weft.db`, and the flow database, `flows.db`; made where missing. */
  readonly stateDir: string;
  readonly log: Log;
  /** Closes the server when it aborts. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** Instead of the SQLite store in `stateDir`. */
  readonly store?: Store;
  /** The connections of the flow database are there instead of in `stateDir`. */
  readonly flowDatabase?: RedisSettings;
  /** Instead of any other flow database. */
  readonly flowStore?: FlowStore;
}

export interface RunningServer {
  /** Where it listens: as in `listen`, with the port that was chosen where 0 was given. */
  readonly urls: readonly string[];
  /** Resolves, if ever, when the store's disk failed: close it and start anew from what the disk has. */
  readonly failure: Promise<WeftError>;
  /** Ends all streams and requests, closes the store, removes the sockets. */
  close(): Promise<void>;
}

const TICK_MS = 1_000;
/** Keys and leases that nobody needs any more. */
const RELEASE_MS = 10_000;
const COMPACT_MS = 60_000;

/**
 * Starts a server. Errors: `invalid` (settings, a damaged store), `denied` (a listener that needs a token file and TLS),
 * `busy` (another server on the same store or socket).
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { log, clock = systemClock } = options;
  const listeners = new Listeners(options, log.child({ part: 'listeners' }));
  const store = options.store ?? openStore(options.stateDir, clock);
  const closing = new AbortController();
  let state: DesiredState | undefined;
  let flowStore = options.flowStore;
  try {
    state = await DesiredState.open(store, systemRandom, log);
    let flows: FlowDatabase | undefined;
    let troubles: Troubles = {};
    flowStore ??= await openFlowStore(...([options.stateDir, clock.now(), options.flowDatabase] as const), (now) => {
      troubles = now;
      flows?.setTroubles(now);
    });
    const context = createContext(state, flowStore, clock, log, closing.signal);
    flows = context.flows;
    flows.setTroubles(troubles);
    const api = await createApi(context, (request) => listeners.scopeOf(request));
    const urls = await listeners.open((request, response) => api.routing(request, response));
    const stopTimers = startTimers(context);
    let closed: Promise<void> | undefined;
    const close = (): Promise<void> => {
      closed ??= (async () => {
        closing.abort();
        stopTimers();
        context.streams.closeAll();
        await listeners.close();
        await api.close();
        await context.state.close();
        await context.flows.close();
        log.info('stopped');
      })();
      return closed;
    };
    options.signal?.addEventListener('abort', () => void close(), { once: true });
    if (options.signal?.aborted) await close();
    log.info('started', { urls, revision: state.revision, objects: state.index.count('port') });
    return { urls, failure: store.failure, close };
  } catch (error) {
    closing.abort();
    await listeners.close();
    await (state ?? store).close();
    await flowStore?.close();
    throw error;
  }
}

function openStore(stateDir: string, clock: Clock): Store {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  return openSqliteStore(join(stateDir, 'weft.db'), clock);
}

function createContext(
  state: DesiredState,
  flowStore: FlowStore,
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): ServerContext {
  const { index, store } = state;
  const runtime = new Runtime(index, clock);
  const relay = new Relay();
  const events = new EventRing();
  const flows = new FlowDatabase(index, flowStore, { events, clock, log: log.child({ part: 'flows' }) });
  const position = () => ({ incarnation: store.incarnation, revision: state.revision });
  const streams = new AgentStreams(index, position, runtime, relay, clock, log.child({ part: 'streams' }));
  const reports = new Reports(state, runtime, streams, events, clock);
  const present = new Presenter(index, runtime, {
    revision: () => state.revision,
    applied: (hostId) => streams.appliedRevision(hostId),
  });
  const memory = new MemoryTrimmer();
  signal.addEventListener('abort', () => memory.stop(), { once: true });
  flows.leases.adopt();
  state.onCommit((commit) => {
    flows.leases.followCommit(commit.changes);
    memory.worked(commit.changes.length);
    const created = followCommit(commit, runtime, streams);
    const gateways = gatewaysConcerned(index, commit.changes);
    if (gateways.length > 0)
      reports.judgeGateways(gateways).catch((error: unknown) => log.error('L2 gateways were not looked at', { error }));
    for (const port of created)
      reports.portCreated(port).catch((error: unknown) => log.error('a waiting claim was not stored', { error, port }));
  });
  return {
    state,
    runtime,
    streams,
    reports,
    events,
    flows,
    present,
    relay,
    clock,
    log,
    startedMs: clock.monotonicMs(),
    signal,
  };
}

/** L2 gateways and VTEP bindings whose places, claims or hosts (they may be drained) a transaction touches. */
function gatewaysConcerned(index: ModelIndex, changes: readonly RecordChange[]): readonly Outside[] {
  return changes.flatMap(({ kind, id }) => {
    if (kind === 'host') return [...index.outsidesAt(id)];
    if (kind === 'vtep') return [...index.bindingsOfVtep(id)];
    const isOne = kind === 'l2Gateway' || kind === 'vtepBinding';
    const outside = isOne ? index.get(kind, id) : kind === 'binding' ? index.outsideOfPort(id) : undefined;
    return outside ? [outside] : [];
  });
}

/** Keeps the runtime state in step with a transaction and tells the agents of both. Returns the ports it created. */
function followCommit(commit: Commit, runtime: Runtime, streams: AgentStreams): readonly string[] {
  const leased: RecordChange[] = [];
  const created: string[] = [];
  for (const change of commit.changes) {
    const { before, after } = change;
    if (after?.kind === 'port' && !before) created.push(after.id);
    append(leased, runtime.followChange(change));
    if (after) continue;
    if (before?.kind === 'binding')
      for (const { host, interface: name, vm } of before.claims)
        runtime.awaitPort(host, { port: before.id, interface: name, ...(vm === undefined ? {} : { vm }) });
    if (before?.kind === 'port') runtime.dropPort(before.id);
    if (before?.kind === 'rule') runtime.forgetRule(before.id);
    if (before?.kind === 'host') append(leased, runtime.drop(before.id));
  }
  streams.publish(commit.revision, [...commit.changes, ...leased]);
  for (const { kind, id, after } of commit.changes) if (kind === 'host' && !after) streams.closeHost(id);
  return created;
}

function startTimers({ state, runtime, reports, streams, events, flows, clock, log }: ServerContext): () => void {
  const failed = (what: string) => (error: unknown) => log.warn(`${what} failed; it is tried again`, { error });
  const expireRoutes = (): void => {
    const changes = runtime.expireRoutes(MOST_AT_ONCE);
    if (changes.length === 0) return;
    streams.publish(state.revision, changes);
    setImmediate(expireRoutes);
  };
  // Of the timers themselves: they go by the system's clock, whatever the server's is.
  const ticks = new LateTicks(systemClock);
  const timers = [
    setInterval(() => {
      const { dead, changes } = ticks.isSilenceKnown() ? runtime.expire() : { dead: [], changes: [] };
      if (changes.length > 0) streams.publish(state.revision, changes);
      expireRoutes();
      reports.tick();
      reports.judgeGateways(reports.gateways.due()).catch(failed('looking at L2 gateways and VTEPs'));
      for (const id of new Set([...runtime.lostHosts(), ...runtime.settling()]))
        reports.judgeGateways(state.index.outsidesAt(id)).catch(failed('looking at L2 gateways and VTEPs'));
      for (const id of dead) {
        // What it reported is gone here: its agent, should it live, reports everything once it connects again.
        streams.closeHost(id);
        reports.judgeGateways(state.index.outsidesAt(id)).catch(failed('looking at L2 gateways and VTEPs'));
        const name = state.index.get('host', id)?.name ?? id;
        const text = `host ${name}: its agent ${silenceText(runtime, id)}`;
        events.add({ atMs: clock.now(), level: 'warning', about: { kind: 'host', id }, text });
      }
    }, TICK_MS),
    setInterval(() => streams.heartbeat(), HEARTBEAT_MS),
    setInterval(() => {
      const applied = [...state.index.hosts()].map((host) => streams.appliedRevision(host.id));
      state.releaseKeys(applied).catch(failed('releasing tunnel keys'));
    }, RELEASE_MS),
    setInterval(() => {
      const routersBehind = (host: string) => streams.routersBehind(host);
      const idle = idleLeases(state.index.all('natLease'), routersBehind);
      if (idle.length === 0) return;
      state.write((draft) => endLeases(draft, idle, routersBehind)).catch(failed('ending leases of ports'));
    }, RELEASE_MS),
    setInterval(() => flows.expire(), RELEASE_MS),
    setInterval(() => void state.compact().catch(failed('compaction')), COMPACT_MS),
  ];
  for (const timer of timers) timer.unref();
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}
