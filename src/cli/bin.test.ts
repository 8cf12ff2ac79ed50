import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

/** `bin/weft` with a Node beside it that only says which libraries it was to load first, and its last argument. */
let root: string;
before(() => {
  root = mkdtempSync(join(tmpdir(), 'weft-bin-'));
  for (const dir of ['bin', 'node_modules/.bin']) mkdirSync(join(root, dir), { recursive: true });
  copyFileSync(join(import.meta.dirname, '../../bin/weft'), join(root, 'bin/weft'));
  const says = `#!/bin/sh\nfor last; do :; done\necho "\${LD_PRELOAD:-nothing} $last"\n`;
  writeFileSync(join(root, 'node_modules/.bin/node'), says, { mode: 0o755 });
});
after(() => rmSync(root, { recursive: true }));

function weft(args: readonly string[], env: Record<string, string> = {}): string {
  const { PATH = '' } = process.env;
  return execFileSync(join(root, 'bin/weft'), args, { env: { PATH, ...env }, encoding: 'utf8' }).trimEnd();
}

test('agents and servers run with jemalloc where it is there; other commands go without', () => {
  const isThere = ['x86_64-linux-gnu', 'aarch64-linux-gnu', '../lib64', '.'].some((dir) =>
    existsSync(join('/usr/lib', dir, 'libjemalloc.so.2')),
  );
  for (const args of [
    ['agent', 'run', '--host', 'x'],
    ['--server', 'unix:/a b', 'server', 'run', 'x'],
  ])
    assert.match(weft(args), isThere ? /^\/usr\/\S+\/libjemalloc\.so\.2 x$/ : /^nothing x$/);
  assert.equal(weft(['get', 'ports', 'a\nb  c']), 'nothing a\nb  c');
});

test('who preloads something is left with that', () => {
  // The C library itself: a name that exists and changes nothing.
  assert.equal(weft(['agent', 'run', 'x'], { LD_PRELOAD: 'libc.so.6' }), 'libc.so.6 x');
});
