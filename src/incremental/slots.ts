/** Slots: where contributions of units meet, are merged, and become the outputs that diffs are made of. */
import { assert } from '../base/errors.ts';
import type { Contributed, Contribution, Report, Sink } from './definitions.ts';
import type { Problem, Problems } from './problems.ts';
import { compareUnits, type UnitNode } from './units.ts';
import { compareText, equalValues, messageOf } from './values.ts';

export interface SlotAdded<O> {
  readonly slot: string;
  readonly after: O;
}

export interface SlotChanged<O> {
  readonly slot: string;
  readonly before: O;
  readonly after: O;
}

export interface SlotRemoved<O> {
  readonly slot: string;
  readonly before: O;
}

/** What an update did to the outputs of one sink. Each list is sorted by slot. */
export interface SinkDiff<O> {
  readonly added: readonly SlotAdded<O>[];
  readonly changed: readonly SlotChanged<O>[];
  readonly removed: readonly SlotRemoved<O>[];
}

/** What an update did. Minimal: an output that is the same as before is not in it. */
export interface Diff {
  /** No output of any sink is another one. */
  readonly isEmpty: boolean;
  of<V, O>(sink: Sink<V, O>): SinkDiff<O>;
  /** Problems that are new or say something else now; all that there are: `Engine.problems`. */
  readonly problems: readonly Problem[];
  /** Problems that are gone. */
  readonly solved: readonly Problem[];
  /** How many runs of units and cells it took. */
  readonly runs: number;
}

/** One contribution that holds: of one unit, to one slot. */
export class Entry implements Contributed<unknown> {
  /** Undefined once the unit does not contribute it any more, until the slot is merged. */
  owner: UnitNode | undefined;
  readonly slot: Slot;
  value: unknown;

  constructor(owner: UnitNode, slot: Slot, value: unknown) {
    this.owner = owner;
    this.slot = slot;
    this.value = value;
  }

  get unit(): string {
    return this.owner?.label ?? '';
  }
}

const NO_ENTRIES: readonly Entry[] = [];

export class Slot {
  readonly table: SinkTable;
  readonly name: string;
  entries: readonly Entry[] = NO_ENTRIES;
  output: unknown = undefined;
  isDirty = false;
  hasProblem = false;

  constructor(table: SinkTable, name: string) {
    this.table = table;
    this.name = name;
  }

  add(entry: Entry): void {
    // Most slots have one contribution, for which a literal has no room to spare.
    if (this.entries.length === 0) this.entries = [entry];
    else (this.entries as Entry[]).push(entry);
  }

  /** Drops what does not hold any more; sorts the rest. */
  ordered(): readonly Entry[] {
    const { entries } = this;
    if (entries.length === 1 && entries[0]!.owner !== undefined) return entries;
    let isOrdered = true;
    for (let i = 0; i < entries.length && isOrdered; i++) {
      const owner = entries[i]!.owner;
      const next = entries[i + 1]?.owner;
      isOrdered = owner !== undefined && (next === undefined || compareUnits(owner, next) <= 0);
    }
    if (!isOrdered) {
      // Stable: what one unit contributes stays in the order in which it did.
      this.entries = entries
        .filter((entry) => entry.owner !== undefined)
        .sort((a, b) => compareUnits(a.owner!, b.owner!));
    }
    return this.entries;
  }
}

export class SinkTable {
  readonly sink: Sink<unknown, unknown>;
  readonly slots = new Map<string, Slot>();
  dirty: Slot[] = [];

  constructor(sink: Sink<unknown, unknown>) {
    this.sink = sink;
  }

  slot(name: string): Slot {
    let slot = this.slots.get(name);
    if (slot === undefined) {
      slot = new Slot(this, name);
      this.slots.set(name, slot);
    }
    return slot;
  }

  touch(slot: Slot): void {
    if (slot.isDirty) return;
    slot.isDirty = true;
    this.dirty.push(slot);
  }

  sameValue(a: unknown, b: unknown): boolean {
    try {
      return this.sink.sameValue?.(a, b) ?? equalValues(a, b);
    } catch {
      return false;
    }
  }

  sameOutput(a: unknown, b: unknown): boolean {
    try {
      return this.sink.sameOutput?.(a, b) ?? equalValues(a, b);
    } catch {
      return false;
    }
  }

  /** Slots that have an output, sorted. */
  filled(): Slot[] {
    return [...this.slots.values()].filter((slot) => slot.output !== undefined).sort(compareSlots);
  }
}

export function compareSlots(a: { readonly name: string }, b: { readonly name: string }): number {
  return compareText(a.name, b.name);
}

const UNCHANGED: SinkDiff<unknown> = { added: [], changed: [], removed: [] };

export class Slots {
  readonly tables = new Map<Sink<unknown, unknown>, SinkTable>();
  readonly #problems: Problems;
  #last: SinkTable | undefined = undefined;
  /** What the merge under way reports. */
  readonly #conflicts: { message: string; units: readonly string[] }[] = [];
  readonly #report: Report = (message, units) => {
    this.#conflicts.push({ message, units });
  };

  constructor(problems: Problems) {
    this.#problems = problems;
  }

  table(sink: Sink<unknown, unknown>): SinkTable {
    if (this.#last?.sink === sink) return this.#last;
    let table = this.tables.get(sink);
    if (table === undefined) {
      for (const known of this.tables.keys()) assert(known.name !== sink.name, `two sinks are called '${sink.name}'`);
      table = new SinkTable(sink);
      this.tables.set(sink, table);
    }
    this.#last = table;
    return table;
  }

  /** Makes a unit's contributions these; touches only slots for which that makes a difference. Returns the new entries. */
  reconcile(unit: UnitNode, contributions: readonly Contribution[]): readonly Entry[] {
    const before = unit.entries;
    if (this.#sameSlots(before, contributions)) {
      for (let i = 0; i < before.length; i++) this.#assign(before[i]!, contributions[i]!.value);
      return before;
    }
    if (before.length === 0) {
      return contributions.map(({ sink, slot, value }) => this.#enter(unit, this.table(sink).slot(slot), value));
    }
    const known = new Map<Slot, Entry[]>();
    for (const entry of before) {
      const entries = known.get(entry.slot);
      if (entries === undefined) known.set(entry.slot, [entry]);
      else entries.push(entry);
    }
    for (const entries of known.values()) entries.reverse();
    const after = contributions.map(({ sink, slot: name, value }) => {
      const slot = this.table(sink).slot(name);
      const entry = known.get(slot)?.pop();
      return entry === undefined ? this.#enter(unit, slot, value) : this.#assign(entry, value);
    });
    for (const entries of known.values()) for (const entry of entries) this.#leave(entry);
    return after;
  }

  #sameSlots(entries: readonly Entry[], contributions: readonly Contribution[]): boolean {
    if (entries.length !== contributions.length) return false;
    for (let i = 0; i < entries.length; i++) {
      const { slot } = entries[i]!;
      const contribution = contributions[i]!;
      if (slot.name !== contribution.slot || slot.table.sink !== contribution.sink) return false;
    }
    return true;
  }

  #assign(entry: Entry, value: unknown): Entry {
    const { table } = entry.slot;
    if (!table.sameValue(entry.value, value)) {
      entry.value = value;
      table.touch(entry.slot);
    }
    return entry;
  }

  #enter(unit: UnitNode, slot: Slot, value: unknown): Entry {
    const entry = new Entry(unit, slot, value);
    slot.add(entry);
    slot.table.touch(slot);
    return entry;
  }

  #leave(entry: Entry): void {
    entry.owner = undefined;
    entry.slot.table.touch(entry.slot);
  }

  /** Merges what was touched. */
  flush(): { isEmpty: boolean; of: Diff['of'] } {
    const diffs = new Map<Sink<unknown, unknown>, SinkDiff<unknown>>();
    for (const table of this.tables.values()) {
      if (table.dirty.length === 0) continue;
      const diff = this.#flushTable(table);
      if (diff.added.length + diff.changed.length + diff.removed.length > 0) diffs.set(table.sink, diff);
    }
    return {
      isEmpty: diffs.size === 0,
      of: <V, O>(sink: Sink<V, O>) => (diffs.get(sink as Sink<unknown, unknown>) ?? UNCHANGED) as SinkDiff<O>,
    };
  }

  #flushTable(table: SinkTable): SinkDiff<unknown> {
    const added: SlotAdded<unknown>[] = [];
    const changed: SlotChanged<unknown>[] = [];
    const removed: SlotRemoved<unknown>[] = [];
    const dirty = table.dirty.sort(compareSlots);
    table.dirty = [];
    for (const slot of dirty) {
      slot.isDirty = false;
      const before = slot.output;
      const after = this.#merge(slot);
      const { name } = slot;
      if (slot.entries.length === 0) table.slots.delete(name);
      if (before === undefined && after === undefined) continue;
      if (before === undefined) added.push({ slot: name, after });
      else if (after === undefined) removed.push({ slot: name, before });
      else if (table.sameOutput(before, after)) continue;
      else changed.push({ slot: name, before, after });
      slot.output = after;
    }
    return { added, changed, removed };
  }

  /** The output of a slot; where the merge throws, the one that it had. */
  #merge(slot: Slot): unknown {
    const { sink } = slot.table;
    const entries = slot.ordered();
    if (entries.length === 0) {
      this.#note(slot, undefined);
      return undefined;
    }
    let output = slot.output;
    let error: unknown;
    try {
      output = sink.merge(entries, this.#report);
    } catch (thrown) {
      error = thrown;
      this.#report(`the merge threw: ${messageOf(thrown)}`, [...new Set(entries.map((entry) => entry.unit))]);
    }
    if (this.#conflicts.length === 0) this.#note(slot, undefined);
    else {
      const conflicts = this.#conflicts.splice(0);
      const message = conflicts.map((conflict) => conflict.message).join('; ');
      this.#note(slot, { message, units: [...new Set(conflicts.flatMap((conflict) => conflict.units))], error });
    }
    return output;
  }

  #note(slot: Slot, problem: Pick<Problem, 'message' | 'units' | 'error'> | undefined): void {
    if (problem === undefined && !slot.hasProblem) return;
    slot.hasProblem = problem !== undefined;
    this.#problems.set('merge', `${slot.table.sink.name}/${slot.name}`, problem);
  }
}
