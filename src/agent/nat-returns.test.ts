import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CompilerChange } from '../compile/compiler.ts';
import type { ScopeRecord } from '../model/objects.ts';
import type { PortBlock } from '../model/port-blocks.ts';
import type { Report } from '../server/protocol.ts';
import type { Effect } from './events.ts';
import type { Ground } from './ground.ts';
import { NatReturns } from './nat-returns.ts';
import { Scope } from './scope.ts';
import type { Zones } from './zones.ts';

const HOUR_MS = 3_600_000;
const LEASE = 'r/192.0.2.2/h';

/** A host with a lease of these blocks, whose flows are in as soon as they are asked for, unless `isSlow`. */
function trial(...blocks: [first: number, size: number][]) {
  const scope = new Scope();
  const state = { isSlow: false, resting: '', reports: [] as Report[], serverConnected: true };
  const text = (some: readonly PortBlock[]): string => some.map(({ first, size }) => `${first}+${size}`).join(' ');
  const leased = (...some: [number, number][]): ScopeRecord => ({
    ...{ kind: 'natLease', id: LEASE, revision: 1, router: 'r', address: '192.0.2.2', host: 'h' },
    blocks: some.map(([first, size]) => ({ first, size })),
  });
  const ground = {
    ...{ scope, host: 'h' },
    get serverConnected() {
      return state.serverConnected;
    },
    report: (more: Report[]) => {
      state.reports.push(...more);
      return [];
    },
    compile: (changes: CompilerChange[]): Effect[] => {
      for (const change of changes) {
        assert.ok(change.op === 'delete' || change.record.kind === 'restingPorts');
        state.resting = change.op === 'put' && 'blocks' in change.record ? text(change.record.blocks) : '';
      }
      return [{ kind: 'flows', areIn: false }];
    },
  };
  const installation = { whenInstalled: (callback: () => Effect[]) => (state.isSlow ? [] : callback()) };
  const zones = { of: () => 8 } as unknown as Zones;
  const returns = new NatReturns(ground as unknown as Ground, zones, installation);
  const put = (record: ScopeRecord, nowMs: number): void => {
    scope.apply([{ op: 'put', record }]);
    returns.scopeChanged([{ op: 'put', record }], nowMs);
  };
  put(leased(...blocks), 0);
  return {
    ...{ returns, state, leased, put },
    /** A reading that found connections with these ports. */
    reads: (nowMs: number, ...ports: number[]) => returns.told(new Map([['r/192.0.2.2', new Set(ports)]]), nowMs),
    /** What was given back since. */
    given: () =>
      state.reports.splice(0).map((report) => {
        assert.ok(report.type === 'natReturn' && report.address === '192.0.2.2' && report.port === undefined);
        return text(report.blocks);
      }),
  };
}
const many = (first: number, count: number): number[] => Array.from({ length: count }, (_, n) => first + n);

test('what was not needed for an hour rests, and goes back once two whole readings found nothing in it', () => {
  const { state, reads, given, put, leased } = trial([1024, 1024], [2048, 2048]);
  reads(0, ...many(1024, 600));
  reads(HOUR_MS, 3000);
  assert.equal(state.resting, '', '600 were needed within the hour');
  reads(2 * HOUR_MS - 1, 3000);
  assert.equal(state.resting, '');
  reads(2 * HOUR_MS, 3000);
  assert.equal(state.resting, '1024+1024 2048+512 3072+1024', '512 stay, where most is');
  // The first reading shows that flows are in; the next may have begun before.
  for (const n of [1, 2, 3]) {
    reads(2 * HOUR_MS + n, 3000, 3500);
    assert.deepEqual(given(), []);
  }
  reads(2 * HOUR_MS + 4, 3000, 3500);
  assert.deepEqual(given(), ['1024+1024 2048+512 3584+512'], 'not the half in which one lives');
  put(leased([2560, 512], [3072, 512]), 2 * HOUR_MS + 5);
  assert.equal(state.resting, '3072+512');
  reads(2 * HOUR_MS + 6, 3000);
  assert.deepEqual(given(), []);
  reads(2 * HOUR_MS + 7, 3000);
  assert.deepEqual(given(), ['3072+512']);
  put(leased([2560, 512]), 2 * HOUR_MS + 8);
  assert.equal(state.resting, '');
  reads(9 * HOUR_MS);
  reads(10 * HOUR_MS);
  assert.equal(state.resting, '', 'the first block stays');
});

test('nothing goes back before the flows are in, after a reading that left the router out, or while a connection lives in it', () => {
  const { returns, state, reads, given } = trial([1024, 1024]);
  reads(0);
  state.isSlow = true;
  reads(HOUR_MS);
  assert.equal(state.resting, '1536+512');
  for (const n of [1, 2, 3, 4]) reads(HOUR_MS + n);
  assert.deepEqual(given(), []);
  state.isSlow = false;
  for (const n of [5, 6, 7]) reads(HOUR_MS + n);
  returns.told(new Map(), HOUR_MS + 8);
  reads(HOUR_MS + 9);
  assert.deepEqual(given(), [], 'one after the other, whole');
  for (const n of [10, 11, 12, 13]) reads(HOUR_MS + n, ...(n % 2 ? [1600] : []));
  assert.deepEqual(given(), ['1536+512'], 'the tenth: two without');
  for (const n of [14, 15, 16]) reads(HOUR_MS + n, 2047);
  assert.deepEqual(given(), []);
});

test('who finds no port wakes what rests, but for what is on its way back', () => {
  const { returns, state, reads, given } = trial([1024, 1024], [2048, 2048]);
  assert.deepEqual(returns.wake(LEASE, 0), [], 'nothing rests');
  reads(0);
  reads(HOUR_MS);
  assert.notEqual(state.resting, '');
  assert.equal(returns.wake(LEASE, HOUR_MS + 1).length, 1);
  assert.equal(state.resting, '');
  reads(HOUR_MS + 2);
  reads(2 * HOUR_MS + 3);
  assert.equal(state.resting, '1536+512 2048+2048');
  for (const n of [4, 5, 6, 7]) reads(2 * HOUR_MS + n, 2048);
  assert.deepEqual(given(), ['1536+512 2560+512 3072+1024']);
  returns.wake(LEASE, 2 * HOUR_MS + 8);
  assert.equal(state.resting, '1536+512 2560+512 3072+1024', 'the rest wakes');
  assert.deepEqual(returns.wake(LEASE, 2 * HOUR_MS + 9), []);
  returns.wake(LEASE, 2 * HOUR_MS + 60_009);
  assert.equal(state.resting, '', 'the server has not heard of it');
});

test('ports of connections that went away with their workload are in use; a lease of another host is not ours', () => {
  const { returns, state, reads, put, leased } = trial([1024, 1024]);
  const moved = { kind: 'natMove', id: 'r/192.0.2.2/p', revision: 1, router: 'r', address: '192.0.2.2', port: 'p' };
  put({ ...moved, connections: ['tcp/1600/198.51.100.1/80'] } as ScopeRecord, 0);
  reads(0);
  reads(HOUR_MS);
  assert.equal(state.resting, '1024+512');
  assert.equal([...returns.places()].length, 1);
  put({ ...leased([1024, 1024]), host: 'other' } as ScopeRecord, HOUR_MS + 1);
  assert.equal(state.resting, '');
  assert.equal([...returns.places()].length, 0);
});
