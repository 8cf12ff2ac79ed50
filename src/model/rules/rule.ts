import type { DraftChange } from '../draft.ts';
import type { KindName } from '../kind.ts';
import type { ModelIndex } from '../model-index.ts';
import type { ObjectOfKind } from '../objects.ts';
import type { Problem } from '../problem.ts';

/** Looks at a change on the model after it, and reports what it broke. */
export type Rule = (index: ModelIndex, changes: readonly DraftChange[], report: (problem: Problem) => void) => void;

/** The changes that created or changed an object of a kind, with both states. */
export function* written<K extends KindName>(
  changes: readonly DraftChange[],
  kind: K,
): Iterable<{ readonly before?: ObjectOfKind[K]; readonly after: ObjectOfKind[K] }> {
  for (const change of changes)
    if (change.kind === kind && change.after)
      yield change as unknown as { readonly before?: ObjectOfKind[K]; readonly after: ObjectOfKind[K] };
}
