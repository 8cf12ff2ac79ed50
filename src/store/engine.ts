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
  /**
   * All or nothing; survives the end of this process when it returns, that of the machine after `sync`. Throws `WeftError`
   * (`full`), having written nothing: until there is room or, where `sync` rejects too, for good.
   */
  write(changes: readonly EngineChange[]): void;
  /** Makes durable what was written before the call. Rejects when the disk did not take it: what it has then is unknown. */
  sync(): Promise<void>;
  changesAfter(revision: number): Iterable<Change>;
  compact(upTo: number): void;

  keysOfLease(lease: string): readonly string[];
  /** Lease → duration. */
  leases(): ReadonlyMap<string, number>;
  putLease(lease: string, durationMs: number): void;
  deleteLease(lease: string): void;
  /** Everything was made durable, or never will be. */
  close(): void;
}

/**
 * So many revisions at most are told of before they are durable; a store that was not closed goes on so many further, so
 * that none which somebody may have seen is given out twice.
 */
export const MOST_UNCONFIRMED = 1000;

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
