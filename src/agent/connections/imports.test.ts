import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVERY_PORT } from '../../compile/inputs.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import { ConntrackZones } from '../conntrack.ts';
import type { Effect } from '../events.ts';
import { portId, type TestGround, testGround } from '../testing/test-ground.ts';
import { Imports } from './imports.ts';

const P = portId(1);
const Q = portId(2);
const binding = (active: string | undefined, ...claims: string[]) => ({
  ...{ kind: 'binding', id: P, switch: 's', claims: claims.map((host) => ({ host })) },
  ...(active === undefined ? {} : { active }),
});
const snatted = (sourcePort: number, outsidePort: number): ConnectionEntry => ({
  ...{ owner: 'r', kind: 'own', protocol: 'tcp', state: 'established' },
  original: { from: { address: '10.0.1.11', port: sourcePort }, to: { address: '198.51.100.7', port: 80 } },
  reply: { from: { address: '198.51.100.7', port: 80 }, to: { address: '203.0.113.2', port: outsidePort } },
});
const filtered = (sourcePort: number, state = 'established'): ConnectionEntry => ({
  ...{ owner: P, kind: 'own', protocol: 'tcp', state, mark: 4 },
  original: { from: { address: '10.0.1.11', port: sourcePort }, to: { address: '198.51.100.7', port: 80 } },
  reply: { from: { address: '198.51.100.7', port: 80 }, to: { address: '10.0.1.11', port: sourcePort } },
});

interface Rig {
  readonly ground: TestGround;
  readonly imports: Imports;
  /** Inputs of flows that were put and taken away, as `+importing P`. */
  readonly compiled: string[];
}

/** Port P is here, on host h1, and at h2 so far; a router behind its switch translates. */
function rig(): Rig {
  const ground = testGround(
    [
      { kind: 'port', id: P, switch: 's', groups: [], addresses: ['10.0.1.11'] },
      { kind: 'routerPort', id: 'in', router: 'r', switch: 's' },
      { kind: 'router', id: 'r', snat: [{ from: '10.0.0.0/8', to: '203.0.113.2' }] },
      { kind: 'natLease', id: 'r/203.0.113.2/h1', blocks: [{ first: 1536, size: 512 }] },
    ],
    [P],
  );
  const zones = new ConntrackZones();
  zones.zones.adopt(P, 8);
  zones.zones.adopt('r', 12);
  const compiled: string[] = [];
  const noting = Object.assign(Object.create(ground) as TestGround, {
    compile: (changes: readonly { op: string; id?: string; record?: { id: string } }[]): Effect[] => {
      for (const { op, id, record } of changes) compiled.push(`${op === 'put' ? '+' : '-'}${record?.id ?? id}`);
      return [];
    },
  });
  return { ground, imports: new Imports(noting, zones), compiled };
}

const changed = (record: ReturnType<typeof binding>) => [{ op: 'put', record: record as never }] as const;
const kinds = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);

test('a second claim brings what there is, again and again only what is new, and takes back what has ended', () => {
  const { ground, imports, compiled } = rig();
  ground.put(binding('h2', 'h2', 'h1'));
  assert.deepEqual(imports.scopeChanged(changed(binding('h2')), 0), [{ kind: 'askConnections', port: P, from: 'h2' }]);
  assert.deepEqual(compiled, [`+${P}`]);
  const told = (entries: readonly ConnectionEntry[], nowMs: number): Effect[] =>
    imports.told({ kind: 'portConnections', port: P, entries }, nowMs);
  assert.deepEqual(told([filtered(5000), snatted(5000, 1030)], 10), [
    {
      kind: 'recreate',
      make: [
        // What lets a packet through comes last.
        { entry: snatted(5000, 1030), zone: 12 },
        { entry: filtered(5000), zone: 8 },
      ],
      end: [],
    },
  ]);
  // Only those outside of this host's own block of ports have to be led here.
  const move = { type: 'natMove', port: P, router: 'r', address: '203.0.113.2' } as const;
  assert.deepEqual(ground.reports.splice(0), [{ ...move, connections: ['tcp/1030/198.51.100.7/80'] }]);
  assert.deepEqual(imports.reports(), [{ ...move, connections: ['tcp/1030/198.51.100.7/80'] }], 'for a new server');
  assert.deepEqual(imports.tick(1000), []);
  assert.deepEqual(kinds(imports.tick(2000)), ['askConnections']);
  const again = told([filtered(5000), filtered(5001), snatted(5001, 1600)], 2010);
  assert.deepEqual(again, [
    {
      kind: 'recreate',
      make: [
        { entry: snatted(5001, 1600), zone: 12 },
        { entry: filtered(5001), zone: 8 },
      ],
      end: [{ entry: snatted(5000, 1030), zone: 12 }],
    },
  ]);
  assert.deepEqual(ground.reports.splice(0), [{ ...move, connections: [] }]);
});

test('behind the announcement it asks once more, and lets connections begin when the last is here', () => {
  const { ground, imports, compiled } = rig();
  ground.put(binding('h2', 'h2', 'h1'));
  imports.scopeChanged(changed(binding('h2')), 0);
  // It moves while an answer is on its way: that one may be too old.
  ground.put(binding('h1', 'h2', 'h1'));
  assert.deepEqual(kinds(imports.announced(100)), ['wake']);
  const first = imports.told({ kind: 'portConnections', port: P, entries: [filtered(1)] }, 120);
  assert.deepEqual(kinds(first), ['recreate', 'askConnections']);
  assert.ok(first[0]?.kind === 'recreate' && first[0].port === undefined);
  const last = imports.told({ kind: 'portConnections', port: P, entries: [filtered(1)] }, 150);
  assert.deepEqual(last, [{ kind: 'recreate', make: [], end: [], port: P }]);
  assert.deepEqual(compiled, [`+${P}`]);
  imports.recreated(P);
  assert.deepEqual(compiled, [`+${P}`, `-${P}`]);
});

test('the last word of a move is kept for a new server until its record says so', () => {
  const { ground, imports } = rig();
  ground.put(binding('h1', 'h1'));
  const move = { type: 'natMove', port: P, router: 'r', address: '203.0.113.2' } as const;
  const all = { ...move, connections: ['tcp/1030/198.51.100.7/80'] };
  ground.put(binding('h2', 'h2', 'h1'));
  imports.scopeChanged(changed(binding('h2')), 0);
  ground.put(binding('h1', 'h2', 'h1'));
  imports.scopeChanged(changed(binding('h1')), 100);
  imports.told({ kind: 'portConnections', port: P, entries: [filtered(1), snatted(1, 1030)] }, 120);
  imports.recreated(P);
  assert.deepEqual(imports.reports(), [all], 'the move is over, and nobody knows whether the server heard');
  const { type: _, ...fields } = all;
  const record = { kind: 'natMove', id: `r/203.0.113.2/${P}`, revision: 1, host: 'h1', ...fields };
  ground.put(record);
  imports.scopeChanged([{ op: 'put', record: record as never }], 200);
  assert.deepEqual(imports.reports(), []);
});

test('what the flow database knew adds to what was there, and ends nothing', () => {
  const { ground, imports } = rig();
  ground.put(binding('h2', 'h2', 'h1'));
  imports.scopeChanged(changed(binding('h2')), 0);
  imports.told({ kind: 'portConnections', port: P, entries: [filtered(1), snatted(1, 1030)] }, 10);
  imports.tick(2000);
  const older = [filtered(2), snatted(2, 1031)];
  const [effect] = imports.told({ kind: 'portConnections', port: P, entries: older, isOld: true }, 2010);
  assert.ok(effect?.kind === 'recreate');
  assert.deepEqual([effect.make.map(({ entry }) => entry), effect.end], [older.toReversed(), []]);
  assert.deepEqual(
    ground.reports.map((report) => report.type === 'natMove' && report.connections),
    [['tcp/1030/198.51.100.7/80'], ['tcp/1030/198.51.100.7/80', 'tcp/1031/198.51.100.7/80']],
  );
});

test('nobody waits for a host or a server that is away', () => {
  const { ground, imports, compiled } = rig();
  ground.put(binding('h2', 'h2', 'h1'));
  imports.scopeChanged(changed(binding('h2')), 0);
  assert.deepEqual(imports.told({ kind: 'portConnections', port: P }, 10), []);
  ground.put(binding('h1', 'h2', 'h1'));
  assert.deepEqual(kinds(imports.scopeChanged(changed(binding('h1')), 20)), ['askConnections', 'wake']);
  imports.told({ kind: 'portConnections', port: P }, 30);
  assert.deepEqual(compiled.splice(0), [`+${P}`, `-${P}`]);

  ground.put(binding('h2', 'h2', 'h1'));
  imports.scopeChanged(changed(binding('h2')), 5000);
  ground.put(binding('h1', 'h2', 'h1'));
  imports.scopeChanged(changed(binding('h1')), 6000);
  assert.deepEqual(imports.tick(6500), []);
  assert.deepEqual(kinds(imports.tick(7000)), ['log'], 'an answer that does not come');
  assert.deepEqual(compiled, [`+${P}`, `-${P}`]);
});

test('a workload that leaves is not fetched back at once, and one that nothing tracks not at all', () => {
  const { ground, imports } = rig();
  ground.put(binding('h1', 'h1'));
  imports.scopeChanged(changed(binding('h1')), 0);
  ground.put(binding('h2', 'h2', 'h1'));
  assert.deepEqual(imports.scopeChanged(changed(binding('h2')), 10), []);
  assert.deepEqual(kinds(imports.tick(2100)), ['askConnections']);

  const plain = testGround(
    [
      { kind: 'port', id: Q, switch: 's', groups: [], addresses: [] },
      { ...binding('h2', 'h2', 'h1'), id: Q },
    ],
    [Q],
  );
  const none = new Imports(plain, new ConntrackZones());
  assert.deepEqual(none.portsChanged([Q], 0), []);
  // Tracked, but at two places for good.
  plain.put(
    { kind: 'port', id: Q, switch: 's', groups: ['web'], addresses: [] },
    { kind: 'l2Gateway', id: 'g', port: Q },
  );
  assert.deepEqual(none.portsChanged([Q], 0), []);
});

test('a second claim that stays is asked for less and less', () => {
  const { ground, imports } = rig();
  ground.put(binding('h2', 'h2', 'h1'));
  imports.scopeChanged(changed(binding('h2')), 0);
  let asked = 0;
  for (let nowMs = 1000; nowMs <= 600_000; nowMs += 1000) {
    imports.told({ kind: 'portConnections', port: P, entries: [] }, nowMs);
    asked += imports.tick(nowMs).length;
  }
  assert.ok(asked > 50 && asked < 80, `${asked} times in ten minutes`);
});

test('when the switch returns nothing begins before all is there again', () => {
  const { imports, compiled } = rig();
  assert.deepEqual(kinds(imports.switchReturned()), ['restoreConnections']);
  assert.ok(imports.isRestoring);
  imports.restored(false);
  assert.ok(!imports.isRestoring);
  assert.deepEqual(compiled, [`+${EVERY_PORT}`]);
  imports.restored(true);
  assert.deepEqual(compiled, [`+${EVERY_PORT}`, `-${EVERY_PORT}`]);
});
