import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatFlow } from '../openflow/text/flow.ts';
import { echo, frame, ip, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';
import { a, b, c, plain, sitesOn, story, toInside, uplink, world, x } from './testing/outside-world.fixture.ts';

// Addresses with as many connections as they may have (docs/design/gateways.md, §8), when the compiled flows are executed.

const [h1, h2] = [example.host(1), example.host(2)];
const [SYN, ACK, SYN_ACK] = [2, 16, 18];
const CLIENT = '198.51.100.1';
const [FLOATING, NEIGHBOUR, VIP] = ['203.0.113.10', '203.0.113.11', '203.0.113.80'];
const [floating, neighbour] = [
  example.floatingAddress(1, FLOATING, plain, a),
  example.floatingAddress(2, NEIGHBOUR, plain, b),
];
const vip = example.loadBalancer(1, VIP, [b, c], {
  router: plain.id,
  listeners: [
    { protocol: 'tcp', port: 80 },
    { protocol: 'udp', port: 53 },
  ],
});
const full = (of: { readonly id: string }): InputRecord => ({ kind: 'fullAddress', id: of.id });
const into = (net: Network, address: string, l4: ReturnType<typeof tcp>): string =>
  story(net.send(h2.id, 4, frame(x.mac, uplink.mac, ip(CLIENT, address, l4))));

for (const isTight of [false, true])
  describe(`a floating address that is full, its router's zone ${isTight ? 'tight' : 'with room'}`, () => {
    const sites = sitesOn({ a: h1, b: h1, c: h2, x: h2 });
    const network = (): Network =>
      networkOf([h1, h2], [...world, plain, floating, neighbour, example.natZone(plain, 400, isTight)], sites);

    test('lets in no new connection, and of those that it has everything', () => {
      const net = network();
      const first = 'p1: 198.51.100.1:4000 > 10.0.1.11:22';
      assert.equal(into(net, FLOATING, tcp(4000, 22, SYN)), first);
      net.change(full(floating));
      for (const l4 of [tcp(4001, 22, SYN), tcp(4002, 22, ACK), udp(4000, 53), echo(4)])
        assert.equal(into(net, FLOATING, l4), 'connection-limit');
      assert.equal(into(net, FLOATING, tcp(4003, 22, SYN_ACK)), 'invalid');
      assert.equal(into(net, FLOATING, tcp(4000, 22, SYN)), first, 'sent again');
      const answer = frame(a.mac, toInside.mac, ip('10.0.1.11', CLIENT, tcp(22, 4000, SYN_ACK)));
      assert.equal(story(net.send(h1.id, 1, answer)), 'p9: 203.0.113.10:22 > 198.51.100.1:4000');
      assert.equal(into(net, FLOATING, tcp(4000, 22, ACK)), first);
      assert.match(into(net, NEIGHBOUR, tcp(4001, 22, SYN)), /^p2: /);
    });

    test('is left by what its workload begins, and let in again are the answers', () => {
      const net = network();
      net.change(full(floating));
      const out = frame(a.mac, toInside.mac, ip('10.0.1.11', CLIENT, udp(5000, 53)));
      assert.equal(story(net.send(h1.id, 1, out)), 'p9: 203.0.113.10:5000 > 198.51.100.1:53');
      assert.equal(into(net, FLOATING, udp(53, 5000)), 'p1: 198.51.100.1:53 > 10.0.1.11:5000');
    });

    test('is named by what it dropped', () => {
      const net = network();
      net.change(full(floating));
      const { results } = net.send(h2.id, 4, frame(x.mac, uplink.mac, ip(CLIENT, FLOATING, tcp(1, 2, SYN))));
      const last = results.at(-1)!.result.steps.at(-1)!.flow!;
      assert.deepEqual(net.compilerOf(h1.id).explain(last.cookie).objects, [
        { kind: 'floatingAddress', id: floating.id },
      ]);
    });
  });

describe('a load balancer that is full at the host of its members', () => {
  const sites = sitesOn({ a: h1, b: h1, c: h1, x: h2 });
  const network = (): Network => networkOf([h1, h2], [...world, plain, vip, floating], sites);

  test('lets in no new connection, and keeps those that it has with their members', () => {
    const net = network();
    const known = [4000, 4002, 4004, 4006].map((port) => [port, into(net, VIP, tcp(port, 80, SYN))] as const);
    for (const [, said] of known) assert.match(said, /^p[23]: /);
    net.change(full(vip));
    assert.equal(into(net, VIP, tcp(5000, 80, SYN)), 'connection-limit');
    assert.equal(into(net, VIP, udp(5000, 53)), 'connection-limit');
    for (const [port, said] of known) assert.equal(into(net, VIP, tcp(port, 80, ACK)), said);
    assert.match(into(net, FLOATING, tcp(5000, 22, SYN)), /^p1: /);
  });

  test('answers pings, and hands on what is in mid-connection as ever', () => {
    const net = network();
    const before = [into(net, VIP, echo(4)), into(net, VIP, tcp(6000, 80, ACK))];
    net.change(full(vip));
    assert.deepEqual([into(net, VIP, echo(4)), into(net, VIP, tcp(6000, 80, ACK))], before);
  });

  test('leaves another one with the same members alone', () => {
    const twin = { ...example.loadBalancer(2, '203.0.113.81', [b, c], { router: plain.id }), listeners: vip.listeners };
    const net = networkOf([h1, h2], [...world, plain, vip, twin], sites);
    net.change(full(vip));
    assert.deepEqual(net.compilerOf(h1.id).update([]).problems, []);
    assert.equal(into(net, VIP, tcp(5000, 80, SYN)), 'connection-limit');
    assert.match(into(net, twin.address, tcp(5000, 80, SYN)), /^p[23]: /);
    assert.match(into(net, twin.address, udp(5000, 53)), /^p[23]: /);
  });

  test('serves clients inside', () => {
    const net = network();
    net.change(full(vip));
    const asks = frame(a.mac, toInside.mac, ip('10.0.1.11', VIP, tcp(4000, 80, SYN)));
    assert.match(story(net.send(h1.id, 1, asks)), /^p[23]: /);
  });
});

test('who is not full has the flows of who has no limit', () => {
  const sites = sitesOn({ a: h1, b: h1, c: h1, x: h1 });
  const flowsOf = (...records: InputRecord[]): string[] =>
    [
      ...networkOf([h1], [...world, plain, ...records], sites)
        .compilerOf(h1.id)
        .flows(),
    ]
      .map(formatFlow)
      .sort();
  const limit = { inboundLimit: { connections: 5 } };
  assert.deepEqual(flowsOf({ ...floating, ...limit }, { ...vip, ...limit }), flowsOf(floating, vip));
  const more = flowsOf(floating, vip, full(floating)).length - flowsOf(floating, vip).length;
  assert.equal(more, 2, 'flows while it is');
});
