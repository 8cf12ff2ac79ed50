import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WrongSignatures } from './wrong-signatures.ts';

test('who is down when segments are dropped for their signature is suspected for two minutes, or until he is up', () => {
  const signatures = new WrongSignatures();
  const suspects = (count: number | undefined, nowMs: number, up: readonly string[], ...down: string[]): string => {
    const peers = [...up.map((a) => [a, true] as const), ...down.map((a) => [a, false] as const)];
    const states = peers.map(([address, established]) => ({ address, established }));
    return [...signatures.look(count, states, nowMs)].join(' ');
  };
  assert.equal(suspects(7, 0, ['a'], 'b', 'c'), '', 'what was counted before is old');
  assert.equal(suspects(8, 1_000, ['a'], 'b', 'c'), 'b c');
  assert.equal(suspects(8, 100_000, [], 'a', 'b', 'c'), 'b c', 'a was up when it was seen');
  assert.equal(suspects(8, 101_000, ['b'], 'a', 'c'), 'c');
  assert.equal(suspects(8, 102_000, [], 'a', 'b', 'c'), 'c', 'b was up since');
  assert.equal(suspects(8, 121_000, [], 'a', 'b', 'c'), '', 'forgotten');
  assert.equal(suspects(9, 122_000, [], 'b', 'c'), 'b c');
  assert.equal(suspects(undefined, 123_000, [], 'b'), 'b', 'c is a peer no more');
  assert.equal(suspects(9, 241_999, [], 'b'), 'b', 'the same count again is no news');
  assert.equal(suspects(9, 242_000, [], 'b'), '');
});
