import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LOG_BYTES, readLog } from './daemon-log.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-log-'));
after(() => rmSync(directory, { recursive: true }));

test("of a daemon's log what is new is read; one that is too large begins anew, and is kept beside", () => {
  const path = join(directory, 'bgpd.log');
  assert.deepEqual(readLog(path, 0), { text: '', end: 0 });
  writeFileSync(path, 'one\n');
  const first = readLog(path, 0);
  assert.deepEqual(first, { text: 'one\n', end: 4 });
  appendFileSync(path, 'two\n');
  assert.deepEqual(readLog(path, first.end), { text: 'two\n', end: 8 });
  appendFileSync(path, `${'x'.repeat(LOG_BYTES)}\nlast\n`);
  const { text, end } = readLog(path, 8);
  assert.deepEqual([text.slice(-6), end, statSync(path).size], ['\nlast\n', 0, 0]);
  assert.equal(readFileSync(`${path}.1`, 'utf8').slice(-5), 'last\n');
});

test('a log that cannot be kept beside begins anew all the same, and one that cannot be read has no news', () => {
  const path = join(directory, 'full.log');
  mkdirSync(`${path}.1`);
  writeFileSync(path, `${'x'.repeat(LOG_BYTES)}\nlast\n`);
  assert.deepEqual([readLog(path, 0).text.slice(-5), statSync(path).size], ['last\n', 0]);
  mkdirSync(join(directory, 'folder.log'));
  assert.deepEqual(readLog(join(directory, 'folder.log'), 7), { text: '', end: 7 });
});
