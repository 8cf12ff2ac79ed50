import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as example from '../../compile/testing/example.ts';
import * as ups from '../../compile/testing/uplinks.fixture.ts';
import { modelOf } from '../../model/model-index.ts';
import type { ScopeRecord } from '../../model/objects.ts';
import { planSpeakers } from './plan.ts';

const h1 = example.host(1);
const h2 = example.host(2);
const records = [
  ...[example.zone(), h1, h2, ups.core, ...ups.world],
  ups.peer(2, ups.secondUplink, '192.0.2.9', { adminUp: false }),
  ...[ups.wire, ups.a, ups.b].map((port) => example.binding(port, h1)),
  example.binding(ups.secondWire, h2),
];
const plans = (changed: readonly ScopeRecord[] = [], host = h1.id) =>
  planSpeakers(modelOf([...records, ...changed]), host);

test('a host runs the sessions of uplinks whose wire is active here, one speaker for each router', () => {
  const [plan, ...others] = plans();
  assert.deepEqual(others, []);
  assert.deepEqual([plan?.router, plan?.asn, plan?.routerId], [ups.core.id, 64_512, '192.0.2.2']);
  assert.deepEqual(plan?.ports, [{ id: ups.uplink.id, mac: ups.uplink.mac, addresses: ups.uplink.addresses }]);
  assert.deepEqual(
    plan.peers.map(({ address }) => address),
    ['192.0.2.1'],
  );
  const [there] = plans([], h2.id);
  assert.deepEqual([there?.routerId, there?.peers.map(({ adminUp }) => adminUp)], ['192.0.2.10', [false]]);
  const [both] = plans([example.binding(ups.secondWire, h1)]);
  assert.deepEqual([both?.ports.length, both?.peers.length], [2, 2]);
});

test('none runs where the wire is active elsewhere or guarded, or the router, its port or its BGP is not there', () => {
  const without: readonly (readonly [string, readonly ScopeRecord[]])[] = [
    ['active elsewhere', [{ ...example.binding(ups.wire, h1, h2), active: h2.id }]],
    ['guarded', [{ ...ups.wire, portSecurity: true }]],
    ['port down', [{ ...ups.uplink, adminUp: false }]],
    ['router down', [{ ...ups.core, adminUp: false }]],
    ['no bgp', [{ ...ups.core, bgp: undefined }]],
  ];
  for (const [what, changed] of without) assert.deepEqual(plans(changed), [], what);
});

test('every gateway advertises the same', () => {
  const bgp = { ...ups.core.bgp!, advertise: ['connected' as const], networks: ['198.51.100.0/24'] };
  const said = [h1, h2].map(({ id }) => plans([{ ...ups.core, bgp }], id)[0]?.networks);
  assert.ok(said[0]?.includes('198.51.100.0/24') && said[0].includes('192.0.2.8/29'));
  assert.deepEqual(said[0], said[1]);
});

test('a host that is drained keeps its sessions and advertises nothing; the others go on', () => {
  const bgp = { ...ups.core.bgp!, networks: ['198.51.100.0/24'] };
  const drained: ScopeRecord[] = [
    { ...ups.core, bgp },
    { ...h1, drain: true },
  ];
  const [plan] = plans(drained);
  assert.deepEqual([plan?.peers.length, plan?.networks], [1, []]);
  const [leaving] = planSpeakers(modelOf([...records, ...drained]), h1.id, true);
  assert.ok(leaving?.isLeaving && leaving.networks.includes('198.51.100.0/24'));
  assert.ok(plans(drained, h2.id)[0]?.networks.includes('198.51.100.0/24'));
});

test('a next hop that is probed by BFD brings a speaker, also without BGP', () => {
  const probe = { type: 'bfd', intervalMs: 100, failures: 3, recoveries: 3 } as const;
  const routes = [{ to: '0.0.0.0/0', via: '192.0.2.1', metric: 100, weight: 1, probe }];
  const [plan] = plans([{ ...ups.core, bgp: undefined, routes }]);
  assert.deepEqual([plan?.peers, plan?.networks, plan?.ports.length], [[], [], 1]);
  assert.deepEqual(plan?.bfd, [
    { address: '192.0.2.1', local: '192.0.2.2', routerPort: ups.uplink.id, intervalMs: 100, failures: 3 },
  ]);
  assert.deepEqual(plans([{ ...ups.core, bgp: undefined, routes }], h2.id), []);
  const [both] = plans([{ ...ups.core, routes }]);
  assert.deepEqual([both?.asn, both?.peers.length, both?.bfd.length], [64_512, 1, 1]);
});

test('a peer a hop further has ways by its own port: of the longest static route there, to its address alone', () => {
  const far = ups.peer(3, ups.uplink, '203.0.113.9', { multihop: 2 });
  const route = (to: string, via: string, more: object = {}) => ({ to, via, metric: 100, weight: 1, ...more });
  const routes = [
    route('203.0.113.0/24', '192.0.2.1'),
    route('203.0.113.0/24', '192.0.2.3'),
    route('203.0.113.0/24', '192.0.2.4', { metric: 200 }),
    // By another port, of another version, of some sources alone, and a wider one.
    route('203.0.113.9/32', '192.0.2.9'),
    route('203.0.113.9/32', '2001:db8:f::1'),
    route('203.0.113.9/32', '192.0.2.5', { from: '10.0.1.0/24' }),
    route('0.0.0.0/0', '192.0.2.6'),
    route('2001:db8:9::/48', '2001:db8:f::1'),
  ];
  const far6 = ups.peer(4, ups.uplink, '2001:db8:9::9', { multihop: 2 });
  const [plan] = plans([far, far6, { ...ups.core, routes }]);
  assert.deepEqual(plan?.routes, [
    { to: '203.0.113.9/32', via: '192.0.2.1' },
    { to: '203.0.113.9/32', via: '192.0.2.3' },
    { to: '2001:db8:9::9/128', via: '2001:db8:f::1' },
  ]);
  const near = { ...far, address: '192.0.2.6' };
  assert.deepEqual(plans([near, { ...ups.core, routes: [route('192.0.2.6/32', '192.0.2.1')] }])[0]?.routes, []);
});

test('of two peers with one address whose wires are both here one has the session, and the other says why not', () => {
  const here = example.binding(ups.secondWire, h1);
  const twin = ups.peer(3, ups.secondUplink, '192.0.2.1', { multihop: 2 });
  const [plan] = plans([here, twin]);
  assert.deepEqual(
    plan?.peers.map(({ name }) => name),
    ['peer1', 'peer2'],
  );
  assert.match(plan.leftOut[0]!.problem, /session with 192\.0\.2\.1 already, peer1 by router port/);
  assert.deepEqual([plan.leftOut.length, plan.leftOut[0]?.peer], [1, twin.id]);
  // At two gateways both have theirs.
  for (const host of [h1.id, h2.id]) assert.deepEqual(plans([twin], host)[0]?.leftOut, [], host);
  assert.deepEqual(plans([twin], h2.id)[0]?.peers.length, 2);
  const held = { ...ups.peer(1, ups.uplink, '192.0.2.1'), adminUp: false };
  assert.deepEqual(plans([here, twin, held])[0]?.leftOut[0]?.peer, held.id);
});
