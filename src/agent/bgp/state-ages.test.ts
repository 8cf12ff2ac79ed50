import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StateAges } from './state-ages.ts';

test('a session that was up is down since it went down, not since it was down before', () => {
  const ages = new StateAges();
  assert.equal(ages.since('s', 'active', 1000), 1000);
  assert.equal(ages.since('s', 'active', 2000), 1000);
  assert.equal(ages.since('s', 'established', 4000, 3500), 3500);
  assert.equal(ages.since('s', 'active', 9000), 9000);
});

test('what is known in whole seconds does not move with each look, but with the session', () => {
  const ages = new StateAges();
  assert.equal(ages.since('s', 'established', 5000, 3500), 3500);
  assert.equal(ages.since('s', 'established', 6400, 3900), 3500);
  assert.equal(ages.since('s', 'established', 9000, 7500), 7500, 'it was down and up between two looks');
});

test('a session that is gone and comes again is a new one', () => {
  const ages = new StateAges();
  ages.since('s', 'active', 1000);
  ages.keep(new Set(['t']));
  assert.equal(ages.since('s', 'active', 5000), 5000);
});
