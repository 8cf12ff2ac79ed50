import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flaps } from './flaps.ts';

test('a session that went down three times within a minute flaps, until a minute has passed', () => {
  const flaps = new Flaps();
  assert.equal(flaps.note('p', 7, 0), undefined, 'whatever was before');
  assert.equal(flaps.note('p', 9, 10_000), undefined);
  assert.equal(flaps.note('p', 10, 20_000), 3);
  assert.equal(flaps.note('p', 10, 65_000), 3);
  assert.equal(flaps.note('p', 10, 70_000), undefined);
  assert.equal(flaps.note('p', 13, 71_000), 4, 'with the one of 51 s before');
  assert.equal(flaps.note('p', 0, 72_000), undefined, 'bgpd counts anew');
  assert.equal(flaps.note('q', 5, 0), undefined);
});
