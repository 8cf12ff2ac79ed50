import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ModelIndex } from '../model/model-index.ts';
import type { NatLease, Router } from '../model/objects.ts';
import { NatShortages } from './nat-shortages.ts';

test('weft status names an SNAT address whose ports are all leased', () => {
  const index = new ModelIndex();
  const put = (record: object): void => void index.put({ revision: 1, ...record } as Router | NatLease);
  put({ kind: 'router', id: 'r', name: 'edge', tenant: 't', snat: [], routes: [], policies: [] });
  const lease = { kind: 'natLease', router: 'r', address: '192.0.2.1' };
  put({ ...lease, id: 'r/192.0.2.1/a', host: 'a', blocks: [{ first: 32_768, size: 32_768 }] });
  const shortages = new NatShortages();
  assert.deepEqual(shortages.problems(index, 0), []);
  // From 1024 to 32,767.
  const blocks = [1024, 2048, 4096, 8192, 16_384].map((size) => ({ first: size, size }));
  put({ ...lease, id: 'r/192.0.2.1/b', host: 'b', blocks });
  put({ ...lease, id: 'r/192.0.2.2/b', address: '192.0.2.2', host: 'b', blocks: blocks.slice(1) });
  assert.deepEqual(
    shortages.problems(index, 0).map(({ text }) => text),
    [
      'router t/edge: all ports of 192.0.2.1 are leased: hosts that have none drop what they should translate to it (no-ports)',
    ],
  );
});
