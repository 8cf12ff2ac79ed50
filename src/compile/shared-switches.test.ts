import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodePacket } from '../packet/packet.ts';
import { arp, BROADCAST, frame, ip, mac, networkOf, type Site, tcp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';
import { story } from './testing/outside-world.fixture.ts';

/**
 * A router with a port on a switch that another tenant shares, when the compiled flows are executed on one host:
 *
 *   a 10.0.1.11 ── ours ── router ── 203.0.113.1  theirs (shared)  ── x .10, y .20 (serves what it likes)
 */
const here = example.host(1);
const THEM = { tenant: '10000000-0000-4000-8000-000000000002' } as const;
const ours = example.logicalSwitch(1, { subnets: [example.subnet('10.0.1.0/24')] });
const theirs = example.logicalSwitch(2, { ...THEM, shared: true, subnets: [example.subnet('203.0.113.0/24')] });
const router = example.router(1);
const toOurs = example.routerPort(1, router, { switch: ours.id, addresses: ['10.0.1.1/24'] });
const a = example.port(1, ours, { addresses: ['10.0.1.11'], portSecurity: false });
const x = example.port(2, theirs, { ...THEM, addresses: ['203.0.113.10'] });
const y = example.port(3, theirs, { ...THEM, addresses: ['203.0.113.20'], portSecurity: false });
const sites: Site[] = [a, x, y].map((port, i) => ({ port, on: [here], ofport: i + 1, zone: 4 * i + 4 }));
const gate = (outside: boolean): ReturnType<typeof example.routerPort> =>
  example.routerPort(2, router, { switch: theirs.id, addresses: ['203.0.113.1/24'], outside });

function network(outside: boolean, ...more: InputRecord[]): Network {
  const routers = more.some(({ kind }) => kind === 'router') ? [] : [router];
  const records = [ours, theirs, ...routers, toOurs, gate(outside), example.natZone(router, 400), ...more];
  return networkOf([here], records, sites);
}

const send = (net: Network, from: number, to: string, ends: readonly [string, string]): string =>
  story(net.send(here.id, from, frame(sites[from - 1]!.port.mac, to, ip(...ends, tcp(5000, 80)))));

describe('a VIP of a router that comes from another tenant', () => {
  const vip = (address: string, onTheirs = true): Network =>
    network(
      false,
      example.loadBalancer(1, address, [a], { router: router.id }),
      ...(onTheirs ? [] : [{ ...theirs, tenant: ours.tenant }]),
    );

  test('is translated for workloads of the shared switch where a subnet of that holds it', () => {
    const net = vip('203.0.113.50');
    const gateway = gate(false).mac;
    assert.equal(send(net, 2, gateway, ['203.0.113.10', '203.0.113.50']), 'p1: 203.0.113.10:5000 > 10.0.1.11:80');
  });

  test('is not ours to take where none does: who serves that address there gets its packets', () => {
    assert.equal(
      send(vip('198.51.100.7'), 2, y.mac, ['203.0.113.10', '198.51.100.7']),
      'p3: 203.0.113.10:5000 > 198.51.100.7:80',
    );
    const own = vip('198.51.100.7', false);
    assert.equal(
      send(own, 2, y.mac, ['203.0.113.10', '198.51.100.7']),
      'p3: 203.0.113.10:5000 > 10.0.1.11:80',
      'on a switch of our own it is',
    );
  });
});

describe("into another tenant's switch a router sends", () => {
  test('by an outside port only what has a source of its own', () => {
    const sent = (...more: InputRecord[]): string =>
      send(network(true, ...more), 1, toOurs.mac, ['10.0.1.11', '203.0.113.10']);
    assert.equal(sent(), 'spoofed-ip');
    const floating = example.floatingAddress(1, '203.0.113.30', router, a);
    assert.equal(sent(floating), 'p2: 203.0.113.30:5000 > 203.0.113.10:80');
    const snat = { ...router, snat: [{ from: '10.0.0.0/8', to: '203.0.113.1' }] };
    const shared = sent(snat, example.natLease(snat, '203.0.113.1', here, [10240, 64]));
    assert.equal(shared, 'p2: 203.0.113.1:10240 > 203.0.113.10:80');
  });

  test('by an inside port what is of elsewhere, and nothing that pretends to be of the switch', () => {
    const net = network(false);
    const from = (src: string): string => send(net, 1, toOurs.mac, [src, '203.0.113.10']);
    assert.equal(from('10.0.1.11'), 'p2: 10.0.1.11:5000 > 203.0.113.10:80');
    assert.equal(from('198.51.100.7'), 'p2: 198.51.100.7:5000 > 203.0.113.10:80');
    assert.equal(from('203.0.113.20'), 'spoofed-ip');
  });

  test('of its own tenant whatever it is given', () => {
    const net = network(false, { ...theirs, tenant: ours.tenant });
    assert.equal(send(net, 1, toOurs.mac, ['203.0.113.20', '203.0.113.10']), 'p2: 203.0.113.20:5000 > 203.0.113.10:80');
  });
});

test('a VIP in a subnet of a switch that its router joins twice is answered for by the port in that subnet', () => {
  const aware = example.logicalSwitch(5, {
    vlanAware: true,
    subnets: [example.subnet('10.0.10.0/24', { vlan: 10 }), example.subnet('10.0.20.0/24', { vlan: 20 })],
  });
  const joins = [20, 10].map((vlan, i) =>
    example.routerPort(i + 1, router, { switch: aware.id, addresses: [`10.0.${vlan}.1/24`] }),
  );
  const [client, member] = [10, 20].map((vlan, i) =>
    example.port(i + 1, aware, { addresses: [`10.0.${vlan}.11`], vlan: { access: vlan } }),
  ) as [typeof a, typeof a];
  const vip = example.loadBalancer(1, '10.0.10.100', [member], { router: router.id });
  const net = networkOf(
    [here],
    [aware, router, ...joins, example.natZone(router, 400), vip],
    [client, member].map((port, i) => ({ port, on: [here], ofport: i + 1, zone: 4 * i + 4 })),
  );
  assert.deepEqual(net.compilerOf(here.id).update([]).problems, []);
  const { answered } = net.send(
    here.id,
    1,
    frame(client.mac, BROADCAST, arp(1, client.mac, '10.0.10.11', vip.address)),
  );
  const { l3 } = decodePacket(answered[0]!);
  assert.equal(l3?.kind === 'arp' && l3.sha, mac(joins[1]!.mac));
  const call = frame(client.mac, joins[1]!.mac, ip('10.0.10.11', vip.address, tcp(5000, 80)));
  assert.equal(story(net.send(here.id, 1, call)), 'p2: 10.0.10.11:5000 > 10.0.20.11:80');
});
