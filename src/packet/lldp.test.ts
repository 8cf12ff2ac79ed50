import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { decodeLldp, encodeLldp, type LldpTlv } from './lldp.ts';
import { bytes, latin1, u8, u16 } from './testing/arbitraries.ts';
import { testCodec } from './testing/codec-contract.ts';

const id = fc.record({ subtype: u8, id: bytes(255, 1) });
const tlv: fc.Arbitrary<LldpTlv> = fc.oneof(
  fc.record({ kind: fc.constantFrom('portDescription', 'systemName', 'systemDescription'), text: latin1(255) }),
  fc.record({ kind: fc.constant('capabilities'), supported: u16, enabled: u16 }),
  fc.record({
    kind: fc.constant('organization'),
    oui: fc.integer({ min: 0, max: 0xff_ffff }),
    subtype: u8,
    data: bytes(507),
  }),
  fc.record({
    kind: fc.constant('unknown'),
    type: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 8, max: 126 })),
    data: bytes(511),
  }),
);

testCodec({
  name: 'LLDP',
  values: fc.record({ chassis: id, port: id, ttlS: u16, tlvs: fc.array(tlv, { maxLength: 5 }) }),
  encode: encodeLldp,
  decode: decodeLldp,
});

test('a message that does not begin with its chassis is refused by type', () => {
  assert.throws(
    () => decodeLldp(parseHex('0602 0078')),
    (e) => e instanceof DecodeError && e.code === 'bad-type' && e.field === 'lldp.chassis',
  );
});
