import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ModelIndex } from '../model/model-index.ts';
import { silenceText } from './present.ts';
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

test('a host may have reported more than fits on the stack, and goes silent', () => {
  const index = new ModelIndex();
  index.put({
    kind: 'port',
    id: 'p',
    revision: 1,
    switch: 's',
    portSecurity: false,
    addresses: [],
    groups: [],
    allowedPairs: [],
  } as never);
  let uptimeMs = 0;
  const runtime = new Runtime(index, { now: () => 0, monotonicMs: () => uptimeMs, sleep: async () => {} });
  runtime.seen('h1');
  const addresses = Array.from({ length: 200_000 }, (_, n) => {
    const mac = n.toString(16).padStart(10, '0').replace(/../g, ':$&');
    return { port: 'p', vlan: 0, mac: `02${mac}` };
  });
  assert.equal(runtime.replaceLearned('h1', addresses).length, addresses.length);
  uptimeMs = LEASE_MS;
  assert.equal(runtime.expire().changes.length, addresses.length);
});

test('of a host that others do not reach either nobody says that its traffic goes on', () => {
  let uptimeMs = 0;
  const runtime = new Runtime(new ModelIndex(), { now: () => 0, monotonicMs: () => uptimeMs, sleep: async () => {} });
  for (const host of ['off', 'agentless', 'well']) runtime.seen(host);
  uptimeMs += 1_000;
  runtime.setLost('well', ['off']);
  uptimeMs += LEASE_MS;
  runtime.seen('well');
  assert.deepEqual(runtime.expire().dead, ['off', 'agentless']);
  assert.match(silenceText(runtime, 'off'), /^is silent, and other hosts get no answer either/);
  assert.equal(silenceText(runtime, 'agentless'), 'is silent; traffic goes on as it was');
});
