import { randomUUID } from 'node:crypto';
import { closeSync, fdatasync, fdatasyncSync, openSync } from 'node:fs';
import { backup, DatabaseSync, type StatementSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { type Clock, systemClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { type Engine, type EngineChange, MOST_UNCONFIRMED } from './engine.ts';
import { EngineStore } from './engine-store.ts';
import { migrate } from './migrations.ts';
import { type Change, endOfPrefix, type Listing, type Store, type StoreRecord } from './store.ts';

export interface SqliteStore extends Store {
  /** Writes a consistent copy while the store is in use. The copy gets an incarnation of its own when it is opened. */
  backup(path: string): Promise<void>;
}

/**
 * The default store: one SQLite file. Errors: `busy` (another process has it open), `invalid` (damaged, or written by a
 * newer Weft), `full`, `denied`.
 */
export function openSqliteStore(path: string, clock: Clock = systemClock): SqliteStore {
  const engine = new SqliteEngine(path);
  const store = new EngineStore(engine, clock) as EngineStore & SqliteStore;
  store.backup = (to) => engine.backup(to);
  return store;
}

class SqliteEngine implements Engine {
  readonly incarnation: string;
  revision: number;
  compactedTo: number;
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #statements: Record<keyof typeof SQL, StatementSync>;
  /** The write-ahead log, once this process wrote. */
  #wal: number | undefined;
  /** Why the disk did not take something: what this process read of the file may not be there. */
  #lost: unknown;

  constructor(path: string) {
    this.#path = path;
    this.#db = openDatabase(path);
    this.#statements = Object.fromEntries(
      Object.entries(SQL).map(([name, sql]) => [name, this.#db.prepare(sql)]),
    ) as Record<keyof typeof SQL, StatementSync>;
    // Left open: the machine may have ended with revisions that were told of and are not here.
    this.revision = Number(this.#meta('revision') ?? 0) + (this.#meta(IS_OPEN) === undefined ? 0 : MOST_UNCONFIRMED);
    this.compactedTo = Number(this.#meta('compactedTo') ?? 0);
    let incarnation = this.#meta('incarnation');
    if (!incarnation) {
      incarnation = randomUUID();
      this.#attempt(() => this.#statements.putMeta.run('incarnation', incarnation!));
    }
    this.incarnation = incarnation;
  }

  get(key: string): StoreRecord | undefined {
    return this.#statements.get.get(key) as unknown as StoreRecord | undefined;
  }

  list(prefix: string, after: string | undefined, limit: number | undefined): Listing {
    // One more than asked for tells whether there is a next page. SQLite reads a negative limit as none.
    const rows = this.#statements.list.all(
      prefix,
      after ?? '',
      endOfPrefix(prefix),
      limit === undefined ? -1 : limit + 1,
    ) as unknown as StoreRecord[];
    const hasMore = limit !== undefined && rows.length > limit;
    const records = hasMore ? rows.slice(0, limit) : rows;
    return { revision: this.revision, records, ...(hasMore ? { next: records.at(-1)!.key } : {}) };
  }

  write(changes: readonly EngineChange[]): void {
    const last = changes.at(-1)!.revision;
    this.#attempt(() => {
      this.#wal ??= this.#begin();
      this.#db.exec('BEGIN IMMEDIATE');
      for (const { revision, entries } of changes)
        for (const [index, { key, value, lease }] of entries.entries()) {
          if (value === undefined) this.#statements.delete.run(key);
          else this.#statements.put.run(key, revision, value, lease ?? null);
          this.#statements.append.run(revision, index, key, value ?? null);
        }
      this.#statements.putMeta.run('revision', String(last));
      this.#db.exec('COMMIT');
    });
    this.revision = last;
  }

  async sync(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    try {
      if (this.#wal !== undefined) await fdatasyncAsync(this.#wal);
    } catch (error) {
      this.#lost = error;
      throw error;
    }
  }

  /** Before this process tells of its first revision it is on the disk that it may have told of some, and from where on. */
  #begin(): number {
    this.#statements.putMeta.run('revision', String(this.revision));
    this.#statements.putMeta.run(IS_OPEN, '');
    // SQLite follows links and puts the log beside the file itself.
    const wal = openSync(`${this.#db.location()}-wal`, 'r+');
    try {
      fdatasyncSync(wal);
      return wal;
    } catch (error) {
      closeSync(wal);
      this.#lost = error;
      throw new WeftError('full', `store ${this.#path} cannot be written: look at its disk`, { cause: error });
    }
  }

  *changesAfter(revision: number): Iterable<Change> {
    let change: { revision: number; entries: { key: string; value?: string }[] } | undefined;
    for (const row of this.#statements.log.iterate(revision)) {
      const { revision: at, key, value } = row as { revision: number; key: string; value: string | null };
      if (change?.revision !== at) {
        if (change) yield change;
        change = { revision: at, entries: [] };
      }
      change.entries.push(value === null ? { key } : { key, value });
    }
    if (change) yield change;
  }

  compact(upTo: number): void {
    if (upTo <= this.compactedTo) return;
    this.#attempt(() => {
      this.#db.exec('BEGIN IMMEDIATE');
      this.#statements.compact.run(upTo);
      this.#statements.putMeta.run('compactedTo', String(upTo));
      this.#db.exec('COMMIT');
    });
    this.compactedTo = upTo;
  }

  keysOfLease(lease: string): readonly string[] {
    return this.#statements.keysOfLease.all(lease).map((row) => String(row.key));
  }
  leases(): ReadonlyMap<string, number> {
    return new Map(this.#statements.leases.all().map((row) => [String(row.id), Number(row.duration_ms)]));
  }
  putLease(lease: string, durationMs: number): void {
    this.#attempt(() => this.#statements.putLease.run(lease, durationMs));
  }
  deleteLease(lease: string): void {
    this.#attempt(() => this.#statements.deleteLease.run(lease));
  }

  async backup(path: string): Promise<void> {
    try {
      await backup(this.#db, path);
      const copy = new DatabaseSync(path);
      try {
        // Whoever opens the copy goes on from an older state under revisions that others know already.
        copy.prepare(SQL.putMeta).run('incarnation', '');
        copy.prepare(SQL.deleteMeta).run(IS_OPEN);
      } finally {
        copy.close();
      }
    } catch (error) {
      throw storeError(error, path);
    }
  }

  close(): void {
    if (this.#wal !== undefined) closeSync(this.#wal);
    try {
      if (this.#lost === undefined) {
        // First: it may be further than what was written last.
        this.#statements.putMeta.run('revision', String(this.revision));
        this.#statements.deleteMeta.run(IS_OPEN);
      }
    } catch {
      // A full disk: it is taken for left open.
    }
    this.#db.close();
  }

  #meta(key: string): string | undefined {
    const row = this.#statements.meta.get(key);
    return row === undefined ? undefined : String(row.value);
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw storeError(error, this.#path);
    }
  }
}

/** Key of `meta` in a file that somebody writes, or wrote and did not close. */
const IS_OPEN = 'open';
const fdatasyncAsync = promisify(fdatasync);

const SQL = {
  meta: 'SELECT value FROM meta WHERE key = ?',
  putMeta: 'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
  deleteMeta: 'DELETE FROM meta WHERE key = ?',
  get: 'SELECT key, revision, value FROM records WHERE key = ?',
  list: 'SELECT key, revision, value FROM records WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?',
  put: `INSERT INTO records (key, revision, value, lease) VALUES (?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, value = excluded.value, lease = excluded.lease`,
  delete: 'DELETE FROM records WHERE key = ?',
  append: 'INSERT INTO log (revision, position, key, value) VALUES (?, ?, ?, ?)',
  log: 'SELECT revision, key, value FROM log WHERE revision > ? ORDER BY revision, position',
  compact: 'DELETE FROM log WHERE revision <= ?',
  keysOfLease: 'SELECT key FROM records WHERE lease = ?',
  leases: 'SELECT id, duration_ms FROM leases',
  putLease: 'INSERT INTO leases (id, duration_ms) VALUES (?, ?)',
  deleteLease: 'DELETE FROM leases WHERE id = ?',
} as const;

function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { timeout: 1000 });
    // Exclusive: a second server on the same file must fail at once, not work on revisions that are not its own.
    // Normal: SQLite keeps the order of what reaches the disk, and `sync` says when.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
    const verdict = db.prepare('PRAGMA quick_check(1)').get()?.quick_check;
    if (verdict !== 'ok') throw damaged(path, String(verdict));
    migrate(db, path);
    return db;
  } catch (error) {
    db?.close();
    throw storeError(error, path);
  }
}

function damaged(path: string, why: string, cause?: unknown): WeftError {
  return new WeftError('invalid', `store ${path} is damaged (${why}): move it away and restore a backup in its place`, {
    cause,
  });
}

/** SQLite's primary result codes (the lower byte of the extended one). */
const RESULT = { busy: 5, readOnly: 8, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notDatabase: 26 } as const;

function storeError(error: unknown, path: string): unknown {
  if (error instanceof WeftError || !(error instanceof Error) || !('errcode' in error)) return error;
  const why = error.message;
  switch (Number(error.errcode) & 0xff) {
    case RESULT.busy:
      return new WeftError('busy', `another process has store ${path} open`, { cause: error });
    case RESULT.full:
    case RESULT.ioError:
      return new WeftError('full', `store ${path} cannot be written (${why}): make room on its disk`, { cause: error });
    case RESULT.readOnly:
    case RESULT.cannotOpen:
      return new WeftError('denied', `store ${path} cannot be opened (${why})`, { cause: error });
    case RESULT.corrupt:
    case RESULT.notDatabase:
      return damaged(path, why, error);
    default:
      return error;
  }
}
