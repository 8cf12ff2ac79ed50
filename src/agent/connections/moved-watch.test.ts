import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Connection } from '../../flow-database/flow-store.ts';
import { portId, testGround } from '../testing/test-ground.ts';
import { MovedWatch } from './moved-watch.ts';

const P = portId(1);
const NONE: ReadonlySet<string> = new Set();
const of = (protocol: string, outsidePort: number, more: Partial<Connection> = {}): Connection => ({
  ...{ key: `${outsidePort}`, port: P, direction: 'out', protocol, router: 'r', sinceMs: 0 },
  ...{ from: { address: '10.0.1.11', port: 5000 }, to: { address: '198.51.100.7', port: 80 } },
  seenAs: { address: '203.0.113.2', port: outsidePort },
  ...more,
});

test('a connection that two readings have missed is off its record; records of ports elsewhere are left alone', () => {
  const connections = ['tcp/1030/198.51.100.7/80', 'tcp/1031/198.51.100.7/80', 'udp/1032/198.51.100.7/80'];
  const move = { kind: 'natMove', id: `r/203.0.113.2/${P}`, port: P, router: 'r', address: '203.0.113.2', connections };
  const ground = testGround([move, { kind: 'binding', id: P, active: 'h2' }]);
  const watch = new MovedWatch(ground.scope, () => 'h1');
  assert.deepEqual(watch.judge([], NONE), []);
  assert.deepEqual(watch.judge([], NONE), [], 'it is active at h2');
  ground.put({ kind: 'binding', id: P, active: 'h1' });
  const seen = [of('tcp', 1030), of('tcp', 1031, { router: 'other' }), of('udp', 1032)];
  assert.deepEqual(watch.judge(seen, NONE), [], 'it may just be on its way');
  const left = { type: 'natMove', port: P, router: 'r', address: '203.0.113.2' } as const;
  assert.deepEqual(watch.judge(seen, NONE), [{ ...left, connections: [connections[0], connections[2]] }]);
  assert.deepEqual(watch.judge([of('tcp', 1030), of('tcp', 1031), of('udp', 1032)], NONE), []);
  watch.judge([], NONE);
  assert.deepEqual(watch.judge([], NONE), [{ ...left, connections: [] }]);
});

test('what cannot be read keeps its own records from being judged, and those of no others', () => {
  const Q = portId(2);
  const connections = ['tcp/1030/198.51.100.7/80'];
  const move = (port: string, router: string) => ({
    ...{ kind: 'natMove', id: `${router}/203.0.113.2/${port}`, port, router, address: '203.0.113.2', connections },
  });
  const ground = testGround([
    ...[move(P, 'r'), move(P, 'large'), move(Q, 'r')],
    ...[P, Q].map((id) => ({ kind: 'binding', id, active: 'h1' })),
  ]);
  const watch = new MovedWatch(ground.scope, () => 'h1');
  const judged = (...unread: string[]): string[] =>
    watch.judge([], new Set(unread)).map(({ port, router }) => `${port === P ? 'P' : 'Q'} ${router}`);
  assert.deepEqual(judged('large', Q), []);
  assert.deepEqual(judged('large', Q), ['P r']);
  assert.deepEqual(judged('large'), ['P r'], 'of Q it may be missed once');
  assert.deepEqual(judged('large', Q), ['P r'], 'nobody knows of Q now');
  assert.deepEqual(judged('large'), ['P r', 'Q r'], 'it was missed before, and is again');
});
