import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LoadBalancer } from '../model/objects.ts';
import { decodePacket } from '../packet/packet.ts';
import { arp, BROADCAST, echo, frame, ip, mac, networkOf, tcp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';
import {
  a,
  b,
  c,
  inside,
  plain,
  sitesOn,
  story,
  toInside,
  toOther,
  uplink,
  world,
  x,
} from './testing/outside-world.fixture.ts';

// Load balancers that share their address (docs/design/layer3.md, §8), when the compiled flows are executed.

const [h1, h2] = [example.host(1), example.host(2)];
const sites = sitesOn({ a: h1, b: h1, c: h2, x: h2 });
const VIP = '203.0.113.80';
const CLIENT = '198.51.100.1';
const [ACK, SYN_ACK] = [16, 18];
const web = example.loadBalancer(1, VIP, [b], { router: plain.id });
const ssh = example.loadBalancer(2, VIP, [c], {
  router: plain.id,
  listeners: [{ protocol: 'tcp', port: 2222, memberPort: 22 }],
});

function networkWith(...records: InputRecord[]): Network {
  const net = networkOf([h1, h2], [...world, plain, ...records], sites);
  for (const { id } of [h1, h2]) assert.deepEqual(net.compilerOf(id).update([]).problems, []);
  return net;
}

const fromOutside = (net: Network, l4: ReturnType<typeof tcp>): string =>
  story(net.send(h2.id, 4, frame(x.mac, uplink.mac, ip(CLIENT, VIP, l4))));
const fromInside = (net: Network, l4: ReturnType<typeof tcp>): string =>
  story(net.send(h1.id, 1, frame(a.mac, toInside.mac, ip('10.0.1.11', VIP, l4))));
/** What a client outside is told of a packet of the VIP, by somebody on its way. */
const aboutAnswer = (source: number, to: number): Uint8Array =>
  frame(x.mac, uplink.mac, {
    ...ip('198.51.100.7', VIP, { kind: 'icmp', type: 3, code: 4, rest: 1400 }),
    payload: frame(a.mac, b.mac, ip(VIP, CLIENT, tcp(source, to, ACK))).slice(14),
  });

describe('an address that two load balancers share', () => {
  test('leads to the members of the one that listens, from outside and from inside, and answers for itself', () => {
    const net = networkWith(web, ssh);
    assert.equal(fromOutside(net, tcp(5000, 80)), `p2: ${CLIENT}:5000 > 10.0.1.12:80`);
    assert.equal(fromOutside(net, tcp(5000, 2222)), `p3: ${CLIENT}:5000 > 10.0.2.13:22`);
    assert.equal(fromInside(net, tcp(5000, 80)), 'p2: 10.0.1.11:5000 > 10.0.1.12:80');
    assert.equal(fromInside(net, tcp(5000, 2222)), 'p3: 10.0.1.11:5000 > 10.0.2.13:22');
    const answer = frame(c.mac, toOther.mac, ip('10.0.2.13', CLIENT, tcp(22, 5000, SYN_ACK)));
    assert.equal(story(net.send(h2.id, 3, answer)), `p9: ${VIP}:2222 > ${CLIENT}:5000`);
    for (const send of [fromOutside, fromInside]) assert.match(send(net, echo(4)), /^back: /);
    assert.equal(fromOutside(net, tcp(5000, 443)), 'not-translated');
  });

  test('passes ICMP errors to whoever of all their members has the connection', () => {
    const net = networkWith(web, ssh);
    fromOutside(net, tcp(5000, 80));
    fromOutside(net, tcp(5000, 2222));
    const toldAbout = (port: number): string => story(net.send(h2.id, 4, aboutAnswer(port, 5000)));
    assert.equal(toldAbout(80), 'p2: 198.51.100.7 > 10.0.1.12; invalid');
    assert.equal(toldAbout(2222), 'p3: 198.51.100.7 > 10.0.2.13; invalid');
  });

  test('asks the host of a member of both but once', () => {
    const net = networkWith(web, { ...ssh, members: web.members });
    fromOutside(net, tcp(5000, 2222));
    assert.equal(story(net.send(h2.id, 4, aboutAnswer(2222, 5000))), 'p2: 198.51.100.7 > 10.0.1.12');
  });

  test('goes on with the one when the other is down, or has no member', () => {
    const net = networkWith(web, { ...ssh, members: [], onEmpty: 'drop' });
    assert.equal(fromOutside(net, tcp(5000, 2222)), 'no-member');
    assert.equal(fromInside(net, tcp(5000, 2222)), 'no-member');
    assert.equal(fromOutside(net, tcp(5000, 80)), `p2: ${CLIENT}:5000 > 10.0.1.12:80`);
    net.change({ ...web, adminUp: false }, ssh);
    assert.equal(fromOutside(net, tcp(5002, 80)), 'not-translated');
    assert.equal(fromOutside(net, tcp(5002, 2222)), `p3: ${CLIENT}:5002 > 10.0.2.13:22`);
    assert.match(fromOutside(net, echo(4)), /^back: /);
  });

  test('has one pre-filter and one set of limits', () => {
    const closed = example.chain(1, 'drop');
    const only80 = example.rule(1, closed, 10, 'accept', { protocol: 'tcp', dstPorts: '80' });
    const both = { prefilter: closed.id, inboundLimit: { pps: 1000, newPerSecond: 50 } };
    const net = networkWith(closed, only80, { ...web, ...both }, { ...ssh, ...both });
    assert.equal(fromOutside(net, tcp(5000, 80)), `p2: ${CLIENT}:5000 > 10.0.1.12:80`);
    assert.equal(fromOutside(net, tcp(5000, 2222)), 'prefilter');
    assert.equal(fromOutside(net, echo(4)), 'prefilter');
    const meters = [...net.compilerOf(h2.id).meters().values()].filter((each) => each.of?.kind === 'loadBalancer');
    assert.deepEqual(
      meters.map(({ of, rate }) => [of?.id, rate]),
      [
        [web.id, 1000],
        [web.id, 50],
      ],
    );
  });

  test('of a switch has one MAC, that of the smallest key', () => {
    const on = (balancer: LoadBalancer): LoadBalancer => {
      const { router: _, ...rest } = balancer;
      return { ...rest, switch: inside.id, address: '10.0.1.99' };
    };
    const net = networkWith(on(ssh), on(web));
    const { answered } = net.send(h1.id, 1, frame(a.mac, BROADCAST, arp(1, a.mac, '10.0.1.11', '10.0.1.99')));
    const { l3 } = decodePacket(answered[0]!);
    assert.equal(l3?.kind === 'arp' && l3.sha, mac('0a:57:4c:00:05:01'));
    const asks = (port: number): string =>
      story(net.send(h1.id, 1, frame(a.mac, '0a:57:4c:00:05:01', ip('10.0.1.11', '10.0.1.99', tcp(5000, port)))));
    assert.equal(asks(80), 'p2: 10.0.1.11:5000 > 10.0.1.12:80');
  });
});

test('a member that calls the address that it shares is told of errors about that, whichever balancer it is of', () => {
  const both = networkWith(web, { ...ssh, members: web.members });
  const call = frame(b.mac, toInside.mac, ip('10.0.1.12', VIP, tcp(5000, 2222)));
  assert.equal(story(both.send(h1.id, 2, call)), `back: ${VIP}:5000 > 10.0.1.12:22`);
  const error = frame(b.mac, toInside.mac, {
    ...ip('10.0.1.12', VIP, { kind: 'icmp', type: 3, code: 3, rest: 0 }),
    payload: frame(b.mac, b.mac, ip(VIP, '10.0.1.12', tcp(5000, 22))).slice(14),
  });
  const alone = networkWith({ ...ssh, members: web.members });
  alone.send(h1.id, 2, call);
  assert.equal(story(both.send(h1.id, 2, error)), story(alone.send(h1.id, 2, error)));
});
