import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ipv6, type Mac, parseIpv6 } from '../base/addresses.ts';
import { parseHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { decodeNd, encodeNd, linkLayerOf, NA_FLAG } from './nd.ts';
import { ndMessage } from './testing/arbitraries.ts';
import { testCodec } from './testing/codec-contract.ts';

const pseudo = (length: number): number => 0x1_2345 + length;

testCodec({ name: 'ND', values: ndMessage, encode: (message) => encodeNd(message, pseudo), decode: decodeNd });

test('a neighbour advertisement reads as its bytes say', () => {
  const message = decodeNd(parseHex('88 00 0000 60000000 20010db8000000000000000000000001 02 01 020000000001'));
  assert.deepEqual(message, {
    kind: 'neighborAdvert',
    flags: NA_FLAG.solicited | NA_FLAG.override,
    target: parseIpv6('2001:db8::1') as Ipv6,
    options: [{ kind: 'targetLinkLayer', mac: 0x0200_0000_0001 as Mac }],
  });
  assert.equal(linkLayerOf(message, 'targetLinkLayer'), 0x0200_0000_0001);
  assert.equal(linkLayerOf(message, 'sourceLinkLayer'), undefined);
});

test('an option of length zero has the message refused', () => {
  assert.throws(
    () => decodeNd(parseHex('85 00 0000 00000000 01 00 020000000001')),
    (e) => e instanceof DecodeError && e.code === 'bad-length' && e.offset === 10,
  );
});
