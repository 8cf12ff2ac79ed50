import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { ModelIndex } from '../model/model-index.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { learnedRecords } from '../model/packed-routes.ts';
import { LearnedRoutes, type TakenRoutes } from './learned-routes.ts';
import { LeasedRecords } from './leased-records.ts';
import type { ReportedBlock, ReportedSet } from './protocol.ts';

const MOST = 10;

/** Router `r` with a session at host `h`, and a second one that the host has nothing of. */
function trial() {
  const index = new ModelIndex();
  const records: readonly unknown[] = [
    { kind: 'host', id: 'h', name: 'h' },
    ...['r', 'other'].map((id) => ({ kind: 'router', id, name: id, snat: [], bgp: { asn: 64512, maxRoutes: MOST } })),
    { kind: 'switch', id: 's', name: 's', subnets: [], shared: false },
    { kind: 'port', id: 'p', name: 'p', switch: 's', addresses: [], groups: [], allowedPairs: [], host: 'h' },
    { kind: 'routerPort', id: 'up', name: 'up', router: 'r', switch: 's', addresses: [], outside: true },
    { kind: 'bgpPeer', id: 'b', name: 'b', router: 'r', routerPort: 'up', address: '192.0.2.9' },
  ];
  for (const record of records) index.put(record as ScopeRecord);
  return { index, routes: new LearnedRoutes(index, new LeasedRecords(index, systemClock)) };
}

const setOf = (set: number, router = 'r'): ReportedSet => ({
  ...{ router, set: `${set}` },
  via: [{ address: `192.0.2.${set % 250}`, routerPort: 'up', weight: 1 }],
});
const sets = (count: number, from = 1): ReportedSet[] => Array.from({ length: count }, (_, n) => setOf(from + n));
const idsOf = (index: ModelIndex, kind: 'learnedSet' | 'learnedRoutes'): string[] =>
  [...index.all(kind)].map(({ id }) => id);
const excessOf = ({ excess }: TakenRoutes): string[] => excess.map(({ most, of }) => `${most} ${of}`);

test('of more sets of next hops than routes can use the first are taken, and known ones still change', () => {
  const { index, routes } = trial();
  const none = { blocks: [], goneSets: [], goneBlocks: [] };
  assert.deepEqual(excessOf(routes.take('h', { ...none, sets: sets(2 * MOST) })), []);
  assert.deepEqual(excessOf(routes.take('h', { ...none, sets: sets(50, 2 * MOST) })), [
    `${2 * MOST} sets of next hops`,
  ]);
  assert.equal(idsOf(index, 'learnedSet').length, 2 * MOST);
  const ended = { ...setOf(1), ended: ['192.0.2.1'] };
  const { changes, excess } = routes.take('h', { ...none, sets: [ended] });
  assert.deepEqual([changes.length, excess.length], [1, 0]);
  routes.take('h', { ...none, sets: [], goneSets: [{ router: 'r', set: '1' }] });
  assert.deepEqual(excessOf(routes.take('h', { ...none, sets: [setOf(99)] })), []);
});

test('a list of all that never ends is no longer than what there may be', () => {
  const { index, routes } = trial();
  for (let part = 0; part < 5; part++) {
    const { strange } = routes.replace('h', [...sets(100, 100 * part), setOf(part, 'other')], [], true);
    assert.deepEqual([...strange], ['other']);
  }
  assert.equal(idsOf(index, 'learnedSet').length, 2 * MOST);
  routes.replace('h', [setOf(7)], [], false);
  assert.equal(idsOf(index, 'learnedSet').length, 2 * MOST, 'all that there are were named');
  routes.replace('h', [setOf(7)], [], false);
  assert.deepEqual(idsOf(index, 'learnedSet'), ['r/h/7']);
});

test('a block that is gone goes, also where a set has the same number', () => {
  const { index, routes } = trial();
  const packed = learnedRecords('r', 'h', [{ to: '10.1.0.0/16', via: setOf(1).via }]);
  const [block] = packed.flatMap((each) => (each.kind === 'learnedRoutes' ? [each] : [])) as ReportedBlock[];
  routes.replace('h', [setOf(12)], [{ ...block!, block: '12' }], false);
  assert.deepEqual(idsOf(index, 'learnedRoutes'), ['r/h/12']);
  routes.replace('h', [setOf(12)], [], false);
  assert.deepEqual([idsOf(index, 'learnedRoutes'), idsOf(index, 'learnedSet')], [[], ['r/h/12']]);
});
