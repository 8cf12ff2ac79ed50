/**
 * Incremental by construction: outputs that are a pure function of records, kept up to date at the cost of what a change
 * touches. This folder owns dependencies, diffs and who-caused-what; it does not know what records and outputs mean.
 *
 *   update(changes)
 *        |  staged, compared in depth: what is the same stays out
 *        v
 *     record ---> field                    every arrow is a recorded read or a
 *      |   |        |                      contribution; a change goes along them
 *      |   v        |
 *      |  index --> group - - keys appear and vanish - - +
 *      |            |  |                                 :
 *      v            v  v                                 v
 *     cell -------> cell ----------------------------> unit ---> slot ==merge==> output ---> Diff
 *      equal value: stops here                           |        ^
 *                                                        +--------+ n : m
 *
 * 1. Records and groups that changed mark what reads them DIRTY, and what reads that CHECK (graph.ts).
 * 2. Each marked unit asks its sources, in the order in which it read them, and runs if one has another value (cells.ts).
 * 3. Its contributions are compared with its last; slots that differ are merged again (units.ts, slots.ts).
 * 4. What nobody reads any more is let go.
 *
 * An update is atomic: nothing between its changes is ever seen, and nothing that a run throws gets out of it.
 * After any updates the outputs are those of a new engine given the final records (DESIGN invariant 4); except for units
 * and merges that throw, which keep what they last gave.
 */
import { assert } from '../base/errors.ts';
import { CellFailure, CellFamily, CellNode, Evaluator } from './cells.ts';
import {
  type Cell,
  type IdIndex,
  type Index,
  type MemberIndex,
  once,
  type Reader,
  type Sink,
  type Unit,
} from './definitions.ts';
import { dotOfFamilies, dotOfInstances } from './dot.ts';
import { DEAD, forEachReader, Graph, hasReader, type Observer, type Source } from './graph.ts';
import { dropUnused, FieldNode, GroupNode, Inputs, type KindTable, RecordNode } from './indexes.ts';
import { compareProblems, type Problem, Problems } from './problems.ts';
import { type Diff, Slots } from './slots.ts';
import { ownersOf, UnitFamily, type UnitNode } from './units.ts';
import { compareText } from './values.ts';

/** A record put or deleted. Values are immutable from here on; undefined is no value. */
export type Change<Kinds> = {
  [K in keyof Kinds & string]:
    | { readonly op: 'put'; readonly kind: K; readonly id: string; readonly value: Kinds[K] }
    | { readonly op: 'delete'; readonly kind: K; readonly id: string };
}[keyof Kinds & string];

/** What a unit read, also through cells. Each list is sorted. */
export interface Reads {
  /** `kind/id`, also of records that were not there. */
  readonly records: readonly string[];
  /** `index/group`. */
  readonly groups: readonly string[];
  /** `family/key`. */
  readonly cells: readonly string[];
}

/** What part of the graph to draw: what leads to a unit, or what a record leads to. All of it, by families, where neither is given. */
export type DotFilter = { readonly unit: string } | { readonly record: { readonly kind: string; readonly id: string } };

/** Sizes, for metrics and tests. */
export interface EngineSize {
  readonly records: number;
  readonly groups: number;
  readonly cells: number;
  readonly units: number;
  readonly slots: number;
  readonly reads: number;
}

export class Engine<Kinds> {
  readonly #graph = new Graph();
  readonly #problems = new Problems();
  readonly #evaluator = new Evaluator(this.#graph);
  readonly #inputs = new Inputs(this.#graph, this.#problems);
  readonly #slots = new Slots(this.#problems);
  readonly #cells = new Map<Cell<Kinds, unknown>, CellFamily>();
  readonly #families = new Map<string, UnitFamily>();
  readonly #reader: Reader<Kinds>;
  #isUpdating = false;

  /** Indexes, cells and sinks are known by being used. Unit names have to differ. Nothing runs before the first update. */
  constructor(units: readonly Unit<Kinds>[]) {
    this.#reader = this.#makeReader();
    for (const unit of units) this.#addFamily(unit);
  }

  put<K extends keyof Kinds & string>(kind: K, id: string, value: Kinds[K]): Diff {
    return this.update([{ op: 'put', kind, id, value } as Change<Kinds>]);
  }

  delete<K extends keyof Kinds & string>(kind: K, id: string): Diff {
    return this.update([{ op: 'delete', kind, id } as Change<Kinds>]);
  }

  /** All of the changes at once, of several for one record the last. A value equal to the present one changes nothing. */
  update(changes: Iterable<Change<Kinds>>): Diff {
    const staged = this.#stage(changes);
    this.#begin();
    try {
      const runsBefore = this.#evaluator.runs;
      for (const [table, values] of staged) for (const [id, value] of values) this.#inputs.assign(table, id, value);
      this.#inputs.settle();
      this.#refreshUnits();
      const { isEmpty, of } = this.#slots.flush();
      this.#collect();
      const { raised, cleared } = this.#problems.flush();
      return { isEmpty, of, problems: raised, solved: cleared, runs: this.#evaluator.runs - runsBefore };
    } finally {
      this.#isUpdating = false;
    }
  }

  /** Evaluates a function on the present records, with cells; what it reads is not remembered. Throws what it throws. */
  query<T>(ask: (reader: Reader<Kinds>) => T): T {
    this.#begin();
    try {
      return this.#evaluator.query(() => ask(this.#reader));
    } finally {
      this.#collect();
      this.#isUpdating = false;
    }
  }

  output<V, O>(sink: Sink<V, O>, slot: string): O | undefined {
    return this.#slots.table(sink as Sink<unknown, unknown>).slots.get(slot)?.output as O | undefined;
  }

  /** All outputs of a sink, sorted by slot. */
  outputs<V, O>(sink: Sink<V, O>): [slot: string, output: O][] {
    return this.#slots
      .table(sink as Sink<unknown, unknown>)
      .filled()
      .map((slot) => [slot.name, slot.output as O]);
  }

  /** The names of the units that contribute to a slot, in the order in which they are merged. */
  ownersOf<V, O>(sink: Sink<V, O>, slot: string): string[] {
    const found = this.#slots.table(sink as Sink<unknown, unknown>).slots.get(slot);
    return found === undefined ? [] : ownersOf(found);
  }

  /** What a unit (`family/key`) read when it last ran; empty for one that is not there. */
  readsOf(unit: string): Reads {
    const records = new Set<string>();
    const groups = new Set<string>();
    const cells = new Set<string>();
    const seen = new Set<Source>();
    const pending: Source[] = [...(this.#unit(unit)?.sources ?? [])];
    for (let source = pending.pop(); source !== undefined; source = pending.pop()) {
      if (seen.has(source)) continue;
      seen.add(source);
      if (source instanceof RecordNode) records.add(source.label);
      else if (source instanceof FieldNode) records.add(source.record.label);
      else if (source instanceof GroupNode) groups.add(source.label);
      else if (source instanceof CellNode) {
        cells.add(source.label);
        pending.push(...source.sources);
      }
    }
    return { records: sorted(records), groups: sorted(groups), cells: sorted(cells) };
  }

  /** All problems that there are; a failed cell is listed once beside the units that it stops. */
  problems(): Problem[] {
    const problems = this.#problems.list();
    const cells = new Map<string, Problem & { units: string[] }>();
    for (const { error, units } of problems) {
      if (!(error instanceof CellFailure)) continue;
      const { cell: name, message } = error;
      const known = cells.get(name);
      if (known === undefined)
        cells.set(name, { source: 'cell', name, message, units: [...units], error: error.cause });
      else known.units.push(...units);
    }
    for (const problem of cells.values()) problem.units.sort(compareText);
    return [...problems, ...cells.values()].sort(compareProblems);
  }

  /** The dependency graph in Graphviz' language. */
  toDot(filter?: DotFilter): string {
    if (filter === undefined) return dotOfFamilies(this.#families.values(), this.#cells.values());
    if ('unit' in filter) {
      const unit = this.#unit(filter.unit);
      return dotOfInstances(unit === undefined ? [] : [unit], []);
    }
    const record = this.#inputs.kinds.get(filter.record.kind)?.records.get(filter.record.id);
    return dotOfInstances([], record === undefined ? [] : [record, ...this.#inputs.groupsOf(record)]);
  }

  size(): EngineSize {
    const total = <T>(tables: Iterable<T>, sizeOf: (table: T) => number): number => {
      let sum = 0;
      for (const table of tables) sum += sizeOf(table);
      return sum;
    };
    const readsIn = (nodes: Iterable<Observer>): number => total(nodes, (node) => node.sources.length);
    return {
      records: total(this.#inputs.kinds.values(), (table) => table.records.size),
      groups: total(this.#inputs.indexes.values(), (table) => table.groups.size),
      cells: total(this.#cells.values(), (family) => family.cells.size),
      units: total(this.#families.values(), (family) => family.units.size),
      slots: total(this.#slots.tables.values(), (table) => table.slots.size),
      reads:
        total(this.#cells.values(), (family) => readsIn(family.cells.values())) +
        total(this.#families.values(), (family) => readsIn(family.units.values())),
    };
  }

  /** The last value of each record named, before anything is touched: changes may come from something that throws. */
  #stage(changes: Iterable<Change<Kinds>>): Map<KindTable, Map<string, unknown>> {
    const staged = new Map<KindTable, Map<string, unknown>>();
    for (const change of changes) {
      const value = change.op === 'put' ? change.value : undefined;
      assert(change.op === 'delete' || value !== undefined, `put of ${change.kind}/${change.id} without a value`);
      const table = this.#inputs.kind(change.kind);
      const values = staged.get(table);
      if (values === undefined) staged.set(table, new Map([[change.id, value]]));
      else values.set(change.id, value);
    }
    return staged;
  }

  #begin(): void {
    assert(!this.#isUpdating, 'an engine is updated or asked from within one of its own runs');
    this.#isUpdating = true;
  }

  #refreshUnits(): void {
    const { queue } = this.#graph;
    for (const unit of queue) this.#evaluator.refresh(unit as UnitNode); // does nothing for one that has vanished
    queue.length = 0;
    queue.push(...this.#evaluator.unsettled.splice(0));
  }

  /** Lets go of cells that no unit reads, directly or not, and of records and groups that are neither there nor read. */
  #collect(): void {
    const { orphans } = this.#graph;
    for (let source = orphans.pop(); source !== undefined; source = orphans.pop()) {
      if (source instanceof CellNode) this.#collectCell(source);
      else if (source instanceof RecordNode || source instanceof FieldNode || source instanceof GroupNode)
        dropUnused(this.#inputs, source);
    }
  }

  #collectCell(cell: CellNode): void {
    if (cell.state === DEAD) return;
    // Failed cells may be a cycle, which keeps itself alive: look for a unit behind the readers.
    if (cell.readers !== undefined && (cell.failure === undefined || isReadByRoot(cell))) return;
    const cut = [cell];
    for (let next = cut.pop(); next !== undefined; next = cut.pop()) {
      if (next.state === DEAD) continue;
      forEachReader(next, (reader) => cut.push(reader as CellNode));
      next.family.cells.delete(next.key);
      this.#graph.unlink(next);
    }
  }

  #unit(name: string): UnitNode | undefined {
    const slash = name.indexOf('/');
    return this.#families.get(name.slice(0, slash))?.units.get(name.slice(slash + 1));
  }

  #addFamily(unit: Unit<Kinds>): void {
    const { name, over } = unit;
    assert(!this.#families.has(name), `two unit families are called '${name}'`);
    const family = new UnitFamily(unit as Unit<never>, this.#reader as never, this.#graph, this.#slots, this.#problems);
    this.#families.set(name, family);
    if (typeof over === 'string') this.#inputs.kind(over).listeners.push(family);
    else if (over.form === once.form) family.appeared('');
    else this.#inputs.index(over as Index).listeners.push(family);
  }

  #cell(cell: Cell<Kinds, unknown>, key: string): CellNode {
    let family = this.#cells.get(cell);
    if (family === undefined) {
      for (const known of this.#cells.keys())
        assert(known.name !== cell.name, `two cell families are called '${cell.name}'`);
      family = new CellFamily(cell as Cell<never, unknown>);
      this.#cells.set(cell, family);
    }
    let node = family.cells.get(key);
    if (node === undefined) {
      node = new CellNode(family, key, this.#reader as never);
      family.cells.set(key, node);
    }
    return node;
  }

  #makeReader(): Reader<Kinds> {
    const inputs = this.#inputs;
    const evaluator = this.#evaluator;
    const read = <S extends Source>(source: S): S => {
      evaluator.track(source);
      return source;
    };
    const members = (index: IdIndex | MemberIndex, group: string): readonly string[] => {
      evaluator.expectRun();
      return read(inputs.index(index).group(group)).members;
    };
    return {
      get: (kind, id) => {
        evaluator.expectRun();
        return read(inputs.kind(kind).record(id)).value as never;
      },
      pick: (kind, id, field) => {
        evaluator.expectRun();
        return read(inputs.kind(kind).record(id).field(field)).value as never;
      },
      ids: members,
      members,
      derive: (cell, key) => {
        evaluator.expectUnfailedRun();
        return evaluator.read(this.#cell(cell as Cell<Kinds, unknown>, key)) as never;
      },
    };
  }
}

function isReadByRoot(cell: CellNode): boolean {
  const seen = new Set<Observer>([cell]);
  const seeOrFind = (reader: Observer): boolean => reader.isRoot || !seen.add(reader);
  for (const observer of seen) if (hasReader(observer, seeOrFind)) return true;
  return false;
}

function sorted(names: ReadonlySet<string>): string[] {
  return [...names].sort(compareText);
}
