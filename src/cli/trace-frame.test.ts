import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Mac, parseIp, parseMac } from '../base/addresses.ts';
import { decodePacket } from '../packet/packet.ts';
import { UsageError } from './exit-codes.ts';
import { buildFrame, formatTracedProtocol, parseTracedProtocol } from './trace-frame.ts';

const end = (mac: string, ip: string) => ({ mac: parseMac(mac) as Mac, ip: parseIp(ip)! });
const [a4, b4] = [end('02:00:00:00:00:01', '10.0.0.1'), end('02:00:00:00:00:02', '10.0.0.2')];
const [a6, b6] = [end('02:00:00:00:00:01', 'fd00::1'), end('02:00:00:00:00:02', 'fd00::2')];

test('protocols are written as tcp/443, udp/53, icmp, arp, nd and dhcp', () => {
  assert.deepEqual(parseTracedProtocol('tcp/443'), { kind: 'tcp', port: 443 });
  assert.deepEqual(parseTracedProtocol('udp/53'), { kind: 'udp', port: 53 });
  for (const kind of ['icmp', 'arp', 'nd', 'dhcp']) assert.deepEqual(parseTracedProtocol(kind), { kind });
  for (const text of ['tcp/443', 'sctp/5000', 'icmp'])
    assert.equal(formatTracedProtocol(parseTracedProtocol(text)), text);
  for (const wrong of ['tcp', 'tcp/', 'tcp/65536', 'gre/1', '443', ''])
    assert.throws(() => parseTracedProtocol(wrong), UsageError, wrong);
});

test('frames are what a workload would send, with right checksums', () => {
  const decoded = (frame: Uint8Array) => decodePacket(frame, { verifyChecksums: true });
  const tcp = decoded(buildFrame({ kind: 'tcp', port: 443 }, a4, b4));
  assert.equal(tcp.l3?.kind, 'ipv4');
  assert.equal(tcp.l4?.kind === 'tcp' && tcp.l4.dstPort, 443);
  const udp = decoded(buildFrame({ kind: 'udp', port: 53 }, a6, b6));
  assert.equal(udp.l3?.kind, 'ipv6');
  assert.equal(udp.l4?.kind === 'udp' && udp.l4.dstPort, 53);
  assert.equal(decoded(buildFrame({ kind: 'icmp' }, a4, b4)).l4?.kind, 'icmp');
  assert.equal(decoded(buildFrame({ kind: 'icmp' }, a6, b6)).l4?.kind, 'icmpv6');
  assert.equal(decoded(buildFrame({ kind: 'arp' }, a4, b4)).l3?.kind, 'arp');
  assert.equal(decoded(buildFrame({ kind: 'nd' }, a6, b6)).l4?.kind, 'nd');
  const dhcp = decoded(buildFrame({ kind: 'dhcp' }, a4, undefined));
  assert.deepEqual(dhcp.l4?.kind === 'udp' && [dhcp.l4.srcPort, dhcp.l4.dstPort], [68, 67]);
  assert.equal(decoded(buildFrame({ kind: 'icmp' }, a4, b4, 7)).vlans[0]?.vid, 7);
});

test('ends that do not fit the protocol are refused', () => {
  assert.throws(() => buildFrame({ kind: 'icmp' }, a4, b6), UsageError);
  assert.throws(() => buildFrame({ kind: 'arp' }, a6, b6), UsageError);
  assert.throws(() => buildFrame({ kind: 'sctp', port: 5000 }, a4, b4), UsageError);
  assert.throws(() => buildFrame({ kind: 'nd' }, a4, b4), UsageError);
  assert.throws(() => buildFrame({ kind: 'tcp', port: 1 }, a4, undefined), UsageError);
});
