import { setImmediate as nextTurn } from 'node:timers/promises';
import { DecodeError, WeftError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { type Connection, type Endpoint, SILENCE_MS } from '../../flow-database/flow-store.ts';
import { type ConnectionsAnswer, type ConnectionsReport, MOST_CONNECTIONS_IN_REPORT } from '../../server/protocol.ts';
import { type ClientPlace, type ClientsOfBalancers, ClientsSeen } from './clients-seen.ts';
import { linesOf, parseTracked, type Tracked } from './dump.ts';
import { ConnectionJoin } from './join.ts';
import { isOrdinary, READ_MS, type ReadingOptions, type ReadingPlan, TrackingReader } from './reading.ts';
import { type Counted, type CountedPlace, Tally } from './tally.ts';
import { type PortsInUse, type TranslatedPlace, UsedPorts } from './used-ports.ts';

export interface ExporterOptions extends ReadingOptions {
  /** Errors: `WeftError`; the batch may or may not have arrived. */
  readonly post: (report: ConnectionsReport) => Promise<ConnectionsAnswer>;
  /** All translated connections that a reading has seen; `unread`: ports and routers of which there may be others. */
  readonly seen?: (connections: readonly Connection[], unread: ReadonlySet<string>) => void;
  /** What is counted by the way. */
  readonly counting?: {
    readonly places: () => Iterable<CountedPlace>;
    readonly told: (counted: readonly Counted[]) => void;
  };
  /** Where sources are translated to, and what ports connections have of it. */
  readonly translated?: {
    readonly places: () => Iterable<TranslatedPlace>;
    readonly told: (used: PortsInUse) => void;
  };
  /** Clients of balancers, and the members that they have. */
  readonly clients?: {
    readonly places: () => Iterable<ClientPlace>;
    readonly told: (seen: ClientsOfBalancers) => void;
  };
  /** What stands in the way, for people; undefined: nothing. */
  readonly setProblem: (problem: string | undefined) => void;
  readonly log: Log;
}

/** Who is told of each entry that is read, and of lines that were not understood. */
interface Taker {
  take(tracked: Tracked): void;
  spoil?(): void;
}

/** Lines, or connections, between two turns of others. */
const SLICE = 250;
/** Without news a sign of life is enough. */
const LIFE_MS = 20_000;
/** Everything is told again so often even if nothing seems to be missing. */
const EPOCH_MS = 10 * 60_000;
/** And not more often because the server asks for it. */
const AGAIN_MS = 30_000;
/** So often where the server had no room for all of it. */
const FULL_MS = 2 * 60_000;
/** Readings that fail in a row, from which on people are told: those that a restart of Open vSwitch costs are fewer. */
const FAILURES = 4;
/** What was read so long ago says nothing of what there is. */
const STALE_MS = 10 * 60_000;

/**
 * Tells the flow database of this host's connections (docs/design/flow-database.md, §2). On its own beside the core: it reads what the core
 * knows, and nothing waits for it.
 */
export class ConnectionExporter {
  readonly #options: ExporterOptions;
  readonly #reader: TrackingReader;
  /** Key → what was told of it last. */
  #told = new Map<string, Connection>();
  /** When those were first seen that are there, also those that were not taken. */
  #sinceMs = new Map<string, number>();
  /** When it began, by the wall clock: the next agent's are higher. */
  #epoch = 0;
  /** By the clock that is never set, as is `#toldMs`. */
  #epochMs = 0;
  #toldMs = 0;
  /** Something was not told, or nothing yet. */
  #isBroken = true;
  /** Why the server did not take all of this epoch: it has no room. */
  #full: string | undefined;
  /** Readings that failed since the last one that did not. */
  #failures = 0;
  /** What the datapath had at the last reading, as far as it was read. */
  lastRead = '';
  #wasBadText = false;
  #wasDropped = false;

  constructor(options: ExporterOptions) {
    this.#options = options;
    this.#reader = new TrackingReader(options);
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
    const { setProblem, log, signal } = this.#options;
    let plan: ReadingPlan;
    let join: ConnectionJoin;
    const { counting, translated, clients } = this.#options;
    try {
      plan = await this.#reader.plan();
      const tally = new Tally(counting?.places() ?? []);
      const used = new UsedPorts(translated?.places() ?? []);
      const seen = new ClientsSeen(clients?.places() ?? []);
      join = await this.#joined(this.#reader.read(plan), tally, used, seen);
      counting?.told(tally.result(plan.unread));
      translated?.told(used.result(plan.unread));
      clients?.told(seen.result(plan.unread));
    } catch (error) {
      if (!isOrdinary(error, signal)) throw error;
      if (!signal.aborted) this.#notRead(error);
      return READ_MS;
    }
    if (this.#failures >= FAILURES) setProblem(undefined);
    this.#failures = 0;
    const problem =
      plan.problem === undefined ? undefined : `not all connections are told to the flow database: ${plan.problem}`;
    try {
      await this.#export(join, plan);
      setProblem(this.#full === undefined ? problem : refusalText(this.#full));
      if (this.#wasDropped) log.info('connections reach the flow database again');
      this.#wasDropped = false;
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      if (signal.aborted) return READ_MS;
      this.#isBroken = true;
      // Without a server there is nothing new in this; what it refuses people should know.
      if (error.code === 'busy' || error.code === 'refused') setProblem(refusalText(error.message));
      if (!this.#wasDropped) log.warn('a batch of connections was dropped; all are told again later', { error });
      this.#wasDropped = true;
    }
    return this.#reader.restMs;
  }

  #notRead(error: unknown): void {
    const { setProblem, log } = this.#options;
    log.debug('connections were not read', { error });
    this.#failures++;
    if (this.#failures * READ_MS >= STALE_MS) this.lastRead = '';
    if (this.#failures < FAILURES) return;
    if (this.#failures === FAILURES) log.warn('connections were not read, several times in a row', { error });
    setProblem(`connections cannot be read, nor told to the flow database: ${(error as Error).message}`);
  }

  async #export(join: ConnectionJoin, { unread }: ReadingPlan): Promise<void> {
    const { clock } = this.#options;
    const [nowMs, steadyMs] = [clock.now(), clock.monotonicMs()];
    const wasSilent = steadyMs - this.#toldMs >= SILENCE_MS;
    const epochMs = this.#full === undefined ? EPOCH_MS : FULL_MS;
    const isWhole = this.#isBroken || wasSilent || steadyMs - this.#epochMs >= epochMs;
    if (isWhole) {
      this.#full = undefined;
      this.#epoch = Math.max(nowMs, this.#epoch + 1);
      this.#epochMs = steadyMs;
      this.#isBroken = true; // until all of it has arrived
    }
    const told = new Map<string, Connection>();
    const sinceMs = new Map<string, number>();
    const seen: Connection[] = [];
    const put: Connection[] = [];
    for (let n = 0; n < join.size; n++) {
      if (n % SLICE === SLICE - 1) await nextTurn();
      const fresh = join.at(n, nowMs);
      if (!fresh || told.has(fresh.key)) continue;
      const { key } = fresh;
      const former = this.#told.get(key);
      fresh.sinceMs = this.#sinceMs.get(key) ?? nowMs;
      const now = former && isUnread(former, unread) ? { ...former, ...fresh } : fresh;
      // What stays the same stays the same object: on a busy host that is nearly all of it, at each reading.
      const connection = former && isSame(former, now) ? former : now;
      sinceMs.set(key, connection.sinceMs);
      if (connection.seenAs) seen.push(connection);
      told.set(key, connection);
      if (isWhole || connection !== former) put.push(connection);
    }
    this.#options.seen?.(seen, unread);
    // Of a whole epoch too: what ended makes room for what is new, not only behind it.
    const gone = [...this.#told.keys()].filter((key) => !sinceMs.has(key));
    let isAgain = false;
    // Also with nothing in it, as a sign of life.
    do {
      const some = put.splice(0, MOST_CONNECTIONS_IN_REPORT);
      const ended = gone.splice(0, MOST_CONNECTIONS_IN_REPORT);
      const isLast = put.length + gone.length === 0;
      if (some.length + ended.length > 0 || isWhole || steadyMs - this.#toldMs >= LIFE_MS)
        isAgain = await this.#tell(
          { epoch: this.#epoch, put: some, gone: ended, ...(isWhole && isLast ? { isWhole } : {}) },
          told,
        );
    } while (put.length + gone.length > 0);
    this.#told = told;
    this.#sinceMs = sinceMs;
    this.#isBroken = isAgain && steadyMs - this.#epochMs >= AGAIN_MS;
  }

  async #joined(texts: AsyncIterable<string>, ...others: readonly Taker[]): Promise<ConnectionJoin> {
    const join = new ConnectionJoin(this.#options.scope, this.#options.zones);
    const read: string[] = [];
    let lines = 0;
    for await (const text of texts) {
      read.push(text);
      for (const line of linesOf(text)) {
        this.#take([join, ...others], line);
        if (++lines % SLICE === 0) await nextTurn();
      }
    }
    // Where nothing was read it is nothing: what was read once may have ended long since.
    this.lastRead = read.join('\n');
    return join;
  }

  #take(takers: readonly Taker[], line: string): void {
    try {
      const tracked = parseTracked(line);
      for (const taker of takers) taker.take(tracked);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      for (const taker of takers) taker.spoil?.();
      if (!this.#wasBadText)
        this.#options.log.warn('a line of connection tracking was not understood', { error, line });
      this.#wasBadText = true;
    }
  }

  /** Does the server want everything anew? Where it has no room it has taken what it could: the others go on. */
  async #tell(report: ConnectionsReport, told: Map<string, Connection>): Promise<boolean> {
    let answer: ConnectionsAnswer = { refused: [] };
    try {
      answer = await this.#options.post(report);
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== 'full') throw error;
      if (this.#full === undefined) this.#options.log.warn('not all connections were taken', { error });
      this.#full = error.message;
    }
    this.#toldMs = this.#options.clock.monotonicMs();
    // Told again next time: the server may not know yet that the port is here.
    for (const key of answer.refused) told.delete(key);
    return answer.isAgain ?? false;
  }
}

function refusalText(reason: string): string {
  return `connections are not told to the flow database: ${reason}`;
}

/** Was its router not read this time? Then what was known of it is. */
function isUnread({ router }: Connection, unread: ReadonlySet<string>): boolean {
  return router !== undefined && unread.has(router);
}

/** Of two with the same key: is there nothing to tell? */
function isSame(one: Connection, other: Connection): boolean {
  return (
    one.state === other.state &&
    one.packets === other.packets &&
    one.bytes === other.bytes &&
    one.sinceMs === other.sinceMs &&
    one.router === other.router &&
    one.direction === other.direction &&
    isSameEnd(one.seenAs, other.seenAs) &&
    isSameEnd(one.asked, other.asked)
  );
}

function isSameEnd(one: Endpoint | undefined, other: Endpoint | undefined): boolean {
  return one?.address === other?.address && one?.port === other?.port;
}
