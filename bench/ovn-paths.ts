import { appendFileSync } from 'node:fs';
import { type Bench, type BenchContext, compared, type Figure } from './bench.ts';
import { PATHS, startTraffic, type TrafficSide, trafficWorkloads } from './cloud-traffic.ts';
import { HOST_NAMES } from './network.ts';
import { startOvn } from './ovn.ts';
import { startStatic } from './ovn-datapath.ts';
import { countPath, megaflowsOf, type PathCounts } from './path-counts.ts';
import { STATIC_WORKLOADS } from './static-pair.ts';
import { startWeftCloud } from './weft-cloud.ts';

/** The same ways as `ovn-datapath`, counted instead of timed: what does not depend on what else the machine does. */
export const ovnPaths: Bench = {
  name: 'ovn-paths',
  about: 'passes, tables, megaflows, masks: switched, routed, filtered, balanced; Weft, OVN, static flows',
  needsRoot: true,
  isLong: true,
  run,
};

const COUNTS: readonly (readonly [keyof PathCounts, string, unit: string])[] = [
  ['passes', 'passes through the datapath', '/packet'],
  ['tracked', 'conntrack actions', '/packet'],
  ['upcalls', 'upcalls of a first connection', ''],
  ['lookups', 'table lookups of a first connection', ''],
  ['megaflows', 'megaflows of a first connection', ''],
  ['megaflowsAfterMany', 'megaflows after 400 more', ''],
  ['masks', 'masks by port', ''],
];

async function run(context: BenchContext): Promise<Figure[]> {
  const others = STATIC_WORKLOADS.map(({ name, address }, i) => ({
    ...{ name, host: HOST_NAMES[i]! },
    addresses: [`${address}/24`],
  }));
  const weftCloud = await startWeftCloud(context, [...trafficWorkloads(), ...others]);
  const weft = await startTraffic(context, weftCloud);
  const statics = await startStatic(context, weftCloud.lab);
  const sides = [weft, statics];
  const ovn = process.env.WEFT_PATHS_ALONE
    ? undefined
    : await startTraffic(context, await startOvn(context, trafficWorkloads()));
  if (ovn) sides.push(ovn);
  const figures: Figure[] = [];
  for (const path of PATHS) {
    const counts = new Map<TrafficSide, PathCounts>();
    for (const side of sides) {
      const pair = side.pairs.get(path) ?? side.pairs.get('switched')!;
      counts.set(side, await countPath(side.lab, pair));
      context.progress(`${path}, ${side.name}: ${JSON.stringify(counts.get(side))}`);
      const dump = process.env.WEFT_PATHS_DUMP;
      if (dump)
        for (const { host, text, actions } of await megaflowsOf(side.lab))
          appendFileSync(dump, `${path}, ${side.name}, ${host}: ${text} actions:${actions}\n`);
    }
    for (const peer of sides.slice(1))
      for (const [count, name, unit] of COUNTS)
        figures.push(
          compared(`${name}, ${path}`, counts.get(weft)![count], unit, {
            name: peer.name,
            value: counts.get(peer)![count],
          }),
        );
  }
  return figures;
}
