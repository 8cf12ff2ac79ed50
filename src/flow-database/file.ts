import { existsSync, readdirSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type ErrorCode, WeftError } from '../base/errors.ts';
import type {
  ConnectionBatch,
  ConnectionFilter,
  FlowStore,
  HeldAnswer,
  HeldQuestion,
  Lease,
  StoredConnection,
  TroubleListener,
  Written,
} from './flow-store.ts';
import { type SqliteFlowOptions, SqliteFlowStore } from './sqlite.ts';

const IN_MEMORY = { path: ':memory:', mostConnections: 100_000, mostTranslations: 500_000 } as const;
/** What SQLite has beside a file; the first may hold what was written last. */
const BESIDE = ['-wal', '-shm'] as const;

const MENDS: { readonly [Code in ErrorCode]?: string } = {
  busy: 'end what holds it, a backup or another process',
  denied: 'let the server write the file and its folder',
  full: 'make room on its disk',
};

/**
 * The SQLite store in its file. A damaged file is set aside, with what is beside it, and a new one begun. One that cannot be opened for any other reason
 * (somebody holds it, no rights, no room) is left as it is: the store is in memory until it can be, tried at each `expire`; then the file gets
 * what was written down meanwhile. Either is a trouble, the first for as long as what was set aside lies there.
 */
export class FileFlowStore implements FlowStore {
  readonly #options: SqliteFlowOptions;
  readonly #onTrouble: TroubleListener;
  #store: SqliteFlowStore;
  /** Why it is in memory. */
  #why: unknown;
  #trouble: string | undefined;

  constructor(options: SqliteFlowOptions, onTrouble: TroubleListener = () => {}) {
    this.#options = options;
    this.#onTrouble = onTrouble;
    try {
      this.#store = openFile(options, options.nowMs);
    } catch (error) {
      this.#why = error;
      this.#store = new SqliteFlowStore({ ...options, ...IN_MEMORY });
    }
    this.#tell();
  }

  write(batch: ConnectionBatch): Promise<Written> {
    return this.#store.write(batch);
  }
  list(filter: ConnectionFilter, limit: number): Promise<readonly StoredConnection[]> {
    return this.#store.list(filter, limit);
  }
  setLease(lease: Lease): Promise<void> {
    return this.#store.setLease(lease);
  }
  leases(): Promise<readonly Lease[]> {
    return this.#store.leases();
  }
  whoHeld(question: HeldQuestion): Promise<HeldAnswer> {
    return this.#store.whoHeld(question);
  }
  close(): Promise<void> {
    return this.#store.close();
  }

  expire(nowMs: number): Promise<void> {
    if (this.#why !== undefined) this.#goToFile(nowMs);
    this.#tell();
    return this.#store.expire(nowMs);
  }

  #goToFile(nowMs: number): void {
    let file: SqliteFlowStore | undefined;
    try {
      file = openFile(this.#options, nowMs);
      file.takeOver(this.#store, nowMs);
    } catch (error) {
      this.#why = error;
      void file?.close();
      return;
    }
    void this.#store.close();
    this.#store = file;
    this.#why = undefined;
  }

  #tell(): void {
    const trouble = this.#why === undefined ? setAsideText(this.#options.path) : inMemoryText(this.#why);
    if (trouble !== this.#trouble) this.#onTrouble(trouble);
    this.#trouble = trouble;
  }
}

function openFile(options: SqliteFlowOptions, nowMs: number): SqliteFlowStore {
  try {
    return new SqliteFlowStore(options);
  } catch (error) {
    if (!(error instanceof WeftError) || error.code !== 'invalid') throw error;
    setAside(options.path, nowMs);
    return new SqliteFlowStore(options);
  }
}

/** What is beside it first: a new file would take it for its own. */
function setAside(path: string, nowMs: number): void {
  const stamp = new Date(nowMs).toISOString().replaceAll(':', '-');
  let to = `${path}.damaged-${stamp}`;
  for (let n = 2; existsSync(to); n++) to = `${path}.damaged-${stamp}-${n}`;
  for (const suffix of [...BESIDE, '']) if (existsSync(path + suffix)) renameSync(path + suffix, to + suffix);
}

function inMemoryText(why: unknown): string {
  const mend = (why instanceof WeftError ? MENDS[why.code] : undefined) ?? 'look at it and its disk';
  const message = why instanceof Error ? why.message : String(why);
  return `${message}: ${mend}; the file is left as it is, and until it can be opened, which is tried every ten seconds, connections and the log of addresses are in memory`;
}

function setAsideText(path: string): string | undefined {
  const begin = `${basename(path)}.damaged`;
  const names = filesIn(dirname(path)).filter(
    (name) => name.startsWith(begin) && !BESIDE.some((suffix) => name.endsWith(suffix)),
  );
  if (names.length === 0) return undefined;
  const files = names.map((name) => join(dirname(path), name)).join(', ');
  return `${path} was damaged and begun anew: the log of addresses from before is in ${files} alone; get out of it what you need and move it away`;
}

function filesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch {
    return [];
  }
}
