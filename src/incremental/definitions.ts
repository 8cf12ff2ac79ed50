/**
 * What a program of the engine is written in: indexes, cells, units and sinks, declared once as values and handed to
 * `Engine`. `definer<Kinds>()` gives the functions that declare them, typed by the kinds of record they read.
 */
import { assert } from '../base/errors.ts';

/** What an index says of one record: the group that holds the record's id, or a group and a member derived from it. */
export type IndexEntry = string | readonly [group: string, member: string];

type IndexSource = (value: unknown, id: string) => readonly IndexEntry[];

interface IndexBase {
  readonly name: string;
  /** One pure function per kind of record. */
  readonly sources: Readonly<Record<string, IndexSource>>;
}

/** Group -> set of ids of records. Read by `Reader.ids`. */
export interface IdIndex extends IndexBase {
  readonly form: 'ids';
}

/**
 * Group -> multiset of members derived from records. Read by `Reader.members`, which shows the set: of ten records that
 * give the same member, nine may go before a reader is re-run.
 */
export interface MemberIndex extends IndexBase {
  readonly form: 'members';
}

export type Index = IdIndex | MemberIndex;

/** As `over` of a unit family: one instance, with key '', that is always there. */
export const once = { form: 'once' } as const;

/**
 * What a run may read; every read is a dependency of whoever runs, and so is what was not there. All lists are sorted by
 * code unit and must not be changed, nor any value.
 */
export interface Reader<Kinds> {
  /** The record, or undefined where there is none. */
  get<K extends keyof Kinds & string>(kind: K, id: string): Kinds[K] | undefined;
  /** One field of the record: the reader is not re-run when only others change. */
  pick<K extends keyof Kinds & string, F extends keyof Kinds[K] & string>(
    kind: K,
    id: string,
    field: F,
  ): Kinds[K][F] | undefined;
  ids(index: IdIndex, group: string): readonly string[];
  members(index: MemberIndex, group: string): readonly string[];
  /**
   * The value of a derived cell. Throws `CellFailure` where the cell failed; catching it does not help: who reads a failed
   * cell has failed, so that failure does not depend on the order of runs.
   */
  derive<V>(cell: Cell<Kinds, V>, key: string): V;
}

/** A family of memoised values. `run` is pure and synchronous; a value equal to the last one re-runs no reader. */
export interface Cell<Kinds, V> {
  readonly name: string;
  run(reader: Reader<Kinds>, key: string): V;
  /** Structural unless given. */
  equal?(a: V, b: V): boolean;
}

/** A family of units: one instance per record of a kind, per group (that has members) of an index, or just `once`. */
export interface Unit<Kinds> {
  readonly name: string;
  readonly over: (keyof Kinds & string) | Index | typeof once;
  /** Pure and synchronous. `key` is the id of the record, or the group. */
  run(reader: Reader<Kinds>, key: string): readonly Contribution[];
}

/** One value that a unit puts into a slot. Made by `contribute`. */
export interface Contribution {
  readonly sink: Sink<unknown, unknown>;
  readonly slot: string;
  readonly value: unknown;
}

export function contribute<V, O>(sink: Sink<V, O>, slot: string, value: NoInfer<V>): Contribution {
  return { sink, slot, value };
}

/** A contribution as `merge` sees it; valid during the call only (`value` may be kept). */
export interface Contributed<V> {
  /** Name of the unit, `family/key`. */
  readonly unit: string;
  readonly value: V;
}

/** Reports a conflict between contributions; `units` are the names of those concerned. */
export type Report = (message: string, units: readonly string[]) => void;

/** A class of slots, and how contributions to the same slot become its one output. */
export interface Sink<V, O> {
  readonly name: string;
  /**
   * Pure. Gets at least one contribution, ordered by unit (family name, then key), those of one unit as it returned them.
   * Returns the output, or undefined for none.
   * Called anew with all of them when one changes, so a slot with very many contributions costs their number.
   */
  merge(contributions: readonly Contributed<V>[], report: Report): O | undefined;
  /** Whether two contributions are the same (structural unless given): the slot is not merged again. */
  sameValue?(a: V, b: V): boolean;
  /** Whether two outputs are the same (structural unless given): the slot is not in the diff. */
  sameOutput?(a: O, b: O): boolean;
}

/** Any name of a definition: what goes before the first '/' in `family/key`. */
function checkName(name: string): string {
  assert(name !== '' && !name.includes('/'), `'${name}' is no name for a definition: empty, or with a '/'`);
  return name;
}

export interface Definer<Kinds> {
  /** An index of record ids: `groups` gives the groups that the record is in. */
  index<K extends keyof Kinds & string>(
    name: string,
    kind: K,
    groups: (value: Kinds[K], id: string) => readonly string[],
  ): IdIndex;
  /** An index of derived members: for each kind named, the (group, member) pairs that one record gives. */
  members(
    name: string,
    sources: {
      readonly [K in keyof Kinds & string]?: (value: Kinds[K], id: string) => readonly (readonly [string, string])[];
    },
  ): MemberIndex;
  cell<V>(cell: Cell<Kinds, V>): Cell<Kinds, V>;
  unit(unit: Unit<Kinds>): Unit<Kinds>;
}

/** The functions that declare indexes, cells and units over records of these kinds. */
export function definer<Kinds>(): Definer<Kinds> {
  return {
    index: (name, kind, groups) => ({
      form: 'ids',
      name: checkName(name),
      sources: { [kind]: groups as IndexSource },
    }),
    members: (name, sources) => ({
      form: 'members',
      name: checkName(name),
      sources: sources as Readonly<Record<string, IndexSource>>,
    }),
    cell: (cell) => {
      checkName(cell.name);
      return cell;
    },
    unit: (unit) => {
      checkName(unit.name);
      return unit;
    },
  };
}

export function defineSink<V, O>(sink: Sink<V, O>): Sink<V, O> {
  checkName(sink.name);
  return sink;
}
