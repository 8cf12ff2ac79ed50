/** The usual ways to merge contributions, for `Sink.merge`. */
import type { Contributed, Report } from './definitions.ts';
import { compareText, equalValues } from './values.ts';

/** All contributions have to be the same. Where they are not the first unit's holds, and each that differs is reported with it. */
export function mergeEqual<V>(contributions: readonly Contributed<V>[], report: Report): V {
  const first = contributions[0]!;
  for (const other of contributions) {
    if (equalValues(first.value, other.value)) continue;
    report(`${first.unit} and ${other.unit} contribute different values`, [first.unit, other.unit]);
  }
  return first.value;
}

/** Lists become one list, sorted, each item (told apart by `keyOf`) once. */
export function mergeUnion<V>(
  keyOf: (item: V) => string,
): (contributions: readonly Contributed<readonly V[]>[]) => V[] {
  return (contributions) => {
    const items = new Map<string, V>();
    for (const { value } of contributions) {
      for (const item of value) {
        const key = keyOf(item);
        if (!items.has(key)) items.set(key, item);
      }
    }
    return [...items].sort((a, b) => compareText(a[0], b[0])).map(([, item]) => item);
  };
}
