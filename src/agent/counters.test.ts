import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Explanation } from '../compile/explain.ts';
import { TABLES } from '../compile/tables.ts';
import { sumCounters } from './counters.ts';

test('flows are counted for rules, learned addresses, and ports whose groups refuse', () => {
  const explained: Readonly<Record<number, Explanation>> = {
    1: { units: ['rule/r1'], objects: [{ kind: 'rule', id: 'r1' }] },
    2: { units: ['learned/l1'], objects: [{ kind: 'learned', id: 'l1' }] },
    3: { units: ['refusals/p1'], objects: [{ kind: 'port', id: 'p1' }], reason: 'group' },
    4: { units: ['fromChain/p1'], objects: [{ kind: 'port', id: 'p1' }] },
  };
  const flow = (table: keyof typeof TABLES, cookie: number, packets: number) => ({
    ...{ table: TABLES[table].number, cookie: BigInt(cookie), packets, bytes: 100 * packets },
  });
  const counted = sumCounters(
    [
      ...[flow('chain', 1, 2), flow('chain', 1, 3), flow('learn', 2, 7), flow('fromPort', 3, 4), flow('toChain', 3, 5)],
      ...[flow('fromPort', 4, 9), flow('toChain', 5, 9)],
    ],
    (cookie) => explained[Number(cookie)] ?? { units: [], objects: [] },
  );
  assert.deepEqual(counted.rules, { r1: { packets: 5, bytes: 500 } });
  assert.deepEqual([...counted.learned], [['l1', 7]]);
  assert.deepEqual(counted.refused, {
    'p1/sends': { packets: 4, bytes: 400 },
    'p1/receives': { packets: 5, bytes: 500 },
  });
});
