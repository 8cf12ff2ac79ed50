import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { CONTRACT_BOUNDS, flowStoreContract, outward } from './contract.ts';
import { SqliteFlowStore } from './sqlite.ts';
import { openWorkerFlowStore } from './worker-store.ts';

flowStoreContract('sqlite', async () => new SqliteFlowStore({ path: ':memory:', ...CONTRACT_BOUNDS }));
flowStoreContract('sqlite in a thread', () => openWorkerFlowStore({ path: ':memory:', ...CONTRACT_BOUNDS }));

test('what was told is there after a restart, and its bounds count it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-flows-'));
  const open = () => openWorkerFlowStore({ path: join(directory, 'flows.db'), ...CONTRACT_BOUNDS });
  try {
    const first = await open();
    const put = Array.from({ length: 50 }, (_, n) => outward(n));
    await first.write({ host: 'h1', epoch: 1, atMs: CONTRACT_BOUNDS.nowMs, put, gone: [] });
    await first.close();
    await assert.rejects(first.list({}, 1), (error) => error instanceof WeftError && error.code === 'closed');
    const second = await open();
    assert.equal((await second.list({}, 100)).length, 50);
    const more = { host: 'h1', epoch: 2, atMs: CONTRACT_BOUNDS.nowMs, put: [outward(50)], gone: [] };
    await assert.rejects(second.write(more), (error) => error instanceof WeftError && error.code === 'full');
    await second.close();
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a damaged file is refused as invalid', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-flows-'));
  const path = join(directory, 'flows.db');
  writeFileSync(path, 'no database, but long enough to be taken for one by its length alone'.repeat(100));
  await assert.rejects(
    openWorkerFlowStore({ path, ...CONTRACT_BOUNDS }),
    (error) => error instanceof WeftError && error.code === 'invalid',
  );
  rmSync(directory, { recursive: true });
});
