import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp, formatMac } from '../base/addresses.ts';
import { decodePacket } from '../packet/packet.ts';
import { echo, frame, ip, networkOf, reached, type Site, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Journey, Network } from '../pipeline/network.fixture.ts';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';

// Floating addresses, source translation and load balancers when the compiled flows are executed, on two hosts.

const h1 = example.host(1);
const h2 = example.host(2);

const SYN = 2;
const SYN_ACK = 18;
const ACK = 16;

/** Workloads a and b on the first host, c on the second, where x is too: the way to the internet. */
const inside = example.logicalSwitch(1, {
  subnets: [example.subnet('10.0.1.0/24'), example.subnet('2001:db8:1::/64')],
});
const other = example.logicalSwitch(2, { subnets: [example.subnet('10.0.2.0/24'), example.subnet('2001:db8:2::/64')] });
const outside = example.logicalSwitch(3, { shared: true, subnets: [] });
const addresses = (n: number, host: number): string[] => [`10.0.${n}.${host}`, `2001:db8:${n}::${host}`];
const a = example.port(1, inside, { addresses: addresses(1, 11) });
const b = example.port(2, inside, { addresses: addresses(1, 12) });
const c = example.port(3, other, { addresses: addresses(2, 13) });
const x = example.port(9, outside, { addresses: ['203.0.113.254', '2001:db8:ffff::254'], portSecurity: false });
const sites: Site[] = [
  { port: a, on: [h1], ofport: 1, zone: 4 },
  { port: b, on: [h1], ofport: 2, zone: 8 },
  { port: c, on: [h2], ofport: 3, zone: 4 },
  { port: x, on: [h2], ofport: 9, zone: 36 },
];
const middle = (options: Parameters<typeof example.router>[1] = {}): ReturnType<typeof example.router> =>
  example.router(1, {
    routes: [
      example.route('0.0.0.0/0', { via: '203.0.113.254' }),
      example.route('::/0', { via: '2001:db8:ffff::254' }),
    ],
    ...options,
  });
const plain = middle();
const toInside = example.routerPort(1, plain, { switch: inside.id, addresses: ['10.0.1.1/24', '2001:db8:1::1/64'] });
const toOther = example.routerPort(2, plain, { switch: other.id, addresses: ['10.0.2.1/24', '2001:db8:2::1/64'] });
const uplink = example.routerPort(3, plain, {
  switch: outside.id,
  outside: true,
  addresses: ['203.0.113.1/24', '2001:db8:ffff::1/64'],
});
const world: InputRecord[] = [inside, other, outside, toInside, toOther, uplink, example.natZone(plain, 400)];

function networkWith(...records: InputRecord[]): Network {
  const router = records.some(({ kind }) => kind === 'router') ? [] : [plain];
  return networkOf([h1, h2], [...world, ...router, ...records], sites);
}

/** Who got it, from where to where. */
function story({ delivered, answered, reasons, packetIns }: Journey): string {
  const told = delivered.map(({ port, bytes }) => `${port}: ${ends(bytes)}`);
  const back = answered.map((bytes) => `back: ${ends(bytes)}`);
  const asked = packetIns.map(({ userdata }) => `class ${userdata[0]}`);
  return [...told, ...back, ...asked, ...reasons].join('; ');
}

function ends(bytes: Uint8Array): string {
  const { l3, l4 } = decodePacket(bytes, { verifyChecksums: true });
  if (l3?.kind !== 'ipv4' && l3?.kind !== 'ipv6') return 'no IP';
  const version = l3.kind === 'ipv4' ? 4 : 6;
  const text = (value: number | bigint): string => formatIp({ version, value } as never);
  const [from, to] = l4 !== undefined && 'srcPort' in l4 ? [`:${l4.srcPort}`, `:${l4.dstPort}`] : ['', ''];
  return `${text(l3.src)}${from} > ${text(l3.dst)}${to}`;
}

test('a client inside reaches a member of a VIP, and its answers come back as of the VIP', () => {
  for (const members of [[b], [c]]) {
    const net = networkWith(example.loadBalancer(1, '10.9.9.9', members, { router: plain.id }));
    const [member] = members as [typeof b];
    const at = member === b ? { host: h1, ofport: 2, ip: '10.0.1.12' } : { host: h2, ofport: 3, ip: '10.0.2.13' };
    const asks = net.send(h1.id, 1, frame(a.mac, toInside.mac, ip('10.0.1.11', '10.9.9.9', tcp(5000, 80))));
    assert.equal(story(asks), `${member.name}: 10.0.1.11:5000 > ${at.ip}:80`);
    const reply = frame(member.mac, member === b ? a.mac : toOther.mac, ip(at.ip, '10.0.1.11', tcp(80, 5000, SYN_ACK)));
    assert.equal(story(net.send(at.host.id, at.ofport, reply)), 'p1: 10.9.9.9:80 > 10.0.1.11:5000');
    const goesOn = net.send(h1.id, 1, frame(a.mac, toInside.mac, ip('10.0.1.11', '10.9.9.9', tcp(5000, 80, ACK))));
    assert.equal(story(goesOn), `${member.name}: 10.0.1.11:5000 > ${at.ip}:80`);
  }
});

test('a floating address leads to its port from outside, and the port goes out by it', () => {
  const net = networkWith(example.floatingAddress(1, '203.0.113.10', plain, a));
  const comes = net.send(h2.id, 9, frame(x.mac, uplink.mac, ip('198.51.100.1', '203.0.113.10', tcp(4000, 22))));
  assert.equal(story(comes), 'p1: 198.51.100.1:4000 > 10.0.1.11:22');
  const answers = net.send(
    h1.id,
    1,
    frame(a.mac, toInside.mac, ip('10.0.1.11', '198.51.100.1', tcp(22, 4000, SYN_ACK))),
  );
  assert.equal(story(answers), 'p9: 203.0.113.10:22 > 198.51.100.1:4000');
  const goes = net.send(h1.id, 1, frame(a.mac, toInside.mac, ip('10.0.1.11', '198.51.100.2', udp(53, 53))));
  assert.equal(story(goes), 'p9: 203.0.113.10:53 > 198.51.100.2:53');
  const back = net.send(h2.id, 9, frame(x.mac, uplink.mac, ip('198.51.100.2', '203.0.113.10', udp(53, 53))));
  assert.equal(story(back), 'p1: 198.51.100.2:53 > 10.0.1.11:53');
});

test('source translation goes out with a port of the block of its host, and answers come back by it', () => {
  const router = middle({ snat: [{ from: '10.0.0.0/8', to: '203.0.113.1' }] });
  const net = networkWith(
    router,
    example.natLease(router, '203.0.113.1', h1, [10240, 64]),
    example.natLease(router, '203.0.113.1', h2, [20480, 64]),
  );
  const goes = net.send(h1.id, 1, frame(a.mac, toInside.mac, ip('10.0.1.11', '198.51.100.1', tcp(5000, 443))));
  assert.equal(story(goes), 'p9: 203.0.113.1:10240 > 198.51.100.1:443');
  const back = frame(x.mac, uplink.mac, ip('198.51.100.1', '203.0.113.1', tcp(443, 10240, SYN_ACK)));
  assert.equal(story(net.send(h2.id, 9, back)), 'p1: 198.51.100.1:443 > 10.0.1.11:5000');
  const local = net.send(h2.id, 3, frame(c.mac, toOther.mac, ip('10.0.2.13', '198.51.100.1', udp(5000, 53))));
  assert.equal(story(local), 'p9: 203.0.113.1:20480 > 198.51.100.1:53');
  const localBack = net.send(h2.id, 9, frame(x.mac, uplink.mac, ip('198.51.100.1', '203.0.113.1', udp(53, 20480))));
  assert.equal(story(localBack), 'p3: 198.51.100.1:53 > 10.0.2.13:5000');
});
