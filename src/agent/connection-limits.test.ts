import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CompilerChange } from '../compile/compiler.ts';
import { ConnectionLimits } from './connection-limits.ts';
import { zonesOf } from './connections/network.fixture.ts';
import { portId, testGround } from './testing/test-ground.ts';

const [A, B, AWAY] = [portId(1), portId(2), portId(3)];
const ROUTER_ZONE = 40;
const floating = (id: string, port: string, connections?: number) => ({
  ...{ kind: 'floatingAddress', id, tenant: 't', router: 'r', port, address: `203.0.113.${id.slice(1)}` },
  ...(connections === undefined ? {} : { inboundLimit: { connections } }),
});
const balancer = (connections: number) => ({
  ...{ kind: 'loadBalancer', id: 'lb', name: 'web', tenant: 't', router: 'r', address: '203.0.113.80' },
  ...{ members: [A, B, AWAY].map((port) => ({ port })), inboundLimit: { connections } },
});
const router = (connections?: number) => ({
  ...{ kind: 'router', id: 'r', name: 'edge' },
  ...(connections === undefined ? {} : { inboundLimit: { connections } }),
});
const port = (id: string, address: string) => ({ kind: 'port', id, name: id, switch: 's', addresses: [address] });

function setup(...records: object[]) {
  const changes: CompilerChange[] = [];
  const ports = [port(A, '10.0.0.1'), port(B, '10.0.0.2'), port(AWAY, '10.0.0.3')];
  const ground = testGround([{ kind: 'tenant', id: 't', name: 'shop' }, router(), ...ports, ...records], [A, B]);
  const limits = new ConnectionLimits(
    {
      ...ground,
      compile: (more) => {
        changes.push(...more);
        return [];
      },
    },
    zonesOf({ [A]: 4, [B]: 8, r: ROUTER_ZONE }),
  );
  /** By address (with the zone, where it has several); `undefined`: its zone was not read. */
  const counted = (counts: Readonly<Record<string, number | undefined>>, nowMs = 0): string[] => {
    const places = [...limits.places()];
    limits.told(
      places.map((place) => ({
        place,
        count: `${place.address}` in counts ? counts[place.address] : counts[`${place.address} ${place.zone}`],
      })),
      nowMs,
    );
    return told();
  };
  const told = (): string[] =>
    changes
      .splice(0)
      .map((change) => ('record' in change ? `full ${change.record.id}` : `free ${change.id}`))
      .sort();
  const events = (): string[] =>
    ground.reports.splice(0).flatMap((each) => (each.type === 'event' ? [`${each.level}: ${each.text}`] : []));
  return { ground, limits, counted, told, events };
}

const SAID =
  'floating address 203.0.113.1 has as many connections here as it may have at a time (10): new ones are refused until others end';

test('an address is full from its limit on, and is not when it has fewer', () => {
  const { limits, counted } = setup(floating('f1', A, 10), floating('f2', B), floating('f3', AWAY, 1));
  assert.deepEqual(
    [...limits.places()].map(({ owner, zone, address }) => [owner, zone, address]),
    [['r', ROUTER_ZONE, '203.0.113.1']],
    'nothing else is counted: no limit, or another host',
  );
  assert.deepEqual(counted({ '203.0.113.1': 9 }), []);
  assert.deepEqual(counted({ '203.0.113.1': 10 }), ['full f1']);
  assert.deepEqual(limits.full, ['f1']);
  assert.deepEqual(counted({ '203.0.113.1': 12 }), []);
  assert.deepEqual(counted({ '203.0.113.1': 9 }), ['free f1']);
  assert.deepEqual(limits.full, []);
});

test('people hear once of an address that comes and goes at its limit, and when it is quiet', () => {
  const { limits, counted, events } = setup(floating('f1', A, 10));
  for (const [n, count] of [10, 9, 10, 9].entries()) counted({ '203.0.113.1': count }, n * 5_000);
  assert.deepEqual(events(), [`warning: ${SAID}`]);
  counted({ '203.0.113.1': 9 }, 69_999);
  assert.deepEqual([...limits.problems()], [SAID]);
  counted({ '203.0.113.1': 9 }, 70_000);
  assert.deepEqual([...limits.problems()], []);
  assert.deepEqual(events(), ['info: floating address 203.0.113.1 has fewer connections than it may have']);
});

test('of a load balancer those of all members here count, of a router and a tenant those of all their addresses', () => {
  const { ground, limits, counted, told } = setup(floating('f1', A), balancer(10));
  assert.deepEqual(
    [...limits.places()].map(({ zone, except }) => [zone, except]),
    [
      [5, ['10.0.0.1']],
      [9, ['10.0.0.2']],
    ],
  );
  assert.deepEqual(counted({ '203.0.113.80 5': 4, '203.0.113.80 9': 6 }), ['full lb']);
  ground.put(router(12));
  assert.deepEqual(counted({ '203.0.113.80 5': 4, '203.0.113.80 9': 5, '203.0.113.1': 3 }), ['full f1']);
  ground.put(router(), { kind: 'tenant', id: 't', name: 'shop', inboundLimit: { connections: 12 } });
  assert.deepEqual(counted({ '203.0.113.80 5': 4, '203.0.113.80 9': 4, '203.0.113.1': 3 }), ['free f1', 'free lb']);
  assert.deepEqual(told(), []);
});

test('load balancers that share their address are full together, and what a member of both has counts once', () => {
  const ssh = { ...balancer(10), id: 'lb2', name: 'ssh', members: [{ port: B }] };
  const { ground, limits, counted, events } = setup(balancer(10), ssh);
  const [below, above] = [
    { '203.0.113.80 5': 4, '203.0.113.80 9': 5 },
    { '203.0.113.80 5': 4, '203.0.113.80 9': 6 },
  ];
  assert.deepEqual(counted(below), []);
  assert.deepEqual(counted(above), ['full lb', 'full lb2']);
  assert.deepEqual(limits.full, ['lb', 'lb2']);
  assert.equal(events().length, 1, 'said once');
  assert.deepEqual(counted(below), ['free lb', 'free lb2']);
  ground.put(router(10));
  assert.deepEqual(counted(below), []);
  assert.deepEqual(counted(above), ['full lb', 'full lb2']);
});

test('where the zone is too full to be read all connections of its port count, as many as its zone has', () => {
  const { limits, counted } = setup(floating('f1', A, 100), floating('f2', B, 100));
  limits.used([
    { zone: ROUTER_ZONE, limit: 100_000, connections: 40_000 },
    { zone: 4, limit: 50_000, connections: 39_950 },
    { zone: 8, limit: 50_000, connections: 50 },
  ]);
  assert.deepEqual(counted({ '203.0.113.1': undefined, '203.0.113.2': undefined }), ['full f1']);
  assert.deepEqual(counted({ '203.0.113.1': 99, '203.0.113.2': 0 }), ['free f1']);
});

test('where nothing at all is known it stays as it was', () => {
  const { counted } = setup(floating('f1', A, 10));
  assert.deepEqual(counted({ '203.0.113.1': undefined }), []);
  assert.deepEqual(counted({ '203.0.113.1': 10 }), ['full f1']);
  assert.deepEqual(counted({ '203.0.113.1': undefined }), []);
});

test('a limit that is raised or taken away holds at once', () => {
  const { ground, limits, counted, told } = setup(floating('f1', A, 10));
  assert.deepEqual(counted({ '203.0.113.1': 10 }), ['full f1']);
  const record = floating('f1', A, 11);
  ground.put(record);
  limits.scopeChanged([{ op: 'put', record: record as never }], 1);
  assert.deepEqual(told(), ['free f1']);
  assert.deepEqual(counted({ '203.0.113.1': 11 }), ['full f1']);
  ground.put(floating('f1', A));
  limits.scopeChanged([{ op: 'put', record: floating('f1', A) as never }], 2);
  assert.deepEqual(told(), ['free f1']);
});
