import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { WeftError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { EAST } from './dump.fixture.ts';
import type { TrackingPacket } from './recreate.ts';
import { Recreator } from './recreator.ts';
import { Restorer } from './restorer.ts';

/** What a restart of a switch with these connections comes to: steps in order, runs of packets as one. */
async function steps(options: {
  lastRead?: string;
  count?: () => Promise<number>;
  isLost?: boolean;
}): Promise<string[]> {
  const done: string[] = [];
  const recreator = new Recreator({
    run: (packets: readonly TrackingPacket[]) => {
      const isTranslated = packets.some(({ actions }) => actions.some((action) => action.kind === 'ct' && action.nat));
      done.push(isTranslated ? 'translations' : 'filters');
    },
    disregardSequences: () => Promise.resolve(),
    log: silentLog,
  });
  const restorer = new Restorer({
    limited: async () => {},
    ...{ lastRead: () => options.lastRead ?? EAST, count: options.count ?? (() => Promise.resolve(0)), recreator },
    restored: (isAll) => done.push(isAll ? 'all' : 'flows'),
    ...{ clock: systemClock, log: silentLog, signal: new AbortController().signal },
  });
  if (options.isLost ?? true) restorer.switchLost();
  await restorer.run();
  return done;
}

test('translations come before flows, what filters know behind them', async () => {
  assert.deepEqual(await steps({}), ['translations', 'flows', 'filters', 'all']);
});

test('a tracker that has its connections still, or none to have, is left alone', async () => {
  assert.deepEqual(await steps({ count: () => Promise.resolve(17) }), ['flows', 'all']);
  assert.deepEqual(await steps({ lastRead: '' }), ['flows', 'all']);
  assert.deepEqual(await steps({ isLost: false }), ['flows', 'all']);
});

test('a switch that does not answer at first, or never, holds up flows no longer than that', async () => {
  let tries = 0;
  const late = async (): Promise<number> => {
    if (++tries < 3) throw new WeftError('unreachable', 'not yet');
    return 0;
  };
  assert.deepEqual(await steps({ count: late }), ['translations', 'flows', 'filters', 'all']);
  const never = (): Promise<number> => Promise.reject(new WeftError('unreachable', 'never'));
  assert.deepEqual(await steps({ count: never }), ['flows', 'all']);
  const bug = (): Promise<number> => Promise.reject(new Error('a bug'));
  assert.deepEqual(await steps({ count: bug }), ['flows', 'all']);
});
