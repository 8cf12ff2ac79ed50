import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../base/errors.ts';
import { decodePacket, encodePacket } from './packet.ts';
import { packet } from './testing/arbitraries.ts';
import { plain, testCodec } from './testing/codec-contract.ts';

testCodec({
  name: 'packet',
  values: packet,
  encode: encodePacket,
  decode: decodePacket,
});

test('what we send has right checksums', () => {
  fc.assert(
    fc.property(plain(packet), (value) => {
      assert.deepEqual(decodePacket(encodePacket(value), { verifyChecksums: true }), value);
    }),
  );
});

test('offsets in errors count from the start of the frame', () => {
  const frame = Buffer.from(
    'ffffffffffff02000000000108004500001c00000000401100000a0000010a00000200010002000700ff',
    'hex',
  );
  assert.throws(
    () => decodePacket(frame),
    (e) => e instanceof DecodeError && e.field === 'udp.length' && e.offset === 42 && e.code === 'bad-length',
  );
});
