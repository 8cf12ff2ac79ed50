import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { UsageError } from '../exit-codes.ts';
import { createToken, revokeToken } from './server.ts';

let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-tokens-'));
});
after(() => rmSync(directory, { recursive: true }));

test('a token is for a host that can be one', async () => {
  const file = join(directory, 'hosts');
  for (const host of ['', 'two words', 'h1#', 'H1', '-'])
    await assert.rejects(
      createToken({ file, host }),
      (error) => error instanceof UsageError && /--host/.test(error.message),
    );
  assert.deepEqual(readdirSync(directory), []);
  await createToken({ file, host: 'h1' });
  assert.match(readFileSync(file, 'utf8'), /^[0-9a-f]{64} host:h1 #/m);
});

test('the token file is replaced as a whole, and keeps its mode', async () => {
  const file = join(directory, 'replaced');
  await createToken({ file, admin: true });
  const { ino, mode } = statSync(file);
  assert.equal(mode & 0o777, 0o600);
  chmodSync(file, 0o640);
  revokeToken(/^[0-9a-f]{64}/m.exec(readFileSync(file, 'utf8'))![0], { file });
  const now = statSync(file);
  assert.deepEqual([now.ino === ino, now.mode & 0o777], [false, 0o640]);
  assert.doesNotMatch(readFileSync(file, 'utf8'), /^[0-9a-f]/m);
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.endsWith('.new')),
    [],
  );
});
