import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../base/clock.ts';
import { LateTicks } from './late-ticks.ts';

test('silence is known from ticks in time, and not until hosts had their turn after a late one', () => {
  const clock = new ManualClock(1_000_000);
  const ticks = new LateTicks(clock);
  const after = (ms: number): boolean => {
    clock.advance(ms);
    return ticks.isSilenceKnown();
  };
  assert.deepEqual([1000, 1000, 2900].map(after), [true, true, true]);
  assert.deepEqual([8000, 1000, 1000, 1000, 1000, 1000, 1000].map(after), [
    ...[false, false, false, false, false],
    ...[true, true],
  ]);
});
