import { DecodeError } from '../base/errors.ts';
import { meetsAny } from './conditions.ts';
import { type AnyCondition, type Condition, columnType } from './operations.ts';
import { type ColumnName, type DatabaseSchema, isRecord, type Row, sameType, type TableDefinition } from './schema.ts';
import {
  applyDifference,
  type ColumnType,
  decodeValue,
  defaultValue,
  equalValues,
  isUuid,
  type Uuid,
  type Value,
} from './values.ts';

/**
 * A copy of part of a database, kept up to date from a monitor's replies and notifications. Pure: bytes come and go
 * elsewhere. Rows are never changed in place; a row that changes is a new object, a row that does not stays the same one.
 */

/** Part of a table: some columns of the rows that meet any of `where` (all rows without it). */
export interface Watched<T extends TableDefinition = TableDefinition, C extends ColumnName<T> = ColumnName<T>> {
  readonly table: T;
  readonly columns: readonly C[];
  readonly where?: readonly AnyCondition[] | undefined;
}

export function watch<T extends TableDefinition, const C extends ColumnName<T>>(
  table: T,
  columns: readonly C[],
  where?: readonly Condition<T>[],
): Watched<T, C> {
  return { table, columns, where };
}

type TableOf<W> = W extends Watched<infer T, infer _> ? T : never;
export type WatchedName<W> = TableOf<W>['name'];
export type WatchedRow<W> = W extends Watched<infer T, infer C> ? Pick<Row<T>, C | '_uuid'> : never;

/** What happened to one row; `old` is the row before. */
export type RowChange<W> =
  W extends Watched<infer T, infer C>
    ?
        | { readonly kind: 'insert'; readonly table: T['name']; readonly uuid: Uuid; readonly row: WatchedRow<W> }
        | {
            readonly kind: 'modify';
            readonly table: T['name'];
            readonly uuid: Uuid;
            readonly row: WatchedRow<W>;
            readonly old: WatchedRow<W>;
            /** Those that differ. */
            readonly columns: readonly C[];
          }
        | { readonly kind: 'delete'; readonly table: T['name']; readonly uuid: Uuid; readonly old: WatchedRow<W> }
    : never;

/** The three forms in which servers report rows. */
export type UpdateFormat =
  /** RFC 7047 `<table-updates>`: old and new values. */
  | 'plain'
  /** ovsdb-server(7) `<table-updates2>`: differences. */
  | 'differences';

type AnyRow = { readonly _uuid: Uuid } & Readonly<Record<string, Value>>;
type AnyChange =
  | { readonly kind: 'insert'; readonly table: string; readonly uuid: Uuid; readonly row: AnyRow }
  | {
      readonly kind: 'modify';
      readonly table: string;
      readonly uuid: Uuid;
      readonly row: AnyRow;
      readonly old: AnyRow;
      readonly columns: readonly string[];
    }
  | { readonly kind: 'delete'; readonly table: string; readonly uuid: Uuid; readonly old: AnyRow };

interface TableState {
  readonly watched: Watched;
  readonly rows: Map<Uuid, AnyRow>;
  /** Columns that the server has too. */
  available: ReadonlyMap<string, ColumnType>;
  /** All watched columns at their defaults: copied for a new row, so that all rows share one hidden class. */
  readonly template: Readonly<Record<string, Value>>;
}

function bad(field: string, detail: string): never {
  throw new DecodeError('bad-value', 0, field, detail);
}

export class Replica<W extends Watched = Watched> {
  readonly #tables = new Map<string, TableState>();

  constructor(watched: readonly W[]) {
    for (const one of watched) {
      const template: Record<string, Value> = { _uuid: undefined };
      const available = new Map<string, ColumnType>();
      for (const column of one.columns) {
        const type = columnType(one.table, column);
        available.set(column, type);
        template[column] = defaultValue(type);
      }
      this.#tables.set(one.table.name, { watched: one as Watched, rows: new Map(), available, template });
    }
  }

  /** The rows of a table by id. The map is live: it changes with the next batch. */
  table<N extends WatchedName<W>>(
    name: N,
  ): { readonly rows: ReadonlyMap<Uuid, WatchedRow<Extract<W, { readonly table: { readonly name: N } }>>> } {
    return { rows: this.#tables.get(name)!.rows as ReadonlyMap<Uuid, unknown> as ReadonlyMap<Uuid, never> };
  }

  /**
   * Passes over the watched columns that a server lacks, or has with another type: they read as their defaults. Returns
   * their names, and those of tables that it lacks altogether.
   */
  adaptTo(schema: DatabaseSchema): { readonly missingTables: string[]; readonly missingColumns: string[] } {
    const missingTables: string[] = [];
    const missingColumns: string[] = [];
    for (const [name, state] of this.#tables) {
      const columns = schema.tables.get(name);
      if (!columns) missingTables.push(name);
      const available = new Map<string, ColumnType>();
      for (const column of state.watched.columns) {
        const type = columnType(state.watched.table, column);
        const theirs = columns?.get(column);
        if (theirs && sameType(type, theirs)) available.set(column, type);
        else if (columns) missingColumns.push(`${name}.${column}`);
      }
      state.available = available;
    }
    return { missingTables, missingColumns };
  }

  /** Names of the columns to ask the server for; with `forConditions` also those that conditions need evaluated here. */
  columnsToAsk(table: string, forConditions: boolean): string[] {
    const { available, watched } = this.#tables.get(table)!;
    const columns = new Set(available.keys());
    if (forConditions) for (const [column] of watched.where ?? []) if (column !== '_uuid') columns.add(column);
    return [...columns];
  }

  /**
   * Takes in a full copy: what differs from the rows held, including those that are gone, becomes one batch of changes.
   * Throws `DecodeError` and changes nothing where `wire` is not what a monitor replies.
   */
  replaceAll(wire: unknown, format: UpdateFormat): readonly RowChange<W>[] {
    const updates = tableUpdates(wire);
    const changes: AnyChange[] = [];
    for (const [name, state] of this.#tables) {
      const present = new Set<Uuid>();
      for (const [uuid, update] of rowUpdates(updates[name], name)) {
        const row = format === 'plain' ? plainNew(state, uuid, update) : differencesNew(state, uuid, update);
        if (!row) continue;
        present.add(uuid);
        pushReplacement(changes, state, uuid, row);
      }
      for (const [uuid, old] of state.rows)
        if (!present.has(uuid)) changes.push({ kind: 'delete', table: name, uuid, old });
    }
    return this.#commit(changes);
  }

  /** Takes in one notification, or the difference that a resumed monitor starts with. Throws like `replaceAll`. */
  apply(wire: unknown, format: UpdateFormat): readonly RowChange<W>[] {
    const changes: AnyChange[] = [];
    for (const [name, tableUpdate] of Object.entries(tableUpdates(wire))) {
      const state = this.#tables.get(name) ?? bad(name, 'a table that is not monitored');
      for (const [uuid, update] of rowUpdates(tableUpdate, name))
        if (format === 'plain') stagePlain(changes, state, uuid, update);
        else stageDifferences(changes, state, uuid, update);
    }
    return this.#commit(changes);
  }

  #commit(changes: readonly AnyChange[]): readonly RowChange<W>[] {
    for (const change of changes) {
      const { rows } = this.#tables.get(change.table)!;
      if (change.kind === 'delete') rows.delete(change.uuid);
      else rows.set(change.uuid, change.row);
    }
    return changes as readonly unknown[] as readonly RowChange<W>[];
  }
}

function tableUpdates(wire: unknown): Record<string, unknown> {
  return isRecord(wire) ? wire : bad('table-updates', 'an object wanted');
}

function* rowUpdates(wire: unknown, table: string): Generator<[Uuid, Record<string, unknown>]> {
  if (wire === undefined) return;
  if (!isRecord(wire)) bad(table, 'an object of rows wanted');
  for (const uuid in wire) {
    const update = wire[uuid];
    if (!isUuid(uuid)) bad(table, `'${uuid}' is not a UUID`);
    if (!isRecord(update)) bad(table, 'a row update wanted');
    yield [uuid, update];
  }
}

function newRow(state: TableState, uuid: Uuid, wire: unknown): AnyRow {
  const table = state.watched.table.name;
  if (!isRecord(wire)) bad(table, 'a row wanted');
  const row: Record<string, Value> = { ...state.template };
  row._uuid = uuid;
  for (const [column, type] of state.available) {
    const value = wire[column];
    if (value !== undefined) row[column] = decodeValue(type, value, column);
  }
  return row as AnyRow;
}

/** The row of an `initial` or `insert` of `<row-update2>`; columns at their default are left out there. */
function differencesNew(state: TableState, uuid: Uuid, update: Record<string, unknown>): AnyRow {
  const wire = update.initial ?? update.insert ?? bad(state.watched.table.name, 'an initial row wanted');
  return newRow(state, uuid, wire);
}

/** The `new` of `<row-update>`, unless it meets no condition. */
function plainNew(state: TableState, uuid: Uuid, update: Record<string, unknown>): AnyRow | undefined {
  const { table, where } = state.watched;
  if (update.new === undefined) return undefined;
  const row = newRow(state, uuid, update.new);
  if (!where?.length) return row;
  const judged: Record<string, Value> = { _uuid: uuid };
  for (const [column] of where) {
    const type = columnType(table, column);
    const value = (update.new as Record<string, unknown>)[column];
    if (column !== '_uuid')
      judged[column] = value === undefined ? defaultValue(type) : decodeValue(type, value, column);
  }
  return meetsAny(table, where, judged) ? row : undefined;
}

function pushReplacement(changes: AnyChange[], state: TableState, uuid: Uuid, row: AnyRow): void {
  const table = state.watched.table.name;
  const old = state.rows.get(uuid);
  if (!old) {
    changes.push({ kind: 'insert', table, uuid, row });
    return;
  }
  const columns = state.watched.columns.filter((column) => !equalValues(old[column], row[column]));
  if (columns.length > 0) changes.push({ kind: 'modify', table, uuid, row, old, columns });
}

function pushDelete(changes: AnyChange[], state: TableState, uuid: Uuid): void {
  const old = state.rows.get(uuid);
  if (old) changes.push({ kind: 'delete', table: state.watched.table.name, uuid, old });
}

function stagePlain(changes: AnyChange[], state: TableState, uuid: Uuid, update: Record<string, unknown>): void {
  const row = plainNew(state, uuid, update);
  if (row) pushReplacement(changes, state, uuid, row);
  else if (update.old !== undefined || update.new !== undefined) pushDelete(changes, state, uuid);
  else bad(state.watched.table.name, 'neither old nor new in a row update');
}

function stageDifferences(changes: AnyChange[], state: TableState, uuid: Uuid, update: Record<string, unknown>): void {
  const table = state.watched.table.name;
  if ('delete' in update) return pushDelete(changes, state, uuid);
  if (!('modify' in update)) return pushReplacement(changes, state, uuid, differencesNew(state, uuid, update));
  const old = state.rows.get(uuid) ?? bad(table, `row ${uuid} is modified but was never inserted`);
  const { modify } = update;
  if (!isRecord(modify)) bad(table, 'a row wanted');
  const columns: string[] = [];
  const row: Record<string, Value> = { ...old };
  for (const column in modify) {
    const type = state.available.get(column);
    if (!type) continue;
    row[column] = applyDifference(type, old[column], decodeValue(type, modify[column], column));
    if (!equalValues(old[column], row[column])) columns.push(column);
  }
  if (columns.length > 0) changes.push({ kind: 'modify', table, uuid, row: row as AnyRow, old, columns });
}
