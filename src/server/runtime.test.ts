import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ModelIndex } from '../model/model-index.ts';
import { LEASE_MS, Runtime } from './runtime.ts';

test('a clock that is set makes no host dead, nor one that is silent alive', () => {
  let wallMs = 1_700_000_000_000;
  let uptimeMs = 5_000;
  const runtime = new Runtime(new ModelIndex(), {
    now: () => wallMs,
    monotonicMs: () => uptimeMs,
    sleep: async () => {},
  });
  runtime.connected('h1');
  runtime.connected('h2');
  wallMs += 3_600_000;
  assert.deepEqual(runtime.expire(), { dead: [], changes: [] });
  assert.equal(runtime.isSettled('h1', []), false);
  wallMs -= 7_200_000;
  uptimeMs += LEASE_MS;
  runtime.seen('h1');
  assert.deepEqual(runtime.expire().dead, ['h2']);
  assert.equal(runtime.isSettled('h1', []), true);
  assert.equal(runtime.host('h1')?.lastSeenMs, wallMs);
});
