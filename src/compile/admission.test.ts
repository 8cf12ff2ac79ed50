import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LogicalPort } from '../model/objects.ts';
import { frame, ip, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import * as example from './testing/example.ts';
import { a, b, middle, plain, sitesOn, story, toInside, uplink, world, x } from './testing/outside-world.fixture.ts';

// Who may fill the zone of a router, when the compiled flows are executed: all workloads are on one host, a's share is full.

const here = example.host(1);
const sites = sitesOn({ a: here, b: here, c: here, x: here });
const router = middle({ snat: [{ from: '10.0.0.0/8', to: '203.0.113.1' }] });
const ZONE = { a: 4, router: 400 } as const;
const SYN_ACK = 18;
const ACK = 16;

/** Its own zone, and the one of its VIPs, hold `most` connections. */
function network(most: number, isTight = true): Network {
  const records = [
    ...[...world, router, example.natZone(plain, ZONE.router, isTight)],
    ...[
      example.natLease(router, '203.0.113.1', here, [10240, 64]),
      example.floatingAddress(1, '203.0.113.10', plain, b),
    ],
  ];
  const net = networkOf([here], records, sites);
  net.limit(here.id, ZONE.a, most);
  net.limit(here.id, ZONE.a + 1, most);
  return net;
}

function send(net: Network, from: LogicalPort, src: string, dst: string, l4: ReturnType<typeof tcp>): string {
  const { ofport } = sites.find(({ port }) => port === from)!;
  return story(net.send(here.id, ofport, frame(from.mac, (from === x ? uplink : toInside).mac, ip(src, dst, l4))));
}

const out = (net: Network, from: LogicalPort, port: number): string =>
  send(net, from, from === a ? '10.0.1.11' : '10.0.1.12', '198.51.100.1', udp(port, 53));

test('a port whose share is full gets no further connection into the zone of its router, its neighbour does', () => {
  const net = network(2);
  assert.match(out(net, a, 5000), /^p9: 203.0.113.1:\d+ > 198.51.100.1:53$/);
  assert.match(out(net, a, 5001), /^p9: /);
  assert.equal(out(net, a, 5002), 'conntrack-full');
  assert.match(out(net, a, 5001), /^p9: /, 'what is not answered yet is new, and still known');
  assert.equal(send(net, x, '198.51.100.1', '203.0.113.1', udp(53, 10240)), 'p1: 198.51.100.1:53 > 10.0.1.11:5000');
  assert.match(out(net, a, 5000), /^p9: /, 'what was answered is known');
  assert.equal(out(net, b, 5000), 'p9: 203.0.113.10:5000 > 198.51.100.1:53');
});

test('where the zone of the router has room for all nobody is asked', () => {
  const net = network(1, false);
  for (const port of [5000, 5001, 5002]) assert.match(out(net, a, port), /^p9: /);
});

test('nobody who goes out is asked where the datapath drops what a full zone has no room for', () => {
  const net = network(1);
  net.change({ ...example.natZone(plain, ZONE.router, true), isStrict: true });
  for (const port of [5000, 5001]) assert.match(out(net, a, port), /^p9: /, 'the pipeline in test does not');
});

test('who floods a floating address fills the share of its port', () => {
  const records = [
    ...[...world, plain, example.natZone(plain, ZONE.router, true)],
    ...[example.floatingAddress(1, '203.0.113.10', plain, a), example.floatingAddress(2, '203.0.113.11', plain, b)],
  ];
  const net = networkOf([here], records, sites);
  net.limit(here.id, ZONE.a + 1, 2);
  const into = (address: string, port: number, flags?: number): string =>
    send(net, x, '198.51.100.1', address, tcp(port, 22, flags));
  const first = 'p1: 198.51.100.1:4000 > 10.0.1.11:22';
  assert.equal(into('203.0.113.10', 4000), first);
  assert.equal(into('203.0.113.10', 4001), 'p1: 198.51.100.1:4001 > 10.0.1.11:22');
  assert.equal(into('203.0.113.10', 4002), 'conntrack-full');
  const answer = send(net, a, '10.0.1.11', '198.51.100.1', tcp(22, 4000, SYN_ACK));
  assert.equal(answer, 'p9: 203.0.113.10:22 > 198.51.100.1:4000');
  assert.equal(into('203.0.113.10', 4000, ACK), first, 'a known connection goes on');
  assert.equal(into('203.0.113.11', 4002), 'p2: 198.51.100.1:4002 > 10.0.1.12:22');
});

test('a workload that calls a floating address of its own router goes out and in again', () => {
  const net = network(9);
  const calls = send(net, a, '10.0.1.11', '203.0.113.10', tcp(5000, 80));
  assert.equal(calls, 'p2: 203.0.113.1:10240 > 10.0.1.12:80');
  const answer = send(net, b, '10.0.1.12', '203.0.113.1', tcp(80, 10240, SYN_ACK));
  assert.equal(answer, 'p1: 203.0.113.10:80 > 10.0.1.11:5000');
});
