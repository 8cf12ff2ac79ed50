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
import type { Journey } from '../pipeline/network.fixture.ts';
import { PACKET_IN } from './tables.ts';
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
