import { once } from 'node:events';
import { join } from 'node:path';
import { parseIpv4, parseMac } from '../src/base/addresses.ts';
import { WeftError } from '../src/base/errors.ts';
import type { Lab } from '../src/lab/lab.ts';
import { UNDERLAY_BRIDGE, UNDERLAY_INTERFACE } from '../src/lab/open-vswitch.ts';
import { ScriptEnd } from '../src/lab/script-end.ts';
import { sendFrames } from '../src/lab/spray.ts';
import { ETHER_TYPE } from '../src/packet/ethernet.ts';
import { IP_PROTO } from '../src/packet/ip-protocol.ts';
import { ipv4Header } from '../src/packet/ipv4.ts';
import { encodePacket } from '../src/packet/packet.ts';
import type { BenchContext } from './bench.ts';

/** Traffic between two workloads of a lab, and what of it arrived. */
export interface Pair {
  readonly from: string;
  readonly to: string;
  readonly fromAddress: string;
  readonly toAddress: string;
  /** The Ethernet destination of what goes there, where that is not the other workload: a router's. */
  readonly nextHop?: string;
  /** Both addresses may be lists, with commas between: connections take them in turn. */
  readonly isSpread?: boolean;
}

const IPERF_PORT = 5201;
const CONNECTION_PORT = 5301;
/** The TCP ports that `listenAt` listens at. */
export const TRAFFIC_PORTS = [IPERF_PORT, CONNECTION_PORT] as const;
/** The UDP port that small packets go to: nobody listens at it. */
export const SMALL_PACKET_PORT = 9;
const FIRST_CONNECTION_END = join(import.meta.dirname, 'first-connection-end.ts');
const CONNECTION_END = join(import.meta.dirname, 'connection-end.ts');
const SIDE_BY_SIDE = 32;

/** Starts what listens at the far end of a pair, for as long as the bench runs. */
export async function listenAt(context: BenchContext, lab: Lab, pair: Pair): Promise<void> {
  const iperf = lab.spawn(pair.to, ['iperf3', '-s', '-p', String(IPERF_PORT), '--forceflush']);
  const server = lab.spawn(pair.to, [process.execPath, CONNECTION_END, 'serve', String(CONNECTION_PORT)]);
  context.defer(() => void [iperf.kill(), server.kill()]);
  await Promise.all([once(iperf.stdout!, 'data'), once(server.stdout!, 'data')]);
}

/** Bits a second that arrive over one TCP connection, after a second to get to its speed, and all bytes that were sent over it. */
export async function tcpThroughput(
  lab: Lab,
  pair: Pair,
  seconds: number,
): Promise<{ readonly bitsPerSecond: number; readonly bytes: number }> {
  const argv = ['iperf3', '-c', pair.toAddress, '-p', String(IPERF_PORT), '-t', String(seconds), '-O', '1', '-J'];
  const report = JSON.parse(await lab.execOk(pair.from, argv)) as {
    readonly intervals: readonly { readonly sum: { readonly bytes: number } }[];
    readonly end: { readonly sum_received: { readonly bits_per_second: number } };
  };
  return {
    bitsPerSecond: report.end.sum_received.bits_per_second,
    bytes: report.intervals.reduce((sum, interval) => sum + interval.sum.bytes, 0),
  };
}

/** Packets a second that arrive when small UDP packets are sent as fast as one process can. */
export async function packetRate(context: BenchContext, lab: Lab, pair: Pair, ms: number): Promise<number> {
  return (await sprayFor(context, lab, pair, ms, () => 0)).perSecond;
}

/** As `packetRate`, with how much a counter (such as processor time) went up per packet. */
export async function sprayFor(
  context: BenchContext,
  lab: Lab,
  pair: Pair,
  ms: number,
  counter: () => number,
): Promise<{ readonly perSecond: number; readonly countedPerPacket: number }> {
  const spray = await sendFrames(lab, pair.from, [await udpFrame(lab, pair)], { pps: 1_000_000, loop: 'forever' });
  try {
    await context.sleep(300);
    const [from, before, counted] = [performance.now(), await packetsReceived(lab, pair.to), counter()];
    await context.sleep(ms);
    const packets = (await packetsReceived(lab, pair.to)) - before;
    const countedPerPacket = (counter() - counted) / packets;
    return { perSecond: (packets / (performance.now() - from)) * 1000, countedPerPacket };
  } finally {
    await spray.stop();
  }
}

async function udpFrame(lab: Lab, pair: Pair): Promise<Uint8Array> {
  const src = parseMac(lab.workload(pair.from).mac)!;
  const dst = parseMac(pair.nextHop ?? lab.workload(pair.to).mac)!;
  const ip = ipv4Header({
    src: parseIpv4(pair.fromAddress)!,
    dst: parseIpv4(pair.toAddress)!,
    protocol: IP_PROTO.udp,
  });
  return encodePacket({
    ethernet: { src, dst, etherType: ETHER_TYPE.ipv4 },
    vlans: [],
    l3: { kind: 'ipv4', ...ip },
    l4: { kind: 'udp', srcPort: SMALL_PACKET_PORT, dstPort: SMALL_PACKET_PORT, noChecksum: false },
    payload: new Uint8Array(22),
  });
}

async function packetsReceived(lab: Lab, workload: string): Promise<number> {
  const text = await lab.execOk(workload, ['cat', '/sys/class/net/eth0/statistics/rx_packets']);
  return Number(text);
}

export interface Connections {
  readonly whole: number;
  readonly failed: number;
  readonly elapsedMs: number;
}

/** Short TCP connections, many at a time, for a time or up to a number. Ends with `isSpread` have many addresses, with commas between. */
export async function openConnections(
  lab: Lab,
  pair: Pair,
  limit: { readonly ms: number } | { readonly count: number },
): Promise<Connections> {
  const words = [
    pair.toAddress,
    CONNECTION_PORT,
    SIDE_BY_SIDE,
    'ms' in limit ? limit.ms : 0,
    'count' in limit ? limit.count : 0,
    ...(pair.isSpread ? [pair.fromAddress] : []),
  ];
  return JSON.parse(
    await lab.execOk(pair.from, [process.execPath, CONNECTION_END, 'open', ...words.map(String)]),
  ) as Connections;
}

/**
 * Milliseconds from the first packet of a TCP connection to its answer, which the far kernel gives; `before` runs when all is ready
 * to send it. Error: `refused` when there is no answer.
 */
export async function connectOnce(lab: Lab, pair: Pair, before: () => Promise<void>): Promise<number> {
  const argv = [process.execPath, FIRST_CONNECTION_END, pair.toAddress, String(CONNECTION_PORT)];
  const end = new ScriptEnd(lab.spawn(pair.from, argv), `a connection from ${pair.from} to ${pair.toAddress}`);
  try {
    await end.answer();
    await before();
    return ((await end.ask('go', 'ms')) as { readonly ms: number }).ms;
  } finally {
    end.end();
  }
}

/** Milliseconds there and back for one packet. Error: `unreachable` when it is not answered. */
export async function pingOnce(lab: Lab, pair: Pair): Promise<number> {
  return (await ping(lab, pair, { count: 1 }))[0]!;
}

/** Milliseconds there and back of each answered packet. Error: `unreachable` when none is. */
export async function ping(
  lab: Lab,
  pair: Pair,
  options: { readonly count: number; readonly intervalMs?: number },
): Promise<number[]> {
  const interval = String((options.intervalMs ?? 1000) / 1000);
  const argv = ['ping', '-n', '-c', String(options.count), '-i', interval, '-W', '1', pair.toAddress];
  const { stdout } = await lab.exec(pair.from, argv);
  const times = [...stdout.matchAll(/ time=([\d.]+) ms/g)].map((match) => Number(match[1]));
  if (times.length === 0)
    throw new WeftError('unreachable', `${pair.from} has no answer from ${pair.toAddress}: ${stdout}`);
  return times;
}

/** Neighbours are known for good on both sides: what is measured is the datapath, not the resolution of addresses. */
export async function knowNeighbours(lab: Lab, pair: Pair): Promise<void> {
  for (const [own, other, address] of [
    [pair.from, pair.to, pair.toAddress],
    [pair.to, pair.from, pair.fromAddress],
  ] as const) {
    const mac = lab.workload(other).mac;
    await lab.execOk(own, ['ip', 'neigh', 'replace', address, 'lladdr', mac, 'dev', 'eth0', 'nud', 'permanent']);
  }
}

/** The datapath's cache of a host, emptied. */
export async function forgetMegaflows(lab: Lab): Promise<void> {
  for (const host of lab.hosts) await lab.switchOf(host.name).appctl('revalidator/purge');
}

/**
 * Megaflows of each host that workloads' traffic makes: those that begin at a workload or a tunnel, and the one that
 * opens tunnel packets. What the host itself says over the underlay (its agent to the server) is not counted.
 */
export async function countMegaflows(lab: Lab): Promise<number[]> {
  const counts: number[] = [];
  for (const { name } of lab.hosts) {
    const [ports, flows] = await lab.switchOf(name).appctlAll([['dpctl/show'], ['dpctl/dump-flows']]);
    const underlay = new Set<string>();
    for (const [, number, port] of ports!.matchAll(/port (\d+): (\S+)/g))
      if (port === UNDERLAY_BRIDGE || port === UNDERLAY_INTERFACE) underlay.add(number!);
    const lines = flows!.split('\n').filter((line) => line.includes('actions:'));
    const isCounted = (line: string): boolean =>
      line.includes('tnl_pop') || !underlay.has(/in_port\((\d+)\)/.exec(line)?.[1] ?? '');
    counts.push(lines.filter(isCounted).length);
  }
  return counts;
}
