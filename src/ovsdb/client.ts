import { type Clock, systemClock } from '../base/clock.ts';
import { DecodeError, WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type Random, systemRandom } from '../base/random.ts';
import {
  checkTls,
  formatOvsdbAddress,
  type OvsdbAddress,
  type OvsdbTls,
  openOvsdbStream,
  parseOvsdbAddress,
} from './address.ts';
import { bounded, type CallOptions } from './bounded.ts';
import { JsonRpcConnection, type JsonRpcReply, replyResult } from './json-rpc.ts';
import type { JsonSplitterLimits } from './json-splitter.ts';
import { type Lock, LockSession } from './lock.ts';
import { type ChangeBatch, type Monitor, MonitorSession } from './monitor.ts';
import { decodeTransactResult, type Operation, type OperationResult } from './operations.ts';
import type { Watched } from './replica.ts';
import { type DatabaseSchema, decodeSchema } from './schema.ts';

/**
 * A client of an OVSDB server (RFC 7047, and the extensions of ovsdb-server(7)). It keeps a connection up, and over all
 * connections the replicas of its monitors right. Nothing that a server sends makes it throw: what cannot be understood
 * closes that connection, and the next is tried after a pause.
 */
export interface OvsdbOptions {
  /** Ends the client for good. */
  readonly signal?: AbortSignal;
  readonly log: Log;
  /** Required for `ssl:` addresses. */
  readonly tls?: OvsdbTls;
  /** Longest pause between attempts to connect; the first is about 50 ms. Default 5,000. */
  readonly maxBackoffMs?: number;
  /** Silence before the server is probed; after as long again the connection is given up. Default 5,000; 0 never. */
  readonly probeMs?: number;
  /** For the connection, and then for the first answer. Default 5,000. */
  readonly connectTimeoutMs?: number;
  readonly limits?: JsonSplitterLimits;
  readonly clock?: Clock;
  readonly random?: Random;
}

const FIRST_BACKOFF_MS = 50;
/** A connection that lived this long was a good one: the next pause is short again. */
const GOOD_CONNECTION_MS = 5_000;

/**
 * Starts connecting to `unix:PATH`, `tcp:HOST[:PORT]` or `ssl:HOST[:PORT]` and returns at once: calls wait for the
 * connection. Throws `WeftError('invalid')` for another address, or `ssl:` without usable certificates.
 */
export function connectOvsdb(address: string, options: OvsdbOptions): OvsdbClient {
  const parsed = parseOvsdbAddress(address);
  if (parsed.kind === 'ssl') checkTls(options.tls);
  return new OvsdbClient(parsed, options);
}

/** A connection whose server has answered. */
interface Link {
  readonly connection: JsonRpcConnection;
  readonly schemas: Map<string, Promise<DatabaseSchema>>;
}

/** What the client does with a monitor, whatever it watches. */
type AnyMonitorSession = Pick<
  MonitorSession<Watched>,
  'database' | 'filled' | 'start' | 'refused' | 'onUpdate' | 'onDisconnected'
>;

export class OvsdbClient {
  readonly address: string;
  readonly #target: OvsdbAddress;
  readonly #options: OvsdbOptions;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #ended = new AbortController();
  readonly #monitors = new Map<string, AnyMonitorSession>();
  readonly #locks = new Map<string, LockSession>();
  readonly #stateListeners = new Set<(connected: boolean) => void>();
  /** Calls that wait for a connection. */
  readonly #waiting = new Set<(link: Link | WeftError) => void>();
  #connection: JsonRpcConnection | undefined;
  #link: Link | undefined;
  #nextMonitor = 1;
  #lastError: WeftError | undefined;

  /** Use `connectOvsdb`. */
  constructor(target: OvsdbAddress, options: OvsdbOptions) {
    this.#target = target;
    this.address = formatOvsdbAddress(target);
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#log = options.log.child({ ovsdb: this.address });
    options.signal?.addEventListener('abort', () => this.close(), { once: true, signal: this.#ended.signal });
    if (options.signal?.aborted) this.close();
    else void this.#run();
  }

  get connected(): boolean {
    return this.#link !== undefined;
  }

  /** Why the last attempt to connect failed, or the connection ended; nothing while there is one. */
  get failure(): WeftError | undefined {
    return this.#link ? undefined : this.#lastError;
  }
  /** Called with each change of `connected`. Returns what takes the listener off. */
  onConnected(listener: (connected: boolean) => void): () => void {
    this.#stateListeners.add(listener);
    return () => void this.#stateListeners.delete(listener);
  }

  /** Ends the client: what is under way fails with `WeftError('closed')`, replicas stay as they are. */
  close(): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    const error = new WeftError('closed', 'the OVSDB client was closed');
    this.#connection?.close(error);
    for (const waiting of [...this.#waiting]) waiting(error);
    this.#waiting.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Sends any request once there is a connection and gives its result. Throws `WeftError`: `refused` with the server's
   * own error as details; `closed` where the connection broke before the answer; `unreachable` where none came up in
   * time; `timeout`, `aborted`, `busy`.
   */
  call(method: string, params: readonly unknown[], options: CallOptions = {}): Promise<unknown> {
    return bounded(options, this.#giveUp(method), (resolve, reject) => {
      let undo = (): void => {};
      const send = (link: Link | WeftError): void => {
        this.#waiting.delete(send);
        if (link instanceof WeftError) return reject(link);
        try {
          const { connection } = link;
          const id = connection.request(method, params, (reply) => answer(reply, method, resolve, reject));
          undo = () => abandon(connection, method, id);
        } catch (error) {
          reject(error as WeftError);
        }
      };
      if (this.#link) send(this.#link);
      else if (this.#ended.signal.aborted) reject(new WeftError('closed', 'the OVSDB client was closed'));
      else {
        this.#waiting.add(send);
        undo = () => this.#waiting.delete(send);
      }
      return () => undo();
    });
  }

  /**
   * Carries out the operations as one transaction, all or none, and gives the result of each. The replicas of this
   * client's monitors show the outcome, and their batches have been delivered, before this resolves.
   *
   * Throws like `call`: `refused` has a `TransactionRefusal` as details; after `closed` or `timeout` the transaction may
   * or may not have been carried out. `protocol` where the answer is none.
   */
  async transact<const Ops extends readonly Operation[]>(
    database: string,
    operations: Ops,
    options: CallOptions = {},
  ): Promise<{ -readonly [K in keyof Ops]: OperationResult<Ops[K]> }> {
    const params = [database, ...operations.map(({ wire }) => wire)];
    const result = await this.call('transact', params, options);
    return understood('a transaction', () => decodeTransactResult(operations, result));
  }

  /** What the server has; asked once per connection. Throws like `call`, and `protocol`. */
  async schema(database: string, options: CallOptions = {}): Promise<DatabaseSchema> {
    const known = this.#link?.schemas;
    const before = known?.get(database);
    if (before) return before;
    const asked = this.call('get_schema', [database], options).then((result) =>
      understood('get_schema', () => decodeSchema(result)),
    );
    known?.set(database, asked);
    asked.catch(() => known?.delete(database));
    return asked;
  }

  async listDatabases(options: CallOptions = {}): Promise<readonly string[]> {
    return databaseNames(await this.call('list_dbs', [], options));
  }

  /**
   * Replicates parts of tables from now on, over all reconnections. Resolves when the first content has arrived, which
   * `onBatch` gets first, as a batch too. `onBatch` is called with the replica already changed.
   *
   * A lost connection resumes where it stopped if the server knows how (a clustered database), and otherwise fetches
   * everything; either way the batch that follows holds just what differs. Throws `refused` where the server does not
   * have the database, a table, or the columns of a condition; `invalid` for columns that the table does not declare;
   * else like `call`.
   */
  monitor<const W extends Watched>(
    database: string,
    watched: readonly W[],
    onBatch: (batch: ChangeBatch<W>) => void,
    options: CallOptions = {},
  ): Promise<Monitor<W>> {
    const id = `weft-${this.#nextMonitor++}`;
    return bounded<Monitor<W>>(options, this.#giveUp('monitor'), (resolve, reject) => {
      if (this.#ended.signal.aborted) reject(new WeftError('closed', 'the OVSDB client was closed'));
      const session: MonitorSession<W> = new MonitorSession<W>({
        ...{ id, database, watched, log: this.#log },
        onBatch: (batch) => {
          isolated(() => onBatch(batch));
          if (batch.cause === 'initial') resolve(session);
        },
        onRefused: (error) => {
          this.#monitors.delete(id);
          reject(error);
        },
        onCancelled: () => this.#monitors.delete(id),
      });
      this.#monitors.set(id, session);
      if (this.#link) this.#startMonitor(this.#link, session);
      return () => session.cancel();
    });
  }

  /**
   * Asks for a lock, now and on every new connection; `onChange` tells when it is gained and lost. With `steal` it is
   * taken from whoever holds it. One lock of a name per client: throws `WeftError('conflict')`.
   */
  lock(name: string, onChange: (held: boolean) => void, options: { readonly steal?: boolean } = {}): Lock {
    if (this.#locks.has(name)) throw new WeftError('conflict', `lock ${name} is asked for already`);
    const session = new LockSession(name, options.steal ?? false, (held) => isolated(() => onChange(held)));
    this.#locks.set(name, session);
    if (this.#link) session.start(this.#link.connection);
    return {
      name,
      get held() {
        return session.held;
      },
      release: () => {
        if (this.#locks.delete(name)) session.release();
      },
    };
  }

  #startMonitor(link: Link, session: AnyMonitorSession): void {
    const start = async (): Promise<void> => {
      try {
        const schema = await this.schema(session.database);
        if (!link.connection.closed) session.start(link.connection, schema);
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        if (link.connection.closed) return;
        if (error.code === 'refused' && !session.filled) session.refused(error);
        else link.connection.close(error);
      }
    };
    void start();
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const startedMs = this.#clock.monotonicMs();
      try {
        await this.#serve(signal);
      } catch (error) {
        this.#onFailure(error as WeftError);
      }
      if (this.#clock.monotonicMs() - startedMs > GOOD_CONNECTION_MS) attempt = 0;
      const ceilingMs = Math.min(this.#options.maxBackoffMs ?? 5_000, FIRST_BACKOFF_MS * 2 ** Math.min(attempt, 16));
      const pauseMs = ceilingMs / 2 + this.#random.below(Math.ceil(ceilingMs / 2));
      // Ends early only when the client does.
      await this.#clock.sleep(pauseMs, signal).catch(() => {});
    }
  }

  /** One connection from its beginning to its end. */
  async #serve(signal: AbortSignal): Promise<void> {
    const { tls, connectTimeoutMs: timeoutMs = 5_000, probeMs = 5_000, limits } = this.#options;
    const stream = await openOvsdbStream(this.#target, { tls, timeoutMs, signal });
    if (signal.aborted) return void stream.destroy();
    const error = await new Promise<WeftError>((resolve) => {
      const connection = new JsonRpcConnection(stream, {
        ...{ log: this.#log, limits, probeMs },
        onNotification: (method, params) => this.#onNotification(method, params),
        onClose: (error) => {
          clearTimeout(silence);
          this.#onDown();
          resolve(error);
        },
      });
      this.#connection = connection;
      const noAnswer = new WeftError('closed', `no answer to list_dbs in ${timeoutMs} ms`);
      const silence = setTimeout(() => connection.close(noAnswer), timeoutMs);
      // The first answer tells that this is an OVSDB server.
      connection.request('list_dbs', [], (reply) => {
        clearTimeout(silence);
        if (!(reply instanceof WeftError)) this.#onUp(connection, databaseNames(replyResult(reply, 'list_dbs')));
      });
    });
    throw error;
  }

  #onUp(connection: JsonRpcConnection, databases: readonly string[]): void {
    this.#log.info('connected', { databases: databases.join(' ') });
    this.#lastError = undefined;
    const link: Link = { connection, schemas: new Map() };
    this.#link = link;
    for (const lock of this.#locks.values()) lock.start(connection);
    for (const session of this.#monitors.values()) this.#startMonitor(link, session);
    for (const send of [...this.#waiting]) send(link);
    for (const listener of this.#stateListeners) isolated(() => listener(true));
  }

  #onDown(): void {
    this.#connection = undefined;
    if (!this.#link) return;
    this.#link = undefined;
    for (const session of this.#monitors.values()) session.onDisconnected();
    for (const lock of this.#locks.values()) lock.onDisconnected();
    for (const listener of this.#stateListeners) isolated(() => listener(false));
  }

  #onFailure(error: WeftError): void {
    if (this.#ended.signal.aborted) return;
    // A server that stays away is reported once, not with every attempt.
    if (this.#lastError?.message !== error.message) this.#log.warn('not connected', { error });
    this.#lastError = error;
  }

  #onNotification(method: string, params: readonly unknown[]): void {
    if (method === 'update' || method === 'update2' || method === 'update3')
      this.#monitors.get(String(params[0]))?.onUpdate(method, params.slice(1));
    else if (method === 'locked' || method === 'stolen') this.#locks.get(String(params[0]))?.onNotification(method);
    // What later servers send besides concerns nobody here.
  }

  #giveUp(what: string): (code: 'timeout' | 'aborted') => WeftError {
    return (code) => {
      if (code === 'aborted') return new WeftError('aborted', `${what} was given up`);
      if (this.#link) return new WeftError('timeout', `no answer to ${what} in time`);
      const why = this.#lastError ? `: ${this.#lastError.message}` : '';
      return new WeftError('unreachable', `${what}: no connection to ${this.address}${why}`, {
        cause: this.#lastError,
      });
    };
  }
}

function answer(
  reply: JsonRpcReply | WeftError,
  what: string,
  resolve: (result: unknown) => void,
  reject: (error: WeftError) => void,
): void {
  try {
    resolve(replyResult(reply, what));
  } catch (error) {
    reject(error as WeftError);
  }
}

/** Takes a request back: a transaction that still waits is not carried out then (RFC 7047 §4.1.4). */
function abandon(connection: JsonRpcConnection, method: string, id: number): void {
  connection.forget(id);
  if (method !== 'transact' || connection.closed) return;
  try {
    connection.notify('cancel', [id]);
  } catch {
    // Busy: it has more to read than this already.
  }
}

function databaseNames(result: unknown): readonly string[] {
  return Array.isArray(result) ? result.filter((name) => typeof name === 'string') : [];
}

function understood<T>(what: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new WeftError('protocol', `the answer to ${what} cannot be read: ${error.message}`, { cause: error });
  }
}

/** A listener that throws is a bug of its own and ends the process, without leaving the connection half-way. */
function isolated(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
