import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIpv6, parseIpv6 } from '../base/addresses.ts';
import { formatHex, parseHex } from '../base/bytes.ts';
import { seededRandom } from '../base/random.ts';
import { emptyFlowKey, extractFlowKey, IP_FRAG, VLAN_PRESENT } from './flow-key.ts';
import { encodePacket } from './packet.ts';
import { packet } from './testing/arbitraries.ts';
import { withCaptureFile } from './testing/capture-file.ts';
import { mutate } from './testing/codec-contract.ts';
import { openVswitchText } from './testing/open-vswitch-text.ts';

const CAMPAIGN = process.env.WEFT_CAMPAIGN === '1';
const MACS = '0102030405060708090a0b0c';

/** Frames of every kind, and what becomes of them by mutation and by cutting. */
function corpus(size: number, seed: number): Uint8Array[] {
  const random = seededRandom(seed);
  return fc.sample(packet, { numRuns: size, seed }).flatMap((value) => {
    const frame = encodePacket(value);
    return [frame, mutate(frame, random), mutate(frame, random), frame.subarray(0, random.below(frame.length + 1))];
  });
}

/** What only a hand makes: label stacks, SNAP, IGMP, SCTP, tags that are cut. */
const BY_HAND = [
  `${MACS}8847 00001001 00002102`,
  `${MACS}8848 00001001 00002002 00003003 00004104`,
  `${MACS}8847 000010`,
  `${MACS}0020 aaaa03000000 0800 4500001400000000402f00000101010102020202`,
  `${MACS}0020 aaaa03000000 0020 00`,
  `${MACS}0020 424203`,
  `${MACS}0800 4600002000000000010200000101010102020202 94040000 1164ee9be0000001`,
  `${MACS}0800 45000020000000000a8400000101010102020202 1101000100000000e0000001`,
  `${MACS}0800 450000280000000040060000 0101010102020202 00500051 00000000 00000000 40120000 00000000`,
  `${MACS}0800 450000280000000040060000 0101010102020202 00500051 00000000 00000000 f0120000 00000000`,
  `${MACS}8100 0064`,
  `${MACS}8100 0064 0800`,
  `${MACS}8100 0064 8100 0065 8100 0066 0800`,
  `${MACS}0806 0001080006040101 0708090a0b0c 0a000001 000000000000 0a000002`,
  `${MACS}0806 0001080006050001 0708090a0b0c 0a000001 000000000000 0a000002`,
].map(parseHex);

test('the flow key is what Open vSwitch extracts, malformed and truncated frames included', (t) => {
  const frames = [...corpus(CAMPAIGN ? 250_000 : 2_000, 7), ...BY_HAND].filter((frame) => frame.length > 0);
  const lines = withCaptureFile(frames, (path) => {
    const run = spawnSync('ovs-ofctl', ['parse-pcap', path], { encoding: 'latin1', maxBuffer: 1 << 30 });
    return run.status === 0 ? run.stdout.split('\n') : undefined;
  });
  if (!lines) return t.skip('ovs-ofctl parse-pcap does not run here');
  for (const [i, frame] of frames.entries())
    assert.equal(openVswitchText(extractFlowKey(frame, 2)), canonical(lines[i]!), formatHex(frame));
});

/** Open vSwitch prints an IPv6 address that ends in an IPv4 address with dots. */
function canonical(line: string): string {
  return line.replace(/(ipv6_src|ipv6_dst|nd_target)=([0-9a-f:.]+)/g, (_, name, address) => {
    return `${name}=${formatIpv6(parseIpv6(address)!)}`;
  });
}

test('extraction never throws', () => {
  const random = seededRandom(11);
  const seeds = [...corpus(50, 5), ...BY_HAND];
  const rounds = CAMPAIGN ? 1_000_000 : 3_000;
  for (let i = 0; i < rounds; i++) extractFlowKey(mutate(seeds[i % seeds.length]!, random), random.below(3));
  for (const frame of BY_HAND)
    for (let length = 0; length <= frame.length; length++) extractFlowKey(frame.subarray(0, length));
});

test('a frame shorter than an Ethernet header has an empty key', () => {
  assert.deepEqual(extractFlowKey(parseHex(`${MACS}08`)), emptyFlowKey());
});

test('tags past the limit stay behind the EtherType', () => {
  const frame = parseHex(`${MACS}8100 6064 8100 0065 0800`);
  const key = extractFlowKey(frame);
  assert.deepEqual(key.vlans, [{ tpid: 0x8100, tci: 0x6064 | VLAN_PRESENT }]);
  assert.equal(key.ethType, 0x8100);
  assert.equal(extractFlowKey(frame, 2).ethType, 0x0800);
  assert.equal(extractFlowKey(frame, 0).vlans.length, 0);
});

test('a later fragment has no ports, a first one has', () => {
  const fragment = (bits: string) =>
    extractFlowKey(parseHex(`${MACS}0800 4500001c0000${bits}401100000a0000010a000002 0035003600080000`));
  assert.deepEqual([fragment('2000').ipFrag, fragment('2000').tpDst], [IP_FRAG.any, 0x36]);
  assert.deepEqual([fragment('2001').ipFrag, fragment('2001').tpDst], [IP_FRAG.any | IP_FRAG.later, 0]);
});
