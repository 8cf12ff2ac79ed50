import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Ipv6, parseIpv6 } from '../base/addresses.ts';
import { ByteWriter } from '../base/bytes.ts';
import { IP_PROTO } from './ip-protocol.ts';
import {
  decodeIpv6,
  decodeIpv6Options,
  encodeIpv6,
  encodeIpv6Options,
  finalDestination,
  fragmentOf,
  ipv6Header as headerOf,
} from './ipv6.ts';
import { bytes, ipv6Header } from './testing/arbitraries.ts';
import { testCodec } from './testing/codec-contract.ts';

testCodec({
  name: 'IPv6',
  values: fc.record({ header: ipv6Header, payload: bytes(60) }),
  encode: ({ header, payload }) => {
    const writer = new ByteWriter();
    encodeIpv6(header, payload.length, writer);
    return writer.raw(payload).view();
  },
  decode: (input) => {
    const { header, body } = decodeIpv6(input);
    return { header, payload: body.rest() };
  },
});

testCodec({
  name: 'IPv6 options',
  values: fc.array(fc.record({ type: fc.integer({ min: 2, max: 255 }), data: bytes(20) }), { maxLength: 4 }),
  encode: encodeIpv6Options,
  decode: decodeIpv6Options,
});

const A = parseIpv6('2001:db8::a')!;
const B = parseIpv6('2001:db8::b')!;

test('options are padded to what an extension header wants', () => {
  for (let length = 0; length < 20; length++) {
    const data = encodeIpv6Options([{ type: 5, data: new Uint8Array(length) }]);
    assert.equal(data.length % 8, 6);
    const header = headerOf({ src: A, dst: B, nextHeader: 59, extensions: [{ kind: 'hopByHop', data }] });
    assert.equal(encodeIpv6(header, 0).length, 42 + data.length);
  }
});

test('an atomic fragment is a whole packet', () => {
  const fragment = { kind: 'fragment', offset: 0, more: false, id: 7 } as const;
  const header = headerOf({ src: A, dst: B, nextHeader: IP_PROTO.udp, extensions: [fragment] });
  assert.equal(fragmentOf(header), undefined);
  assert.equal(fragmentOf({ ...header, extensions: [{ ...fragment, more: true }] })?.id, 7);
});

test('a source route that is not at its end names the last address as the final destination', () => {
  const via = (routingType: number, segmentsLeft: number) => {
    const data = new ByteWriter().u32(0).u128(1n).u128(2n).finish();
    return finalDestination(
      headerOf({ src: A, dst: B, nextHeader: 6, extensions: [{ kind: 'routing', routingType, segmentsLeft, data }] }),
    );
  };
  assert.equal(via(0, 1), 2n as Ipv6);
  assert.equal(via(4, 1), 1n as Ipv6);
  assert.equal(via(0, 0), B);
  assert.equal(via(200, 1), B);
});
