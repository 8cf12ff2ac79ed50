import { Lab, removeLab } from '../../src/lab/lab.ts';
import { findPort, plugIntoPort, startWeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import type { BgpRoute } from '../../src/server/bgp.ts';
import { eventually, showLogs } from './datacentre.ts';
import { labName } from './lab-name.ts';
import {
  CORE_ASN,
  isp,
  PASSWORD,
  peerOf,
  type ShownRouter,
  shop,
  type TwoGateways,
  UPLINKS,
  type Uplink,
  unhurried,
  WEBS,
} from './two-gateways.ts';

/** The shop of two-gateways.ts in a world of IPv6 alone: networks, uplinks, sessions; with the workload whose address is routed. */
const UPLINKS6: readonly Uplink[] = UPLINKS.map((uplink, n) => ({
  ...unhurried(uplink),
  ...{ there: `2001:db8:2:${n + 1}::1`, here: `2001:db8:2:${n + 1}::2` },
}));
/** Their sessions again, with BFD as it is where nothing is said: for a test that measures time. */
export const HURRIED6 = UPLINKS6.map(({ bfdIntervalMs: _, ...uplink }) => peerOf(uplink));
export const FLOATING6 = '2001:db8:203::11';
export const SNAT6 = '2001:db8:203::10';
export const VIP6 = '2001:db8:203::80';
export const CLIENT6 = '2001:db8:ffff::200';
export const ROUTED6 = { name: 'srv', address: '2001:db8:204::11' } as const;
const [PUBLIC_GATEWAY, WEB_GATEWAY, ROUTED_GATEWAY] = ['2001:db8:203::1', 'fd00:10::1', '2001:db8:204::1'];
export const webAddress6 = (web: string): string => `fd00:10::1${web.at(-1)}`;
/** No workload makes an address of its own. */
const subnet = (gateway: string): object => ({
  subnets: [{ cidr: `${gateway.slice(0, -1)}/64`, gateway, ipv6Mode: 'stateful' }],
});

/** At the provider's uplinks: known connections, and of those that begin from outside these. */
function uplinkFilter6(): Record<string, unknown>[] {
  const accept = (name: string, position: number, match: object): Record<string, unknown> =>
    isp('rule', name, { chain: 'from-internet', position, match, action: 'accept' });
  return [
    isp('chain', 'from-internet', { policy: 'drop' }),
    accept('known', 10, { state: ['established', 'related'] }),
    accept('tcp', 20, { state: ['new'], protocol: 'tcp', dstPorts: '7100-7109', tcpFlags: '+syn-ack' }),
    accept('udp', 21, { state: ['new'], protocol: 'udp', dstPorts: '7000-7099' }),
    // No rule about ports speaks of these.
    accept('fragments', 22, { state: ['new'], fragment: 'later' }),
    accept('ping', 23, { state: ['new'], protocol: 'icmpv6', icmpType: 128 }),
  ];
}

const ACCEPTED = [
  { name: 'tcp', protocol: 'tcp', ports: '7100-7199' },
  { name: 'udp', protocol: 'udp', ports: '7000-7099' },
  { name: 'ping', protocol: 'icmpv6' },
];

/** The balancer of the shop with these members. */
export function balancer6(members: readonly object[]): Record<string, unknown> {
  return shop('loadBalancer', 'shop', {
    ...{ address: VIP6, router: 'edge', members },
    listeners: [
      { protocol: 'tcp', port: 7100 },
      { protocol: 'tcp', port: 7104 },
      { protocol: 'tcp', port: 7109 },
      { protocol: 'udp', port: 7003 },
      { protocol: 'udp', port: 7005 },
    ],
  });
}

function objects(): Record<string, unknown>[] {
  const rule = (name: string, position: number, match: object): Record<string, unknown> =>
    shop('rule', name, { chain: 'from-outside', position, match, action: 'accept' });
  return [
    { kind: 'tenant', name: 'isp' },
    isp('switch', 'public', { shared: true, ...subnet(PUBLIC_GATEWAY!) }),
    isp('switch', ROUTED6.name, subnet(ROUTED_GATEWAY!)),
    isp('router', 'core', { bgp: { asn: CORE_ASN, routerId: '192.0.2.100', networks: ['2001:db8:204::/64'] } }),
    isp('routerPort', 'public', { router: 'core', switch: 'public', addresses: [`${PUBLIC_GATEWAY}/64`] }),
    isp('routerPort', ROUTED6.name, { router: 'core', switch: ROUTED6.name, addresses: [`${ROUTED_GATEWAY}/64`] }),
    isp('port', ROUTED6.name, { switch: ROUTED6.name, addresses: [ROUTED6.address] }),
    ...uplinkFilter6(),
    ...UPLINKS6.flatMap((uplink) => [
      isp('switch', uplink.name),
      isp('port', `${uplink.name}-wire`, { switch: uplink.name, portSecurity: false, addresses: [] }),
      isp('routerPort', uplink.name, {
        ...{ router: 'core', switch: uplink.name, addresses: [`${uplink.here}/64`] },
        // Errors of a router outside come from the address of its own uplink, by whichever gateway.
        ...{ inChain: 'from-internet', sourceCheck: 'loose' },
      }),
      peerOf(uplink),
    ]),
    { kind: 'tenant', name: 'shop' },
    shop('switch', 'web', subnet(WEB_GATEWAY!)),
    shop('router', 'edge', {
      routes: [{ to: '::/0', via: PUBLIC_GATEWAY }],
      snat: [{ from: 'fd00:10::/64', to: SNAT6 }],
    }),
    shop('chain', 'from-outside', { policy: 'drop' }),
    rule('known', 10, { state: ['established', 'reply', 'related'] }),
    rule('fragments', 11, { fragment: 'later' }),
    ...ACCEPTED.map(({ name, protocol, ports }, n) =>
      rule(name, 20 + n, { protocol, ...(ports === undefined ? {} : { dstPorts: ports }) }),
    ),
    shop('routerPort', 'web', { router: 'edge', switch: 'web', addresses: [`${WEB_GATEWAY}/64`] }),
    shop('routerPort', 'out', {
      ...{ router: 'edge', switch: 'isp/public', outside: true, addresses: [`${SNAT6}/64`] },
      inChain: 'from-outside',
    }),
    shop('securityGroup', 'web', { ingress: ACCEPTED }),
    ...WEBS.map((name) => shop('port', name, { switch: 'web', addresses: [webAddress6(name)], groups: ['web'] })),
    shop('floatingAddress', 'web-1', { address: FLOATING6, router: 'edge', port: 'web-1' }),
    balancer6([{ port: 'web-1' }, { port: 'web-2' }]),
  ];
}

/** Returns when both sessions stand, and there are ways in and out by each of them. */
export async function startTwoGateways6(prefix: string): Promise<TwoGateways> {
  const name = labName(prefix);
  const lab = await Lab.start({
    name,
    hosts: ['gw-1', 'gw-2', 'east', 'west'].map((host) => ({ name: host })),
    workloads: [
      ...WEBS.map((web, n) => ({
        ...{ name: web, host: n === 0 ? 'east' : 'west', addresses: [`${webAddress6(web)}/64`] },
        gateways: [WEB_GATEWAY!],
      })),
      { name: ROUTED6.name, host: 'west', addresses: [`${ROUTED6.address}/64`], gateways: [ROUTED_GATEWAY!] },
    ],
    internet: { subnets: ['2001:db8:ffff::/64'] },
    routers: UPLINKS6.map(({ router, asn, gateway, there, here }) => ({
      ...{ name: router, asn, networks: ['::/0'] },
      links: [
        {
          ...{ host: gateway, addresses: [`${there}/64`] },
          peers: [{ address: here, asn: CORE_ASN, password: PASSWORD, bfd: true, gracefulRestart: true }],
        },
      ],
    })),
    outside: [{ name: 'client', addresses: [`${CLIENT6}/64`], mtu: 1400 }],
  });
  try {
    const weft = await startWeftInLab(lab);
    await weft.client.post('/v1/apply', { objects: objects() });
    const ids = [(await plugIntoPort(lab, weft.client, ROUTED6.name, `isp/${ROUTED6.name}`)).id];
    for (const web of WEBS) ids.push((await plugIntoPort(lab, weft.client, web, `shop/${web}`)).id);
    for (const { name: uplink, router, gateway } of UPLINKS6) {
      const { id } = await findPort(weft.client, `isp/${uplink}-wire`);
      await lab.upstream(router).plug(gateway, id);
      ids.push(id);
    }
    await waitForPorts(weft.client, ids);
    const router = async (): Promise<ShownRouter> =>
      (await weft.client.get<{ routers: readonly ShownRouter[] }>('/v1/bgp')).routers[0]!;
    const peer: TwoGateways['peer'] = async (of) => (await router()).peers.find((one) => one.name === of)!;
    const established: TwoGateways['established'] = async (...uplinks) => {
      for (const of of uplinks) {
        await eventually(`the session ${of}`, 30_000, async () => (await peer(of))?.state === 'established');
        const uplink = UPLINKS6.find((one) => one.name === of)!;
        for (const address of [FLOATING6, SNAT6, VIP6])
          await eventually(`a way in to ${address} by ${of}`, 20_000, async () =>
            (await lab.execOk(uplink.router, ['ip', '-6', 'route', 'show', address])).includes(
              `dev to-${uplink.gateway} `,
            ),
          );
      }
      await eventually('ways out by each', 20_000, async () => {
        const query = { router: 'core', tenant: 'isp' };
        const { items } = await weft.client.get<{ items: readonly BgpRoute[] }>('/v1/bgp/routes', { query });
        return uplinks.every((of) =>
          items.some(({ to, via }) => to === '::/0' && via.some(({ routerPort }) => routerPort === of)),
        );
      });
    };
    await established('up-1', 'up-2');
    return {
      ...{ lab, weft, router, peer, established, client: CLIENT6 },
      down: async () => {
        weft.client.close();
        await removeLab(name);
      },
    };
  } catch (error) {
    showLogs(lab);
    await removeLab(name);
    throw error;
  }
}
