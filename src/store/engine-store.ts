import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { type Engine, type EngineChange, type EngineEntry, MOST_UNCONFIRMED } from './engine.ts';
import type {
  Change,
  Listing,
  Operation,
  Precondition,
  Store,
  StoreRecord,
  Transaction,
  Watch,
  Written,
} from './store.ts';

interface Waiting {
  readonly transaction: Transaction;
  readonly resolve: (written: Written) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A `Store` over an engine of this process: the queue of transactions, watches and leases. What is written is told at once;
 * one `sync` of the engine after the other follows, each for all that was written until it began.
 */
export class EngineStore implements Store {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #leaseEndsMs = new Map<string, { durationMs: number; endsMs: number }>();
  readonly #closing = new AbortController();
  readonly failure: Promise<WeftError>;
  readonly #fail: (error: WeftError) => void;
  #waiting: Waiting[] = [];
  #isFlushDue = false;
  /** Revision up to which everything is durable. */
  #confirmed: number;
  #syncing: Promise<void> | undefined;
  #failed: WeftError | undefined;
  #reaping = false;
  #closed: Promise<void> | undefined;

  constructor(engine: Engine, clock: Clock) {
    this.#engine = engine;
    this.#clock = clock;
    this.#confirmed = engine.revision;
    const { promise, resolve } = Promise.withResolvers<WeftError>();
    this.failure = promise;
    this.#fail = resolve;
    // Whoever holds a lease was cut off by our restart as well: every lease starts anew.
    for (const [lease, durationMs] of engine.leases())
      this.#leaseEndsMs.set(lease, { durationMs, endsMs: clock.now() + durationMs });
    if (this.#leaseEndsMs.size > 0) void this.#reapLeases();
  }

  get incarnation(): string {
    return this.#engine.incarnation;
  }
  revision(): number {
    return this.#engine.revision;
  }

  async get(key: string): Promise<StoreRecord | undefined> {
    this.#assertOpen();
    return this.#engine.get(key);
  }

  async list(prefix: string, page: { readonly after?: string; readonly limit?: number } = {}): Promise<Listing> {
    this.#assertOpen();
    return this.#engine.list(prefix, page.after, page.limit);
  }

  async write(transaction: Transaction): Promise<Written> {
    this.#assertOpen();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ transaction, resolve, reject });
      this.#flushSoon();
    });
  }

  async transact(transaction: Transaction): Promise<{ readonly revision: number }> {
    const { revision, durable } = await this.write(transaction);
    await durable;
    return { revision };
  }

  async durable(): Promise<void> {
    const { revision } = this.#engine;
    while (this.#confirmed < revision) await this.#sync();
  }

  async watch(after: number, listener: (change: Change) => void): Promise<Watch> {
    this.#assertOpen();
    if (after < this.#engine.compactedTo)
      throw new WeftError(
        'compacted',
        `the log begins after revision ${this.#engine.compactedTo}; ${after} is gone, so list everything again`,
      );
    for (const change of this.#engine.changesAfter(after)) listener(change);
    // A listener that is given twice must be two watches.
    const own = (change: Change): void => listener(change);
    this.#listeners.add(own);
    return { close: () => void this.#listeners.delete(own) };
  }

  async grantLease(durationMs: number): Promise<string> {
    this.#assertOpen();
    const lease = randomUUID();
    this.#engine.putLease(lease, durationMs);
    this.#leaseEndsMs.set(lease, { durationMs, endsMs: this.#clock.now() + durationMs });
    void this.#reapLeases();
    return lease;
  }

  async renewLease(lease: string): Promise<void> {
    const known = this.#leaseEndsMs.get(lease);
    if (!known) throw new WeftError('not-found', `lease ${lease} has expired`);
    known.endsMs = this.#clock.now() + known.durationMs;
  }

  async revokeLease(lease: string): Promise<void> {
    this.#assertOpen();
    this.#leaseEndsMs.delete(lease);
    const operations = this.#engine.keysOfLease(lease).map((key): Operation => ({ type: 'delete', key }));
    if (operations.length > 0) await this.transact({ operations });
    this.#engine.deleteLease(lease);
  }

  async compact(upTo: number): Promise<void> {
    this.#assertOpen();
    this.#engine.compact(Math.min(upTo, this.#engine.revision));
  }

  close(): Promise<void> {
    this.#closed ??= this.#closeOnce();
    return this.#closed;
  }

  async #closeOnce(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#failed) {
      this.#flush();
      await this.durable().catch(() => {});
    }
    this.#closing.abort();
    await this.durable().catch(() => {});
    await this.#syncing?.catch(() => {});
    this.#listeners.clear();
    this.#engine.close();
  }

  #assertOpen(): void {
    if (this.#closing.signal.aborted) throw new WeftError('closed', 'the store is closed');
    if (this.#failed) throw this.#failed;
  }

  /** In the next turn of the event loop: whatever else is ready to be written by then goes with it. */
  #flushSoon(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    setImmediate(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  /** The sync that is on its way or, where none is, a new one. */
  #sync(): Promise<void> {
    this.#syncing ??= this.#syncOnce().finally(() => {
      this.#syncing = undefined;
      if (this.#waiting.length > 0) this.#flushSoon();
    });
    return this.#syncing;
  }

  async #syncOnce(): Promise<void> {
    if (this.#failed) throw this.#failed;
    const { revision } = this.#engine;
    try {
      await this.#engine.sync();
      this.#confirmed = revision;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const text = `the disk did not take what was written (${why}); what it holds counts after a restart`;
      this.#failed = new WeftError('full', text, { cause: error });
      this.#fail(this.#failed);
      for (const { reject } of this.#waiting.splice(0)) reject(this.#failed);
      throw this.#failed;
    }
  }

  /** Writes what waits, tells watches and callers, and makes it durable. */
  #flush(): void {
    const batch = this.#waiting.splice(0, MOST_UNCONFIRMED - (this.#engine.revision - this.#confirmed));
    if (batch.length === 0) return;
    const overlay = new Map<string, number>();
    const accepted: { readonly waiting: Waiting; readonly change?: EngineChange }[] = [];
    let { revision } = this.#engine;
    for (const waiting of batch) {
      const { operations, preconditions } = waiting.transaction;
      const broken = preconditions?.find((p) => !this.#holds(p, overlay));
      const lost = operations.find((o) => o.type === 'put' && o.lease !== undefined && !this.#leaseEndsMs.has(o.lease));
      if (broken) waiting.reject(conflictOf(broken));
      else if (lost) waiting.reject(new WeftError('not-found', 'the lease has expired'));
      else {
        const entries = this.#effective(operations, overlay);
        const change = entries.length > 0 ? { revision: ++revision, entries } : undefined;
        for (const entry of entries) overlay.set(entry.key, entry.value === undefined ? 0 : revision);
        accepted.push({ waiting, ...(change ? { change } : {}) });
      }
    }
    const changes = accepted.flatMap(({ change }) => (change ? [change] : []));
    try {
      if (changes.length > 0) this.#engine.write(changes);
    } catch (error) {
      for (const { waiting } of accepted) waiting.reject(error);
      this.#sync().catch(() => {}); // tells whether it is for good
      return;
    }
    let last = this.#engine.revision - changes.length;
    const durable = this.durable();
    durable.catch(() => {}); // told by `failure`, and to whoever waits
    for (const { waiting, change } of accepted) {
      if (change) {
        last = change.revision;
        for (const listener of this.#listeners) listener(change);
      }
      waiting.resolve({ revision: last, durable });
    }
  }

  /** Revision of a key as the transactions before this one leave it; 0: absent. */
  #revisionOf(key: string, overlay: ReadonlyMap<string, number>): number {
    return overlay.get(key) ?? this.#engine.get(key)?.revision ?? 0;
  }

  #holds(precondition: Precondition, overlay: ReadonlyMap<string, number>): boolean {
    const revision = this.#revisionOf(precondition.key, overlay);
    return revision === (precondition.type === 'absent' ? 0 : precondition.revision);
  }

  /** One entry per key (the last operation wins), without deletions of what is not there. */
  #effective(operations: readonly Operation[], overlay: ReadonlyMap<string, number>): EngineEntry[] {
    const entries = new Map<string, EngineEntry>();
    for (const operation of operations) {
      const { key } = operation;
      entries.delete(key);
      if (operation.type === 'put')
        entries.set(key, {
          key,
          value: operation.value,
          ...(operation.lease === undefined ? {} : { lease: operation.lease }),
        });
      else if (this.#revisionOf(key, overlay) !== 0) entries.set(key, { key });
    }
    return [...entries.values()];
  }

  /** Runs as long as there are leases; revokes each when its time is over. */
  async #reapLeases(): Promise<void> {
    if (this.#reaping) return;
    this.#reaping = true;
    try {
      while (this.#leaseEndsMs.size > 0) {
        const now = this.#clock.now();
        const ended = [...this.#leaseEndsMs].filter(([, lease]) => lease.endsMs <= now);
        for (const [lease] of ended) await this.revokeLease(lease);
        const next = Math.min(...[...this.#leaseEndsMs.values()].map((lease) => lease.endsMs));
        if (Number.isFinite(next))
          await this.#clock.sleep(Math.max(1, Math.min(next - now, 1000)), this.#closing.signal);
      }
    } catch (error) {
      // A full disk: the lease stays and the next grant or restart tries again. A closed store needs nothing more.
      if (!(error instanceof WeftError) && !this.#closing.signal.aborted) throw error;
    } finally {
      this.#reaping = false;
    }
  }
}

function conflictOf(precondition: Precondition): WeftError {
  return new WeftError(
    'conflict',
    precondition.type === 'absent'
      ? `${precondition.key} exists`
      : `${precondition.key} is no longer at revision ${precondition.revision}`,
    { details: { precondition } },
  );
}
