import { type Bench, type BenchContext, type Figure, plain } from './bench.ts';
import { type ControlPlan, measureControl } from './cloud-control.ts';
import { startOvn } from './ovn.ts';

/** Control of a cloud of tenants (see tenants.ts), each size a bench of its own. */
function ovnControl(name: string, about: string, plan: ControlPlan, isLong = false): Bench {
  return {
    name: `ovn-control-${name}`,
    about: `control of ${about}: bulk, one port, one rule, restart, all deleted`,
    needsRoot: true,
    isLong,
    run: (context) => run(context, context.quick ? { ...plan, rounds: 2 } : plan),
  };
}

const SMALL: ControlPlan = {
  size: { tenants: 10, switches: 2, ports: 10, localPorts: 50, placement: 'spread', outside: 'shared' },
  rounds: 20,
  quietMs: 2_000,
  timeoutMs: 60_000,
};
const MEDIUM: ControlPlan = {
  ...SMALL,
  size: { ...SMALL.size, tenants: 50, localPorts: 250 },
  quietMs: 3_000,
  timeoutMs: 120_000,
};
/** With a network outside of its own for each tenant: OVN's flows for a shared one grow with the square of its routers. */
const LARGE: ControlPlan = {
  size: { tenants: 200, switches: 2, ports: 25, localPorts: 200, placement: 'whole', outside: 'own' },
  rounds: 12,
  quietMs: 8_000,
  timeoutMs: 600_000,
};
const SHARED: ControlPlan = { ...LARGE, size: { ...LARGE.size, outside: 'shared' } };
const DENSE: ControlPlan = { ...LARGE, size: { ...LARGE.size, localPorts: 2_500 }, rounds: 6, quietMs: 15_000 };

export const OVN_CONTROL: readonly Bench[] = [
  ovnControl('200', '200 ports in 10 tenants, 50 on each host', SMALL),
  ovnControl('1k', '1,000 ports in 50 tenants, 250 on each host', MEDIUM),
  ovnControl('10k', '10,000 ports in 200 tenants, 200 on each host', LARGE, true),
  ovnControl('shared-10k', '10,000 ports in 200 tenants on one network outside, 200 on each host', SHARED, true),
  ovnControl('dense-10k', '10,000 ports in 200 tenants, 2,500 on each host', DENSE, true),
];

async function run(context: BenchContext, plan: ControlPlan): Promise<Figure[]> {
  const ovn = await startOvn(context);
  const costs = await measureControl(context, ovn, plan);
  await ovn.stop();
  return [...costs].map(([metric, { value, unit }]) => plain(metric, value, unit));
}
