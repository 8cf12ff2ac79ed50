import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ipv4, type Ipv6, type Mac, parseIp } from '../base/addresses.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { NO_BYTES } from '../packet/input.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import { encodePacket, type Layer4, type Packet } from '../packet/packet.ts';
import { readFrame } from './frame.ts';
import { writeFrame } from './write-frame.ts';

const PAYLOAD = Uint8Array.of(1, 2, 3);
const udp = (srcPort: number, dstPort: number): Layer4 => ({ kind: 'udp', srcPort, dstPort, noChecksum: false });
const tcp = (srcPort: number, dstPort: number): Layer4 => ({
  ...{ kind: 'tcp', srcPort, dstPort, sequence: 9, acknowledgement: 0 },
  ...{ flags: 2, window: 100, urgent: 0, options: NO_BYTES },
});

function packet4(mac: number, src: string, dst: string, ttl: number, protocol: number, l4: Layer4): Packet {
  const [from, to] = [parseIp(src)!.value as Ipv4, parseIp(dst)!.value as Ipv4];
  const ethernet = { src: mac as Mac, dst: (mac + 1) as Mac, etherType: ETHER_TYPE.ipv4 };
  const l3 = { kind: 'ipv4', ...ipv4Header({ src: from, dst: to, protocol, ttl }) } as const;
  return { ethernet, vlans: [], l3, l4, payload: PAYLOAD };
}

function packet6(mac: number, src: string, dst: string, hopLimit: number, nextHeader: number, l4: Layer4): Packet {
  const [from, to] = [parseIp(src)!.value as Ipv6, parseIp(dst)!.value as Ipv6];
  const ethernet = { src: mac as Mac, dst: (mac + 1) as Mac, etherType: ETHER_TYPE.ipv6 };
  const l3 = { kind: 'ipv6', ...ipv6Header({ src: from, dst: to, nextHeader, hopLimit }) } as const;
  return { ethernet, vlans: [], l3, l4, payload: PAYLOAD };
}

for (const [what, before, after] of [
  [
    'UDP',
    packet4(0x0200, '10.0.0.1', '10.0.0.2', 64, 17, udp(1, 2)),
    packet4(0x0300, '1.2.3.4', '10.9.0.2', 63, 17, udp(1025, 80)),
  ],
  [
    'TCP',
    packet4(0x0200, '10.0.0.1', '10.0.0.2', 64, 6, tcp(1, 2)),
    packet4(0x0300, '1.2.3.4', '10.9.0.2', 62, 6, tcp(1025, 80)),
  ],
  [
    'ICMP',
    packet4(0x0200, '10.0.0.1', '10.0.0.2', 64, 1, { kind: 'icmp', type: 8, code: 0, rest: 5 }),
    packet4(0x0300, '10.0.0.2', '10.0.0.1', 9, 1, { kind: 'icmp', type: 0, code: 0, rest: 5 }),
  ],
  [
    'TCP over IPv6',
    packet6(0x0200, '2001:db8::1', '2001:db8::2', 64, 6, tcp(1, 2)),
    packet6(0x0300, '2001:db8:ffff::1', '2001:db8::3', 63, 6, tcp(9, 80)),
  ],
  [
    'ICMPv6',
    packet6(0x0200, '2001:db8::1', '2001:db8::2', 64, 58, { kind: 'icmpv6', type: 128, code: 0, rest: 5 }),
    packet6(0x0300, '2001:db8::2', '2001:db8::1', 64, 58, { kind: 'icmpv6', type: 129, code: 0, rest: 5 }),
  ],
] as const)
  test(`a rewritten frame has the bytes and checksums of one that was sent so: ${what}`, () => {
    const wanted = encodePacket(after);
    assert.deepEqual(writeFrame(encodePacket(before), readFrame(wanted), 0), wanted);
  });

test('an ICMP error quotes what its receiver sent, and its checksums are right', () => {
  const error = (to: string, inner: Packet): Uint8Array => {
    const outer = packet4(0x0200, '192.0.2.1', to, 64, 1, { kind: 'icmp', type: 3, code: 1, rest: 0 });
    return encodePacket({ ...outer, payload: encodePacket(inner).subarray(14, 14 + 28) });
  };
  // The quoted transport checksum stays as it was, so that it is the same in both here.
  const sent = error(
    '203.0.113.10',
    packet4(0, '203.0.113.10', '192.0.2.9', 63, 132, { ...udp(2048, 80), noChecksum: true } as Layer4),
  );
  const wanted = error(
    '10.0.1.12',
    packet4(0, '10.0.1.12', '192.0.2.9', 63, 132, { ...udp(40_000, 80), noChecksum: true } as Layer4),
  );
  const frame = readFrame(wanted);
  assert.equal(frame.quoted?.srcPort, 40_000);
  assert.deepEqual(writeFrame(sent, frame, 0), wanted);
});

test('the outer tag is set, changed and taken away', () => {
  const plain = encodePacket(packet4(0x0200, '10.0.0.1', '10.0.0.2', 64, 17, udp(1, 2)));
  const tagged = writeFrame(plain, readFrame(plain), 7);
  assert.equal(readFrame(tagged).tag, 7);
  assert.equal(readFrame(writeFrame(tagged, readFrame(tagged), 8)).tag, 8);
  assert.deepEqual(writeFrame(tagged, readFrame(tagged), 0), plain);
});
