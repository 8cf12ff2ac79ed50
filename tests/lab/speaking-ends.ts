import { Lab, removeLab } from '../../src/lab/lab.ts';
import { findPort, plugIntoPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import { BgpEnd } from '../frr/upstream.ts';
import { eventually, showLogs } from './datacentre.ts';
import { labName } from './lab-name.ts';
import type { ShownPeer } from './two-gateways.ts';

/**
 * A gateway with two upstreams, each of which says what a test has it say (tests/frr/bgp-end.ts), and a workload on another host:
 *
 *     up-1 (64601) ─┐
 *                   ├─ gw ── core ── inside ── web on east
 *     up-2 (64602) ─┘
 */
export const UPSTREAMS = [
  { name: 'up-1', asn: 64_601, there: '192.0.2.1', here: '192.0.2.2' },
  { name: 'up-2', asn: 64_602, there: '192.0.2.5', here: '192.0.2.6' },
] as const;
export type UpstreamName = (typeof UPSTREAMS)[number]['name'];
export const CORE_ASN = 64_512;

export const isp = (kind: string, named: string, rest: object = {}): Record<string, unknown> => ({
  ...{ kind, tenant: 'isp', name: named },
  ...rest,
});

export function peerOf(name: UpstreamName, more: object = {}): Record<string, unknown> {
  const { there, asn } = UPSTREAMS.find((one) => one.name === name)!;
  return isp('bgpPeer', name, {
    ...{ router: 'core', routerPort: `core/${name}`, address: there, asn, maxPrefixes: 200_000 },
    ...more,
  });
}

function objects(router: object): Record<string, unknown>[] {
  return [
    { kind: 'tenant', name: 'isp' },
    isp('switch', 'inside', { subnets: [{ cidr: '10.0.1.0/24', gateway: '10.0.1.1' }] }),
    isp('router', 'core', { bgp: { asn: CORE_ASN, ...router } }),
    isp('routerPort', 'inside', { router: 'core', switch: 'inside', addresses: ['10.0.1.1/24'] }),
    isp('port', 'web', { switch: 'inside', addresses: ['10.0.1.11'] }),
    ...UPSTREAMS.flatMap(({ name, here }) => [
      isp('switch', name),
      isp('port', `${name}-wire`, { switch: name, portSecurity: false, addresses: [] }),
      isp('routerPort', name, { router: 'core', switch: name, addresses: [`${here}/30`] }),
      peerOf(name),
    ]),
  ];
}

export interface SpeakingEnds {
  readonly lab: Lab;
  readonly weft: WeftInLab;
  readonly ends: Readonly<Record<UpstreamName, BgpEnd>>;
  /** The router as people see it. */
  router(): Promise<{ readonly learned: number; readonly peers: readonly (ShownPeer & { accepted: number })[] }>;
  peer(name: UpstreamName): Promise<ShownPeer & { readonly accepted: number; readonly problem?: string }>;
  routes(
    limit?: number,
  ): Promise<readonly { readonly to: string; readonly via: readonly { readonly address: string }[] }[]>;
  /** Begins (again) at this upstream; returns when the session stands. */
  speak(name: UpstreamName): Promise<void>;
  established(...names: UpstreamName[]): Promise<void>;
  down(): Promise<void>;
}

/** `addresses`: of each upstream, beside that of its link. */
export async function startSpeakingEnds(
  prefix: string,
  options: { readonly addresses?: readonly string[]; readonly router?: object } = {},
): Promise<SpeakingEnds> {
  const name = labName(prefix);
  const lab = await Lab.start({
    name,
    hosts: ['gw', 'east'].map((host) => ({ name: host })),
    workloads: [{ name: 'web', host: 'east', addresses: ['10.0.1.11/24'], gateways: ['10.0.1.1'] }],
    routers: UPSTREAMS.map((one) => ({
      ...{ name: one.name, asn: one.asn, networks: [] },
      links: [{ host: 'gw', name: 'gw', addresses: [`${one.there}/30`], peers: [] }],
    })),
  });
  const ends: Partial<Record<UpstreamName, BgpEnd>> = {};
  try {
    const weft = await startWeftInLab(lab);
    await weft.client.post('/v1/apply', { objects: objects(options.router ?? {}) });
    const ids = [(await plugIntoPort(lab, weft.client, 'web', 'isp/web')).id];
    for (const { name: upstream, here } of UPSTREAMS) {
      const { id } = await findPort(weft.client, `isp/${upstream}-wire`);
      await lab.upstream(upstream).plug('gw', id);
      ids.push(id);
      await lab.execOk(upstream, ['ip', 'route', 'add', '10.0.1.0/24', 'via', here]);
      for (const address of options.addresses ?? [])
        await lab.execOk(upstream, ['ip', 'addr', 'add', address, 'dev', 'lo']);
    }
    await waitForPorts(weft.client, ids);
    type Shown = Awaited<ReturnType<SpeakingEnds['router']>>;
    const router = async (): Promise<Shown> =>
      (await weft.client.get<{ routers: readonly Shown[] }>('/v1/bgp')).routers[0]!;
    const peer: SpeakingEnds['peer'] = async (of) => (await router()).peers.find((one) => one.name === of)!;
    const established = async (...names: UpstreamName[]): Promise<void> => {
      for (const of of names)
        await eventually(`the session ${of}`, 40_000, async () => (await peer(of))?.state === 'established');
    };
    const site: SpeakingEnds = {
      ...{ lab, weft, router, peer, established, ends: ends as SpeakingEnds['ends'] },
      routes: async (limit = 1000) =>
        (
          await weft.client.get<{ items: Awaited<ReturnType<SpeakingEnds['routes']>> }>('/v1/bgp/routes', {
            query: { router: 'isp/core', limit: String(limit) },
          })
        ).items,
      speak: async (of) => {
        ends[of]?.stop();
        const { here: to, there: routerId, asn } = UPSTREAMS.find((one) => one.name === of)!;
        ends[of] = new BgpEnd(lab.namespace(of), { to, asn, routerId });
        await eventually(`${of} to be let in`, 40_000, async () => ends[of]!.isUp || undefined);
      },
      down: async () => {
        for (const end of Object.values(ends)) end.stop();
        weft.client.close();
        await removeLab(name);
      },
    };
    for (const { name: upstream } of UPSTREAMS) await site.speak(upstream);
    await established('up-1', 'up-2');
    return site;
  } catch (error) {
    showLogs(lab);
    for (const end of Object.values(ends)) end.stop();
    await removeLab(name);
    throw error;
  }
}
