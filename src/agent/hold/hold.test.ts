import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ipv4, parseIp } from '../../base/addresses.ts';
import type { CompilerChange } from '../../compile/compiler.ts';
import { PACKET_IN } from '../../compile/tables.ts';
import type { Match } from '../../openflow/flow.ts';
import { ConntrackZones } from '../conntrack.ts';
import type { Effect, PacketIn } from '../events.ts';
import { NO_REGISTERS } from '../registers.ts';
import { testGround } from '../testing/test-ground.ts';
import { entryOfReply } from './first-reply.ts';
import { Hold } from './hold.ts';

const PORT = 'vlan';
const ZONE = { port: 4, router: 8 } as const;
const RECORDS: readonly unknown[] = [
  { kind: 'host', id: 'h1', name: 'h1', tunnelAddress: '192.0.2.1' },
  { kind: 'host', id: 'h2', name: 'h2', tunnelAddress: '192.0.2.2' },
  { kind: 'port', id: PORT, key: 7, switch: 's', addresses: ['10.0.2.100'], groups: [] },
  {
    ...{ kind: 'l2Gateway', id: 'gw', name: 'metal', port: PORT, secret: 'a secret of sixteen bytes', adminUp: true },
    places: ['h1', 'h2'].map((host) => ({ host, interface: 'eth1' })),
  },
  { kind: 'router', id: 'r', key: 9, snat: [{ from: '10.0.0.0/8', to: '203.0.113.1' }] },
  { kind: 'floatingAddress', id: 'f', router: 'r', port: PORT, address: '203.0.113.12', adminUp: true },
  {
    ...{ kind: 'loadBalancer', id: 'b', router: 'r', address: '203.0.113.80', members: [{ port: PORT }] },
    listeners: [{ protocol: 'tcp', port: 80, memberPort: 8080 }],
  },
  {
    ...{ kind: 'natLease', id: 'r/203.0.113.1/vlan', router: 'r', address: '203.0.113.1', host: 'h1', port: PORT },
    blocks: [{ first: 2048, size: 512 }],
  },
];
const binding = (active: string): unknown => ({ kind: 'binding', id: PORT, switch: 's', claims: [], active });

/** As a packet-in tells of the connection that the packet is of. */
function metadata(zone: number, from: string, srcPort: number, to: string, dstPort: number, mark = 0): Match {
  const ip = (text: string): Ipv4 => parseIp(text)!.value as Ipv4;
  return {
    ...{ ct_zone: zone, ct_mark: mark, ct_nw_proto: 6, ct_nw_src: ip(from), ct_nw_dst: ip(to) },
    ...{ ct_tp_src: srcPort, ct_tp_dst: dstPort },
  };
}

function trial(active = 'h1') {
  const ground = testGround([...RECORDS, binding(active)]);
  const zones = new ConntrackZones();
  zones.zones.adopt(PORT, ZONE.port);
  zones.zones.adopt('r', ZONE.router);
  const compiled: CompilerChange[] = [];
  ground.compile = (changes) => {
    compiled.push(...changes);
    return [];
  };
  const hold = new Hold(ground, zones);
  const change = (record: unknown, nowMs = 0): Effect[] => {
    ground.put(record);
    return hold.scopeChanged([{ op: 'put', record: record as never }], nowMs);
  };
  const begun = hold.scopeChanged([{ op: 'put', record: { kind: 'l2Gateway', id: 'gw' } }], 0);
  /** What the flows were told of waiting since the last call. */
  const held = (): (boolean | undefined)[] =>
    compiled
      .splice(0)
      .map((each) => ('record' in each && 'isPaused' in each.record ? each.record.isPaused : undefined));
  return { ground, hold, zones, change, begun, held };
}

const reply = (match: Match): PacketIn => ({
  ...NO_REGISTERS,
  ...{ class: PACKET_IN.firstReply, cookie: 0n, inPort: 1, frame: new Uint8Array() },
  paused: { frame: new Uint8Array(), match, continuation: new Uint8Array() },
});

test('a first reply tells how its connection began, and the model what it was translated to', () => {
  const { ground, zones } = trial();
  const reversed = (match: Match): string => {
    const entry = entryOfReply(match, ground.scope, zones.zones);
    return entry
      ? `${entry.kind} of ${entry.owner}: ${entry.reply.from.address}:${entry.reply.from.port} > ${entry.reply.to.address}:${entry.reply.to.port}`
      : 'nothing';
  };
  const OUT = ['10.0.2.101', 5000, '198.51.100.1', 80] as const;
  assert.equal(reversed(metadata(ZONE.port, ...OUT, 4)), 'own of vlan: 198.51.100.1:80 > 10.0.2.101:5000');
  assert.equal(reversed(metadata(ZONE.router, ...OUT, 2050 * 65_536)), 'own of r: 198.51.100.1:80 > 203.0.113.1:2050');
  assert.equal(
    reversed(metadata(ZONE.router, '10.0.2.100', 5000, '198.51.100.1', 80, 5000 * 65_536)),
    'own of r: 198.51.100.1:80 > 203.0.113.12:5000',
  );
  assert.equal(
    reversed(metadata(ZONE.router, '198.51.100.1', 6000, '203.0.113.12', 22)),
    'own of r: 10.0.2.100:22 > 198.51.100.1:6000',
  );
  assert.equal(
    reversed(metadata(ZONE.port + 1, '198.51.100.1', 6000, '203.0.113.80', 80)),
    'vip of vlan: 10.0.2.100:8080 > 198.51.100.1:6000',
  );
  ground.put({
    ...{ kind: 'loadBalancer', id: 'b', router: 'r', address: '203.0.113.80', members: [{ port: PORT }] },
    listeners: [{ protocol: 'tcp', port: '80-89', memberPort: '8080-8089' }],
  });
  assert.equal(
    reversed(metadata(ZONE.port + 1, '198.51.100.1', 6000, '203.0.113.80', 83)),
    'vip of vlan: 10.0.2.100:8083 > 198.51.100.1:6000',
  );
  ground.put({
    ...{ kind: 'floatingAddress', id: 'f', router: 'r', port: PORT, address: '203.0.113.12' },
    adminUp: false,
  });
  assert.equal(
    reversed(metadata(ZONE.router, '10.0.2.100', 5000, '198.51.100.1', 80, 2050 * 65_536)),
    'own of r: 198.51.100.1:80 > 203.0.113.1:2050',
    'a floating address that is down translates nothing',
  );
  for (const strange of [
    metadata(ZONE.router, '198.51.100.1', 6000, '203.0.113.12', 22),
    metadata(ZONE.port + 2, ...OUT),
    metadata(400, ...OUT),
    metadata(ZONE.router, ...OUT),
    metadata(ZONE.port + 1, '198.51.100.1', 6000, '203.0.113.81', 80),
    {},
  ])
    assert.equal(reversed(strange), 'nothing');
});

test('replies wait while a place is told, and not while there are too many', () => {
  const { hold, begun, held } = trial();
  assert.deepEqual(
    begun.map(({ kind }) => kind),
    ['copyRoles', 'keepPausing'],
  );
  assert.deepEqual(held(), [false]);
  hold.told({ kind: 'copies', port: PORT, host: 'h2', problem: undefined }, 0);
  assert.deepEqual(held(), [true]);
  const packet = reply(metadata(ZONE.port, '10.0.2.101', 5000, '198.51.100.1', 80, 4));
  for (let n = 0; n < 500; n++)
    assert.deepEqual(
      hold.firstReply(packet, 1_000).map(({ kind }) => kind),
      ['copyConnection'],
    );
  assert.deepEqual(held(), []);
  assert.deepEqual(
    hold.firstReply(packet, 1_000).map(({ kind }) => kind),
    ['copyConnection', 'keepPausing', 'wake'],
  );
  assert.deepEqual(held(), [false]);
  hold.wake(1_500);
  assert.deepEqual(held(), []);
  hold.wake(2_000);
  assert.deepEqual(held(), [true]);
  hold.told({ kind: 'copies', port: PORT, host: 'h2', problem: 'it is silent' }, 2_500);
  assert.deepEqual(held(), [false]);
  // What is none of ours goes on.
  assert.deepEqual(
    hold.firstReply(reply({}), 3_000).map(({ kind }) => kind),
    ['resume'],
  );
});

test('a place that is not told for five seconds is said, once, and that it is again', () => {
  const { ground, hold } = trial();
  hold.told({ kind: 'copies', port: PORT, host: 'h2', problem: 'it does not answer' }, 0);
  hold.tick(4_000);
  assert.equal(ground.problems.size, 0);
  hold.tick(5_000);
  hold.tick(6_000);
  const said =
    'connections of L2 gateway metal are not copied to h2: it does not answer; those that began since are lost if this host fails';
  assert.deepEqual([...ground.problems.values()], [said]);
  hold.told({ kind: 'copies', port: PORT, host: 'h2', problem: undefined }, 7_000);
  assert.equal(ground.problems.size, 0);
  assert.deepEqual(
    ground.reports.map((report) => report.type === 'event' && report.text),
    [said, 'connections of L2 gateway metal are copied to h2 again'],
  );
});

test('connections that cannot be read, or are too many, are said while it is so', () => {
  const { ground, hold, change } = trial();
  const read = (atMs: number, problem?: string, isFull = false): readonly string[] => {
    hold.read({ kind: 'copiesRead', port: PORT, problem, isFull }, atMs);
    hold.tick(atMs);
    return [...ground.problems.values()];
  };
  assert.deepEqual(read(0, 'no answer'), []);
  assert.deepEqual(read(5_000), []);
  assert.deepEqual(read(10_000, 'no answer'), [], 'it was read in between');
  const story = 'connections of L2 gateway metal are not all copied';
  const unread = 'those that were not copied as they began cannot be read (20000 in a zone)';
  assert.deepEqual(read(15_000, '20000 in a zone'), [`${story}: ${unread}; these are lost if this host fails`]);
  const full = 'of more than 100000 the oldest are copied no more';
  assert.deepEqual(read(20_000, '20000 in a zone', true), [
    `${story}: ${unread}; ${full}; these are lost if this host fails`,
  ]);
  assert.deepEqual(read(25_000, undefined, true), [`${story}: ${full}; these are lost if this host fails`]);
  change(binding('h2'));
  assert.deepEqual([...ground.problems.values()], []);
  assert.deepEqual(read(30_000, undefined, true), []);
});

test('where a gateway becomes active its connections come before its flows; where it was they are not told any more', () => {
  const { change, held } = trial('h2');
  assert.deepEqual(held(), []);
  assert.deepEqual(
    change(binding('h1')).map(({ kind }) => kind),
    ['copyRoles', 'takeOver', 'keepPausing'],
  );
  assert.deepEqual(held(), [false]);
  const [roles, ...more] = change(binding('h2'));
  assert.ok(roles?.kind === 'copyRoles' && !roles.roles[0]!.isActive && more.length === 0);
  assert.deepEqual(held(), [undefined]);
});
