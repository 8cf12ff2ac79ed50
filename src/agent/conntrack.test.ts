import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ScopeRecord } from '../model/objects.ts';
import { ConntrackZones } from './conntrack.ts';
import type { LocalInterface } from './events.ts';
import { Scope } from './scope.ts';
import type { KeptZone } from './zones.ts';

const tap = (port: string, zone?: KeptZone): readonly [string, LocalInterface] => [
  port,
  { uuid: `u-${port}`, name: port, ofport: 1, markedInstalled: false, ...(zone && { zone }) },
];
const flushed = [
  { kind: 'flushZones', zones: [4, 5, 6, 7] },
  { kind: 'limitZones', zones: [4, 5], part: 8 },
];

test('a port that is plugged in gets a zone that is flushed first; one whose zone was kept has it unflushed', () => {
  const tracking = new ConntrackZones();
  assert.deepEqual(tracking.rebound([tap('a'), tap('b', { port: 'b', zone: 8 })], []), [
    { kind: 'flushZones', zones: [12, 13, 14, 15] },
    { kind: 'limitZones', zones: [8, 9, 12, 13], part: 8 },
  ]);
  assert.deepEqual(tracking.limits(), [{ kind: 'limitZones', zones: [8, 9, 12, 13], part: 8 }]);
  assert.equal(tracking.zones.of('a'), 12);
  assert.equal(tracking.zones.of('b'), 8);
  assert.deepEqual(tracking.rebound([tap('a'), tap('b')], []), []);
});

test('the zone of an interface that became another port is not that of the new one', () => {
  const tracking = new ConntrackZones();
  assert.deepEqual(tracking.rebound([tap('a', { port: 'before', zone: 40 })], []), flushed);
  assert.deepEqual(tracking.rebound([], ['a']), []);
  assert.equal(tracking.zones.of('a'), undefined);
});

test('zones that were given are flushed again until the switch has said that they are', () => {
  const tracking = new ConntrackZones();
  tracking.rebound([tap('a', { port: 'a', zone: 40 }), tap('b')], []);
  tracking.scopeChanged(scopeOf(router('r1', [{}])));
  const all = [44, 45, 46, 47, 48, 49, 50, 51];
  assert.deepEqual(tracking.flushAgain(), [{ kind: 'flushZones', zones: all }]);
  tracking.flushed([44, 45, 46, 47]);
  assert.deepEqual(tracking.flushAgain(), [{ kind: 'flushZones', zones: all.slice(4) }]);
  tracking.flushed(all);
  assert.deepEqual(tracking.flushAgain(), []);
});

test('the zone of a router is kept when it is flushed, not before: the next agent does not flush what it finds kept', () => {
  const tracking = new ConntrackZones();
  tracking.scopeChanged(scopeOf(router('r1', [{}]), router('r2', [{}])));
  assert.deepEqual(tracking.flushed([4, 5, 6, 7, 8, 9]), [
    { kind: 'keepNatZones', put: new Map([['r1', 4]]), gone: [] },
  ]);
  assert.deepEqual(tracking.flushed([4]), [], 'once');
  tracking.scopeChanged(scopeOf(router('r1', [{}])));
  assert.deepEqual(tracking.flushed([10, 11]), [], 'it is gone');
});

const scopeOf = (...records: unknown[]): Scope => {
  const scope = new Scope();
  scope.apply((records as ScopeRecord[]).map((record) => ({ op: 'put', record })));
  return scope;
};
const router = (id: string, snat: unknown[] = []): unknown => ({ kind: 'router', id, snat });

test('the zone of a router is tight while a flood could fill it before it is looked at again', () => {
  const tracking = new ConntrackZones();
  tracking.scopeChanged(scopeOf(router('r1', [{}])));
  tracking.rebound([tap('a')], []);
  const told = (limit: number, count: number, connections = count, isStrict = false): unknown[] => {
    const zones = [4, 8].map((zone) => ({ zone, limit, connections: count }));
    return tracking
      .used({ kind: 'conntrack', connections, most: 3_000_000, zones }, isStrict)
      .map((change) => ('record' in change ? change.record : change));
  };
  const zone = { kind: 'natZone', id: 'r1', zone: 4 };
  assert.deepEqual(told(0, 0), [], 'not limited yet');
  assert.deepEqual(told(1_500_000, 400_000), []);
  assert.deepEqual(told(1_500_000, 600_000), [{ ...zone, isTight: true, isStrict: false }]);
  assert.deepEqual(told(1_500_000, 400_000), [], 'it stays so for a while');
  assert.deepEqual(told(1_500_000, 200_000), [zone]);
  assert.deepEqual(
    told(1_500_000, 200_000, 2_500_000),
    [{ ...zone, isTight: true, isStrict: false }],
    'others leave no room',
  );
  told(1_500_000, 0);
  assert.deepEqual(told(100_000, 0, 0, true), [{ ...zone, isTight: true, isStrict: true }], "the kernel's datapath");
});

test('routers that translate have zones, kept by the bridge; others have none', () => {
  const tracking = new ConntrackZones();
  const adopted = tracking.adopt(new Map([['r2', 4], ['gone', 8]])); // biome-ignore format: a table
  // The switch may have been there first, and not been told of them.
  assert.deepEqual(adopted, [{ kind: 'limitZones', zones: [4, 5, 8, 9], part: 2 }]);
  const scope = scopeOf(router('r1', [{}]), router('r2'), router('r3'), {
    kind: 'floatingAddress',
    id: 'f',
    router: 'r2',
  });
  const { flows, effects } = tracking.scopeChanged(scope);
  assert.deepEqual(
    flows.map((change) =>
      'record' in change ? [change.record.id, 'zone' in change.record && change.record.zone] : [change.id],
    ),
    [['gone'], ['r1', 12], ['r2', 4]],
  );
  assert.deepEqual(effects, [
    { kind: 'flushZones', zones: [12, 13, 14, 15] },
    { kind: 'limitZones', zones: [12, 13], part: 2 },
    { kind: 'keepNatZones', put: new Map(), gone: ['gone'] },
  ]);
  assert.deepEqual(tracking.scopeChanged(scope, []), { flows: [], effects: [] });
});
