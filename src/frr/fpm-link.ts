import type { Server, Socket } from 'node:net';
import { DecodeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { FpmSplitter } from './fpm.ts';
import { type RouteChange, RouteTable } from './route-table.ts';

export type FpmLinkOptions = {
  readonly log: Log;
  /** What changed within `batchMs`. Never empty. */
  readonly onChanges: (changes: readonly RouteChange[]) => void;
  /** Zebra has told what it knows: the table holds nothing older than the connection. */
  readonly onSynced?: () => void;
  /** Zebra writes some dozen routes at a time: so long they are gathered. */
  readonly batchMs?: number;
  /**
   * `CROWD` of them and more are gathered until zebra has paused so long, but no longer than `crowdMs` (on a busy machine `LONGEST_GATHERING_MS`): a whole
   * table comes in a second or two, and each batch has its price.
   */
  readonly pauseMs?: number;
  readonly crowdMs?: number;
  /** So long nothing must have come for zebra to be through: its messages have no mark for that. */
  readonly quietMs?: number;
  /** So long after a connection began routes of the one before are kept: a zebra that died has its routes from bgpd again after 10 s. */
  readonly holdMs?: number;
  /** So long after a connection began zebra is taken to be through, though it has never been quiet: outside something changes all the time. */
  readonly longestMs?: number;
  /** So long without a connection all routes are gone. */
  readonly abandonMs?: number;
};

const CROWD = 1_000;
const CROWD_MS = 300;
/** Of the time at most a quarter is spent on batches of a crowd, unless that would take longer than this. */
const LONGEST_GATHERING_MS = 2_000;

/**
 * The end of zebra's forwarding-plane-manager connection: bytes in, changes of the route table out, gathered for some
 * milliseconds. Zebra connects again by itself, every 3 s, and then tells everything anew.
 */
export class FpmLink {
  readonly table = new RouteTable();
  readonly #options: FpmLinkOptions;
  readonly #quietMs: number;
  readonly #holdMs: number;
  #server: Server | undefined;
  #socket: Socket | undefined;
  #flushTimer: NodeJS.Timeout | undefined;
  #synced = false;
  #sweepAt = 0;
  #sweepAtLatest = 0;
  #heardAt = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Connections that were ended because their bytes made no sense. */
  decodeErrors = 0;
  /** The first change that was not told came then. */
  #gatheringAt = 0;
  /** How long a crowd may be gathered. */
  #mostMs: number;

  constructor(options: FpmLinkOptions) {
    this.#options = options;
    this.#quietMs = options.quietMs ?? 1_000;
    this.#holdMs = options.holdMs ?? 15_000;
    this.#mostMs = options.crowdMs ?? CROWD_MS;
  }

  get connected(): boolean {
    return this.#socket !== undefined;
  }
  get synced(): boolean {
    return this.#synced;
  }

  /** Takes over a server that listens already. */
  attach(server: Server): void {
    this.#server = server;
    server.on('connection', (socket) => this.#begin(socket));
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    clearTimeout(this.#flushTimer);
    this.#server?.close();
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #begin(socket: Socket): void {
    // Zebra has one connection: the one before is dead, whether it was noticed or not.
    this.#socket?.destroy();
    this.#socket = socket;
    this.#synced = false;
    this.#sweepAt = performance.now() + (this.table.size > 0 ? this.#holdMs : 0);
    this.#sweepAtLatest = performance.now() + (this.#options.longestMs ?? 120_000);
    this.table.begin();
    const splitter = new FpmSplitter();
    socket.on('data', (chunk: Buffer) => {
      if (this.#socket !== socket) return;
      this.#heardAt = performance.now();
      try {
        for (const message of splitter.push(chunk)) this.table.apply(message);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
        this.decodeErrors++;
        this.#options.log.warn('zebra sent what cannot be read', { error });
        socket.destroy();
      }
      this.#flushSoon();
    });
    socket.on('error', () => {}); // closes
    socket.on('close', () => this.#end(socket));
    this.#heardAt = performance.now();
    this.#sweepSoon();
  }

  #end(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#synced = false;
    this.#wait(this.#options.abandonMs ?? 60_000, () => {
      this.table.begin();
      this.table.sweep();
      this.#flushSoon();
    });
  }

  #sweepSoon(): void {
    const dueAt = (): number => Math.min(Math.max(this.#sweepAt, this.#heardAt + this.#quietMs), this.#sweepAtLatest);
    this.#wait(Math.max(dueAt() - performance.now(), 0), () => {
      if (performance.now() < dueAt()) return this.#sweepSoon();
      this.table.sweep();
      this.#flush();
      this.#synced = true;
      this.#options.onSynced?.();
    });
  }

  /** What came in while this process was held up is read first. */
  #wait(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    const timer = setTimeout(() => setImmediate(() => this.#timer === timer && then()), ms);
    this.#timer = timer;
  }

  #flushSoon(): void {
    if (this.#flushTimer) return;
    this.#gatheringAt = performance.now();
    this.#flushTimer = setTimeout(() => this.#flushOrGather(), this.#options.batchMs ?? 20);
  }

  #flushOrGather(): void {
    const dueAt = Math.min(this.#heardAt + (this.#options.pauseMs ?? 100), this.#gatheringAt + this.#mostMs);
    const leftMs = this.table.pending < CROWD ? 0 : dueAt - performance.now();
    if (leftMs > 0) this.#flushTimer = setTimeout(() => this.#flushOrGather(), leftMs);
    else this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    const changes = this.table.takeChanges();
    const beginMs = performance.now();
    if (changes.length > 0) this.#options.onChanges(changes);
    if (changes.length < CROWD) return;
    const leastMs = Math.min(4 * (performance.now() - beginMs), LONGEST_GATHERING_MS);
    this.#mostMs = Math.max(this.#options.crowdMs ?? CROWD_MS, leastMs);
  }
}
