import { Lab, removeLab } from '../../src/lab/lab.ts';
import { findPort, plugIntoPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import type { BgpRoute } from '../../src/server/bgp.ts';
import { eventually, showLogs } from './datacentre.ts';
import { labName } from './lab-name.ts';

/**
 * A shop behind two gateways that speak BGP, as one router, and a client on the internet (docs/design/gateways.md):
 *
 *     client ── internet ─┬─ up-1 (64601) ── gw-1 ─┐
 *                         └─ up-2 (64602) ── gw-2 ─┴─ core ── public ── edge ── web ── web-1 on east, web-2 and web-3 on west
 */
export const PASSWORD = 'md5-of-the-lab';
export interface Uplink {
  readonly name: string;
  readonly router: string;
  readonly gateway: string;
  readonly asn: number;
  readonly there: string;
  readonly here: string;
  readonly bfdIntervalMs?: number;
}
export const UPLINKS: readonly Uplink[] = [
  { name: 'up-1', router: 'up-1', gateway: 'gw-1', asn: 64_601, there: '192.0.2.1', here: '192.0.2.2' },
  { name: 'up-2', router: 'up-2', gateway: 'gw-2', asn: 64_602, there: '192.0.2.5', here: '192.0.2.6' },
];
/** Each router outside with each gateway; without a session unless a test gives them one. */
export const CROSSED: readonly Uplink[] = [
  { name: 'cross-1', router: 'up-1', gateway: 'gw-2', asn: 64_601, there: '192.0.2.9', here: '192.0.2.10' },
  { name: 'cross-2', router: 'up-2', gateway: 'gw-1', asn: 64_602, there: '192.0.2.13', here: '192.0.2.14' },
];
const ALL = [...UPLINKS, ...CROSSED];
/** Its session is down after 0.9 s instead of 0.3: for tests that measure no time, and run beside others that take the processor. */
export const unhurried = (uplink: Uplink): Uplink => ({ ...uplink, bfdIntervalMs: 300 });
export const CORE_ASN = 64_512;
export const FLOATING = '203.0.113.11';
export const SNAT = '203.0.113.10';
export const VIP = '203.0.113.80';
export const CLIENT = '198.51.100.200';
export const WEBS = ['web-1', 'web-2', 'web-3'] as const;

export const isp = (kind: string, named: string, rest: object = {}): Record<string, unknown> => ({
  ...{ kind, tenant: 'isp', name: named },
  ...rest,
});
export const shop = (kind: string, named: string, rest: object = {}): Record<string, unknown> => ({
  ...{ kind, tenant: 'shop', name: named },
  ...rest,
});

export const peerOf = (uplink: Uplink, more: object = {}): Record<string, unknown> =>
  isp('bgpPeer', uplink.name, {
    ...{ router: 'core', routerPort: `core/${uplink.name}`, address: uplink.there, asn: uplink.asn },
    ...{ password: PASSWORD, bfd: true, bfdIntervalMs: uplink.bfdIntervalMs },
    ...more,
  });

export const balancer = (members: readonly object[]): Record<string, unknown> =>
  shop('loadBalancer', 'shop', {
    ...{
      address: VIP,
      router: 'edge',
      listeners: [
        { protocol: 'tcp', port: 7100 },
        { protocol: 'tcp', port: 80 },
      ],
    },
    members,
  });

/** The webs have a stateful group each, and the way from outside a chain that knows connections. */
function objects(peered: readonly Uplink[]): Record<string, unknown>[] {
  const rule = (name: string, position: number, match: object): Record<string, unknown> =>
    shop('rule', name, { chain: 'from-outside', position, match, action: 'accept' });
  return [
    { kind: 'tenant', name: 'isp' },
    isp('switch', 'public', { shared: true, subnets: [{ cidr: '203.0.113.0/24', gateway: '203.0.113.1' }] }),
    isp('router', 'core', { bgp: { asn: CORE_ASN } }),
    isp('routerPort', 'public', { router: 'core', switch: 'public', addresses: ['203.0.113.1/24'] }),
    ...ALL.flatMap(({ name, here }) => [
      isp('switch', name),
      isp('port', `${name}-wire`, { switch: name, portSecurity: false, addresses: [] }),
      isp('routerPort', name, { router: 'core', switch: name, addresses: [`${here}/30`] }),
    ]),
    ...peered.map((uplink) => peerOf(uplink)),
    { kind: 'tenant', name: 'shop' },
    shop('switch', 'web', { subnets: [{ cidr: '10.0.1.0/24', gateway: '10.0.1.1' }] }),
    shop('router', 'edge', {
      routes: [{ to: '0.0.0.0/0', via: '203.0.113.1' }],
      snat: [{ from: '10.0.0.0/16', to: SNAT }],
    }),
    shop('chain', 'from-outside', { policy: 'drop' }),
    rule('answers', 10, { state: ['reply', 'related'] }),
    rule('ping', 20, { protocol: 'icmp' }),
    rule('web', 30, { protocol: 'tcp', dstPorts: '80' }),
    rule('tcp', 35, { protocol: 'tcp', dstPorts: '7100-7199' }),
    rule('udp', 40, { protocol: 'udp', dstPorts: '7000-7099' }),
    shop('routerPort', 'web', { router: 'edge', switch: 'web', addresses: ['10.0.1.1/24'] }),
    shop('routerPort', 'out', {
      ...{ router: 'edge', switch: 'isp/public', outside: true, addresses: [`${SNAT}/24`] },
      inChain: 'from-outside',
    }),
    shop('securityGroup', 'web', {
      ingress: [
        { name: 'web', protocol: 'tcp', ports: '80' },
        { name: 'tcp', protocol: 'tcp', ports: '7100-7199' },
        { name: 'udp', protocol: 'udp', ports: '7000-7099' },
        { name: 'ping', protocol: 'icmp' },
      ],
    }),
    ...WEBS.map((name, n) => shop('port', name, { switch: 'web', addresses: [`10.0.1.1${n + 1}`], groups: ['web'] })),
    shop('floatingAddress', 'web-1', { address: FLOATING, router: 'edge', port: 'web-1' }),
    balancer([{ port: 'web-1' }, { port: 'web-2' }]),
  ];
}

/** A filter at the provider's uplinks themselves, which knows connections: of those that begin from outside it lets in these. */
export function uplinkFilter(...begin: readonly object[]): Record<string, unknown>[] {
  const accept = (name: string, position: number, match: object): Record<string, unknown> =>
    isp('rule', name, { chain: 'from-internet', position, match, action: 'accept' });
  return [
    isp('chain', 'from-internet', { policy: 'drop' }),
    accept('known', 10, { state: ['established', 'related'] }),
    ...begin.map((match, n) => accept(`begins-${n}`, 20 + n, { state: ['new'], ...match })),
    ...UPLINKS.map(({ name, here }) =>
      isp('routerPort', name, { router: 'core', switch: name, addresses: [`${here}/30`], inChain: 'from-internet' }),
    ),
  ];
}

export interface ShownRouter {
  readonly gateways: readonly string[];
  readonly peers: readonly ShownPeer[];
  readonly learned: number;
}
export interface ShownPeer {
  readonly name: string;
  readonly state?: string;
  readonly sessions: readonly {
    readonly host: string;
    readonly accepted: number;
    readonly refused?: number;
    readonly problem?: string;
  }[];
}

export interface TwoGateways {
  readonly lab: Lab;
  readonly weft: WeftInLab;
  /** The address of the client on the internet. */
  readonly client: string;
  router(): Promise<ShownRouter>;
  peer(name: string): Promise<ShownPeer>;
  /** Returns when these sessions stand, as far as the server knows, and there are ways in and out by each of them. */
  established(...uplinks: string[]): Promise<void>;
  down(): Promise<void>;
}

/** A workload of the provider's own, whose address is routed, not translated: on a switch of the core's, `routed`. */
export const ROUTED = { name: 'srv', address: '203.0.114.11' } as const;
const ROUTED_NETWORK = '203.0.114.0/24';
const ROUTED_GATEWAY = '203.0.114.1';
const routedObjects = (): Record<string, unknown>[] => [
  isp('switch', 'routed', { subnets: [{ cidr: ROUTED_NETWORK, gateway: ROUTED_GATEWAY }] }),
  isp('router', 'core', { bgp: { asn: CORE_ASN, networks: [ROUTED_NETWORK] } }),
  isp('routerPort', 'routed', { router: 'core', switch: 'routed', addresses: [`${ROUTED_GATEWAY}/24`] }),
  isp('port', ROUTED.name, { switch: 'routed', addresses: [ROUTED.address] }),
];

/** `peered`: those with a session from the start. `moreHosts`: of the lab, beside those of the picture. `isRouted`: with `ROUTED`. */
export async function startTwoGateways(
  prefix: string,
  peered: readonly Uplink[] = UPLINKS,
  moreHosts: readonly string[] = [],
  isRouted = false,
): Promise<TwoGateways> {
  const name = labName(prefix);
  const lab = await Lab.start({
    name,
    hosts: ['gw-1', 'gw-2', 'east', 'west', ...moreHosts].map((host) => ({ name: host })),
    workloads: [
      ...WEBS.map((web, n) => ({
        ...{ name: web, host: n === 0 ? 'east' : 'west', addresses: [`10.0.1.1${n + 1}/24`], gateways: ['10.0.1.1'] },
      })),
      ...(isRouted
        ? [{ name: ROUTED.name, host: 'west', addresses: [`${ROUTED.address}/24`], gateways: [ROUTED_GATEWAY] }]
        : []),
    ],
    internet: { subnets: ['198.51.100.0/24'] },
    routers: UPLINKS.map(({ router, asn }) => ({
      ...{ name: router, asn },
      links: ALL.filter((uplink) => uplink.router === router).map(({ gateway, there, here }) => ({
        ...{ host: gateway, addresses: [`${there}/30`] },
        peers: [{ address: here, asn: CORE_ASN, password: PASSWORD, bfd: true, gracefulRestart: true }],
      })),
    })),
    outside: [{ name: 'client', addresses: [`${CLIENT}/24`], mtu: 1400 }],
  });
  try {
    const weft = await startWeftInLab(lab);
    await weft.client.post('/v1/apply', { objects: objects(peered) });
    if (isRouted) await weft.client.post('/v1/apply', { objects: routedObjects() });
    const ids: string[] = [];
    if (isRouted) ids.push((await plugIntoPort(lab, weft.client, ROUTED.name, `isp/${ROUTED.name}`)).id);
    for (const web of WEBS) ids.push((await plugIntoPort(lab, weft.client, web, `shop/${web}`)).id);
    for (const { name: uplink, router, gateway } of ALL) {
      const { id } = await findPort(weft.client, `isp/${uplink}-wire`);
      await lab.upstream(router).plug(gateway, id);
      ids.push(id);
    }
    await waitForPorts(weft.client, ids);
    const router = async (): Promise<ShownRouter> =>
      (await weft.client.get<{ routers: readonly ShownRouter[] }>('/v1/bgp')).routers[0]!;
    const peer = async (of: string): Promise<ShownPeer> => (await router()).peers.find((one) => one.name === of)!;
    return {
      ...{ lab, weft, router, peer, client: CLIENT },
      established: async (...uplinks) => {
        for (const of of uplinks) {
          await eventually(`the session ${of}`, 20_000, async () => (await peer(of))?.state === 'established');
          const { router: outside, here } = ALL.find((uplink) => uplink.name === of)!;
          await eventually(`a way in by ${of}`, 20_000, async () =>
            (await waysOf(lab, outside, FLOATING)).includes(here),
          );
        }
        await eventually('ways out by each', 20_000, async () => {
          const query = { router: 'core', tenant: 'isp' };
          const { items } = await weft.client.get<{ items: readonly BgpRoute[] }>('/v1/bgp/routes', { query });
          return uplinks.every((of) => items.some(({ via }) => via.some(({ routerPort }) => routerPort === of)));
        });
      },
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

/** By which next hops a router outside sends to an address. */
export async function waysOf(lab: Lab, router: string, address: string): Promise<readonly string[]> {
  const { stdout } = await lab.exec(router, ['ip', 'route', 'show', address]);
  return [...stdout.matchAll(/via (\S+)/g)].map((match) => match[1]!);
}
