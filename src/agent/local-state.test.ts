import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { ScopeRecord } from '../model/objects.ts';
import { LocalState } from './local-state.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-state-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const record = (id: string, revision: number): ScopeRecord => ({ kind: 'tenant', id, name: id, revision });
const journal = (): string => join(directory, 'scope.jsonl');

test('what was appended is there after a restart', () => {
  const state = new LocalState(directory);
  state.host = 'h1';
  state.incarnation = 'i1';
  state.rewrite([record('a', 1)]);
  state.append([{ op: 'put', record: record('b', 2) }], () => []);
  state.append([{ op: 'delete', record: { kind: 'tenant', id: 'a' } }], () => []);
  const again = new LocalState(directory);
  assert.deepEqual(again.load(), [record('b', 2)]);
  assert.equal(again.host, 'h1');
  assert.equal(again.incarnation, 'i1');
});

test('a journal cut at any byte gives a state that was once committed', () => {
  const state = new LocalState(directory);
  state.rewrite([record('a', 1)]);
  state.append(
    [
      { op: 'put', record: record('b', 2) },
      { op: 'put', record: record('c', 2) },
    ],
    () => [],
  );
  state.append([{ op: 'delete', record: { kind: 'tenant', id: 'a' } }], () => []);
  const whole = readFileSync(journal());
  const allowed = new Set(['', 'a', 'a,b,c', 'b,c']);
  for (let length = 0; length <= whole.length; length++) {
    writeFileSync(journal(), whole.subarray(0, length));
    const ids = new LocalState(directory)
      .load()
      .map((r) => r.id)
      .sort();
    assert.ok(allowed.has(ids.join()), `cut at ${length}: ${ids}`);
  }
});

test('a torn tail does not spoil what is appended later', () => {
  const state = new LocalState(directory);
  state.rewrite([record('a', 1)]);
  appendFileSync(journal(), '{"put":{"kind":"ten');
  const again = new LocalState(directory);
  const kept = again.load();
  again.append([{ op: 'put', record: record('b', 2) }], () => [...kept, record('b', 2)]);
  assert.deepEqual(
    new LocalState(directory).load().map((r) => r.id),
    ['a', 'b'],
  );
});

test('the journal is rewritten when it has grown', () => {
  const state = new LocalState(directory);
  state.rewrite([record('a', 1)]);
  for (let revision = 2; revision < 3000; revision++)
    state.append([{ op: 'put', record: record('a', revision) }], () => [record('a', revision)]);
  assert.ok(readFileSync(journal(), 'utf8').split('\n').length < 1200);
});

test('a place that cannot be written is a problem, not a crash', () => {
  const state = new LocalState(directory);
  rmSync(directory, { recursive: true });
  state.append([{ op: 'put', record: record('a', 1) }], () => []);
  assert.match(state.problem ?? '', /cannot write/);
  state.load();
  directory = mkdtempSync(join(tmpdir(), 'weft-state-'));
});

test('a journal with lines of any form is read up to the first that is none', () => {
  for (const garbage of ['5', 'null', '"v"', '[]', '{"put":null}', '{"put":{}}', '{"del":3}']) {
    const state = new LocalState(directory);
    state.rewrite([record('a', 1)]);
    appendFileSync(journal(), `${garbage}\n{"commit":true}\n`);
    assert.deepEqual(new LocalState(directory).load(), [record('a', 1)], garbage);
  }
});
