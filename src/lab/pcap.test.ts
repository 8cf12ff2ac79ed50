import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../base/errors.ts';
import { decodePcap, encodePcap } from './pcap.ts';

const frames = fc.array(fc.uint8Array({ minLength: 0, maxLength: 200 }), { maxLength: 20 });

test('frames survive a capture file', () => {
  fc.assert(
    fc.property(frames, (list) =>
      assert.deepEqual(
        decodePcap(encodePcap(list)).map((f) => f.bytes),
        list,
      ),
    ),
  );
});

test('a capture that is still written gives its whole frames', () => {
  fc.assert(
    fc.property(frames, fc.nat(4000), (list, cut) => {
      const bytes = encodePcap(list);
      const part = bytes.subarray(0, Math.max(24, bytes.length - cut));
      const got = decodePcap(part).map((f) => f.bytes);
      assert.deepEqual(got, list.slice(0, got.length));
    }),
  );
});

test('nanoseconds and big-endian files are read', () => {
  const bytes = new Uint8Array(24 + 16 + 1);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b23c4d);
  view.setUint32(20, 1);
  view.setUint32(24, 5);
  view.setUint32(28, 7_000_000);
  view.setUint32(32, 1);
  view.setUint32(36, 60);
  assert.deepEqual(decodePcap(bytes), [{ timeMs: 5007, bytes: new Uint8Array(1), originalLength: 60 }]);
});

test('what is no capture of Ethernet gives a DecodeError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      assert.throws(() => decodePcap(bytes), DecodeError);
    }),
  );
});
