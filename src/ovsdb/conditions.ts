import type { AnyCondition } from './operations.ts';
import type { TableDefinition } from './schema.ts';
import type { Atom, ColumnType, Value } from './values.ts';

/**
 * Evaluates conditions as the server does (RFC 7047 §5.1 `<condition>`), for servers that only know the plain `monitor`.
 */

/** Does any of the conditions hold? None at all means every row (ovsdb-server(7) §4.1.12). */
export function meetsAny(
  table: TableDefinition,
  where: readonly AnyCondition[] | undefined,
  row: Readonly<Record<string, Value>>,
): boolean {
  return !where?.length || where.some((condition) => meets(table, condition, row));
}

function meets(table: TableDefinition, [column, comparison, given]: AnyCondition, row: Record<string, Value>): boolean {
  const type: ColumnType = column === '_uuid' ? { shape: 'scalar', key: 'uuid' } : table.columns[column]!;
  const value = pairs(type, row[column]);
  const wanted = pairs(type, given as Value);
  switch (comparison) {
    case '==':
      return equal(value, wanted);
    case '!=':
      return !equal(value, wanted);
    case 'includes':
      // Of what is single, `includes` is equality.
      return includes(value, wanted);
    case 'excludes':
      return excludes(value, wanted);
    default: {
      const [left, right] = [value.keys().next().value, wanted.keys().next().value];
      if (typeof left !== 'number' || typeof right !== 'number') return false;
      if (comparison === '<') return left < right;
      if (comparison === '<=') return left <= right;
      if (comparison === '>') return left > right;
      return left >= right;
    }
  }
}

/** Every shape as a map, a set's elements having themselves as values. */
function pairs(type: ColumnType, value: Value | Readonly<Record<string, Atom>>): ReadonlyMap<Atom, Atom> {
  if (value === undefined) return new Map();
  if (type.shape === 'map')
    return value instanceof Map ? value : new Map(Object.entries(value as Record<string, Atom>));
  const atoms = Array.isArray(value) ? (value as readonly Atom[]) : [value as Atom];
  return new Map(atoms.map((atom) => [atom, atom]));
}

function includes(value: ReadonlyMap<Atom, Atom>, wanted: ReadonlyMap<Atom, Atom>): boolean {
  for (const [key, item] of wanted) if (value.get(key) !== item) return false;
  return true;
}

function excludes(value: ReadonlyMap<Atom, Atom>, unwanted: ReadonlyMap<Atom, Atom>): boolean {
  for (const [key, item] of unwanted) if (value.get(key) === item) return false;
  return true;
}

function equal(a: ReadonlyMap<Atom, Atom>, b: ReadonlyMap<Atom, Atom>): boolean {
  return a.size === b.size && includes(a, b);
}
