import { join } from 'node:path';
import { type Clock, SteadyClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import {
  type ConnectionFilter,
  type FlowStore,
  fits,
  type HeldAnswer,
  type HeldQuestion,
  type StoredConnection,
  type Troubles,
  type Written,
} from '../flow-database/flow-store.ts';
import type { RedisSettings } from '../flow-database/redis-settings.ts';
import { openWorkerFlowStore } from '../flow-database/worker-store.ts';
import { qualifiedName } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { EventRing } from './events.ts';
import { LeaseLog } from './lease-log.ts';
import type { ConnectionsAnswer, ConnectionsReport } from './protocol.ts';

/** Batches that wait for the store; more are refused, and told again by their hosts. */
const MOST_IN_HAND = 32;
/** The same thing is told no more often. */
const NEWS_MS = 60_000;
/** Behind the trouble of a part. */
const UNTROUBLED = {
  connections: 'traffic goes on, and the log of addresses does; connections are told again when it is well',
  file: 'traffic goes on',
} as const satisfies Record<keyof Troubles, string>;
const PARTS = ['connections', 'file'] as const;
const WELL: Told = { trouble: undefined, atMs: Number.NEGATIVE_INFINITY };
const FULL = 'it holds as many as it may, and new ones are left out; the log of addresses goes on';

/** What the last event said of a part, and when. */
interface Told {
  readonly trouble: string | undefined;
  readonly atMs: number;
}

export type FlowNews =
  | { readonly type: 'put'; readonly connections: readonly StoredConnection[] }
  | { readonly type: 'gone'; readonly host: string; readonly keys: readonly string[] };

/**
 * The server's side of the flow database (docs/design/flow-database.md): checks and names what agents tell, asks the store, and tells those
 * who follow. Whatever fails here fails for who asked alone.
 */
export class FlowDatabase {
  readonly #index: ModelIndex;
  readonly #store: FlowStore;
  readonly #events: EventRing;
  readonly #clock: Clock;
  /** For what a wall clock that is set must not end: silence, 90 days, and for how long nothing is told again. */
  readonly #steady: SteadyClock;
  readonly #log: Log;
  /** Follows the desired state. */
  readonly leases: LeaseLog;
  readonly #followers = new Set<(news: FlowNews) => void>();
  #inHand = 0;
  #saidMs = Number.NEGATIVE_INFINITY;
  #troubles: Troubles = {};
  readonly #told = new Map<keyof Troubles, Told>();

  constructor(
    index: ModelIndex,
    store: FlowStore,
    { events, clock, log }: { readonly events: EventRing; readonly clock: Clock; readonly log: Log },
  ) {
    this.#index = index;
    this.#store = store;
    this.#events = events;
    this.#clock = clock;
    this.#steady = new SteadyClock(clock);
    this.#log = log;
    this.leases = new LeaseLog(index, store, { events, clock, log });
  }

  /** What keeps the store from its work as a whole, for people. */
  get problems(): readonly string[] {
    return PARTS.flatMap((part) => {
      const trouble = this.#troubles[part];
      return trouble === undefined ? [] : [troubleText(part, trouble)];
    });
  }

  /** At each change. Of one that comes and goes an event in a minute is enough. */
  setTroubles(troubles: Troubles): void {
    this.#troubles = troubles;
    for (const part of PARTS) this.#tell(part, troubles[part]);
  }

  #tell(part: keyof Troubles, trouble: string | undefined): void {
    const told = this.#told.get(part) ?? WELL;
    const [now, steadyMs] = [this.#clock.now(), this.#steady.now()];
    if (trouble === told.trouble || (trouble !== undefined && steadyMs - told.atMs < NEWS_MS)) return;
    this.#told.set(part, { trouble, atMs: trouble === undefined ? told.atMs : steadyMs });
    const about = { kind: 'server', id: 'flows' };
    const isWell = PARTS.every((each) => this.#troubles[each] === undefined);
    const over = isWell ? 'the flow database is well again' : `flow database: no longer: ${told.trouble}`;
    const [level, text] =
      trouble === undefined ? (['info', over] as const) : (['warning', troubleText(part, trouble)] as const);
    this.#events.add({ atMs: now, level, about, text });
    this.#log.warn(text);
  }

  /**
   * What the host tells. Errors: `busy`, `closed`: nothing of it was taken; `full`: not all of it, and new connections first of all; with
   * room on the disk, what ended and what is translated was.
   */
  async take(hostId: string, { epoch, put, gone, isWhole }: ConnectionsReport): Promise<ConnectionsAnswer> {
    if (this.#inHand >= MOST_IN_HAND) throw this.#refusal('busy', 'the flow database is behind; this is told again');
    const host = this.#index.get('host', hostId)?.name ?? hostId;
    const refused: string[] = [];
    const known: StoredConnection[] = [];
    for (const connection of put) {
      const port = this.#index.get('port', connection.port);
      const isHere = this.#index.bindingOf(connection.port)?.claims.some((claim) => claim.host === hostId) === true;
      if (!port || !isHere) {
        refused.push(connection.key);
        continue;
      }
      const router = connection.router === undefined ? undefined : this.#index.get('router', connection.router);
      const names = {
        host,
        port: qualifiedName(this.#index, port),
        ...(router ? { router: qualifiedName(this.#index, router) } : {}),
      };
      known.push({ ...connection, host: hostId, tenant: port.tenant, names });
    }
    // What the host told while it had the port is there no more either: it will not say so, having no word that was taken.
    const ended = [...gone, ...refused];
    this.#inHand++;
    let written: Written;
    try {
      const [atMs, heardMs] = [this.#clock.now(), this.#steady.now()];
      const batch = { host: hostId, epoch, atMs, heardMs, put: known, gone: ended, ...(isWhole ? { isWhole } : {}) };
      written = await this.#store.write(batch);
    } catch (error) {
      if (error instanceof WeftError) throw this.#refusal(error.code, error.message);
      throw error;
    } finally {
      this.#inHand--;
    }
    if (known.length > 0) for (const tell of this.#followers) tell({ type: 'put', connections: known });
    if (ended.length > 0) for (const tell of this.#followers) tell({ type: 'gone', host: hostId, keys: ended });
    if (written.isFull) throw this.#refusal('full', FULL);
    return { refused, ...(written.isAgain ? { isAgain: true } : {}) };
  }

  #refusal(code: WeftError['code'], message: string): WeftError {
    const steadyMs = this.#steady.now();
    if (steadyMs - this.#saidMs >= NEWS_MS) {
      this.#saidMs = steadyMs;
      const text = `connections are not taken into the flow database: ${message}; traffic goes on`;
      this.#events.add({ atMs: this.#clock.now(), level: 'warning', about: { kind: 'server', id: 'flows' }, text });
    }
    return new WeftError(code, message);
  }

  list(filter: ConnectionFilter, limit: number): Promise<readonly StoredConnection[]> {
    return this.#store.list(filter, limit);
  }

  whoHeld(question: HeldQuestion): Promise<HeldAnswer> {
    return this.#store.whoHeld(question);
  }

  /** What fits, as it is told from now on; of what ended only what was told before. Returns how to stop. */
  follow(filter: ConnectionFilter, listener: (news: FlowNews) => void): () => void {
    const shown = new Set<string>();
    const tell = (news: FlowNews): void => {
      if (news.type === 'put') {
        const connections = news.connections.filter((connection) => fits(connection, filter));
        for (const { host, key } of connections) shown.add(`${host} ${key}`);
        if (connections.length > 0) listener({ type: 'put', connections });
      } else {
        const keys = news.keys.filter((key) => shown.delete(`${news.host} ${key}`));
        if (keys.length > 0) listener({ ...news, keys });
      }
    };
    this.#followers.add(tell);
    return () => void this.#followers.delete(tell);
  }

  /** Once in a while. */
  expire(): void {
    this.#inBackground(this.#store.expire(this.#steady.now()));
    this.leases.retry();
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error: unknown) => this.#log.warn('the flow database failed', { error }));
  }

  async close(): Promise<void> {
    await this.leases.settled();
    await this.#store.close();
  }
}

function troubleText(part: keyof Troubles, trouble: string): string {
  return `flow database: ${trouble}; ${UNTROUBLED[part]}`;
}

/** `flows.db` in the state directory. With `redis` the connections are there, and the log in the file; it is not waited for. */
export function openFlowStore(
  stateDir: string,
  nowMs: number,
  redis: RedisSettings | undefined,
  onTroubles: (troubles: Troubles) => void,
): Promise<FlowStore> {
  const path = join(stateDir, 'flows.db');
  return openWorkerFlowStore({ path, nowMs, ...(redis ? { redis: { settings: redis } } : {}) }, onTroubles);
}
