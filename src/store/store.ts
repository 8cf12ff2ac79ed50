import type { WeftError } from '../base/errors.ts';

/**
 * Desired state, durably. Owned by `src/store`: keys, values, revisions, transactions, watches and leases. Not here:
 * what the values mean (`model`), and state that changes by itself (`server/runtime.ts`), which never comes here.
 *
 * A value is JSON text under a key such as `port/<id>`. Every transaction that changes something gets the next
 * revision, and each of its keys that revision. Implementations: `sqlite.ts` and `memory.ts`; `contract.ts` is what all
 * must do.
 */
export interface Store {
  /** Changes when the store is created anew or restored from a backup: revisions of another incarnation mean nothing. */
  readonly incarnation: string;
  /** The revision of the last change. */
  revision(): number;

  get(key: string): Promise<StoreRecord | undefined>;
  /** Records whose key begins with `prefix`, by key, as of one revision. */
  list(prefix: string, page?: { readonly after?: string; readonly limit?: number }): Promise<Listing>;

  /**
   * All or nothing. Resolves once readers and watches see the change, which is a moment before it is durable.
   * Errors: `conflict` (a precondition does not hold), `full` (disk full: the store goes on for readers and takes writes
   * again once there is room), `closed`.
   */
  write(transaction: Transaction): Promise<Written>;
  /** `write`, once it is durable. */
  transact(transaction: Transaction): Promise<{ readonly revision: number }>;
  /** Resolves once everything is durable that was written until now. Transactions share flushes to the disk. */
  durable(): Promise<void>;
  /**
   * Resolves, if ever, when the disk did not take what had been told to readers and watches: nothing is taken any more, and
   * whoever uses the store has to read anew what the disk has.
   */
  readonly failure: Promise<WeftError>;

  /**
   * Calls `listener` once per transaction after `after`, in order, each whole: first those that the log holds (before
   * this resolves), then each new one as soon as it is written and before its `write` resolves. A crash of the machine
   * within the moment before it is durable takes it back; its revision is not given out again.
   * Errors: `compacted` when the log no longer reaches back to `after`.
   */
  watch(after: number, listener: (change: Change) => void): Promise<Watch>;

  /** A lease: keys put with its id are deleted together when it expires or is revoked. */
  grantLease(durationMs: number): Promise<string>;
  /** Starts the duration anew. Errors: `not-found` when it has expired. */
  renewLease(lease: string): Promise<void>;
  revokeLease(lease: string): Promise<void>;

  /** Forgets the log up to and including `upTo`; records stay. */
  compact(upTo: number): Promise<void>;
  close(): Promise<void>;
}

export interface Written {
  readonly revision: number;
  readonly durable: Promise<void>;
}

export interface StoreRecord {
  readonly key: string;
  /** Revision of the last change of this key. */
  readonly revision: number;
  readonly value: string;
}

export interface Listing {
  readonly revision: number;
  readonly records: readonly StoreRecord[];
  /** Pass it as `after` for the next page; absent on the last. */
  readonly next?: string;
}

export interface Transaction {
  readonly operations: readonly Operation[];
  readonly preconditions?: readonly Precondition[];
}

export type Operation =
  | { readonly type: 'put'; readonly key: string; readonly value: string; readonly lease?: string }
  | { readonly type: 'delete'; readonly key: string };

export type Precondition =
  /**
   * The key was last changed at exactly this revision. A *generation key* is an ordinary key that every transaction of
   * a domain rewrites: holding it still at a revision proves that nobody else changed the domain since.
   */
  | { readonly type: 'revision'; readonly key: string; readonly revision: number }
  | { readonly type: 'absent'; readonly key: string };

/** What one transaction did. `value` is absent for a deletion. */
export interface Change {
  readonly revision: number;
  readonly entries: readonly { readonly key: string; readonly value?: string }[];
}

export interface Watch {
  close(): void;
}

/** The key that sorts behind every key with the prefix. */
export function endOfPrefix(prefix: string): string {
  return `${prefix}\u{10ffff}`;
}
