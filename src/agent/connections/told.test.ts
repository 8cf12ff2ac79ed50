import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Scope } from '../scope.ts';
import { EAST, WEST } from './dump.fixture.ts';
import { parseDump } from './dump.ts';
import { ConnectionJoin } from './join.ts';
import { EAST_ZONES, fixtureScope, PORT, WEST_ZONES, zonesOf } from './network.fixture.ts';
import { entriesOfPort, entryKey, zonesOfPort } from './of-port.ts';
import { entriesOfTold } from './told.ts';

const scope: Scope = fixtureScope();

test('what the flow database was told is enough to have the same entries again, but for ICMP', async () => {
  for (const [text, known] of [
    [EAST, zonesOf(EAST_ZONES)],
    [WEST, zonesOf(WEST_ZONES)],
  ] as const) {
    const tracked = await parseDump(text);
    const join = new ConnectionJoin(scope, known);
    for (const one of tracked) join.take(one);
    const told = Array.from({ length: join.size }, (_, n) => join.at(n, 0)!);
    for (const port of Object.values(PORT)) {
      const zones = zonesOfPort(scope, (owner) => known.of(owner), port);
      if (!zones) continue;
      const wanted = entriesOfPort(zones, tracked).filter(({ protocol }) => protocol !== 'icmp');
      const entries = told.filter((one) => one.port === port).flatMap(entriesOfTold);
      assert.deepEqual(entries.map(entryKey).sort(), wanted.map(entryKey).sort());
      const marks = new Map(wanted.map((entry) => [entryKey(entry), entry.mark ?? 0]));
      for (const entry of entries) assert.equal(entry.mark ?? 0, marks.get(entryKey(entry)), entryKey(entry));
    }
  }
});
