import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EAST, WEST } from './dump.fixture.ts';
import { parseDump } from './dump.ts';
import { EAST_ZONES, fixtureScope, OTHER_ROUTER, PORT, ROUTER, WEST_ZONES, zonesOf } from './network.fixture.ts';
import { allZones, entriesOfPort, zoneOfEntry, zonesOfPort } from './of-port.ts';

const scope = fixtureScope();

test('what a port has is in its zones and in those of its routers, and nothing of others is', async () => {
  const zones = zonesOf({ ...EAST_ZONES, [OTHER_ROUTER]: 16 });
  const of = async (port: string, text: string, known = zones): Promise<string[]> => {
    const where = zonesOfPort(scope, (owner) => known.of(owner), port)!;
    const entries = entriesOfPort(where, await parseDump(text));
    return entries.map(({ owner, kind, protocol, original, reply }) =>
      [owner === port ? kind : owner, protocol, `${original.from.port} > ${original.to.port}`, reply.to.port].join(' '),
    );
  };
  // Without those that are over.
  assert.deepEqual(await of(PORT.a2, EAST), [
    ...['own tcp 55122 > 80 55122', 'own udp 46786 > 53 46786', 'own icmp undefined > undefined '],
    ...['own tcp 52960 > 80 52960', 'own tcp 39922 > 8080 39922', 'vip tcp 39922 > 80 39922'],
    ...[`${ROUTER} udp 46786 > 53 1138`, `${ROUTER} tcp 55122 > 80 1167`, `${ROUTER} tcp 52960 > 80 1386`],
    `${ROUTER} icmp undefined > undefined `,
  ]);
  assert.deepEqual(await of(PORT.a1, EAST), ['own tcp 52278 > 80 52278', `${ROUTER} tcp 52278 > 80 52278`]);
  assert.deepEqual(await of(PORT.b1, WEST, zonesOf(WEST_ZONES)), [
    ...['own tcp 51838 > 8080 51838', 'own tcp 39922 > 8080 39922', 'vip tcp 51838 > 80 51838'],
  ]);
});

test('only the zones that matter are read', () => {
  const known = zonesOf({ ...EAST_ZONES, [OTHER_ROUTER]: 16 });
  const zones = zonesOfPort(scope, (owner) => known.of(owner), PORT.a2)!;
  assert.deepEqual(allZones(zones), [12, 13, 14, 8], 'not the router of somebody else on the shared switch');
  assert.equal(
    zonesOfPort(scope, () => undefined, PORT.a2),
    undefined,
  );
});

test('what others tell of a port is made in its zones and in those of its routers, whatever owner they name', async () => {
  const known = zonesOf({ ...EAST_ZONES, [OTHER_ROUTER]: 16 });
  const zones = zonesOfPort(scope, (owner) => known.of(owner), PORT.a2)!;
  const [entry] = entriesOfPort(zones, await parseDump(EAST));
  const zoneOf = (owner: string, kind: 'own' | 'vip' = 'own'): number | undefined =>
    zoneOfEntry(zones, { ...entry!, owner, kind });
  assert.deepEqual([zoneOf(PORT.a2), zoneOf(PORT.a2, 'vip'), zoneOf(ROUTER)], [12, 13, 8]);
  assert.deepEqual([zoneOf(PORT.a1), zoneOf(OTHER_ROUTER), zoneOf(ROUTER, 'vip')], [undefined, undefined, undefined]);
});
