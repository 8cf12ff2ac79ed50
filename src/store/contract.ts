import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import type { Change, Operation, Store } from './store.ts';

/** What every store must do; run by the test of each implementation. `open` gives an empty store. */
export function storeContract(name: string, open: (clock: ManualClock) => Store): void {
  const check = (what: string, work: (store: Store, clock: ManualClock) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const clock = new ManualClock(1_000_000);
      const store = open(clock);
      try {
        await work(store, clock);
      } finally {
        await store.close();
      }
    });
  };
  recordTests(check);
  transactionTests(check);
  watchTests(check);
  leaseTests(check);
  check('any sequence of transactions leaves what a map would hold', (store) =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.array(operation, { maxLength: 6 }), { maxLength: 8 }), async (transactions) => {
        const before = await store.list('');
        await store.transact({ operations: before.records.map(({ key }) => ({ type: 'delete', key })) });
        const model = new Map<string, string>();
        const results = transactions.map((operations) => {
          for (const o of operations) o.type === 'put' ? model.set(o.key, o.value) : model.delete(o.key);
          return store.transact({ operations });
        });
        await Promise.all(results);
        const { records } = await store.list('');
        assert.deepEqual(new Map(records.map((r) => [r.key, r.value])), model);
      }),
      { numRuns: process.env.WEFT_CAMPAIGN ? 1000 : 30 },
    ),
  );
}

type Check = (what: string, work: (store: Store, clock: ManualClock) => Promise<void>) => void;

const key = fc.constantFrom('a/1', 'a/2', 'b/1', 'b/2');
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ type: fc.constant('put' as const), key, value: fc.string({ maxLength: 5 }) }),
  fc.record({ type: fc.constant('delete' as const), key }),
);

const put = (store: Store, key: string, value: string): Promise<{ readonly revision: number }> =>
  store.transact({ operations: [{ type: 'put', key, value }] });

const isCode = (code: string) => (error: unknown) => error instanceof WeftError && error.code === code;

function recordTests(check: Check): void {
  check('a record is read back with the revision of its last change', async (store) => {
    await put(store, 'port/1', 'one');
    const { revision } = await put(store, 'port/1', 'two');
    assert.deepEqual({ ...(await store.get('port/1')) }, { key: 'port/1', revision, value: 'two' });
    assert.equal(await store.get('port/2'), undefined);
    assert.equal(store.revision(), revision);
  });

  check('records are listed by key, a page at a time, and only those with the prefix', async (store) => {
    for (const each of ['port/3', 'port/1', 'ports', 'chain/1', 'port/2']) await put(store, each, each);
    const all = await store.list('port/');
    assert.deepEqual(
      all.records.map((r) => r.key),
      ['port/1', 'port/2', 'port/3'],
    );
    assert.equal(all.next, undefined);
    const first = await store.list('port/', { limit: 2 });
    assert.equal(first.next, 'port/2');
    const second = await store.list('port/', { limit: 2, after: first.next! });
    assert.deepEqual(
      second.records.map((r) => r.key),
      ['port/3'],
    );
    assert.equal(second.next, undefined);
  });
}

function transactionTests(check: Check): void {
  check('a transaction is all or nothing', async (store) => {
    await put(store, 'a', '1');
    const before = store.revision();
    const refused = store.transact({
      operations: [
        { type: 'put', key: 'b', value: '2' },
        { type: 'delete', key: 'a' },
      ],
      preconditions: [{ type: 'absent', key: 'a' }],
    });
    await assert.rejects(refused, isCode('conflict'));
    assert.equal((await store.get('a'))?.value, '1');
    assert.equal(await store.get('b'), undefined);
    assert.equal(store.revision(), before);
  });

  check('of writers that saw the same generation one gets through, also when both wait together', async (store) => {
    const { revision } = await put(store, 'generation', '');
    const write = (key: string) =>
      store.transact({
        operations: [
          { type: 'put', key, value: key },
          { type: 'put', key: 'generation', value: '' },
        ],
        preconditions: [{ type: 'revision', key: 'generation', revision }],
      });
    const outcomes = await Promise.allSettled([write('x'), write('y')]);
    assert.deepEqual(
      outcomes.map((o) => o.status),
      ['fulfilled', 'rejected'],
    );
    assert.equal(await store.get('y'), undefined);
  });

  check('transactions that wait together keep their order and revisions of their own', async (store) => {
    const start = store.revision();
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => put(store, 'k', String(i))));
    assert.deepEqual(
      results.map((r) => r.revision - start),
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
    assert.equal((await store.get('k'))?.value, '19');
  });

  check('deleting what is not there changes nothing', async (store) => {
    const before = store.revision();
    const { revision } = await store.transact({ operations: [{ type: 'delete', key: 'nothing' }] });
    assert.equal(revision, before);
  });

  check('the last operation on a key wins', async (store) => {
    await store.transact({
      operations: [
        { type: 'put', key: 'a', value: '1' },
        { type: 'delete', key: 'a' },
        { type: 'put', key: 'a', value: '2' },
      ],
    });
    assert.equal((await store.get('a'))?.value, '2');
  });

  check('what is written is told before it is durable, and answered after', async (store) => {
    const order: string[] = [];
    await store.watch(store.revision(), () => order.push('told'));
    const { revision, durable } = await store.write({ operations: [{ type: 'put', key: 'a', value: '1' }] });
    order.push('written');
    assert.equal(store.revision(), revision);
    await durable;
    await store.durable();
    assert.deepEqual(order, ['told', 'written']);
  });

  check('a closed store refuses', async (store) => {
    await store.close();
    await assert.rejects(put(store, 'a', '1'), isCode('closed'));
  });
}

function watchTests(check: Check): void {
  check('a watch gets what it missed, then each transaction whole, before the writer goes on', async (store) => {
    const start = store.revision();
    await put(store, 'a', '1');
    const seen: Change[] = [];
    const watch = await store.watch(start, (change) => seen.push(change));
    assert.equal(seen.length, 1);
    const { revision } = await store.transact({
      operations: [
        { type: 'put', key: 'b', value: '2' },
        { type: 'delete', key: 'a' },
      ],
    });
    assert.deepEqual(seen[1], { revision, entries: [{ key: 'b', value: '2' }, { key: 'a' }] });
    watch.close();
    await put(store, 'c', '3');
    assert.equal(seen.length, 2);
  });

  check('a watch from a compacted revision is refused, records stay', async (store) => {
    await put(store, 'a', '1');
    const { revision } = await put(store, 'b', '2');
    await store.compact(revision);
    await assert.rejects(
      store.watch(revision - 1, () => {}),
      isCode('compacted'),
    );
    const seen: Change[] = [];
    await store.watch(revision, (change) => seen.push(change));
    assert.equal(seen.length, 0);
    assert.equal((await store.get('a'))?.value, '1');
  });
}

function leaseTests(check: Check): void {
  check('what is put under a lease goes with it', async (store, clock) => {
    const lease = await store.grantLease(5_000);
    await store.transact({ operations: [{ type: 'put', key: 'alive/h1', value: '', lease }] });
    await put(store, 'other', '');
    clock.advance(3_000);
    await store.renewLease(lease);
    clock.advance(3_000);
    await settle();
    assert.ok(await store.get('alive/h1'));
    for (let i = 0; i < 6; i++) {
      clock.advance(1_000);
      await settle();
    }
    assert.equal(await store.get('alive/h1'), undefined);
    assert.ok(await store.get('other'));
    await assert.rejects(store.renewLease(lease), isCode('not-found'));
    const late = store.transact({ operations: [{ type: 'put', key: 'x', value: '', lease }] });
    await assert.rejects(late, isCode('not-found'));
  });
}

/** Lets timers of the store's own run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
