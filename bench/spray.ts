import { BROADCAST_MAC, type Ipv4, type Ipv6, type Mac, parseIpv4, parseMac } from '../src/base/addresses.ts';
import { type Random, seededRandom } from '../src/base/random.ts';
import { type Spray, sendFrames } from '../src/lab/spray.ts';
import { requestLease } from '../src/lab/udhcpc.ts';
import { ARP_OP } from '../src/packet/arp.ts';
import { ETHER_TYPE } from '../src/packet/ethernet.ts';
import { IP_PROTO } from '../src/packet/ip-protocol.ts';
import { ipv4Header } from '../src/packet/ipv4.ts';
import { ipv6Header } from '../src/packet/ipv6.ts';
import { encodePacket } from '../src/packet/packet.ts';
import { type Bench, type BenchContext, bounded, compared, type Figure, median, plain, quantile } from './bench.ts';
import { planPorts } from './network.ts';
import { ping } from './traffic.ts';
import { startWeft } from './weft.ts';

/** What a workload that sends from random addresses takes from others on its host. */
export const spray: Bench = {
  name: 'spray',
  about: 'ping and DHCP of workloads beside one that sends 50,000 packets/s from random MAC and IP addresses',
  needsRoot: true,
  run,
};

const PPS = 50_000;
/** The sprayed frames begin anew after so many: more than a datapath keeps megaflows for in a second. */
const FRAMES = 50_000;
const BAR_RATIO = 1.5;
const BAR_DHCP_MS = 1_000;

async function run(context: BenchContext): Promise<Figure[]> {
  const size = { switches: 1, ports: 4, localPorts: 4, localSwitches: 1 };
  const weft = await startWeft(context, { size, workloads: ['spray', 'near-a', 'near-b', 'client'] });
  const { lab } = weft;
  const [, a, b] = planPorts(size);
  const pair = { from: 'near-a', to: 'near-b', fromAddress: a!.addresses[0], toAddress: b!.addresses[0] };
  const pings = { count: context.quick ? 100 : 500, intervalMs: 10 };
  await ping(lab, pair, { count: 5, intervalMs: 10 });

  context.progress('pings in peace');
  const peace = await ping(lab, pair, pings);
  const lease = await requestLease(lab, 'client');
  context.progress(`pings under ${PPS} packets/s`);
  const target = { mac: parseMac(a!.mac)!, ip: parseIpv4(a!.addresses[0])! };
  const frames = sprayFrames(parseMac(lab.workload('spray').mac)!, target, seededRandom(1));
  const running = await startSpray(context, () => sendFrames(lab, 'spray', frames, { pps: PPS, loop: 'forever' }));
  const [under, leaseUnder] = await Promise.all([ping(lab, pair, pings), requestLease(lab, 'client')]);
  const { pps } = await running.stop();
  const peer = { name: 'without the spray', value: median(peace) };
  const lost = (100 * (pings.count - under.length)) / pings.count;
  return [
    compared('ping between two others, median', median(under), 'ms', peer, { atMost: BAR_RATIO }),
    compared('ping, of 100 the 99th', quantile(under, 0.99), 'ms', { ...peer, value: quantile(peace, 0.99) }),
    plain('pings lost', lost, '%'),
    bounded('DHCP client from start to lease', leaseUnder.elapsedMs, 'ms', BAR_DHCP_MS),
    plain('the same without the spray', lease.elapsedMs, 'ms'),
    plain('sprayed', pps, 'packets/s'),
  ];
}

/** Returns when it has begun; stopped with the bench at the latest. */
async function startSpray(context: BenchContext, start: () => Promise<Spray>): Promise<Spray> {
  const running = await start();
  context.defer(() => running.stop().catch(() => {}));
  await context.sleep(200); // tcpreplay reads its file first
  return running;
}

/**
 * Frames of every sort that costs a careless switch a megaflow each: random MACs; the own MAC with random IPv4, IPv6 and
 * ARP senders; and to random destinations.
 */
function sprayFrames(own: Mac, to: { readonly mac: Mac; readonly ip: Ipv4 }, random: Random): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let i = 0; i < FRAMES; i++) frames.push(SORTS[i % SORTS.length]!(own, to, random));
  return frames;
}

type Sort = (own: Mac, to: { readonly mac: Mac; readonly ip: Ipv4 }, random: Random) => Uint8Array;

const SORTS: readonly Sort[] = [
  (_, to, random) => udp4(unicastMac(random), to.mac, random.u32() as Ipv4, to.ip),
  (own, to, random) => udp4(own, to.mac, random.u32() as Ipv4, to.ip),
  (_, __, random) => udp4(unicastMac(random), unicastMac(random), random.u32() as Ipv4, random.u32() as Ipv4),
  (own, to, random) => udp6(own, to.mac, wide(random), wide(random)),
  (own, to, random) => arp(own, unicastMac(random), random.u32() as Ipv4, to.ip),
  (own, to, random) => arp(own, own, random.u32() as Ipv4, to.ip),
];

const UDP = { kind: 'udp', srcPort: 1000, dstPort: 1000, noChecksum: false } as const;
const PAYLOAD = new Uint8Array(18);

function udp4(src: Mac, dst: Mac, from: Ipv4, to: Ipv4): Uint8Array {
  const l3 = ipv4Header({ src: from, dst: to, protocol: IP_PROTO.udp });
  const ethernet = { src, dst, etherType: ETHER_TYPE.ipv4 };
  return encodePacket({ ethernet, vlans: [], l3: { kind: 'ipv4', ...l3 }, l4: UDP, payload: PAYLOAD });
}

function udp6(src: Mac, dst: Mac, from: Ipv6, to: Ipv6): Uint8Array {
  const l3 = ipv6Header({ src: from, dst: to, nextHeader: IP_PROTO.udp });
  const ethernet = { src, dst, etherType: ETHER_TYPE.ipv6 };
  return encodePacket({ ethernet, vlans: [], l3: { kind: 'ipv6', ...l3 }, l4: UDP, payload: PAYLOAD });
}

function arp(src: Mac, senderMac: Mac, senderIp: Ipv4, targetIp: Ipv4): Uint8Array {
  const l3 = { kind: 'arp', op: ARP_OP.request, sha: senderMac, spa: senderIp, tha: 0 as Mac, tpa: targetIp } as const;
  const ethernet = { src, dst: BROADCAST_MAC, etherType: ETHER_TYPE.arp };
  return encodePacket({ ethernet, vlans: [], l3, payload: new Uint8Array(0) });
}

/** Random but for the group bit: a frame from a group address is dropped by the simplest of switches. */
function unicastMac(random: Random): Mac {
  return ((random.u32() & 0xfeff) * 0x1_0000_0000 + random.u32()) as Mac;
}

function wide(random: Random): Ipv6 {
  return ((0xfd00n << 112n) | (BigInt(random.u32()) << 32n) | BigInt(random.u32())) as Ipv6;
}
