import { insert, type Operation } from '../src/ovsdb/operations.ts';
import { type NamedUuid, named } from '../src/ovsdb/values.ts';
import type { BenchContext } from './bench.ts';
import {
  FLOATING,
  GATEWAYS,
  gatewaySite,
  LISTENERS,
  MEMBERS,
  NAMED,
  PLAIN,
  PRIVATE,
  ROUTED,
  SHARED,
  type SiteWorkload,
  VIRTUAL,
} from './gateway-site.ts';
import { EXTERNAL_BRIDGE, type Ovn, startOvnAt } from './ovn.ts';
import { PHYSICAL_NETWORK } from './ovn-network.ts';
import {
  NbLoadBalancer,
  NbLogicalRouter,
  NbLogicalSwitch,
  NbNat,
  NbRouterPort,
  NbStaticRoute,
  NbSwitchPort,
} from './ovn-tables.ts';

/**
 * The site with two gateways as OVN's gateway routers have it, one for each gateway and both in use, in the way of ovn-kubernetes: a distributed router joins
 * the workloads' networks with the gateway routers on a switch, and uses them by ECMP; each translates to a source address of its own, has one of the two
 * floating addresses (whose workloads answer by it), and the balancer, which sends replies back by the same gateway router (`lb_force_snat_ip`).
 *
 *     up-N ── outside-N ── gateway-N ─┐
 *                                     join ── cluster ─┬─ plain
 *     …                               ┘                └─ private
 */
export async function startOvnGateways(context: BenchContext): Promise<Ovn> {
  const ovn = await startOvnAt(context, gatewaySite());
  await ovn.write(siteRows());
  for (const { host, interface: name } of GATEWAYS)
    await ovn.lab.switchOf(host).vsctl(['--may-exist', 'add-port', EXTERNAL_BRIDGE, name]);
  await ovn.synced(30_000);
  return ovn;
}

/** Each gateway's addresses have their way back by that gateway's router outside, as it would announce them. */
export const GATEWAY_OF: ReadonlyMap<string, number> = new Map(
  [SHARED, FLOATING].flatMap((addresses) => addresses.map((address, i) => [address, i] as const)),
);

const JOIN_PREFIX = 24;
const joinAddress = (n: number): string => `100.64.0.${n}`;
const mac = (n: number): string => `02:00:05:00:00:${n.toString(16).padStart(2, '0')}`;
const JOIN = 'join';
const CLUSTER = 'cluster';

function siteRows(): Operation[] {
  const networks = [
    { ...PLAIN, name: 'plain', workloads: ROUTED },
    { ...PRIVATE, name: 'private', workloads: [...NAMED, ...MEMBERS] },
  ];
  const all = new Rows();
  for (const [i, network] of networks.entries()) {
    const inside = all.routerPort(CLUSTER, network.name, mac(0x10 + i), `${network.gateway}/24`);
    all.logicalSwitch(network.name, [...network.workloads.map((workload) => all.workload(workload)), inside.facing]);
    all.addTo(CLUSTER, inside.port);
  }
  const joins = [all.routerPort(CLUSTER, JOIN, mac(1), `${joinAddress(1)}/${JOIN_PREFIX}`)];
  all.addTo(CLUSTER, joins[0]!.port);
  const balancer = all.balancer();
  for (const [i, { host, here, there, prefix }] of GATEWAYS.entries()) {
    const router = `gateway-${i + 1}`;
    const join = all.routerPort(router, JOIN, mac(2 + i), `${joinAddress(2 + i)}/${JOIN_PREFIX}`);
    joins.push(join);
    const out = all.routerPort(router, `outside-${i + 1}`, mac(0x20 + i), `${here}/${prefix}`);
    all.logicalSwitch(`outside-${i + 1}`, [all.localnet(`outside-${i + 1}`), out.facing]);
    all.router(router, {
      ports: [join.port, out.port],
      static_routes: [all.route('0.0.0.0/0', there), ...networks.map(({ cidr }) => all.route(cidr, joinAddress(1)))],
      nat: [all.nat('snat', SHARED[i]!, PRIVATE.cidr), all.nat('dnat_and_snat', FLOATING[i]!, NAMED[i]!.address)],
      load_balancer: [balancer],
      options: { chassis: host, lb_force_snat_ip: 'router_ip' },
    });
  }
  all.logicalSwitch(
    JOIN,
    joins.map(({ facing }) => facing),
  );
  all.router(CLUSTER, {
    ports: all.portsOf(CLUSTER),
    static_routes: GATEWAYS.flatMap((_, i) => [
      all.route('0.0.0.0/0', joinAddress(2 + i)),
      // What has a floating address answers by the gateway router that translates it.
      all.route(`${NAMED[i]!.address}/32`, joinAddress(2 + i), 'src-ip'),
    ]),
  });
  return all.operations;
}

/** Rows that refer to each other, by names that hold within their transaction. */
class Rows {
  readonly operations: Operation[] = [];
  readonly #ports = new Map<string, NamedUuid[]>();
  #count = 0;

  #insert(make: (name: string) => Operation): NamedUuid {
    const name = `row_${++this.#count}`;
    this.operations.push(make(name));
    return named(name);
  }

  addTo(router: string, port: NamedUuid): void {
    this.#ports.set(router, [...this.portsOf(router), port]);
  }

  portsOf(router: string): readonly NamedUuid[] {
    return this.#ports.get(router) ?? [];
  }

  /** A router's port, and the port of a switch that faces it. */
  routerPort(router: string, to: string, address: string, network: string): { port: NamedUuid; facing: NamedUuid } {
    const name = `${router}-to-${to}`;
    const row = { name, mac: address, networks: [network] };
    const facing = { name: `facing-${name}`, type: 'router', addresses: ['router'], options: { 'router-port': name } };
    return {
      port: this.#insert((own) => insert(NbRouterPort, row, { name: own })),
      facing: this.#insert((own) => insert(NbSwitchPort, facing, { name: own })),
    };
  }

  workload({ id, mac: own, address }: SiteWorkload): NamedUuid {
    const both = [`${own} ${address}`];
    return this.#insert((name) => insert(NbSwitchPort, { name: id, addresses: both, port_security: both }, { name }));
  }

  localnet(network: string): NamedUuid {
    const row = { name: `localnet-${network}`, type: 'localnet', addresses: ['unknown'] };
    const options = { network_name: PHYSICAL_NETWORK };
    return this.#insert((name) => insert(NbSwitchPort, { ...row, options }, { name }));
  }

  logicalSwitch(name: string, ports: readonly NamedUuid[]): void {
    this.#insert((own) => insert(NbLogicalSwitch, { name, ports }, { name: own }));
  }

  route(to: string, via: string, policy?: 'src-ip'): NamedUuid {
    return this.#insert((name) => insert(NbStaticRoute, { ip_prefix: to, nexthop: via, policy }, { name }));
  }

  nat(type: 'snat' | 'dnat_and_snat', outside: string, inside: string): NamedUuid {
    return this.#insert((name) => insert(NbNat, { type, external_ip: outside, logical_ip: inside }, { name }));
  }

  balancer(): NamedUuid {
    const members = (port: number): string => MEMBERS.map(({ address }) => `${address}:${port}`).join();
    const vips = new Map(LISTENERS.map((port) => [`${VIRTUAL}:${port}`, members(port)]));
    return this.#insert((name) => insert(NbLoadBalancer, { name: 'web', protocol: 'tcp', vips }, { name }));
  }

  router(
    name: string,
    row: {
      readonly ports: readonly NamedUuid[];
      readonly static_routes: readonly NamedUuid[];
      readonly nat?: readonly NamedUuid[];
      readonly load_balancer?: readonly NamedUuid[];
      readonly options?: Readonly<Record<string, string>>;
    },
  ): void {
    this.#insert((own) => insert(NbLogicalRouter, { name, ...row }, { name: own }));
  }
}
