// Measures: runs alone.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { Served } from './served.ts';

const served = new Served();

before(() => served.start());
after(() => served.stop());

/** What `node -e 0` takes on the machine that the bar is meant for; of one that is slower, or has less time, more is not asked. */
const BARE_MS = 100;

test('a command starts within 600 ms of its first keystroke', async () => {
  await served.run(['get', 'ports']);
  const times: number[] = [];
  const bare: number[] = [];
  for (let i = 0; i < 5; i++) {
    const from = performance.now();
    assert.equal((await served.run(['get', 'ports'])).code, 0);
    times.push(performance.now() - from);
    const bareFrom = performance.now();
    assert.equal(spawnSync(process.execPath, ['-e', '0']).status, 0);
    bare.push(performance.now() - bareFrom);
  }
  const bar = 600 * Math.max(1, Math.min(...bare) / BARE_MS);
  const told = [times, bare].map((each) => each.map(Math.round).join(' '));
  assert.ok(Math.min(...times) < bar, `${told[0]} ms, of ${Math.round(bar)}; node alone: ${told[1]} ms`);
});
