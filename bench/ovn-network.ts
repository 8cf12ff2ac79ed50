import { deleteRows, insert, mutate, type Operation, update } from '../src/ovsdb/operations.ts';
import { type NamedUuid, named, type Uuid } from '../src/ovsdb/values.ts';
import {
  NbAcl,
  NbDhcpOptions,
  NbGatewayChassis,
  NbLoadBalancer,
  NbLogicalRouter,
  NbLogicalSwitch,
  NbNat,
  NbPortGroup,
  NbRouterPort,
  NbStaticRoute,
  NbSwitchPort,
} from './ovn-tables.ts';
import {
  isPlain,
  listenersOf,
  membersOf,
  OPEN_PORT,
  OUTSIDE,
  outsideAddress,
  planTenantPorts,
  routerMac,
  subnetOf,
  type TenantPort,
  type TenantsSize,
  VIP,
} from './tenants.ts';

/** A plan of tenants in the words of OVN's northbound database, as Neutron's and Octavia's drivers for OVN write it. */

/** What the hosts' `ovn-bridge-mappings` call the network outside. */
export const PHYSICAL_NETWORK = 'outside';

/** All that a cloud has, to be written in one transaction. `chassis`: where the routers' outside ports are, in turns. */
export function createNetwork(size: TenantsSize, chassis: readonly string[]): Operation[] {
  const byTenant = Map.groupBy(planTenantPorts(size), (port) => port.tenant);
  const operations: Operation[] = [];
  for (let tenant = 0; tenant < size.tenants; tenant++) {
    const ports = byTenant.get(tenant) ?? [];
    const services = isPlain(size, tenant) ? undefined : createServices(size, tenant, ports);
    operations.push(
      ...(services?.operations ?? []),
      ...createSwitches(tenant, size.switches, ports, services?.balancers ?? []),
      ...createRouter(tenant, size.switches, chassis[tenant % chassis.length]!, services),
    );
  }
  const routers = Array.from({ length: size.tenants }, (_, tenant) => tenant);
  const outsides = size.outside === 'shared' ? [routers] : routers.map((tenant) => [tenant]);
  return [...operations, ...outsides.flatMap(createOutside)];
}

/** A network outside, with a way to the hosts' external bridge, and the routers on it. */
function createOutside(routers: readonly number[], number: number): Operation[] {
  const localnet = `p_localnet_${number}`;
  const options = { network_name: PHYSICAL_NETWORK };
  return [
    insert(NbSwitchPort, { name: localnet, type: 'localnet', addresses: ['unknown'], options }, { name: localnet }),
    insert(NbLogicalSwitch, {
      name: `outside-${number}`,
      ports: [named(localnet), ...routers.map((tenant) => named(`p_out_${tenant}`))],
    }),
  ];
}

/** What a tenant's traffic goes through beside switches and router. */
interface Services {
  readonly operations: readonly Operation[];
  readonly balancers: readonly NamedUuid[];
  readonly nat: readonly NamedUuid[];
}

function createServices(size: TenantsSize, tenant: number, ports: readonly TenantPort[]): Services {
  const nat = `nat_${tenant}`;
  const balancers = createBalancers(size, tenant);
  const translation = { type: 'snat', external_ip: outsideAddress(tenant), logical_ip: '10.0.0.0/8' };
  return {
    operations: [
      ...createGroup(tenant, ports),
      ...balancers.map(({ operation }) => operation),
      insert(NbNat, translation, { name: nat }),
    ],
    balancers: balancers.map(({ name }) => named(name)),
    nat: [named(nat)],
  };
}

/** A balancer of OVN's has one protocol: there is a row for each. */
function createBalancers(
  size: TenantsSize,
  tenant: number,
): { readonly name: string; readonly operation: Operation }[] {
  const byProtocol = Map.groupBy(listenersOf(size), ({ protocol }) => protocol);
  return [...byProtocol].map(([protocol, listeners]) => {
    const vips = listeners.map(({ port, memberPort }) => {
      const members = membersOf(size, tenant).map((member) => `${member.address}:${memberPort}`);
      return [`${VIP}:${port}`, members.join(',')] as const;
    });
    const name = `lb_${tenant}_${protocol}`;
    return { name, operation: insert(NbLoadBalancer, { name, protocol, vips: new Map(vips) }, { name }) };
  });
}

function createSwitches(
  tenant: number,
  switches: number,
  ports: readonly TenantPort[],
  balancers: readonly NamedUuid[],
): Operation[] {
  const operations: Operation[] = [];
  for (let s = 0; s < switches; s++) {
    const { cidr, gateway } = subnetOf(s);
    const options = { server_id: gateway, server_mac: routerMac(tenant, s), lease_time: '86400', router: gateway };
    const own = ports.filter((port) => port.switchIndex === s);
    operations.push(
      insert(NbDhcpOptions, { cidr, options }, { name: dhcpName(tenant, s) }),
      ...own.map((port) => createPort(port, named(dhcpName(tenant, s)))),
      insert(NbSwitchPort, toRouter(`${tenant}-${s}`), { name: `p_router_${tenant}_${s}` }),
      insert(NbLogicalSwitch, {
        name: switchName(tenant, s),
        ports: [named(`p_router_${tenant}_${s}`), ...own.map((port) => named(rowName(port)))],
        load_balancer: balancers,
      }),
    );
  }
  return operations;
}

function createRouter(tenant: number, switches: number, chassis: string, services?: Services): Operation[] {
  const own = outsideAddress(tenant);
  const inside = Array.from({ length: switches }, (_, s) => ({
    row: { name: `lrp-${tenant}-${s}`, mac: routerMac(tenant, s), networks: [`${subnetOf(s).gateway}/24`] },
    name: `lrp_${tenant}_${s}`,
  }));
  return [
    ...inside.map(({ row, name }) => insert(NbRouterPort, row, { name })),
    insert(
      NbGatewayChassis,
      { name: `lrp-${tenant}-out-${chassis}`, chassis_name: chassis, priority: 1 },
      { name: `gc_${tenant}` },
    ),
    insert(
      NbRouterPort,
      {
        name: `lrp-${tenant}-out`,
        mac: routerMac(tenant),
        networks: [`${own}/${OUTSIDE.prefix}`],
        gateway_chassis: [named(`gc_${tenant}`)],
      },
      { name: `lrp_${tenant}_out` },
    ),
    insert(NbSwitchPort, toRouter(`${tenant}-out`), { name: `p_out_${tenant}` }),
    insert(NbStaticRoute, { ip_prefix: '0.0.0.0/0', nexthop: OUTSIDE.gateway }, { name: `route_${tenant}` }),
    insert(NbLogicalRouter, {
      name: `r-${tenant}`,
      ports: [...inside.map(({ name }) => named(name)), named(`lrp_${tenant}_out`)],
      static_routes: [named(`route_${tenant}`)],
      nat: services?.nat ?? [],
      load_balancer: services?.balancers ?? [],
    }),
  ];
}

function createGroup(tenant: number, ports: readonly TenantPort[]): Operation[] {
  const group = groupName(tenant);
  const rules = [
    ['from-lport', 1002, `inport == @${group} && ip4`, 'allow-related'],
    ['from-lport', 1001, `inport == @${group} && ip`, 'drop'],
    ['to-lport', 1002, `outport == @${group} && ip4 && ip4.src == $${group}_ip4`, 'allow-related'],
    ['to-lport', 1002, openRule(tenant, OPEN_PORT), 'allow-related'],
    ['to-lport', 1001, `outport == @${group} && ip`, 'drop'],
  ] as const;
  return [
    ...rules.map(([direction, priority, match, action], i) =>
      insert(
        NbAcl,
        { direction, priority, match, action, external_ids: { rule: `${tenant}/${i}` } },
        { name: `acl_${tenant}_${i}` },
      ),
    ),
    insert(NbPortGroup, {
      name: group,
      ports: ports.map((port) => named(rowName(port))),
      acls: rules.map((_, i) => named(`acl_${tenant}_${i}`)),
    }),
  ];
}

function createPort(port: TenantPort, dhcp: NamedUuid | Uuid): Operation {
  const both = [`${port.mac} ${port.address}`];
  const row = { name: port.id, addresses: both, port_security: both, dhcpv4_options: dhcp };
  return insert(NbSwitchPort, row, { name: rowName(port) });
}

/** One more port: on its switch, with DHCP, in its tenant's group. */
export function addPort(port: TenantPort, dhcp: Uuid): Operation[] {
  const { tenant, switchIndex } = port;
  const own = [named(rowName(port))];
  return [
    createPort(port, dhcp),
    mutate(NbLogicalSwitch, [['name', '==', switchName(tenant, switchIndex)]], [['ports', 'insert', own]]),
    mutate(NbPortGroup, [['name', '==', groupName(tenant)]], [['ports', 'insert', own]]),
  ];
}

/** Takes a port off its switch: nothing else keeps its row. */
export function removePort({ tenant, switchIndex }: TenantPort, row: Uuid): Operation<number> {
  return mutate(NbLogicalSwitch, [['name', '==', switchName(tenant, switchIndex)]], [['ports', 'delete', [row]]]);
}

/** The rule of a tenant's group that lets a TCP port in from anywhere now lets in this one. */
export function changeRule(tenant: number, tcpPort: number): Operation[] {
  const match = openRule(tenant, tcpPort);
  return [update(NbAcl, [['external_ids', 'includes', { rule: `${tenant}/3` }]], { match })];
}

/** Takes everything away: what is not named lives only through what is. */
export function deleteNetwork(): Operation[] {
  return [NbPortGroup, NbLogicalRouter, NbLogicalSwitch, NbLoadBalancer, NbDhcpOptions].map((table) =>
    deleteRows(table, []),
  );
}

function toRouter(name: string) {
  return { name: `to-${name}`, type: 'router', addresses: ['router'], options: { 'router-port': `lrp-${name}` } };
}

/** What the DHCP options of a switch are called within the transaction that makes them. */
export function dhcpName(tenant: number, s: number): string {
  return `dhcp_${tenant}_${s}`;
}

function switchName(tenant: number, s: number): string {
  return `s-${tenant}-${s}`;
}

function groupName(tenant: number): string {
  return `pg_${tenant}`;
}

function openRule(tenant: number, tcpPort: number): string {
  return `outport == @${groupName(tenant)} && ip4 && tcp && tcp.dst == ${tcpPort}`;
}

function rowName({ tenant, switchIndex, name }: TenantPort): string {
  return `p_${tenant}_${switchIndex}_${name.slice(name.lastIndexOf('-') + 1)}`;
}
