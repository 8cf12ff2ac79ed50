import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { encodeMessage } from './message.ts';
import { noOfctl } from './open-vswitch.fixture.ts';
import { SAMPLE_VERSIONS, samples } from './samples.fixture.ts';
import { formatVersion } from './version.ts';

suite('what we encode, read by ovs-ofctl', { skip: noOfctl }, () => {
  for (const version of SAMPLE_VERSIONS)
    test(`every message of OpenFlow ${formatVersion(version)} is understood`, () => {
      const known = samples(version).filter((m) => m.kind !== 'unknown' && m.kind !== 'experimenter');
      const dir = mkdtempSync(join(tmpdir(), 'weft-ofctl-'));
      try {
        const file = join(dir, 'messages');
        writeFileSync(file, Buffer.concat(known.map(encodeMessage)));
        const printed = execFileSync('ovs-ofctl', ['ofp-parse', file], { encoding: 'utf8' });
        assert.deepEqual(printed.match(/^.*decode error.*$/gm) ?? [], []);
        const heads = printed.match(/^(OFP|NX|ONF)\w+/gm) ?? [];
        assert.ok(heads.length >= known.length, `${heads.length} printed of ${known.length}`);
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    });
});
