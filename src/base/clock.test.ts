import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SteadyClock, systemClock } from './clock.ts';

test('a steady clock goes on by what passes, whatever the wall clock is set to, and tells what that shows', () => {
  let [wallMs, passedMs] = [1_700_000_000_000, 12.5];
  const steady = new SteadyClock({ ...systemClock, now: () => wallMs, monotonicMs: () => passedMs });
  assert.equal(steady.now(), 1_700_000_000_000);
  passedMs += 1_000.75;
  wallMs -= 3_600_000;
  assert.equal(steady.now(), 1_700_000_001_000);
  assert.equal(steady.wallTime(steady.now() - 500), wallMs - 500);
  passedMs += 1_000;
  wallMs += 10_000_000;
  assert.equal(steady.now(), 1_700_000_002_000);
  assert.equal(steady.wallTime(steady.now()), wallMs);
});
