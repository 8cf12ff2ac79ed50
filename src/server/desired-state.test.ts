import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { systemRandom } from '../base/random.ts';
import type { AnyObject } from '../model/objects.ts';
import { EngineStore } from '../store/engine-store.ts';
import { MemoryEngine } from '../store/memory.ts';
import type { Transaction, Written as WrittenByStore } from '../store/store.ts';
import { DesiredState, type Written } from './desired-state.ts';
import { createObject, deleteObject, type Mutation, patchObject, requireObject } from './mutations.ts';

/** Refuses the next write with this. */
class FailingStore extends EngineStore {
  refusal: WeftError | undefined;
  override async write(transaction: Transaction): Promise<WrittenByStore> {
    const { refusal } = this;
    this.refusal = undefined;
    if (refusal) throw refusal;
    return await super.write(transaction);
  }
}

interface Cloud {
  readonly state: DesiredState;
  readonly store: FailingStore;
  write<T>(work: (mutation: Mutation) => T): Promise<Written<T>>;
}

/** A tenant with the switch `lan` and the port `a`. */
async function openCloud(): Promise<Cloud> {
  const store = new FailingStore(new MemoryEngine(), systemClock);
  const state = await DesiredState.open(store, systemRandom, silentLog);
  const write: Cloud['write'] = (work) => state.write((draft) => work({ draft, allocator: state.allocator }));
  await write((mutation) => {
    createObject(mutation, 'tenant', { name: 'acme' });
    createObject(mutation, 'switch', { tenant: 'acme', name: 'lan' });
    createObject(mutation, 'port', { tenant: 'acme', name: 'a', switch: 'lan' });
  });
  return { state, store, write };
}

const portA = ({ draft }: Mutation): AnyObject => requireObject(draft.index, 'port', 'a');

test('an object whose deletion could not be stored is changed and deleted as before', async () => {
  const { state, store, write } = await openCloud();
  store.refusal = new WeftError('full', 'no room on the disk');
  await assert.rejects(
    write((mutation) => deleteObject(mutation, portA(mutation))),
    { code: 'full' },
  );
  await write((mutation) => patchObject(mutation, portA(mutation), { adminUp: false }));
  await write((mutation) => deleteObject(mutation, portA(mutation)));
  // Its key is retired now, whatever fails behind it.
  const { key } = (await state.replay(0)).flatMap(({ changes }) => changes).find(({ kind }) => kind === 'port')!
    .after as AnyObject & { readonly key: number };
  const again = { tenant: 'acme', name: 'b', switch: 'lan', key };
  await assert.rejects(
    write((mutation) => createObject(mutation, 'port', again)),
    /just given back/,
  );
  await state.close();
});

test('an object whose deletion met a conflict and was refused then is changed as before', async () => {
  const { state, store, write } = await openCloud();
  store.refusal = new WeftError('conflict', 'another server wrote');
  let attempts = 0;
  await assert.rejects(
    write((mutation) => {
      if (++attempts > 1) throw new WeftError('conflict', 'is needed by now');
      deleteObject(mutation, portA(mutation));
    }),
    /needed by now/,
  );
  assert.equal(attempts, 2);
  await write((mutation) => patchObject(mutation, portA(mutation), { adminUp: false }));
  await state.close();
});

test('writes at the same time share a transaction, but each of one record has a revision of its own', async () => {
  const { state, write } = await openCloud();
  await write((mutation) => createObject(mutation, 'port', { tenant: 'acme', name: 'b', switch: 'lan' }));
  const patch = (name: string, fields: object) =>
    write((mutation) => patchObject(mutation, requireObject(mutation.draft.index, 'port', name), fields));
  // The first one finds no other at work and goes alone.
  const [alone, ofA, ofB, again, behind] = await Promise.all([
    patch('a', { labels: { n: '1' } }),
    patch('a', { labels: { n: '2' } }),
    patch('b', { labels: { n: '2' } }),
    patch('a', { adminUp: false }),
    patch('b', { adminUp: false }),
  ]);
  const { revision } = alone;
  assert.deepEqual(
    [ofA, ofB, again, behind].map((written) => written.revision - revision),
    [1, 1, 2, 2],
  );
  const { labels, adminUp } = requireObject(state.index, 'port', 'a');
  assert.deepEqual([labels, adminUp], [{ n: '2' }, false]);
  await state.close();
});
