import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { type Ip, type Ipv4, type Ipv6, type Mac, parseIp } from '../../base/addresses.ts';
import { formatHex } from '../../base/bytes.ts';
import { ETHER_TYPE } from '../../packet/ethernet.ts';
import { NO_BYTES } from '../../packet/input.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { ipv4Header } from '../../packet/ipv4.ts';
import { ipv6Header } from '../../packet/ipv6.ts';
import { encodePacket, type Layer4 } from '../../packet/packet.ts';
import { TCP_FLAG } from '../../packet/tcp.ts';
import { withCaptureFile } from '../../packet/testing/capture-file.ts';
import { type IcmpComplaint, icmpErrorFrame } from './icmp-error.ts';
import { offenderOf } from './offender.ts';
import { tcpResetFrame } from './tcp-reset.ts';

const ETHERNET = { dst: 0x02_00_00_00_00_01 as Mac, src: 0x02_00_00_00_00_0a as Mac };
const A4 = 0x0a00_0002 as Ipv4;
const B4 = 0xc000_0209 as Ipv4;
const A6 = 0x2001_0db8_0000_0000_0000_0000_0000_0002n as Ipv6;
const B6 = 0x2001_0db8_0001_0000_0000_0000_0000_0009n as Ipv6;
const ROUTER4 = parseIp('10.0.0.1')!;
const ROUTER6 = parseIp('2001:db8::1')!;

function packet4(l4: Layer4, payload: Uint8Array = NO_BYTES, header = {}): Uint8Array {
  const protocol = IP_PROTO[l4.kind as 'udp'];
  const l3 = { kind: 'ipv4', ...ipv4Header({ src: A4, dst: B4, protocol, ...header }) } as const;
  return encodePacket({ ethernet: { ...ETHERNET, etherType: ETHER_TYPE.ipv4 }, vlans: [], l3, l4, payload });
}
function packet6(l4: Layer4, payload: Uint8Array = NO_BYTES, header = {}): Uint8Array {
  const l3 = {
    kind: 'ipv6',
    ...ipv6Header({ src: A6, dst: B6, nextHeader: IP_PROTO[l4.kind as 'udp'], ...header }),
  } as const;
  return encodePacket({ ethernet: { ...ETHERNET, etherType: ETHER_TYPE.ipv6 }, vlans: [], l3, l4, payload });
}
const udp: Layer4 = { kind: 'udp', srcPort: 1000, dstPort: 53, noChecksum: false };
const tcp = (flags: number, sequence = 1000, acknowledgement = 0): Layer4 =>
  ({
    ...{ kind: 'tcp', srcPort: 4000, dstPort: 80, sequence, acknowledgement, flags, window: 512, urgent: 0 },
    options: NO_BYTES,
  }) as Layer4;

function error(frame: Uint8Array, complaint: IcmpComplaint, source: Ip): Uint8Array {
  return icmpErrorFrame(offenderOf(frame)!, complaint, source);
}

test('an ICMP error carries the packet from the router to its sender, byte for byte', () => {
  const frame = packet4(udp, Uint8Array.of(1, 2), { ttl: 1, id: 7 });
  const packet = formatHex(frame.subarray(14));
  assert.equal(packet, '4500001e000700000111 edbd 0a000002c0000209 03e80035000a 2eb0 0102'.replaceAll(' ', ''));
  assert.equal(
    formatHex(error(frame, { about: 'ttl' }, ROUTER4)),
    `02000000000a0200000000010800 45c0003a000000004001 6601 0a0000010a000002 0b00 c126 00000000`.replaceAll(' ', '') +
      packet,
  );
});

test('an error says as much of the packet as 576 bytes hold, or 1,280 over IPv6', () => {
  assert.equal(error(packet4(udp, new Uint8Array(1400)), { about: 'no-route' }, ROUTER4).length, 14 + 576);
  assert.equal(error(packet6(udp, new Uint8Array(1400)), { about: 'no-route' }, ROUTER6).length, 14 + 1280);
});

test('nothing is said about ICMP errors, later fragments, groups, broadcasts and sources that are nobody', () => {
  const icmp = (type: number): Layer4 => ({ kind: 'icmp', type, code: 0, rest: 0 });
  const icmp6 = (type: number): Layer4 => ({ kind: 'icmpv6', type, code: 0, rest: 0 });
  assert.ok(offenderOf(packet4(icmp(8))));
  for (const type of [3, 4, 5, 11, 12])
    assert.equal(offenderOf(packet4(icmp(type), packet4(udp).subarray(14))), undefined);
  assert.ok(offenderOf(packet6(icmp6(128))));
  for (const type of [1, 2, 3, 4, 127]) assert.equal(offenderOf(packet6(icmp6(type))), undefined);
  for (const dst of [0xe000_0001, 0xffff_ffff, 0x7f00_0001])
    assert.equal(offenderOf(packet4(udp, NO_BYTES, { dst })), undefined);
  for (const src of [0, 0xe000_0001, 0x7f00_0001]) assert.equal(offenderOf(packet4(udp, NO_BYTES, { src })), undefined);
  assert.equal(offenderOf(packet6(udp, NO_BYTES, { src: 0n })), undefined);
  assert.equal(offenderOf(packet6(udp, NO_BYTES, { dst: 0xff02n << 112n })), undefined);
  const later = packet4(udp);
  later.set([0x00, 0x01], 20);
  assert.equal(offenderOf(later), undefined);
  const group = packet4(udp);
  group[0] = 0x01;
  assert.equal(offenderOf(group), undefined);
  for (let length = 0; length < 41; length++) assert.equal(offenderOf(packet4(udp).subarray(0, length)), undefined);
});

test('a reset takes its sequence number from the segment, as RFC 9293 says', () => {
  const reset = (frame: Uint8Array): string | undefined => {
    const made = tcpResetFrame(offenderOf(frame)!);
    return made && formatHex(made.subarray(34, 48));
  };
  const ports = '00500fa0';
  assert.equal(reset(packet4(tcp(TCP_FLAG.syn))), `${ports}00000000000003e95014`);
  assert.equal(reset(packet4(tcp(TCP_FLAG.syn | TCP_FLAG.fin), new Uint8Array(10))), `${ports}00000000000003f45014`);
  assert.equal(reset(packet4(tcp(TCP_FLAG.ack, 5, 0xffff_ffff))), `${ports}ffffffff000000005004`);
  assert.equal(reset(packet4(tcp(TCP_FLAG.syn, 0xffff_ffff))), `${ports}00000000000000005014`);
  assert.equal(reset(packet4(tcp(TCP_FLAG.rst))), undefined);
  assert.equal(reset(packet4(udp)), undefined);
});

test('Wireshark finds nothing wrong with errors and resets, and reads in them what was meant', (t) => {
  const frames = [
    error(packet4(udp, new Uint8Array(40)), { about: 'no-route' }, ROUTER4),
    error(packet4(udp, new Uint8Array(40)), { about: 'too-big', mtu: 1400 }, ROUTER4),
    error(packet4(udp), { about: 'prohibited' }, ROUTER4),
    error(packet4(udp), { about: 'no-port' }, ROUTER4),
    error(packet6(udp), { about: 'ttl' }, ROUTER6),
    error(packet6(udp, new Uint8Array(1300)), { about: 'too-big', mtu: 1400 }, ROUTER6),
    error(packet6(udp), { about: 'prohibited' }, ROUTER6),
    error(packet6(udp), { about: 'no-port' }, ROUTER6),
    tcpResetFrame(offenderOf(packet4(tcp(TCP_FLAG.syn)))!)!,
    tcpResetFrame(offenderOf(packet6(tcp(TCP_FLAG.ack, 1, 2)))!)!,
  ];
  const fields = ['icmp.type', 'icmp.code', 'icmp.mtu', 'icmpv6.type', 'icmpv6.code', 'icmpv6.mtu', 'tcp.flags.reset'];
  const sums = ['ip', 'icmp', 'icmpv6', 'tcp'].map((name) => `${name}.checksum.status`);
  const lines = withCaptureFile(frames, (path) => {
    const checks = ['ip', 'tcp'].flatMap((name) => ['-o', `${name}.check_checksum:TRUE`]);
    const columns = [...fields, ...sums, '_ws.malformed'].flatMap((field) => ['-e', field]);
    const run = spawnSync('tshark', ['-n', '-r', path, ...checks, '-T', 'fields', '-E', 'occurrence=f', ...columns], {
      encoding: 'utf8',
    });
    return run.error ? undefined : run.stdout.split('\n').slice(0, frames.length);
  });
  if (!lines) return t.skip('tshark is not installed');
  const read = lines.map((line) => line.split('\t'));
  assert.deepEqual(
    read.map((values) => values.slice(0, fields.length).join(' ')),
    [
      '3 0     ', '3 4 1400    ', '3 13     ', '3 3     ',
      '   3 0  ', '   2 0 1400 ', '   1 1  ', '   1 4  ',
      '      1', '      1',
    ], // biome-ignore format: a table
  );
  for (const values of read)
    for (const sum of values.slice(fields.length)) assert.ok(sum === '' || sum === '1', values.join());
});
