import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ip, type Ipv4, type Mac, parseIp } from '../base/addresses.ts';
import { PACKET_IN } from '../compile/tables.ts';
import type { Neighbour, ScopeRecord } from '../model/objects.ts';
import { ARP_OP, encodeArp } from '../packet/arp.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { NO_BYTES } from '../packet/input.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { decodePacket, encodePacket } from '../packet/packet.ts';
import type { Report } from '../server/protocol.ts';
import type { Effect, PacketIn } from './events.ts';
import type { Ground } from './ground.ts';
import { Interfaces } from './interfaces.ts';
import { Neighbours } from './neighbours.ts';
import { PacketErrors } from './packet-errors.ts';
import { ndFrame } from './packet-in/reply.ts';
import { NO_REGISTERS } from './registers.ts';
import { Scope } from './scope.ts';

const P = '1a2b3c4d-0000-4000-8000-000000000001';
const ROUTER_MAC = 0x0200_0000_0201 as Mac;
const OTHER = 0x0200_0000_0099 as Mac;

interface Rig {
  readonly neighbours: Neighbours;
  readonly scope: Scope;
  readonly reports: Report[];
}
/** `whenInstalled`: of a switch that has all flows at once, unless another is given. */
function rig(whenInstalled = (callback: () => Effect[]): Effect[] => callback()): Rig {
  const scope = new Scope();
  const records = [
    { kind: 'switch', id: 's', key: 101, subnets: [], vlanAware: false, adminUp: true },
    { kind: 'router', id: 'r', key: 200, snat: [], routes: [] },
    { kind: 'routerPort', id: 'rp', key: 201, router: 'r', switch: 's', mac: '02:00:00:00:02:01', addresses: ['10.0.1.1/24', '2001:db8::1/64'] },
    { kind: 'port', id: P, key: 1, switch: 's', mac: '02:00:00:00:00:01', addresses: ['10.0.1.2'] },
  ]; // biome-ignore format: a table
  const put = (list: readonly unknown[]): void =>
    scope.apply((list as ScopeRecord[]).map((record) => ({ op: 'put', record })));
  put(records);
  const interfaces = new Interfaces();
  interfaces.put({ uuid: 'u', name: 'tap', ofport: 7, ifaceId: P, markedInstalled: true });
  interfaces.rebind(() => undefined);
  const reports: Report[] = [];
  const ground: Ground = {
    ...{ scope, interfaces, host: 'h1', serverConnected: true, problems: new Map() },
    compile: () => [],
    overlay: (record) => {
      put([record]);
      return [];
    },
    report: (more) => {
      reports.push(...more);
      return [];
    },
    reportStates: () => [],
  };
  return { neighbours: new Neighbours(ground, new PacketErrors(ground), whenInstalled), scope, reports };
}

function routed(nextHop: Ip, id = 0): PacketIn {
  const l3 = {
    kind: 'ipv4',
    ...ipv4Header({ src: 0x0a00_0202 as Ipv4, dst: 0x0a00_0163 as Ipv4, protocol: IP_PROTO.udp, id }),
  } as const;
  const ethernet = { dst: 0x0200_0000_0202 as Mac, src: ROUTER_MAC, etherType: ETHER_TYPE.ipv4 };
  const l4 = { kind: 'udp', srcPort: 1, dstPort: 2, noChecksum: false } as const;
  const frame = encodePacket({ ethernet, vlans: [], l3, l4, payload: NO_BYTES });
  return {
    ...{ ...NO_REGISTERS, class: PACKET_IN.resolve, cookie: 0n, inPort: 7, frame },
    ...{ portKey: 5, switchKey: 101, routerPortKey: 201, nextHop: BigInt(nextHop.value) },
  };
}
const HOP = parseIp('10.0.1.99')!;
const HOP6 = parseIp('2001:db8::99')!;
const record = (mac: string, host: string): Neighbour => ({
  ...{ kind: 'neighbour', id: 's/10.0.1.99', revision: 1, switch: 's', address: '10.0.1.99', mac, port: 'far', host },
});
const kinds = (effects: readonly Effect[]): string[] =>
  effects.map((e) => (e.kind === 'inject' ? `${e.kind} ${e.at}` : e.kind));

test('an unknown next hop is asked for over the switch, once a second; its packets wait and go on when it is known', () => {
  const { neighbours } = rig();
  const [ask, ...more] = neighbours.resolve(routed(HOP), 0);
  assert.deepEqual(more, []);
  assert.ok(ask?.kind === 'inject' && ask.at === 'flood');
  assert.deepEqual(ask.registers, { switch: 101, vlan: 0 });
  const { ethernet, l3 } = decodePacket(ask.frame);
  assert.equal(ethernet.src, ROUTER_MAC);
  assert.ok(l3?.kind === 'arp' && l3.op === ARP_OP.request && l3.tpa === HOP.value && l3.spa === 0x0a00_0101);
  assert.deepEqual(neighbours.resolve({ ...routed(HOP, 1), knownOnly: true }, 10), []);
  assert.deepEqual(kinds(neighbours.tick(1000)), ['inject flood']);
  const { release } = neighbours.scopeChanged([{ op: 'put', record: record('02:00:00:00:00:99', 'h2') }]);
  const released = release!();
  assert.deepEqual(kinds(released), ['inject next', 'inject next']);
  assert.ok(released[0]?.kind === 'inject');
  const registers = { inPort: 5, switch: 101, routerPort: 201, vlan: 0, routed: 1 };
  assert.deepEqual(released[0].registers, registers);
  assert.ok(released[1]?.kind === 'inject');
  assert.deepEqual(released[1].registers, { ...registers, knownOnly: 1 }, 'it may only be of a known connection still');
  assert.deepEqual(released[0].nextHop, HOP);
  assert.deepEqual(neighbours.tick(2000), []);
});

test('who waits three seconds for nothing is told that the host is unreachable', () => {
  const { neighbours } = rig();
  neighbours.resolve(routed(HOP), 0);
  const effects = neighbours.tick(3000);
  assert.deepEqual(kinds(effects), ['inject policy']);
  assert.ok(effects[0]?.kind === 'inject');
  const { l4 } = decodePacket(effects[0].frame);
  assert.ok(l4?.kind === 'icmp' && l4.type === 3 && l4.code === 1);
  assert.deepEqual(neighbours.tick(4000), []);
});

test('packets that wait are bounded, per next hop and altogether', () => {
  const { neighbours } = rig();
  for (let i = 0; i < 40; i++) neighbours.resolve(routed(HOP, i), 0);
  const { release } = neighbours.scopeChanged([{ op: 'put', record: record('02:00:00:00:00:99', 'h2') }]);
  assert.equal(release!().length, 16);
  const bounded = rig().neighbours;
  for (let i = 2; i < 120; i++) {
    for (let n = 0; n < 10; n++) {
      const packet = routed({ version: 4, value: (0x0a00_0100 + i) as Ipv4 }, n);
      bounded.resolve({ ...packet, portKey: 10 + i, frame: packet.frame }, 0);
    }
  }
  assert.equal(kinds(bounded.tick(10_000)).filter((kind) => kind === 'inject policy').length, 256);
});

test('packets that wait are counted no longer when their next hop is known, also when they are never released', () => {
  const { neighbours } = rig();
  const packets = 16;
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < packets; i++) neighbours.resolve(routed(HOP, i), round * 10_000);
    // The switch is lost before it has the flows: nobody calls `release`.
    neighbours.scopeChanged([{ op: 'put', record: record('02:00:00:00:00:99', 'h2') }]);
  }
  for (let i = 0; i < packets; i++) neighbours.resolve(routed(HOP, i), 900_000);
  assert.equal(kinds(neighbours.tick(910_000)).filter((kind) => kind === 'inject policy').length, packets);
});

test('IPv6 next hops are asked for by solicitation of their group', () => {
  const { neighbours } = rig();
  const [ask] = neighbours.resolve(routed(HOP6), 0);
  assert.ok(ask?.kind === 'inject');
  const { ethernet, l4 } = decodePacket(ask.frame);
  assert.equal(ethernet.dst, 0x3333_ff00_0099);
  assert.ok(l4?.kind === 'nd' && l4.message.kind === 'neighborSolicit' && l4.message.target === HOP6.value);
});

function arp(mac: Mac, op: number = ARP_OP.reply): Uint8Array {
  const header = encodePacket({
    ethernet: { dst: ROUTER_MAC, src: mac, etherType: ETHER_TYPE.arp },
    vlans: [],
    payload: NO_BYTES,
  });
  const body = encodeArp({ op, sha: mac, spa: HOP.value as Ipv4, tha: ROUTER_MAC, tpa: HOP.value as Ipv4 });
  return Uint8Array.of(...header.subarray(0, 14), ...body);
}
const heard = (frame: Uint8Array): PacketIn => ({
  ...{ ...NO_REGISTERS, class: PACKET_IN.neighbour, cookie: 0n, inPort: 7, portKey: 1, switchKey: 101, frame },
});

test('an answer is reported and holds at once; a virtual address that another announces moves at once', () => {
  const { neighbours, scope, reports } = rig();
  const port = scope.port(P)!;
  neighbours.heard(heard(arp(OTHER)), port, 0);
  assert.deepEqual(reports.splice(0), [
    { type: 'neighbour', switch: 's', address: '10.0.1.99', mac: '02:00:00:00:00:99', port: P },
  ]);
  assert.equal(scope.get('neighbour', 's/10.0.1.99')?.mac, '02:00:00:00:00:99');
  neighbours.heard(heard(arp(OTHER)), port, 10);
  assert.deepEqual(reports, []);
  neighbours.heard(heard(arp(0x0200_0000_0098 as Mac, ARP_OP.request)), port, 20);
  assert.equal(scope.get('neighbour', 's/10.0.1.99')?.mac, '02:00:00:00:00:98');
  const said = ndFrame({ src: OTHER, dst: ROUTER_MAC, tag: 0 }, HOP6.value as never, 1n as never, {
    ...{ kind: 'neighborAdvert', flags: 0, target: HOP6.value as never, options: [] },
  });
  neighbours.heard(heard(said), port, 30);
  assert.equal(scope.get('neighbour', 's/2001:db8::99')?.mac, '02:00:00:00:00:99');
});

test('packets for a next hop that answers here go on behind its flows, whether the server is there to tell it or not', () => {
  const installing: (() => Effect[])[] = [];
  const { neighbours, scope } = rig((callback) => {
    installing.push(callback);
    return [];
  });
  const port = scope.port(P)!;
  neighbours.resolve(routed(HOP), 0);
  assert.deepEqual(kinds(neighbours.heard(heard(arp(OTHER)), port, 100)), []);
  assert.deepEqual(kinds(installing.splice(0).flatMap((callback) => callback())), ['inject next']);
  // One that was on its way to us while the flows were on theirs.
  neighbours.resolve(routed(HOP, 1), 200);
  neighbours.heard(heard(arp(OTHER)), port, 300);
  assert.deepEqual(kinds(installing.splice(0).flatMap((callback) => callback())), ['inject next']);
  assert.deepEqual(neighbours.tick(4_000), []);
});

test('who is known is asked again at its port, by unicast, and is forgotten when it is silent', () => {
  const { neighbours, scope, reports } = rig();
  neighbours.heard(heard(arp(OTHER)), scope.port(P)!, 0);
  assert.deepEqual(neighbours.tick(29_000), []);
  const [check] = neighbours.tick(30_000);
  assert.ok(check?.kind === 'packetOut' && check.toOfport === 7);
  assert.equal(decodePacket(check.frame).ethernet.dst, OTHER);
  neighbours.heard(heard(arp(OTHER)), scope.port(P)!, 60_000);
  neighbours.tick(140_000);
  assert.equal(scope.get('neighbour', 's/10.0.1.99')?.mac, '02:00:00:00:00:99');
  reports.splice(0);
  neighbours.tick(160_000);
  assert.deepEqual(reports, [{ type: 'neighbourGone', switch: 's', address: '10.0.1.99' }]);
  assert.equal(scope.get('neighbour', 's/10.0.1.99'), undefined);
});

test('an address outside the networks of the routers of the switch is not heard', () => {
  const { neighbours, scope, reports } = rig();
  const frame = arp(OTHER);
  frame.set([192, 0, 2, 1], 28);
  neighbours.heard(heard(frame), scope.port(P)!, 0);
  assert.deepEqual(reports, []);
});
