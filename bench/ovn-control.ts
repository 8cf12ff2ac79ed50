import type { WorkloadInput } from '../src/lab/spec.ts';
import { type Bench, type BenchContext, bounded, compared, type Figure, plain } from './bench.ts';
import type { Cloud } from './cloud.ts';
import { type ControlCosts, type ControlPlan, METRIC, measureControl, streamWorkloads } from './cloud-control.ts';
import { startOvn } from './ovn.ts';
import { startWeftCloud } from './weft-cloud.ts';

/** What a figure of Weft's must not exceed, by its name. */
type Bars = Readonly<Record<string, number>>;

/** Control of a cloud of tenants, OVN's and Weft's in one run (see tenants.ts), each size a bench of its own. */
function ovnControl(name: string, about: string, plan: ControlPlan, bars: Bars, isLong = false): Bench {
  return {
    name: `ovn-control-${name}`,
    about: `control of ${about}: bulk, one port, one rule, restart (and packets lost by it), all deleted`,
    needsRoot: true,
    isLong,
    run: (context) =>
      run(context, context.quick ? { ...plan, rounds: 2, warmUps: 2, warmRules: 0 } : plan, {
        ...bars,
        [METRIC.lost]: 0,
      }),
  };
}

const SMALL: ControlPlan = {
  size: { tenants: 10, switches: 2, ports: 10, localPorts: 50, placement: 'spread', outside: 'shared' },
  rounds: 20,
  warmUps: 60,
  warmRules: 300,
  quietMs: 2_000,
  timeoutMs: 60_000,
};
const MEDIUM: ControlPlan = {
  ...SMALL,
  size: { ...SMALL.size, tenants: 50, localPorts: 250 },
  timeoutMs: 120_000,
};
/** With a network outside of its own for each tenant: OVN's flows for a shared one grow with the square of its routers. */
const LARGE: ControlPlan = {
  size: { tenants: 200, switches: 2, ports: 25, localPorts: 200, placement: 'whole', outside: 'own' },
  rounds: 12,
  warmUps: 60,
  warmRules: 0,
  quietMs: 4_000,
  timeoutMs: 600_000,
};
const LARGE_BARS: Bars = {
  [METRIC.bulk]: 4,
  [METRIC.flows]: 8_000,
  [METRIC.agentMemory]: 120,
  [METRIC.centralMemory]: 400,
  [METRIC.add]: 10,
  [METRIC.rule]: 10,
  [METRIC.remove]: 5,
  [METRIC.restart]: 2,
};
const SHARED: ControlPlan = { ...LARGE, size: { ...LARGE.size, outside: 'shared' } };
const DENSE: ControlPlan = { ...LARGE, size: { ...LARGE.size, localPorts: 2_500 }, rounds: 6, warmUps: 10 };

export const OVN_CONTROL: readonly Bench[] = [
  ovnControl('200', '200 ports in 10 tenants, 50 on each host', SMALL, {
    [METRIC.add]: 8,
    [METRIC.rule]: 5,
  }),
  ovnControl('1k', '1,000 ports in 50 tenants, 250 on each host', MEDIUM, {
    [METRIC.bulk]: 1.5,
    [METRIC.flows]: 10_000,
    [METRIC.agentMemory]: 110,
    [METRIC.add]: 8,
    [METRIC.rule]: 6,
  }),
  ovnControl('10k', '10,000 ports in 200 tenants, 200 on each host', LARGE, LARGE_BARS, true),
  ovnControl(
    'shared-10k',
    '10,000 ports in 200 tenants on one network outside, 200 on each host',
    SHARED,
    LARGE_BARS,
    true,
  ),
  ovnControl(
    'dense-10k',
    '10,000 ports in 200 tenants, 2,500 on each host',
    DENSE,
    {
      // What Open vSwitch needs to plug the ports comes before, so it is not in this time.
      [METRIC.bulk]: 6,
      [METRIC.flows]: 60_000,
      [METRIC.agentMemory]: 250,
      [METRIC.remove]: 5,
      [METRIC.restart]: 5,
    },
    true,
  ),
];

type StartCloud = (context: BenchContext, workloads: readonly WorkloadInput[]) => Promise<Cloud>;

/** Weft first: should it fail, nobody has waited for the slower one. */
async function run(context: BenchContext, plan: ControlPlan, bars: Bars): Promise<Figure[]> {
  const measure = async (start: StartCloud): Promise<[string, ControlCosts]> => {
    const cloud = await start(context, streamWorkloads());
    const costs = await measureControl(context, cloud, plan);
    await cloud.stop();
    return [cloud.name, costs];
  };
  const [, ours] = await measure(startWeftCloud);
  const [peer, peers] = await measure(startOvn);
  const figures: Figure[] = [];
  for (const [metric, { value, unit }] of ours) {
    const other = peers.get(metric);
    figures.push(
      other ? compared(metric, value, unit, { name: peer, value: other.value }) : plain(metric, value, unit),
    );
    const bar = bars[metric];
    if (bar !== undefined) figures.push(bounded(metric, value, unit, bar));
  }
  return figures;
}
