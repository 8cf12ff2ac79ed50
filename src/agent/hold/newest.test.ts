import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConnectionEntry } from '../../server/protocol.ts';
import { newestOf } from './newest.ts';

const OUT = { address: '198.51.100.1', port: 80 };

/** Of connection `n`: in the zone of its port, or of the router that gives it another source. */
function entry(n: number, where: 'p' | 'r'): ConnectionEntry {
  const from = { address: '10.0.2.100', port: n };
  const to = where === 'p' ? from : { address: '203.0.113.1', port: 2_000 + n };
  return { owner: where, kind: 'own', protocol: 'tcp', original: { from, to: OUT }, reply: { from: OUT, to } };
}

const told = (entries: readonly ConnectionEntry[]): string[] =>
  entries.map(({ owner, original }) => `${owner}${original.from.port}`);

test('the newest connections are, each in all of its zones, however they were told', () => {
  const asTheyBegan = [1, 2, 3].flatMap((n) => [entry(n, 'p'), entry(n, 'r')]);
  const asTheyWereRead = (['p', 'r'] as const).flatMap((where) => [1, 2, 3].map((n) => entry(n, where)));
  assert.deepEqual(told(newestOf(asTheyBegan, 4)), ['p2', 'r2', 'p3', 'r3']);
  assert.deepEqual(told(newestOf(asTheyBegan, 5)), ['p2', 'r2', 'p3', 'r3']);
  assert.deepEqual(told(newestOf(asTheyWereRead, 4)), ['p2', 'p3', 'r2', 'r3']);
  assert.equal(newestOf(asTheyWereRead, 6), asTheyWereRead);
});
