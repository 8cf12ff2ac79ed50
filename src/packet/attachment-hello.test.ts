import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMac } from '../base/addresses.ts';
import { DecodeError } from '../base/errors.ts';
import { attachmentMac, decodeHello, encodeHello, helloGroup } from './attachment-hello.ts';

test('a hello is what its bytes say, and its MACs carry the keys', () => {
  const hello = { switch: 0xabcdef, port: 0x123456, place: 7, sinceMs: 0x19012345678 };
  assert.equal(Buffer.from(encodeHello(hello)).toString('hex'), '574546540107000000abcdef001234560000019012345678');
  assert.deepEqual(decodeHello(encodeHello(hello)), hello);
  assert.equal(formatMac(helloGroup(0xabcdef)), '03:57:ab:cd:ef:00');
  assert.equal(formatMac(attachmentMac(0x123456, 7)), '0e:57:12:34:56:07');
});

test('bytes that are no hello are refused with what is wrong', () => {
  const bytes = encodeHello({ switch: 1, port: 2, place: 3, sinceMs: 4 });
  const codeOf = (wrong: Uint8Array): string => {
    try {
      decodeHello(wrong);
      return 'none';
    } catch (error) {
      assert.ok(error instanceof DecodeError);
      return error.code;
    }
  };
  for (let length = 0; length < bytes.length; length++) assert.equal(codeOf(bytes.subarray(0, length)), 'truncated');
  assert.equal(codeOf(Uint8Array.of(0, ...bytes.subarray(1))), 'bad-type');
  assert.equal(codeOf(Uint8Array.from(bytes, (byte, at) => (at === 4 ? 9 : byte))), 'bad-version');
});
