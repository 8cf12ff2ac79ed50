import { DecodeError, WeftError } from '../base/errors.ts';
import { type ColumnName, isRecord, type Row, type RowInput, type TableDefinition } from './schema.ts';
import {
  type AtomType,
  type AtomTypes,
  type ColumnType,
  decodeValue,
  defaultValue,
  encodeValue,
  type MapType,
  type NamedUuid,
  named,
  type SetType,
  scalar,
  setOf,
  type Uuid,
  type Value,
  type WriteValue,
} from './values.ts';

/**
 * The operations of a transaction (RFC 7047 §5.2), typed by the tables they touch. Each knows how to read its own part
 * of the reply, so `transact` gives a tuple of results.
 */
export interface Operation<Result = unknown> {
  /** As sent. */
  readonly wire: { readonly op: string; readonly table?: string } & Readonly<Record<string, unknown>>;
  /** Throws `DecodeError` where the server's result is not what the operation gives. */
  readonly decodeResult: (result: Record<string, unknown>) => Result;
}

export type OperationResult<O> = O extends Operation<infer Result> ? Result : never;

export type ComparisonFunction = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'includes' | 'excludes';

/** `[column, function, value]` (RFC 7047 §5.1 `<condition>`). */
export type Condition<T extends TableDefinition> =
  | {
      [K in ColumnName<T>]: readonly [K, ComparisonFunction, WriteValue<T['columns'][K]>];
    }[ColumnName<T>]
  | readonly ['_uuid', '==' | '!=', Uuid | NamedUuid];

/** A condition of whatever table: its types were checked where it was written. */
export type AnyCondition = readonly [column: string, comparison: ComparisonFunction, value: unknown];

type MapKeys<C> = C extends MapType<infer K, AtomType> ? readonly AtomTypes[K][] : never;

/** `[column, mutator, value]` (RFC 7047 §5.1 `<mutation>`). `delete` takes from a map by keys, or by pairs. */
export type Mutation<T extends TableDefinition> = {
  [K in ColumnName<T>]: T['columns'][K] extends SetType | MapType
    ? readonly [K, 'insert' | 'delete', WriteValue<T['columns'][K]>] | readonly [K, 'delete', MapKeys<T['columns'][K]>]
    : readonly [K, '+=' | '-=' | '*=' | '/=' | '%=', number];
}[ColumnName<T>];

const UUID_TYPE = scalar('uuid');

/** The type of a column. Throws `WeftError('invalid')` for one that the table does not declare. */
export function columnType(table: TableDefinition, column: string): ColumnType {
  const type = column === '_uuid' ? UUID_TYPE : table.columns[column];
  if (!type) throw new WeftError('invalid', `${table.name} has no column '${column}'`);
  return type;
}

function encodeRow(table: TableDefinition, row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const wire: Record<string, unknown> = {};
  for (const [column, value] of Object.entries(row))
    wire[column] = encodeValue(columnType(table, column), value, `${table.name}.${column}`);
  return wire;
}

export function encodeConditions(table: TableDefinition, where: readonly AnyCondition[]): unknown[] {
  return where.map(([column, comparison, value]) => [
    column,
    comparison,
    encodeValue(columnType(table, column), value, `${table.name}.${column}`),
  ]);
}

function encodeMutation(table: TableDefinition, [column, mutator, value]: readonly [string, string, unknown]): unknown {
  const type = columnType(table, column);
  const byKeys = type.shape === 'map' && mutator === 'delete' && Array.isArray(value);
  const single = type.shape === 'scalar' || type.shape === 'optional';
  const given = byKeys ? setOf(type.key) : single ? scalar(type.key) : type;
  return [column, mutator, encodeValue(given, value, `${table.name}.${column}`)];
}

function count(result: Record<string, unknown>): number {
  const { count: rows } = result;
  if (typeof rows !== 'number') throw new DecodeError('bad-value', 0, 'result.count', 'a number wanted');
  return rows;
}

const nothing = (): undefined => undefined;

/**
 * Makes a row. `name` lets other operations of the transaction refer to it with `named(name)`. A row of a table that is
 * no root (Bridge, Port, Interface, …) lives only as long as something refers to it. Gives the row's id.
 */
export function insert<T extends TableDefinition>(
  table: T,
  row: RowInput<T>,
  options: { readonly name?: string } = {},
): Operation<Uuid> {
  const label = options.name === undefined ? {} : { 'uuid-name': named(options.name).namedUuid };
  return {
    wire: { op: 'insert', table: table.name, row: encodeRow(table, row), ...label },
    decodeResult: ({ uuid }) => decodeValue(UUID_TYPE, uuid, 'result.uuid') as Uuid,
  };
}

/** Reads the rows that meet all conditions; `columns` default to all that the table declares. */
export function select<T extends TableDefinition, C extends ColumnName<T> = ColumnName<T>>(
  table: T,
  where: readonly Condition<T>[],
  columns: readonly C[] = Object.keys(table.columns) as C[],
): Operation<readonly Pick<Row<T>, C | '_uuid'>[]> {
  const wanted = ['_uuid', ...columns];
  return {
    wire: {
      op: 'select',
      table: table.name,
      where: encodeConditions(table, where),
      columns: wanted,
    },
    decodeResult: ({ rows }) => {
      if (!Array.isArray(rows)) throw new DecodeError('bad-value', 0, 'result.rows', 'an array wanted');
      return rows.map((row) => decodeRow(table, wanted, row) as Pick<Row<T>, C | '_uuid'>);
    },
  };
}

function decodeRow(table: TableDefinition, columns: readonly string[], wire: unknown): Record<string, Value> {
  if (!isRecord(wire)) throw new DecodeError('bad-value', 0, table.name, 'a row wanted');
  const row: Record<string, Value> = {};
  for (const column of columns) {
    const type = columnType(table, column);
    const value = wire[column];
    row[column] = value === undefined ? defaultValue(type) : decodeValue(type, value, `${table.name}.${column}`);
  }
  return row;
}

/** Writes columns of the rows that meet all conditions; gives how many those were. */
export function update<T extends TableDefinition>(
  table: T,
  where: readonly Condition<T>[],
  row: RowInput<T>,
): Operation<number> {
  return {
    wire: {
      op: 'update',
      table: table.name,
      where: encodeConditions(table, where),
      row: encodeRow(table, row),
    },
    decodeResult: count,
  };
}

/** Changes columns of the rows that meet all conditions, in place; gives how many those were. */
export function mutate<T extends TableDefinition>(
  table: T,
  where: readonly Condition<T>[],
  mutations: readonly Mutation<T>[],
): Operation<number> {
  return {
    wire: {
      op: 'mutate',
      table: table.name,
      where: encodeConditions(table, where),
      mutations: mutations.map((mutation) => encodeMutation(table, mutation as readonly [string, string, unknown])),
    },
    decodeResult: count,
  };
}

/** Deletes the rows that meet all conditions; gives how many those were. (RFC 7047 `delete`, a reserved word here.) */
export function deleteRows<T extends TableDefinition>(table: T, where: readonly Condition<T>[]): Operation<number> {
  return {
    wire: { op: 'delete', table: table.name, where: encodeConditions(table, where) },
    decodeResult: count,
  };
}

/**
 * A precondition: the transaction goes on only once the columns of the rows that meet `where` are (`==`) or are not
 * (`!=`) exactly `rows`. With `timeoutMs` 0, the default, it is refused at once with OVSDB's error `timed out`.
 */
export function wait<T extends TableDefinition, C extends ColumnName<T>>(
  table: T,
  where: readonly Condition<T>[],
  columns: readonly C[],
  until: '==' | '!=',
  rows: readonly Pick<RowInput<T>, C>[],
  timeoutMs = 0,
): Operation<undefined> {
  return {
    wire: {
      op: 'wait',
      timeout: timeoutMs,
      table: table.name,
      where: encodeConditions(table, where),
      columns,
      until,
      rows: rows.map((row) => encodeRow(table, row)),
    },
    decodeResult: nothing,
  };
}

/** Refuses the transaction unless this connection holds the lock (`OvsdbClient.lock`). */
export function assertLock(lock: string): Operation<undefined> {
  return { wire: { op: 'assert', lock }, decodeResult: nothing };
}

/** Says in the database's log who did this and why. */
export function comment(text: string): Operation<undefined> {
  return { wire: { op: 'comment', comment: text }, decodeResult: nothing };
}

/** Makes the transaction fail, to try out what precedes it. */
export function abort(): Operation<undefined> {
  return { wire: { op: 'abort' }, decodeResult: nothing };
}

/** `durable`: the reply comes once the transaction is on the server's disk. */
export function commit(durable: boolean): Operation<undefined> {
  return { wire: { op: 'commit', durable }, decodeResult: nothing };
}

/** Why a transaction was refused: `details` of the `WeftError('refused')`. */
export interface TransactionRefusal {
  /** Which operation, counted from 0; absent when the whole was refused (at commit, or not understood). */
  readonly index?: number;
  /** OVSDB's own: `constraint violation`, `referential integrity violation`, `timed out`, `aborted`, … */
  readonly error: string;
  readonly details?: string;
}

export function describeError(error: unknown): { error: string; details?: string } {
  if (typeof error === 'string') return { error };
  if (!isRecord(error)) return { error: 'unknown error' };
  const { error: name, details, syntax } = error;
  const parts = [details, syntax].filter((part) => typeof part === 'string');
  return {
    error: typeof name === 'string' ? name : 'unknown error',
    ...(parts.length ? { details: parts.join(' in ') } : {}),
  };
}

function refuse(operation: Operation | undefined, index: number, error: unknown): never {
  const about = describeError(error);
  const text = `${about.error}${about.details ? `: ${about.details}` : ''}`;
  const { op, table } = operation?.wire ?? {};
  const where = operation ? `operation ${index} (${op}${table ? ` on ${table}` : ''})` : 'commit';
  const details: TransactionRefusal = operation ? { index, ...about } : about;
  throw new WeftError('refused', `OVSDB refused the transaction at ${where}: ${text}`, { details });
}

/**
 * The `result` of a `transact` reply (RFC 7047 §4.1.3): one entry per operation, the failing one an error and those
 * behind it null; one entry more when the commit failed. Throws `WeftError('refused')`, or `DecodeError` for what is
 * no such reply.
 */
export function decodeTransactResult<const Ops extends readonly Operation[]>(
  operations: Ops,
  result: unknown,
): { -readonly [K in keyof Ops]: OperationResult<Ops[K]> } {
  if (!Array.isArray(result)) throw new DecodeError('bad-value', 0, 'result', 'an array wanted');
  for (const [index, entry] of result.entries())
    if (isRecord(entry) && entry.error !== undefined && entry.error !== null) refuse(operations[index], index, entry);
  if (result.length !== operations.length)
    throw new DecodeError('bad-length', 0, 'result', `${operations.length} results wanted, ${result.length} given`);
  return operations.map((operation, index) => {
    const entry: unknown = result[index];
    if (!isRecord(entry)) throw new DecodeError('bad-value', 0, `result[${index}]`, 'an object wanted');
    return operation.decodeResult(entry);
  }) as { -readonly [K in keyof Ops]: OperationResult<Ops[K]> };
}
