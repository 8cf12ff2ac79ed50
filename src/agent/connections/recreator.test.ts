import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../base/log.ts';
import { EAST } from './dump.fixture.ts';
import { parseDump } from './dump.ts';
import { type EntryInZone, recreation } from './recreate.ts';
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
