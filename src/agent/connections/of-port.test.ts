import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ManualClock } from '../../base/clock.ts';
import type { WeftError } from '../../base/errors.ts';
import { EAST, WEST } from './dump.fixture.ts';
import { parseDump } from './dump.ts';
import { EAST_ZONES, fixtureScope, OTHER_ROUTER, PORT, ROUTER, WEST_ZONES, zonesOf } from './network.fixture.ts';
import { allZones, entriesOfPort, PortReader, zoneOfEntry, zonesOfPort } from './of-port.ts';

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

/** Two ports of one router, and what is dumped: which zones, in order. A dump takes so long, and waits where it is held back. */
function reading(ms: number, holdsBack = false) {
  const clock = new ManualClock();
  const known = zonesOf(EAST_ZONES);
  const dumped: string[] = [];
  let release = (): void => {};
  const reader = new PortReader({
    ...{ scope, zoneOf: (owner) => known.of(owner), clock },
    dumpZones: async (zones) => {
      dumped.push(zones.join());
      if (holdsBack) await new Promise<void>((resolve) => (release = resolve));
      clock.advance(ms);
      return EAST.split('\n')
        .filter((line) => zones.some((zone) => line.includes(`,zone=${zone},`)))
        .join('\n');
    },
  });
  const turn = async (): Promise<void> => {
    for (let n = 0; n < 10; n++) await nextTurn();
  };
  const goOn = async (): Promise<void> => {
    release();
    await turn();
  };
  return { clock, reader, dumped, turn, goOn };
}
const A1 = '4,5,6,8';
const OWN_A1 = '4,5,6';
const A2 = '12,13,14,8';
const OWN_A2 = '12,13,14';

test('one port is read at a time; asks for it join while it waits, and what is asked for now comes before all others', async () => {
  const { reader, dumped, turn, goOn } = reading(5, true);
  const asks = [
    ...[reader.read(PORT.a1), reader.read(PORT.a2, { urgency: 'ahead' }), reader.read(PORT.a2, { urgency: 'ahead' })],
    ...[reader.read(PORT.b1).catch((error: WeftError) => error.code), reader.read(PORT.a1)],
    reader.read(PORT.a2, { urgency: 'now' }),
  ];
  await turn();
  assert.deepEqual(dumped, [A1]);
  await goOn();
  assert.deepEqual(dumped, [A1, A2]);
  for (let n = 0; n < 3; n++) await goOn();
  assert.deepEqual(
    dumped,
    [A1, A2, OWN_A1],
    'what the router had is new enough, what began before it was asked for is not',
  );
  const [first, ahead, joined, unknown, again, now] = await Promise.all(asks);
  assert.deepEqual([first, ahead, joined], [again, now, now]);
  assert.equal(unknown, 'not-found');
});

test('ahead of moves readings take a twentieth of the time, and those that wait share what their router has', async () => {
  const { clock, reader, dumped, turn } = reading(20);
  const ahead = (port: string): Promise<unknown> =>
    reader.read(port, { urgency: 'ahead' }).catch((error: WeftError) => error.code);
  const first = await ahead(PORT.a1);
  // 400 ms from then on.
  const both = [ahead(PORT.a1), ahead(PORT.a2)];
  clock.advance(399);
  await turn();
  assert.deepEqual(dumped.splice(0), [A1]);
  clock.advance(1);
  await Promise.all(both);
  assert.deepEqual(dumped.splice(0), [A1, OWN_A2]);
  assert.deepEqual(await Promise.all(both), [first, await reader.read(PORT.a2)], 'as if read alone');
  assert.deepEqual(dumped.splice(0), [A2]);
  // Two readings took 40 ms: 800 ms from then on, of which the third took 20.
  const later = [ahead(PORT.a2), ahead(PORT.a2)];
  clock.advance(779);
  await turn();
  assert.deepEqual(dumped, []);
  clock.advance(1);
  await Promise.all(later);
  assert.deepEqual(dumped, [A2], 'once for both, and not what was read before they asked');
});

test('who asks ahead of a move is told to ask again after a second; a move reads at once, and all', async () => {
  const { clock, reader, dumped, turn } = reading(90);
  await reader.read(PORT.a1, { urgency: 'ahead' });
  const late = reader.read(PORT.a2, { urgency: 'ahead' }).catch((error: WeftError) => error.code);
  const moved = reader.read(PORT.a1, { urgency: 'ahead' });
  await reader.read(PORT.a1, { urgency: 'now' });
  await moved;
  assert.deepEqual(dumped.splice(0), [A1, A1], 'and whoever asked ahead has it too');
  clock.advance(1_000);
  assert.equal(await late, 'busy');
  clock.advance(1_000);
  await turn();
  assert.deepEqual(dumped, [], 'nobody waits for it');
});

test('workloads that move together have what their router has read once, after the last of them asked', async () => {
  const { reader, dumped, turn, goOn } = reading(5, true);
  const first = reader.read(PORT.a1, { urgency: 'now' });
  const both = [PORT.a2, PORT.a1].map((port) => reader.read(port, { urgency: 'now' }));
  await turn();
  for (let n = 0; n < 3; n++) await goOn();
  await Promise.all([first, ...both]);
  assert.deepEqual(dumped, [A1, A2, OWN_A1]);
});

test('what was asked for and given up is not read', async () => {
  const { reader, dumped, turn, goOn } = reading(5, true);
  const gone = new AbortController();
  const first = reader.read(PORT.a1, { signal: gone.signal }).catch((error: WeftError) => error.code);
  const second = reader.read(PORT.a2, { signal: gone.signal }).catch((error: WeftError) => error.code);
  await turn();
  gone.abort();
  assert.deepEqual([await first, await second], ['aborted', 'aborted']);
  await assert.rejects(reader.read(PORT.a2, { signal: gone.signal }), { code: 'aborted' });
  await goOn();
  assert.deepEqual(dumped, [A1]);
});
