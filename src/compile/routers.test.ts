import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodePacket } from '../packet/packet.ts';
import {
  arp,
  BROADCAST,
  classes,
  echo,
  frame,
  ip,
  ip4,
  ip6,
  mac,
  networkOf,
  reached,
  type Site,
  tcp,
  udp,
} from '../pipeline/frames.fixture.ts';
import { placeOf, readField } from '../pipeline/layout.ts';
import type { Journey } from '../pipeline/network.fixture.ts';
import { PACKET_IN, TABLES } from './tables.ts';
import * as example from './testing/example.ts';

// What routed packets do when the compiled flows are executed, on one host and between two.

const h1 = example.host(1);
const h2 = example.host(2, '2001:db8:ffff::2');

const subnets = (n: number): ReturnType<typeof example.subnet>[] => [
  example.subnet(`10.0.${n}.0/24`),
  example.subnet(`2001:db8:${n}::/64`, { ipv6Mode: 'slaac' }),
];
const left = example.logicalSwitch(1, { subnets: subnets(1) });
const right = example.logicalSwitch(2, { subnets: subnets(2) });
const middle = example.router(1);
const addresses = (n: number, host: number): string[] => [`10.0.${n}.${host}`, `2001:db8:${n}::${host}`];
const onLeft = example.routerPort(1, middle, { switch: left.id, addresses: ['10.0.1.1/24', '2001:db8:1::1/64'] });
const onRight = example.routerPort(2, middle, { switch: right.id, addresses: ['10.0.2.1/24', '2001:db8:2::1/64'] });
const a = example.port(10, left, { addresses: addresses(1, 10) });
const b = example.port(11, right, { addresses: addresses(2, 11) });
const c = example.port(12, right, { addresses: addresses(2, 12) });
const records = [left, right, middle, onLeft, onRight];
const sites: Site[] = [
  { port: a, on: [h1], ofport: 1 },
  { port: b, on: [h1], ofport: 2 },
  { port: c, on: [h2], ofport: 3 },
];
const net = networkOf([h1, h2], records, sites);

const from = (n: number): string => (n === 4 ? '10.0.1.10' : '2001:db8:1::10');
const to = (n: number, host: number): string => (n === 4 ? `10.0.2.${host}` : `2001:db8:2::${host}`);

test('a packet reaches the other network by one router, with its MACs and one hop less', () => {
  for (const version of [4, 6]) {
    for (const target of [b, c]) {
      const journey = net.send(
        h1.id,
        1,
        frame(a.mac, onLeft.mac, ip(from(version), to(version, target === b ? 11 : 12), udp(1, 2))),
      );
      assert.deepEqual([reached(journey), journey.reasons], [[target.name], []]);
      const { ethernet, l3 } = decodePacket(journey.delivered[0]!.bytes, { verifyChecksums: true });
      assert.deepEqual([ethernet.src, ethernet.dst], [mac(onRight.mac), mac(target.mac)]);
      assert.equal(l3?.kind === 'ipv4' ? l3.ttl : l3?.kind === 'ipv6' ? l3.hopLimit : 0, 63);
    }
  }
});

test('every address of the router answers an echo request, and goes on to nobody', () => {
  for (const own of ['10.0.1.1', '10.0.2.1', '2001:db8:1::1', '2001:db8:2::1', 'fe80::ff:fe01:2']) {
    const version = own.includes(':') ? 6 : 4;
    const { answered, delivered, reasons } = net.send(
      h1.id,
      1,
      frame(a.mac, onLeft.mac, ip(from(version), own, echo(version), 7)),
    );
    assert.deepEqual([delivered, reasons], [[], []], own);
    const { ethernet, l3, l4 } = decodePacket(answered[0]!, { verifyChecksums: true });
    assert.deepEqual([ethernet.src, ethernet.dst], [mac(onLeft.mac), mac(a.mac)]);
    assert.deepEqual(l4, echo(version, true));
    if (l3?.kind === 'ipv4') assert.deepEqual([l3.src, l3.dst, l3.ttl], [ip4(own), ip4('10.0.1.10'), 64]);
    else
      assert.ok(l3?.kind === 'ipv6' && l3.src === ip6(own) && l3.dst === ip6('2001:db8:1::10') && l3.hopLimit === 64);
  }
});

/** Reasons and packet-in classes of a packet from a workload on the left. */
function fate(network: typeof net, dst: string, l4 = udp(1, 2), ttl = 64): unknown {
  const src = from(dst.includes(':') ? 6 : 4);
  const journey = network.send(h1.id, 1, frame(a.mac, onLeft.mac, ip(src, dst, l4, ttl)));
  for (const { result } of journey.results) assert.equal(result.error, undefined);
  return [...reached(journey), ...journey.reasons, ...classes(journey)];
}

test('what the router cannot send on goes to the agent, which says so to the sender', () => {
  for (const [dst, strange] of [
    ['10.0.2.11', '192.0.2.1'],
    ['2001:db8:2::b', '2001:db8:77::1'],
  ] as const) {
    const own = dst.includes(':') ? '2001:db8:1::1' : '10.0.1.1';
    assert.deepEqual(fate(net, dst, udp(1, 2), 1), ['ttl', PACKET_IN.ttl]);
    assert.deepEqual(fate(net, strange), ['no-route', PACKET_IN.unreachable]);
    assert.deepEqual(fate(net, own), ['own', PACKET_IN.portUnreachable]);
    assert.deepEqual(fate(net, own, tcp(1, 2)), ['own', PACKET_IN.reset]);
    assert.deepEqual(fate(net, own, echo(own.includes(':') ? 6 : 4, true)), ['own']);
  }
  assert.deepEqual(fate(net, '10.0.2.99'), ['no-neighbour', PACKET_IN.resolve]);
  assert.deepEqual(fate(net, '2001:db8:2::99'), ['no-neighbour', PACKET_IN.resolve]);
  const tell = (op: number): unknown => {
    const journey = net.send(h1.id, 1, frame(a.mac, onLeft.mac, arp(op, a.mac, '10.0.1.10', '10.0.1.1')));
    return [...reached(journey), ...journey.reasons, ...classes(journey)];
  };
  assert.deepEqual([tell(2), tell(3)], [['agent', PACKET_IN.neighbour], ['not-ip']]);
});

test('a packet-in from a router shows where it came in, where it was to leave, and the next hop', () => {
  const { packetIns } = net.send(h1.id, 1, frame(a.mac, onLeft.mac, ip('10.0.1.10', '10.0.2.99', udp(1, 2))));
  const { key } = packetIns[0]!.state;
  assert.deepEqual(
    (['reg0', 'reg1', 'reg2', 'reg7', 'reg11'] as const).map((name) => readField(key, placeOf(name))),
    [a.key, right.key, onLeft.key, onRight.key, ip4('10.0.2.99')],
  );
});

test('ARP and neighbour solicitations for addresses of router ports are answered on the host', () => {
  const request = net.send(h1.id, 1, frame(a.mac, BROADCAST, arp(1, a.mac, '10.0.1.10', '10.0.1.1')));
  assert.deepEqual([request.delivered, request.reasons], [[], ['answered']]);
  const { l3 } = decodePacket(request.answered[0]!);
  assert.ok(l3?.kind === 'arp' && l3.sha === mac(onLeft.mac) && l3.spa === ip4('10.0.1.1'));
  for (const target of ['2001:db8:1::1', 'fe80::ff:fe01:1']) {
    const message = {
      kind: 'neighborSolicit',
      target: ip6(target),
      options: [{ kind: 'sourceLinkLayer', mac: mac(a.mac) }],
    } as const;
    const { answered } = net.send(
      h1.id,
      1,
      frame(a.mac, '33:33:ff:00:00:01', ip('2001:db8:1::10', 'ff02::1:ff00:1', { kind: 'nd', message }, 255)),
    );
    const { l4 } = decodePacket(answered[0]!, { verifyChecksums: true });
    assert.ok(l4?.kind === 'nd' && l4.message.kind === 'neighborAdvert' && l4.message.target === ip6(target));
    assert.deepEqual(l4.message.options, [{ kind: 'targetLinkLayer', mac: mac(onLeft.mac) }]);
  }
  // Not those of the other switch.
  assert.deepEqual(net.send(h1.id, 1, frame(a.mac, BROADCAST, arp(1, a.mac, '10.0.1.10', '10.0.2.1'))).answered, []);
});

test('a neighbour that was heard of is the next hop of routed packets, and answers ARP for itself', () => {
  const open = example.port(20, right, { portSecurity: false });
  const heard = {
    kind: 'neighbour',
    id: `${right.id}/10.0.2.77`,
    revision: 1,
    switch: right.id,
    address: '10.0.2.77',
  } as const;
  const neighbour = { ...heard, mac: '02:aa:00:00:00:77', port: open.id, host: h2.id };
  const known = networkOf([h1, h2], [...records, neighbour], [...sites, { port: open, on: [h2], ofport: 4 }]);
  const routed = known.send(h1.id, 1, frame(a.mac, onLeft.mac, ip('10.0.1.10', '10.0.2.77', udp(1, 2))));
  assert.deepEqual([reached(routed), classes(routed)], [[open.name], []]);
  assert.equal(decodePacket(routed.delivered[0]!.bytes).ethernet.dst, mac('02:aa:00:00:00:77'));
  const asked = known.send(h1.id, 2, frame(b.mac, BROADCAST, arp(1, b.mac, '10.0.2.11', '10.0.2.77')));
  assert.deepEqual([reached(asked), asked.answered], [[c.name, open.name], []]);
});

test('the best route is the longest, then one with a source, then the one with the lowest metric', () => {
  const via = (host: number): { via: string } => ({ via: `10.0.2.${host}` });
  const routes = [
    example.route('0.0.0.0/0', via(11)),
    example.route('192.0.2.0/24', { ...via(12), metric: 20 }),
    example.route('192.0.2.0/24', { ...via(11), metric: 10 }),
    example.route('192.0.2.0/24', { via: '172.16.0.1', metric: 1 }),
    example.route('192.0.2.0/24', { from: '10.0.1.0/24', action: 'blackhole', metric: 50 }),
    example.route('192.0.2.0/24', { from: '10.0.1.10/32', ...via(12), metric: 60 }),
    example.route('192.0.2.128/25', { from: '10.9.0.0/16', action: 'blackhole' }),
    example.route('198.51.100.0/24', { action: 'reject' }),
    example.route('198.51.100.7/32', { action: 'blackhole' }),
    example.route('10.0.2.0/24', { action: 'blackhole' }),
    example.route('::/0', { via: '2001:db8:2::12' }),
  ];
  const routed = networkOf([h1, h2], [...records.filter((record) => record !== middle), { ...middle, routes }], sites);
  assert.deepEqual(fate(routed, '203.0.113.1'), ['p11']);
  assert.deepEqual(fate(routed, '192.0.2.200'), ['p12']);
  const other = routed.send(h2.id, 3, frame(c.mac, onRight.mac, ip('10.0.2.12', '192.0.2.1', udp(1, 2))));
  assert.deepEqual(reached(other), ['p11'], 'of the sources of the left alone');
  assert.deepEqual(fate(routed, '198.51.100.1'), ['no-route', PACKET_IN.unreachable]);
  assert.deepEqual(fate(routed, '198.51.100.7'), ['blackhole']);
  assert.deepEqual(fate(routed, '10.0.2.12'), ['p12'], 'a connected network has the lowest metric');
  assert.deepEqual(fate(routed, '2001:db8:99::1'), ['p12']);
});

test('equal routes share by weight, the same way for both directions', () => {
  for (const version of [4, 6]) {
    const [far, mine] = version === 4 ? ['192.0.2.', '10.0.1.'] : ['2001:db8:99::', '2001:db8:1::'];
    const routes = [11, 12].map((host) =>
      example.route(version === 4 ? '192.0.2.0/24' : '2001:db8:99::/64', {
        via: to(version, host),
        weight: host === 12 ? 3 : 1,
      }),
    );
    const open = { ...a, portSecurity: false };
    const shared = networkOf(
      [h1, h2],
      [left, right, { ...middle, routes }, onLeft, onRight],
      [{ port: open, on: [h1], ofport: 1 }, ...sites.slice(1)],
    );
    const chosen: string[][] = [];
    for (let src = 0; src < 16; src++) {
      chosen.push([]);
      for (let dst = 0; dst < 16; dst++) {
        const text = (n: number): string => (version === 4 ? String(n) : n.toString(16));
        const packet = ip(`${mine}${text(32 + src)}`, `${far}${text(16 + dst)}`, udp(1, 2));
        chosen[src]!.push(...reached(shared.send(h1.id, 1, frame(a.mac, onLeft.mac, packet))));
      }
    }
    for (let src = 0; src < 16; src++)
      for (let dst = 0; dst < 16; dst++) assert.equal(chosen[src]![dst], chosen[0]![src ^ dst]);
    assert.deepEqual([chosen[0]!.filter((name) => name === 'p11').length, chosen[0]!.length], [4, 16]);
  }
});

test('policies go before routes, from the lowest position up, for their own version of IP', () => {
  const policies = [
    { position: 10, match: { protocol: 'tcp', dstPorts: '22' }, action: 'drop' },
    { position: 20, match: { protocol: 'tcp' }, action: 'reroute', via: '10.0.2.12' },
    { position: 30, match: { dst: '10.0.2.11', protocol: 'icmp' }, action: 'allow' },
    { position: 40, match: {}, action: 'reroute', via: '10.9.9.9' },
    { position: 50, match: { dst: '10.0.2.0/24', src: '10.0.1.0/24' }, action: 'drop' },
  ] as const;
  const network = networkOf([h1, h2], [left, right, { ...middle, policies: [...policies] }, onLeft, onRight], sites);
  assert.deepEqual(fate(network, '10.0.2.11', tcp(1, 22)), ['route-policy']);
  assert.deepEqual(fate(network, '10.0.2.11', tcp(1, 23)), ['p12']);
  assert.deepEqual(fate(network, '2001:db8:2::11', tcp(1, 23)), ['p11']);
  assert.deepEqual(fate(network, '10.0.2.11', echo(4)), ['p11']);
  assert.deepEqual(fate(network, '10.0.2.11'), ['route-policy']);
});

test('chains of router ports decide on what enters and what leaves; replies of the router meet none', () => {
  const [inChain, outChain] = [example.chain(1), example.chain(2, 'drop')];
  const rules = [
    example.rule(1, inChain, 10, 'drop', { protocol: 'tcp' }),
    example.rule(2, outChain, 10, 'accept', { protocol: 'icmp' }),
  ];
  const filtered = networkOf(
    [h1, h2],
    [
      left,
      right,
      middle,
      inChain,
      outChain,
      ...rules,
      { ...onLeft, inChain: inChain.id, outChain: outChain.id },
      { ...onRight, outChain: outChain.id },
    ],
    sites,
  );
  assert.deepEqual(fate(filtered, '10.0.2.11', tcp(1, 2)), ['rule', 'rule']);
  assert.deepEqual(fate(filtered, '10.0.2.11'), ['policy']);
  assert.deepEqual(fate(filtered, '10.0.2.11', echo(4)), ['p11']);
  const ping = filtered.send(h1.id, 1, frame(a.mac, onLeft.mac, ip('2001:db8:1::10', '2001:db8:1::1', echo(6))));
  assert.equal(ping.answered.length, 1);
});

test('routers and ports that are down, and switches, drop', () => {
  const half = (changed: typeof records): typeof net => networkOf([h1, h2], changed, sites);
  assert.deepEqual(fate(half([left, right, { ...middle, adminUp: false }, onLeft, onRight]), '10.0.2.11'), [
    'router-down',
  ]);
  assert.deepEqual(fate(half([left, right, middle, { ...onLeft, adminUp: false }, onRight]), '10.0.2.11'), [
    'router-down',
  ]);
  assert.deepEqual(fate(half([left, right, middle, onLeft, { ...onRight, adminUp: false }]), '10.0.2.11'), [
    'no-route',
    PACKET_IN.unreachable,
  ]);
  assert.deepEqual(fate(half([left, { ...right, adminUp: false }, middle, onLeft, onRight]), '10.0.2.11'), [
    'switch-down',
  ]);
  assert.deepEqual(fate(half([left, middle, onLeft, onRight]), '10.0.2.11'), ['no-route', PACKET_IN.unreachable]);
});

test('what is larger than the next network takes goes to the agent', () => {
  const narrow = networkOf([h1, h2], [left, { ...right, mtu: 1300 }, middle, onLeft, onRight], sites);
  const packet = (bytes: number): Uint8Array =>
    frame(a.mac, onLeft.mac, { ...ip('10.0.1.10', '10.0.2.11', udp(1, 2)), payload: new Uint8Array(bytes - 28) });
  assert.deepEqual(reached(narrow.send(h1.id, 1, packet(1300))), ['p11']);
  const large = narrow.send(h1.id, 1, packet(1301));
  assert.deepEqual([reached(large), large.reasons, classes(large)], [[], ['too-big'], [PACKET_IN.tooBig]]);
});

test('what comes in by a wire is asked whether tunnels take it, what workloads send is not', () => {
  const wire = example.port(14, left, { portSecurity: false });
  const [router, sw] = [example.router(2), example.logicalSwitch(4)];
  const up = example.port(15, sw, { portSecurity: false });
  const peers = [
    example.routerPort(3, middle, { addresses: ['169.254.0.1/30'] }),
    example.routerPort(4, router, { addresses: ['169.254.0.2/30'], peer: example.idOf('rport', 3) }),
    example.routerPort(5, router, { switch: sw.id, addresses: ['192.0.2.1/30'] }),
  ] as const;
  const onward = { ...router, routes: [example.route('10.0.0.0/16', { via: '169.254.0.1' })] };
  const back = { ...middle, routes: [example.route('192.0.2.0/24', { via: '169.254.0.2' })] };
  const neighbour = {
    ...({ kind: 'neighbour', id: `${sw.id}/192.0.2.2`, revision: 1, switch: sw.id, host: h1.id } as const),
    ...{ address: '192.0.2.2', port: up.id, mac: up.mac },
  };
  const at = [...sites, { port: wire, on: [h1], ofport: 4 }, { port: up, on: [h1], ofport: 5 }];
  const open = networkOf([h1, h2], [left, right, sw, back, onward, onLeft, onRight, ...peers, neighbour], at);
  const sized = (ofport: number, by: { readonly mac: string }, bytes: number, dst: string): unknown[] => {
    const packet = { ...ip('10.0.1.10', dst, udp(1, 2)), payload: new Uint8Array(bytes - 28) };
    const journey = open.send(h1.id, ofport, frame({ 1: a, 4: wire, 5: up }[ofport]!.mac, by.mac, packet));
    return [reached(journey), journey.reasons, classes(journey)];
  };
  const tooBig = [[], ['too-big'], [PACKET_IN.tooBig]];
  // Wherever it is delivered.
  for (const host of [11, 12]) {
    assert.deepEqual(sized(4, onLeft, 1450, `10.0.2.${host}`), [[`p${host}`], [], []]);
    assert.deepEqual(sized(4, onLeft, 1451, `10.0.2.${host}`), tooBig);
    assert.deepEqual(sized(1, onLeft, 1500, `10.0.2.${host}`), [[`p${host}`], [], []]);
    // Through a second router.
    assert.deepEqual(sized(5, peers[2], 1450, `10.0.2.${host}`), [[`p${host}`], [], []]);
    assert.deepEqual(sized(5, peers[2], 1451, `10.0.2.${host}`), tooBig);
  }
  // Out again by a wire of this host.
  assert.deepEqual(sized(4, onLeft, 1500, '192.0.2.2'), [['p15'], [], []]);
});

test('linked routers hand packets on; a loop ends after 16 of them', () => {
  const second = example.router(2, { routes: [example.route('0.0.0.0/0', { via: '169.254.0.1' })] });
  const far = example.logicalSwitch(3, { subnets: subnets(3) });
  const d = example.port(13, far, { addresses: addresses(3, 13) });
  const up = example.routerPort(3, middle, { addresses: ['169.254.0.1/30'] });
  const down = example.routerPort(4, second, { addresses: ['169.254.0.2/30'], peer: up.id });
  const onFar = example.routerPort(5, second, { switch: far.id, addresses: ['10.0.3.1/24'] });
  const first = {
    ...middle,
    routes: ['10.0.3.0/24', '203.0.113.0/24'].map((net) => example.route(net, { via: '169.254.0.2' })),
  };
  const linked = networkOf(
    [h1, h2],
    [left, right, far, first, second, onLeft, onRight, up, down, onFar],
    [...sites, { port: d, on: [h2], ofport: 5 }],
  );
  const there = linked.send(h1.id, 1, frame(a.mac, onLeft.mac, ip('10.0.1.10', '10.0.3.13', udp(1, 2))));
  assert.deepEqual(reached(there), ['p13']);
  const { ethernet, l3 } = decodePacket(there.delivered[0]!.bytes);
  assert.ok(ethernet.src === mac(onFar.mac) && l3?.kind === 'ipv4' && l3.ttl === 62);
  assert.deepEqual(fate(linked, '10.0.3.1', echo(4)), []);
  assert.deepEqual(fate(linked, '203.0.113.1'), ['too-many-hops']);
});

test('a packet that is routed back to the interface that it came from arrives there', () => {
  const twice = { ...a, addresses: ['10.0.1.10', '172.16.0.10'] };
  const both = { ...onLeft, addresses: ['10.0.1.1/24', '172.16.0.1/24'] };
  const closed = example.chain(1);
  for (const port of [twice, { ...twice, toChain: closed.id }]) {
    const one = networkOf([h1], [left, middle, both, closed], [{ port, on: [h1], ofport: 1 }]);
    const { answered } = one.send(h1.id, 1, frame(a.mac, onLeft.mac, ip('10.0.1.10', '172.16.0.10', udp(1, 2))));
    assert.equal(answered.length, 1);
  }
});

test('on a VLAN-aware switch the port is in the VLANs of its subnets, and packets leave in the one of the next hop', () => {
  const aware = example.logicalSwitch(5, {
    vlanAware: true,
    subnets: [
      example.subnet('10.0.5.0/24', { vlan: 5 }),
      example.subnet('10.0.6.0/24', { vlan: 6 }),
      example.subnet('10.0.7.0/24'),
    ],
  });
  const onAware = example.routerPort(6, middle, {
    switch: aware.id,
    addresses: ['10.0.5.1/24', '10.0.6.1/24', '10.0.7.1/24'],
  });
  const trunk = example.port(21, aware, { addresses: ['10.0.5.21', '10.0.6.21', '10.0.7.21'], vlan: { trunk: 'all' } });
  const access = example.port(22, aware, { addresses: ['10.0.6.22'], vlan: { access: 6 } });
  const net5 = networkOf(
    [h1, h2],
    [...records, aware, onAware],
    [...sites, { port: trunk, on: [h1], ofport: 6 }, { port: access, on: [h2], ofport: 7 }],
  );
  const tag = (vid: number) => ({ vlans: vid === 0 ? [] : [{ tpid: 0x8100, vid, pcp: 0, dei: false }] });
  const tagsOf = (journey: Journey): number[][] =>
    journey.delivered.map(({ bytes }) => decodePacket(bytes).vlans.map(({ vid }) => vid));
  for (const vlan of [0, 5, 6]) {
    const out = net5.send(
      h1.id,
      6,
      frame(trunk.mac, onAware.mac, { ...ip('10.0.5.21', '10.0.1.10', udp(1, 2)), ...tag(vlan) }),
    );
    assert.deepEqual([reached(out), tagsOf(out)], [['p10'], [[]]]);
    const host = vlan === 0 ? '10.0.7.21' : `10.0.${vlan}.21`;
    const back = net5.send(h1.id, 1, frame(a.mac, onLeft.mac, ip('10.0.1.10', host, udp(1, 2))));
    assert.deepEqual([reached(back), tagsOf(back)], [['p21'], [vlan === 0 ? [] : [vlan]]]);
  }
  const stranger = net5.send(
    h1.id,
    6,
    frame(trunk.mac, onAware.mac, { ...ip('10.0.5.21', '10.0.1.10', udp(1, 2)), ...tag(8) }),
  );
  assert.deepEqual([reached(stranger), stranger.reasons], [[], ['unknown-mac']]);
  const remote = net5.send(h1.id, 1, frame(a.mac, onLeft.mac, ip('10.0.1.10', '10.0.6.22', udp(1, 2))));
  assert.deepEqual([reached(remote), tagsOf(remote)], [['p22'], [[]]]);
});

test('on a VLAN-aware switch packets leave in the VLAN of the subnet that holds the next hop, whatever networks the port has', () => {
  const aware = example.logicalSwitch(5, {
    vlanAware: true,
    subnets: [
      example.subnet('10.5.1.0/24', { vlan: 5 }),
      example.subnet('10.5.2.0/24', { vlan: 6 }),
      example.subnet('2001:db8:6::/64', { vlan: 6 }),
    ],
  });
  const hosts = ['10.5.1.21', '10.5.2.21', '10.5.9.21', '2001:db8:6::21'];
  const trunk = example.port(21, aware, { addresses: hosts, vlan: { trunk: 'all' } });
  const routes = [
    example.route('192.0.2.0/24', { via: '2001:db8:6::21' }),
    example.route('198.51.100.0/24', { via: '10.5.2.21' }),
  ];
  const vlansTo = (addresses: string[], targets: readonly string[]): (number | string)[] => {
    const wide = example.routerPort(6, middle, { switch: aware.id, addresses });
    const net5 = networkOf(
      [h1],
      [...records.filter((record) => record !== middle), { ...middle, routes }, aware, wide],
      [...sites, { port: trunk, on: [h1], ofport: 6 }],
    );
    return targets.map((target) => {
      const source = from(target.includes(':') ? 6 : 4);
      const journey = net5.send(h1.id, 1, frame(a.mac, onLeft.mac, ip(source, target, udp(1, 2))));
      const [got] = journey.delivered;
      return got === undefined ? journey.reasons.join() || 'nothing' : (decodePacket(got.bytes).vlans[0]?.vid ?? 0);
    });
  };
  const [one, two, three, six] = hosts as [string, string, string, string];
  // A network that holds subnets of several VLANs, and addresses of none.
  assert.deepEqual(vlansTo(['10.5.0.1/16'], [one, two, three, '198.51.100.9']), [5, 6, 0, 6]);
  assert.deepEqual(vlansTo(['10.5.1.1/16'], [one, two, three]), [5, 6, 0]);
  // Part of a subnet.
  assert.deepEqual(vlansTo(['10.5.1.1/25', '10.5.2.1/25'], [one, two, '198.51.100.9']), [5, 6, 6]);
  // IPv4 by an IPv6 next hop (RFC 8950).
  assert.deepEqual(vlansTo(['10.5.1.1/24', '2001:db8:6::1/64'], [one, six, '192.0.2.9']), [5, 6, 6]);
});

test('from outside only what is for the router itself comes in, also through the tunnel of the port', () => {
  const outside = { ...onLeft, outside: true };
  const border = networkOf([h1, h2], [left, right, middle, outside, onRight], sites);
  assert.deepEqual(fate(border, '10.0.2.11'), ['not-translated']);
  assert.equal(
    border.send(h1.id, 1, frame(a.mac, onLeft.mac, ip('10.0.1.10', '10.0.1.1', echo(4)))).answered.length,
    1,
  );
  const out = border.send(h1.id, 2, frame(b.mac, onRight.mac, ip('10.0.2.11', '10.0.1.10', udp(1, 2))));
  assert.deepEqual(reached(out), ['p10']);
  const tunnel = { id: BigInt(outside.key), src: ip6('2001:db8:ffff::2'), dst: ip4(h1.tunnelAddress) };
  const arrives = (dst: string): readonly string[] =>
    border.arrive(h1.id, tunnel, frame('02:00:00:00:00:77', dst, ip('10.0.1.77', '10.0.2.11', udp(1, 2)))).reasons;
  assert.deepEqual(arrives(outside.mac), ['not-translated']);
  assert.deepEqual(arrives(onRight.mac), ['tunnel-key']);
});

/** Most lookups, and the deepest nesting of them, that any frame of these journeys took on one host. */
function cost(journeys: readonly Journey[]): { lookups: number; depth: number } {
  const all = journeys.flatMap(({ results }) => results.map(({ result }) => result));
  for (const { error } of all) assert.equal(error, undefined);
  return {
    lookups: Math.max(...all.map(({ steps }) => steps.length)),
    depth: Math.max(...all.map(({ steps }) => backward(steps))),
  };
}

/** Lookups in a table that does not come later, one within the other: of these Open vSwitch follows 64. */
function backward(steps: readonly { readonly table: number; readonly depth: number }[]): number {
  const open: { readonly table: number; readonly depth: number; readonly back: number }[] = [];
  let most = 0;
  for (const { table, depth } of steps) {
    while (open.length > 0 && open.at(-1)!.depth >= depth) open.pop();
    const last = open.at(-1);
    const back = last === undefined ? 0 : last.back + (table <= last.table ? 1 : 0);
    open.push({ table, depth, back });
    most = Math.max(most, back);
  }
  return most;
}

test('300 routers on one switch cost a frame no more than one, ARP and broadcast included', () => {
  const provider = example.logicalSwitch(9, {
    subnets: [example.subnet('100.64.0.0/16'), example.subnet('2001:db8:64::/64')],
  });
  const many = Array.from({ length: 300 }, (_, i) => {
    const router = example.router(10 + i, { routes: [example.route('0.0.0.0/0', { via: '100.64.255.254' })] });
    const own = [`100.64.${i >> 8}.${i & 255}/16`, `2001:db8:64::${(i + 1).toString(16)}/64`];
    return [router, example.routerPort(100 + i, router, { switch: provider.id, addresses: own })];
  });
  const gate = example.port(30, provider, { addresses: ['100.64.255.254', '2001:db8:64::fffe'] });
  const peer = example.port(31, provider, { addresses: ['100.64.255.253'] });
  const wide = networkOf(
    [h1, h2],
    [provider, ...many.flat()],
    [
      { port: gate, on: [h1], ofport: 1 },
      { port: peer, on: [h2], ofport: 2 },
    ],
  );
  const last = many.at(-1)![1] as ReturnType<typeof example.routerPort>;
  const routed = wide.send(h1.id, 1, frame(gate.mac, last.mac, ip('100.64.255.254', '100.64.255.253', udp(1, 2))));
  assert.deepEqual(reached(routed), ['p31']);
  const asked = wide.send(h1.id, 1, frame(gate.mac, BROADCAST, arp(1, gate.mac, '100.64.255.254', '100.64.1.43')));
  assert.equal(asked.answered.length, 1);
  const unknown = wide.send(h1.id, 1, frame(gate.mac, BROADCAST, arp(1, gate.mac, '100.64.255.254', '100.64.200.1')));
  const broadcast = wide.send(h1.id, 1, frame(gate.mac, BROADCAST, ip('100.64.255.254', '100.64.255.255', udp(1, 2))));
  assert.deepEqual([reached(unknown), reached(broadcast)], [['p31'], ['p31']]);
  const { lookups, depth } = cost([routed, asked, unknown, broadcast]);
  assert.ok(lookups < 60 && depth <= 2, `${lookups} lookups, ${depth} deep`);
});

test('50 switches on one router, and 16 routers in a row, stay far from what Open vSwitch follows', () => {
  const hub = example.router(1);
  const switches = Array.from({ length: 50 }, (_, i) => {
    const onSwitch = example.logicalSwitch(10 + i, { subnets: subnets(i) });
    const port = example.routerPort(10 + i, hub, {
      switch: onSwitch.id,
      addresses: [`10.0.${i}.1/24`, `2001:db8:${i}::1/64`],
    });
    return [onSwitch, port] as const;
  });
  const [first, last] = [switches[0]!, switches.at(-1)!];
  const ends = [
    example.port(40, first[0], { addresses: addresses(0, 10) }),
    example.port(41, last[0], { addresses: addresses(49, 10) }),
  ];
  const star = networkOf(
    [h1],
    [hub, ...switches.flat()],
    ends.map((port, i) => ({ port, on: [h1], ofport: i + 1 })),
  );
  const across = star.send(h1.id, 1, frame(ends[0]!.mac, first[1].mac, ip('10.0.0.10', '10.0.49.10', udp(1, 2))));
  const broadcast = star.send(h1.id, 1, frame(ends[0]!.mac, BROADCAST, ip('10.0.0.10', '10.0.0.255', udp(1, 2))));
  assert.deepEqual([reached(across), reached(broadcast)], [['p41'], []]);
  assert.ok(cost([across, broadcast]).lookups < 60);

  // Over switches between them, which costs more than peers.
  const row = Array.from({ length: 16 }, (_, i) =>
    example.router(i + 1, { routes: [example.route('0.0.0.0/0', { via: `10.0.${i + 1}.2` })] }),
  );
  const between = Array.from({ length: 17 }, (_, i) => example.logicalSwitch(i + 1, { subnets: subnets(i) }));
  const ports = row.flatMap((router, i) => [
    example.routerPort(2 * i + 1, router, { switch: between[i]!.id, addresses: [`10.0.${i}.2/24`] }),
    example.routerPort(2 * i + 2, router, { switch: between[i + 1]!.id, addresses: [`10.0.${i + 1}.1/24`] }),
  ]);
  const chained = ports.map((port) => ({ ...port, inChain: example.idOf('chain', 1) }));
  const source = example.port(50, between[0]!, { addresses: ['10.0.0.10'] });
  const target = example.port(51, between[16]!, { addresses: ['10.0.16.10'] });
  const line = networkOf(
    [h1],
    [example.chain(1), ...row, ...between, ...chained],
    [
      { port: source, on: [h1], ofport: 1 },
      { port: target, on: [h1], ofport: 2 },
    ],
  );
  const through = line.send(h1.id, 1, frame(source.mac, ports[0]!.mac, ip('10.0.0.10', '10.0.16.10', udp(1, 2))));
  assert.deepEqual(reached(through), ['p51']);
  const { lookups, depth } = cost([through]);
  assert.ok(lookups < 500 && depth < 24, `${lookups} lookups, ${depth} deep`);
});

test('a switch without a port here is looked up and flooded here once a router leads there, and only then', () => {
  const elsewhere: Site[] = [sites[0]!, { ...sites[1]!, on: [h2] }, sites[2]!];
  const tables = (network: typeof net): number[] => {
    const found = [...network.compilerOf(h1.id).compiled()].filter(({ match }) => match.reg1 === right.key);
    return [...new Set(found.map(({ table }) => table))];
  };
  const with2 = networkOf([h1, h2], records, elsewhere);
  assert.deepEqual(tables(with2), [TABLES.lookup.number, TABLES.flood.number, TABLES.resolve.number]);
  assert.deepEqual(tables(networkOf([h1, h2], [left, right, middle, onLeft], elsewhere)), []);
  const away = with2.send(h1.id, 1, frame(a.mac, onLeft.mac, ip('10.0.1.10', '10.0.2.12', udp(1, 2))));
  assert.deepEqual([reached(away), away.results.length], [['p12'], 2]);
});
