import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Compiler } from '../compile/compiler.ts';
import type { Meter } from '../compile/meters.ts';
import { sumCounters } from './counters.ts';

test('counters are those of rules, of drops by reason and by what has the check, and of meters that somebody has', () => {
  const known: Readonly<Record<string, ReturnType<Compiler['explain']>>> = {
    '1': { units: [], objects: [{ kind: 'rule', id: 'r' }], reason: 'rule' },
    '2': { units: [], objects: [{ kind: 'routerPort', id: 'up' }], reason: 'source-check' },
    '3': { units: [], objects: [], reason: 'prefilter' },
    '4': { units: [], objects: [], reason: undefined },
    '6': { units: [], objects: [], reason: 'too-big' },
    '5': { units: [], objects: [{ kind: 'learned', id: 'l' }], reason: undefined },
  } as never;
  const limit = { meter: 7, unit: 'packets', rate: 1, burst: 20, of: { kind: 'tenant', id: 't' } } as const;
  const compiler = {
    explain: (cookie: bigint) => known[String(cookie)]!,
    meters: () =>
      new Map<number, Meter>([
        [7, limit],
        [8, { meter: 8, unit: 'kbps', rate: 1, burst: 600 }],
      ]),
  } as Pick<Compiler, 'explain' | 'meters'>;
  const flow = (cookie: bigint, packets: number) => ({ table: 0, cookie, packets, bytes: packets * 100 });
  const flows = [
    flow(1n, 5),
    flow(2n, 3),
    flow(2n, 4),
    flow(3n, 6),
    flow(3n, 0),
    flow(4n, 9),
    flow(5n, 2),
    flow(6n, 1000),
  ];
  const meters = new Map([7, 8, 9].map((meter) => [meter, { packets: 11, bytes: 12 }]));
  const { rules, drops, learned } = sumCounters({ kind: 'counters', flows, meters }, compiler, {
    packets: 2,
    bytes: 3028,
  });
  assert.deepEqual(rules, { r: { packets: 5, bytes: 500 } });
  assert.deepEqual(drops, {
    'source-check routerPort/up': { packets: 7, bytes: 700 },
    prefilter: { packets: 6, bytes: 600 },
    'inbound-limit tenant/t': { packets: 11, bytes: 12 },
    // The flow's own count is that of all packets whose size was asked.
    'too-big': { packets: 2, bytes: 3028 },
  });
  assert.deepEqual([...learned], [['l', 2]]);
});
