import type { KindName } from './kind.ts';
import type { ModelIndex } from './model-index.ts';
import type { AnyObject, Binding, NatLease, NatMove, ScopeKind, ScopeRecord } from './objects.ts';

/** Records that a draft may change: what people write, bindings, leases of ports, and connections that moved. */
export type DraftRecord = AnyObject | Binding | NatLease | NatMove;

export interface DraftChange {
  readonly kind: DraftRecord['kind'];
  readonly id: string;
  /** As it was before the draft; absent: created. */
  readonly before?: DraftRecord;
  /** As the draft leaves it; absent: deleted. */
  readonly after?: DraftRecord;
}

/**
 * A change in the making. It works on the real index, so that rules and allocation see the state as it would be, and
 * takes everything back on `rollback`. Nobody else may look at the index in between: a draft lives within one turn of
 * the event loop.
 */
export class Draft {
  readonly index: ModelIndex;
  readonly #before = new Map<
    string,
    { readonly kind: ScopeKind; readonly id: string; readonly record?: ScopeRecord }
  >();

  constructor(index: ModelIndex) {
    this.index = index;
  }

  put(record: DraftRecord): void {
    this.#note(record.kind, record.id, this.index.put(record));
  }

  delete(kind: DraftRecord['kind'], id: string): void {
    const before = this.index.delete(kind, id);
    if (before) this.#note(kind, id, before);
  }

  /** Was the object already changed by this draft? */
  hasTouched(kind: KindName, id: string): boolean {
    return this.#before.has(`${kind}/${id}`);
  }

  /** One per record touched, in the order of the first touch; without those that came and went within the draft. */
  changes(): readonly DraftChange[] {
    const changes: DraftChange[] = [];
    for (const { kind, id, record } of this.#before.values()) {
      const after = this.index.get(kind, id) as DraftRecord | undefined;
      if (record === undefined && after === undefined) continue;
      changes.push({
        kind: kind as DraftRecord['kind'],
        id,
        ...(record ? { before: record as DraftRecord } : {}),
        ...(after ? { after } : {}),
      });
    }
    return changes;
  }

  rollback(): void {
    for (const { kind, id, record } of [...this.#before.values()].reverse()) {
      if (record) this.index.put(record);
      else this.index.delete(kind, id);
    }
    this.#before.clear();
  }

  #note(kind: ScopeKind, id: string, before: ScopeRecord | undefined): void {
    const key = `${kind}/${id}`;
    if (!this.#before.has(key)) this.#before.set(key, { kind, id, ...(before ? { record: before } : {}) });
  }
}
