import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Cell, contribute, definer, defineSink, once } from './definitions.ts';
import { Engine } from './engine.ts';
import { mergeEqual, mergeUnion } from './merges.ts';

interface Kinds {
  box: { readonly shelf: string; readonly weight: number; readonly note?: string };
  shelf: { readonly limit: number };
}

const define = definer<Kinds>();
const boxesOn = define.index('boxes-on', 'box', (box) => [box.shelf]);
const shelvesOfNote = define.members('shelves-of-note', { box: (box) => (box.note ? [[box.note, box.shelf]] : []) });
const texts = defineSink<string, string>({ name: 'texts', merge: mergeEqual });
const lists = defineSink<readonly string[], readonly string[]>({
  name: 'lists',
  merge: mergeUnion((item: string) => item),
});

/** A list of runs that empties itself when looked at. */
class Runs {
  #names: string[] = [];

  add(name: string): void {
    this.#names.push(name);
  }

  take(): string[] {
    return this.#names.splice(0).sort();
  }
}

const box = (shelf: string, weight: number, note?: string) =>
  note === undefined ? { shelf, weight } : { shelf, weight, note };

describe('an engine', () => {
  it('adds, changes and removes outputs with the records they come from', () => {
    const unit = define.unit({
      name: 'label',
      over: 'box',
      run: (reader, id) => [contribute(texts, `label ${id}`, `${reader.get('box', id)?.weight} kg`)],
    });
    const engine = new Engine<Kinds>([unit]);
    assert.deepEqual(engine.put('box', 'a', box('s', 1)).of(texts).added, [{ slot: 'label a', after: '1 kg' }]);
    assert.deepEqual(engine.put('box', 'a', box('s', 2)).of(texts), {
      added: [],
      changed: [{ slot: 'label a', before: '1 kg', after: '2 kg' }],
      removed: [],
    });
    assert.deepEqual(engine.ownersOf(texts, 'label a'), ['label/a']);
    assert.deepEqual(engine.readsOf('label/a').records, ['box/a']);
    assert.deepEqual(engine.delete('box', 'a').of(texts).removed, [{ slot: 'label a', before: '2 kg' }]);
    assert.deepEqual(engine.size(), { records: 0, groups: 0, cells: 0, units: 0, slots: 0, reads: 0 });
  });

  it('runs nothing for a put of an equal value, nor for a batch that ends where it began', () => {
    const unit = define.unit({
      name: 'u',
      over: 'box',
      run: (reader, id) => [contribute(texts, id, JSON.stringify(reader.get('box', id)))],
    });
    const engine = new Engine<Kinds>([unit]);
    engine.put('box', 'a', box('s', 1));
    assert.equal(engine.put('box', 'a', box('s', 1)).runs, 0);
    const diff = engine.update([
      { op: 'put', kind: 'box', id: 'a', value: box('t', 5) },
      { op: 'delete', kind: 'box', id: 'a' },
      { op: 'put', kind: 'box', id: 'a', value: box('s', 1) },
    ]);
    assert.equal(diff.runs, 0);
    assert.equal(diff.isEmpty, true);
  });

  it('applies nothing of a batch whose changes cannot be read to the end', () => {
    const unit = define.unit({ name: 'u', over: 'box', run: (_reader, id) => [contribute(texts, id, id)] });
    const engine = new Engine<Kinds>([unit]);
    const broken = function* () {
      yield { op: 'put', kind: 'box', id: 'a', value: box('s', 1) } as const;
      throw new Error('cut off');
    };
    assert.throws(() => engine.update(broken()), /cut off/);
    assert.equal(engine.update([]).isEmpty, true);
    assert.equal(engine.size().records, 0);
  });

  it('shows a unit all changes of a batch at once', () => {
    const seen: string[] = [];
    const unit = define.unit({
      name: 'sum',
      over: boxesOn,
      run: (reader, shelf) => {
        seen.push(
          reader
            .ids(boxesOn, shelf)
            .map((id) => `${id}${reader.get('box', id)?.weight}`)
            .join(),
        );
        return [];
      },
    });
    const engine = new Engine<Kinds>([unit]);
    engine.update([
      { op: 'put', kind: 'box', id: 'b', value: box('s', 1) },
      { op: 'put', kind: 'box', id: 'a', value: box('s', 2) },
    ]);
    engine.update([
      { op: 'put', kind: 'box', id: 'a', value: box('s', 3) },
      { op: 'delete', kind: 'box', id: 'b' },
      { op: 'put', kind: 'box', id: 'c', value: box('s', 4) },
    ]);
    assert.deepEqual(seen, ['a2,b1', 'a3,c4']);
  });

  it('re-runs a unit that read the absence of a record when the record comes', () => {
    const unit = define.unit({
      name: 'u',
      over: 'box',
      run: (reader, id) => [contribute(texts, id, `limit ${reader.get('shelf', 's')?.limit ?? 'none'}`)],
    });
    const engine = new Engine<Kinds>([unit]);
    engine.put('box', 'a', box('s', 1));
    assert.equal(engine.output(texts, 'a'), 'limit none');
    engine.put('shelf', 's', { limit: 9 });
    assert.equal(engine.output(texts, 'a'), 'limit 9');
    engine.delete('shelf', 's');
    assert.equal(engine.output(texts, 'a'), 'limit none');
  });

  it('re-runs a reader of one field only for that field', () => {
    const runs = new Runs();
    const unit = define.unit({
      name: 'u',
      over: 'box',
      run: (reader, id) => {
        runs.add(id);
        return [contribute(texts, id, `${reader.pick('box', id, 'weight')}`)];
      },
    });
    const engine = new Engine<Kinds>([unit]);
    engine.put('box', 'a', box('s', 1));
    runs.take();
    engine.put('box', 'a', box('elsewhere', 1, 'fragile'));
    assert.deepEqual(runs.take(), []);
    engine.put('box', 'a', box('elsewhere', 2));
    assert.deepEqual(runs.take(), ['a']);
  });

  it('stops at a cell whose value stays equal', () => {
    const runs = new Runs();
    const isFull = define.cell({
      name: 'is-full',
      run: (reader, shelf) => {
        runs.add('cell');
        const weights = reader.ids(boxesOn, shelf).map((id) => reader.get('box', id)?.weight ?? 0);
        return weights.reduce((a, b) => a + b, 0) > (reader.get('shelf', shelf)?.limit ?? 0);
      },
    });
    const unit = define.unit({
      name: 'u',
      over: 'shelf',
      run: (reader, shelf) => {
        runs.add('unit');
        return [contribute(texts, shelf, reader.derive(isFull, shelf) ? 'full' : 'room')];
      },
    });
    const engine = new Engine<Kinds>([unit]);
    engine.put('shelf', 's', { limit: 10 });
    engine.put('box', 'a', box('s', 4));
    runs.take();
    engine.put('box', 'b', box('s', 5));
    assert.deepEqual(runs.take(), ['cell']);
    assert.equal(engine.put('box', 'c', box('s', 6)).of(texts).changed[0]?.after, 'full');
    assert.deepEqual(runs.take(), ['cell', 'unit']);
    assert.equal(
      engine.query((reader) => reader.derive(isFull, 's')),
      true,
    );
    assert.deepEqual(runs.take(), []);
    engine.delete('shelf', 's');
    assert.equal(engine.size().cells, 0, 'a cell that nobody reads is let go');
  });

  it('re-runs readers of members only when the set of members changes', () => {
    const runs = new Runs();
    const unit = define.unit({
      name: 'u',
      over: shelvesOfNote,
      run: (reader, note) => {
        runs.add(note);
        return [contribute(lists, note, reader.members(shelvesOfNote, note))];
      },
    });
    const engine = new Engine<Kinds>([unit]);
    for (const id of ['a', 'b', 'c']) engine.put('box', id, box('s', 1, 'fragile'));
    engine.put('box', 'd', box('r', 1, 'fragile'));
    assert.deepEqual(runs.take(), ['fragile', 'fragile']);
    assert.deepEqual(engine.output(lists, 'fragile'), ['r', 's']);
    engine.delete('box', 'a');
    engine.delete('box', 'b');
    assert.deepEqual(runs.take(), []);
    engine.delete('box', 'c');
    assert.deepEqual(engine.output(lists, 'fragile'), ['r']);
    engine.delete('box', 'd');
    assert.equal(engine.output(lists, 'fragile'), undefined);
    assert.equal(engine.size().units, 0);
  });

  it('runs a `once` unit at the first update, whatever it brings', () => {
    const unit = define.unit({ name: 'u', over: once, run: () => [contribute(texts, 'always', 'here')] });
    const engine = new Engine<Kinds>([unit]);
    assert.deepEqual(engine.update([]).of(texts).added, [{ slot: 'always', after: 'here' }]);
    assert.deepEqual(engine.ownersOf(texts, 'always'), ['u/']);
  });

  it('does not hand out lists that change later', () => {
    const engine = new Engine<Kinds>([]);
    engine.put('box', 'a', box('s', 1));
    const before = engine.query((reader) => reader.ids(boxesOn, 's'));
    engine.put('box', 'b', box('s', 1));
    assert.deepEqual(before, ['a']);
    assert.deepEqual(
      engine.query((reader) => reader.ids(boxesOn, 's')),
      ['a', 'b'],
    );
  });

  it('refuses to be updated from within a run, and a reader kept beyond it', () => {
    let kept: (() => unknown) | undefined;
    const unit = define.unit({
      name: 'u',
      over: 'box',
      run: (reader, id) => {
        kept = () => reader.get('box', id);
        engine.delete('box', id);
        return [];
      },
    });
    const engine = new Engine<Kinds>([unit]);
    assert.match(engine.put('box', 'a', box('s', 1)).problems[0]!.message, /within one of its own runs/);
    assert.throws(() => kept?.(), /after its run had ended/);
  });
});

describe('contributions to one slot', () => {
  const unitOf = (name: string, value: (weight: number) => string) =>
    define.unit({
      name,
      over: 'box',
      run: (reader, id) => [contribute(texts, 'shared', value(reader.get('box', id)!.weight))],
    });

  it('are one output while they agree; owners come and go without a diff', () => {
    const engine = new Engine<Kinds>([unitOf('one', () => 'same'), unitOf('two', () => 'same')]);
    engine.put('box', 'a', box('s', 1));
    assert.equal(engine.put('box', 'b', box('s', 1)).isEmpty, true);
    assert.deepEqual(engine.ownersOf(texts, 'shared'), ['one/a', 'one/b', 'two/a', 'two/b']);
    assert.equal(engine.delete('box', 'a').isEmpty, true);
    assert.deepEqual(engine.delete('box', 'b').of(texts).removed, [{ slot: 'shared', before: 'same' }]);
  });

  it('that conflict are reported with both units, and the first by name wins, in whatever order they came', () => {
    for (const ids of [
      ['a', 'b'],
      ['b', 'a'],
    ]) {
      const engine = new Engine<Kinds>([unitOf('u', (weight) => `${weight}`)]);
      const weights: Record<string, number> = { a: 1, b: 2 };
      const problems = ids.flatMap((id) => engine.put('box', id, box('s', weights[id]!)).problems);
      assert.equal(engine.output(texts, 'shared'), '1');
      assert.equal(problems.length, 1);
      assert.deepEqual(problems[0]!.units, ['u/a', 'u/b']);
      assert.equal(problems[0]!.name, 'texts/shared');
      const diff = engine.put('box', 'b', box('s', 1));
      assert.equal(diff.solved.length, 1);
      assert.equal(diff.isEmpty, true);
      assert.deepEqual(engine.problems(), []);
    }
  });

  it('are not merged again when a run contributes the same', () => {
    let merges = 0;
    const counted = defineSink<string, string>({
      name: 'counted',
      merge: (contributions) => {
        merges++;
        return contributions[0]!.value;
      },
    });
    const unit = define.unit({
      name: 'u',
      over: 'box',
      run: (reader, id) => [
        contribute(counted, 'shelf', reader.get('box', id)!.shelf),
        contribute(counted, 'weight', `${reader.get('box', id)!.weight}`),
      ],
    });
    const engine = new Engine<Kinds>([unit]);
    engine.put('box', 'a', box('s', 1));
    engine.put('box', 'a', box('s', 2));
    assert.equal(merges, 3);
  });

  it('of one unit are merged in the order in which it returned them, whatever it returned before', () => {
    const joined = defineSink<string, string>({
      name: 'joined',
      merge: (contributions) => contributions.map(({ value }) => value).join(''),
    });
    const unit = define.unit({
      name: 'u',
      over: 'box',
      run: (reader, id) => [...reader.get('box', id)!.shelf].map((letter) => contribute(joined, 'word', letter)),
    });
    const engine = new Engine<Kinds>([unit]);
    for (const word of ['weft', 'loom', 'warps', 'two', 'threads', 'x']) {
      engine.put('box', 'a', box(word, 1));
      assert.equal(engine.output(joined, 'word'), word);
    }
  });

  it('keep their last output while the merge throws', () => {
    const fragile = defineSink<number, number>({
      name: 'fragile',
      merge: (contributions) => {
        const sum = contributions.reduce((total, { value }) => total + value, 0);
        if (sum > 10) throw new Error('too heavy');
        return sum === 0 ? undefined : sum;
      },
    });
    const unit = define.unit({
      name: 'u',
      over: 'box',
      run: (reader, id) => [contribute(fragile, 'sum', reader.get('box', id)!.weight)],
    });
    const engine = new Engine<Kinds>([unit]);
    engine.put('box', 'a', box('s', 4));
    assert.match(engine.put('box', 'b', box('s', 8)).problems[0]!.message, /too heavy/);
    assert.equal(engine.output(fragile, 'sum'), 4);
    assert.deepEqual(engine.put('box', 'b', box('s', 5)).of(fragile).changed, [{ slot: 'sum', before: 4, after: 9 }]);
    assert.deepEqual(engine.problems(), []);
    const diff = engine.update([
      { op: 'put', kind: 'box', id: 'a', value: box('s', 0) },
      { op: 'put', kind: 'box', id: 'b', value: box('s', 0) },
    ]);
    assert.deepEqual(diff.of(fragile).removed, [{ slot: 'sum', before: 9 }], 'undefined is no output');
  });
});

describe('a unit that throws', () => {
  const heavy = define.cell({
    name: 'weight',
    run: (reader, id) => {
      const weight = reader.get('box', id)?.weight ?? 0;
      if (weight > 10) throw new Error(`${weight} kg is too heavy`);
      return weight;
    },
  });

  it('keeps its last contributions, is listed, and is tried again when what it read changes', () => {
    const runs = new Runs();
    const unit = define.unit({
      name: 'u',
      over: 'box',
      run: (reader, id) => {
        runs.add(id);
        const { weight, shelf } = reader.get('box', id)!;
        if (weight > (reader.get('shelf', shelf)?.limit ?? 10)) throw new Error('too heavy');
        return [contribute(texts, id, `${weight}`)];
      },
    });
    const engine = new Engine<Kinds>([unit]);
    engine.put('box', 'a', box('s', 1));
    const diff = engine.put('box', 'a', box('s', 20));
    assert.equal(diff.isEmpty, true);
    assert.deepEqual(
      diff.problems.map(({ name, message }) => [name, message]),
      [['u/a', 'too heavy']],
    );
    assert.equal(engine.output(texts, 'a'), '1');
    runs.take();
    engine.put('shelf', 'other', { limit: 30 });
    assert.deepEqual(runs.take(), []);
    assert.equal(engine.put('shelf', 's', { limit: 30 }).solved.length, 1);
    assert.equal(engine.output(texts, 'a'), '20');
    engine.put('shelf', 's', { limit: 10 });
    assert.deepEqual(engine.delete('box', 'a').of(texts).removed.length, 1);
    assert.deepEqual(engine.problems(), []);
  });

  it('also throws where it catches the failure of a cell; the cell is listed with the units that it stops', () => {
    const unit = define.unit({
      name: 'u',
      over: 'box',
      run: (reader, id) => {
        try {
          return [contribute(texts, id, `${reader.derive(heavy, 'a')}`)];
        } catch {
          return [];
        }
      },
    });
    const engine = new Engine<Kinds>([unit]);
    engine.put('box', 'a', box('s', 1));
    engine.put('box', 'b', box('s', 1));
    engine.put('box', 'a', box('s', 11));
    assert.equal(engine.output(texts, 'b'), '1');
    assert.deepEqual(
      engine.problems().map(({ source, name, message, units }) => [source, name, message, units.join()]),
      [
        ['cell', 'weight/a', '11 kg is too heavy', 'u/a,u/b'],
        ['unit', 'u/a', '11 kg is too heavy', 'u/a'],
        ['unit', 'u/b', '11 kg is too heavy', 'u/b'],
      ],
    );
    engine.put('box', 'a', box('s', 2));
    assert.deepEqual(engine.problems(), []);
    engine.put('box', 'a', box('s', 12));
    assert.throws(() => engine.query((reader) => reader.derive(heavy, 'a')), /12 kg is too heavy/);
  });

  it('counts as throwing when it returns what are no contributions', () => {
    const units = [undefined, 5, [undefined], [{ slot: 'x', value: 1 }]].map((result, i) =>
      define.unit({ name: `u${i}`, over: once, run: () => result as never }),
    );
    assert.equal(new Engine<Kinds>(units).update([]).problems.length, units.length);
  });

  it('throws in an index: the record is in none of its groups until it is put right', () => {
    const byNote = define.index('by-note', 'box', (value) => [(value.note as string).toUpperCase()]);
    const unit = define.unit({
      name: 'u',
      over: byNote,
      run: (reader, group) => [contribute(lists, group, reader.ids(byNote, group))],
    });
    const engine = new Engine<Kinds>([unit]);
    engine.put('box', 'a', box('s', 1, 'x'));
    const diff = engine.put('box', 'a', box('s', 1));
    assert.deepEqual(
      diff.problems.map(({ source, name }) => [source, name]),
      [['index', 'by-note/box/a']],
    );
    assert.equal(diff.of(lists).removed.length, 1);
    assert.equal(engine.put('box', 'a', box('s', 1, 'y')).solved.length, 1);
    assert.deepEqual(engine.output(lists, 'Y'), ['a']);
  });
});

describe('derived cells that read each other', () => {
  /** A box whose note names another weighs as much more. */
  const total: Cell<Kinds, number> = define.cell({
    name: 'total',
    run: (reader, id): number => {
      const value = reader.get('box', id);
      return (value?.weight ?? 0) + (value?.note ? reader.derive(total, value.note) : 0);
    },
  });
  const unit = define.unit({
    name: 'u',
    over: 'box',
    run: (reader, id) => [contribute(texts, id, `${reader.derive(total, id)}`)],
  });

  it('in a cycle fail, in the same words wherever it was entered, and recover when it is broken', () => {
    for (const ids of [
      ['a', 'b', 'c'],
      ['c', 'b', 'a'],
    ]) {
      const engine = new Engine<Kinds>([unit]);
      const next: Record<string, string> = { a: 'b', b: 'c', c: 'a' };
      engine.update(ids.map((id) => ({ op: 'put', kind: 'box', id, value: box('s', 1, next[id]!) })));
      const messages = new Set(engine.problems().map((problem) => problem.message));
      assert.deepEqual([...messages], ['cycle: total/a -> total/b -> total/c -> total/a']);
      engine.put('box', 'c', box('s', 1));
      assert.deepEqual(engine.problems(), []);
      assert.deepEqual(engine.outputs(texts), [
        ['a', '3'],
        ['b', '2'],
        ['c', '1'],
      ]);
      engine.put('box', 'c', box('s', 1, 'c'));
      assert.match(engine.problems()[0]!.message, /total\/c -> total\/c$/);
      engine.update(ids.map((id) => ({ op: 'delete', kind: 'box', id })));
      assert.deepEqual(engine.size(), { records: 0, groups: 0, cells: 0, units: 0, slots: 0, reads: 0 });
    }
  });

  it('too deep fail without overflowing the stack, and are tried again', () => {
    const engine = new Engine<Kinds>([unit]);
    const deep = 500;
    engine.update(
      Array.from({ length: deep }, (_, i) => ({ op: 'put', kind: 'box', id: `${i}`, value: box('s', 1, `${i + 1}`) })),
    );
    assert.match(engine.problems()[0]!.message, /deep$/);
    engine.put('box', '100', box('s', 1));
    assert.equal(engine.output(texts, '0'), '101');
    engine.update(Array.from({ length: deep }, (_, i) => ({ op: 'delete', kind: 'box', id: `${i}` })));
    assert.equal(engine.size().cells, 0);
    assert.deepEqual(engine.problems(), []);
  });
});

describe('the dependency graph as DOT', () => {
  const weight = define.cell({ name: 'weight', run: (reader, id) => reader.pick('box', id, 'weight') ?? 0 });
  const unit = define.unit({
    name: 'sum "all"',
    over: boxesOn,
    run: (reader, shelf) =>
      reader.ids(boxesOn, shelf).map((id) => contribute(texts, id, `${reader.derive(weight, id)}`)),
  });
  const engine = new Engine<Kinds>([unit]);
  engine.put('box', 'a', box('s', 1));

  it('shows families', () => {
    assert.equal(
      engine.toDot(),
      `digraph incremental {
  rankdir=LR;
  "cell weight" [shape=ellipse, label="weight"];
  "index boxes-on" [shape=hexagon, label="boxes-on"];
  "record box" [shape=box, label="box"];
  "sink texts" [shape=cylinder, label="texts"];
  "unit sum \\"all\\"" [shape=component, label="sum \\"all\\""];
  "cell weight" -> "unit sum \\"all\\"" [style=solid];
  "index boxes-on" -> "unit sum \\"all\\"" [style=dashed];
  "index boxes-on" -> "unit sum \\"all\\"" [style=solid];
  "record box" -> "cell weight" [style=solid, label=".weight"];
  "record box" -> "index boxes-on" [style=solid];
  "unit sum \\"all\\"" -> "sink texts" [style=solid];
}
`,
    );
  });

  it('shows what leads to a unit and what a record leads to', () => {
    const toUnit = engine.toDot({ unit: 'sum "all"/s' });
    assert.match(toUnit, /"record box\/a.weight" -> "cell weight\/a"/);
    assert.match(toUnit, /-> "sink texts\/a"/);
    const fromRecord = engine.toDot({ record: { kind: 'box', id: 'a' } });
    assert.match(fromRecord, /"index boxes-on\/s" -> "unit sum/);
    assert.match(fromRecord, /"cell weight\/a" -> "unit sum/);
    assert.doesNotMatch(engine.toDot({ unit: 'none/x' }), /->/);
  });
});
