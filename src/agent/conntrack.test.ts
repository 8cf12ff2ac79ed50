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

const scopeOf = (...records: unknown[]): Scope => {
  const scope = new Scope();
  scope.apply((records as ScopeRecord[]).map((record) => ({ op: 'put', record })));
  return scope;
};
const router = (id: string, snat: unknown[] = []): unknown => ({ kind: 'router', id, snat });

test('routers that translate have zones, kept by the bridge; others have none', () => {
  const tracking = new ConntrackZones();
  tracking.adopt(new Map([['r2', 4], ['gone', 8]])); // biome-ignore format: a table
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
    { kind: 'keepNatZones', put: new Map([['r1', 12]]), gone: ['gone'] },
  ]);
  assert.deepEqual(tracking.scopeChanged(scope, []), { flows: [], effects: [] });
});
