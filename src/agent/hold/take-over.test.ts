import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, ManualClock, systemClock } from '../../base/clock.ts';
import { WeftError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import type { EntryInZone } from '../connections/recreate.ts';
import { MOST_RECREATED, Recreator } from '../connections/recreator.ts';
import type { Leftovers } from './leftovers.ts';
import { type FormerConnections, TakeOver } from './take-over.ts';

/** Packets that make an entry that is answered. */
const PER_ENTRY = 3;

function connection(n: number): ConnectionEntry {
  const [from, to] = [
    { address: '10.0.2.100', port: n },
    { address: '198.51.100.200', port: 80 },
  ];
  return {
    ...{ owner: 'p', kind: 'own', protocol: 'tcp', state: 'established', mark: 12 },
    ...{ original: { from, to }, reply: { from: to, to: from } },
  };
}

/** Everything that the switch is told, in order: the source port of a first packet, or the id of a bundle. */
function trial(
  held: Readonly<Record<string, readonly ConnectionEntry[]>>,
  isRefusing = false,
  formerOf: (told: (number | string)[]) => FormerConnections = nothingLeft,
  clock: Clock = systemClock,
  isWhole = formerOf !== nothingLeft,
) {
  const told: (number | string)[] = [];
  let packets = 0;
  const recreator = new Recreator({
    run: (some) => {
      for (const { frame } of some)
        if (packets++ % PER_ENTRY === 0) told.push(new DataView(frame.buffer, frame.byteOffset).getUint16(34));
    },
    disregardSequences: async () => {
      if (isRefusing) throw new WeftError('unreachable', 'nobody is there');
    },
    log: silentLog,
  });
  const takeOver = new TakeOver({
    held: (port) => ({ entries: held[port] ?? [], isWhole }),
    former: formerOf(told),
    zonesOf: (_, entries) => entries.map((entry) => ({ entry, zone: 4 })),
    ...{ recreator, clock, log: silentLog },
    perform: (effect) => told.push(effect.kind === 'install' ? `install ${effect.id}` : effect.kind),
  });
  const NOTHING = { add: [], remove: [] };
  const install = (id: number): void =>
    takeOver.perform({ kind: 'install', id, add: [], remove: [], ahead: NOTHING, behind: NOTHING });
  return { told, takeOver, install };
}

test('all connections of a port are in the switch before the flows that come next, in order, and others have their turn meanwhile', async () => {
  const { told, takeOver, install } = trial({ p: Array.from({ length: 2_000 }, (_, n) => connection(n)) });
  install(1);
  const done = takeOver.run('p');
  install(2);
  takeOver.perform({ kind: 'flushZones', zones: [8] });
  takeOver.perform({ kind: 'recreate', make: [], end: [] });
  let turns = 0;
  const turn = setInterval(() => turns++, 0);
  await done;
  clearInterval(turn);
  install(3);
  const connections = Array.from({ length: 2_000 }, (_, n) => n);
  assert.deepEqual(told, ['install 1', ...connections, 'install 2', 'flushZones', 'recreate', 'install 3']);
  assert.ok(turns > 2, `${turns} turns of a timer`);
});

test('flows wait for all ports that are taken over, for none that nothing was told of, and for what the switch refuses no longer', async () => {
  const { told, takeOver, install } = trial({ p: [connection(1)], q: [connection(2)] }, true);
  const both = [takeOver.run('p'), takeOver.run('q')];
  install(1);
  await Promise.all(both);
  void takeOver.run('empty');
  install(2);
  assert.deepEqual(told, [1, 2, 'install 1', 'install 2']);
});

test('flows for a switch that is gone are not put into the next one', async () => {
  const { told, takeOver, install } = trial({ p: [connection(1)] });
  const done = takeOver.run('p');
  install(1);
  takeOver.switchLost();
  install(2);
  await done;
  assert.deepEqual(told, [1, 'install 2']);
});

test('of more connections than can be made in time the newest are', async () => {
  const held = Array.from({ length: MOST_RECREATED + 5 }, (_, n) => connection(n));
  const { told, takeOver } = trial({ p: held });
  await takeOver.run('p');
  assert.equal(told.length, MOST_RECREATED);
  assert.deepEqual([told[0], told.at(-1)], [5, MOST_RECREATED + 4]);
});

const nothingLeft = (): FormerConnections => formerConnections({ inTheWay: [], others: [] }, []);

/** Says what it is asked for, but for what it fails at. */
function formerConnections(left: Leftovers | WeftError, told: (number | string)[]): FormerConnections {
  return {
    read: async (port, held) => {
      told.push(`read ${port} ${held.length}`);
      if (left instanceof WeftError) throw left;
      return left;
    },
    flush: async (entries) => {
      for (const { entry } of entries) told.push(`flush ${entry.original.from.port}`);
    },
    ownZones: () => [4, 5, 6],
  };
}
const inZone = (n: number): EntryInZone => ({ entry: connection(n), zone: 4 });

test('what a port left here and has ended since is gone before its connections are made, and before flows', async () => {
  const left = { inTheWay: [inZone(7)], others: [inZone(8)] };
  const { told, takeOver, install } = trial({ p: [connection(1)], all: [] }, false, (said) =>
    formerConnections(left, said),
  );
  const done = takeOver.run('p');
  install(1);
  await done;
  assert.deepEqual(told.splice(0), ['read p 1', 'flush 7', 'flush 8', 1, 'install 1']);
  await takeOver.run('all');
  assert.deepEqual(told.splice(0), ['read all 0', 'flush 7', 'flush 8'], 'all have ended');
});

test('where not all was told only what is in the way of others goes: the rest may go on', async () => {
  const left = { inTheWay: [inZone(7)], others: [inZone(8)] };
  const partly = (what: Leftovers | WeftError): ReturnType<typeof trial> =>
    trial({ p: [connection(1)] }, false, (said) => formerConnections(what, said), systemClock, false);
  const { told, takeOver } = partly(left);
  await takeOver.run('unknown');
  assert.deepEqual(told, [], 'nothing was told');
  await takeOver.run('p');
  assert.deepEqual(told, ['read p 1', 'flush 7', 1]);
  const unread = partly(new WeftError('full', '20000 in a zone'));
  await unread.takeOver.run('p');
  assert.deepEqual(unread.told, ['read p 1', 1]);
});

test('where it cannot be read what a port left, its own zones are emptied', async () => {
  const full = new WeftError('full', '20000 in a zone');
  const { told, takeOver } = trial({ p: [connection(1)] }, false, (said) => formerConnections(full, said));
  await takeOver.run('p');
  assert.deepEqual(told, ['read p 1', 'flushZones', 1]);
  const none = new WeftError('not-found', 'it has no zone');
  const other = trial({ p: [connection(1)] }, false, (said) => formerConnections(none, said));
  await other.takeOver.run('p');
  assert.deepEqual(other.told, ['read p 1', 1]);
});

test('flows do not wait for long for what is in the way of nobody', async () => {
  const others = Array.from({ length: 250 }, (_, n) => inZone(1_000 + n));
  const clock = new ManualClock();
  const { told, takeOver, install } = trial(
    { p: [connection(1)] },
    false,
    (said) => ({
      ...formerConnections({ inTheWay: [], others }, said),
      flush: async (entries) => {
        clock.advance(600);
        said.push(`flush ${entries.length}`);
      },
    }),
    clock,
  );
  const done = takeOver.run('p');
  install(1);
  await done;
  assert.deepEqual(told, ['read p 1', 'flush 0', 'flush 100', 1, 'install 1', 'flush 100', 'flush 50']);
});
