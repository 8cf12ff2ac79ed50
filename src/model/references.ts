import type { KindName } from './kind.ts';
import { KINDS } from './kinds.ts';
import type { AnyObject } from './objects.ts';
import { textsAt } from './paths.ts';

/** What an object refers to, as ids, its tenant included; `path` is the field. */
export function* referencesOf(
  object: AnyObject,
): Iterable<{ readonly path: string; readonly kind: KindName; readonly id: string }> {
  if (object.tenant !== undefined) yield { path: 'tenant', kind: 'tenant', id: object.tenant };
  for (const reference of KINDS[object.kind].references)
    for (const { path, text } of textsAt(object, reference.path)) yield { path, kind: reference.kind, id: text };
}
