import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ConnectionBatch,
  type FlowStore,
  KEPT_MS,
  type Lease,
  SILENCE_MS,
  SLACK_MS,
  type StoredConnection,
} from './flow-store.ts';

const NOW = 1_000_000_000_000;
/** What the contract's stores are opened with. */
export const CONTRACT_BOUNDS = { nowMs: NOW, mostConnections: 50, mostTranslations: 20 } as const;
const PUBLIC = '203.0.113.2';

/** What every flow store must do; run by the test of each implementation. `open` gives an empty store with `CONTRACT_BOUNDS`. */
export function flowStoreContract(name: string, open: () => Promise<FlowStore>): void {
  const check = (what: string, work: (store: FlowStore) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const store = await open();
      try {
        await work(store);
      } finally {
        await store.close();
      }
    });
  };
  connectionTests(check);
  logTests(check);
}

type Check = (what: string, work: (store: FlowStore) => Promise<void>) => void;

/** A workload's n-th connection to the outside, through ports from 40,000 up. */
export function outward(n: number, more: Partial<StoredConnection> = {}): StoredConnection {
  return {
    ...{
      key: `out-${n}`,
      host: 'h1',
      port: 'p1',
      tenant: 't1',
      direction: 'out',
      protocol: 'tcp',
      state: 'established',
    },
    from: { address: '10.0.0.5', port: 1000 + n },
    to: { address: '198.51.100.9', port: 80 },
    seenAs: { address: PUBLIC, port: 40_000 + n },
    ...{ router: 'r1', names: { host: 'east', port: 'acme/web', router: 'acme/r' }, sinceMs: NOW + n },
    ...more,
  };
}

export function batch(put: readonly StoredConnection[], more: Partial<ConnectionBatch> = {}): ConnectionBatch {
  return { host: 'h1', epoch: 1, atMs: NOW, heardMs: more.atMs ?? NOW, put, gone: [], ...more };
}

const keys = (items: readonly StoredConnection[]): string[] => items.map(({ key }) => key).sort();

function connectionTests(check: Check): void {
  check('gives back what it was told, by every filter and their combination', async (store) => {
    const other = outward(2, { port: 'p2', tenant: 't2', protocol: 'udp', to: { address: '198.51.100.99', port: 53 } });
    const { state: _none, ...udp } = other;
    await store.write(batch([outward(1), udp]));
    await store.write(batch([outward(3, { host: 'h2' })], { host: 'h2' }));
    const one = await store.list({ port: 'p1', host: 'h1' }, 10);
    assert.deepEqual(one, [outward(1)]);
    const found = async (filter: object): Promise<string[]> => keys(await store.list(filter, 10));
    assert.deepEqual(await found({}), ['out-1', 'out-2', 'out-3']);
    assert.deepEqual(await found({ tenant: 't2' }), ['out-2']);
    assert.deepEqual(await found({ protocol: 'udp' }), ['out-2']);
    assert.deepEqual(await found({ state: 'established' }), ['out-1', 'out-3']);
    assert.deepEqual(await found({ address: PUBLIC }), ['out-1', 'out-2', 'out-3']);
    assert.deepEqual(
      await found({ address: '198.51.100.9' }),
      ['out-1', 'out-3'],
      'a whole address, not a part of one',
    );
    assert.deepEqual(await found({ host: 'h2', protocol: 'udp' }), []);
    assert.deepEqual(await found({ network: '198.51.100.0/27' }), ['out-1', 'out-3']);
    assert.deepEqual(await found({ network: '198.51.100.96/27' }), ['out-2']);
    assert.deepEqual(await found({ network: '203.0.113.0/24', tenant: 't2' }), ['out-2'], 'a translated one counts');
    assert.deepEqual(await found({ network: '::/0' }), []);
    assert.deepEqual(await found({ router: 'r1', protocol: 'tcp' }), ['out-1', 'out-3']);
    assert.deepEqual(await found({ router: 'r' }), []);
    assert.equal((await store.list({}, 2)).length, 2);
  });

  check('a connection told again keeps its beginning and takes the rest', async (store) => {
    await store.write(batch([outward(1, { state: 'syn-sent' })]));
    await store.write(batch([outward(1, { sinceMs: NOW + 9_000, bytes: 7 })]));
    assert.deepEqual(await store.list({}, 10), [outward(1, { bytes: 7 })]);
  });

  check(
    'what is gone, or not told again in a whole epoch, is there no more; other hosts keep theirs',
    async (store) => {
      await store.write(batch([outward(1), outward(2), outward(3)]));
      await store.write(batch([outward(4, { host: 'h2' })], { host: 'h2' }));
      await store.write(batch([], { gone: ['out-2'] }));
      assert.deepEqual(keys(await store.list({}, 10)), ['out-1', 'out-3', 'out-4']);
      await store.write(batch([outward(1)], { epoch: 2 }));
      assert.deepEqual(keys(await store.list({}, 10)), ['out-1', 'out-3', 'out-4'], 'the epoch is not whole yet');
      await store.write(batch([outward(5)], { epoch: 2, isWhole: true }));
      assert.deepEqual(keys(await store.list({}, 10)), ['out-1', 'out-4', 'out-5']);
    },
  );

  check('connections of a silent host expire, those of others stay', async (store) => {
    await store.write(batch([outward(1)]));
    await store.write(batch([outward(2, { host: 'h2' })], { host: 'h2', atMs: NOW + SILENCE_MS }));
    await store.expire(NOW + SILENCE_MS);
    assert.equal((await store.list({}, 10)).length, 2);
    await store.expire(NOW + SILENCE_MS + 1);
    assert.deepEqual(keys(await store.list({}, 10)), ['out-2']);
    const { holders } = await store.whoHeld({ address: PUBLIC, port: 40_001, atMs: NOW + 10 });
    assert.equal(holders[0]?.toMs, NOW, 'it ended when its host was heard last');
  });

  check('of a host that was never told whole, or not in this epoch, everything is wanted', async (store) => {
    assert.deepEqual(await store.write(batch([outward(1)])), { isAgain: true });
    assert.deepEqual(await store.write(batch([], { atMs: NOW + 1 })), { isAgain: true }, 'until it has come');
    assert.deepEqual(await store.write(batch([outward(1)], { epoch: 2, isWhole: true })), {});
    assert.deepEqual(await store.write(batch([outward(2)], { epoch: 2 })), {});
    await store.expire(NOW + SILENCE_MS + 10);
    const back = { epoch: 2, atMs: NOW + SILENCE_MS + 20 };
    assert.deepEqual(await store.write(batch([outward(3)], back)), { isAgain: true }, 'it was silent too long');
    // Its agent is another one, and its wall clock is behind.
    assert.deepEqual(await store.write(batch([outward(4)], { epoch: 1, isWhole: true })), {});
    assert.deepEqual(keys(await store.list({}, 10)), ['out-4']);
  });

  check('silence is counted by the clock that does not step, whatever the wall clock says', async (store) => {
    await store.write(batch([outward(1)]));
    await store.write(batch([], { atMs: NOW + 3_600_000, heardMs: NOW + 5_000 }));
    await store.expire(NOW + SILENCE_MS + 4_000);
    assert.equal((await store.list({}, 10)).length, 1);
    await store.write(batch([], { atMs: NOW - 3_600_000, heardMs: NOW + SILENCE_MS + 5_000 }));
    await store.expire(NOW + 2 * SILENCE_MS);
    assert.equal((await store.list({}, 10)).length, 1);
  });

  const fifty = Array.from({ length: 50 }, (_, n) => outward(n));

  check('beyond its bound new connections are left out, and that is said; all else is taken', async (store) => {
    const { isFull } = await store.write(batch([...fifty, outward(50), outward(51)]));
    assert.equal(isFull, true);
    assert.equal((await store.list({}, 100)).length, 50);
    const changed = outward(0, { state: 'closing' });
    const next = await store.write(batch([changed, outward(60)], { gone: ['out-1', 'out-2'] }));
    assert.equal(next.isFull, undefined, 'what ends makes room');
    const found = await store.list({}, 100);
    assert.equal(found.length, 49);
    assert.deepEqual(
      ['out-0', 'out-1', 'out-60'].map((key) => found.find((one) => one.key === key)?.state),
      ['closing', undefined, 'established'],
    );
    // A whole epoch without most of them shrinks it, although its first batch brings more than there is room for.
    const others = Array.from({ length: 30 }, (_, n) => outward(100 + n));
    assert.equal((await store.write(batch(others, { epoch: 2 }))).isFull, true);
    await store.write(batch([outward(0)], { epoch: 2, isWhole: true }));
    assert.equal((await store.list({}, 100)).length, 2);
    assert.deepEqual(await store.write(batch([...others, outward(0)], { epoch: 3, isWhole: true })), {});
    assert.equal((await store.list({}, 100)).length, 31);
  });

  check('the log has the translations of connections that were left out, once each, until they end', async (store) => {
    await store.write(batch([outward(70, { host: 'h2' })], { host: 'h2', isWhole: true }));
    const many = fifty.map(({ seenAs: _, ...connection }) => connection);
    await store.write(batch(many, { isWhole: true }));
    const ask = async (n: number): Promise<(number | undefined)[]> =>
      (await store.whoHeld({ address: PUBLIC, port: 40_000 + n, atMs: NOW + 100 })).holders.map(({ toMs }) => toMs);
    const left = [outward(71), outward(72)];
    for (const epoch of [2, 3]) {
      const told = { epoch, atMs: NOW + 1_000 * epoch };
      assert.equal((await store.write(batch([...many, ...left], told))).isFull, true);
      await store.write(batch(left, { ...told, isWhole: true }));
    }
    assert.deepEqual([await ask(71), await ask(72)], [[undefined], [undefined]]);
    await store.write(batch([], { epoch: 3, atMs: NOW + 5_000, gone: ['out-71'] }));
    assert.deepEqual([await ask(71), await ask(72)], [[NOW + 5_000], [undefined]]);
    await store.write(batch(many, { epoch: 4, atMs: NOW + 6_000, isWhole: true }));
    assert.deepEqual(await ask(72), [NOW + 6_000], 'an epoch did not name it any more');
    assert.deepEqual(await ask(70), [undefined], 'of another host');
  });
}

function logTests(check: Check): void {
  const lease = (more: Partial<Lease> = {}): Lease => ({
    ...{ router: 'r1', address: PUBLIC, host: 'h1', names: { host: 'east', router: 'acme/r' }, atMs: NOW },
    blocks: [{ first: 39_936, size: 512 }],
    ...more,
  });

  check('who had an address and port is known during the connection and behind it', async (store) => {
    await store.write(batch([outward(1)]));
    const ask = async (atMs: number, port = 40_001) => (await store.whoHeld({ address: PUBLIC, port, atMs })).holders;
    const expected = {
      ...{ by: 'connection', host: 'h1', router: 'r1', names: outward(1).names, fromMs: NOW + 1, port: 'p1' },
      ...{ protocol: 'tcp', workload: outward(1).from, other: outward(1).to },
    };
    assert.deepEqual(await ask(NOW + 500), [expected]);
    await store.write(batch([], { atMs: NOW + 60_000, gone: ['out-1'] }));
    assert.deepEqual(await ask(NOW + 500), [{ ...expected, toMs: NOW + 60_000 }]);
    assert.deepEqual(await ask(NOW + 500, 40_002), []);
    assert.deepEqual(await ask(NOW + 60_000 + SLACK_MS + 1), []);
    assert.deepEqual(await ask(NOW - SLACK_MS), [], 'before it began');
    const { holders } = await store.whoHeld({ address: PUBLIC, protocol: 'udp', atMs: NOW + 500 });
    assert.deepEqual(holders, []);
  });

  check('a connection with another translation than before is another one', async (store) => {
    await store.write(batch([outward(1)]));
    const again = outward(1, { seenAs: { address: PUBLIC, port: 41_000 }, sinceMs: NOW + 30_000 });
    await store.write(batch([again], { atMs: NOW + 30_000 }));
    const before = await store.whoHeld({ address: PUBLIC, port: 40_001, atMs: NOW + 10 });
    assert.equal(before.holders[0]?.toMs, NOW + 30_000);
    const now = await store.whoHeld({ address: PUBLIC, port: 41_000, atMs: NOW + 31_000 });
    assert.deepEqual([now.holders[0]?.fromMs, now.holders[0]?.toMs], [NOW + 30_000, undefined]);
  });

  check('what was asked from outside is held by the workload that answered', async (store) => {
    const inward = outward(1, {
      ...{
        key: 'in-1',
        direction: 'in',
        from: { address: '198.51.100.9', port: 5 },
        to: { address: '10.0.0.5', port: 80 },
      },
      ...{ asked: { address: '203.0.113.11', port: 80 } },
    });
    const { seenAs: _none, ...connection } = inward;
    await store.write(batch([connection]));
    const { holders } = await store.whoHeld({ address: '203.0.113.11', port: 80, atMs: NOW + 10 });
    assert.deepEqual([holders[0]?.workload, holders[0]?.other], [inward.to, inward.from]);
  });

  check('leases say whose ports they were, from change to change', async (store) => {
    await store.setLease(lease());
    await store.setLease(lease({ atMs: NOW + 5_000 }));
    assert.equal((await store.leases())[0]?.atMs, NOW, 'the same again is no change');
    await store.setLease(lease({ atMs: NOW + 10_000, blocks: [{ first: 1024, size: 512 }] }));
    const host = async (port: number, atMs: number) =>
      (await store.whoHeld({ address: PUBLIC, port, atMs })).holders.map(({ by, names, toMs }) => [
        by,
        names.host,
        toMs,
      ]);
    assert.deepEqual(await host(40_000, NOW + 9_000), [['lease', 'east', NOW + 10_000]]);
    assert.deepEqual(await host(40_000, NOW + 11_000), []);
    assert.deepEqual(await host(1025, NOW + 11_000), [['lease', 'east', undefined]]);
    assert.equal((await store.leases()).length, 1);
    await store.setLease(lease({ atMs: NOW + 20_000, blocks: [] }));
    assert.deepEqual(await store.leases(), []);
    assert.deepEqual(await host(1025, NOW + 21_000), []);
  });

  check('the log forgets what is older than 90 days, and keeps what lasts', async (store) => {
    await store.write(batch([outward(1), outward(2)]));
    await store.write(batch([], { gone: ['out-1'] }));
    await store.setLease(lease());
    await store.setLease(lease({ atMs: NOW + 1, blocks: [] }));
    const later = NOW + KEPT_MS + 10_000;
    await store.write(batch([], { atMs: later }));
    await store.expire(later);
    const old = await store.whoHeld({ address: PUBLIC, port: 40_001, atMs: NOW });
    assert.deepEqual(old.holders, []);
    assert.equal(old.sinceMs, later - KEPT_MS, 'and says how far back it reaches');
    const lasting = await store.whoHeld({ address: PUBLIC, port: 40_002, atMs: later });
    assert.equal(lasting.holders.length, 1);
  });

  check('the log grows no further than its bound, however many begin before anything expires', async (store) => {
    for (let n = 0; n < 60; n += 5) {
      const five = Array.from({ length: 5 }, (_, i) => outward(n + i));
      const former = Array.from({ length: Math.min(n, 5) }, (_, i) => outward(n - 5 + i).key);
      await store.write(batch(five, { atMs: NOW + 10_000, gone: former }));
    }
    const { sinceMs } = await store.whoHeld({ address: PUBLIC, atMs: NOW + 20 });
    assert.equal(sinceMs, NOW + 40, 'the last twenty of sixty');
  });

  check('beyond its bound the log forgets the oldest first, and says how far back it reaches', async (store) => {
    const reach = async (): Promise<readonly number[]> => {
      const { holders, sinceMs } = await store.whoHeld({ address: PUBLIC, atMs: NOW + 20 });
      return [holders.length, sinceMs];
    };
    for (let n = 0; n < 30; n++) {
      await store.write(batch([outward(n)], { atMs: NOW + n }));
      await store.write(batch([], { atMs: NOW + n, gone: [`out-${n}`] }));
    }
    assert.deepEqual(await reach(), [20, NOW + 10], 'at once');
    await store.write(batch(Array.from({ length: 40 }, (_, n) => outward(30 + n))));
    assert.deepEqual(await reach(), [20, NOW + 50], 'also of more than it keeps');
  });
}
