import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { DHCPV6_MESSAGE, decodeDhcpv6, decodeDuid, dhcpv6Option, encodeDhcpv6, encodeDuid } from './dhcpv6.ts';
import { dhcpv6Message, duid } from './testing/arbitraries-dhcp.ts';
import { testCodec } from './testing/codec-contract.ts';

testCodec({ name: 'DHCPv6', values: dhcpv6Message, encode: encodeDhcpv6, decode: decodeDhcpv6 });
testCodec({ name: 'DUID', values: duid, encode: encodeDuid, decode: decodeDuid });

test('a relayed message is read from its option', () => {
  const inner = encodeDhcpv6({
    kind: 'message',
    type: DHCPV6_MESSAGE.solicit,
    transactionId: 0x12_3456,
    options: [{ kind: 'rapidCommit' }],
  });
  const outer = decodeDhcpv6(
    encodeDhcpv6({
      kind: 'relay',
      type: DHCPV6_MESSAGE.relayForward,
      hopCount: 0,
      linkAddress: 0n as never,
      peerAddress: 1n as never,
      options: [{ kind: 'relayMessage', message: inner }],
    }),
  );
  const relayed = dhcpv6Option(outer.options, 'relayMessage');
  assert.ok(relayed);
  assert.deepEqual(decodeDhcpv6(relayed.message).options, [{ kind: 'rapidCommit' }]);
});

test('options nested without end are refused as too deep', () => {
  let data: Uint8Array = new Uint8Array(0);
  for (let i = 0; i < 20; i++)
    data = new ByteWriter()
      .u16(3)
      .u16(data.length + 12)
      .zeros(12)
      .raw(data)
      .finish();
  const bytes = new ByteWriter().u8(1).u24(0).raw(data).finish();
  assert.throws(
    () => decodeDhcpv6(bytes),
    (e) => e instanceof DecodeError && e.code === 'too-deep',
  );
});
