import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, ManualClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { SqliteFlowStore } from '../flow-database/sqlite.ts';
import { ModelIndex } from '../model/model-index.ts';
import type { NatLease } from '../model/objects.ts';
import { EventRing } from './events.ts';
import { LeaseLog } from './lease-log.ts';

const ADDRESS = '203.0.113.9';

/** A log on a store that takes nothing while it is full, and at first. */
function openLog() {
  const clock = new ManualClock(1_000_000);
  const index = new ModelIndex();
  const events = new EventRing();
  const store = new SqliteFlowStore({ path: ':memory:', nowMs: clock.now() });
  const disk = { isFull: true };
  const taking = {
    leases: () => store.leases(),
    setLease: async (lease: Parameters<typeof store.setLease>[0]): Promise<void> => {
      if (disk.isFull) throw new WeftError('full', 'no room on the disk');
      await store.setLease(lease);
    },
  };
  const log = new LeaseLog(index, taking, { events, clock, log: silentLog });
  /** The host has the 512 ports from `first` on, and no others; none: nothing. */
  const lease = (host: string, first?: number): void => {
    const id = `r/${ADDRESS}/${host}`;
    const before = index.get('natLease', id);
    if (first === undefined) index.delete('natLease', id);
    else
      index.put({
        ...{ kind: 'natLease', id, router: 'r', address: ADDRESS, host, revision: 1 },
        blocks: [{ first, size: 512 }],
      } as NatLease);
    const after = index.get('natLease', id);
    log.followCommit([{ kind: 'natLease', id, ...(before ? { before } : {}), ...(after ? { after } : {}) }]);
  };
  const holders = async (port: number, atMs: number): Promise<string[]> =>
    (await store.whoHeld({ address: ADDRESS, port, atMs })).holders.map(({ names }) => names.host);
  return { clock, events, store, disk, log, lease, holders };
}

test('what the store did not take is written when it does, with its times', async () => {
  const { clock, events, store, disk, log, lease, holders } = openLog();
  disk.isFull = false;
  lease('h1', 1024);
  await log.settled();
  disk.isFull = true;
  clock.advance(10_000);
  lease('h1');
  lease('h2', 1024);
  await log.settled();
  assert.match(log.trouble ?? '', /no room/);
  // What comes meanwhile waits behind that.
  disk.isFull = false;
  clock.advance(10_000);
  lease('h2', 2048);
  await log.settled();
  assert.deepEqual(await holders(1024, 1_015_000), ['h1']);
  clock.advance(10_000);
  log.retry();
  await log.settled();
  assert.equal(log.trouble, undefined);
  assert.deepEqual(await Promise.all([holders(1024, 1_005_000), holders(1024, 1_015_000), holders(1024, 1_025_000)]), [
    ['h1'],
    ['h2'],
    [],
  ]);
  assert.deepEqual(await holders(2048, 1_025_000), ['h2']);
  assert.deepEqual(
    events.list({}).map(({ level }) => level),
    ['warning', 'info'],
  );
  await store.close();
});

test('leases that could not be adopted at the start are adopted later', async () => {
  const { clock, store, disk, log, lease, holders } = openLog();
  lease('h1', 1024);
  await store.setLease({
    ...{ router: 'r', address: ADDRESS, host: 'h0', names: { host: 'h0', router: 'r' } },
    ...{ blocks: [{ first: 1024, size: 512 }], atMs: 900_000 },
  });
  log.adopt();
  await log.settled();
  assert.notEqual(log.trouble, undefined);
  disk.isFull = false;
  clock.advance(10_000);
  log.retry();
  await log.settled();
  assert.deepEqual(await holders(1024, 950_000), ['h0']);
  assert.deepEqual(await holders(1024, 1_005_000), ['h1']);
  await store.close();
});

test('of very many changes that wait only what they come to is written', async () => {
  const { clock, store, disk, log, lease } = openLog();
  for (let round = 0; round < 6_000; round++) {
    lease('h1', 1024 + 512 * (round % 4));
    lease('h2', 4096 + 512 * (round % 4));
  }
  lease('h1', 512);
  lease('h2');
  disk.isFull = false;
  clock.advance(10_000);
  log.retry();
  await log.settled();
  log.retry();
  await log.settled();
  const held = (await store.leases()).map(({ host, blocks }) => [host, blocks]);
  assert.deepEqual(held, [['h1', [{ first: 512, size: 512 }]]]);
  await store.close();
});

test('that entries wait is told once a minute, whatever the wall clock is set to', async () => {
  const [wall, steady] = [{ ms: 1_000_000_000 }, { ms: 5_000 }];
  const events = new EventRing();
  let isFull = true;
  const store = {
    leases: async () => [],
    setLease: async (): Promise<void> => {
      if (isFull) throw new WeftError('full', 'no room on the disk');
    },
  };
  const clock: Clock = { now: () => wall.ms, monotonicMs: () => steady.ms, sleep: async () => {} };
  const log = new LeaseLog(new ModelIndex(), store, { events, clock, log: silentLog });
  const lease = { kind: 'natLease', id: 'r/a/h', router: 'r', address: ADDRESS, host: 'h', revision: 1, blocks: [] };
  /** It fails, and then does not. */
  const fail = async (): Promise<number> => {
    isFull = true;
    log.followCommit([{ kind: 'natLease', id: lease.id, after: lease as unknown as NatLease }]);
    await log.settled();
    isFull = false;
    log.retry();
    await log.settled();
    return [...events.list({})].filter(({ level }) => level === 'warning').length;
  };
  assert.equal(await fail(), 1);
  wall.ms -= 3_600_000;
  assert.equal(await fail(), 1);
  steady.ms += 60_000;
  assert.equal(await fail(), 2);
  wall.ms += 7_200_000;
  assert.equal(await fail(), 2);
});
