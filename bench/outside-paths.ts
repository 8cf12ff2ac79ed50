import type { WorkloadInput } from '../src/lab/spec.ts';
import type { BenchContext } from './bench.ts';
import { benchId, HOST_NAMES } from './network.ts';
import { OUTSIDE, outsideAddress, planTenantPort, VIP } from './tenants.ts';
import { listenAt, openConnections, type Pair, TRAFFIC_PORTS } from './traffic.ts';
import type { WeftCloud } from './weft-cloud.ts';
import { OUTSIDE_SWITCH, ROUTER, tenantName } from './weft-network.ts';

/**
 * Ways between the first tenant's workloads and clients on its network outside, each on the host that the workload is not on. Weft only: OVN leaves the cloud by a bridge of its own, which is another thing to compare.
 */
export const OUTSIDE_PATHS = ['translated source', 'floating address', 'balanced, from outside'] as const;
export type OutsidePath = (typeof OUTSIDE_PATHS)[number];

const CLIENTS = HOST_NAMES.map((host, i) => ({
  ...{ host, id: benchId(6, i + 1), name: `out-${host}` },
  ...{ mac: `02:00:03:00:00:0${i}`, address: `172.24.0.${9 + i}` },
}));
const FLOATING = '172.24.3.1';
/** On the second host, and on the first: its address is the one that all others share outside. */
const [NAMED, NAMELESS] = [planTenantPort(0, 0, 0, 1), planTenantPort(0, 1, 1, 0)];

export function outsideWorkloads(): WorkloadInput[] {
  return CLIENTS.map(({ address, id, ...client }) => ({
    ...client,
    ...{ port: id, addresses: [`${address}/${OUTSIDE.prefix}`] },
  }));
}

/** Adds what these ways need to a cloud that has the plan of `cloud-traffic.ts`, and returns when all of them carry packets. */
export async function startOutside(
  context: BenchContext,
  cloud: WeftCloud,
): Promise<Readonly<Record<OutsidePath, Pair>>> {
  const tenant = tenantName(0);
  const outside = { kind: 'port', tenant, switch: OUTSIDE_SWITCH };
  await cloud.changeRule(0, TRAFFIC_PORTS[1]);
  await cloud.add([
    ...CLIENTS.map(({ id, name, mac, address }) => ({ ...outside, id, name, mac, addresses: [address] })),
    { kind: 'floatingAddress', name: 'named', tenant, address: FLOATING, router: ROUTER, port: NAMED.name },
  ]);
  await cloud.synced(30_000);
  const [near, far] = CLIENTS.map(({ name, address }) => ({ from: name, fromAddress: address }));
  await cloud.lab.execOk(near!.from, ['ip', 'route', 'add', VIP, 'via', outsideAddress(0)]);
  await listenAt(context, cloud.lab, { ...far!, to: far!.from, toAddress: far!.fromAddress });
  const inwards = { ...near!, to: NAMED.name };
  const pairs: Record<OutsidePath, Pair> = {
    'translated source': {
      ...{ from: NAMELESS.name, fromAddress: NAMELESS.address },
      ...{ to: far!.from, toAddress: far!.fromAddress },
    },
    'floating address': { ...inwards, toAddress: FLOATING },
    'balanced, from outside': { ...inwards, toAddress: VIP },
  };
  for (const [path, pair] of Object.entries(pairs))
    await context.until(`an answer, ${path}`, async () => {
      const { failed } = await openConnections(cloud.lab, pair, { count: 2 });
      return failed === 0 ? true : undefined;
    });
  return pairs;
}
