import { describe, type Names, qualifiedName } from '../describe.ts';
import { KINDS } from '../kinds.ts';
import type { AnyObject, ScopeKind, ScopeRecordOfKind } from '../objects.ts';
import { patternOf } from '../paths.ts';
import { referencesOf } from '../references.ts';
import { isObject } from '../relations.ts';
import type { Rule } from './rule.ts';

/** How many referrers one problem names; the rest is counted. */
const MOST_NAMED = 20;

/** Every reference leads to an object, of the same tenant where that is asked; nothing referred to is deleted. */
export const checkReferences: Rule = (index, changes, report) => {
  const deleted = new Map<string, AnyObject>();
  for (const { kind, id, before, after } of changes)
    if (!after && before && isObject(before)) deleted.set(`${kind}/${id}`, before);
  // What is being deleted still has a name.
  const names: Names = {
    get: <K extends ScopeKind>(kind: K, id: string) =>
      index.get(kind, id) ?? (deleted.get(`${kind}/${id}`) as ScopeRecordOfKind[K] | undefined),
  };
  for (const before of deleted.values()) {
    const { kind, id } = before;
    const referrers = index.referrerCount(kind, id);
    if (referrers === 0) continue;
    report({
      object: describe(names, before),
      path: '',
      code: 'in-use',
      message: `is in use by ${nameSome(names, index.referrersOf(kind, id), referrers)}`,
      hint: 'delete or change those first',
    });
  }
  for (const { after } of changes) {
    if (!after || !isObject(after)) continue;
    for (const { path, kind, id } of referencesOf(after)) {
      const target = index.get(kind, id);
      const pattern = patternOf(path);
      const reference = KINDS[after.kind].references.find((r) => r.path === pattern);
      if (!target) {
        // A target that this change deletes has been reported above, with all that refers to it.
        if (!deleted.has(`${kind}/${id}`))
          report({ object: describe(index, after), path, code: 'reference', message: `there is no ${kind} ${id}` });
      } else if (reference?.sameTenant && target.tenant !== after.tenant)
        report({
          object: describe(index, after),
          path,
          code: 'cross-tenant',
          message: `${describe(index, target)} belongs to another tenant`,
        });
    }
  }
};

function nameSome(view: Names, objects: Iterable<AnyObject>, count: number): string {
  const names: string[] = [];
  for (const object of objects) {
    if (names.length === MOST_NAMED) break;
    names.push(`${object.kind} ${qualifiedName(view, object)}`);
  }
  return names.join(', ') + (count > names.length ? ` and ${count - names.length} more` : '');
}
