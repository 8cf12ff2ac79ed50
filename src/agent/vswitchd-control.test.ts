import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findControlSocket } from './vswitchd-control.ts';

test('the control socket is that of the running process; a run directory that is not there, or cannot be read, is an operational error', () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-run-'));
  try {
    assert.throws(() => findControlSocket(join(directory, 'absent')), { name: 'WeftError', code: 'unreachable' });
    assert.throws(() => findControlSocket(directory), { name: 'WeftError', code: 'unreachable' });
    for (const pid of [7, 8]) writeFileSync(join(directory, `ovs-vswitchd.${pid}.ctl`), '');
    writeFileSync(join(directory, 'ovs-vswitchd.pid'), '8\n');
    assert.equal(findControlSocket(directory), join(directory, 'ovs-vswitchd.8.ctl'));
    rmSync(join(directory, 'ovs-vswitchd.pid'));
    mkdirSync(join(directory, 'ovs-vswitchd.pid')); // reading it throws, as it does when the file goes between two looks
    assert.throws(() => findControlSocket(directory), { name: 'WeftError', code: 'unreachable' });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
