import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { decodeArp, encodeArp, isForeignArp } from './arp.ts';
import { arp } from './testing/arbitraries.ts';
import { testCodec } from './testing/codec-contract.ts';

testCodec({ name: 'ARP', values: arp, encode: encodeArp, decode: decodeArp });

test('ARP between other than Ethernet and IPv4 addresses is refused by type', () => {
  const infiniband = parseHex('0020 0800 1404 0001');
  assert.ok(isForeignArp(infiniband));
  assert.throws(
    () => decodeArp(infiniband),
    (e) => e instanceof DecodeError && e.code === 'bad-type',
  );
});
