import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteReader, ByteWriter, parseHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { decodeIpv4, decodeIpv4Options, encodeIpv4, encodeIpv4Options } from './ipv4.ts';
import { bytes, ipv4Header } from './testing/arbitraries.ts';
import { testCodec } from './testing/codec-contract.ts';

testCodec({
  name: 'IPv4',
  values: fc.record({ header: ipv4Header, payload: bytes(60) }),
  encode: ({ header, payload }) => {
    const writer = new ByteWriter();
    encodeIpv4(header, payload.length, writer);
    return writer.raw(payload).view();
  },
  decode: (input) => {
    const { header, body } = decodeIpv4(input);
    return { header, payload: body.rest() };
  },
});

testCodec({
  name: 'IPv4 options',
  values: fc.array(
    fc.oneof(
      fc.constant({ type: 1, data: new Uint8Array(0) }),
      fc.record({ type: fc.integer({ min: 2, max: 255 }), data: bytes(8) }),
    ),
    { maxLength: 4 },
  ),
  encode: encodeIpv4Options,
  decode: decodeIpv4Options,
});

/** The example of a header whose checksum is worked out in many textbooks: b861. */
const EXAMPLE = parseHex('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7');

test('the header checksum is that of a known header, and a wrong one is found', () => {
  const reader = new ByteReader(Uint8Array.from([...EXAMPLE, ...new Uint8Array(95)]));
  const { header, body } = decodeIpv4(reader, true);
  assert.equal(body.length, 95);
  assert.deepEqual(encodeIpv4(header, 95), EXAMPLE);

  const wrong = Uint8Array.from(reader.bytes);
  wrong[8] = 63;
  assert.throws(
    () => decodeIpv4(wrong, true),
    (e) => e instanceof DecodeError && e.code === 'bad-checksum',
  );
  assert.equal(decodeIpv4(wrong).header.ttl, 63);
});

test('bytes behind the total length are left in the reader', () => {
  const reader = new ByteReader(Uint8Array.from([...EXAMPLE, ...new Uint8Array(95), 1, 2, 3]));
  decodeIpv4(reader);
  assert.equal(reader.remaining, 3);
});
