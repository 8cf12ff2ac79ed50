import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../base/log.ts';
import { EAST } from './dump.fixture.ts';
import { parseDump } from './dump.ts';
import { type EntryInZone, ending, recreation } from './recreate.ts';
import { Recreator } from './recreator.ts';

test('what is asked later is done later: an import is over when all of its entries are made, not the last answer alone', async () => {
  const entry = (await parseDump(EAST)).find(({ protocol, isOver }) => protocol === 'tcp' && !isOver)!;
  const packets = recreation(entry, entry.zone).length;
  const make = Array.from({ length: 1000 }, (): EntryInZone => ({ entry, zone: entry.zone }));
  let ran = 0;
  const recreator = new Recreator({
    run: (some) => {
      ran += some.length;
    },
    disregardSequences: async () => {},
    log: silentLog,
  });
  void recreator.perform({ make });
  await recreator.perform({ make: [] });
  assert.equal(ran, make.length * packets);
});

test('an entry whose translation is no address is not made, and does not throw where it ends', async () => {
  const entry = (await parseDump(EAST)).find(({ protocol, isOver }) => protocol === 'tcp' && !isOver)!;
  const { original, reply } = entry;
  const garbled = { ...entry, reply: { ...reply, to: { ...original.from, address: '10.0.1.x' } } };
  assert.deepEqual(recreation(garbled, 8), []);
  assert.equal(ending(garbled, 8).length, 1);
});

test('what cannot be made is logged, and whoever waits for it goes on', async () => {
  const entry = (await parseDump(EAST)).find(({ protocol, isOver }) => protocol === 'tcp' && !isOver)!;
  const errors: string[] = [];
  const recreator = new Recreator({
    run: () => {
      throw new RangeError('no such number');
    },
    disregardSequences: async () => {},
    log: { ...silentLog, error: (message) => void errors.push(message) },
  });
  await recreator.perform({ make: [{ entry, zone: 8 }] });
  assert.deepEqual(errors, ['connections were not made again']);
});
