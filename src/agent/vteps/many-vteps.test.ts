import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ManualClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import type { AgentEvent } from '../events.ts';
import type { VtepPlan } from './plan.ts';
import { VtepLink } from './vtep-link.ts';

test('what many sessions have to say in one turn is said once', async () => {
  const events: AgentEvent[] = [];
  const ended = new AbortController();
  const link = new VtepLink({
    ...{ clock: new ManualClock(), log: silentLog, signal: ended.signal },
    emit: (event) => events.push(event),
  });
  const plans = Array.from({ length: 20 }, (_, n): VtepPlan => {
    const common = { name: `tor-${n}`, ownAddress: '192.0.2.1', bindings: [] };
    return { ...common, vtep: `vtep-${n}`, management: 'nowhere' };
  });
  link.perform({ kind: 'serveVteps', plans, isCurrent: true });
  assert.equal(events.length, 0);
  await nextTurn();
  await nextTurn();
  ended.abort();
  const [told, ...more] = events;
  assert.ok(told?.kind === 'vteps' && more.length === 0, `${events.length} events`);
  assert.deepEqual(new Set([...told.states.vteps.values()].map(({ state }) => state)), new Set(['wrong']));
  assert.equal(told.states.vteps.size, 20);
});
