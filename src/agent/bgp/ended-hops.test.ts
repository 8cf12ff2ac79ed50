import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as ups from '../../compile/testing/uplinks.fixture.ts';
import { endedHops } from './ended-hops.ts';

const near = ups.peer(1, ups.uplink, '192.0.2.1');
const far = ups.peer(2, ups.uplink, '203.0.113.9', { multihop: 2 });
const routes = [
  { to: '203.0.113.9/32', via: '192.0.2.1' },
  { to: '203.0.113.9/32', via: '192.0.2.3' },
];

test('of a peer on a network of ours it is its address, of one further away the ways to it', () => {
  assert.deepEqual(endedHops({ peers: [near], routes: [] }, ['192.0.2.1']), ['192.0.2.1']);
  assert.deepEqual(endedHops({ peers: [far], routes }, ['203.0.113.9']), ['192.0.2.1', '192.0.2.3']);
});

test('a next hop of another session stays, unless that one ended too or is held down', () => {
  assert.deepEqual(endedHops({ peers: [near, far], routes }, ['203.0.113.9']), ['192.0.2.3']);
  assert.deepEqual(endedHops({ peers: [near, far], routes }, ['192.0.2.1']), []);
  assert.deepEqual(endedHops({ peers: [near, far], routes }, ['192.0.2.1', '203.0.113.9']), ['192.0.2.1', '192.0.2.3']);
  const down = { ...near, adminUp: false };
  assert.deepEqual(endedHops({ peers: [down, far], routes }, ['203.0.113.9']), ['192.0.2.1', '192.0.2.3']);
});
