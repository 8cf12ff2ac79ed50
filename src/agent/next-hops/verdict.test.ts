import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Verdict } from './verdict.ts';

const THRESHOLDS = { failures: 3, recoveries: 2 };

/** Each letter a round of 200 ms: `a` answered, `.` not. The times at which the verdict became another, with what. */
function changes(rounds: string, verdict = new Verdict(undefined), startMs = 0): string[] {
  return [...rounds].flatMap((each, n) => {
    const atMs = startMs + 200 * n;
    return verdict.take(each === 'a', atMs, THRESHOLDS) ? [`${atMs} ${verdict.up ? 'up' : 'down'}`] : [];
  });
}

test('a next hop is known by its first answer, gone after three misses in a row and back after two answers', () => {
  assert.deepEqual(changes('aa..a...'), ['0 up', '1400 down']);
  assert.deepEqual(changes('...a.aa'), ['400 down', '1200 up']);
  assert.deepEqual(changes('..a'), ['400 up']);
});

test('what was known before a restart holds until three misses, or two answers', () => {
  assert.deepEqual(changes('a..a...', new Verdict(true)), ['1200 down']);
  assert.deepEqual(changes('.a.aa', new Verdict(false)), ['800 up']);
});

test('a next hop that flaps comes back later each time: its changes are bounded', () => {
  const verdict = new Verdict(undefined);
  const all = changes('aaa...'.repeat(600), verdict);
  const within = (fromMs: number, toMs: number): number =>
    all.filter((text) => Number.parseInt(text, 10) >= fromMs && Number.parseInt(text, 10) < toMs).length;
  // Three answers at 200 ms are never the second that the first relapse asks for.
  assert.deepEqual(all, ['0 up', '1000 down', '1400 up', '2200 down']);
  const patient = changes(`${'a'.repeat(200)}...`.repeat(30), new Verdict(undefined));
  assert.ok(patient.filter((text) => text.endsWith('down')).length >= 29, `${patient}`);
  assert.ok(within(0, 60_000) <= 14);
});

test('who was well for a minute comes back at once', () => {
  const verdict = new Verdict(true);
  assert.deepEqual(changes('...aa...', verdict), ['400 down', '800 up', '1400 down']);
  assert.deepEqual(changes('aaaaaa', verdict, 2000), ['3000 up']);
  assert.deepEqual(changes('...aa', verdict, 70_000), ['70400 down', '70800 up']);
});

test('rounds in which nothing could be sent count for nothing', () => {
  const verdict = new Verdict(true);
  assert.deepEqual(changes('..', verdict), []);
  verdict.forgive();
  assert.deepEqual(changes('..', verdict, 400), []);
  assert.deepEqual(changes('.', verdict, 800), ['800 down']);
});
