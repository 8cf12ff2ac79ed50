import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ByteReader } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { decodeIcmp, echoOf, echoRest, encodeIcmp } from './icmp.ts';
import { decodeIcmpv6, encodeIcmpv6 } from './icmpv6.ts';
import { decodeTcp, decodeTcpOptions, encodeTcp, encodeTcpOptions } from './tcp.ts';
import { bytes, icmpHeader, tcpHeader, u8, u16, u32, udpHeader } from './testing/arbitraries.ts';
import { testCodec } from './testing/codec-contract.ts';
import { decodeUdp, encodeUdp } from './udp.ts';

const payload = bytes(60);
const pseudo = (length: number): number => 0x1_2345 + length;

function whole<H>({ header, body }: { header: H; body: ByteReader }): { header: H; payload: Uint8Array } {
  return { header, payload: body.rest() };
}

testCodec({
  name: 'ICMP',
  values: fc.record({ header: icmpHeader, payload }),
  encode: (v) => encodeIcmp(v.header, v.payload),
  decode: (input) => whole(decodeIcmp(input)),
});
testCodec({
  name: 'ICMPv6',
  values: fc.record({ header: icmpHeader, payload }),
  encode: (v) => encodeIcmpv6(v.header, v.payload, pseudo),
  decode: (input) => whole(decodeIcmpv6(input)),
});
testCodec({
  name: 'UDP',
  values: fc.record({ header: udpHeader, payload }),
  encode: (v) => encodeUdp(v.header, v.payload, pseudo),
  decode: (input) => whole(decodeUdp(input)),
});
testCodec({
  name: 'TCP',
  values: fc.record({ header: tcpHeader, payload }),
  encode: (v) => encodeTcp(v.header, v.payload, pseudo),
  decode: (input) => whole(decodeTcp(input)),
});
testCodec({
  name: 'TCP options',
  values: fc.array(
    fc.oneof(
      fc.constant({ kind: 'noOperation' } as const),
      fc.record({ kind: fc.constant('maxSegmentSize'), bytes: u16 }),
      fc.record({ kind: fc.constant('windowScale'), shift: u8 }),
      fc.constant({ kind: 'sackPermitted' } as const),
      fc.record({ kind: fc.constant('timestamps'), value: u32, echo: u32 }),
      fc.record({ kind: fc.constant('unknown'), code: fc.integer({ min: 9, max: 255 }), data: bytes(10) }),
    ),
    { maxLength: 5 },
  ),
  encode: encodeTcpOptions,
  decode: decodeTcpOptions,
});

test('a single changed bit is found by every checksum', () => {
  const data = Uint8Array.of(1, 2, 3);
  const messages = [
    { sent: encodeIcmp({ type: 8, code: 0, rest: 1 }, data), verify: (b: Uint8Array) => decodeIcmp(b, true) },
    {
      sent: encodeIcmpv6({ type: 128, code: 0, rest: 1 }, data, pseudo),
      verify: (b: Uint8Array) => decodeIcmpv6(b, pseudo),
    },
    {
      sent: encodeUdp({ srcPort: 1, dstPort: 2, noChecksum: false }, data, pseudo),
      verify: (b: Uint8Array) => decodeUdp(b, pseudo),
    },
  ];
  for (const { sent, verify } of messages) {
    verify(sent);
    const wrong = Uint8Array.from(sent);
    wrong[wrong.length - 1]! ^= 1;
    assert.throws(
      () => verify(wrong),
      (e) => e instanceof DecodeError && e.code === 'bad-checksum',
    );
  }
});

test('a UDP checksum that comes out as zero is sent as all ones', () => {
  const header = { srcPort: 0, dstPort: 0, noChecksum: false };
  const sent = encodeUdp(header, new Uint8Array(0), (length) => 0xffff - 2 * length + length);
  assert.deepEqual([...sent.subarray(6, 8)], [0xff, 0xff]);
  assert.equal(decodeUdp(sent).header.noChecksum, false);
});

test('identifier and sequence of an echo are the halves of its rest', () => {
  assert.deepEqual(echoOf({ rest: echoRest(0xfffe, 7) }), { id: 0xfffe, sequence: 7 });
});
