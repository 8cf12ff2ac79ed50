// Measures: runs alone.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { listNamespaces } from '../../src/base/namespaces.ts';
import { Lab, removeLab } from '../../src/lab/lab.ts';
import { startStream, streamFor } from '../../src/lab/packet-stream.ts';
import { findPort, plugIntoPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import { eventually, pings, sleep } from './datacentre.ts';
import { labName, needsRoot } from './lab-name.ts';
import { startLossless } from './lossless.ts';
import { ask, serve } from './services.ts';

/**
 * Two gateways that speak BGP, as one router (docs/design/gateways.md):
 *
 *     client ── internet ─┬─ up-1 (64601) ── gw-1 ─┐
 *                         └─ up-2 (64602) ── gw-2 ─┴─ core ── public ── edge ── web ── web-1 on east, web-2 on west
 */
const name = labName('gws');
const PASSWORD = 'md5-of-the-lab';
const sites = [
  {
    router: 'up-1',
    gateway: 'gw-1',
    asn: 64_601,
    there: '192.0.2.1',
    here: '192.0.2.2',
    there6: 'fd00:1::1',
    here6: 'fd00:1::2',
  },
  {
    router: 'up-2',
    gateway: 'gw-2',
    asn: 64_602,
    there: '192.0.2.5',
    here: '192.0.2.6',
    there6: 'fd00:2::1',
    here6: 'fd00:2::2',
  },
] as const;
const FLOATING = '203.0.113.11';
const SNAT = '203.0.113.10';
const VIP = '203.0.113.80';

const isp = (kind: string, named: string, rest: object = {}) => ({ kind, tenant: 'isp', name: named, ...rest });
const shop = (kind: string, named: string, rest: object = {}) => ({ kind, tenant: 'shop', name: named, ...rest });

function objects(): Record<string, unknown>[] {
  return [
    { kind: 'tenant', name: 'isp' },
    isp('switch', 'public', { shared: true, subnets: [{ cidr: '203.0.113.0/24', gateway: '203.0.113.1' }] }),
    isp('router', 'core', { bgp: { asn: 64_512 } }),
    isp('routerPort', 'public', { router: 'core', switch: 'public', addresses: ['203.0.113.1/24'] }),
    ...sites.flatMap((site) => [
      isp('switch', site.router),
      isp('port', `${site.router}-wire`, { switch: site.router, portSecurity: false, addresses: [] }),
      isp('routerPort', site.router, {
        ...{ router: 'core', switch: site.router },
        addresses: [`${site.here}/30`, `${site.here6}/64`],
      }),
      isp('bgpPeer', site.router, {
        ...{ router: 'core', routerPort: `core/${site.router}`, address: site.there, asn: site.asn },
        ...{ password: PASSWORD, bfd: true },
      }),
    ]),
    { kind: 'tenant', name: 'shop' },
    shop('switch', 'web', { subnets: [{ cidr: '10.0.1.0/24', gateway: '10.0.1.1' }] }),
    shop('router', 'edge', {
      routes: [{ to: '0.0.0.0/0', via: '203.0.113.1' }],
      snat: [{ from: '10.0.0.0/16', to: SNAT }],
    }),
    shop('routerPort', 'web', { router: 'edge', switch: 'web', addresses: ['10.0.1.1/24'] }),
    shop('routerPort', 'out', { router: 'edge', switch: 'isp/public', outside: true, addresses: [`${SNAT}/24`] }),
    shop('port', 'web-1', { switch: 'web', addresses: ['10.0.1.11'] }),
    shop('port', 'web-2', { switch: 'web', addresses: ['10.0.1.12'] }),
    shop('floatingAddress', 'web-1', { address: FLOATING, router: 'edge', port: 'web-1' }),
    shop('loadBalancer', 'shop', {
      ...{ address: VIP, router: 'edge', listeners: [{ protocol: 'tcp', port: 80 }] },
      members: [{ port: 'web-1' }, { port: 'web-2' }],
    }),
  ];
}

interface BgpShown {
  readonly routers: readonly {
    readonly gateways: readonly string[];
    readonly drained: readonly string[];
    readonly peers: readonly { readonly name: string; readonly state?: string; readonly problem?: string }[];
    readonly learned: number;
    readonly advertised: readonly { readonly network: string; readonly why: string }[];
  }[];
}

describe('gateways', { skip: needsRoot }, () => {
  let lab: Lab;
  let weft: WeftInLab;

  before(async () => {
    lab = await Lab.start({
      name,
      hosts: ['gw-1', 'gw-2', 'east', 'west'].map((host) => ({ name: host })),
      workloads: ['east', 'west'].map((host, n) => ({
        ...{ name: `web-${n + 1}`, host, addresses: [`10.0.1.1${n + 1}/24`], gateways: ['10.0.1.1'] },
      })),
      routers: sites.map((site) => ({
        ...{ name: site.router, asn: site.asn },
        links: [
          {
            ...{ host: site.gateway, addresses: [`${site.there}/30`, `${site.there6}/64`] },
            peers: [{ address: site.here, asn: 64_512, password: PASSWORD, bfd: true }],
          },
        ],
      })),
      outside: [{ name: 'client' }],
    });
    weft = await startWeftInLab(lab);
    await weft.client.post('/v1/apply', { objects: objects() });
    const ids: string[] = [];
    for (const workload of ['web-1', 'web-2'])
      ids.push((await plugIntoPort(lab, weft.client, workload, `shop/${workload}`)).id);
    for (const site of sites) {
      const { id } = await findPort(weft.client, `isp/${site.router}-wire`);
      await lab.upstream(site.router).plug(site.gateway, id);
      ids.push(id);
    }
    await waitForPorts(weft.client, ids);
    for (const workload of ['web-1', 'web-2']) await serve(lab, workload, 'tcp', 80);
    await serve(lab, 'client', 'tcp', 80);
  });
  after(async () => {
    weft?.client.close();
    await removeLab(name);
  });

  const bgp = async (): Promise<BgpShown['routers'][0]> => (await weft.client.get<BgpShown>('/v1/bgp')).routers[0]!;
  const established = (count = 2): Promise<BgpShown['routers'][0]> =>
    eventually(`${count} sessions`, 20_000, async () => {
      const router = await bgp();
      return router.peers.filter(({ state }) => state === 'established').length === count && router;
    });
  const upstreamKnows = async (router: string): Promise<readonly string[]> => {
    const text = await lab.execOk(router, ['ip', 'route', 'show', 'proto', 'bgp']);
    return text
      .split('\n')
      .flatMap((line) => /^(\S+) .*via 192\.0\.2\./.exec(line)?.[1] ?? [])
      .sort();
  };

  test('sessions with MD5 and BFD come up, and tell of floating, shared and virtual addresses alone', async () => {
    const router = await established();
    assert.deepEqual(router.gateways, ['gw-1', 'gw-2']);
    for (const site of sites)
      await eventually(`routes at ${site.router}`, 10_000, async () => {
        const known = await upstreamKnows(site.router);
        return known.join() === [SNAT, FLOATING, VIP].join();
      });
  });

  test('what they learned leads out, by both; what comes in by either finds its way', async () => {
    await eventually('the way out', 10_000, async () => (await bgp()).learned >= 2);
    const { address } = await client();
    await eventually('an answer', 10_000, () => pings(lab, 'web-1', address));
    for (const via of ['up-1', 'up-2']) {
      await lab.sendVia('client', [via]);
      assert.equal((await ask(lab, 'client', 'tcp', FLOATING, 80)).by, 'web-1', via);
      assert.match((await ask(lab, 'client', 'tcp', VIP, 80)).by!, /^web-[12]$/, via);
      assert.equal((await ask(lab, 'web-2', 'tcp', address, 80)).seen, SNAT);
    }
  });

  test('an agent that restarts keeps the sessions, the routes and every packet', async () => {
    const before = await lab.upstream('up-1').daemons.show<Record<string, unknown>>('bgp summary');
    const streams = await startLossless(lab, [{ from: 'client', to: 'web-1', address: FLOATING, pps: 5000 }]);
    await weft.agent('gw-1').stop();
    await weft.agent('gw-1').start();
    await sleep(4000); // until zebra has told the new agent what it knows
    await streams.stop('an agent of a gateway restarted');
    assert.ok((await established()).learned >= 2);
    assert.equal(droppedOf(await lab.upstream('up-1').daemons.show('bgp summary')), droppedOf(before));
  });

  test('a gateway is drained without a packet lost, and comes back so', async (t) => {
    const { address } = await client();
    const way = { from: 'web-1', to: 'client', address, pps: 5000 };
    // By one gateway: which, the addresses say.
    const [busy] = await carriedDuring(() => streamFor(lab, 300, way));
    const site = sites.find(({ router }) => router === busy)!;
    await lab.sendVia('client', [site.router]);
    const streams = await startLossless(lab, [way, { from: 'client', to: 'web-1', address: FLOATING, pps: 5000 }]);
    const drain = (isDrained: boolean): Promise<unknown> =>
      weft.client.request('PATCH', `/v1/hosts/${site.gateway}`, { body: { drain: isDrained } });
    await drain(true);
    await eventually(
      'nothing is sent there',
      15_000,
      async () => !(await carriedDuring(() => sleep(300))).includes(site.router),
    );
    // Its upstream found its other way before this one was gone.
    const told = async (): Promise<number> =>
      (await lab.upstream(site.router).daemons.vtysh(`show bgp ipv4 unicast neighbors ${site.here} routes`)).match(
        /203\.0\.113\.\d+\/32/g,
      )?.length ?? 0;
    assert.equal(await told(), 3);
    const sinceMs = performance.now();
    await eventually('nothing is advertised', 45_000, async () => (await told()) === 0);
    const waitedMs = performance.now() - sinceMs;
    assert.ok(waitedMs > 5_000 && waitedMs < 25_000, `ten seconds of silence are enough: ${waitedMs} ms`);
    assert.deepEqual((await carriedDuring(() => sleep(300))).includes(site.router), false);
    const { drained, learned } = await established();
    assert.deepEqual([drained, learned >= 2], [[site.gateway], true]);
    await drain(false);
    await eventually('it is advertised again', 5000, async () => (await upstreamKnows(site.router)).length === 3);
    // The way in stays with the other: the upstream told the client so (an ICMP redirect).
    await eventually('the way out leads there', 5000, async () =>
      (await carriedDuring(() => sleep(300))).includes(site.router),
    );
    for (const { sent, lost, lostAtReceiver, pps } of await streams.stop(`${site.gateway} was drained and came back`))
      t.diagnostic(
        `${sent} packets at ${pps} a second: ${lost} lost, ${lostAtReceiver} of them at the receiver's socket`,
      );
    await lab.sendVia('client', [site.router]);
    assert.equal((await ask(lab, 'client', 'tcp', FLOATING, 80)).by, 'web-1');
  });

  /** Upstreams whose links to gateways had more than sessions need, the busiest first. */
  async function carriedDuring(act: () => Promise<unknown>): Promise<readonly string[]> {
    const counts = (): Promise<readonly number[]> => Promise.all(sites.map(packetsAt));
    const before = await counts();
    await act();
    const after = await counts();
    const packets = sites.map(({ router }, n) => ({ router, count: after[n]! - before[n]! }));
    return packets
      .filter(({ count }) => count > 150)
      .sort((a, b) => b.count - a.count)
      .map(({ router }) => router);
  }

  async function packetsAt({ router, gateway }: (typeof sites)[number]): Promise<number> {
    const [link] = JSON.parse(await lab.execOk(router, ['ip', '-s', '-j', 'link', 'show', 'dev', `to-${gateway}`]));
    return link.stats64.rx.packets + link.stats64.tx.packets;
  }

  test('a gateway that is killed is out within a second', async () => {
    const { address } = await client();
    const way = { from: 'web-1', to: 'client', address, pps: 5000 };
    const stream = await startStream(lab, way);
    const [busy] = await carriedDuring(() => sleep(1000));
    await lab.stopHost(sites.find(({ router }) => router === busy)!.gateway);
    await sleep(3000);
    const report = await stream.stop();
    // A gap that never ended would be none; and it went by the one that is no more.
    assert.ok(report.sent > 8_000 && report.longestGapMs > 100, JSON.stringify(report));
    assert.ok(report.longestGapMs < 1500 && report.lost < 1.5 * 5000, JSON.stringify(report));
    assert.equal((await ask(lab, 'client', 'tcp', FLOATING, 80)).by, 'web-1');
    assert.equal((await ask(lab, 'web-2', 'tcp', address, 80)).seen, SNAT);
  });

  test('teardown leaves nothing, nor what FRR was told', async () => {
    const told = (): string[] => readdirSync('/var/run/frr').filter((folder) => folder.startsWith(`weft-${name}-`));
    assert.equal(told().length, 2, 'a gateway each');
    weft.client.close();
    await lab.down();
    assert.deepEqual(listNamespaces(`weft-${name}-`), []);
    assert.deepEqual(told(), []);
  });

  async function client(): Promise<{ readonly address: string }> {
    const text = await lab.execOk('client', ['ip', '-4', '-o', 'addr', 'show', 'scope', 'global']);
    return { address: /inet (\S+)\//.exec(text)![1]! };
  }
});

function droppedOf(summary: unknown): string {
  return (
    JSON.stringify(summary)
      .match(/"connectionsDropped":\d+/g)
      ?.join() ?? ''
  );
}
