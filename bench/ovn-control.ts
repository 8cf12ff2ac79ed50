import { type Bench, type BenchContext, type Figure, plain } from './bench.ts';
import { type ControlPlan, measureControl } from './cloud-control.ts';
import { startOvn } from './ovn.ts';

/** Control of a cloud of tenants (see tenants.ts), each size a bench of its own. */
function ovnControl(name: string, about: string, plan: ControlPlan): Bench {
  return {
    name: `ovn-control-${name}`,
    about: `control of ${about}: bulk, one port, one rule, restart, all deleted`,
    needsRoot: true,
    run: (context) => run(context, context.quick ? { ...plan, rounds: 2 } : plan),
  };
}

const SMALL: ControlPlan = {
  size: { tenants: 10, switches: 2, ports: 10, localPorts: 50, placement: 'spread' },
  rounds: 20,
  quietMs: 2_000,
  timeoutMs: 60_000,
};
const MEDIUM: ControlPlan = {
  ...SMALL,
  size: { tenants: 50, switches: 2, ports: 10, localPorts: 250, placement: 'spread' },
  quietMs: 3_000,
  timeoutMs: 120_000,
};
const LARGE: ControlPlan = {
  size: { tenants: 200, switches: 2, ports: 25, localPorts: 200, placement: 'whole' },
  rounds: 12,
  quietMs: 8_000,
  timeoutMs: 600_000,
};

export const OVN_CONTROL: readonly Bench[] = [
  ovnControl('200', '200 ports in 10 tenants, 50 on each host', SMALL),
  ovnControl('1k', '1,000 ports in 50 tenants, 250 on each host', MEDIUM),
  ovnControl('10k', '10,000 ports in 200 tenants, 200 on each host', LARGE),
];

async function run(context: BenchContext, plan: ControlPlan): Promise<Figure[]> {
  const ovn = await startOvn(context);
  const { figures } = await measureControl(context, ovn, plan);
  await ovn.stop();
  return [...figures].map(([metric, { value, unit }]) => plain(metric, value, unit));
}
