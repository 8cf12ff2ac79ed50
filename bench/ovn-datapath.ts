import { type Bench, type BenchContext, comparedRounds, type Figure } from './bench.ts';
import {
  CONNECTION_COST,
  CONNECTION_RATE,
  FIRST_PACKET,
  PACKET_COST,
  PACKET_RATE,
  type Path,
  startTraffic,
  THROUGHPUT,
  type TrafficMetric,
  type TrafficSide,
  trafficWorkloads,
} from './cloud-traffic.ts';
import { ENCAP, HOST_NAMES } from './network.ts';
import { startOvn } from './ovn.ts';
import { joinStatically, STATIC_WORKLOADS } from './static-pair.ts';
import { knowNeighbours, listenAt } from './traffic.ts';
import { startWeftCloud } from './weft-cloud.ts';

/** What the pipelines cost packets: Weft's against OVN's and against two static flows, each over the same tunnels. */
export const ovnDatapath: Bench = {
  name: 'ovn-datapath',
  about:
    'throughput, packets, connections, first packet: switched, routed, filtered, balanced; Weft, OVN, static flows',
  needsRoot: true,
  isLong: true,
  run,
};

/** Bounds of the issue for Weft against static flows, for the paths that have one. */
const STATIC_BARS: ReadonlyMap<TrafficMetric, { readonly paths: readonly Path[]; readonly want: Want }> = new Map([
  [THROUGHPUT, { paths: ['switched', 'routed'], want: { atLeast: 0.95 } }],
  [PACKET_RATE, { paths: ['switched', 'routed'], want: { atLeast: 0.95 } }],
  [CONNECTION_RATE, { paths: ['switched', 'routed'], want: { atLeast: 0.95 } }],
  [FIRST_PACKET, { paths: ['filtered and routed'], want: { atMost: 1.7 } }],
]);
interface Want {
  readonly atLeast?: number;
  readonly atMost?: number;
}

async function run(context: BenchContext): Promise<Figure[]> {
  const others = STATIC_WORKLOADS.map(({ name, address }, i) => ({
    ...{ name, host: HOST_NAMES[i]! },
    addresses: [`${address}/24`],
  }));
  const weftCloud = await startWeftCloud(context, [...trafficWorkloads(), ...others]);
  const weft = await startTraffic(context, weftCloud);
  const statics = await startStatic(context, weftCloud.lab);
  const ovn = await startTraffic(context, await startOvn(context, trafficWorkloads()));
  const figures: Figure[] = [];
  for (const metric of [THROUGHPUT, PACKET_RATE, PACKET_COST, CONNECTION_RATE, CONNECTION_COST, FIRST_PACKET])
    for (const path of metric.paths) {
      const values = await measureInTurns(context, metric, path, [weft, ovn, statics]);
      const [ours, peers, bare] = [weft, ovn, statics].map((side) => values.get(side)!);
      const name = `${metric.name}, ${path}`;
      const want = metric.isMoreBetter ? { atLeast: 1 } : { atMost: 1 };
      figures.push(comparedRounds(name, metric.unit, ovn.name, { ours: ours!, peers: peers! }, want));
      const bar = STATIC_BARS.get(metric);
      const rounds = { ours: ours!, peers: bare! };
      figures.push(comparedRounds(name, metric.unit, statics.name, rounds, bar?.paths.includes(path) ? bar.want : {}));
    }
  return figures;
}

/** Two static flows: one way only, with which every path is compared. */
export async function startStatic(context: BenchContext, lab: TrafficSide['lab']): Promise<TrafficSide> {
  const pair = await joinStatically(lab, ENCAP);
  await knowNeighbours(lab, pair);
  await listenAt(context, lab, pair);
  return { name: 'two static flows', lab, pairs: new Map([['switched', pair]]) };
}

/** Rounds of all sides alternate, each round with another one first, so that all see the same machine. */
export async function measureInTurns(
  context: BenchContext,
  metric: TrafficMetric,
  path: Path,
  sides: readonly TrafficSide[],
): Promise<ReadonlyMap<TrafficSide, readonly number[]>> {
  const rounds = context.quick ? 1 : metric === FIRST_PACKET ? 15 : 9;
  const values = new Map(sides.map((side) => [side, [] as number[]]));
  for (let round = 0; round < rounds; round++)
    for (let turn = 0; turn < sides.length; turn++) {
      context.signal.throwIfAborted();
      const side = sides[(round + turn) % sides.length]!;
      const pair = side.pairs.get(path) ?? side.pairs.get('switched')!;
      const value = await metric.measure(context, side, pair);
      values.get(side)!.push(value);
      context.progress(`${metric.name}, ${path}, ${side.name}: ${value.toFixed(2)} ${metric.unit}`);
    }
  return values;
}
