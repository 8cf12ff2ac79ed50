import type { Lab } from '../src/lab/lab.ts';
import type { WorkloadInput } from '../src/lab/spec.ts';
import type { BenchContext } from './bench.ts';
import { type Cloud, workloadBehind } from './cloud.ts';
import { threadSeconds } from './process-usage.ts';
import { planTenantPorts, routerMac, type TenantPort, type TenantsSize, VIP } from './tenants.ts';
import {
  connectOnce,
  forgetMegaflows,
  knowNeighbours,
  listenAt,
  openConnections,
  type Pair,
  pingOnce,
  SMALL_PACKET_PORT,
  sprayFor,
  TRAFFIC_PORTS,
  tcpThroughput,
} from './traffic.ts';

/** The ways through a cloud that are measured, all of them from one host to the other. */
export const PATHS = ['switched', 'routed', 'filtered', 'filtered and routed', 'balanced'] as const;
export type Path = (typeof PATHS)[number];

/** Two tenants: the first with group, balancer and translation, the second with switches and a router only. */
export const TRAFFIC_PLAN: TenantsSize = {
  ...{ tenants: 2, plainTenants: 1, switches: 2, ports: 3, localPorts: 0 },
  ...{ placement: 'apart', outside: 'own' },
  listeners: [
    ...TRAFFIC_PORTS.map((port) => ({ protocol: 'tcp', port, memberPort: port }) as const),
    { protocol: 'udp', port: SMALL_PACKET_PORT, memberPort: SMALL_PACKET_PORT },
  ],
  // iperf3 wants both of its connections at one place.
  members: 1,
};

/** A workload behind each port of the plan. */
export function trafficWorkloads(): WorkloadInput[] {
  return planTenantPorts(TRAFFIC_PLAN).map(workloadBehind);
}

/** One peer of the comparison: a lab, and the pairs of workloads between which packets take the paths that it has. */
export interface TrafficSide {
  readonly name: string;
  readonly lab: Lab;
  readonly pairs: ReadonlyMap<Path, Pair>;
}

/** Writes the plan into a cloud whose workloads are plugged already, and returns when every path carries packets. */
export async function startTraffic(context: BenchContext, cloud: Cloud): Promise<TrafficSide> {
  await cloud.createAll(TRAFFIC_PLAN);
  await cloud.synced(30_000);
  const side = { name: cloud.name, lab: cloud.lab, pairs: cloudPairs() };
  const plain = [...side.pairs].filter(([path]) => path === 'switched' || path === 'filtered');
  for (const [, pair] of plain) await knowNeighbours(cloud.lab, pair);
  const ends = planTenantPorts(TRAFFIC_PLAN).filter((port) => port.host === 1);
  for (const { name, address } of ends)
    await listenAt(context, cloud.lab, { from: name, to: name, fromAddress: address, toAddress: address });
  for (const [path, pair] of side.pairs)
    await context.until(`an answer, ${cloud.name}, ${path}`, () => isAnswered(cloud.lab, pair));
  return side;
}

function cloudPairs(): ReadonlyMap<Path, Pair> {
  const ports = new Map(planTenantPorts(TRAFFIC_PLAN).map((port) => [port.name, port]));
  const between = (from: string, to: string): Pair => pairOf(ports.get(from)!, ports.get(to)!);
  return new Map<Path, Pair>([
    ['switched', between('p1-0-2', 'p1-0-0')],
    ['routed', between('p1-1-0', 'p1-0-0')],
    ['filtered', between('p0-0-2', 'p0-0-0')],
    ['filtered and routed', between('p0-1-0', 'p0-0-0')],
    // From a client of its own: ports that it used to the member itself would meet their old connections there.
    ['balanced', { ...between('p0-1-1', 'p0-0-0'), toAddress: VIP }],
  ]);
}

function pairOf(from: TenantPort, to: TenantPort): Pair {
  const pair = { from: from.name, to: to.name, fromAddress: from.address, toAddress: to.address };
  return from.switchIndex === to.switchIndex ? pair : { ...pair, nextHop: routerMac(from.tenant, from.switchIndex) };
}

async function isAnswered(lab: Lab, pair: Pair): Promise<true | undefined> {
  const { failed } = await openConnections(lab, pair, { count: 8 });
  return failed === 0 ? true : undefined;
}

/** One number that a look at a path gives. */
export interface TrafficMetric {
  readonly name: string;
  readonly unit: string;
  /** Of the issue: against other clouds, and against static flows where nothing is filtered. */
  readonly isMoreBetter: boolean;
}

/** A way to look at a path: a number for each metric in one run of it. */
export interface TrafficProbe {
  readonly metrics: readonly TrafficMetric[];
  readonly paths: readonly Path[];
  measure(context: BenchContext, side: TrafficSide, pair: Pair): Promise<readonly number[]>;
}

const RUN_MS = 1_000;
/** A balancer's address answers no ping. */
const ENDS_AT_WORKLOAD = PATHS.filter((path) => path !== 'balanced');

export const THROUGHPUT: TrafficMetric = { name: 'TCP throughput', unit: 'Mbit/s', isMoreBetter: true };
export const PACKET_RATE: TrafficMetric = { name: '64-byte packets', unit: 'packets/s', isMoreBetter: true };
export const CONNECTION_RATE: TrafficMetric = { name: 'TCP connections', unit: '/s', isMoreBetter: true };
export const FIRST_PACKET: TrafficMetric = {
  ...{ name: 'first ping after the caches are emptied', unit: 'ms', isMoreBetter: false },
};

export const FIRST_CONNECT: TrafficMetric = {
  ...{ name: 'first TCP connect after the caches are emptied', unit: 'ms', isMoreBetter: false },
};

/** What a rate is on a quiet machine, this also says on a busy one. */
function switchCost(of: string): TrafficMetric {
  return { name: `processor time of both switches per ${of}`, unit: 'µs', isMoreBetter: false };
}

/** Processor time of all switches of a lab so far. */
export function switchSeconds(lab: Lab): number {
  return lab.hosts.reduce((sum, { name }) => sum + threadSeconds(lab.switchOf(name).vswitchd!), 0);
}

const STREAM: TrafficProbe = {
  ...{ metrics: [THROUGHPUT, switchCost('TCP megabyte')], paths: PATHS },
  measure: async (_, { lab }, pair) => {
    const before = switchSeconds(lab);
    const { bitsPerSecond, bytes } = await tcpThroughput(lab, pair, 1);
    return [bitsPerSecond / 1e6, ((switchSeconds(lab) - before) * 1e6) / (bytes / 1e6)];
  },
};

const PACKETS: TrafficProbe = {
  ...{ metrics: [PACKET_RATE, switchCost('64-byte packet')], paths: PATHS },
  measure: async (context, { lab }, pair) => {
    const sprayed = await sprayFor(context, lab, pair, RUN_MS, () => switchSeconds(lab));
    return [sprayed.perSecond, sprayed.countedPerPacket * 1e6];
  },
};

const CONNECTIONS: TrafficProbe = {
  ...{ metrics: [CONNECTION_RATE, switchCost('TCP connection')], paths: PATHS },
  measure: async (_, { lab }, pair) => {
    const before = switchSeconds(lab);
    const { whole, elapsedMs } = await openConnections(lab, pair, { ms: RUN_MS });
    return [(whole / elapsedMs) * 1000, ((switchSeconds(lab) - before) * 1e6) / whole];
  },
};

const FIRST: TrafficProbe = {
  ...{ metrics: [FIRST_PACKET], paths: ENDS_AT_WORKLOAD },
  measure: async (_, { lab }, pair) => {
    await forgetMegaflows(lab);
    return [await pingOnce(lab, pair)];
  },
};

/** What a first packet costs on every path: that of a connection, to its answer. */
const CONNECT: TrafficProbe = {
  ...{ metrics: [FIRST_CONNECT], paths: PATHS },
  measure: async (_, { lab }, pair) => [await connectOnce(lab, pair, () => forgetMegaflows(lab))],
};

export const PROBES: readonly TrafficProbe[] = [STREAM, PACKETS, CONNECTIONS, FIRST, CONNECT];
