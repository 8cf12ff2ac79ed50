import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ipv4, Mac } from '../base/addresses.ts';
import { ByteWriter } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { DHCP_MESSAGE, type DhcpMessage, decodeDhcp, dhcpOption, encodeDhcp } from './dhcp.ts';
import { dhcpMessage } from './testing/arbitraries-dhcp.ts';
import { testCodec } from './testing/codec-contract.ts';

testCodec({ name: 'DHCP', values: dhcpMessage, encode: encodeDhcp, decode: decodeDhcp });

const EMPTY: DhcpMessage = {
  op: 1,
  hops: 0,
  transactionId: 1,
  secs: 0,
  flags: 0,
  clientAddress: 0 as Ipv4,
  yourAddress: 0 as Ipv4,
  serverAddress: 0 as Ipv4,
  relayAddress: 0 as Ipv4,
  clientMac: 0x0200_0000_0001 as Mac,
  serverName: '',
  bootFile: '',
  options: [],
};
const OPTIONS_AT = 240;

test('the example of RFC 3442 encodes as the RFC says', () => {
  const route = (a: number, b: number, c: number, prefixLength: number) => ({
    destination: ((a << 24) | (b << 16) | (c << 8)) as Ipv4,
    prefixLength,
    gateway: 0x0a00_0001 as Ipv4,
  });
  const value = [route(0, 0, 0, 0), route(10, 0, 0, 8), route(10, 17, 0, 16), route(10, 27, 129, 24)];
  const bytes = encodeDhcp({ ...EMPTY, options: [{ kind: 'staticRoutes', value }] });
  assert.deepEqual(
    [...bytes.subarray(OPTIONS_AT, OPTIONS_AT + 29)],
    [121, 26, 0, 10, 0, 0, 1, 8, 10, 10, 0, 0, 1, 16, 10, 17, 10, 0, 0, 1, 24, 10, 27, 129, 10, 0, 0, 1, 255],
  );
});

test('a message is at least 300 bytes long', () => {
  assert.equal(encodeDhcp(EMPTY).length, 300);
});

test('options in the file and name fields follow the others', () => {
  const writer = new ByteWriter();
  encodeDhcp(EMPTY, writer);
  const bytes = writer.finish();
  bytes.set([53, 1, DHCP_MESSAGE.offer, 52, 1, 3, 12, 1, 0x61, 255], OPTIONS_AT);
  bytes.set([12, 1, 0x62, 255], 108); // file: the rest of the host name
  bytes.set([26, 2, 5, 0x78, 255], 44); // server name: MTU 1400
  const message = decodeDhcp(bytes);
  assert.deepEqual(message.options, [
    { kind: 'messageType', value: DHCP_MESSAGE.offer },
    { kind: 'hostName', value: 'ab' },
    { kind: 'mtu', value: 1400 },
  ]);
  assert.equal(message.bootFile, '');
  assert.equal(dhcpOption(message, 'mtu'), 1400);
  assert.equal(dhcpOption(message, 'routers'), undefined);
});

test('a value of the wrong length is named with its code and offset', () => {
  const bytes = encodeDhcp(EMPTY).slice();
  bytes.set([1, 3, 255, 255, 0, 255], OPTIONS_AT);
  assert.throws(
    () => decodeDhcp(bytes),
    (e) =>
      e instanceof DecodeError && e.code === 'truncated' && e.field === 'dhcp.option.subnetMask' && e.offset === 242,
  );
});
