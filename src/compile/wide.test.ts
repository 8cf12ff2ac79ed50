import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Mac, parseIpv4, parseIpv6, parseMac } from '../base/addresses.ts';
import { type Random, seededRandom } from '../base/random.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import type { NdMessage } from '../packet/nd.ts';
import { encodePacket, type Packet } from '../packet/packet.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import { createCompiler } from './compiler.ts';
import { WANTED_PREFIXES } from './tables.ts';
import { largeModel } from './testing/large.ts';
import { WIDE_BITS as TARGET_BITS } from './units/guard.ts';
import { WIDE_BITS as LOOKUP_BITS } from './units/lookup.ts';
import { WIDE_ADDRESS_BITS, WIDE_BITS } from './units/wide.ts';

// Real Open vSwitch: a spray of frames that are dropped has to leave few megaflows behind, and forwarded traffic too.

const FRAMES = process.env.WEFT_CAMPAIGN ? 4000 : 250;
const skip = OpenVswitchFixture.missing() ?? false;
/** The first of the model's ports; the tunnel is none of the fixture's. */
const OFPORT = 1;
const MAC = parseMac('02:16:00:00:00:01')!;
const PEER = parseMac('02:16:00:00:00:02')!;
const IP4 = parseIpv4('10.0.0.2')!;
const IP6 = parseIpv6('2001:db8::1')!;
const NO_BYTES = new Uint8Array(0);

const random48 = (random: Random): Mac => ((random.u32() & 0xfeff) * 0x1_0000_0000 + random.u32()) as Mac;
const random128 = (random: Random): bigint => [0, 1, 2, 3].reduce((value) => (value << 32n) | BigInt(random.u32()), 0n);

function ethernet(src: Mac, dst: Mac, etherType: number, rest: Partial<Packet>): Uint8Array {
  return encodePacket({ vlans: [], payload: NO_BYTES, ...rest, ethernet: { src, dst, etherType } });
}

function ipv4(random: Partial<{ src: Mac; dst: Mac; ip: number; port: number }>): Uint8Array {
  const header = ipv4Header({ src: (random.ip ?? IP4) as never, dst: parseIpv4('10.0.0.3')!, protocol: 6 });
  const tcp = new Uint8Array(20);
  new DataView(tcp.buffer).setUint16(0, random.port ?? 1000);
  tcp[12] = 0x50;
  return ethernet(random.src ?? MAC, random.dst ?? PEER, 0x0800, { l3: { kind: 'ipv4', ...header }, payload: tcp });
}

function arp(sha: Mac, spa: number): Uint8Array {
  const l3 = { kind: 'arp', op: 2, sha, spa: spa as never, tha: 0 as Mac, tpa: parseIpv4('10.0.0.3')! } as const;
  return ethernet(MAC, PEER, 0x0806, { l3 });
}

function ipv6(src: bigint, message: NdMessage): Uint8Array {
  const header = ipv6Header({ src: src as never, dst: parseIpv6('2001:db8::2')!, nextHeader: 58, hopLimit: 255 });
  return ethernet(MAC, PEER, 0x86dd, { l3: { kind: 'ipv6', ...header }, l4: { kind: 'nd', message } });
}

const advert = (target: bigint, option?: Mac): NdMessage => ({
  kind: 'neighborAdvert',
  flags: 0,
  target: target as never,
  options: option === undefined ? [] : [{ kind: 'targetLinkLayer', mac: option }],
});
const solicit = (option: Mac): NdMessage => ({
  kind: 'neighborSolicit',
  target: parseIpv6('2001:db8::77')!,
  options: [{ kind: 'sourceLinkLayer', mac: option }],
});

/** n flows that look at one bit each catch all frames but one of 2^n; those that slip through cost one each (twice as many are allowed). */
const bits = (n: number): number => n + 6 + (2 * FRAMES) / 2 ** n;

/** What is random in the frames, how they are made, and how many megaflows they may leave. */
const SPRAYS: readonly [name: string, make: (random: Random) => Uint8Array, most: number][] = [
  ['Ethernet sources', (random) => ipv4({ src: random48(random) }), bits(WIDE_BITS)],
  [
    'Ethernet and IP sources',
    (random) => ipv4({ src: random48(random), ip: random.u32(), dst: random48(random) }),
    bits(WIDE_BITS),
  ],
  ['IPv4 sources', (random) => ipv4({ ip: random.u32() }), 40],
  ['ARP sender addresses', (random) => arp(MAC, random.u32()), bits(WIDE_ADDRESS_BITS)],
  ['ARP sender MACs', (random) => arp(random48(random), IP4), bits(WIDE_BITS)],
  ['IPv6 sources', (random) => ipv6(random128(random), advert(IP6)), 40],
  ['NA targets', (random) => ipv6(IP6, advert(random128(random))), bits(TARGET_BITS)],
  ['NA target link-layer options', (random) => ipv6(IP6, advert(IP6, random48(random))), bits(WIDE_BITS)],
  ['NS source link-layer options', (random) => ipv6(IP6, solicit(random48(random))), bits(WIDE_BITS)],
  ['destinations', (random) => ipv4({ dst: random48(random) }), bits(LOOKUP_BITS)],
  ['TCP ports, to a known destination', (random) => ipv4({ port: random.below(0x1_0000) }), 10],
];

describe('sprays on Open vSwitch', { skip }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(3);
    const compiler = createCompiler();
    const records = largeModel({ switches: 2, portsPerSwitch: 30, localPorts: 2, hosts: 3 });
    compiler.update(
      records.map((record) => {
        if (record.kind === 'self') return { op: 'put', record: { ...record, meters: {}, tunnelPorts: { geneve: 3 } } };
        return { op: 'put', record: record.kind === 'interface' ? { ...record, ofport: record.ofport - 199 } : record };
      }),
    );
    ovs.setFlows([...compiler.flows()].map(formatFlow));
    ovs.setPrefixes(WANTED_PREFIXES);
  });
  after(() => ovs.stop());

  for (const [name, make, most] of SPRAYS) {
    test(`random ${name} leave few megaflows`, async () => {
      const random = seededRandom(7);
      // By the revalidators themselves: what they still have in hand of the former test would come back otherwise.
      await ovs.control('revalidator/purge');
      await ovs.control('dpctl/del-flows', 'dummy@ovs-dummy');
      for (let i = 0; i < FRAMES; i++)
        await ovs.control('netdev-dummy/receive', `p${OFPORT}`, Buffer.from(make(random)).toString('hex'));
      await ovs.receive(OFPORT, make(random));
      const flows = (await ovs.control('dpctl/dump-flows', 'dummy@ovs-dummy')).trim().split('\n');
      assert.ok(flows.length <= most, `${flows.length} megaflows, such as\n${flows.slice(0, 3).join('\n')}`);
    });
  }
});
