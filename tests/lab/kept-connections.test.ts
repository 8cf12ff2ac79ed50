// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type ConnectionCrowd, type CrowdOptions, startCrowd } from '../../src/lab/connection-crowd.ts';
import { INTEGRATION_BRIDGE } from '../../src/lab/open-vswitch.ts';
import { eventually, sleep } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import {
  CLIENT,
  CROSSED,
  FLOATING,
  isp,
  peerOf,
  ROUTED,
  startTwoGateways,
  type TwoGateways,
  UPLINKS,
  type Uplink,
  unhurried,
  VIP,
} from './two-gateways.ts';

/** TCP connections of every sort, each way, established before uplinks and gateways come, go and move, and all of them alive behind it. */
const CROWDS: Readonly<Record<string, CrowdOptions>> = {
  'out by SNAT': { from: 'web-2', to: 'client', address: CLIENT, port: 7101 },
  'out by a floating address': { from: 'web-1', to: 'client', address: CLIENT, port: 7102 },
  'out, routed': { from: ROUTED.name, to: 'client', address: CLIENT, port: 7103 },
  'in by a floating address': { from: 'client', to: 'web-1', address: FLOATING, port: 7104 },
  'in by a VIP': { from: 'client', to: ['web-1', 'web-2'], address: VIP },
  'in, routed': { from: 'client', to: ROUTED.name, address: ROUTED.address, port: 7105 },
};
const CONNECTIONS = 40;
/** TCP repeats what was lost ever more seldom: after a silence of ten seconds it may take as long again. */
const ANSWERED_MS = 30_000;
/** What sessions and probes alone leave on a link within `LOOK_MS` is less; all connections together are a thousand packets in it. */
const IDLE_PACKETS = 40;
const LOOK_MS = 1000;

describe('established connections', { skip: needsRoot, timeout: 600_000 }, () => {
  const [first, second] = UPLINKS.map(unhurried) as [Uplink, Uplink];
  const crossed = CROSSED.map(unhurried);
  let site: TwoGateways;
  const crowds = new Map<string, ConnectionCrowd>();

  before(async () => {
    site = await startTwoGateways('kep', [first, second], ['gw-3'], true);
    // The kernel forgets next hops of a link that loses its carrier; zebra 8.4, which shares them between routes, believes that they are there.
    for (const { router } of UPLINKS)
      await site.lab.upstream(router).daemons.vtysh('configure terminal', 'no zebra nexthop kernel enable');
    await site.established('up-1', 'up-2');
    await site.lab.sendVia('client', ['up-1', 'up-2']);
    for (const [way, options] of Object.entries(CROWDS))
      crowds.set(
        way,
        await startCrowd(site.lab, { ...options, connections: CONNECTIONS, perSecond: 100, intervalMs: 300 }),
      );
  });
  after(() => site?.down());

  const put = async (...objects: object[]): Promise<void> => {
    await site.weft.client.post('/v1/apply', { objects });
  };
  const remove = (path: string): Promise<unknown> => site.weft.client.request('DELETE', `/v1/${path}`);
  async function allLive(t: TestContext, when: string): Promise<void> {
    const reports = await Promise.all(
      [...crowds].map(async ([way, crowd]) => [way, await crowd.report('answered', ANSWERED_MS)] as const),
    );
    for (const [way, { answerMs }] of reports) t.diagnostic(`${when}: ${way}: answered within ${answerMs.max} ms`);
    assert.deepEqual(
      reports.map(([way, { established, failed, died, stalled, wrong, troubles }]) => ({
        ...{ way, established, failed, died, stalled, wrong, troubles },
      })),
      [...crowds.keys()].map((way) => ({
        ...{ way, established: CONNECTIONS, failed: 0, died: 0, stalled: 0, wrong: 0, troubles: [] },
      })),
      when,
    );
  }

  async function packetsBy({ router, gateway }: Uplink): Promise<number> {
    const text = await site.lab.execOk(router, ['ip', '-s', '-j', 'link', 'show', 'dev', `to-${gateway}`]);
    const [{ stats64 }] = JSON.parse(text);
    return stats64.rx.packets + stats64.tx.packets;
  }
  /** By which of all uplinks the connections go. */
  async function carrying(): Promise<string> {
    const all = [...UPLINKS, ...CROSSED];
    const before = await Promise.all(all.map(packetsBy));
    await sleep(LOOK_MS);
    const after = await Promise.all(all.map(packetsBy));
    return all
      .filter((_, n) => after[n]! - before[n]! > IDLE_PACKETS)
      .map(({ name }) => name)
      .join();
  }
  async function goBy(wanted: string, timeoutMs = 40_000): Promise<void> {
    let seen = '';
    await eventually(`connections by ${wanted} alone`, timeoutMs, async () => {
      seen = await carrying();
      return seen === wanted;
    }).catch((error: unknown) => {
      throw new Error(`${error}; by ${seen}`);
    });
  }
  /** What routers outside told the client of better ways meanwhile (ICMP redirects) is forgotten. */
  async function goByAll(): Promise<void> {
    await site.lab.sendVia('client', ['up-1', 'up-2']);
    await goBy('up-1,up-2,cross-1,cross-2');
  }

  test('outlive an uplink that is added', async (t) => {
    await allLive(t, 'by two');
    await put(...crossed.map((uplink) => peerOf(uplink)));
    await site.established('cross-1', 'cross-2');
    await goByAll();
    await allLive(t, 'by four');
  });

  test('outlive a peer that is deleted, and an uplink with all that it is made of, which is made again', async (t) => {
    await remove('bgp-peers/isp%2Fcore%2Fcross-1');
    await goBy('up-1,up-2,cross-2');
    await allLive(t, 'a peer less');
    await remove('bgp-peers/isp%2Fcore%2Fup-1');
    await remove('router-ports/isp%2Fcore%2Fup-1');
    await goBy('up-2,cross-2');
    await allLive(t, 'an uplink less');
    await remove('bgp-peers/isp%2Fcore%2Fcross-2');
    await goBy('up-2');
    await allLive(t, 'the last of four');
    await put(
      isp('routerPort', 'up-1', { router: 'core', switch: 'up-1', addresses: [`${first.here}/30`] }),
      ...[first, ...crossed].map((uplink) => peerOf(uplink)),
    );
    await site.established('up-1', 'up-2', 'cross-1', 'cross-2');
    await goByAll();
    await allLive(t, 'by four again');
  });

  test('outlive a peer that is held down, and one that is told nothing any more', async (t) => {
    await put(peerOf(first, { adminUp: false }));
    await goBy('up-2,cross-1,cross-2');
    await allLive(t, 'held down');
    await put(peerOf(first), peerOf(second, { advertise: [] }));
    await site.established('up-1');
    await eventually('nothing is told to up-2', 10_000, async () => !(await knows('up-2', second)));
    await allLive(t, 'untold');
    await put(peerOf(second, { advertise: null }));
    await site.established('up-1', 'up-2', 'cross-1', 'cross-2');
    await allLive(t, 'told again');
  });
  /** Has the router outside a way to the floating address by this uplink? */
  const knows = async (router: string, { here }: Uplink): Promise<boolean> =>
    (await site.lab.execOk(router, ['ip', 'route', 'show', FLOATING])).includes(`via ${here} `);

  test('outlive a gateway that is drained, and its return', async (t) => {
    const drain = (isDrained: boolean): Promise<unknown> =>
      site.weft.client.request('PATCH', '/v1/hosts/gw-1', { body: { drain: isDrained } });
    await drain(true);
    try {
      await goBy('up-2,cross-1', 60_000);
      await allLive(t, 'drained');
    } finally {
      await drain(false);
    }
    await goByAll();
    await allLive(t, 'undrained');
  });

  test('outlive an uplink that moves to another gateway, and back', async (t) => {
    const { interface: wire, port } = site.lab.upstream(second.router).link(second.gateway);
    const move = async (from: string, to: string): Promise<void> => {
      await site.lab.switchOf(from).vsctl(['--timeout=30', 'del-port', INTEGRATION_BRIDGE, wire]);
      await site.lab.execOk(from, ['ip', 'link', 'set', wire, 'netns', site.lab.namespace(to)]);
      await site.lab.execOk(to, ['ip', 'link', 'set', wire, 'up']);
      await site.lab
        .switchOf(to)
        .vsctl([
          ...['--timeout=30', 'add-port', INTEGRATION_BRIDGE, wire, '--', 'set', 'interface', wire],
          ...[`external_ids:iface-id="${port}"`, 'external_ids:iface-status=active'],
        ]);
      await eventually(
        `gateway ${to}`,
        30_000,
        async () => (await site.router()).gateways.includes(to) && (await site.peer('up-2')).sessions[0]?.host === to,
      );
      await site.established('up-2');
      await goByAll();
    };
    await move('gw-2', 'gw-3');
    await allLive(t, 'by a third gateway');
    await move('gw-3', 'gw-2');
    await allLive(t, 'back again');
  });

  test('outlive a gateway that breaks, and its return', async (t) => {
    await site.lab.stopHost('gw-1');
    await goBy('up-2,cross-1');
    await allLive(t, 'a gateway less');
    await site.lab.startHost('gw-1');
    await eventually('the agent is back', 60_000, async () => (await site.peer('up-1')).state === 'established');
    await site.established('up-1', 'up-2', 'cross-1', 'cross-2');
    await goByAll();
    await allLive(t, 'it is back');
  });
});
