import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { batch, CONTRACT_BOUNDS, flowStoreContract, outward } from './contract.ts';
import { FileFlowStore } from './file.ts';
import type { FlowStore, Holder, Lease, Troubles } from './flow-store.ts';
import { openWorkerFlowStore } from './worker-store.ts';

const NOW: number = CONTRACT_BOUNDS.nowMs;
const PUBLIC = '203.0.113.2';
const GARBAGE = 'no database, but long enough to be taken for one by its length alone'.repeat(100);

/** A place for a file, the store in it, and what it has said. */
async function inDirectory(
  work: (place: {
    path: string;
    told: (string | undefined)[];
    open: (nowMs?: number) => FileFlowStore;
  }) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-flows-'));
  const path = join(directory, 'flows.db');
  const told: (string | undefined)[] = [];
  const open = (nowMs = NOW): FileFlowStore =>
    new FileFlowStore({ ...CONTRACT_BOUNDS, path, nowMs }, (trouble) => void told.push(trouble));
  try {
    await work({ path, told, open });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** As another process does that works on it alone. */
function hold(path: string): DatabaseSync {
  const other = new DatabaseSync(path);
  other.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; INSERT INTO meta VALUES (1, 1)');
  return other;
}

const holders = async (store: FlowStore, n: number, atMs: number): Promise<readonly Holder[]> =>
  (await store.whoHeld({ address: PUBLIC, port: 40_000 + n, atMs })).holders;
const ends = async (store: FlowStore, n: number, atMs: number): Promise<unknown> =>
  (await holders(store, n, atMs)).map(({ fromMs, toMs }) => [fromMs, toMs]);

flowStoreContract('in a file', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-flows-'));
  const store = new FileFlowStore({ ...CONTRACT_BOUNDS, path: join(directory, 'flows.db') });
  const close = store.close.bind(store);
  store.close = () => close().then(() => rmSync(directory, { recursive: true }));
  return store;
});

test('a damaged file is set aside with what is beside it, over no earlier one, and told until it is moved away', async () => {
  await inDirectory(async ({ path, told, open }) => {
    for (const name of [path, `${path}.damaged`, `${path}.damaged-wal`]) writeFileSync(name, GARBAGE);
    mkdirSync(`${path}-shm`); // what SQLite can do nothing about
    const first = open();
    await first.write(batch([outward(1)]));
    assert.equal((await holders(first, 1, NOW + 1)).length, 1);
    await first.close();
    const stamp = new Date(NOW).toISOString().replaceAll(':', '-');
    const aside = `${path}.damaged-${stamp}`;
    assert.equal(readFileSync(aside, 'utf8'), GARBAGE);
    assert.ok(existsSync(`${aside}-shm`));
    for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true, recursive: true });
    writeFileSync(path, GARBAGE.toUpperCase());
    const second = open();
    assert.equal(readFileSync(`${path}.damaged`, 'utf8'), GARBAGE);
    assert.equal(readFileSync(aside, 'utf8'), GARBAGE);
    assert.equal(readFileSync(`${aside}-2`, 'utf8'), GARBAGE.toUpperCase());
    assert.equal(told.length, 2);
    assert.ok(told[1]?.includes(`is in ${path}.damaged, ${aside}, ${aside}-2 alone`), told.join());
    for (const name of readdirSync(join(path, '..')))
      if (name.includes('damaged')) renameSync(join(path, '..', name), join(path, '..', `old-${name}`));
    await second.expire(NOW);
    assert.deepEqual(told.slice(2), [undefined]);
    await second.close();
  });
});

test('a file that another holds stays as it is: the store is in memory meanwhile, and the file has all afterwards', async () => {
  await inDirectory(async ({ path, told, open }) => {
    const lease = (more: Partial<Lease>): Lease => ({
      ...{ router: 'r1', address: PUBLIC, host: 'h1', names: { host: 'east', router: 'acme/r' }, atMs: NOW },
      blocks: [{ first: 1024, size: 512 }],
      ...more,
    });
    const before = open();
    // Of h2 nothing is heard any more.
    await before.write(batch([outward(9, { host: 'h2' })], { host: 'h2', isWhole: true }));
    await before.write(batch([outward(1), outward(2), outward(3)], { isWhole: true }));
    await before.setLease(lease({}));
    await before.setLease(lease({ host: 'h2' }));
    await before.close();
    const other = hold(path);
    const bytes = readFileSync(path);
    const wal = readFileSync(`${path}-wal`);
    assert.ok(wal.length > 0);

    const restartMs = NOW + 1_000;
    const store = open(restartMs);
    assert.match(told.join(), /flows\.db: database is locked: end what holds it.*the file is left as it is/);
    assert.deepEqual([readFileSync(path), readFileSync(`${path}-wal`)], [bytes, wal]);
    const at = (ms: number) => ({ atMs: restartMs + ms, epoch: 2 });
    await store.setLease(lease({ atMs: restartMs }));
    assert.deepEqual(await store.write(batch([outward(1), outward(2), outward(4)], at(0))), { isAgain: true });
    await store.write(batch([outward(5), outward(6)], { ...at(1_000), isWhole: true }));
    await store.write(batch([outward(6, { seenAs: { address: PUBLIC, port: 50_000 } })], at(1_500)));
    await store.write(batch([], { ...at(2_000), gone: ['out-2', 'out-5'] }));
    await store.setLease(lease({ atMs: restartMs + 2_000, blocks: [{ first: 2048, size: 512 }] }));
    await store.expire(restartMs + 3_000);
    assert.deepEqual(told.length, 1, 'it is held still');
    other.close();
    await store.expire(restartMs + 10_000);
    assert.deepEqual(told.slice(1), [undefined]);

    assert.deepEqual(await store.write(batch([outward(1)], at(11_000))), { isAgain: true });
    const log = async (): Promise<unknown> => Promise.all([1, 2, 3, 4, 5, 6].map((n) => ends(store, n, restartMs)));
    assert.deepEqual(await log(), [
      [[NOW + 1, undefined]],
      [[NOW + 2, restartMs + 2_000]],
      [[NOW + 3, undefined]],
      [[NOW + 4, undefined]],
      [[NOW + 5, restartMs + 2_000]],
      [[NOW + 6, restartMs + 1_500]],
    ]);
    assert.deepEqual(await ends(store, 10_000, restartMs + 11_000), [[NOW + 6, undefined]]);
    await store.write(batch([outward(1), outward(4)], { ...at(12_000), epoch: 3, isWhole: true }));
    assert.deepEqual(await ends(store, 3, restartMs), [[NOW + 3, restartMs + 12_000]], 'that ended unseen');
    assert.deepEqual(await ends(store, 4, restartMs), [[NOW + 4, undefined]]);
    const leased = async (port: number, atMs: number) =>
      (await store.whoHeld({ address: PUBLIC, port, atMs })).holders.map(({ host, fromMs, toMs }) => [
        host,
        fromMs,
        toMs,
      ]);
    assert.deepEqual(await leased(1024, NOW + 500), [
      ['h1', NOW, restartMs + 2_000],
      ['h2', NOW, restartMs],
    ]);
    assert.deepEqual(await leased(2048, restartMs + 2_000), [['h1', restartMs + 2_000, undefined]]);
    assert.equal((await store.whoHeld({ address: PUBLIC, atMs: NOW })).sinceMs, NOW);
    await store.close();
    const after = open(restartMs + 20_000);
    assert.deepEqual(await ends(after, 2, restartMs), [[NOW + 2, restartMs + 2_000]]);
    assert.equal((await after.list({}, 10)).length, 2);
    await after.close();
  });
});

test('a file that another holds for a moment is waited for', async () => {
  await inDirectory(async ({ path, open }) => {
    await open().close();
    const other = hold(path);
    const told: Troubles[] = [];
    const opening = openWorkerFlowStore({ ...CONTRACT_BOUNDS, path }, (troubles) => told.push(troubles));
    setTimeout(() => other.close(), 500);
    const store = await opening;
    await store.close();
    assert.deepEqual([told, other.isOpen], [[], false]);
  });
});

test('where no file can be is told, and tried again', async () => {
  await inDirectory(async ({ path, told, open }) => {
    mkdirSync(path);
    const store = open();
    assert.match(told.join(), /unable to open database file: let the server write the file and its folder/);
    await store.write(batch([outward(1)], { isWhole: true }));
    assert.ok(existsSync(path));
    rmSync(path, { recursive: true });
    await store.expire(NOW + 10_000);
    assert.deepEqual(told.slice(1), [undefined]);
    assert.deepEqual(await ends(store, 1, NOW + 1), [[NOW + 1, undefined]]);
    assert.equal((await store.whoHeld({ address: PUBLIC, atMs: NOW })).sinceMs, NOW);
    await store.close();
    assert.ok(existsSync(path));
  });
});
