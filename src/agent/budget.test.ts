import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BUDGET, Budgets } from './budget.ts';

function exhaust(budgets: Budgets, port: string, nowMs: number): void {
  for (let i = 0; i < BUDGET.burst; i++) assert.equal(budgets.take(port, nowMs), 'ok');
  assert.equal(budgets.take(port, nowMs), 'shut-off');
}

test('a port within its rate is never shut off', () => {
  const budgets = new Budgets();
  for (let nowMs = 0; nowMs < 60_000; nowMs += 1000 / BUDGET.perSecond) assert.equal(budgets.take('p', nowMs), 'ok');
});

test('a spraying port is shut off once, alone, and released after a while', () => {
  const budgets = new Budgets();
  exhaust(budgets, 'p', 0);
  assert.equal(budgets.take('p', 1), 'ignored');
  assert.equal(budgets.take('q', 1), 'ok');
  assert.deepEqual(budgets.released(BUDGET.firstShutOffMs - 1, ['p']), []);
  assert.deepEqual(budgets.released(BUDGET.firstShutOffMs, ['p']), ['p']);
  assert.equal(budgets.take('p', BUDGET.firstShutOffMs), 'ok');
});

test('each shut-off is twice as long as the last, up to the longest', () => {
  const budgets = new Budgets();
  let nowMs = 0;
  let lengthMs: number = BUDGET.firstShutOffMs;
  for (let i = 0; i < 8; i++) {
    exhaust(budgets, 'p', nowMs);
    assert.equal(budgets.shutOffMs('p', nowMs), lengthMs);
    nowMs += lengthMs;
    lengthMs = Math.min(2 * lengthMs, BUDGET.longestShutOffMs);
  }
  nowMs += BUDGET.forgiveAfterMs + 1;
  exhaust(budgets, 'p', nowMs);
  assert.equal(budgets.shutOffMs('p', nowMs), BUDGET.firstShutOffMs);
});

test('a clock that goes back takes nothing from a budget, and makes no shut-off longer', () => {
  const budgets = new Budgets();
  assert.equal(budgets.take('p', 3_600_000), 'ok');
  assert.equal(budgets.take('p', 0), 'ok');
  exhaust(budgets, 'q', 3_600_000);
  assert.equal(budgets.take('q', 0), 'ignored');
  assert.equal(budgets.shutOffMs('q', 0), BUDGET.firstShutOffMs);
  assert.deepEqual(budgets.released(BUDGET.firstShutOffMs, ['q']), ['q']);
  assert.equal(budgets.take('q', BUDGET.firstShutOffMs), 'ok');
});
