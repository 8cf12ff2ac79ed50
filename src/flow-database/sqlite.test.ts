import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { batch, CONTRACT_BOUNDS, flowStoreContract, outward } from './contract.ts';
import { KEPT_MS, SILENCE_MS, SLACK_MS } from './flow-store.ts';
import { SqliteFlowStore } from './sqlite.ts';
import { openWorkerFlowStore } from './worker-store.ts';

const NOW = CONTRACT_BOUNDS.nowMs;
const openHere = (more: Partial<ConstructorParameters<typeof SqliteFlowStore>[0]> = {}): SqliteFlowStore =>
  new SqliteFlowStore({ path: ':memory:', ...CONTRACT_BOUNDS, ...more });

flowStoreContract('sqlite', async () => new SqliteFlowStore({ path: ':memory:', ...CONTRACT_BOUNDS }));
flowStoreContract('sqlite in a thread', () => openWorkerFlowStore({ path: ':memory:', ...CONTRACT_BOUNDS }));

test('what was told is there after a restart, and its bounds count it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-flows-'));
  const open = () => openWorkerFlowStore({ path: join(directory, 'flows.db'), ...CONTRACT_BOUNDS });
  try {
    const first = await open();
    const put = Array.from({ length: 50 }, (_, n) => outward(n));
    await first.write(batch(put, { isWhole: true }));
    await first.close();
    await assert.rejects(first.list({}, 1), (error) => error instanceof WeftError && error.code === 'closed');
    const second = await open();
    assert.equal((await second.list({}, 100)).length, 50);
    assert.deepEqual(await second.write(batch([outward(50)])), { isFull: true });
    await second.close();
    // It was down for an hour: its hosts have a minute from then on, and who does not come ended when he was heard last.
    const third = await open();
    const later = NOW + 3_600_000;
    await third.expire(later);
    await third.write(batch([], { host: 'h2', atMs: later, isWhole: true }));
    await third.expire(later + SILENCE_MS);
    assert.equal((await third.list({}, 100)).length, 50);
    await third.expire(later + SILENCE_MS + 1);
    assert.equal((await third.list({}, 100)).length, 0);
    const { holders } = await third.whoHeld({ address: '203.0.113.2', port: 40_049, atMs: NOW + 100 });
    assert.equal(holders[0]?.toMs, NOW);
    await third.close();
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a damaged file is refused as invalid', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-flows-'));
  const path = join(directory, 'flows.db');
  writeFileSync(path, 'no database, but long enough to be taken for one by its length alone'.repeat(100));
  assert.throws(
    () => openHere({ path }),
    (error) => error instanceof WeftError && error.code === 'invalid',
  );
  rmSync(directory, { recursive: true });
});

test('where it is full the tenant with most gives way to others, down to what they have', async () => {
  const store = openHere({ mostTranslations: 1_000 });
  /** Of a host of its own. */
  const tell = (tenant: string, first: number, n: number) => {
    const host = `h${tenant}`;
    const put = Array.from({ length: n }, (_, i) => outward(first + i, { host, tenant, port: tenant }));
    return store.write(batch(put, { host }));
  };
  const counts = async (): Promise<number[]> =>
    await Promise.all(['t1', 't2', 't3'].map(async (tenant) => (await store.list({ tenant }, 100)).length));
  assert.equal((await tell('t1', 0, 80)).isFull, true);
  assert.equal((await tell('t2', 100, 5)).isFull, undefined);
  assert.deepEqual(await counts(), [45, 5, 0]);
  assert.equal((await tell('t1', 80, 9)).isFull, true);
  assert.equal((await tell('t3', 200, 80)).isFull, true);
  assert.deepEqual(await counts(), [23, 5, 22]);
  // The log knows what gave way, as long as its host names it.
  const holders = async () => (await store.whoHeld({ address: '203.0.113.2', port: 40_080, atMs: NOW + 80 })).holders;
  assert.deepEqual([(await holders()).length, (await holders())[0]?.toMs], [1, undefined]);
  await store.write(batch([], { host: 'ht1', atMs: NOW + 1_000, gone: ['out-80'] }));
  assert.equal((await holders())[0]?.toMs, NOW + 1_000);
  await store.write(batch([], { host: 'ht1', epoch: 2, isWhole: true }));
  assert.deepEqual(await counts(), [0, 5, 22]);
  assert.equal((await tell('t2', 300, 23)).isFull, undefined);
  await store.close();
});

test('all that is older than 90 days goes at once, in slices between which others have their turn', async () => {
  const store = openHere({ mostConnections: 100_000, mostTranslations: 100_000 });
  const put = Array.from({ length: 24_000 }, (_, n) => outward(n));
  await store.write(batch(put, { isWhole: true }));
  await store.write(batch([], { epoch: 2, isWhole: true }));
  const later = NOW + KEPT_MS + 1;
  const order: string[] = [];
  const forgetting = store.expire(later).then(() => order.push('forgotten'));
  await store.write(batch([], { host: 'h2', atMs: later })).then(() => order.push('written'));
  await forgetting;
  assert.deepEqual(order, ['written', 'forgotten']);
  const { holders } = await store.whoHeld({ address: '203.0.113.2', atMs: NOW });
  assert.deepEqual(holders, []);
  await store.close();
});

test('a file of before is taken over: its log is there, and its hosts are asked for everything', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-flows-'));
  const path = join(directory, 'flows.db');
  const before = openHere({ path });
  await before.write(batch([outward(1)], { isWhole: true }));
  await before.close();
  const raw = new DatabaseSync(path);
  raw.exec('ALTER TABLE hosts DROP COLUMN whole; ALTER TABLE translations DROP COLUMN epoch');
  raw.close();
  const store = openHere({ path });
  assert.deepEqual(await store.write(batch([])), { isAgain: true });
  assert.deepEqual(await store.write(batch([outward(1)], { epoch: 2, isWhole: true })), {});
  const { holders } = await store.whoHeld({ address: '203.0.113.2', port: 40_001, atMs: NOW + 10 });
  assert.deepEqual(
    holders.map(({ toMs }) => toMs),
    [undefined],
  );
  await store.close();
  rmSync(directory, { recursive: true });
});

test('how far back the log reaches follows what is too old, also behind a long stop before anything is forgotten', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-flows-'));
  const path = join(directory, 'flows.db');
  await openHere({ path }).close();
  const store = openHere({ path, nowMs: NOW + KEPT_MS + 10_000 });
  const reach = async (): Promise<number> => (await store.whoHeld({ address: '203.0.113.2', atMs: NOW })).sinceMs;
  assert.equal(await reach(), NOW + 10_000);
  await store.expire(NOW + KEPT_MS + 20_000);
  assert.equal(await reach(), NOW + 20_000);
  await store.close();
  rmSync(directory, { recursive: true });
});

test('what is forgotten for its number never lets the log reach further back, nor beyond the present', async () => {
  const store = openHere({ mostTranslations: 2 });
  const reach = async (): Promise<number> => (await store.whoHeld({ address: '203.0.113.2', atMs: NOW })).sinceMs;
  await store.write(batch([outward(5), outward(6)]));
  // It began long ago, and is told only now.
  await store.write(batch([outward(1, { sinceMs: NOW - 3_600_000 })]));
  assert.equal(await reach(), NOW + 6);
  await store.write(batch([outward(2, { sinceMs: NOW - 3_000_000 })]));
  assert.equal(await reach(), NOW + 7, 'not back to what began before');
  await store.write(batch([outward(3, { sinceMs: NOW + 86_400_000 })]));
  await store.write(batch([outward(7), outward(8)]));
  assert.equal(await reach(), NOW + SLACK_MS, 'a clock is ahead');
  await store.close();
});
