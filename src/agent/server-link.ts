import { setImmediate as nextTurn } from 'node:timers/promises';
import { append } from '../base/append.ts';
import type { Clock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { Client } from '../server/client.ts';
import {
  MOST_BLOCKS_IN_REPORT,
  type Report,
  type ReportsAnswer,
  type WatchMessage,
  type WatchRequest,
  WRITTEN_REPORTS,
} from '../server/protocol.ts';
import type { AgentEvent, ScopeChange } from './events.ts';

export interface ServerLinkOptions {
  readonly client: Client;
  /** Our host by name or id. */
  readonly host: string;
  /** What we still have, asked for on each connection. */
  readonly have: () => WatchRequest;
  readonly emit: (event: AgentEvent) => void;
  /** Messages of the stream that are not about the scope (requests that the server relays to us). */
  readonly other: (message: WatchMessage) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** The server says something every 5 s; silence of so long means that it is gone. */
const SILENCE_MS = 15_000;
const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 5_000;
/** Reports that wait for a slow server; more than this and the connection starts anew (which reports everything). */
const MAX_QUEUE = 50_000;
/** So long news waits on which nobody else's flows depend: what follows shortly goes along, and the switches of a change come first. */
const LEISURE_MS = 10;
/** What the server had no room for on its disk is told again after so long. */
const ROOM_MS = 5_000;
/** What may be refused for want of room; by `attachments` L2 gateways move. */
const WRITTEN: ReadonlySet<Report['type']> = new Set([...WRITTEN_REPORTS, 'attachments']);
const LEISURELY: ReadonlySet<Report['type']> = new Set(['applied', 'ports', 'health', 'counters']);

/** The server's side of the agent: the watch stream down, reports up. */
export class ServerLink {
  readonly #options: ServerLinkOptions;
  #queue: Report[] = [];
  /** Waits for room on the server's disk, with all that is to be written behind it. */
  #noRoom: Report[] = [];
  #isSending = false;
  #isResting = false;
  #connection: AbortController | undefined;

  constructor(options: ServerLinkOptions) {
    this.#options = options;
  }

  /** Watches, and watches again after every failure, until the signal. */
  async run(): Promise<void> {
    const { signal, log, clock, random, emit } = this.#options;
    let retryMs = FIRST_RETRY_MS;
    while (!signal.aborted) {
      let reason = 'the stream ended';
      const connection = new AbortController();
      this.#connection = connection;
      try {
        await this.#watch(AbortSignal.any([signal, connection.signal]), () => {
          retryMs = FIRST_RETRY_MS;
        });
      } catch (error) {
        if (signal.aborted) return;
        reason = error instanceof Error ? error.message : String(error);
        if (error instanceof WeftError && (error.code === 'denied' || error.code === 'not-found'))
          log.error(`the server refuses this host: ${error.message}`, { host: this.#options.host });
      }
      this.#connection = undefined;
      this.#queue = [];
      this.#noRoom = [];
      emit({ kind: 'serverLost', reason });
      await clock.sleep(retryMs + random.below(retryMs), signal).catch(() => {});
      retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
    }
  }

  async #watch(signal: AbortSignal, onHello: () => void): Promise<void> {
    const { client, host, have, emit, other } = this.#options;
    let changes: ScopeChange[] = [];
    const path = `/v1/hosts/${encodeURIComponent(host)}/watch`;
    for await (const message of client.stream<WatchMessage>('POST', path, {
      body: have(),
      idleTimeoutMs: SILENCE_MS,
      signal,
    })) {
      switch (message.type) {
        case 'hello':
          onHello();
          emit({ kind: 'serverHello', incarnation: message.incarnation, host: message.host });
          break;
        case 'put':
          // Half a transaction must not be taken in before its other half shows to be none.
          if (typeof message.record?.kind !== 'string' || typeof message.record.id !== 'string')
            throw new WeftError('protocol', 'the server sent a record without kind or id');
          changes.push({ op: 'put', record: message.record });
          break;
        case 'leave':
        case 'delete':
          changes.push({ op: 'delete', record: { kind: message.kind, id: message.id } });
          break;
        case 'commit':
          emit({ kind: 'scope', revision: message.revision, changes });
          changes = [];
          break;
        case 'progress':
          emit({ kind: 'progress', revision: message.revision });
          // The server takes silence for death: an answer to its heartbeat is due even where there is no news.
          if (!this.#isSending) void this.#send(true);
          break;
        default:
          other(message);
      }
    }
  }

  /** In order; those that the server refuses come back as events. */
  report(reports: readonly Report[]): void {
    append(this.#queue, reports);
    this.#holdBack();
    if (this.#queue.length + this.#noRoom.length > MAX_QUEUE) {
      this.#queue = [];
      this.#noRoom = [];
      this.#connection?.abort(new WeftError('busy', 'the server does not take our reports'));
      return;
    }
    if (this.#isSending || this.#queue.length === 0) return;
    if (!this.#queue.every(({ type }) => LEISURELY.has(type))) void this.#send();
    else if (!this.#isResting) void this.#sendAtLeisure();
  }

  async #sendAtLeisure(): Promise<void> {
    const { clock, signal } = this.#options;
    this.#isResting = true;
    await clock.sleep(LEISURE_MS, signal).catch(() => {});
    this.#isResting = false;
    if (!this.#isSending && this.#queue.length > 0) await this.#send();
  }

  async #send(evenNothing = false): Promise<void> {
    const { emit, log, signal } = this.#options;
    this.#isSending = true;
    try {
      // What this turn of the event loop has to say besides goes along: a request costs more than what is in it.
      await nextTurn();
      for (let isDue = evenNothing; (isDue || this.#queue.length > 0) && !signal.aborted; isDue = false) {
        const reports = this.#nextReports();
        const noRoom: Report[] = [];
        for (const { index, code, message } of await this.#post(reports))
          if (code === 'full') noRoom.push(reports[index]!);
          else emit({ kind: 'reportRefused', report: reports[index]!, code, message });
        if (noRoom.length > 0) void this.#tellAgain(noRoom);
      }
    } catch (error) {
      if (signal.aborted) return;
      // What was on its way may or may not have arrived: a new connection reports everything.
      log.warn('reports did not reach the server', { error });
      this.#queue = [];
      this.#connection?.abort(new WeftError('closed', 'reports did not reach the server'));
    } finally {
      this.#isSending = false;
    }
  }

  /** In their order, unless all is told anew before. */
  async #tellAgain(reports: readonly Report[]): Promise<void> {
    const { clock, log, signal } = this.#options;
    const connection = this.#connection;
    const isWaiting = this.#noRoom.length > 0;
    append(this.#noRoom, reports);
    this.#holdBack();
    if (isWaiting) return;
    log.warn('the server has no room for what it was told; it is told again', { reports: reports.length });
    await clock.sleep(ROOM_MS, signal).catch(() => {});
    if (signal.aborted || connection !== this.#connection) return;
    const due = this.#noRoom;
    this.#noRoom = [];
    this.report(due);
  }

  /** While something waits for room, what would overtake it waits too. */
  #holdBack(): void {
    if (this.#noRoom.length === 0) return;
    append(
      this.#noRoom,
      this.#queue.filter(({ type }) => WRITTEN.has(type)),
    );
    this.#queue = this.#queue.filter(({ type }) => !WRITTEN.has(type));
  }

  /** All that wait, but of reports with thousands of routes one or two at a time: the server does nothing else meanwhile. */
  #nextReports(): readonly Report[] {
    let blocks = 0;
    const end = this.#queue.findIndex((report, i) => {
      blocks += blocksIn(report);
      return i > 0 && blocks > MOST_BLOCKS_IN_REPORT;
    });
    return this.#queue.splice(0, end < 0 ? this.#queue.length : end);
  }

  /**
   * A server of another version may not understand one report and refuses all that came with it: then each goes by
   * itself, so that the others count (and the connection does not start anew for ever).
   */
  async #post(reports: readonly Report[]): Promise<ReportsAnswer['refused']> {
    const { client, host, signal } = this.#options;
    const path = `/v1/hosts/${encodeURIComponent(host)}/reports`;
    try {
      return (await client.post<ReportsAnswer>(path, { reports }, { signal, timeoutMs: 10_000 })).refused;
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== 'invalid') throw error;
      if (reports.length === 1) return [{ index: 0, code: error.code, message: error.message }];
      const refused: ReportsAnswer['refused'][number][] = [];
      for (const [index, report] of reports.entries())
        for (const own of await this.#post([report])) refused.push({ ...own, index });
      return refused;
    }
  }
}

function blocksIn(report: Report): number {
  return report.type === 'learnedRoutesAll' || report.type === 'learnedRoutes' ? report.blocks.length : 0;
}
