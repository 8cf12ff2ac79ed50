import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs, { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, type TestContext, test } from 'node:test';
import { storeContract } from './contract.ts';
import { MOST_UNCONFIRMED } from './engine.ts';
import { openSqliteStore } from './sqlite.ts';

let directory: string;
let count = 0;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-store-'));
});
after(() => rmSync(directory, { recursive: true }));
const freshPath = (): string => join(directory, `${++count}.db`);

storeContract('sqlite', (clock) => openSqliteStore(freshPath(), clock));

const write = (store: { transact: ReturnType<typeof openSqliteStore>['transact'] }, key: string, value = 'v') =>
  store.transact({ operations: [{ type: 'put', key, value }] });

test('sqlite: records, revision, incarnation and log survive a restart', async () => {
  const path = freshPath();
  const first = openSqliteStore(path);
  await write(first, 'a', '1');
  const { revision } = await write(first, 'b', '2');
  const { incarnation } = first;
  await first.close();
  const second = openSqliteStore(path);
  assert.equal(second.incarnation, incarnation);
  assert.equal(second.revision(), revision);
  assert.equal((await second.get('b'))?.revision, revision);
  const seen: number[] = [];
  await second.watch(0, (change) => seen.push(change.revision));
  assert.deepEqual(seen, [1, 2]);
  await second.close();
});

test('sqlite: a backup made during use opens with its records and an incarnation of its own', async () => {
  const store = openSqliteStore(freshPath());
  await write(store, 'a', '1');
  const to = freshPath();
  await store.backup(to);
  await write(store, 'b', '2');
  const copy = openSqliteStore(to);
  assert.notEqual(copy.incarnation, store.incarnation);
  assert.deepEqual(
    (await copy.list('')).records.map((r) => r.key),
    ['a'],
  );
  await copy.close();
  await store.close();
});

/** Writes 'a' and ends without closing. */
const ENDS_OPEN = `
  const { openSqliteStore } = await import(process.argv[2]);
  const store = openSqliteStore(process.argv[1]);
  await store.transact({ operations: [{ type: 'put', key: 'a', value: '1' }] });
  process.kill(process.pid, 'SIGKILL');
`;

test('sqlite: a store that was not closed keeps what it answered, and gives no revision out twice', async () => {
  const path = freshPath();
  const module = new URL('./sqlite.ts', import.meta.url).href;
  for (const runs of [1, 2]) {
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', ENDS_OPEN, path, module]);
    assert.equal(run.signal, 'SIGKILL', String(run.stderr));
    const again = openSqliteStore(path);
    const revision = (await again.get('a'))!.revision;
    assert.equal(again.revision(), revision + MOST_UNCONFIRMED, `after run ${runs}`);
    assert.equal((await write(again, 'b', String(runs))).revision, revision + MOST_UNCONFIRMED + 1);
    await again.close();
    const third = openSqliteStore(path);
    assert.equal(third.revision(), revision + MOST_UNCONFIRMED + 1, 'closed: it goes on from there');
    await third.close();
  }
});

/** A store that was not closed, whose last revision is 1. */
function leftOpen(): string {
  const path = freshPath();
  const module = new URL('./sqlite.ts', import.meta.url).href;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', ENDS_OPEN, path, module]);
  assert.equal(run.signal, 'SIGKILL', String(run.stderr));
  return path;
}

test('sqlite: one that was not closed, then started and closed without a write, still gives no revision out twice', async () => {
  const path = leftOpen();
  await openSqliteStore(path).close();
  const again = openSqliteStore(path);
  assert.equal(again.revision(), 1 + MOST_UNCONFIRMED);
  await again.close();
});

/** Calls `instead` where the store waits for the disk before its first revision is told of. */
function atFirstSync(t: TestContext, instead: (file: number, sync: (file: number) => void) => void): void {
  const sync = fs.fdatasyncSync;
  t.mock.method(fs, 'fdatasyncSync', (file: number) => instead(file, sync));
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
}

test('sqlite: machines that end again before anything is durable give no revision out twice', async (t) => {
  const path = leftOpen();
  const disk = freshPath();
  atFirstSync(t, (file, sync) => {
    sync(file);
    for (const suffix of ['', '-wal']) cpSync(`${path}${suffix}`, `${disk}${suffix}`);
  });
  const store = openSqliteStore(path);
  const { revision } = await store.write({ operations: [{ type: 'put', key: 'b', value: '1' }] });
  await store.close();
  const again = openSqliteStore(disk);
  assert.equal(await again.get('b'), undefined);
  assert.ok(again.revision() >= revision, `${revision} was told of, and now ${again.revision()} is the last`);
  await again.close();
});

test('sqlite: a disk that fails at the first write is not taken for a full one: the log may have a hole', async (t) => {
  const path = freshPath();
  atFirstSync(t, () => {
    throw new Error('EIO');
  });
  const store = openSqliteStore(path);
  await assert.rejects(write(store, 'a'), { code: 'full' });
  assert.match((await store.failure).message, /EIO/);
  await assert.rejects(write(store, 'b'), { code: 'full', message: /after a restart/ });
  await store.close();
  t.mock.restoreAll();
  syncBuiltinESMExports();
  const again = openSqliteStore(path);
  await write(again, 'a');
  await again.close();
});

test('sqlite: a store behind a symbolic link is written and read', async () => {
  const folder = join(directory, 'elsewhere');
  mkdirSync(folder);
  const path = freshPath();
  symlinkSync(join(folder, 'weft.db'), path);
  const store = openSqliteStore(path);
  await write(store, 'a');
  await store.close();
  const again = openSqliteStore(path);
  assert.equal((await again.get('a'))?.value, 'v');
  await again.close();
});

test('sqlite: a second opener is refused', async () => {
  const path = freshPath();
  const store = openSqliteStore(path);
  await write(store, 'a');
  assert.throws(() => openSqliteStore(path), { name: 'WeftError', code: 'busy' });
  await store.close();
});

test('sqlite: a file that is no store, a damaged one, and one of a newer Weft are refused with what to do', async () => {
  const garbage = freshPath();
  writeFileSync(garbage, 'this is not a database, whatever its name says. '.repeat(100));
  assert.throws(() => openSqliteStore(garbage), { code: 'invalid', message: /restore a backup/ });

  const damaged = freshPath();
  const store = openSqliteStore(damaged);
  for (let i = 0; i < 50; i++) await write(store, `key/${i}`, 'x'.repeat(500));
  await store.close();
  const bytes = readFileSync(damaged);
  bytes.fill(0xa5, 4096);
  writeFileSync(damaged, bytes);
  assert.throws(() => openSqliteStore(damaged), { code: 'invalid', message: /restore a backup/ });

  const newer = freshPath();
  await openSqliteStore(newer).close();
  const db = new DatabaseSync(newer);
  db.exec("INSERT INTO schema_version VALUES (99, '')");
  db.close();
  assert.throws(() => openSqliteStore(newer), { code: 'invalid', message: /newer/ });
});

test('sqlite: a path that cannot be opened is refused', () => {
  assert.throws(() => openSqliteStore(join(directory, 'no', 'such', 'folder.db')), { code: 'denied' });
});

/** Runs in a mount namespace of its own, on a file system of one megabyte. */
const FULL_DISK = `
  import assert from 'node:assert/strict';
  import { rmSync, writeFileSync } from 'node:fs';
  const { openSqliteStore } = await import(process.argv[2]);
  const store = openSqliteStore(process.argv[1] + '/weft.db');
  const put = (key, value) => store.transact({ operations: [{ type: 'put', key, value }] });
  await put('a', 'kept');
  try { for (;;) writeFileSync(process.argv[1] + '/filler', 'x'.repeat(4096), { flag: 'a' }); } catch {}
  const before = store.revision();
  await assert.rejects(put('b', 'y'.repeat(100_000)), { code: 'full' });
  assert.equal((await store.get('a')).value, 'kept');
  assert.equal(await store.get('b'), undefined);
  assert.equal(store.revision(), before);
  rmSync(process.argv[1] + '/filler');
  await put('b', 'there is room again');
  await store.close();
  const again = openSqliteStore(process.argv[1] + '/weft.db');
  assert.equal((await again.get('b')).value, 'there is room again');
  assert.equal(again.revision(), before + 1);
`;

test('sqlite: a full disk refuses writes, serves reads, and recovers when there is room', (t) => {
  const disk = mkdtempSync(join(directory, 'disk-'));
  const mount = `mount -t tmpfs -o size=1m none '${disk}'`;
  if (spawnSync('unshare', ['-m', 'sh', '-c', mount]).status !== 0) {
    t.skip('no mount namespaces here');
    return;
  }
  const script = `${mount} && exec "$0" --input-type=module -e "$1" '${disk}' "$2"`;
  const module = new URL('./sqlite.ts', import.meta.url).href;
  const run = spawnSync('unshare', ['-m', 'sh', '-c', script, process.execPath, FULL_DISK, module], {
    encoding: 'utf8',
  });
  assert.equal(run.status, 0, run.stderr);
});
