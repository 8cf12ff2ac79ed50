import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ipv4, Mac } from '../../base/addresses.ts';
import { ETHER_TYPE } from '../../packet/ethernet.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { decodeIpv4, type Ipv4Header, ipv4Header } from '../../packet/ipv4.ts';
import { encodePacket } from '../../packet/packet.ts';
import { cutIpv4, SMALLEST_FRAGMENT } from './fragments.ts';

const ETHERNET = { dst: 0x02_00_00_00_00_01 as Mac, src: 0x02_00_00_00_00_0a as Mac, etherType: ETHER_TYPE.ipv4 };
const ENDS = { src: 0x0a00_0002 as Ipv4, dst: 0xc000_0209 as Ipv4, protocol: IP_PROTO.udp };
const BYTES = 14;

function packetOf(bytes: number, more: Partial<Ipv4Header> = {}): Uint8Array {
  const header = ipv4Header({ ...ENDS, id: 77, ...more });
  const payload = Uint8Array.from({ length: bytes - 20 - header.options.length }, (_, i) => i % 251);
  return encodePacket({ ethernet: ETHERNET, vlans: [], l3: { kind: 'ipv4', ...header }, payload }).slice();
}
const read = (frame: Uint8Array): { readonly header: Ipv4Header; readonly data: Uint8Array } => {
  const { header, body } = decodeIpv4(frame.subarray(BYTES), true);
  return { header, data: body.rest() };
};

test('a packet is cut into fragments that fit, which together are what it was', () => {
  const whole = packetOf(4000);
  const parts = cutIpv4(whole, 1450)!;
  assert.deepEqual(
    parts.map((frame) => frame.length - BYTES),
    [1348, 1348, 1344],
  );
  const seen = parts.map(read);
  assert.deepEqual(
    seen.map(({ header: { fragmentOffset, moreFragments, id } }) => [fragmentOffset, moreFragments, id]),
    [
      [0, true, 77],
      [1328, true, 77],
      [2656, false, 77],
    ],
  );
  assert.deepEqual(Buffer.concat(seen.map(({ data }) => data)), Buffer.from(read(whole).data));
  for (const frame of parts) assert.deepEqual(frame.subarray(0, BYTES), whole.subarray(0, BYTES));
});

test('a fragment is cut into fragments of the same packet', () => {
  const parts = cutIpv4(packetOf(1500, { moreFragments: true, fragmentOffset: 1480 }), 1450)!;
  assert.deepEqual(
    parts.map(read).map(({ header: { fragmentOffset, moreFragments } }) => [fragmentOffset, moreFragments]),
    [
      [1480, true],
      [2224, true],
    ],
  );
});

test('options stand in the first fragment, and those that say so in all', () => {
  const timestamp = [68, 4, 5, 0];
  const security = [130, 4, 1, 2];
  const parts = cutIpv4(packetOf(1500, { options: Uint8Array.of(...timestamp, ...security) }), 1450)!;
  assert.deepEqual(
    parts.map((frame) => [...read(frame).header.options]),
    [[...timestamp, ...security], security],
  );
});

test('what fits stays, what may not be cut is not, and no fragment is one that Open vSwitch takes for an attack', () => {
  const small = packetOf(1450);
  assert.deepEqual(cutIpv4(small, 1450), [small]);
  assert.equal(cutIpv4(packetOf(1500, { dontFragment: true }), 1450), undefined);
  assert.equal(cutIpv4(packetOf(1500).fill(0x86, 12, 13), 1450), undefined);
  assert.equal(cutIpv4(packetOf(1500).subarray(0, 1000), 1450), undefined);
  for (const bytes of [1500, 900, 870])
    assert.ok(cutIpv4(packetOf(bytes), 576)![0]!.length - BYTES >= SMALLEST_FRAGMENT);
});
