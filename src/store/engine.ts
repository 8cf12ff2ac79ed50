import type { Change, Listing, StoreRecord } from './store.ts';

/** What a store in this process keeps its records in; everything is synchronous. `engine-store.ts` makes it a `Store`. */
export interface Engine {
  readonly incarnation: string;
  /** Revision of the last change. */
  readonly revision: number;
  /** The log holds the changes after this revision. */
  readonly compactedTo: number;

  get(key: string): StoreRecord | undefined;
  list(prefix: string, after: string | undefined, limit: number | undefined): Listing;
  /** Durable, all or nothing, when it returns. Throws `WeftError` (`full`), having written nothing. */
  write(changes: readonly EngineChange[]): void;
  changesAfter(revision: number): Iterable<Change>;
  compact(upTo: number): void;

  keysOfLease(lease: string): readonly string[];
  /** Lease → duration. */
  leases(): ReadonlyMap<string, number>;
  putLease(lease: string, durationMs: number): void;
  deleteLease(lease: string): void;
  close(): void;
}

export interface EngineChange {
  readonly revision: number;
  readonly entries: readonly EngineEntry[];
}

export interface EngineEntry {
  readonly key: string;
  /** Absent: deleted. */
  readonly value?: string;
  readonly lease?: string;
}
