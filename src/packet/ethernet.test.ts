import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Mac } from '../base/addresses.ts';
import { ByteReader, parseHex } from '../base/bytes.ts';
import { decodeEthernet, ETHER_TYPE, encodeEthernet, isVlanType } from './ethernet.ts';
import { ethernetStart, u16 } from './testing/arbitraries.ts';
import { testCodec } from './testing/codec-contract.ts';

testCodec({
  name: 'Ethernet',
  values: ethernetStart(u16.filter((type) => !isVlanType(type))),
  encode: encodeEthernet,
  decode: decodeEthernet,
});

test('QinQ is read outermost tag first, and the reader is left at the payload', () => {
  const reader = new ByteReader(parseHex('ffffffffffff 020000000001 88a8 a064 8100 1005 0800 4500'));
  assert.deepEqual(decodeEthernet(reader), {
    ethernet: { dst: 0xffff_ffff_ffff as Mac, src: 0x0200_0000_0001 as Mac, etherType: ETHER_TYPE.ipv4 },
    vlans: [
      { tpid: ETHER_TYPE.serviceVlan, vid: 100, pcp: 5, dei: false },
      { tpid: ETHER_TYPE.vlan, vid: 5, pcp: 0, dei: true },
    ],
  });
  assert.equal(reader.u16('next'), 0x4500);
});
