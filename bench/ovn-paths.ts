import { type Bench, type BenchContext, compared, type Figure, plain } from './bench.ts';
import { PATHS, startTraffic, type TrafficSide, trafficWorkloads } from './cloud-traffic.ts';
import { HOST_NAMES } from './network.ts';
import { OUTSIDE_PATHS, outsideWorkloads, startOutside } from './outside-paths.ts';
import { startOvn } from './ovn.ts';
import { startStatic } from './ovn-datapath.ts';
import { countPath, type PathCounts } from './path-counts.ts';
import { STATIC_WORKLOADS } from './static-pair.ts';
import { planTenantPort } from './tenants.ts';
import { listenAt, type Pair } from './traffic.ts';
import { startWeftCloud } from './weft-cloud.ts';

/** What packets cost in things that can be counted: the same however busy the machine is (docs/design/datapath-cost.md). */
export const ovnPaths: Bench = {
  name: 'ovn-paths',
  about: 'passes, tables, megaflows, masks of every way through a cloud; Weft, OVN, static flows',
  needsRoot: true,
  isLong: true,
  run,
};

const COUNTS: readonly (readonly [keyof PathCounts, string, unit: string])[] = [
  ['passes', 'passes through the datapath', '/packet'],
  ['tracked', 'conntrack actions', '/packet'],
  ['lookups', 'table lookups of its packets', '/packet'],
  ['megaflows', 'megaflows of it', ''],
  ['megaflowsAfterMany', 'megaflows after 400 more', ''],
  ['masks', 'masks by port', ''],
  ['tries', 'masks tried per pass', ''],
];

/** Ways within the first host, which both clouds have; the others lead from there to the second. */
const NEAR_PATHS = {
  'filtered, one host': nearPair(0, 2),
  'filtered and routed, one host': nearPair(1, 0),
} as const;

function nearPair(switchIndex: number, place: number): Pair {
  const [from, to] = [planTenantPort(0, switchIndex, place, 0), planTenantPort(0, 0, 1, 0)];
  return { from: from.name, fromAddress: from.address, to: to.name, toAddress: to.address };
}

async function run(context: BenchContext): Promise<Figure[]> {
  const others = STATIC_WORKLOADS.map(({ name, address }, i) => ({
    ...{ name, host: HOST_NAMES[i]! },
    addresses: [`${address}/24`],
  }));
  const weftCloud = await startWeftCloud(context, [...trafficWorkloads(), ...outsideWorkloads(), ...others]);
  const weft = await startTraffic(context, weftCloud);
  const outside = await startOutside(context, weftCloud);
  const statics = await startStatic(context, weftCloud.lab);
  const ovn = await startTraffic(context, await startOvn(context, trafficWorkloads()));
  for (const { lab } of [weft, ovn]) await listenAt(context, lab, NEAR_PATHS['filtered, one host']);
  // Workloads ask for routers for some seconds after they have got an interface: not what is counted here.
  await context.sleep(context.quick ? 0 : 15_000);

  const figures: Figure[] = [];
  const count = async (path: string, side: TrafficSide, pair: Pair): Promise<PathCounts> => {
    const counts = await countPath(side.lab, pair);
    context.progress(`${path}, ${side.name}: ${JSON.stringify(counts)}`);
    return counts;
  };
  const compare = async (path: string, pairOf: (side: TrafficSide) => Pair | undefined): Promise<void> => {
    const ours = await count(path, weft, pairOf(weft)!);
    for (const peer of [ovn, statics]) {
      const pair = pairOf(peer);
      const theirs = pair && (await count(path, peer, pair));
      if (theirs)
        for (const [name, what, unit] of COUNTS)
          figures.push(compared(`${what}, ${path}`, ours[name], unit, { name: peer.name, value: theirs[name] }));
    }
  };
  for (const path of PATHS) await compare(path, ({ pairs }) => pairs.get(path) ?? pairs.get('switched'));
  for (const [path, pair] of Object.entries(NEAR_PATHS))
    await compare(path, (side) => (side === statics ? undefined : pair));
  for (const path of OUTSIDE_PATHS) {
    const ours = await count(path, weft, outside[path]);
    for (const [name, what, unit] of COUNTS) figures.push(plain(`${what}, ${path}`, ours[name], unit));
  }
  return figures;
}
