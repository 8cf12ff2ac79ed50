/** Units: instances of families, and what they contribute. */
import { type Outcome, Runnable } from './cells.ts';
import type { Contribution, Unit } from './definitions.ts';
import type { Graph } from './graph.ts';
import type { KeyListener } from './indexes.ts';
import type { Problems } from './problems.ts';
import type { Entry, Slot, Slots } from './slots.ts';
import { compareText, messageOf } from './values.ts';

const NONE: readonly Entry[] = [];

export class UnitNode extends Runnable {
  readonly family: UnitFamily;
  readonly key: string;
  entries: readonly Entry[] = NONE;
  hasFailed = false;

  constructor(family: UnitFamily, key: string) {
    super();
    this.family = family;
    this.key = key;
  }

  get label(): string {
    return `${this.family.unit.name}/${this.key}`;
  }

  get isRoot(): boolean {
    return true;
  }

  run(): readonly Contribution[] {
    const contributions: unknown = this.family.unit.run(this.family.reader, this.key);
    if (!Array.isArray(contributions)) throw new TypeError(`${this.label} returned no list of contributions`);
    for (const contribution of contributions) checkContribution(this.label, contribution);
    return contributions;
  }

  settle(outcome: Outcome): boolean {
    const { problems, slots } = this.family;
    if (outcome.ok) {
      this.forget();
      this.entries = slots.reconcile(this, outcome.value as readonly Contribution[]);
    } else {
      const { thrown } = outcome;
      this.hasFailed = true;
      problems.set('unit', this.label, { message: messageOf(thrown), units: [this.label], error: thrown });
    }
    return false;
  }

  /** Its failure, if there was one, is past. */
  forget(): void {
    if (this.hasFailed) this.family.problems.set('unit', this.label, undefined);
    this.hasFailed = false;
  }
}

function checkContribution(unit: string, contribution: Contribution | undefined): void {
  if (typeof contribution?.slot !== 'string' || typeof contribution.sink?.merge !== 'function') {
    throw new TypeError(`${unit} returned something that is no contribution`);
  }
}

/** By family name, then key. */
export function compareUnits(a: UnitNode, b: UnitNode): number {
  if (a.family !== b.family) return compareText(a.family.unit.name, b.family.unit.name);
  return compareText(a.key, b.key);
}

export class UnitFamily implements KeyListener {
  readonly unit: Unit<never>;
  readonly reader: never;
  readonly units = new Map<string, UnitNode>();
  readonly slots: Slots;
  readonly problems: Problems;
  readonly #graph: Graph;

  constructor(unit: Unit<never>, reader: never, graph: Graph, slots: Slots, problems: Problems) {
    this.unit = unit;
    this.reader = reader;
    this.slots = slots;
    this.problems = problems;
    this.#graph = graph;
  }

  appeared(key: string): void {
    const unit = new UnitNode(this, key);
    this.units.set(key, unit);
    this.#graph.queue.push(unit);
  }

  vanished(key: string): void {
    const unit = this.units.get(key);
    if (unit === undefined) return;
    this.units.delete(key);
    this.#graph.unlink(unit);
    unit.forget();
    unit.entries = this.slots.reconcile(unit, []);
  }
}

/** The names of the units behind a slot's entries, each once, in order. */
export function ownersOf(slot: Slot): string[] {
  const names = new Set<string>();
  for (const entry of slot.ordered()) names.add(entry.unit);
  return [...names];
}
