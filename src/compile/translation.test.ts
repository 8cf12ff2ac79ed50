import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LoadBalancer, LogicalPort } from '../model/objects.ts';
import { frame, ip, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';
import {
  a,
  b,
  c,
  middle,
  plain,
  sitesOn,
  story,
  toInside,
  toOther,
  uplink,
  world,
  x,
} from './testing/outside-world.ts';

// Floating addresses, source translation and load balancers when the compiled flows are executed, on two hosts.

const h1 = example.host(1);
const h2 = example.host(2);
const sites = sitesOn({ a: h1, b: h1, c: h2, x: h2 });
const SYN_ACK = 18;
const ACK = 16;

function networkWith(...records: InputRecord[]): Network {
  const router = records.some(({ kind }) => kind === 'router') ? [] : [plain];
  return networkOf([h1, h2], [...world, ...router, ...records], sites);
}

type Segment = ReturnType<typeof tcp>;

/** Sends from a workload to its router (or to `to`), and tells what became of it. */
function send(net: Network, from: LogicalPort, src: string, dst: string, l4: Segment, to?: string): string {
  const { on, ofport } = sites.find(({ port }) => port === from)!;
  const gateway = from === x ? uplink.mac : from === c ? toOther.mac : toInside.mac;
  return story(net.send(on[0]!.id, ofport, frame(from.mac, to ?? gateway, ip(src, dst, l4))));
}

const vip = (members: LogicalPort[], options: Partial<LoadBalancer> = {}): LoadBalancer =>
  example.loadBalancer(1, '10.9.9.9', members, { router: plain.id, ...options });

describe('a VIP, from inside', () => {
  test('leads to a member, whose answers come back as of the VIP', () => {
    const near = networkWith(vip([b]));
    assert.equal(send(near, a, '10.0.1.11', '10.9.9.9', tcp(5000, 80)), 'p2: 10.0.1.11:5000 > 10.0.1.12:80');
    const back = send(near, b, '10.0.1.12', '10.0.1.11', tcp(80, 5000, SYN_ACK), a.mac);
    assert.equal(back, 'p1: 10.9.9.9:80 > 10.0.1.11:5000');
    assert.equal(send(near, a, '10.0.1.11', '10.9.9.9', tcp(5000, 80, ACK)), 'p2: 10.0.1.11:5000 > 10.0.1.12:80');
    const far = networkWith(vip([c]));
    assert.equal(send(far, a, '10.0.1.11', '10.9.9.9', tcp(5000, 80)), 'p3: 10.0.1.11:5000 > 10.0.2.13:80');
    assert.equal(send(far, c, '10.0.2.13', '10.0.1.11', tcp(80, 5000, SYN_ACK)), 'p1: 10.9.9.9:80 > 10.0.1.11:5000');
  });
});

test('a floating address leads to its port from outside, and the port goes out by it', () => {
  const net = networkWith(example.floatingAddress(1, '203.0.113.10', plain, a));
  const comes = send(net, x, '198.51.100.1', '203.0.113.10', tcp(4000, 22));
  assert.equal(comes, 'p1: 198.51.100.1:4000 > 10.0.1.11:22');
  const answers = send(net, a, '10.0.1.11', '198.51.100.1', tcp(22, 4000, SYN_ACK));
  assert.equal(answers, 'p9: 203.0.113.10:22 > 198.51.100.1:4000');
  assert.equal(send(net, a, '10.0.1.11', '198.51.100.2', udp(53, 53)), 'p9: 203.0.113.10:53 > 198.51.100.2:53');
  assert.equal(send(net, x, '198.51.100.2', '203.0.113.10', udp(53, 53)), 'p1: 198.51.100.2:53 > 10.0.1.11:53');
});

test('source translation goes out with a port of the block of its host, and answers come back by it', () => {
  const router = middle({ snat: [{ from: '10.0.0.0/8', to: '203.0.113.1' }] });
  const leases = [
    example.natLease(router, '203.0.113.1', h1, [10240, 64]),
    example.natLease(router, '203.0.113.1', h2, [20480, 64]),
  ];
  const net = networkWith(router, ...leases);
  const goes = send(net, a, '10.0.1.11', '198.51.100.1', tcp(5000, 443));
  assert.equal(goes, 'p9: 203.0.113.1:10240 > 198.51.100.1:443');
  const back = send(net, x, '198.51.100.1', '203.0.113.1', tcp(443, 10240, SYN_ACK));
  assert.equal(back, 'p1: 198.51.100.1:443 > 10.0.1.11:5000');
  const local = send(net, c, '10.0.2.13', '198.51.100.1', udp(5000, 53));
  assert.equal(local, 'p9: 203.0.113.1:20480 > 198.51.100.1:53');
  const localBack = send(net, x, '198.51.100.1', '203.0.113.1', udp(53, 20480));
  assert.equal(localBack, 'p3: 198.51.100.1:53 > 10.0.2.13:5000');
});
