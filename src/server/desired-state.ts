import { type ErrorCode, WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { Allocator } from '../model/allocate.ts';
import { Draft, type DraftChange } from '../model/draft.ts';
import { KIND_NAMES } from '../model/kind.ts';
import { ModelIndex } from '../model/model-index.ts';
import type { ScopeKind, ScopeRecord } from '../model/objects.ts';
import { isObject } from '../model/relations.ts';
import type { Change, Operation, Precondition, Store, Watch } from '../store/store.ts';

/** One record before and after a transaction. */
export interface RecordChange {
  readonly kind: ScopeKind;
  readonly id: string;
  readonly before?: ScopeRecord;
  readonly after?: ScopeRecord;
}

/** A transaction that is written, and durable a moment later; the index is at the state after it. */
export interface Commit {
  readonly revision: number;
  readonly changes: readonly RecordChange[];
}

export interface Written<T> {
  readonly result: T;
  /** Of the transaction; of the last one before where nothing changed or the draft was a trial. */
  readonly revision: number;
}

interface Job {
  readonly work: (draft: Draft) => unknown;
  readonly dryRun: boolean;
  readonly resolve: (written: Written<unknown>) => void;
  readonly reject: (error: unknown) => void;
}

interface Staged {
  readonly job: Job;
  readonly draft: Draft;
  readonly result: unknown;
}

/** Rewritten by every transaction: it proves that a draft was made on the newest state (DESIGN §3). */
const GENERATION_KEY = 'generation';
/** `retired/<tunnel key>`: not to be given out until every host has applied a later revision. */
const RETIRED_PREFIX = 'retired/';
const STORED_KINDS: ReadonlySet<string> = new Set([...KIND_NAMES, 'binding', 'natLease', 'natMove']);
/** Beside ports. */
const HOLDING_ADDRESSES: ReadonlySet<string> = new Set(['router', 'routerPort', 'floatingAddress', 'loadBalancer']);
const MOST_ATTEMPTS = 5;
/** Revisions that the store's log keeps for watches that resume. */
const LOG_LENGTH = 10_000;

/**
 * The store's records as a model in memory, and the one way to change them: `write`. The index only ever follows the
 * store: a draft works on it, is taken back, and what it did comes back through the store's watch once it is written.
 */
export class DesiredState {
  readonly index = new ModelIndex();
  readonly allocator: Allocator;
  readonly store: Store;
  readonly #log: Log;
  readonly #listeners = new Set<(commit: Commit) => void>();
  /** Retired tunnel key → revision of the retirement. */
  readonly #retired = new Map<number, number>();
  readonly #amendments: ((draft: Draft) => void)[] = [];
  #queue: Job[] = [];
  #isWriting = false;
  #generation = 0;
  #revision = 0;
  #watch: Watch | undefined;

  private constructor(store: Store, random: Random, log: Log) {
    this.store = store;
    this.#log = log;
    this.allocator = new Allocator(this.index, random);
  }

  /** Reads everything and follows the store from there. */
  static async open(store: Store, random: Random, log: Log): Promise<DesiredState> {
    const state = new DesiredState(store, random, log);
    let after: string | undefined;
    let revision = store.revision();
    do {
      const page = await store.list('', { limit: 5000, ...(after === undefined ? {} : { after }) });
      for (const record of page.records) state.#load(record.key, record.value, record.revision);
      // Pages may be of different revisions: the watch replays whatever changed since the first.
      revision = Math.min(revision, page.revision);
      after = page.next;
    } while (after !== undefined);
    state.#revision = revision;
    state.#watch = await store.watch(revision, (change) => state.#follow(change));
    return state;
  }

  get revision(): number {
    return this.#revision;
  }

  /** Resolves once all that the index shows is durable: before that nobody is answered by it. */
  durable(): Promise<void> {
    return this.store.durable();
  }

  /** Called for every transaction, in order, as soon as it is written. Returns what ends that. */
  onCommit(listener: (commit: Commit) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Called for every write with what it is about to change: what belongs to it is written in the same transaction. */
  amendWrites(amend: (draft: Draft) => void): void {
    this.#amendments.push(amend);
  }

  /** The transactions after a revision as the log has them, without what was before. Error `compacted`. */
  async replay(after: number): Promise<readonly Commit[]> {
    const commits: Commit[] = [];
    const watch = await this.store.watch(after, ({ revision, entries }) => {
      const changes = entries.flatMap(({ key, value }): RecordChange[] => {
        const [kind, id] = splitKey(key);
        if (!STORED_KINDS.has(kind)) return [];
        return [{ kind, id, ...(value === undefined ? {} : { after: recordOf(value, revision) }) }];
      });
      commits.push({ revision, changes });
    });
    watch.close();
    return commits;
  }

  /**
   * Runs `work` on a draft and makes what it did one transaction (shared with other writes that wait at the same time, of other records).
   * Resolves once it is durable. When `work` throws, nothing of it stays and the promise rejects with what it threw.
   * `work` must be synchronous.
   */
  write<T>(work: (draft: Draft) => T, options: { readonly dryRun?: boolean } = {}): Promise<Written<T>> {
    return new Promise((resolve, reject) => {
      this.#queue.push({
        work,
        dryRun: options.dryRun ?? false,
        resolve: resolve as (written: Written<unknown>) => void,
        reject,
      });
      if (!this.#isWriting) void this.#writeQueue();
    });
  }

  /** Tunnel keys that were retired up to the least of `appliedRevisions` (one per host) may be used again. */
  async releaseKeys(appliedRevisions: readonly number[]): Promise<void> {
    const least = Math.min(this.#revision, ...appliedRevisions);
    const free = [...this.#retired].filter(([, revision]) => revision <= least);
    if (free.length === 0) return;
    await this.store.transact({
      operations: free.map(([key]): Operation => ({ type: 'delete', key: `${RETIRED_PREFIX}${key}` })),
    });
  }

  async compact(): Promise<void> {
    await this.store.compact(this.#revision - LOG_LENGTH);
  }

  async close(): Promise<void> {
    this.#watch?.close();
    await this.store.close();
  }

  async #writeQueue(): Promise<void> {
    this.#isWriting = true;
    for (let attempt = 1; this.#queue.length > 0; ) {
      const jobs = this.#queue;
      this.#queue = [];
      const failed = await this.#writeTogether(jobs);
      if (failed.length === 0) attempt = 1;
      else if (attempt++ < MOST_ATTEMPTS) this.#queue = [...failed, ...this.#queue];
      else {
        for (const job of failed)
          job.reject(new WeftError('busy', 'other servers wrote at the same time, again and again'));
        attempt = 1;
      }
    }
    this.#isWriting = false;
  }

  /** Returns the jobs that must be tried again because another server wrote in between. */
  async #writeTogether(jobs: readonly Job[]): Promise<readonly Job[]> {
    const staged: Staged[] = [];
    const touched = new Set<string>();
    for (const [place, job] of jobs.entries()) {
      const done = this.#stage(job, touched);
      if (done === 'later') {
        this.#queue = [...jobs.slice(place), ...this.#queue];
        break;
      }
      if (done) staged.push(done);
    }
    const operations = operationsOf(staged.flatMap(({ draft }) => draft.changes()));
    for (const { draft } of staged.toReversed()) draft.rollback();
    if (operations.length === 0) {
      answer(staged, this.#revision, this.durable());
      return [];
    }
    const preconditions: Precondition[] = [
      this.#generation === 0
        ? { type: 'absent', key: GENERATION_KEY }
        : { type: 'revision', key: GENERATION_KEY, revision: this.#generation },
    ];
    operations.push({ type: 'put', key: GENERATION_KEY, value: '' });
    try {
      const { revision, durable } = await this.store.write({ operations, preconditions });
      answer(staged, revision, durable);
      return [];
    } catch (error) {
      this.#takeBackRetirements(operations);
      const code: ErrorCode | undefined = error instanceof WeftError ? error.code : undefined;
      if (code === 'conflict') return staged.map(({ job }) => job);
      this.#log.error('a write failed', { error });
      for (const { job } of staged) job.reject(error);
      return [];
    }
  }

  /** What was deleted is there still: its tunnel key is its own, unless a transaction that is stored retired it. */
  #takeBackRetirements(operations: readonly Operation[]): void {
    for (const { key } of operations) {
      if (!key.startsWith(RETIRED_PREFIX)) continue;
      const tunnelKey = Number(key.slice(RETIRED_PREFIX.length));
      if (!this.#retired.has(tunnelKey)) this.allocator.unretireKey(tunnelKey);
    }
  }

  /**
   * Undefined: the job is answered. `later`: it changes a record that one before it changes, too. Of a transaction a record has one
   * revision: as that of both it would be a precondition that the second one's change does not break.
   */
  #stage(job: Job, touched: Set<string>): Staged | 'later' | undefined {
    const draft = new Draft(this.index);
    this.allocator.settle();
    try {
      const result = job.work(draft);
      for (const amend of this.#amendments) amend(draft);
      if (!job.dryRun && touch(draft, touched)) return { job, draft, result };
      draft.rollback();
      this.allocator.rollback();
      if (!job.dryRun) return 'later';
      answer([{ job, result }], this.#revision, this.durable());
    } catch (error) {
      draft.rollback();
      this.allocator.rollback();
      job.reject(error);
    }
    return undefined;
  }

  /** From the store's watch: the transaction is written. */
  #follow(change: Change): void {
    const changes: RecordChange[] = [];
    for (const { key, value } of change.entries) {
      const loaded = this.#load(key, value, change.revision);
      if (loaded) changes.push(loaded);
    }
    this.allocator.settle();
    this.#revision = change.revision;
    const commit = { revision: change.revision, changes };
    for (const listener of this.#listeners) listener(commit);
  }

  #load(key: string, value: string | undefined, revision: number): RecordChange | undefined {
    if (key === GENERATION_KEY) {
      this.#generation = revision;
      return undefined;
    }
    if (key.startsWith(RETIRED_PREFIX)) {
      const tunnelKey = Number(key.slice(RETIRED_PREFIX.length));
      if (value === undefined) {
        this.#retired.delete(tunnelKey);
        this.allocator.unretireKey(tunnelKey);
      } else {
        this.#retired.set(tunnelKey, revision);
        this.allocator.retireKey(tunnelKey);
      }
      return undefined;
    }
    const [kind, id] = splitKey(key);
    if (!STORED_KINDS.has(kind)) return undefined;
    if (value === undefined) {
      const before = this.index.delete(kind, id);
      if (before) this.#released(before);
      return before && { kind, id, before };
    }
    const after = recordOf(value, revision);
    const before = this.index.put(after);
    if (before) this.#released(before);
    if (isObject(after)) this.allocator.stored(after);
    return { kind, id, after, ...(before ? { before } : {}) };
  }

  #released(before: ScopeRecord): void {
    if (before.kind === 'port') this.allocator.released(before);
    else if (HOLDING_ADDRESSES.has(before.kind)) this.allocator.reconsider();
  }
}

/** Adds the draft's records to those; false, and nothing is added, where one is among them. */
function touch(draft: Draft, touched: Set<string>): boolean {
  const keys = draft.changes().map(({ kind, id }) => `${kind}/${id}`);
  if (keys.some((key) => touched.has(key))) return false;
  for (const key of keys) touched.add(key);
  return true;
}

function answer(staged: readonly Pick<Staged, 'job' | 'result'>[], revision: number, durable: Promise<void>): void {
  durable.then(
    () => {
      for (const { job, result } of staged) job.resolve({ result, revision });
    },
    (error: unknown) => {
      for (const { job } of staged) job.reject(error);
    },
  );
}

function splitKey(key: string): readonly [kind: ScopeKind, id: string] {
  const slash = key.indexOf('/');
  return [key.slice(0, slash) as ScopeKind, key.slice(slash + 1)];
}

/** What the store holds was checked when it was written. */
function recordOf(value: string, revision: number): ScopeRecord {
  return { ...(JSON.parse(value) as object), revision } as ScopeRecord;
}

/** The last change of a record wins; a deleted device retires its tunnel key. */
function operationsOf(changes: readonly DraftChange[]): Operation[] {
  const operations = new Map<string, Operation>();
  for (const { kind, id, before, after } of changes) {
    const key = `${kind}/${id}`;
    operations.delete(key);
    if (after) operations.set(key, { type: 'put', key, value: JSON.stringify({ ...after, revision: undefined }) });
    else operations.set(key, { type: 'delete', key });
    if (!after && before && 'key' in before) {
      const retired = `${RETIRED_PREFIX}${before.key}`;
      operations.set(retired, { type: 'put', key: retired, value: '' });
    }
  }
  return [...operations.values()];
}
