import { DecodeError, WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { JsonRpcConnection, JsonRpcReply } from './json-rpc.ts';
import { describeError, encodeConditions } from './operations.ts';
import { Replica, type RowChange, type Watched } from './replica.ts';
import type { DatabaseSchema } from './schema.ts';
import { isUuid, type Uuid, ZERO_UUID } from './values.ts';

/** All changes of one transaction, or of several that the server reports together; never part of one. */
export interface ChangeBatch<W> {
  /**
   * `initial`: everything, once per monitor (the batch may be empty); `update`: a commit; `resync`: what changed while
   * the connection was down, as a difference to what the replica held (left out when nothing did).
   */
  readonly cause: 'initial' | 'update' | 'resync';
  readonly changes: readonly RowChange<W>[];
}

/** A replica and what keeps it up to date, over all reconnections. */
export interface Monitor<W extends Watched> {
  readonly replica: Replica<W>;
  /** Is the replica that of a live connection? When not, it is what was last known. */
  readonly live: boolean;
  /** How the monitor runs on the current connection; undefined while not live. */
  readonly method: MonitorMethod | undefined;
  /** No batch comes after this. */
  cancel(): void;
}

/** From best to oldest: resumes from a transaction; sends differences of some rows; sends everything. */
export const MONITOR_METHODS = ['monitor_cond_since', 'monitor_cond', 'monitor'] as const;
export type MonitorMethod = (typeof MONITOR_METHODS)[number];

/** What the client gives a monitor. */
export interface MonitorOptions<W extends Watched> {
  readonly id: string;
  readonly database: string;
  readonly watched: readonly W[];
  readonly log: Log;
  readonly onBatch: (batch: ChangeBatch<W>) => void;
  /** The server refuses the monitor before any content came: it is over. */
  readonly onRefused: (error: WeftError) => void;
  readonly onCancelled: () => void;
}

/** The protocol of one monitor: what to send on a new connection, and what to make of what comes. */
export class MonitorSession<W extends Watched> implements Monitor<W> {
  readonly replica: Replica<W>;
  readonly id: string;
  readonly database: string;
  readonly #options: MonitorOptions<W>;
  /** Conditions as sent, by table. */
  readonly #where = new Map<string, unknown[]>();
  /** Where the replica stands in the server's history; zero where the server keeps none. */
  #lastTransaction: Uuid = ZERO_UUID;
  #missingColumns = '';
  #filled = false;
  #connection: JsonRpcConnection | undefined;
  #method: MonitorMethod | undefined;
  #cancelled = false;

  /** Throws `WeftError('invalid')` for columns or conditions that a table does not declare. */
  constructor(options: MonitorOptions<W>) {
    this.#options = options;
    this.id = options.id;
    this.database = options.database;
    this.replica = new Replica(options.watched);
    for (const { table, where } of options.watched) this.#where.set(table.name, encodeConditions(table, where ?? []));
  }

  get live(): boolean {
    return this.#method !== undefined;
  }
  get method(): MonitorMethod | undefined {
    return this.#method;
  }

  /** Has content ever arrived? */
  get filled(): boolean {
    return this.#filled;
  }

  /** Asks a connection's server for everything since the last transaction known. Throws where the connection cannot go on. */
  start(connection: JsonRpcConnection, schema: DatabaseSchema): void {
    if (this.#cancelled) return;
    const { missingTables, missingColumns } = this.replica.adaptTo(schema);
    if (missingTables.length > 0)
      return this.refused(new WeftError('refused', `database ${schema.name} has no table ${missingTables.join(', ')}`));
    if (missingColumns.length > 0)
      this.#options.log.warn('the database lacks columns: they read as empty', { columns: missingColumns.join(' ') });
    // With other columns than before, the differences since then would not be all that differs.
    const missing = missingColumns.join(' ');
    if (missing !== this.#missingColumns) this.#lastTransaction = ZERO_UUID;
    this.#missingColumns = missing;
    this.#connection = connection;
    this.#request(connection, 0);
  }

  #request(connection: JsonRpcConnection, attempt: number): void {
    const method = MONITOR_METHODS[attempt]!;
    const requests: Record<string, unknown> = {};
    for (const [table, where] of this.#where) {
      const columns = this.replica.columnsToAsk(table, method === 'monitor');
      requests[table] = [{ columns, ...(method !== 'monitor' && where.length > 0 && { where }) }];
    }
    const since = method === 'monitor_cond_since' ? [this.#lastTransaction] : [];
    connection.request(method, [this.database, this.id, requests, ...since], (reply) => {
      if (reply instanceof WeftError || this.#cancelled) return;
      if (reply.error !== null) this.#onError(connection, attempt, reply);
      else this.#onInitial(method, reply.result);
    });
  }

  #onError(connection: JsonRpcConnection, attempt: number, reply: JsonRpcReply): void {
    const { error, details } = describeError(reply.error);
    if (error === 'unknown method' && attempt + 1 < MONITOR_METHODS.length)
      return this.#request(connection, attempt + 1);
    this.refused(new WeftError('refused', `OVSDB refused a monitor: ${error}${details ? `: ${details}` : ''}`));
  }

  /** After the first time the server knew better: the error ends the connection, and with the next it is asked again. */
  refused(error: WeftError): void {
    if (this.#filled) throw error;
    this.#options.onRefused(error);
  }

  #onInitial(method: MonitorMethod, result: unknown): void {
    if (method !== 'monitor_cond_since') {
      this.#fill(method, this.replica.replaceAll(result, method === 'monitor' ? 'plain' : 'differences'));
      return;
    }
    if (!Array.isArray(result) || result.length !== 3 || !isUuid(result[1]))
      throw new DecodeError('bad-value', 0, 'monitor_cond_since', '[found, last-txn-id, updates] wanted');
    const [found, last, updates] = result as [unknown, Uuid, unknown];
    const resumed = found === true && this.#filled;
    const changes = resumed
      ? this.#guarded(() => this.replica.apply(updates, 'differences'))
      : this.replica.replaceAll(updates, 'differences');
    this.#lastTransaction = last;
    this.#fill(method, changes);
  }

  #fill(method: MonitorMethod, changes: readonly RowChange<W>[]): void {
    this.#method = method;
    const cause = this.#filled ? 'resync' : 'initial';
    this.#filled = true;
    if (cause === 'initial' || changes.length > 0) this.#options.onBatch({ cause, changes });
  }

  /** A notification for this monitor: `update`, `update2` or `update3`, with the parameters behind the monitor's id. */
  onUpdate(method: string, params: readonly unknown[]): void {
    if (this.#cancelled || !this.#method) return;
    const changes = this.#guarded(() => {
      if (method !== 'update3') return this.replica.apply(params[0], method === 'update' ? 'plain' : 'differences');
      if (!isUuid(params[0])) throw new DecodeError('bad-value', 0, 'update3', 'a transaction id wanted');
      const applied = this.replica.apply(params[1], 'differences');
      this.#lastTransaction = params[0];
      return applied;
    });
    if (changes.length > 0) this.#options.onBatch({ cause: 'update', changes });
  }

  /** A difference that does not fit means that the replica is not what the server thinks: all of it is asked for again. */
  #guarded<T>(apply: () => T): T {
    try {
      return apply();
    } catch (error) {
      this.#lastTransaction = ZERO_UUID;
      throw error;
    }
  }

  onDisconnected(): void {
    this.#connection = undefined;
    this.#method = undefined;
  }

  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#options.onCancelled();
    this.#method = undefined;
    const connection = this.#connection;
    this.#connection = undefined;
    if (!connection || connection.closed) return;
    try {
      connection.request('monitor_cancel', [this.id], () => {});
    } catch (error) {
      // It does not read: what it sends for this monitor is passed over, and a new connection does not start it.
      this.#options.log.debug('cannot cancel a monitor at the server', { error });
    }
  }
}
