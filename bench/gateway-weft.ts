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
  PUBLIC,
  ROUTED,
  SHARED,
  type SiteWorkload,
  VIRTUAL,
} from './gateway-site.ts';
import { startWeftAt, type WeftCloud } from './weft-cloud.ts';
import type { ApiObject } from './weft-network.ts';

/**
 * The site with two gateways as a provider and one tenant of Weft have it: the provider's router has the uplinks; the plain network and the private one
 * stand behind a router each, which meet the provider's on a shared switch.
 */
export async function startWeftGateways(context: BenchContext): Promise<WeftCloud> {
  const cloud = await startWeftAt(context, gatewaySite());
  await cloud.add(siteObjects());
  for (const { host, interface: name, wire } of GATEWAYS)
    await cloud.lab
      .switchOf(host)
      .vsctl([
        ...['--may-exist', 'add-port', 'br-int', name, '--', 'set', 'interface', name],
        ...[`external_ids:iface-id="${wire}"`, 'external_ids:iface-status=active'],
      ]);
  await cloud.synced(30_000);
  return cloud;
}

function siteObjects(): ApiObject[] {
  const isp = (kind: string, name: string, rest: object): ApiObject => ({ kind, tenant: 'isp', name, ...rest });
  const shop = (kind: string, name: string, rest: object): ApiObject => ({ kind, tenant: 'shop', name, ...rest });
  const port = ({ id, name, mac, address }: SiteWorkload): ApiObject => ({
    kind: 'port',
    id,
    name,
    mac,
    addresses: [address],
  });
  const plainRouter = PUBLIC.gateway.replace(/1$/, '2');
  return [
    { kind: 'tenant', name: 'isp' },
    isp('switch', 'public', { shared: true, subnets: [PUBLIC] }),
    isp('router', 'core', {
      routes: [...GATEWAYS.map(({ there }) => ({ to: '0.0.0.0/0', via: there })), { to: PLAIN.cidr, via: plainRouter }],
    }),
    isp('routerPort', 'public', { router: 'core', switch: 'public', addresses: [`${PUBLIC.gateway}/24`] }),
    ...GATEWAYS.flatMap(({ router, wire, here, prefix }) => [
      isp('switch', router, {}),
      isp('port', `${router}-wire`, { id: wire, switch: router, portSecurity: false, addresses: [] }),
      isp('routerPort', router, { router: 'core', switch: router, addresses: [`${here}/${prefix}`] }),
    ]),
    isp('switch', 'plain', { subnets: [PLAIN] }),
    isp('router', 'plain', { routes: [{ to: '0.0.0.0/0', via: PUBLIC.gateway }] }),
    isp('routerPort', 'plain-inside', { router: 'plain', switch: 'plain', addresses: [`${PLAIN.gateway}/24`] }),
    isp('routerPort', 'plain-outside', { router: 'plain', switch: 'public', addresses: [`${plainRouter}/24`] }),
    ...ROUTED.map((workload) => ({ ...port(workload), tenant: 'isp', switch: 'plain' })),
    { kind: 'tenant', name: 'shop' },
    shop('switch', 'private', { subnets: [PRIVATE] }),
    shop('router', 'edge', {
      routes: [{ to: '0.0.0.0/0', via: PUBLIC.gateway }],
      snat: [{ from: PRIVATE.cidr, to: SHARED[0] }],
    }),
    shop('routerPort', 'inside', { router: 'edge', switch: 'private', addresses: [`${PRIVATE.gateway}/24`] }),
    shop('routerPort', 'outside', {
      ...{ router: 'edge', switch: 'isp/public', outside: true, addresses: [`${SHARED[0]}/24`] },
    }),
    ...[...NAMED, ...MEMBERS].map((workload) => ({ ...port(workload), tenant: 'shop', switch: 'private' })),
    ...NAMED.map(({ name }, i) => shop('floatingAddress', name, { address: FLOATING[i], router: 'edge', port: name })),
    shop('loadBalancer', 'web', {
      ...{ address: VIRTUAL, router: 'edge' },
      listeners: LISTENERS.map((listener) => ({ protocol: 'tcp', port: listener })),
      members: MEMBERS.map(({ name }) => ({ port: name })),
    }),
  ];
}
