import { DecodeError } from '../base/errors.ts';
import { ATOM_TYPES, type AtomType, type ColumnType, type ReadValue, type Uuid, type WriteValue } from './values.ts';

/**
 * Two views of a schema: the part that the program knows, declared with `defineTable` and giving typed rows, and what a
 * server really has (`decodeSchema` of its `get_schema`). Columns that only one of them has are passed over.
 */

export interface TableDefinition<
  Name extends string = string,
  Columns extends Readonly<Record<string, ColumnType>> = Readonly<Record<string, ColumnType>>,
> {
  readonly name: Name;
  readonly columns: Columns;
}

/** Declares the columns of a table that the program uses; rows are typed from it. */
export function defineTable<const Name extends string, const Columns extends Readonly<Record<string, ColumnType>>>(
  name: Name,
  columns: Columns,
): TableDefinition<Name, Columns> {
  return { name, columns };
}

export type ColumnName<T extends TableDefinition> = keyof T['columns'] & string;

/** A row as read. */
export type Row<T extends TableDefinition> = { readonly _uuid: Uuid } & {
  readonly [K in keyof T['columns']]: ReadValue<T['columns'][K]>;
};

/** Columns to write; those left out keep their value, or in an insert take the default. */
export type RowInput<T extends TableDefinition> = {
  readonly [K in keyof T['columns']]?: WriteValue<T['columns'][K]>;
};

/** What a server says that it has. */
export interface DatabaseSchema {
  readonly name: string;
  readonly version: string;
  readonly tables: ReadonlyMap<string, ReadonlyMap<string, ColumnType>>;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(field: string, detail: string): never {
  throw new DecodeError('bad-value', 0, field, detail);
}

function decodeAtomType(wire: unknown, field: string): AtomType {
  const name = isRecord(wire) ? wire.type : wire;
  return ATOM_TYPES.find((type) => type === name) ?? bad(field, 'an atomic type wanted');
}

/** RFC 7047 §3.2 `<type>`: an atomic type alone, or an object with key, value, min and max. */
function decodeColumnType(wire: unknown, field: string): ColumnType {
  if (!isRecord(wire)) return { shape: 'scalar', key: decodeAtomType(wire, field) };
  const key = decodeAtomType(wire.key, field);
  if (wire.value !== undefined) return { shape: 'map', key, value: decodeAtomType(wire.value, field) };
  if ((wire.max ?? 1) !== 1) return { shape: 'set', key };
  return { shape: wire.min === 0 ? 'optional' : 'scalar', key };
}

/** The result of `get_schema`. Throws `DecodeError('bad-value')` naming the place. */
export function decodeSchema(wire: unknown): DatabaseSchema {
  if (!isRecord(wire)) bad('schema', 'an object wanted');
  const { name, version, tables } = wire;
  if (typeof name !== 'string') bad('schema.name', 'a string wanted');
  if (!isRecord(tables)) bad('schema.tables', 'an object wanted');
  const decoded = new Map<string, ReadonlyMap<string, ColumnType>>();
  for (const [table, definition] of Object.entries(tables)) {
    const columns = isRecord(definition) ? definition.columns : undefined;
    if (!isRecord(columns)) bad(`schema.${table}`, 'columns wanted');
    const types = new Map<string, ColumnType>();
    for (const [column, about] of Object.entries(columns))
      types.set(column, decodeColumnType(isRecord(about) ? about.type : undefined, `schema.${table}.${column}`));
    decoded.set(table, types);
  }
  return { name, version: typeof version === 'string' ? version : '', tables: decoded };
}

/** Do two column types have the same notation? */
export function sameType(a: ColumnType, b: ColumnType): boolean {
  return (
    a.shape === b.shape &&
    a.key === b.key &&
    (a.shape === 'map' ? a.value : undefined) === (b.shape === 'map' ? b.value : undefined)
  );
}
