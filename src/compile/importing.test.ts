import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LogicalPort } from '../model/objects.ts';
import type { Layer4 } from '../packet/packet.ts';
import { frame, ip, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import { EVERY_PORT, type InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';
import { a, b, c, plain, sitesOn, story, toInside, uplink, world, x } from './testing/outside-world.fixture.ts';

// While the connections of a workload that has moved are on their way (docs/design/flow-database.md, §5).

const h1 = example.host(1);
const h2 = example.host(2);
const sites = sitesOn({ a: h1, b: h1, c: h2, x: h2 });
const [SYN_ACK, ACK] = [18, 16];
const vip = example.loadBalancer(1, '10.9.9.9', [c], { router: plain.id });
const moving = (id: string): InputRecord => ({ kind: 'importing', id });

function begun(): Network {
  const floating = example.floatingAddress(1, '203.0.113.10', plain, a);
  return networkOf([h1, h2], [...world, plain, vip, floating], sites);
}

function send(net: Network, from: LogicalPort, to: string, src: string, dst: string, l4: Layer4): string {
  const { on, ofport } = sites.find(({ port }) => port === from)!;
  return story(net.send(on[0]!.id, ofport, frame(from.mac, to, ip(src, dst, l4))));
}
const out = (net: Network, dst: string, from: number, to: number, flags?: number): string =>
  send(net, a, toInside.mac, '10.0.1.11', dst, tcp(from, to, flags));

for (const [name, id] of [
  ['a workload that has moved', a.id],
  ['a host whose Open vSwitch has lost everything', EVERY_PORT],
] as const)
  describe(name, () => {
    test('goes on with what is known, by its address, a virtual one, and as the one that is called', () => {
      const net = begun();
      const outward = 'p9: 203.0.113.10:5000 > 198.51.100.1:443';
      const called = 'p1: 198.51.100.2:4000 > 10.0.1.11:22';
      const back = 'p9: 203.0.113.10:22 > 198.51.100.2:4000';
      const balanced = 'p3: 10.0.1.11:5001 > 10.0.2.13:80';
      const call = (): string => send(net, x, uplink.mac, '198.51.100.2', '203.0.113.10', tcp(4000, 22));
      assert.equal(out(net, '198.51.100.1', 5000, 443), outward);
      assert.equal(out(net, '10.9.9.9', 5001, 80), balanced);
      assert.equal(call(), called);
      assert.equal(out(net, '198.51.100.2', 22, 4000, SYN_ACK), back);
      net.change(moving(id));
      assert.equal(out(net, '198.51.100.1', 5000, 443, ACK), outward);
      assert.equal(out(net, '10.9.9.9', 5001, 80, ACK), balanced);
      assert.equal(out(net, '198.51.100.2', 22, 4000, ACK), back);
      assert.equal(call(), called);
    });

    test('goes on with what it says to one who never answers', () => {
      const net = begun();
      const says = (from: number): string => send(net, a, toInside.mac, '10.0.1.11', '198.51.100.1', udp(from, 514));
      const said = 'p9: 203.0.113.10:5002 > 198.51.100.1:514';
      assert.equal(says(5002), said);
      net.change(moving(id));
      assert.equal(says(5002), said);
      assert.equal(says(5003), 'importing');
    });

    test('begins nothing: neither what it says, nor, by what it gets, in the wrong direction', () => {
      const net = begun();
      net.change(moving(id));
      assert.equal(out(net, '198.51.100.1', 5000, 443, ACK), 'importing');
      assert.equal(out(net, '10.9.9.9', 5001, 80), 'importing');
      // It gets what comes, and answers when its connections are here.
      const comes = send(net, b, a.mac, '10.0.1.12', '10.0.1.11', tcp(80, 6000, ACK));
      assert.equal(comes, id === a.id ? 'p1: 10.0.1.12:80 > 10.0.1.11:6000' : 'importing');
      assert.equal(send(net, a, b.mac, '10.0.1.11', '10.0.1.12', tcp(6000, 80, ACK)), 'importing');
    });
  });

test('other ports notice nothing of one that has moved', () => {
  const net = begun();
  net.change(moving(a.id));
  assert.equal(send(net, b, toInside.mac, '10.0.1.12', '198.51.100.1', tcp(1, 2)), 'p9: 10.0.1.12:1 > 198.51.100.1:2');
});
