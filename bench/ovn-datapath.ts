import { type Bench, type BenchContext, comparedRounds, type Figure } from './bench.ts';
import {
  CONNECTION_RATE,
  FIRST_PACKET,
  PACKET_RATE,
  type Path,
  PROBES,
  startTraffic,
  THROUGHPUT,
  type TrafficMetric,
  type TrafficProbe,
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
  for (const probe of PROBES) {
    const runs = new Map<Path, Runs>();
    for (const path of probe.paths) runs.set(path, await measureInTurns(context, probe, path, [weft, ovn, statics]));
    for (const [i, metric] of probe.metrics.entries())
      for (const [path, ofSides] of runs)
        for (const peer of [ovn, statics]) {
          const valuesOf = (side: TrafficSide): number[] => ofSides.get(side)!.map((run) => run[i]!);
          const rounds = { ours: valuesOf(weft), peers: valuesOf(peer) };
          const want = wanted(metric, path, peer === statics);
          figures.push(comparedRounds(`${metric.name}, ${path}`, metric.unit, peer.name, rounds, want));
        }
  }
  return figures;
}

function wanted(metric: TrafficMetric, path: Path, isStatic: boolean): Want {
  if (!isStatic) return metric.isMoreBetter ? { atLeast: 1 } : { atMost: 1 };
  const bar = STATIC_BARS.get(metric);
  return bar?.paths.includes(path) ? bar.want : {};
}

/** Two static flows: one way only, with which every path is compared. */
export async function startStatic(context: BenchContext, lab: TrafficSide['lab']): Promise<TrafficSide> {
  const pair = await joinStatically(lab, ENCAP);
  await knowNeighbours(lab, pair);
  await listenAt(context, lab, pair);
  return { name: 'two static flows', lab, pairs: new Map([['switched', pair]]) };
}

/** The numbers of each run of each side. */
type Runs = ReadonlyMap<TrafficSide, readonly (readonly number[])[]>;

/** Ratios of rounds of a second vary by a tenth and more: so many tell a median of them to a few hundredths. */
const ROUNDS = 15;

/** Rounds of all sides alternate, each round with another one first, so that all see the same machine. */
async function measureInTurns(
  context: BenchContext,
  probe: TrafficProbe,
  path: Path,
  sides: readonly TrafficSide[],
): Promise<Runs> {
  const rounds = context.quick ? 1 : ROUNDS;
  const values = new Map(sides.map((side) => [side, [] as (readonly number[])[]]));
  for (let round = 0; round < rounds; round++)
    for (let turn = 0; turn < sides.length; turn++) {
      context.signal.throwIfAborted();
      const side = sides[(round + turn) % sides.length]!;
      const pair = side.pairs.get(path) ?? side.pairs.get('switched')!;
      const run = await probe.measure(context, side, pair);
      values.get(side)!.push(run);
      const said = run.map((value, i) => `${value.toFixed(2)} ${probe.metrics[i]!.unit}`);
      context.progress(`${probe.metrics[0]!.name}, ${path}, ${side.name}: ${said.join(', ')}`);
    }
  return values;
}
