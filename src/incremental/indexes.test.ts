import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { definer } from './definitions.ts';
import { type Change, Engine } from './engine.ts';

interface Kinds {
  thing: { readonly pairs: readonly (readonly [group: string, member: string])[] };
}

const define = definer<Kinds>();
const pairs = define.members('pairs', { thing: (thing) => thing.pairs });

describe('a group of members', () => {
  it('is the sorted set of what the records give it, and tells its readers when that is another set, only then', () => {
    const arbPairs = fc.array(fc.tuple(fc.constantFrom('g', 'h'), fc.integer({ min: 0, max: 30 }).map(String)), {
      maxLength: 40,
    });
    const arbBatch = fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }).map(String), fc.option(arbPairs)), {
      maxLength: 5,
    });
    fc.assert(
      fc.property(fc.array(arbBatch, { maxLength: 8 }), (batches) => {
        const seen: string[] = [];
        const unit = define.unit({
          name: 'u',
          over: pairs,
          run: (reader, group) => {
            if (group === 'g') seen.push(reader.members(pairs, group).join());
            return [];
          },
        });
        const engine = new Engine<Kinds>([unit]);
        const records = new Map<string, readonly (readonly [string, string])[]>();
        let last = '';
        for (const batch of batches) {
          engine.update(
            batch.map(([id, value]): Change<Kinds> => {
              if (value === null) records.delete(id);
              else records.set(id, value);
              return value === null
                ? { op: 'delete', kind: 'thing', id }
                : { op: 'put', kind: 'thing', id, value: { pairs: value } };
            }),
          );
          const inG = [...records.values()].flat().filter(([group]) => group === 'g');
          const now = [...new Set(inG.map(([, member]) => member))].sort().join();
          assert.deepEqual(seen.splice(0), now === last || now === '' ? [] : [now]);
          assert.equal(engine.query((reader) => reader.members(pairs, 'g')).join(), now);
          last = now;
        }
      }),
    );
  });
});
