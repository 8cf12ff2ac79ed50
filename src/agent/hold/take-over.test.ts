import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { WeftError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import { MOST_RECREATED, Recreator } from '../connections/recreator.ts';
import { TakeOver } from './take-over.ts';

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
function trial(held: Readonly<Record<string, readonly ConnectionEntry[]>>, isRefusing = false) {
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
    held: (port) => held[port] ?? [],
    zonesOf: (_, entries) => entries.map((entry) => ({ entry, zone: 4 })),
    ...{ recreator, clock: systemClock, log: silentLog },
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

test('of more connections than can be made in time the first are', async () => {
  const held = Array.from({ length: MOST_RECREATED + 5 }, (_, n) => connection(n));
  const { told, takeOver } = trial({ p: held });
  await takeOver.run('p');
  assert.equal(told.length, MOST_RECREATED);
  assert.equal(told.at(-1), MOST_RECREATED - 1);
});
