import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp, type Ip, type Ipv4, type Ipv6, type Mac, parseIp } from '../base/addresses.ts';
import { PACKET_IN, type PacketInClass } from '../compile/tables.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { NO_BYTES } from '../packet/input.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import { decodePacket, encodePacket } from '../packet/packet.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import type { Effect, PacketIn } from './events.ts';
import type { Ground } from './ground.ts';
import { Interfaces } from './interfaces.ts';
import { PacketErrors } from './packet-errors.ts';
import { NO_REGISTERS, type PacketRegisters } from './registers.ts';
import { Scope } from './scope.ts';

const scope = new Scope();
const records = [
  { kind: 'switch', id: 's1', key: 101, subnets: [], vlanAware: false, adminUp: true },
  { kind: 'switch', id: 's2', key: 102, subnets: [], vlanAware: false, adminUp: true, mtu: 1400 },
  { kind: 'router', id: 'r', key: 200, snat: [], routes: [] },
  { kind: 'routerPort', id: 'r1', key: 201, router: 'r', switch: 's1', mac: '02:00:00:00:02:01', addresses: ['10.0.1.1/24', '2001:db8:1::1/64'] },
  { kind: 'routerPort', id: 'r2', key: 202, router: 'r', switch: 's2', mac: '02:00:00:00:02:02', addresses: ['10.0.2.1/24'] },
  { kind: 'routerPort', id: 'r3', key: 203, router: 'r', switch: 's1', mac: '02:00:00:00:02:03', addresses: ['203.0.113.1/24', '2001:db8:f::1/64'], outside: true },
  { kind: 'tunnelZone', id: 'z', encap: 'geneve' },
  { kind: 'host', id: 'h', zone: 'z', tunnelAddress: '198.51.100.1', underlayMtu: 1500 },
  { kind: 'port', id: 'p', key: 1, switch: 's1' },
  { kind: 'port', id: 'q', key: 2, switch: 's2' },
]; // biome-ignore format: a table
scope.apply((records as unknown as ScopeRecord[]).map((record) => ({ op: 'put', record })));
const interfaces = new Interfaces();
const P = '1a2b3c4d-0000-4000-8000-000000000001';
interfaces.put({ uuid: 'u', name: 'tap', ofport: 7, ifaceId: P, markedInstalled: true });
interfaces.rebind(() => undefined);
scope.apply([{ op: 'put', record: { ...scope.port('p')!, id: P } }]);
const ground = { scope, interfaces, host: 'h', serverConnected: true } as unknown as Ground;

const udp = { kind: 'udp', srcPort: 1, dstPort: 2, noChecksum: false } as const;
function frame4(src: number, dst: number, bytes = 0): Uint8Array {
  const l3 = { kind: 'ipv4', ...ipv4Header({ src: src as Ipv4, dst: dst as Ipv4, protocol: IP_PROTO.udp }) } as const;
  return encodePacket({
    ethernet: { dst: 0x0200_0000_0201 as Mac, src: 0x0200_0000_0001 as Mac, etherType: ETHER_TYPE.ipv4 },
    vlans: [],
    l3,
    l4: udp,
    payload: new Uint8Array(bytes),
  });
}
function frame6(src: bigint, dst: bigint): Uint8Array {
  const l3 = { kind: 'ipv6', ...ipv6Header({ src: src as Ipv6, dst: dst as Ipv6, nextHeader: IP_PROTO.udp }) } as const;
  return encodePacket({
    ethernet: { dst: 0x0200_0000_0201 as Mac, src: 0x0200_0000_0001 as Mac, etherType: ETHER_TYPE.ipv6 },
    vlans: [],
    l3,
    l4: udp,
    payload: NO_BYTES,
  });
}
const packetIn = (wanted: PacketInClass, frame: Uint8Array, registers: Partial<PacketRegisters>): PacketIn => ({
  ...{ ...NO_REGISTERS, cookie: 0n, inPort: 7, ...registers, class: PACKET_IN[wanted], frame },
});
const ask = (wanted: PacketInClass, frame: Uint8Array, registers: Partial<PacketRegisters>): Effect[] =>
  new PacketErrors(ground).handle(packetIn(wanted, frame, registers), 0);

/** `10.0.1.1 > 10.0.1.2 icmp 3/0`. */
function told(effects: readonly Effect[]): string {
  const [effect] = effects;
  assert.ok(effect?.kind === 'inject' || effect?.kind === 'packetOut');
  const { l3, l4 } = decodePacket(effect.frame);
  assert.ok(l4 && (l3?.kind === 'ipv4' || l3?.kind === 'ipv6'));
  const ip = (value: number | bigint): string =>
    typeof value === 'bigint'
      ? formatIp({ version: 6, value: value as Ipv6 })
      : formatIp({ version: 4, value: value as Ipv4 });
  const what = l4.kind === 'icmp' || l4.kind === 'icmpv6' ? `${l4.kind} ${l4.type}/${l4.code} ${l4.rest}` : l4.kind;
  return `${ip(l3.src)} > ${ip(l3.dst)} ${what}`;
}

const A = 0x0a00_0102;
const FAR = 0xc000_0201;
const A6 = 0x2001_0db8_0001_0000_0000_0000_0000_0002n;
const inRouter = { switchKey: 200, portKey: 1, outPortKey: 201, routerPortKey: 201 };

test('errors of a router come from the port by which the packet came in, and go into its routes as its own', () => {
  const effects = ask('ttl', frame4(A, FAR), inRouter);
  assert.equal(told(effects), '10.0.1.1 > 10.0.1.2 icmp 11/0 0');
  assert.ok(effects[0]?.kind === 'inject');
  assert.equal(effects[0].at, 'policy');
  assert.deepEqual(effects[0].registers, { router: 200, routerPort: 201, own: 1, routed: 1 });
  assert.equal(told(ask('unreachable', frame4(A, FAR), inRouter)), '10.0.1.1 > 10.0.1.2 icmp 3/0 0');
  assert.equal(
    told(ask('unreachable', frame6(A6, 1n << 125n), inRouter)),
    '2001:db8:1::1 > 2001:db8:1::2 icmpv6 1/0 0',
  );
  assert.equal(told(ask('portUnreachable', frame4(A, 0x0a00_0201), inRouter)), '10.0.2.1 > 10.0.1.2 icmp 3/3 0');
});

test('what is too big is told the size that fits beyond, from the side of the sender', () => {
  const leaving = { ...inRouter, routerPortKey: 202 };
  const frame = frame4(A, 0x0a00_0209);
  frame[20]! |= 0x40;
  assert.equal(told(ask('tooBig', frame, leaving)), '10.0.1.1 > 10.0.1.2 icmp 3/4 1400');
});

test('what came in by an outside port and is too big for tunnels is told what they take', () => {
  const arrived = { ...inRouter, outPortKey: 203, routerPortKey: 0 };
  const frame = frame4(FAR, 0xcb00_7109);
  frame[20]! |= 0x40;
  assert.equal(told(ask('tooBig', frame, arrived)), '203.0.113.1 > 192.0.2.1 icmp 3/4 1450');
  const six = frame6(A6, 1n << 125n);
  assert.equal(told(ask('tooBig', six, arrived)), '2001:db8:f::1 > 2001:db8:1::2 icmpv6 2/0 1450');
  frame[20]! = 0;
  assert.deepEqual(ask('tooBig', frame, arrived), [
    {
      ...{ kind: 'inject', frame, at: 'anchor' },
      registers: { inPort: 1, router: 200, enteredBy: 203, routerPort: 203, routed: 1 },
    },
  ]);
});

test('what was too big and could not be cut is counted, and nothing else', () => {
  const errors = new PacketErrors(ground);
  const whole = frame4(A, 0x0a00_0209, 2000);
  whole[20]! |= 0x40;
  for (const [wanted, frame] of [
    ['tooBig', whole],
    ['tooBig', frame4(A, 0x0a00_0209, 2000)],
    ['ttl', whole],
  ] as const)
    errors.handle(packetIn(wanted, frame, { ...inRouter, routerPortKey: 202 }), 0);
  assert.deepEqual(errors.tooBig, { packets: 1, bytes: whole.length });
});

test('what may be cut is, and goes on to where it was to leave', () => {
  const large = frame4(A, 0x0a00_0209, 2000);
  const parts = ask('tooBig', large, { ...inRouter, routerPortKey: 202, nextHop: 1n });
  assert.deepEqual(
    parts.map((effect) => effect.kind === 'inject' && [effect.at, effect.frame.length - 14 <= 1400]),
    [
      ['leave', true],
      ['leave', true],
    ],
  );
});

test('what may only be of a known connection goes on as such', () => {
  const frame = frame4(A, 0x0a00_0209);
  const [gone] = ask('tooBig', frame, { ...inRouter, routerPortKey: 202, knownOnly: true });
  assert.ok(gone?.kind === 'inject');
  assert.equal(gone.registers.knownOnly, 1);
});

test('what fits by now goes on as it is', () => {
  const frame = frame4(A, 0x0a00_0209);
  const nextHop = 0x0a00_0209n;
  assert.deepEqual(ask('tooBig', frame, { ...inRouter, routerPortKey: 202, nextHop }), [
    {
      ...{ kind: 'inject', frame, at: 'leave', nextHop: { version: 4, value: 0x0a00_0209 } },
      registers: { inPort: 1, router: 200, enteredBy: 201, routerPort: 202, routed: 1 },
    },
  ]);
});

test('a rule of a router rejects in the name of the router', () => {
  assert.equal(told(ask('reject', frame4(A, FAR), inRouter)), '10.0.1.1 > 10.0.1.2 icmp 3/13 0');
});

test('a rule of a port rejects in the name of whom the packet was for: to the sender here, or back over the switch', () => {
  const from = ask('reject', frame4(A, FAR), { switchKey: 101, portKey: 1 });
  assert.equal(told(from), '192.0.2.1 > 10.0.1.2 icmp 3/13 0');
  assert.ok(from[0]?.kind === 'packetOut' && from[0].toOfport === 7);
  const to = ask('reject', frame4(A, FAR), { switchKey: 101, portKey: 1, outPortKey: 2 });
  assert.equal(told(to), '192.0.2.1 > 10.0.1.2 icmp 3/13 0');
  assert.ok(to[0]?.kind === 'inject' && to[0].at === 'lookup');
  assert.deepEqual(to[0].registers, { switch: 102, vlan: 0 });
});

test('nothing is said about what went to the broadcast address of a network of the router', () => {
  assert.deepEqual(ask('ttl', frame4(A, 0x0a00_02ff), inRouter), []);
});

test('one sender gets some errors a second, and takes nobody else their share', () => {
  const errors = new PacketErrors(ground);
  const count = (portKey: number, nowMs: number): number => {
    let told = 0;
    for (let i = 0; i < 300; i++)
      told += errors.handle(packetIn('ttl', frame4(A, FAR), { ...inRouter, portKey }), nowMs).length;
    return told;
  };
  assert.equal(count(1, 0), 100);
  assert.equal(count(2, 0), 100);
  assert.equal(count(1, 1000), 50);
});

test('what came in from outside is quoted as it was sent: with the floating address, and right checksums', () => {
  const floating = { kind: 'floatingAddress', id: 'f', address: '203.0.113.9', router: 'r', port: P, adminUp: true };
  const outside = { kind: 'routerPort', id: 'r3', key: 203, router: 'r', switch: 's3', outside: true, mac: '02:00:00:00:02:03', addresses: ['203.0.113.1/24'] }; // biome-ignore format: a row
  const inside = { ...scope.port(P)!, addresses: ['10.0.1.2'] };
  scope.apply([floating, outside, inside].map((record) => ({ op: 'put', record: record as unknown as ScopeRecord })));
  const effects = ask('ttl', frame4(0xcb00_7164, A), { switchKey: 200, outPortKey: 203, routerPortKey: 203 });
  assert.equal(told(effects), '203.0.113.1 > 203.0.113.100 icmp 11/0 0');
  assert.ok(effects[0]?.kind === 'inject');
  assert.deepEqual(effects[0].frame.subarray(42), frame4(0xcb00_7164, 0xcb00_7109).subarray(14));
});

test('a rule of a member rejects what came from outside in the name of the virtual address, by its router', () => {
  const balancer = {
    ...{ kind: 'loadBalancer', id: 'lb', key: 301, router: 'r', address: '203.0.113.80', members: [{ port: 'q' }] },
    listeners: [{ protocol: 'udp', port: 53, memberPort: 2 }],
  };
  const q = { ...scope.port('q')!, addresses: ['10.0.2.9'] };
  const first = { ...balancer, id: 'first', key: 300, address: '203.0.113.79' };
  scope.apply([first, balancer, q].map((record) => ({ op: 'put', record: record as unknown as ScopeRecord })));
  const arrived = { switchKey: 102, outPortKey: 2, memberVip: true, balancerKey: 301 };
  const effects = ask('reject', frame4(0xcb00_7164, 0x0a00_0209), arrived);
  assert.equal(told(effects), '203.0.113.80 > 203.0.113.100 icmp 3/13 0');
  assert.ok(effects[0]?.kind === 'inject' && effects[0].at === 'policy');
  assert.deepEqual(effects[0].registers, { router: 200, own: 1, routed: 1 });
  const quoted = effects[0].frame.subarray(42);
  assert.deepEqual([...quoted.subarray(16, 20), quoted[23]], [203, 0, 113, 80, 53], 'as it was sent');
  const ranged = { ...balancer, listeners: [{ protocol: 'udp', port: '5000-5009', memberPort: '1-10' }] };
  scope.apply([{ op: 'put', record: ranged as unknown as ScopeRecord }]);
  const [again] = ask('reject', frame4(0xcb00_7164, 0x0a00_0209), arrived);
  const port = again?.kind === 'inject' && again.frame.subarray(42).subarray(22, 24);
  assert.deepEqual(port && [...port], [5001 >> 8, 5001 & 0xff], 'the port of a range that leads to this one');
  const inside = ask('reject', frame4(0xcb00_7164, 0x0a00_0209), { ...arrived, memberVip: false });
  assert.equal(told(inside), '10.0.2.9 > 203.0.113.100 icmp 3/13 0');
});

/** What a TCP packet, `10.0.0.1:40000 > 10.0.0.2:80 syn`, is answered with by the agent: a reset in the same form, with both numbers. */
function reset(
  [src, dst]: readonly [readonly [string, number], readonly [string, number]],
  flags: number,
  registers: Partial<PacketRegisters>,
): { readonly said: string; readonly into: Partial<Record<string, number>> } {
  const [from, to] = [parseIp(src[0])!, parseIp(dst[0])!];
  const l3 =
    from.version === 4
      ? ({
          kind: 'ipv4',
          ...ipv4Header({ src: from.value, dst: to.value as Ipv4, protocol: IP_PROTO.tcp }),
        } as const)
      : ({
          kind: 'ipv6',
          ...ipv6Header({ src: from.value, dst: to.value as Ipv6, nextHeader: IP_PROTO.tcp }),
        } as const);
  const ports = { srcPort: src[1], dstPort: dst[1], window: 0, urgent: 0, options: NO_BYTES };
  const frame = encodePacket({
    ethernet: {
      ...{ dst: 0x0200_0000_0201 as Mac, src: 0x0200_0000_0001 as Mac },
      etherType: from.version === 4 ? ETHER_TYPE.ipv4 : ETHER_TYPE.ipv6,
    },
    ...{ vlans: [], l3, payload: NO_BYTES },
    l4: { kind: 'tcp', ...ports, sequence: 1000, acknowledgement: 2000, flags },
  });
  const [effect] = ask('reject', frame, registers);
  assert.ok(effect?.kind === 'inject' && effect.at === 'policy');
  const said = decodePacket(effect.frame);
  assert.ok(said.l4?.kind === 'tcp' && (said.l3?.kind === 'ipv4' || said.l3?.kind === 'ipv6'));
  const ip = (value: number | bigint): string => formatIp({ version: from.version, value } as Ip);
  const { l4 } = said;
  assert.deepEqual(encodePacket(said), effect.frame, 'with the right checksums');
  return {
    said: `${ip(said.l3.src)} ${l4.srcPort} > ${ip(said.l3.dst)} ${l4.dstPort} flags ${l4.flags} ${l4.sequence}/${l4.acknowledgement}`,
    into: effect.registers,
  };
}

test('a rule of a router resets in public terms what came from outside: a virtual address with its port, a floating one', () => {
  const outside = { kind: 'routerPort', id: 'r3', key: 203, router: 'r', switch: 's3', outside: true, mac: '02:00:00:00:02:03', addresses: ['203.0.113.1/24'] }; // biome-ignore format: a row
  const m = { kind: 'port', id: 'm', key: 3, switch: 's2', addresses: ['10.0.2.11', '2001:db8:2::11'] };
  const balancer = (id: string, key: number, address: string) => ({
    ...{ kind: 'loadBalancer', id, key, router: 'r', address, members: [{ port: 'm' }] },
    listeners: [{ protocol: 'tcp', port: 80, memberPort: 8080 }],
  });
  const floating = (id: string, address: string) => ({ kind: 'floatingAddress', id, address, router: 'r', port: 'm', adminUp: true }); // biome-ignore format: a row
  scope.apply(
    [
      ...[outside, m, balancer('web', 303, '203.0.113.82'), balancer('web6', 304, '2001:db8:f::82')],
      ...[floating('f4', '203.0.113.12'), floating('f6', '2001:db8:f::12')],
    ].map((record) => ({ op: 'put', record: record as unknown as ScopeRecord })),
  );
  const arrived = { switchKey: 200, outPortKey: 203, routerPortKey: 203 };
  const [client, client6] = [
    ['198.51.100.9', 40_000],
    ['2001:db8:c::9', 40_000],
  ] as const;
  const [own, own6] = [
    ['10.0.2.11', 8080],
    ['2001:db8:2::11', 8080],
  ] as const;
  const said = reset([client, own], TCP_FLAG.syn, { ...arrived, memberVip: true, balancerKey: 303 });
  assert.equal(said.said, '203.0.113.82 80 > 198.51.100.9 40000 flags 20 0/1001');
  assert.deepEqual(said.into, { router: 200, routerPort: 203, own: 1, routed: 1 });
  assert.equal(
    reset([client6, own6], TCP_FLAG.syn, { ...arrived, memberVip: true, balancerKey: 304 }).said,
    '2001:db8:f::82 80 > 2001:db8:c::9 40000 flags 20 0/1001',
  );
  assert.equal(
    reset([client, own], TCP_FLAG.syn, arrived).said,
    '203.0.113.12 8080 > 198.51.100.9 40000 flags 20 0/1001',
  );
  assert.equal(
    reset([client6, own6], TCP_FLAG.ack, arrived).said,
    '2001:db8:f::12 8080 > 2001:db8:c::9 40000 flags 4 2000/0',
  );
  assert.equal(
    reset([client, own], TCP_FLAG.syn, { ...inRouter, switchKey: 200 }).said,
    '10.0.2.11 8080 > 198.51.100.9 40000 flags 20 0/1001',
    'not what came from inside',
  );
});

test('a router behind that of a virtual address leaves it to that one to reset', () => {
  const inner = [
    { kind: 'router', id: 'r9', key: 900, snat: [], routes: [] },
    { kind: 'routerPort', id: 'p9', key: 901, router: 'r9', mac: '02:00:00:00:09:01', addresses: ['10.9.0.2/30'] },
  ];
  scope.apply(inner.map((record) => ({ op: 'put', record: record as unknown as ScopeRecord })));
  const ends = [
    ['198.51.100.9', 40_000],
    ['10.0.2.11', 8080],
  ] as const;
  const arrived = { switchKey: 900, outPortKey: 901, routerPortKey: 901 };
  const { said, into } = reset(ends, TCP_FLAG.syn, { ...arrived, memberVip: true, balancerKey: 303 });
  assert.equal(said, '203.0.113.82 80 > 198.51.100.9 40000 flags 20 0/1001');
  assert.deepEqual(into, { router: 200, own: 1, routed: 1 });
  assert.deepEqual(reset(ends, TCP_FLAG.syn, arrived).into, { router: 900, routerPort: 901, own: 1, routed: 1 });
});

test('a member that answers a client outside is reset, and told of errors, at its own address and port', () => {
  const answer = [
    ['203.0.113.82', 80],
    ['198.51.100.9', 40_000],
  ] as const;
  const leaving = { switchKey: 200, portKey: 3, outPortKey: 202, routerPortKey: 203, isReply: true };
  const { said, into } = reset(answer, TCP_FLAG.syn | TCP_FLAG.ack, leaving);
  assert.equal(said, '198.51.100.9 40000 > 10.0.2.11 8080 flags 4 2000/0');
  assert.deepEqual(into, { router: 200, routerPort: 202, own: 1, routed: 1 });
  assert.equal(
    reset(answer, TCP_FLAG.ack, { ...leaving, portKey: 2 }).said,
    '198.51.100.9 40000 > 203.0.113.82 80 flags 4 2000/0',
    'a port that is no member',
  );
  const dns = {
    ...{ kind: 'loadBalancer', id: 'dns', key: 305, router: 'r', address: '203.0.113.83', members: [{ port: 'm' }] },
    listeners: [{ protocol: 'udp', port: '1-9', memberPort: '5001-5009' }],
  };
  scope.apply([{ op: 'put', record: dns as unknown as ScopeRecord }]);
  const effects = ask('ttl', frame4(0xcb00_7153, FAR), leaving);
  assert.equal(told(effects), '10.0.2.1 > 10.0.2.11 icmp 11/0 0');
  assert.ok(effects[0]?.kind === 'inject');
  const quoted = effects[0].frame.subarray(42);
  assert.deepEqual([...quoted.subarray(12, 16), ...quoted.subarray(20, 22)], [10, 0, 2, 11, 5001 >> 8, 5001 & 0xff]);
});
