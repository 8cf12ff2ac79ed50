import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EAST, WEST } from './dump.fixture.ts';
import { linesOf, parseTracked } from './dump.ts';
import { type CountedPlace, Tally } from './tally.ts';

const place = (zone: number, address: string, ...except: string[]): CountedPlace => ({
  ...{ owner: `zone ${zone}`, zone, address, except },
});
const counts = (dump: string, ...places: CountedPlace[]): readonly (number | undefined)[] => {
  const tally = new Tally(places);
  for (const line of linesOf(dump)) tally.take(parseTracked(line));
  return tally.result(new Set(['zone 99'])).map(({ count }) => count);
};

test('of a floating address those count that it leads to its port, but for those that are over', () => {
  // Two more are in TIME_WAIT; one of these is how it was called from inside, on its way out.
  assert.deepEqual(counts(EAST, place(8, '203.0.113.11'), place(8, '203.0.113.12')), [1, 0]);
  const open = EAST.replaceAll('TIME_WAIT', 'ESTABLISHED');
  assert.deepEqual(counts(open, place(8, '203.0.113.11')), [2]);
});

test('of a virtual address those count that come to the member, and none that it has as a client', () => {
  assert.deepEqual(counts(WEST, place(5, '203.0.113.50', '10.0.2.11')), [1]);
  assert.deepEqual(counts(EAST, place(13, '203.0.113.50', '10.0.1.12')), [0]);
});

test('what was not read has no count', () => {
  assert.deepEqual(counts(EAST, place(99, '203.0.113.11')), [undefined]);
});
