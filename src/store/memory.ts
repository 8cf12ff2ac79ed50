import { randomUUID } from 'node:crypto';
import { type Clock, systemClock } from '../base/clock.ts';
import type { Engine, EngineChange } from './engine.ts';
import { EngineStore } from './engine-store.ts';
import type { Change, Listing, Store, StoreRecord } from './store.ts';

/** A store without a disk: for tests and for trying things out. */
export function openMemoryStore(clock: Clock = systemClock): Store {
  return new EngineStore(new MemoryEngine(), clock);
}

export class MemoryEngine implements Engine {
  readonly incarnation = randomUUID();
  revision = 0;
  compactedTo = 0;
  readonly #records = new Map<string, StoreRecord & { readonly lease?: string }>();
  readonly #leases = new Map<string, number>();
  #log: Change[] = [];

  get(key: string): StoreRecord | undefined {
    const found = this.#records.get(key);
    return found && { key, revision: found.revision, value: found.value };
  }

  list(prefix: string, after: string | undefined, limit: number | undefined): Listing {
    const keys = [...this.#records.keys()]
      .filter((key) => key.startsWith(prefix) && (after === undefined || key > after))
      .sort();
    const page = limit === undefined ? keys : keys.slice(0, limit);
    return {
      revision: this.revision,
      records: page.map((key) => this.get(key)!),
      ...(page.length < keys.length ? { next: page.at(-1)! } : {}),
    };
  }

  write(changes: readonly EngineChange[]): void {
    for (const { revision, entries } of changes) {
      for (const { key, value, lease } of entries) {
        if (value === undefined) this.#records.delete(key);
        else this.#records.set(key, { key, revision, value, ...(lease === undefined ? {} : { lease }) });
      }
      this.#log.push({ revision, entries });
      this.revision = revision;
    }
  }

  async sync(): Promise<void> {}

  changesAfter(revision: number): Iterable<Change> {
    return this.#log.filter((change) => change.revision > revision);
  }
  compact(upTo: number): void {
    this.compactedTo = Math.max(this.compactedTo, upTo);
    this.#log = this.#log.filter((change) => change.revision > upTo);
  }
  keysOfLease(lease: string): readonly string[] {
    return [...this.#records.values()].filter((record) => record.lease === lease).map((record) => record.key);
  }
  leases(): ReadonlyMap<string, number> {
    return this.#leases;
  }
  putLease(lease: string, durationMs: number): void {
    this.#leases.set(lease, durationMs);
  }
  deleteLease(lease: string): void {
    this.#leases.delete(lease);
  }
  close(): void {}
}
