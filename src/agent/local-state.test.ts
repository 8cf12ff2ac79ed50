import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs, { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ScopeRecord } from '../model/objects.ts';
import { LocalState } from './local-state.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-state-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

let problem: string | undefined;
const openState = (retryMs?: number): LocalState =>
  new LocalState(
    directory,
    (text) => {
      problem = text;
    },
    retryMs,
  );
const record = (id: string, revision: number): ScopeRecord => ({ kind: 'tenant', id, name: id, revision });
const journal = (): string => join(directory, 'scope.jsonl');

test('what was appended is there after a restart', () => {
  const state = openState();
  state.host = 'h1';
  state.incarnation = 'i1';
  state.rewrite(() => [record('a', 1)]);
  state.append([{ op: 'put', record: record('b', 2) }], () => []);
  state.append([{ op: 'delete', record: { kind: 'tenant', id: 'a' } }], () => []);
  state.close();
  const again = openState();
  assert.deepEqual(again.load(), [record('b', 2)]);
  assert.equal(again.host, 'h1');
  assert.equal(again.incarnation, 'i1');
});

test('a journal cut at any byte gives a state that was once committed', () => {
  const state = openState();
  state.rewrite(() => [record('a', 1)]);
  state.append(
    [
      { op: 'put', record: record('b', 2) },
      { op: 'put', record: record('c', 2) },
    ],
    () => [],
  );
  state.append([{ op: 'delete', record: { kind: 'tenant', id: 'a' } }], () => []);
  state.flush();
  const whole = readFileSync(journal());
  const allowed = new Set(['', 'a', 'a,b,c', 'b,c']);
  for (let length = 0; length <= whole.length; length++) {
    writeFileSync(journal(), whole.subarray(0, length));
    const ids = openState()
      .load()
      .map((r) => r.id)
      .sort();
    assert.ok(allowed.has(ids.join()), `cut at ${length}: ${ids}`);
  }
});

test('a torn tail does not spoil what is appended later', () => {
  const state = openState();
  state.rewrite(() => [record('a', 1)]);
  appendFileSync(journal(), '{"put":{"kind":"ten');
  const again = openState();
  const kept = again.load();
  again.append([{ op: 'put', record: record('b', 2) }], () => [...kept, record('b', 2)]);
  again.flush();
  assert.deepEqual(
    openState()
      .load()
      .map((r) => r.id),
    ['a', 'b'],
  );
});

test('the journal is rewritten when it has grown', () => {
  const state = openState();
  state.rewrite(() => [record('a', 1)]);
  for (let revision = 2; revision < 3000; revision++) {
    state.append([{ op: 'put', record: record('a', revision) }], () => [record('a', revision)]);
    if (revision % 7 === 0) state.flush();
  }
  assert.ok(readFileSync(journal(), 'utf8').split('\n').length < 1200);
  assert.deepEqual(state.load(), [record('a', 2999)]);
});

test('a place that cannot be written is a problem, not a crash', () => {
  const state = openState();
  rmSync(directory, { recursive: true });
  state.append([{ op: 'put', record: record('a', 1) }], () => []);
  state.flush();
  assert.match(problem ?? '', /cannot write/);
  mkdirSync(directory);
  state.append([{ op: 'put', record: record('b', 1) }], () => [record('a', 1), record('b', 1)]);
  assert.deepEqual(state.load(), [record('a', 1), record('b', 1)]);
  assert.equal(problem, undefined);
});

test('what could not be written is after a while, though nothing changes, and not once it is closed', async () => {
  for (const isClosed of [false, true]) {
    const state = openState(20);
    rmSync(directory, { recursive: true });
    state.rewrite(() => [record('a', 1)]);
    assert.match(problem ?? '', /cannot write/);
    await sleep(50);
    assert.match(problem ?? '', /cannot write/);
    if (isClosed) state.close();
    mkdirSync(directory);
    for (let tries = 0; tries < (isClosed ? 5 : 100) && problem !== undefined; tries++) await sleep(20);
    assert.equal(problem === undefined, !isClosed);
    assert.deepEqual(openState().load(), isClosed ? [] : [record('a', 1)]);
    state.close();
  }
});

test('a disk that takes a part of a write gets the rest', () => {
  const state = openState();
  state.rewrite(() => [record('a', 1)]);
  const whole = fs.writeSync;
  mock.method(fs, 'writeSync', (file: number, data: string) => whole(file, data.slice(0, data.length / 2)));
  syncBuiltinESMExports();
  try {
    state.append([{ op: 'put', record: record('b', 2) }], () => []);
    state.flush();
  } finally {
    mock.restoreAll();
    syncBuiltinESMExports();
  }
  assert.deepEqual(openState().load(), [record('a', 1), record('b', 2)]);
});

test('what is appended is written in a moment, all of it at once, and not in the turn in which it came', async () => {
  const state = openState();
  state.rewrite(() => [record('a', 1)]);
  const before = readFileSync(journal(), 'utf8');
  const watcher = watch(journal());
  const written = once(watcher, 'change');
  state.append([{ op: 'put', record: record('b', 2) }], () => []);
  state.append([{ op: 'put', record: record('c', 3) }], () => []);
  assert.equal(readFileSync(journal(), 'utf8'), before);
  await written;
  watcher.close();
  assert.deepEqual(
    openState()
      .load()
      .map(({ id }) => id),
    ['a', 'b', 'c'],
  );
});

test('what waits to be written is in a rewrite that comes first, and not behind it once more', () => {
  const state = openState();
  state.rewrite(() => []);
  state.append([{ op: 'put', record: record('b', 2) }], () => []);
  state.rewrite(() => [record('b', 3)]);
  state.close();
  assert.deepEqual(openState().load(), [record('b', 3)]);
});

test('a journal with lines of any form is read up to the first that is none', () => {
  for (const garbage of ['5', 'null', '"v"', '[]', '{"put":null}', '{"put":{}}', '{"del":3}']) {
    const state = openState();
    state.rewrite(() => [record('a', 1)]);
    appendFileSync(journal(), `${garbage}\n{"commit":true}\n`);
    assert.deepEqual(openState().load(), [record('a', 1)], garbage);
  }
});
