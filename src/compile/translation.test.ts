import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LoadBalancer, LogicalPort } from '../model/objects.ts';
import type { SnatRule } from '../model/snat.ts';
import { decodePacket } from '../packet/packet.ts';
import { arp, BROADCAST, echo, frame, ip, mac, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import type { InputRecord } from './inputs.ts';
import { PACKET_IN, type PacketInClass, TABLES, tableName } from './tables.ts';
import * as example from './testing/example.ts';
import {
  a,
  b,
  c,
  inside,
  middle,
  plain,
  sitesOn,
  story,
  toInside,
  toOther,
  uplink,
  world,
  x,
} from './testing/outside-world.fixture.ts';

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

/** What the agent of a host is asked, by class. */
const asks = (kind: PacketInClass): string => `agent ${PACKET_IN[kind]}`;

const snat = middle({ snat: [{ from: '10.0.0.0/8', to: '203.0.113.1' }] });
const leases = [
  example.natLease(snat, '203.0.113.1', h1, [10240, 64]),
  example.natLease(snat, '203.0.113.1', h2, [20480, 64]),
];

/** The router with one rule. */
const to = (pool: SnatRule['to'], network = '10.0.0.0/8') => middle({ snat: [{ from: network, to: pool }] });
const leaseOf = (address: string, first: number): InputRecord => example.natLease(snat, address, h1, [first, 64]);

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

  test('shares clients out by slots, each as often as the members weigh', () => {
    const heavy = vip([b, c]);
    const net = networkWith({ ...heavy, members: heavy.members.map((one, i) => ({ ...one, weight: 1 + 2 * i })) });
    const counts = { p2: 0, p3: 0 };
    for (let port = 4096; port < 4096 + 64; port++)
      counts[send(net, a, '10.0.1.11', '10.9.9.9', tcp(port, 80)).slice(0, 2) as 'p2']++;
    assert.deepEqual(counts, { p2: 16, p3: 48 });
  });

  test('leads a client to the member that it keeps, drained or not, and all others by their slots', () => {
    const sticky = vip([b, c], { sticky: 'source', stickyS: 60 });
    const kept = (port: LogicalPort): InputRecord => ({
      ...{ kind: 'keptClients', id: `${sticky.id}/${h1.id}`, revision: 1, loadBalancer: sticky.id, host: h1.id },
      members: [{ port: port.id, clients: { '10.0.1.11': 1_000 } }],
    });
    const called = (...changes: InputRecord[]): string => {
      const net = networkWith(sticky);
      net.change(...changes);
      return send(net, a, '10.0.1.11', '10.9.9.9', tcp(5000, 80)).slice(0, 2);
    };
    assert.deepEqual([called(kept(b)), called(kept(c))], ['p2', 'p3']);
    const draining = sticky.members.map((member) => ({ ...member, drain: true }));
    assert.equal(called({ ...sticky, members: draining }, kept(c)), 'p3', 'where nobody serves, too');
    const [own, other] = called() === 'p2' ? [b, c] : [c, b];
    const { stickyS: _, ...forgetful } = sticky;
    const members = sticky.members.map((member) => ({ ...member, adminUp: member.port !== other.id }));
    for (const changed of [forgetful, { ...sticky, members }])
      assert.equal(called(kept(other), changed as typeof sticky), own === b ? 'p2' : 'p3');
  });

  test('without members refuses, as it is told to', () => {
    const health: InputRecord = {
      kind: 'memberHealth',
      id: `${example.idOf('lb', 1)}/${b.id}`,
      revision: 1,
      loadBalancer: example.idOf('lb', 1),
      port: b.id,
      host: h1.id,
      up: false,
    };
    const rejects = networkWith(vip([b]), health);
    assert.equal(send(rejects, a, '10.0.1.11', '10.9.9.9', tcp(5000, 80)), `${asks('reject')}; rejected`);
    const drops = networkWith(vip([b], { onEmpty: 'drop' }), health);
    assert.equal(send(drops, a, '10.0.1.11', '10.9.9.9', tcp(5000, 80)), 'no-member');
  });

  test('leads to members that a host has which answers, and nowhere without any', () => {
    const called = (member: LogicalPort, ...changes: InputRecord[]): string => {
      const net = networkWith(vip([member]));
      net.change(...changes);
      return send(net, a, '10.0.1.11', '10.9.9.9', tcp(5000, 80));
    };
    const unbound = (port: LogicalPort): InputRecord => ({ ...example.binding(port), active: undefined });
    const refused = `${asks('reject')}; rejected`;
    assert.match(called(c), /^p3: /);
    assert.equal(called(c, { kind: 'hostLost', id: h2.id }), refused);
    assert.equal(called(c, unbound(c)), refused);
    // Of this host's own it is known at once: the server has not heard that the interface came, or went.
    assert.match(called(b, unbound(b)), /^p2: /);
    assert.equal(called(c, example.binding(c, h1)), refused);
  });

  test('is tracked where a client and a member have the ports of DHCP: answers are of the VIP, and groups judge', () => {
    const quiet = {
      ...inside,
      subnets: inside.subnets.map((one) => ({ ...one, dhcp: { ...one.dhcp, enabled: false } })),
    };
    const closed = example.securityGroup(1, { egress: [] });
    // With port security it would be taken for a DHCP server.
    const answering = { port: { ...b, portSecurity: false }, on: [h1], ofport: 2, zone: 8 };
    for (const [address, client, member, src, dst] of [
      ['10.9.9.9', '10.0.1.11', '10.0.1.12', 68, 67],
      ['2001:db8:9::9', '2001:db8:1::11', '2001:db8:1::12', 546, 547],
    ] as const) {
      const listeners: LoadBalancer['listeners'] = [{ protocol: 'udp', port: 1067, memberPort: dst }];
      const up = vip([b], { address, listeners });
      const records = [...world.filter((record) => record !== inside), quiet, plain, closed];
      const net = networkOf([h1, h2], [...records, up], [...sites.filter(({ port }) => port !== b), answering]);
      const called = `p2: ${client}:${src} > ${member}:${dst}`;
      assert.equal(send(net, a, client, address, udp(src, 1067)), called);
      const answer = net.send(h1.id, 2, frame(b.mac, a.mac, ip(member, client, udp(dst, src))));
      assert.equal(story(answer), `p1: ${address}:1067 > ${client}:${src}`);
      // Where nobody serves the known connection is asked for in another way.
      net.change({ ...up, members: up.members.map((one) => ({ ...one, drain: true })) });
      assert.equal(send(net, a, client, address, udp(src, 1067)), called);
      net.change({ ...a, groups: [closed.id] });
      assert.equal(send(net, a, client, address, udp(src, 1067)), 'group');
      net.change(up);
      assert.equal(send(net, a, client, address, udp(src, 1067)), 'group');
    }
  });

  test('leaves alone what no listener is for, or one that is down', () => {
    const listeners = [80, 82].map((port) => ({ protocol: 'tcp', port, adminUp: port === 80 }) as const);
    const net = networkWith(vip([b], { listeners }));
    assert.match(send(net, a, '10.0.1.11', '10.9.9.9', tcp(5000, 80)), /^p2: /);
    for (const port of [81, 82])
      assert.equal(send(net, a, '10.0.1.11', '10.9.9.9', tcp(5000, port)), `p9: 10.0.1.11:5000 > 10.9.9.9:${port}`);
  });

  test('answers ARP for a VIP of the switch, and for one in a network of the router', () => {
    const ofSwitch = networkWith(plain, example.loadBalancer(1, '10.0.1.99', [b], { switch: a.switch }));
    const ofRouter = networkWith(vip([b], { address: '10.0.1.99' }));
    for (const [net, hardware] of [
      [ofSwitch, '0a:57:4c:00:05:01'],
      [ofRouter, toInside.mac],
    ] as const) {
      const { answered } = net.send(h1.id, 1, frame(a.mac, BROADCAST, arp(1, a.mac, '10.0.1.11', '10.0.1.99')));
      const { l3 } = decodePacket(answered[0]!);
      assert.equal(l3?.kind === 'arp' && l3.sha, mac(hardware));
    }
  });
});

describe('a VIP, from outside', () => {
  test('leads to a member on its host by one tunnel packet with the marker of the member', () => {
    const net = networkWith(vip([b], { address: '203.0.113.80' }));
    const bytes = frame(x.mac, uplink.mac, ip('198.51.100.1', '203.0.113.80', tcp(5000, 80)));
    const journey = net.send(h2.id, 4, bytes);
    assert.equal(story(journey), 'p2: 198.51.100.1:5000 > 10.0.1.12:80');
    const [{ result }] = journey.results as [(typeof journey.results)[0]];
    assert.equal(result.outputs.length, 1);
    assert.equal(result.outputs[0]!.tunnel.id, BigInt(uplink.key));
    assert.equal(decodePacket(result.outputs[0]!.bytes).ethernet.dst, 0x024d_0000_0000 + b.key);
    const reply = send(net, b, '10.0.1.12', '198.51.100.1', tcp(80, 5000, SYN_ACK));
    assert.equal(reply, 'p9: 203.0.113.80:80 > 198.51.100.1:5000');
  });

  test('is what its members answer as without the router’s zone, which only fragments ask', () => {
    const net = networkWith(snat, ...leases, vip([b], { address: '203.0.113.80', router: snat.id }));
    const asked = ({ results }: ReturnType<Network['send']>): boolean =>
      results.some(({ result }) => result.steps.some(({ table }) => table === TABLES.snatted.number));
    assert.equal(send(net, x, '198.51.100.1', '203.0.113.80', tcp(5000, 80)), 'p2: 198.51.100.1:5000 > 10.0.1.12:80');
    const answer = ip('10.0.1.12', '198.51.100.1', tcp(80, 5000, SYN_ACK));
    const whole = net.send(h1.id, 2, frame(b.mac, toInside.mac, answer));
    assert.deepEqual([story(whole), asked(whole)], ['p9: 203.0.113.80:80 > 198.51.100.1:5000', false]);
    const cut = net.send(
      h1.id,
      2,
      frame(b.mac, toInside.mac, { ...answer, l3: { ...answer.l3!, moreFragments: true } as typeof answer.l3 }),
    );
    assert.equal(asked(cut), true);
  });

  test('answers pings, and passes ICMP errors to the member whose connection they are about', () => {
    const net = networkWith(vip([b, c], { address: '203.0.113.80' }));
    assert.equal(send(net, x, '198.51.100.1', '203.0.113.80', echo(4)), 'back: 203.0.113.80 > 198.51.100.1');
    const opened = send(net, x, '198.51.100.1', '203.0.113.80', tcp(5000, 80));
    const [member] = opened.split(':') as ['p2' | 'p3'];
    const address = member === 'p2' ? '10.0.1.12' : '10.0.2.13';
    const about = frame(a.mac, b.mac, ip('203.0.113.80', '198.51.100.1', tcp(80, 5000, ACK))).slice(14);
    const error = {
      ...ip('198.51.100.7', '203.0.113.80', { kind: 'icmp', type: 3, code: 4, rest: 1400 }),
      payload: about,
    };
    const told = story(net.send(h2.id, 4, frame(x.mac, uplink.mac, error)));
    assert.match(told, new RegExp(`^${member}: 198.51.100.7 > ${address}; invalid$`));
  });
});

describe('source translation', () => {
  test('asks for a block of ports where the host has none, and drops the packet', () => {
    const net = networkWith(snat, leases[1]!);
    assert.equal(send(net, a, '10.0.1.11', '198.51.100.1', tcp(5000, 443)), `${asks('noPorts')}; no-ports`);
  });

  test('gives nothing new a port that rests, and asks when no other is left', () => {
    const lease = leases[0]!;
    const resting = (...blocks: [number, number][]): InputRecord => ({
      ...{ kind: 'restingPorts', id: lease.id },
      blocks: blocks.map(([first, size]) => ({ first, size })),
    });
    const net = networkWith(snat, ...leases, resting([10240, 1]));
    assert.equal(send(net, a, '10.0.1.11', '198.51.100.1', tcp(5000, 443)), 'p9: 203.0.113.1:10241 > 198.51.100.1:443');
    const all = networkWith(snat, ...leases, resting([10240, 64]));
    assert.equal(send(all, a, '10.0.1.11', '198.51.100.1', tcp(5000, 443)), `${asks('noPorts')}; no-ports`);
  });

  test('tries three runs of ports, the longest first, and then asks: more passes than there are would be lost without a word', () => {
    const blocks = [10240, 10242, 10244, 10246, 10248, 10249].map((first) => ({ first, size: 1 }));
    const net = networkWith(snat, { ...leases[0]!, blocks } as InputRecord);
    const sent = [5000, 5001, 5002, 5003, 5004].map((port) =>
      send(net, a, '10.0.1.11', '198.51.100.1', tcp(port, 443)),
    );
    assert.deepEqual(sent, [
      ...[10248, 10249, 10240, 10242].map((port) => `p9: 203.0.113.1:${port} > 198.51.100.1:443`),
      `${asks('noPorts')}; no-ports`,
    ]);
  });

  test('to a pool: each source has its address of it, and its connections have that alone', () => {
    const [pool, address] = ['203.0.113.2-203.0.113.3', '203.0.113.3'];
    const net = networkWith(to(pool), leaseOf('203.0.113.2', 20480), leaseOf(address, 10240));
    for (const [n, far] of ['198.51.100.1', '198.51.100.2'].entries())
      assert.equal(send(net, a, '10.0.1.11', far, tcp(5000 + n, 443)), `p9: ${address}:10240 > ${far}:443`);
    assert.equal(send(net, a, '10.0.1.11', '198.51.100.1', echo(4)), `p9: ${address} > 198.51.100.1`);
    const narrow = networkWith(to(pool, '10.0.1.11/32'), leaseOf('203.0.113.2', 20480), leaseOf(address, 10240));
    assert.equal(
      send(narrow, a, '10.0.1.11', '198.51.100.1', tcp(5000, 443)),
      `p9: ${address}:10240 > 198.51.100.1:443`,
    );
  });

  test('to a pool that grows: known connections keep their address, before and after the host has ports of the new one', () => {
    const net = networkWith(to('203.0.113.2'), leaseOf('203.0.113.2', 10240));
    const out = (port: number, flags?: number) => send(net, a, '10.0.1.11', '198.51.100.1', tcp(port, 443, flags));
    assert.equal(out(5000), 'p9: 203.0.113.2:10240 > 198.51.100.1:443');
    net.change(to('203.0.113.2-203.0.113.3'));
    assert.equal(out(5000, ACK), 'p9: 203.0.113.2:10240 > 198.51.100.1:443');
    assert.equal(out(5001), `${asks('noPorts')}; no-ports`);
    net.change(leaseOf('203.0.113.3', 10240));
    assert.equal(out(5000, ACK), 'p9: 203.0.113.2:10240 > 198.51.100.1:443');
    assert.equal(out(5001), 'p9: 203.0.113.3:10240 > 198.51.100.1:443');
    const back = send(net, x, '198.51.100.1', '203.0.113.2', tcp(443, 10240, SYN_ACK));
    assert.equal(back, 'p1: 198.51.100.1:443 > 10.0.1.11:5000');
  });

  test('to a pool of one is that to an address', () => {
    const flowsOf = (pool: SnatRule['to']) =>
      [...networkWith(to(pool), leaseOf('203.0.113.1', 10240)).compilerOf(h1.id).flows()]
        .map((flow) => JSON.stringify(flow, (_, value) => (typeof value === 'bigint' ? String(value) : value)))
        .toSorted();
    assert.deepEqual(flowsOf(['203.0.113.1-203.0.113.1']), flowsOf('203.0.113.1'));
  });

  test('lets nothing out while the router has no zone', () => {
    const net = networkOf([h1, h2], [...world.filter(({ kind }) => kind !== 'natZone'), snat, ...leases], sites);
    assert.equal(send(net, a, '10.0.1.11', '198.51.100.1', tcp(5000, 443)), 'no-ports');
    assert.equal(send(net, x, '198.51.100.1', '203.0.113.1', tcp(443, 10240)), 'not-translated');
  });

  test('sends ICMP from outside to every host with ports, and one of them knows it', () => {
    const net = networkWith(snat, ...leases);
    assert.equal(send(net, a, '10.0.1.11', '198.51.100.1', echo(4)), 'p9: 203.0.113.1 > 198.51.100.1');
    const back = send(net, x, '198.51.100.1', '203.0.113.1', echo(4, true));
    assert.equal(back, 'p1: 198.51.100.1 > 10.0.1.11; not-translated');
  });

  test('leaves what comes to a port of nobody to the router, whose address it is', () => {
    const net = networkWith(snat, ...leases);
    assert.equal(send(net, x, '198.51.100.1', '203.0.113.1', tcp(443, 22)), `${asks('reset')}; own`);
    assert.equal(send(net, x, '198.51.100.1', '203.0.113.1', echo(4)), 'back: 203.0.113.1 > 198.51.100.1');
    assert.equal(send(net, x, '198.51.100.1', '203.0.113.2', tcp(443, 22)), 'not-translated');
  });
});

describe('connections that moved', () => {
  const moved = (port: LogicalPort, ...connections: string[]): InputRecord => ({
    ...{ kind: 'natMove', id: `${snat.id}/203.0.113.1/${port.id}`, revision: 1, router: snat.id },
    ...{ address: '203.0.113.1', port: port.id, connections },
  });

  test('go to where their port is, whoever has leased the block; all others go by the block', () => {
    const net = networkWith(snat, ...leases, moved(a, 'tcp/20500/198.51.100.1/443'));
    assert.equal(send(net, a, '10.0.1.11', '198.51.100.1', tcp(5000, 443)), 'p9: 203.0.113.1:10240 > 198.51.100.1:443');
    const hosts = (port: number): string[] => {
      const packet = frame(x.mac, uplink.mac, ip('198.51.100.1', '203.0.113.1', tcp(443, port, ACK)));
      return [...new Set(net.send(h2.id, 4, packet).results.map(({ host }) => host))];
    };
    assert.deepEqual(hosts(20500), [h2.id, h1.id], 'to the host of a');
    assert.deepEqual(hosts(20501), [h2.id], 'to the host that has the block');
    assert.equal(send(net, x, '198.51.100.1', '203.0.113.1', tcp(443, 20500, ACK)), `${asks('reset')}; own`);
  });

  test('follow the port with one flow for all of them, when it moves again', () => {
    const connections = [20500, 20501, 20502].map((port) => `tcp/${port}/198.51.100.1/443`);
    const h3 = example.host(3);
    const net = networkOf([h1, h2, h3], [...world, snat, ...leases, moved(a, ...connections)], sites);
    const { add } = net.compilerOf(h2.id).update([{ op: 'put', record: example.binding(a, h3) }]);
    assert.deepEqual(
      add.filter(({ match }) => match.tcp_dst !== undefined),
      [],
    );
    assert.equal(add.filter(({ table }) => tableName(table) === 'moved').length, 1);
  });

  test('and never through two tunnels', () => {
    const net = networkWith(snat, ...leases, moved(a, 'tcp/20500/198.51.100.1/443'));
    const tunnel = { id: BigInt(uplink.key), src: 0xc000_0201, dst: 0xc000_0202 };
    const packet = frame(x.mac, uplink.mac, ip('198.51.100.1', '203.0.113.1', tcp(443, 20500, ACK)));
    assert.equal(story(net.arrive(h2.id, tunnel, packet)), 'tunnel-loop');
  });

  test('need no block of their new host', () => {
    const net = networkWith(snat, leases[0]!, moved(c, 'tcp/10300/198.51.100.1/443'));
    // Not known after all: then a port is wanted, and there is none.
    assert.equal(send(net, c, '10.0.2.13', '198.51.100.1', tcp(5000, 443, ACK)), `${asks('noPorts')}; no-ports`);
  });
});

test('what came from a tunnel goes into none, and a key with another destination nowhere', () => {
  const net = networkWith(example.floatingAddress(1, '203.0.113.10', plain, a));
  const tunnel = { id: BigInt(uplink.key), src: 0xc000_0201, dst: 0xc000_0202 };
  const to = (dst: string): Uint8Array => frame(x.mac, dst, ip('198.51.100.1', '203.0.113.10', tcp(4000, 22)));
  assert.equal(story(net.arrive(h2.id, tunnel, to(uplink.mac))), 'tunnel-loop');
  assert.equal(story(net.arrive(h2.id, tunnel, to(a.mac))), 'tunnel-key');
});

test('an outside port that leads to another router translates too', () => {
  const far = example.router(2);
  const down = example.routerPort(11, far, { addresses: ['192.0.2.1/24'] });
  const up = example.routerPort(12, plain, { peer: down.id, outside: true, addresses: ['192.0.2.2/24'] });
  const toX = example.routerPort(13, far, { switch: x.switch, addresses: ['203.0.113.1/24'] });
  const near = middle({
    routes: [example.route('0.0.0.0/0', { via: '192.0.2.1' })],
    snat: [{ from: '10.0.0.0/8', to: '192.0.2.2' }],
  });
  const beyond = { ...far, routes: [example.route('198.51.100.0/24', { via: '203.0.113.254' })] };
  const net = networkOf(
    [h1, h2],
    [
      ...world.filter(({ id }) => id !== uplink.id),
      ...[near, beyond, down, up, toX],
      example.natLease(near, '192.0.2.2', h1, [10240, 64]),
    ],
    sites,
  );
  assert.equal(send(net, a, '10.0.1.11', '198.51.100.1', tcp(5000, 443)), 'p9: 192.0.2.2:10240 > 198.51.100.1:443');
  const back = frame(x.mac, toX.mac, ip('198.51.100.1', '192.0.2.2', tcp(443, 10240, SYN_ACK)));
  assert.equal(story(net.send(h2.id, 4, back)), 'p1: 198.51.100.1:443 > 10.0.1.11:5000');
});

test('a balancer of two members costs a host less than 40 flows', () => {
  const tenants = Array.from({ length: 20 }, (_, n) => {
    const router = example.router(100 + n);
    const net = example.logicalSwitch(100 + n, { subnets: [example.subnet('10.0.0.0/24')] });
    const members = [1, 2].map((i) => example.port(1000 + 2 * n + i, net, { addresses: [`10.0.0.${i}`] }));
    const ports = [
      example.routerPort(100 + 2 * n, router, { switch: net.id, addresses: ['10.0.0.254/24'] }),
      example.routerPort(101 + 2 * n, router, { switch: x.switch, outside: true, addresses: ['203.0.113.1/24'] }),
    ];
    return {
      records: [router, net, ...ports],
      members,
      balancer: example.loadBalancer(100 + n, `203.0.113.${50 + n}`, members, { router: router.id }),
    };
  });
  const own = tenants.flatMap(({ members }) =>
    members.map((port, i): (typeof sites)[0] => ({
      port,
      on: [i === 0 ? h1 : h2],
      ofport: 100 + (port.key & 0xff),
      zone: 4 * (port.key & 0xff),
    })),
  );
  const common = [...world, plain, ...tenants.flatMap(({ records }) => records)];
  const count = (records: InputRecord[]): number =>
    networkOf([h1, h2], [...common, ...records], [...sites, ...own]).compilerOf(h1.id).flowCount;
  const added = count(tenants.map(({ balancer }) => balancer)) - count([]);
  assert.ok(added / tenants.length < 40, `${added / tenants.length} flows each`);
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
  const net = networkWith(snat, ...leases);
  const goes = send(net, a, '10.0.1.11', '198.51.100.1', tcp(5000, 443));
  assert.equal(goes, 'p9: 203.0.113.1:10240 > 198.51.100.1:443');
  const back = send(net, x, '198.51.100.1', '203.0.113.1', tcp(443, 10240, SYN_ACK));
  assert.equal(back, 'p1: 198.51.100.1:443 > 10.0.1.11:5000');
  const local = send(net, c, '10.0.2.13', '198.51.100.1', udp(5000, 53));
  assert.equal(local, 'p9: 203.0.113.1:20480 > 198.51.100.1:53');
  const localBack = send(net, x, '198.51.100.1', '203.0.113.1', udp(53, 20480));
  assert.equal(localBack, 'p3: 198.51.100.1:53 > 10.0.2.13:5000');
});
