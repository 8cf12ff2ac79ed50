import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../base/clock.ts';
import { DecodeError, WeftError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { type Connection, SILENCE_MS } from '../../flow-database/flow-store.ts';
import { type ConnectionsAnswer, type ConnectionsReport, MOST_CONNECTIONS_IN_REPORT } from '../../server/protocol.ts';
import type { Scope } from '../scope.ts';
import type { Zones } from '../zones.ts';
import { linesOf, parseTracked } from './dump.ts';
import { ConnectionJoin } from './join.ts';

export interface ExporterOptions {
  /** `system` for the kernel's datapath, `netdev` for the userspace one. */
  readonly datapathType: string;
  readonly scope: Scope;
  readonly zones: Zones;
  /** How many connections the datapath tracks, and all of them as text. Errors: `WeftError`. */
  readonly count: () => Promise<number>;
  readonly dump: () => Promise<string>;
  /** Errors: `WeftError`; the batch may or may not have arrived. */
  readonly post: (report: ConnectionsReport) => Promise<ConnectionsAnswer>;
  /** All translated connections that a reading has seen. */
  readonly seen?: (connections: readonly Connection[]) => void;
  /** What stands in the way, for people; undefined: nothing. */
  readonly setProblem: (problem: string | undefined) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Between two readings; a host without connections looks as often. */
export const READ_MS = 5_000;
/** A reading holds up ovs-vswitchd: at most a twentieth of the time. What follows here takes about as long, in slices. */
const REST = 20;
/** But the server takes silence for the end of all connections. */
const LONGEST_REST_MS = SILENCE_MS / 2;
/**
 * More are not read, by datapath: ovs-vswitchd would stand still meanwhile. In the userspace datapath the thread that stands still is the one that
 * forwards: 12,000 connections take 40 ms, 42,000 take 150 ms and sockets overflow. The kernel forwards on.
 */
export const MOST_CONNECTIONS = { netdev: 15_000, system: 100_000 } as const;
/** Lines, or connections, between two turns of others. */
const SLICE = 250;
/** Without news a sign of life is enough. */
const LIFE_MS = 20_000;
/** Everything is told again so often even if nothing seems to be missing. */
const EPOCH_MS = 10 * 60_000;
/** And not more often because the server asks for it. */
const AGAIN_MS = 30_000;

/**
 * Tells the flow database of this host's connections (docs/design/flow-database.md, §2). On its own beside the core: it reads what the core
 * knows, and nothing waits for it.
 */
export class ConnectionExporter {
  readonly #options: ExporterOptions;
  readonly #most: number;
  /** Key → what was told of it last. */
  #told = new Map<string, string>();
  #sinceMs = new Map<string, number>();
  #epoch = 0;
  #toldMs = 0;
  /** Something was not told, or nothing yet. */
  #isBroken = true;
  /** What the datapath had at the last reading. */
  lastRead = '';
  #wasBadText = false;
  #wasDropped = false;

  constructor(options: ExporterOptions) {
    this.#options = options;
    this.#most = MOST_CONNECTIONS[options.datapathType === 'netdev' ? 'netdev' : 'system'];
  }

  async run(): Promise<void> {
    const { clock, signal } = this.#options;
    let restMs = READ_MS;
    while (!signal.aborted) {
      await clock.sleep(restMs, signal).catch(() => {});
      if (signal.aborted) return;
      restMs = await this.round();
    }
  }

  /** Reads and tells once; returns when to do so again. */
  async round(): Promise<number> {
    const { clock, setProblem, log, signal } = this.#options;
    const begun = clock.monotonicMs();
    let text: string;
    try {
      const count = await this.#options.count();
      if (count > this.#most) {
        setProblem(`connections are not told to the flow database: the host tracks ${count}, more than ${this.#most}`);
        await this.#tell({ epoch: this.#epoch, put: [], gone: [] });
        return READ_MS;
      }
      text = await this.#options.dump();
      this.lastRead = text;
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      log.debug('connections were not read', { error });
      return READ_MS;
    }
    const tookMs = clock.monotonicMs() - begun;
    try {
      await this.#export(text);
      setProblem(undefined);
      if (this.#wasDropped) log.info('connections reach the flow database again');
      this.#wasDropped = false;
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      if (signal.aborted) return READ_MS;
      this.#isBroken = true;
      // Without a server there is nothing new in this; what it refuses people should know.
      if (error.code === 'full' || error.code === 'busy' || error.code === 'refused')
        setProblem(`connections are not told to the flow database: ${error.message}`);
      if (!this.#wasDropped) log.warn('a batch of connections was dropped; all are told again later', { error });
      this.#wasDropped = true;
    }
    return Math.min(LONGEST_REST_MS, Math.max(READ_MS, REST * tookMs));
  }

  async #export(text: string): Promise<void> {
    const nowMs = this.#options.clock.now();
    const join = await this.#joined(text);
    const wasSilent = nowMs - this.#toldMs >= SILENCE_MS;
    const isWhole = this.#isBroken || wasSilent || nowMs - this.#epoch >= EPOCH_MS;
    if (isWhole) {
      this.#epoch = Math.max(nowMs, this.#epoch + 1);
      this.#isBroken = true; // until all of it has arrived
    }
    const before = isWhole ? new Map<string, string>() : this.#told;
    const told = new Map<string, string>();
    const sinceMs = new Map<string, number>();
    const seen: Connection[] = [];
    let put: Connection[] = [];
    for (let n = 0; n < join.size; n++) {
      if (n % SLICE === SLICE - 1) await nextTurn();
      const fresh = join.at(n, nowMs);
      if (!fresh || told.has(fresh.key)) continue;
      const connection = { ...fresh, sinceMs: this.#sinceMs.get(fresh.key) ?? nowMs };
      sinceMs.set(fresh.key, connection.sinceMs);
      if (connection.seenAs) seen.push(connection);
      const text = JSON.stringify(connection);
      told.set(fresh.key, text);
      if (before.get(fresh.key) === text) continue;
      put.push(connection);
      if (put.length < MOST_CONNECTIONS_IN_REPORT) continue;
      await this.#tell({ epoch: this.#epoch, put, gone: [] }, told);
      put = [];
    }
    this.#options.seen?.(seen);
    const gone = [...before.keys()].filter((key) => !sinceMs.has(key));
    let isAgain = false;
    // The rest: also with nothing in it, as a sign of life.
    do {
      const some = gone.splice(0, MOST_CONNECTIONS_IN_REPORT);
      const isLast = gone.length === 0;
      if (put.length + some.length > 0 || isWhole || nowMs - this.#toldMs >= LIFE_MS)
        isAgain = await this.#tell(
          { epoch: this.#epoch, put, gone: some, ...(isWhole && isLast ? { isWhole } : {}) },
          told,
        );
      put = [];
    } while (gone.length > 0);
    this.#told = told;
    this.#sinceMs = sinceMs;
    this.#isBroken = isAgain && nowMs - this.#epoch >= AGAIN_MS;
  }

  async #joined(text: string): Promise<ConnectionJoin> {
    const join = new ConnectionJoin(this.#options.scope, this.#options.zones);
    let lines = 0;
    for (const line of linesOf(text)) {
      this.#take(join, line);
      if (++lines % SLICE === 0) await nextTurn();
    }
    return join;
  }

  #take(join: ConnectionJoin, line: string): void {
    try {
      join.take(parseTracked(line));
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      if (!this.#wasBadText)
        this.#options.log.warn('a line of connection tracking was not understood', { error, line });
      this.#wasBadText = true;
    }
  }

  /** Does the server want everything anew? */
  async #tell(report: ConnectionsReport, told?: Map<string, string>): Promise<boolean> {
    const { refused, isAgain = false } = await this.#options.post(report);
    this.#toldMs = this.#options.clock.now();
    // Told again next time: the server may not know yet that the port is here.
    for (const key of refused) told?.delete(key);
    return isAgain;
  }
}
