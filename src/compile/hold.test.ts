import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frame, ip, networkOf, tcp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import type { PacketIn } from '../pipeline/result.ts';
import { PACKET_IN } from './tables.ts';
import * as example from './testing/example.ts';
import {
  a,
  b,
  ends,
  middle,
  plain,
  sitesOn,
  story,
  toInside,
  uplink,
  world,
  x,
} from './testing/outside-world.fixture.ts';

// Which packets of an L2 gateway's connections wait for the agent, when the compiled flows are executed: a is its outside.

const here = example.host(1);
const sites = sitesOn({ a: here, b: here, c: here, x: here });
const router = middle({ snat: [{ from: '10.0.0.0/8', to: '203.0.113.1' }] });
const lease = { ...example.natLease(router, '203.0.113.1', here, [20480, 1]), port: a.id };
const SYN = 2;
const SYN_ACK = 18;
const ACK = 16;

function network(isPaused?: boolean): Network {
  const records = [
    ...[...world, router, example.l2Gateway(1, a, [here])],
    ...[
      example.natLease(router, '203.0.113.1', here, [10240, 1]),
      { ...lease, id: `${router.id}/203.0.113.1/${a.id}` },
      example.floatingAddress(1, '203.0.113.10', plain, b),
      example.loadBalancer(1, '203.0.113.80', [a], { router: router.id, slots: 16 }),
    ],
  ];
  const net = networkOf([here], records, sites);
  if (isPaused !== undefined) for (const { id } of [a, b]) net.change({ kind: 'held', id, isPaused });
  return net;
}

type Sent = readonly [from: typeof a, src: string, srcPort: number, dst: string, dstPort: number, flags: number];

/** Begins, is answered twice, goes on: by the first reply of each connection others are told of it. */
const CONVERSATIONS: Readonly<Record<string, readonly (readonly [Sent, arrives: string])[]>> = {
  'out, with a port of its own': [
    [[a, '10.0.1.11', 5000, '198.51.100.1', 80, SYN], 'p9: 203.0.113.1:20480 > 198.51.100.1:80'],
    [[x, '198.51.100.1', 80, '203.0.113.1', 20480, SYN_ACK], 'p1: 198.51.100.1:80 > 10.0.1.11:5000'],
    [[a, '10.0.1.11', 5000, '198.51.100.1', 80, ACK], 'p9: 203.0.113.1:20480 > 198.51.100.1:80'],
    [[x, '198.51.100.1', 80, '203.0.113.1', 20480, ACK], 'p1: 198.51.100.1:80 > 10.0.1.11:5000'],
  ],
  'in by a floating address': [
    [[x, '198.51.100.1', 6000, '203.0.113.10', 22, SYN], 'p2: 198.51.100.1:6000 > 10.0.1.12:22'],
    [[b, '10.0.1.12', 22, '198.51.100.1', 6000, SYN_ACK], 'p9: 203.0.113.10:22 > 198.51.100.1:6000'],
    [[x, '198.51.100.1', 6000, '203.0.113.10', 22, ACK], 'p2: 198.51.100.1:6000 > 10.0.1.12:22'],
    [[b, '10.0.1.12', 22, '198.51.100.1', 6000, ACK], 'p9: 203.0.113.10:22 > 198.51.100.1:6000'],
  ],
  'out by a floating address': [
    [[b, '10.0.1.12', 5000, '198.51.100.1', 80, SYN], 'p9: 203.0.113.10:5000 > 198.51.100.1:80'],
    [[x, '198.51.100.1', 80, '203.0.113.10', 5000, SYN_ACK], 'p2: 198.51.100.1:80 > 10.0.1.12:5000'],
    [[x, '198.51.100.1', 80, '203.0.113.10', 5000, ACK], 'p2: 198.51.100.1:80 > 10.0.1.12:5000'],
  ],
  'in by a virtual address': [
    [[x, '198.51.100.1', 6000, '203.0.113.80', 80, SYN], 'p1: 198.51.100.1:6000 > 10.0.1.11:80'],
    [[a, '10.0.1.11', 80, '198.51.100.1', 6000, SYN_ACK], 'p9: 203.0.113.80:80 > 198.51.100.1:6000'],
    [[x, '198.51.100.1', 6000, '203.0.113.80', 80, ACK], 'p1: 198.51.100.1:6000 > 10.0.1.11:80'],
    [[a, '10.0.1.11', 80, '198.51.100.1', 6000, ACK], 'p9: 203.0.113.80:80 > 198.51.100.1:6000'],
  ],
  'in by a virtual address, from beside': [
    [[b, '10.0.1.12', 7000, '203.0.113.80', 80, SYN], 'p1: 10.0.1.12:7000 > 10.0.1.11:80'],
    [[a, '10.0.1.11', 80, '10.0.1.12', 7000, SYN_ACK], 'p2: 203.0.113.80:80 > 10.0.1.12:7000'],
    [[b, '10.0.1.12', 7000, '203.0.113.80', 80, ACK], 'p1: 10.0.1.12:7000 > 10.0.1.11:80'],
  ],
};

/** What arrives in the end, and what waited for it. */
function send(net: Network, [from, src, srcPort, dst, dstPort, flags]: Sent): { arrives: string; waited: PacketIn[] } {
  const { ofport } = sites.find(({ port }) => port === from)!;
  const mac = from === x ? uplink.mac : toInside.mac;
  const journey = net.send(here.id, ofport, frame(from.mac, mac, ip(src, dst, tcp(srcPort, dstPort, flags))));
  const waited: PacketIn[] = [];
  let arrives = story(journey);
  for (let last = journey.packetIns.at(0) as PacketIn | undefined; last?.resume; ) {
    assert.equal(last.userdata[0], PACKET_IN.firstReply);
    waited.push(last);
    const { outputs, packetIns } = last.resume();
    arrives = outputs.map(({ port, bytes }) => `p${port}: ${ends(bytes)}`).join('; ');
    last = packetIns.at(0);
  }
  return { arrives: arrives.replace('p4:', 'p9:'), waited };
}

for (const [name, packets] of Object.entries(CONVERSATIONS)) {
  test(`${name}: the first reply waits, once in each zone, and nothing else`, () => {
    const net = network(true);
    let replies = 0;
    for (const [sent, arrives] of packets) {
      const result = send(net, sent);
      assert.equal(result.arrives, arrives);
      const isReply = sent[5] === SYN_ACK;
      assert.equal(result.waited.length > 0, isReply, `${sent}`);
      if (isReply) replies = result.waited.length;
    }
    assert.ok(replies >= 1 && replies <= 2);
  });

  test(`${name}: where nothing may wait nothing does, and it is as without`, () => {
    for (const net of [network(false), network()])
      for (const [sent, arrives] of packets) assert.deepEqual(send(net, sent), { arrives, waited: [] });
  });
}
