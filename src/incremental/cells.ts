/**
 * Derived cells, and how observers (cells, units) are brought up to date: pulled from the units, in the order in which they
 * read, so that nothing is run that its reader would no longer ask for, and nothing twice.
 */
import type { Cell } from './definitions.ts';
import { CHECK, CLEAN, DEAD, DIRTY, type Graph, Observer, type Source } from './graph.ts';
import { compareText, equalValues, messageOf } from './values.ts';

/** How deep derived cells may read each other. Far below where the stack ends, far above any use that is not a mistake. */
export const MAX_DEPTH = 256;

/** Why a cell has no value; thrown at whoever reads it. The message is that of the cell where it began. */
export class CellFailure extends Error {
  /** `family/key` of the cell that threw; of a cycle, its first by name. */
  readonly cell: string;
  /** Not for what was read but for how deep the stack was: whoever meets it stays dirty, and is tried again. */
  readonly isTooDeep: boolean;

  constructor(cell: string, message: string, options: { cause?: unknown; isTooDeep?: boolean } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CellFailure';
    this.cell = cell;
    this.isTooDeep = options.isTooDeep ?? false;
  }
}

/** What became of a run. `thrown` is set apart from its value because anything can be thrown. */
export type Outcome = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly thrown: unknown };

/** An observer that can be run. */
export abstract class Runnable extends Observer {
  abstract run(): unknown;
  /** Takes in what the run gave; says whether its readers see something new. */
  abstract settle(outcome: Outcome): boolean;
}

export class CellFamily {
  readonly cell: Cell<never, unknown>;
  readonly cells = new Map<string, CellNode>();

  constructor(cell: Cell<never, unknown>) {
    this.cell = cell;
  }
}

export class CellNode extends Runnable {
  readonly family: CellFamily;
  readonly key: string;
  readonly reader: never;
  value: unknown = undefined;
  /** Set: the cell failed. Undefined: it has a value, if it is clean. */
  failure: CellFailure | undefined = undefined;
  /** False until there was a value to compare the next one with. */
  #hasValue = false;

  constructor(family: CellFamily, key: string, reader: never) {
    super();
    this.family = family;
    this.key = key;
    this.reader = reader;
  }

  get label(): string {
    return `${this.family.cell.name}/${this.key}`;
  }

  get isRoot(): boolean {
    return false;
  }

  run(): unknown {
    return this.family.cell.run(this.reader, this.key);
  }

  settle(outcome: Outcome): boolean {
    if (!outcome.ok) {
      const { thrown } = outcome;
      const failure =
        thrown instanceof CellFailure ? thrown : new CellFailure(this.label, messageOf(thrown), { cause: thrown });
      const isNew = this.failure?.message !== failure.message || this.failure.cell !== failure.cell;
      this.failure = failure;
      this.value = undefined;
      this.#hasValue = false;
      return isNew;
    }
    this.failure = undefined;
    if (this.#hasValue && this.#isSame(outcome.value)) return false;
    this.#hasValue = true;
    this.value = outcome.value;
    return true;
  }

  #isSame(value: unknown): boolean {
    try {
      return this.family.cell.equal?.(this.value, value) ?? equalValues(this.value, value);
    } catch {
      return false; // a comparison that throws costs a run too many, no more
    }
  }
}

class QueryNode extends Runnable {
  readonly label = 'query';
  readonly isRoot = false;
  readonly #ask: () => unknown;
  outcome: Outcome | undefined = undefined;

  constructor(ask: () => unknown) {
    super();
    this.#ask = ask;
  }

  run(): unknown {
    return this.#ask();
  }

  settle(outcome: Outcome): boolean {
    this.outcome = outcome;
    return false;
  }
}

export class Evaluator {
  readonly #graph: Graph;
  /** Observers being checked or run, outermost first. */
  readonly #stack: Observer[] = [];
  /** What the runs under way have read so far, one after the other; that of the innermost starts at `#base`. */
  readonly #trail: Source[] = [];
  #base = -1;
  #stamp = 0;
  #failure: CellFailure | undefined = undefined;
  /** How many runs there were, for the diff's statistics. */
  runs = 0;
  /** Roots that are dirty still, because cells were nested too deep. */
  readonly unsettled: Observer[] = [];

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  /** Before the node to read is looked up, which may make it. */
  expectRun(): void {
    if (this.#base < 0) throw new Error('a reader was used after its run had ended; runs are synchronous');
  }

  /** As `expectRun`, for cells: a run that has read a failed one goes no further. */
  expectUnfailedRun(): void {
    this.expectRun();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** The observer being run reads a source. */
  track(source: Source): void {
    if (source.stamp === this.#stamp) return;
    source.stamp = this.#stamp;
    this.#trail.push(source);
  }

  /** The observer being run reads a cell. */
  read(cell: CellNode): unknown {
    this.track(cell);
    const failure = cell.active ? this.#cycle(cell) : this.#tooDeep(cell);
    if (failure === undefined) this.refresh(cell);
    const found = failure ?? cell.failure;
    if (found === undefined) return cell.value;
    this.#failure ??= found;
    throw found;
  }

  /** Runs a function as if it were a unit that vanishes after its first run. */
  query<T>(ask: () => T): T {
    const query = new QueryNode(ask);
    this.#run(query);
    this.#graph.unlink(query);
    const { outcome } = query;
    if (outcome === undefined || !outcome.ok) throw outcome?.thrown;
    return outcome.value as T;
  }

  /** Brings an observer up to date. */
  refresh(observer: Runnable): void {
    if (observer.state === CHECK) this.#check(observer);
    if (observer.state === DIRTY) this.#run(observer);
  }

  /**
   * Asks the sources in the order in which they were read, up to the first that changed: until then the run would read the
   * same again, so what is asked here would have been read by it.
   */
  #check(observer: Runnable): void {
    if (this.#stack.length >= MAX_DEPTH) {
      observer.state = DIRTY;
      return;
    }
    observer.active = true;
    this.#stack.push(observer);
    for (const source of observer.sources) {
      if (source instanceof CellNode) {
        if (!source.active) this.refresh(source);
        // A cycle closes: there was one, or there will be when what runs further out is through. Is it the same?
        else if (this.#cycle(source).message !== source.failure?.message) observer.state = DIRTY;
      }
      if (observer.state !== CHECK) break;
    }
    this.#stack.pop();
    observer.active = false;
    if (observer.state === CHECK) observer.state = CLEAN;
  }

  #run(observer: Runnable): void {
    const base = this.#base;
    const stamp = this.#stamp;
    const failureOutside = this.#failure;
    this.#base = this.#trail.length;
    this.#stamp = this.#graph.nextStamp();
    this.#failure = undefined;
    observer.active = true;
    this.#stack.push(observer);
    let outcome: Outcome;
    try {
      outcome = { ok: true, value: observer.run() };
    } catch (thrown) {
      outcome = { ok: false, thrown };
    }
    if (this.#failure !== undefined) outcome = { ok: false, thrown: this.#failure };
    this.runs++;
    this.#stack.pop();
    observer.active = false;
    const read = this.#trail.slice(this.#base);
    this.#trail.length = this.#base;
    this.#base = base;
    this.#stamp = stamp;
    this.#failure = failureOutside;
    this.#graph.link(observer, read);
    if (observer.state !== DEAD) observer.state = CLEAN;
    if (observer.settle(outcome)) this.#graph.recomputed(observer);
    if (!outcome.ok && outcome.thrown instanceof CellFailure && outcome.thrown.isTooDeep) this.#tryAgain(observer);
  }

  #tryAgain(observer: Runnable): void {
    observer.state = DIRTY;
    if (observer.isRoot) this.unsettled.push(observer);
  }

  /** The cell is being computed and was asked for by what it reads itself. */
  #cycle(cell: CellNode): CellFailure {
    const names = this.#stack.slice(this.#stack.indexOf(cell)).map((observer) => observer.label);
    // The same words wherever the cycle was entered.
    const first = names.reduce((least, name, at) => (compareText(name, names[least]!) < 0 ? at : least), 0);
    const around = [...names.slice(first), ...names.slice(0, first), names[first]!];
    return new CellFailure(names[first]!, `cycle: ${around.join(' -> ')}`);
  }

  #tooDeep(cell: CellNode): CellFailure | undefined {
    if (cell.state === CLEAN || this.#stack.length < MAX_DEPTH) return undefined;
    return new CellFailure(cell.label, `derived cells read each other more than ${MAX_DEPTH} deep`, {
      isTooDeep: true,
    });
  }
}
