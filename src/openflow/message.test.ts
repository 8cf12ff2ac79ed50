import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatHex } from '../base/bytes.ts';
import { decodeMessage, encodeMessage } from './message.ts';
import { SAMPLE_VERSIONS, samples } from './samples.fixture.ts';
import { formatVersion } from './version.ts';

suite('messages', () => {
  for (const version of SAMPLE_VERSIONS)
    test(`every kind of OpenFlow ${formatVersion(version)} comes back as it was`, () => {
      for (const message of samples(version)) {
        const bytes = encodeMessage(message);
        const back = decodeMessage(bytes);
        assert.deepEqual(back, message, message.kind);
        assert.equal(formatHex(encodeMessage(back)), formatHex(bytes), message.kind);
      }
    });
});
