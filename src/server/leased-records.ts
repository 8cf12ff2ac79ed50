import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../base/clock.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type {
  KeptClients,
  LearnedAddress,
  LearnedRoutes,
  LearnedSet,
  MemberHealth,
  Neighbour,
  NextHopState,
} from '../model/objects.ts';
import type { RecordChange } from './desired-state.ts';

/** What hosts see and nobody wrote: most of it is gone when its host goes silent, and comes again with its next connection. */
export type LeasedRecord =
  | LearnedAddress
  | MemberHealth
  | KeptClients
  | Neighbour
  | LearnedSet
  | LearnedRoutes
  | NextHopState;
export type LeasedKind = LeasedRecord['kind'];
export const LEASED_KINDS: ReadonlySet<string> = new Set<LeasedKind>([
  ...(['learned', 'memberHealth', 'keptClients', 'neighbour', 'learnedSet', 'learnedRoutes', 'nextHopState'] as const),
]);

type WithoutRevision<R extends LeasedRecord> = R extends LeasedRecord ? Omit<R, 'revision'> : never;

/** The leased records in the index: each belongs to the host that reported it last. */
export class LeasedRecords {
  readonly #index: ModelIndex;
  /** Host → kind → ids. */
  readonly #ofHost = new Map<string, Map<LeasedKind, Set<string>>>();
  /** Kind, host and router → how many learned routes, or sets of next hops. */
  readonly #learned = new Map<string, number>();
  /** Grows over restarts of the server too, so that a digest never takes an old record for a new one. */
  #revision: number;

  constructor(index: ModelIndex, clock: Clock) {
    this.#index = index;
    this.#revision = clock.now() * 1000;
  }

  /** The host's lease on a record begins, whoever had it before. Nothing changed: an empty list. */
  put(record: WithoutRevision<LeasedRecord>): readonly RecordChange[] {
    const { kind, id } = record;
    const before = this.#index.get(kind, id) as LeasedRecord | undefined;
    if (before && isSame(before, record)) return [];
    if (before) this.#ofHost.get(before.host)?.get(kind)?.delete(id);
    const after = { ...record, revision: ++this.#revision } as LeasedRecord;
    this.#index.put(after);
    this.#idsOf(record.host, kind).add(id);
    if (before) this.#countLearned(before, -1);
    this.#countLearned(after, 1);
    return [{ kind, id, after, ...(before ? { before } : {}) }];
  }

  /** Only its holder can end a lease: the record may have been seen elsewhere since. */
  end(hostId: string, kind: LeasedKind, id: string): readonly RecordChange[] {
    const record = this.#index.get(kind, id) as LeasedRecord | undefined;
    return record?.host === hostId ? this.remove([record]) : [];
  }

  /** Some of what the host has of these kinds; none: an empty list. */
  endSome(hostId: string, kinds: readonly LeasedKind[], most: number): readonly RecordChange[] {
    const records: LeasedRecord[] = [];
    for (const kind of kinds)
      for (const id of this.#ofHost.get(hostId)?.get(kind) ?? []) {
        if (records.length === most) break;
        const record = this.#index.get(kind, id) as LeasedRecord | undefined;
        if (record) records.push(record);
      }
    return this.remove(records);
  }

  /** All that the host has of these kinds (of all, where none are given), but for those to keep. */
  endAll(
    hostId: string,
    only?: readonly LeasedKind[],
    except: ReadonlySet<string> = new Set(),
  ): readonly RecordChange[] {
    const records: LeasedRecord[] = [];
    for (const [kind, ids] of this.#ofHost.get(hostId) ?? [])
      if (only === undefined || only.includes(kind))
        for (const id of ids) {
          const record = except.has(id) ? undefined : (this.#index.get(kind, id) as LeasedRecord | undefined);
          if (record) records.push(record);
        }
    return this.remove(records);
  }

  remove(records: readonly LeasedRecord[]): readonly RecordChange[] {
    return records.map((before) => {
      const { kind, id, host } = before;
      this.#index.delete(kind, id);
      this.#ofHost.get(host)?.get(kind)?.delete(id);
      this.#countLearned(before, -1);
      return { kind, id, before };
    });
  }

  /** Learned routes of a router that the host has reported, or sets of next hops. */
  count(kind: 'learnedRoutes' | 'learnedSet', hostId: string, routerId: string): number {
    return this.#learned.get(`${kind} ${hostId} ${routerId}`) ?? 0;
  }

  #countLearned(record: LeasedRecord, by: 1 | -1): void {
    if (record.kind !== 'learnedRoutes' && record.kind !== 'learnedSet') return;
    const name = `${record.kind} ${record.host} ${record.router}`;
    const count = (this.#learned.get(name) ?? 0) + by * (record.kind === 'learnedSet' ? 1 : record.count);
    if (count === 0) this.#learned.delete(name);
    else this.#learned.set(name, count);
  }

  #idsOf(hostId: string, kind: LeasedKind): Set<string> {
    const ofHost = this.#ofHost.get(hostId) ?? new Map<LeasedKind, Set<string>>();
    this.#ofHost.set(hostId, ofHost);
    const ids = ofHost.get(kind) ?? new Set();
    ofHost.set(kind, ids);
    return ids;
  }
}

function isSame(record: LeasedRecord, wanted: WithoutRevision<LeasedRecord>): boolean {
  const fields = record as unknown as Record<string, unknown>;
  // A revision more, and no other field.
  if (Object.keys(fields).length !== Object.keys(wanted).length + 1) return false;
  return Object.entries(wanted).every(
    ([name, value]) => fields[name] === value || (typeof value === 'object' && isDeepStrictEqual(fields[name], value)),
  );
}
