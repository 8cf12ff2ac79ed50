// Measures: runs alone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Served } from './served.ts';

const served = new Served();

before(() => served.start());
after(() => served.stop());

test('a command starts within 600 ms of its first keystroke', async () => {
  await served.run(['get', 'ports']);
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const from = performance.now();
    assert.equal((await served.run(['get', 'ports'])).code, 0);
    times.push(performance.now() - from);
  }
  assert.ok(Math.min(...times) < 600, `${times.map(Math.round).join(' ')} ms`);
});
