/**
 * The engine against the plainest thing that does the same: everything computed anew after each update. Random programs
 * (indexes, cells, units; reads that depend on what was read; throws, cycles, conflicts) on random changes; outputs, owners,
 * problems and diffs have to be equal, and what ran has to be exactly what read something that changed.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Random, seededRandom } from '../base/random.ts';
import {
  type Cell,
  type Contributed,
  type Contribution,
  contribute,
  definer,
  defineSink,
  type IdIndex,
  type MemberIndex,
  once,
  type Reader,
  type Unit,
} from './definitions.ts';
import { type Change, Engine } from './engine.ts';
import type { Diff } from './slots.ts';
import { compareText } from './values.ts';

const RUNS = process.env.WEFT_CAMPAIGN === '1' ? 20_000 : 250;

interface Value {
  readonly x: number;
  readonly y: number;
  readonly tags: readonly string[];
}
type Kinds = { a: Value; b: Value };
type Kind = keyof Kinds;
type Records = ReadonlyMap<string, Value>;

const define = definer<Kinds>();
const IDS = ['0', '1', '2', '3', '4'];
const TAGS = ['0', '1', '2'];
const SLOTS = 6;

/** One step of a random run; `acc` so far decides what it reads, what it reads changes `acc`. */
type Step =
  | { readonly op: 'get' | 'pick' | 'ids' | 'members' | 'throw'; readonly salt: number }
  | { readonly op: 'derive'; readonly salt: number; readonly cell: number; readonly isCaught: boolean };

interface Program {
  readonly cells: readonly (readonly Step[])[];
  readonly units: readonly { readonly over: Unit<Kinds>['over']; readonly steps: readonly Step[] }[];
}

const idsByTag: IdIndex = define.index('ids-by-tag', 'a', (value) => {
  if (value.x === 3) throw new Error('no index likes 3');
  return value.tags;
});
const xByTag: MemberIndex = define.members('x-by-tag', {
  a: (value) => value.tags.map((tag) => [tag, `${value.x}`]),
  b: (value, id) => [
    [id, `${value.x}`],
    [`${value.y}`, `${value.x}`],
  ],
});
const OVERS = ['a', 'b', idsByTag, xByTag, once] as const;

const merge = (
  contributions: readonly Contributed<number>[],
  report: (message: string, units: string[]) => void,
): number | undefined => {
  const distinct = new Set(contributions.map(({ value }) => value));
  if (distinct.size > 1)
    report(
      `${[...distinct].join()}`,
      contributions.map(({ unit }) => unit),
    );
  const sum = [...distinct].reduce((total, value) => total * 7 + value, 0);
  if (sum % 11 === 10) throw new Error('no merge likes 10');
  return sum % 5 === 4 ? undefined : sum;
};
const sink = defineSink<number, number>({ name: 'sums', merge });

function randomSteps(random: Random, cells: number): Step[] {
  return Array.from({ length: 1 + random.below(4) }, (): Step => {
    const salt = random.below(1000);
    const kind = random.below(20);
    if (kind < 8) return { op: 'derive', salt, cell: random.below(cells), isCaught: random.below(6) === 0 };
    return { op: kind < 11 ? 'get' : kind < 14 ? 'pick' : kind < 16 ? 'ids' : kind < 19 ? 'members' : 'throw', salt };
  });
}

function randomProgram(seed: number): Program {
  const random = seededRandom(seed);
  const cells = 1 + random.below(5);
  return {
    cells: Array.from({ length: cells }, () => randomSteps(random, cells)),
    units: Array.from({ length: 1 + random.below(4) }, () => ({
      over: OVERS[random.below(OVERS.length)]!,
      steps: randomSteps(random, cells),
    })),
  };
}

/** Coarse, so that values are often equal where what they come from is not. */
const mix = (acc: number, ...more: readonly (number | string)[]): number =>
  more.reduce<number>((sum, item) => (sum * 31 + Number(item) + 7) % 1009, acc) % 13;

/** What a run reads with; the engine's reader and the plain one are both made to fit. */
interface Reading {
  get(kind: Kind, id: string): Value | undefined;
  pick(kind: Kind, id: string): number | undefined;
  ids(tag: string): readonly string[];
  members(tag: string): readonly string[];
  derive(cell: number, key: string): number;
}

function runSteps(steps: readonly Step[], reading: Reading, key: string): number {
  let acc = mix(0, key || 0);
  for (const step of steps) {
    const at = (acc + step.salt) % 97;
    const id = step.salt % 3 === 0 ? key : IDS[at % IDS.length]!;
    const kind = step.salt % 2 === 0 ? 'a' : 'b';
    if (step.op === 'get') {
      const value = reading.get(kind, id);
      acc = mix(acc, value?.x ?? 9, value?.y ?? 9);
    } else if (step.op === 'pick') acc = mix(acc, reading.pick(kind, id) ?? 9);
    else if (step.op === 'ids') acc = mix(acc, ...reading.ids(TAGS[at % TAGS.length]!));
    else if (step.op === 'members') acc = mix(acc, ...reading.members(TAGS[at % TAGS.length]!));
    else if (step.op === 'throw') {
      if (acc % 4 === 0) throw new Error(`thrown at ${acc}`);
    } else if (step.op === 'derive') {
      try {
        acc = mix(acc, reading.derive(step.cell, id));
      } catch (error) {
        if (!step.isCaught) throw error;
      }
    }
  }
  return acc;
}

/** Some units contribute a lot, some nothing; slots are shared. */
function contributionsOf(acc: number, key: string): [slot: string, value: number][] {
  return Array.from({ length: acc % 4 }, (_, i) => [`${(acc + i * i + key.length) % SLOTS}`, i === 2 ? acc % 2 : 1]);
}

function compile(program: Program, ran: string[]): Unit<Kinds>[] {
  const cells: Cell<Kinds, number>[] = program.cells.map((steps, i) =>
    define.cell({
      name: `cell${i}`,
      run: (reader, key) => {
        ran.push(`cell${i}/${key}`);
        return runSteps(steps, readingOf(reader), key);
      },
    }),
  );
  const readingOf = (reader: Reader<Kinds>): Reading => ({
    get: (kind, id) => reader.get(kind, id),
    pick: (kind, id) => reader.pick(kind, id, 'x'),
    ids: (tag) => reader.ids(idsByTag, tag),
    members: (tag) => reader.members(xByTag, tag),
    derive: (cell, key) => reader.derive(cells[cell]!, key),
  });
  return program.units.map(({ over, steps }, i) =>
    define.unit({
      name: `unit${i}`,
      over,
      run: (reader, key): Contribution[] => {
        ran.push(`unit${i}/${key}`);
        const acc = runSteps(steps, readingOf(reader), key);
        return contributionsOf(acc, key).map(([slot, value]) => contribute(sink, slot, value));
      },
    }),
  );
}

/** What a run saw: each source read, with its value as text. */
type Trace = Map<string, string>;

class Failure extends Error {
  readonly origin: string;

  constructor(message: string, origin: string) {
    super(message);
    this.origin = origin;
  }

  get text(): string {
    return `${this.origin} failed: ${this.message}`;
  }
}

/** Everything anew, for one state of the records. */
class Plain {
  readonly #program: Program;
  readonly #records: Records;
  readonly #stack: string[] = [];
  readonly #memo = new Map<string, { text: string; value: number | undefined; failure: Failure | undefined }>();
  readonly traces = new Map<string, Trace>();

  constructor(program: Program, records: Records) {
    this.#program = program;
    this.#records = records;
  }

  groups(form: 'ids' | 'members'): Map<string, Set<string>> {
    const groups = new Map<string, Set<string>>();
    const index = form === 'ids' ? idsByTag : xByTag;
    for (const [name, value] of this.#records) {
      const [kind, id] = name.split('/') as [Kind, string];
      let entries: readonly (string | readonly [string, string])[] = [];
      try {
        entries = index.sources[kind]?.(value, id) ?? [];
      } catch {}
      for (const entry of entries) {
        const [group, member] = typeof entry === 'string' ? [entry, id] : entry;
        groups.set(group, (groups.get(group) ?? new Set()).add(member));
      }
    }
    return groups;
  }

  keysOf(over: Unit<Kinds>['over']): string[] {
    if (typeof over === 'string')
      return [...this.#records.keys()].filter((name) => name.startsWith(`${over}/`)).map((name) => name.slice(2));
    return over.form === 'once' ? [''] : [...this.groups(over.form).keys()];
  }

  /** Throws a `Failure` with the message of where it began. */
  run(name: string, steps: readonly Step[], key: string): number {
    const trace: Trace = new Map();
    this.traces.set(name, trace);
    this.#stack.push(name);
    let failure: Failure | undefined;
    const reading: Reading = {
      get: (kind, id) => {
        trace.set(`${kind}/${id}`, this.valueOf(`${kind}/${id}`));
        return this.#records.get(`${kind}/${id}`);
      },
      pick: (kind, id) => {
        trace.set(`${kind}/${id}.x`, this.valueOf(`${kind}/${id}.x`));
        return this.#records.get(`${kind}/${id}`)?.x;
      },
      ids: (tag) => this.#readGroup(trace, 'ids', tag),
      members: (tag) => this.#readGroup(trace, 'members', tag),
      derive: (cell, cellKey) => {
        if (failure !== undefined) throw failure;
        const found = this.#cell(cell, cellKey);
        trace.set(`cell${cell}/${cellKey}`, found.text);
        failure = found.failure;
        if (failure !== undefined) throw failure;
        return found.value!;
      },
    };
    try {
      const acc = runSteps(steps, reading, key);
      if (failure !== undefined) throw failure;
      return acc;
    } catch (error) {
      throw failure ?? new Failure((error as Error).message, name);
    } finally {
      this.#stack.pop();
    }
  }

  #readGroup(trace: Trace, form: 'ids' | 'members', tag: string): string[] {
    trace.set(`${form}:${tag}`, this.valueOf(`${form}:${tag}`));
    return [...(this.groups(form).get(tag) ?? [])].sort(compareText);
  }

  #cell(cell: number, key: string): { text: string; value: number | undefined; failure: Failure | undefined } {
    const name = `cell${cell}/${key}`;
    const known = this.#memo.get(name);
    if (known !== undefined) return known;
    let value: number | undefined;
    let failure: Failure | undefined;
    const at = this.#stack.indexOf(name);
    if (at >= 0) {
      const names = this.#stack.slice(at);
      const first = names.indexOf([...names].sort(compareText)[0]!);
      failure = new Failure(
        `cycle: ${[...names.slice(first), ...names.slice(0, first), names[first]].join(' -> ')}`,
        names[first]!,
      );
      return { text: failure.text, value, failure };
    }
    try {
      value = this.run(name, this.#program.cells[cell]!, key);
    } catch (error) {
      failure = error as Failure;
    }
    const found = { text: failure?.text ?? `${value}`, value, failure };
    this.#memo.set(name, found);
    return found;
  }

  /** What a source of a trace is worth now. */
  valueOf(source: string): string {
    const cell = /^cell(\d+)\/(.*)$/.exec(source);
    if (cell) return this.#cell(Number(cell[1]), cell[2]!).text;
    const group = /^(ids|members):(.*)$/.exec(source);
    if (group) return [...(this.groups(group[1] as 'ids' | 'members').get(group[2]!) ?? [])].sort(compareText).join();
    if (source.endsWith('.x')) return `${this.#records.get(source.slice(0, -2))?.x}`;
    return JSON.stringify(this.#records.get(source)) ?? 'none';
  }
}

interface Outputs {
  readonly outputs: [string, number][];
  readonly owners: Map<string, string[]>;
}

/** The plain engine: remembers only what units that throw last gave, and what merges that throw did. */
class PlainEngine {
  readonly #program: Program;
  readonly records = new Map<string, Value>();
  readonly contributions = new Map<string, [string, number][]>();
  failing = new Map<string, string>();
  traces = new Map<string, Trace>();
  outputs = new Map<string, number>();
  owners = new Map<string, string[]>();
  conflicts = new Map<string, string>();

  constructor(program: Program) {
    this.#program = program;
  }

  update(changes: readonly Change<Kinds>[]): Plain {
    for (const change of changes) {
      if (change.op === 'put') this.records.set(`${change.kind}/${change.id}`, change.value);
      else this.records.delete(`${change.kind}/${change.id}`);
    }
    const plain = new Plain(this.#program, this.records);
    this.failing = new Map();
    const present = new Set<string>();
    this.#program.units.forEach(({ over, steps }, i) => {
      for (const key of plain.keysOf(over)) {
        const name = `unit${i}/${key}`;
        present.add(name);
        try {
          this.contributions.set(name, contributionsOf(plain.run(name, steps, key), key));
        } catch (error) {
          this.failing.set(name, (error as Error).message);
        }
      }
    });
    for (const name of this.contributions.keys()) if (!present.has(name)) this.contributions.delete(name);
    this.traces = plain.traces;
    this.#merge();
    return plain;
  }

  #merge(): void {
    const slots = new Map<string, Contributed<number>[]>();
    for (const unit of [...this.contributions.keys()].sort(compareText)) {
      for (const [slot, value] of this.contributions.get(unit)!)
        slots.set(slot, [...(slots.get(slot) ?? []), { unit, value }]);
    }
    const before = this.outputs;
    this.outputs = new Map();
    this.owners = new Map();
    this.conflicts = new Map();
    for (const slot of [...slots.keys()].sort(compareText)) {
      const contributions = slots.get(slot)!;
      const messages: string[] = [];
      this.owners.set(slot, [...new Set(contributions.map(({ unit }) => unit))]);
      let output: number | undefined;
      try {
        output = merge(contributions, (message) => messages.push(message));
      } catch (error) {
        messages.push(`the merge threw: ${(error as Error).message}`);
        output = before.get(slot);
      }
      if (output !== undefined) this.outputs.set(slot, output);
      if (messages.length > 0) this.conflicts.set(slot, messages.join('; '));
    }
  }
}

function checkDiff(diff: Diff, before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): void {
  const { added, changed, removed } = diff.of(sink);
  const slots = [...new Set([...before.keys(), ...after.keys()])].sort(compareText);
  assert.deepEqual(
    added,
    slots.filter((slot) => !before.has(slot)).map((slot) => ({ slot, after: after.get(slot) })),
  );
  assert.deepEqual(
    removed,
    slots.filter((slot) => !after.has(slot)).map((slot) => ({ slot, before: before.get(slot) })),
  );
  assert.deepEqual(
    changed,
    slots
      .filter((slot) => before.has(slot) && after.has(slot) && before.get(slot) !== after.get(slot))
      .map((slot) => ({ slot, before: before.get(slot), after: after.get(slot) })),
  );
}

/** What ran is what is new or had read something that is another now; cells that are new or asked for again may be among it. */
function checkRuns(
  ran: readonly string[],
  before: ReadonlyMap<string, Trace>,
  after: ReadonlyMap<string, Trace>,
  now: Plain,
): void {
  assert.equal(new Set(ran).size, ran.length, `run twice: ${ran.join()}`);
  const expected = [...after.keys()].filter((name) => {
    const trace = before.get(name);
    return trace === undefined || [...trace].some(([source, value]) => now.valueOf(source) !== value);
  });
  const justified = new Set(expected);
  assert.deepEqual(
    ran.filter((name) => !justified.has(name)),
    [],
    'ran without need',
  );
  const missed = new Set(expected);
  for (const name of ran) missed.delete(name);
  assert.deepEqual([...missed], [], 'did not run');
}

const arbValue = fc.record({
  x: fc.integer({ min: 0, max: 3 }),
  y: fc.integer({ min: 0, max: 2 }),
  tags: fc.array(fc.constantFrom(...TAGS), { maxLength: 3 }),
});
const arbChange: fc.Arbitrary<Change<Kinds>> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('put'),
      kind: fc.constantFrom('a', 'b'),
      id: fc.constantFrom(...IDS),
      value: arbValue,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('delete'), kind: fc.constantFrom('a', 'b'), id: fc.constantFrom(...IDS) }),
  },
) as fc.Arbitrary<Change<Kinds>>;
const arbBatches = fc.array(fc.array(arbChange, { maxLength: 4 }), { minLength: 1, maxLength: 12 });

const outputsOf = (engine: Engine<Kinds>): Outputs => {
  const outputs = engine.outputs(sink);
  return { outputs, owners: new Map(outputs.map(([slot]) => [slot, engine.ownersOf(sink, slot)])) };
};

function checkState(engine: Engine<Kinds>, plain: PlainEngine): void {
  const { outputs, owners } = outputsOf(engine);
  assert.deepEqual(outputs, [...plain.outputs]);
  for (const [slot, units] of owners) assert.deepEqual(units, plain.owners.get(slot));
  const problems = engine.problems();
  const listed = (source: string): [string, string][] =>
    problems.filter((problem) => problem.source === source).map(({ name, message }) => [name, message]);
  assert.deepEqual(new Map(listed('unit')), plain.failing);
  assert.deepEqual(
    new Map(listed('merge')),
    new Map([...plain.conflicts].map(([slot, message]) => [`sums/${slot}`, message])),
  );
}

describe('random programs on random changes', () => {
  it('give what computing everything anew gives, running exactly what read something that changed', () => {
    fc.assert(
      fc.property(fc.nat(), arbBatches, (seed, batches) => {
        const program = randomProgram(seed);
        const ran: string[] = [];
        const engine = new Engine<Kinds>(compile(program, ran));
        const plain = new PlainEngine(program);
        for (const batch of batches) {
          const { outputs: outputsBefore, traces: tracesBefore } = plain;
          ran.length = 0;
          const diff = engine.update(batch);
          const ranNow = [...ran];
          const now = plain.update(batch);
          // The traces as they are now, before asking for old sources adds more.
          const tracesAfter = new Map(plain.traces);
          checkDiff(diff, outputsBefore, plain.outputs);
          checkState(engine, plain);
          checkRuns(ranNow, tracesBefore, tracesAfter, now);
          plain.traces = tracesAfter;
        }
        const all = [...plain.records.keys()].map(
          (name) => ({ op: 'delete', kind: name[0]!, id: name.slice(2) }) as Change<Kinds>,
        );
        engine.update(all);
        const { units } = engine.size();
        if (units === 0)
          assert.deepEqual(engine.size(), { records: 0, groups: 0, cells: 0, units: 0, slots: 0, reads: 0 });
      }),
      { numRuns: RUNS },
    );
  });

  it('give what a new engine gives for the final records, in any order, where nothing has failed on the way', () => {
    fc.assert(
      fc.property(fc.nat(), arbBatches, (seed, batches) => {
        const program = randomProgram(seed);
        const engine = new Engine<Kinds>(compile(program, []));
        const records = new Map<string, Change<Kinds>>();
        for (const change of batches.flat()) records.set(`${change.kind}/${change.id}`, change);
        for (const batch of batches) engine.update(batch);
        fc.pre(!engine.problems().some(({ source }) => source === 'unit' || source === 'merge'));
        const fresh = new Engine<Kinds>(compile(program, []));
        fresh.update([...records.values()].filter((change) => change.op === 'put').reverse());
        assert.deepEqual(outputsOf(engine), outputsOf(fresh));
        // Indexes are kept from their first use on, so that their groups may be more.
        assert.deepEqual({ ...engine.size(), groups: 0 }, { ...fresh.size(), groups: 0 });
        assert.equal(engine.toDot(), fresh.toDot());
      }),
      { numRuns: RUNS },
    );
  });
});
