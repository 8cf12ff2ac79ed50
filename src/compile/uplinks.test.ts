import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errorAbout, replyTo } from '../model/generate-replies.ts';
import type { LogicalPort, LogicalSwitch, Neighbour, Rule } from '../model/objects.ts';
import { echo, frame, ip, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Journey, Network } from '../pipeline/network.fixture.ts';
import { createCompiler } from './compiler.ts';
import { REGISTERS } from './fields.ts';
import type { InputRecord } from './inputs.ts';
import { PACKET_IN } from './tables.ts';
import * as example from './testing/example.ts';
import {
  a,
  b,
  c,
  inside,
  middle,
  other,
  outside,
  toInside,
  toOther,
  uplink,
  story as whole,
} from './testing/outside-world.fixture.ts';

/**
 * A stateful filter at the uplinks themselves (docs/design/layer3.md, §5a): two of a provider's router, in front of a tenant's that translates.
 *
 *   a, b, c ── (outside-world.fixture.ts) middle ── outside ── core ─┬─ up 1 ── wire, on the first gateway
 *   d ── routed 203.0.114.0/24 ──────────────────────────────────────┤
 *                                                                    └─ up 2 ── wire, on the second gateway
 */
const [h1, h2, g1, g2] = [example.host(1), example.host(2), example.host(3), example.host(4)];
const CLIENT = '198.51.100.1';
const CLIENT_6 = '2001:db8:99::1';
const [FLOATING, SNAT, VIP] = ['203.0.113.10', '203.0.113.60', '203.0.113.80'];
const [SYN_ACK, ACK] = [18, 16];
const UNKNOWN = 'unknown-connection';

const routed = example.logicalSwitch(4, {
  subnets: [example.subnet('203.0.114.0/24'), example.subnet('2001:db8:4::/64')],
});
const ups = [example.logicalSwitch(5), example.logicalSwitch(6)] as const;
const core = example.router(2, {
  bgp: { asn: 64_512, advertise: [], networks: [], maxRoutes: 100 },
  routes: [
    example.route('0.0.0.0/0', { via: '192.0.2.1' }),
    example.route('::/0', { via: '2001:db8:f1::1' }),
    example.route('2001:db8:1::/64', { via: '2001:db8:ffff::1' }),
  ],
});
const filter = example.chain(1, 'drop');
const toOutside = example.routerPort(11, core, {
  switch: outside.id,
  addresses: ['203.0.113.254/24', '2001:db8:ffff::254/64'],
});
const toRouted = example.routerPort(12, core, { switch: routed.id, addresses: ['203.0.114.1/24', '2001:db8:4::1/64'] });
const uplinks = ups.map((sw, n) =>
  example.routerPort(13 + n, core, {
    ...{ switch: sw.id, addresses: [`192.0.2.${8 * n + 2}/29`, `2001:db8:f${n + 1}::2/64`], inChain: filter.id },
  }),
);
const d = example.port(4, routed, { addresses: ['203.0.114.11', '2001:db8:4::11'] });
const wires = ups.map((sw, n) => example.port(7 + n, sw, { portSecurity: false, addresses: [] }));
const MAC = '02:99:00:00:00:01';
const neighbour = (sw: LogicalSwitch, address: string, n: number): Neighbour => ({
  ...{ kind: 'neighbour', id: `${sw.id}/${address}`, revision: 1, switch: sw.id, address, mac: MAC },
  ...{ port: wires[n]!.id, host: [g1, g2][n]!.id },
});

/** Known ones, and TCP that begins at port 80. */
const rules: readonly Rule[] = [
  example.rule(1, filter, 10, 'accept', { state: ['established', 'related'] }),
  example.rule(2, filter, 20, 'accept', { state: ['new'], protocol: 'tcp', dstPorts: '80', tcpFlags: '+syn-ack' }),
];
const tenants = middle({ snat: [{ from: '10.0.0.0/8', to: SNAT }] });
const sites = [
  { port: a, on: [h1], ofport: 1, zone: 4 },
  { port: b, on: [h1], ofport: 2, zone: 8 },
  { port: c, on: [h2], ofport: 3, zone: 12 },
  { port: d, on: [h1], ofport: 5, zone: 20 },
  { port: wires[0]!, on: [g1], ofport: 7, zone: 28 },
  { port: wires[1]!, on: [g2], ofport: 8, zone: 32 },
];
const vip = (...members: LogicalPort[]): InputRecord =>
  example.loadBalancer(1, VIP, members, { router: tenants.id, listeners: [{ protocol: 'tcp', port: 80 }] });
const world: readonly InputRecord[] = [
  ...[inside, other, outside, routed, ...ups, toInside, toOther, uplink, toOutside, toRouted, ...uplinks],
  ...[tenants, core, filter, ...rules, example.natZone(tenants, 400)],
  ...[neighbour(ups[0], '192.0.2.1', 0), neighbour(ups[0], '2001:db8:f1::1', 0), neighbour(ups[1], '192.0.2.9', 1)],
  example.floatingAddress(1, FLOATING, tenants, a),
  example.natLease(tenants, SNAT, h1, [4096, 64]),
  vip(b),
];
const network = (...more: readonly InputRecord[]): Network => networkOf([h1, h2, g1, g2], [...world, ...more], sites);

type L4 = ReturnType<typeof tcp>;
const GATEWAYS = new Map<LogicalPort, string>([
  ...([
    [a, toInside.mac],
    [b, toInside.mac],
    [c, toOther.mac],
    [d, toRouted.mac],
  ] as const),
]);
const siteOf = (port: LogicalPort): (typeof sites)[number] => sites.find((site) => site.port === port)!;

/** That addresses behind wires are learned is no news, nor that a flood reaches nobody on the host where it began. */
const story = (journey: Journey): string =>
  whole({
    ...journey,
    packetIns: journey.packetIns.filter(({ userdata }) => userdata[0] !== PACKET_IN.learn),
    reasons: journey.reasons.filter((reason) => reason !== 'unknown-mac'),
  });

/** From a workload to the client. */
function out(net: Network, from: LogicalPort, src: string, l4: L4, dst = CLIENT): Journey {
  const { on, ofport } = siteOf(from);
  return net.send(on[0]!.id, ofport, frame(from.mac, GATEWAYS.get(from)!, ip(src, dst, l4)));
}

/** By the n-th uplink. */
function enter(net: Network, n: 0 | 1, bytes: Uint8Array): Journey {
  const { on, ofport } = siteOf(wires[n]!);
  const copy = bytes.slice();
  copy.set(uplinks[n]!.mac.split(':').map((byte) => Number.parseInt(byte, 16)));
  return net.send(on[0]!.id, ofport, copy);
}
const from = (net: Network, n: 0 | 1, dst: string, l4: L4, src = CLIENT): string =>
  story(enter(net, n, frame(MAC, uplinks[n]!.mac, ip(src, dst, l4))));

describe('a stateful filter at uplinks lets in', () => {
  const WAYS = {
    'by a floating address': [a, '10.0.1.11', '10.0.1.11'],
    'by SNAT': [b, '10.0.1.12', '10.0.1.12'],
    'by a routed address': [d, '203.0.114.11', '203.0.114.11'],
  } as const;
  for (const [way, [port, src, inner]] of Object.entries(WAYS))
    for (const [what, l4] of Object.entries({ TCP: tcp(5000, 443), UDP: udp(5000, 53), ping: echo(4) }))
      test(`what answers a workload's ${what} ${way}, at either gateway, but no other`, () => {
        for (const n of [0, 1] as const) {
          const net = network();
          const sent = out(net, port, src, l4).delivered[0]!;
          assert.equal(sent.port, wires[0]!.name);
          const answer = replyTo(sent.bytes)!;
          assert.match(story(enter(network(), n, answer)), /^(unknown-connection|invalid)$/, 'before it was asked for');
          assert.match(
            story(enter(net, n, answer)),
            new RegExp(`^${port.name}: ${CLIENT}(:\\d+)? > ${inner}(:\\d+)?$`),
          );
        }
      });

  for (const [dst, inner, port] of [
    [FLOATING, '10.0.1.11', a],
    [VIP, '10.0.1.12', b],
    ['203.0.114.11', '203.0.114.11', d],
  ] as const)
    test(`to ${dst} what begins as a rule wants, and then what is known, by another gateway`, () => {
      const net = network();
      const got = `${port.name}: ${CLIENT}:5000 > ${inner}:80`;
      assert.equal(from(net, 1, dst, tcp(5000, 80, ACK)), UNKNOWN);
      assert.equal(from(net, 0, dst, tcp(5000, 22)), dst === VIP ? 'not-translated' : UNKNOWN);
      assert.equal(from(net, 0, dst, tcp(5000, 80)), got);
      const back = out(net, port, inner, tcp(80, 5000, SYN_ACK));
      assert.equal(story(back), `${wires[0]!.name}: ${dst}:80 > ${CLIENT}:5000`);
      assert.equal(from(net, 1, dst, tcp(5000, 80, ACK)), got);
      assert.equal(from(net, 1, dst, tcp(5001, 80, ACK)), UNKNOWN);
    });

  test('what is known to a former member of a VIP', () => {
    const net = network();
    from(net, 0, VIP, tcp(5000, 80));
    out(net, b, '10.0.1.12', tcp(80, 5000, SYN_ACK));
    net.change({
      ...vip(b, c),
      members: [b, c].map(({ id }) => ({ port: id, weight: 1, drain: id === b.id, adminUp: true })),
    } as InputRecord);
    assert.equal(from(net, 1, VIP, tcp(5000, 80, ACK)), `${b.name}: ${CLIENT}:5000 > 10.0.1.12:80`);
    assert.match(from(net, 1, VIP, tcp(5001, 80, ACK)), /^unknown-connection/);
  });

  test('over IPv6', () => {
    const net = network();
    const sent = out(net, d, '2001:db8:4::11', tcp(5000, 443), CLIENT_6).delivered[0]!;
    assert.equal(story(enter(net, 1, replyTo(sent.bytes)!)), `${d.name}: ${CLIENT_6}:443 > 2001:db8:4::11:5000`);
    assert.equal(from(net, 1, '2001:db8:4::11', tcp(443, 5001, SYN_ACK), CLIENT_6), 'invalid');
    assert.equal(from(net, 1, '2001:db8:4::11', tcp(443, 5001, ACK), CLIENT_6), UNKNOWN);
  });

  test('errors about known connections', () => {
    for (const [port, src, unknown] of [
      [a, '10.0.1.11', UNKNOWN],
      [b, '10.0.1.12', UNKNOWN],
      [d, '203.0.114.11', 'invalid'],
    ] as const) {
      const net = network();
      const error = errorAbout(out(net, port, src, tcp(5000, 443)).delivered[0]!.bytes)!;
      assert.equal(story(enter(network(), 1, error)), unknown);
      const { delivered } = enter(net, 1, error);
      assert.deepEqual(
        delivered.map((each) => each.port),
        [port.name],
      );
    }
  });
});

describe('what an uplink lets in only as known', () => {
  test('is nothing for the router itself, nor for another uplink', () => {
    const net = network();
    for (const dst of ['203.0.113.254', '192.0.2.2']) assert.equal(from(net, 0, dst, echo(4)), UNKNOWN);
    assert.equal(from(net, 0, '192.0.2.9', tcp(5000, 22)), UNKNOWN);
    assert.match(from(net, 0, '192.0.2.9', tcp(5000, 80)), /^p8: /, 'but what it lets in as new is');
  });

  test('is known by a bit that nobody brings in', () => {
    const net = network();
    const sent = frame('03:99:00:00:00:01', uplinks[0]!.mac, ip(CLIENT, FLOATING, tcp(5000, 80)));
    assert.equal(story(enter(net, 0, sent)), 'spoofed-mac');
  });

  test('reaches its workload as a frame like any other', () => {
    const net = network();
    const answer = replyTo(out(net, d, '203.0.114.11', tcp(5000, 443)).delivered[0]!.bytes)!;
    const [{ bytes }] = enter(net, 1, answer).delivered as [Journey['delivered'][number]];
    assert.equal(bytes[6]! & 1, 0);
  });

  test('is flooded to the ports of this host and of others as a frame like any other', () => {
    const open: Partial<LogicalPort> = { portSecurity: false, addresses: [] };
    const [here, there] = [example.port(9, routed, open), example.port(10, routed, open)];
    const behind = { ...neighbour(routed, '203.0.114.77', 0), mac: '02:77:00:00:00:01', port: here.id, host: g2.id };
    const net = networkOf(
      [h1, h2, g1, g2],
      [...world, behind],
      [...sites, { port: here, on: [g2], ofport: 9, zone: 36 }, { port: there, on: [h2], ofport: 10, zone: 40 }],
    );
    const asks = frame(behind.mac, toRouted.mac, ip('203.0.114.77', CLIENT, tcp(5000, 443)));
    const sent = net.send(g2.id, 9, asks).delivered.find(({ port }) => port === wires[0]!.name);
    const { delivered } = enter(net, 1, replyTo(sent!.bytes)!);
    assert.deepEqual(
      delivered.map(({ port, bytes }) => [port, bytes[6]! & 1]),
      [[here.name, 0]],
    );
  });

  test('leaves nothing at the gateways, whose wires are not tracked', () => {
    const compiler = createCompiler();
    const host = example.self(g1, { tunnelPorts: { geneve: 99 } });
    const bindings = sites.map(({ port, on }) => example.binding(port, ...on));
    const ports = sites.map(({ port }) => port);
    const wire = example.boundInterface(wires[0]!, 7);
    compiler.update(
      [example.zone(), h1, h2, g1, g2, ...world, ...ports, ...bindings, host, { ...wire, zone: 28 }].map((record) => ({
        ...{ op: 'put', record },
      })),
    );
    const ofWire = [...compiler.flows()].filter(({ match }) => match.in_port === 7);
    assert.ok(ofWire.length > 0);
    const zone = REGISTERS.inZone.field;
    for (const { actions } of ofWire)
      assert.ok(!actions.some((action) => action.kind === 'setField' && action.field === zone));
  });

  test('is logged as what it was let in as, and only that', () => {
    const noted = example.rule(3, filter, 30, 'log');
    const greeted = example.rule(4, filter, 5, 'log', { state: ['established'] });
    const net = network(noted, greeted);
    const logged = ({ packetIns }: Journey): number =>
      packetIns.filter(({ userdata }) => userdata[0] === PACKET_IN.log).length;
    const sent = out(net, d, '203.0.114.11', tcp(5000, 443)).delivered[0]!;
    assert.equal(logged(enter(net, 1, replyTo(sent.bytes)!)), 1, 'known: by the rule for such');
    assert.equal(
      logged(enter(net, 1, frame(MAC, uplinks[1]!.mac, ip(CLIENT, FLOATING, tcp(5000, 80))))),
      0,
      'let in as new',
    );
  });

  test('is not counted as dropped by a rule that it passed on the way', () => {
    const rest = example.rule(3, filter, 30, 'drop');
    const net = network(rest);
    const sent = out(net, d, '203.0.114.11', tcp(5000, 443)).delivered[0]!;
    assert.deepEqual(enter(net, 1, replyTo(sent.bytes)!).reasons, []);
    assert.deepEqual(enter(net, 1, frame(MAC, uplinks[1]!.mac, ip(CLIENT, FLOATING, tcp(5000, 22)))).reasons, [
      UNKNOWN,
    ]);
  });
});
