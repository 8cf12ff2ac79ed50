import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { MOST_UNCONFIRMED } from './engine.ts';
import { EngineStore } from './engine-store.ts';
import { MemoryEngine } from './memory.ts';
import type { Written } from './store.ts';

/** An engine whose disk answers when the test says so. */
class SlowEngine extends MemoryEngine {
  readonly syncs: { readonly revision: number; readonly resolve: () => void; readonly reject: (e: Error) => void }[] =
    [];

  override sync(): Promise<void> {
    return new Promise((resolve, reject) => this.syncs.push({ revision: this.revision, resolve, reject }));
  }
}

function slowStore(): { readonly engine: SlowEngine; readonly store: EngineStore } {
  const engine = new SlowEngine();
  return { engine, store: new EngineStore(engine, systemClock) };
}

const write = (store: EngineStore, key: string): Promise<Written> =>
  store.write({ operations: [{ type: 'put', key, value: '' }] });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('writes go on while the disk confirms earlier ones, and one sync confirms all that came before it', async () => {
  const { engine, store } = slowStore();
  const durable: string[] = [];
  for (const key of ['a', 'b', 'c']) void (await write(store, key)).durable.then(() => durable.push(key));
  assert.deepEqual(
    engine.syncs.map(({ revision }) => revision),
    [1],
    'one at a time',
  );
  engine.syncs[0]!.resolve();
  await turn();
  assert.deepEqual(durable, ['a']);
  assert.equal(engine.syncs[1]!.revision, 3);
  engine.syncs[1]!.resolve();
  await turn();
  assert.deepEqual(durable, ['a', 'b', 'c']);
  await store.close();
});

test('a disk that is slow holds writes back, lest more revisions are told of than a restart leaves out', async () => {
  const { engine, store } = slowStore();
  const written = Array.from({ length: MOST_UNCONFIRMED + 1 }, (_, i) => write(store, String(i)));
  await written[MOST_UNCONFIRMED - 1];
  await turn();
  assert.equal(engine.revision, MOST_UNCONFIRMED);
  engine.syncs[0]!.resolve();
  assert.equal((await written[MOST_UNCONFIRMED]!).revision, MOST_UNCONFIRMED + 1);
  engine.syncs[1]!.resolve();
  await store.close();
});

test('a disk that fails is told once to all: writers that wait, later ones, and whoever runs the store', async () => {
  const { engine, store } = slowStore();
  const { durable } = await write(store, 'a');
  const answered = write(store, 'b').then(({ durable }) => durable);
  await turn();
  engine.syncs[0]!.reject(new Error('EIO'));
  const refused = { code: 'full', message: /EIO.*after a restart/ };
  await assert.rejects(durable, refused);
  await assert.rejects(answered, refused);
  await assert.rejects(store.durable(), refused);
  await assert.rejects(write(store, 'c'), refused);
  assert.match((await store.failure).message, /EIO/);
  await store.close();
});

test('closing waits for the disk', async () => {
  const { engine, store } = slowStore();
  const { durable } = await write(store, 'a');
  let isClosed = false;
  const closed = store.close().then(() => {
    isClosed = true;
  });
  await turn();
  assert.ok(!isClosed);
  engine.syncs[0]!.resolve();
  await closed;
  await durable;
});

test('closing twice at once closes the engine once', async () => {
  const { engine, store } = slowStore();
  let closed = 0;
  engine.close = () => void closed++;
  const written = write(store, 'a');
  const both = Promise.all([store.close(), store.close()]);
  await written;
  engine.syncs[0]!.resolve();
  await both;
  assert.equal(closed, 1);
});

test('a write that was refused asks whether the disk fails for good, and closing waits for the answer', async () => {
  const { engine, store } = slowStore();
  engine.write = () => {
    throw new WeftError('full', 'no room, or worse');
  };
  await assert.rejects(write(store, 'a'), { code: 'full' });
  let isClosed = false;
  const closed = store.close().then(() => {
    isClosed = true;
  });
  await turn();
  assert.ok(!isClosed);
  engine.syncs[0]!.reject(new Error('EIO'));
  await closed;
  assert.match((await store.failure).message, /EIO/);
});
