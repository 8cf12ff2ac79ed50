import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { ModelIndex } from '../model/model-index.ts';
import { LeasedRecords } from './leased-records.ts';

test('what ends of a kind is of that kind alone, also where the name of one begins as that of another', () => {
  const index = new ModelIndex();
  const leased = new LeasedRecords(index, systemClock);
  leased.put({
    kind: 'learned',
    id: 's/0/02:00:00:00:00:01',
    switch: 's',
    port: 'p',
    host: 'h',
    mac: '02:00:00:00:00:01',
    vlan: 0,
  });
  leased.put({ kind: 'learnedSet', id: 'r/h/1', router: 'r', host: 'h', set: '1', via: [] });
  assert.deepEqual(
    leased.endAll('h', ['learnedSet']).map(({ kind }) => kind),
    ['learnedSet'],
  );
  assert.deepEqual(
    leased.endAll('h').map(({ kind }) => kind),
    ['learned'],
  );
});
