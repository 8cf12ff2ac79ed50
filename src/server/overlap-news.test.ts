import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ModelIndex } from '../model/model-index.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { OverlapNews } from './overlap-news.ts';

test('two tenants that begin to advertise the same addresses to one AS are an event, once; those that did before are none', () => {
  const index = new ModelIndex();
  const put = (record: object): ScopeRecord | undefined =>
    index.put({ revision: 1, adminUp: true, ...record } as ScopeRecord);
  const speaker = (name: string, network: string): void => {
    put({ kind: 'tenant', id: `t-${name}`, name });
    const bgp = { asn: 64512, networks: [network], advertise: [], aggregates: [] };
    put({ kind: 'router', id: name, name: 'edge', tenant: `t-${name}`, snat: [], routes: [], policies: [], bgp });
    put({ kind: 'bgpPeer', id: `p-${name}`, name: 'up', router: name, routerPort: 'rp', address: '192.0.2.1', asn: 7 });
  };
  speaker('a', '203.0.113.0/24');
  speaker('b', '203.0.113.0/25');
  const news = new OverlapNews(index);
  const change = { kind: 'router', id: 'c', before: undefined, after: undefined } as const;
  const texts = (nowMs: number): string[] => news.tick(index, nowMs).map(({ text }) => text);
  news.committed([change]);
  assert.deepEqual(texts(0), [], 'status has it');
  speaker('c', '203.0.113.128/25');
  news.committed([{ ...change, kind: 'binding' }]);
  assert.deepEqual(texts(10_000), [], 'of no concern');
  news.committed([change]);
  const told = [
    'router c/edge: it advertises 203.0.113.128/25, within 203.0.113.0/24 of router a/edge, to the same AS outside',
  ];
  assert.deepEqual(texts(20_000), told);
  news.committed([change]);
  assert.deepEqual(texts(21_000), [], 'not so soon');
  assert.deepEqual(texts(25_000), []);
  index.delete('router', 'c');
  news.committed([change]);
  assert.deepEqual(texts(30_000), []);
  speaker('c', '203.0.113.128/25');
  news.committed([change]);
  assert.deepEqual(texts(40_000), told, 'anew');
});
