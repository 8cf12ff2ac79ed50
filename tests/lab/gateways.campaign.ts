// Measures: runs alone.
import assert from 'node:assert/strict';
import { loadavg } from 'node:os';
import { after, before, describe, type TestContext, test } from 'node:test';
import {
  type ConnectionCrowd,
  type CrowdOptions,
  type CrowdReport,
  startCrowd,
} from '../../src/lab/connection-crowd.ts';
import { socketDrops } from '../../src/lab/machine-drops.ts';
import { startMigration } from '../../src/lab/migration.ts';
import { startStream } from '../../src/lab/packet-stream.ts';
import { findPort, waitForPorts } from '../../src/lab/weft.ts';
import { alternate } from './alternating.ts';
import { memberComesAndGoes } from './changing-members.ts';
import { eventually, sleep } from './datacentre.ts';
import { tellFigure } from './figures.ts';
import { needsRoot } from './lab-name.ts';
import { startLossless } from './lossless.ts';
import { longestGaps, OneWay } from './one-way.ts';
import {
  balancer,
  CLIENT,
  FLOATING,
  peerOf,
  startTwoGateways,
  type TwoGateways,
  UPLINKS,
  uplinkFilter,
  VIP,
} from './two-gateways.ts';

/** What gateways must reach (docs/design/gateways.md), with many connections: through SNAT, a floating address and a VIP, all past stateful filters: at the uplinks, at the outside port, and of a group. */
const CROWDS: Readonly<Record<string, CrowdOptions>> = {
  'out by SNAT': { from: 'web-2', to: 'client', address: CLIENT, port: 7101, connections: 3500, perSecond: 700 },
  'in by a floating address': {
    ...{ from: 'client', to: 'web-1', address: FLOATING, port: 7102 },
    ...{ connections: 2500, perSecond: 700 },
  },
  'in by a VIP': { from: 'client', to: ['web-1', 'web-2'], address: VIP, connections: 4000, perSecond: 700 },
};
/** On a machine with time to spare; the bar itself is a second. */
const RESUMES_MS = 1000;
/** Of the issue for a workload with 1,000 connections, which `import.test.ts` holds; here are ten times as many at its host. */
const MOVED_MS = 500;
const PPS = 5000;
/** On the VIP, beside the others, and how far a member's part may be from its weight. */
const LATE = 10_000;
const SPREAD = 0.05;

describe('gateways with ten thousand connections', { skip: needsRoot, timeout: 1_800_000 }, () => {
  let site: TwoGateways;
  const crowds = new Map<string, ConnectionCrowd>();

  before(async () => {
    site = await startTwoGateways('gwc');
    await site.established('up-1', 'up-2');
    await put(
      ...uplinkFilter(...['7100-7199', '80'].map((dstPorts) => ({ protocol: 'tcp', dstPorts, tcpFlags: '+syn-ack' })), {
        protocol: 'udp',
        dstPorts: '7000-7099',
      }),
    );
    for (const [name, options] of Object.entries(CROWDS)) crowds.set(name, await startCrowd(site.lab, options));
  });
  after(async () => {
    for (const crowd of crowds.values()) await crowd.stop(1).catch(() => {});
    await site?.down();
  });

  const put = async (...objects: object[]): Promise<void> => {
    await site.weft.client.post('/v1/apply', { objects });
    await site.weft.client.get('/v1/sync');
  };

  /** Every connection is asked for an answer, and gives it. */
  async function allLive(t: TestContext, when: string): Promise<Map<string, CrowdReport>> {
    const reports = new Map<string, CrowdReport>();
    for (const [name, crowd] of crowds) {
      const report = await crowd.report('answered', 30_000);
      const { established, failed, died, stalled, wrong, answerMs, at } = report;
      t.diagnostic(`${when}: ${name}: ${JSON.stringify({ established, failed, died, stalled, wrong, answerMs, at })}`);
      reports.set(name, report);
    }
    for (const [name, { established, failed, died, stalled, wrong, troubles }] of reports)
      assert.deepEqual(
        { established, failed, died, stalled, wrong },
        { established: CROWDS[name]!.connections, failed: 0, died: 0, stalled: 0, wrong: 0 },
        `${when}: ${name}: ${troubles.slice(0, 5).join('; ')}`,
      );
    return reports;
  }
  /** What people are told since then: why a gap was longer, where it was. */
  async function tellEvents(t: TestContext, sinceMs: number): Promise<void> {
    const { items } = await site.weft.client.get<{ items: { atMs: number; text: string }[] }>('/v1/events');
    for (const { atMs, text } of items) if (atMs >= sinceMs) t.diagnostic(`after ${atMs - sinceMs} ms: ${text}`);
  }
  const tellLoad = (t: TestContext): void => t.diagnostic(`load average ${loadavg()[0]!.toFixed(1)}`);

  test('all of them are opened, spread over both members', async (t) => {
    tellLoad(t);
    const { at } = (await allLive(t, 'opened')).get('in by a VIP')!;
    for (const member of ['web-1', 'web-2']) assert.ok(Math.abs(at[member]! / 2000 - 1) < SPREAD, JSON.stringify(at));
  });

  test('their packets come in by one gateway and the other in turn, and go out so', async (t) => {
    const streams = await startLossless(site.lab, [
      { from: 'client', to: 'web-1', address: FLOATING, pps: 500, port: 7001 },
      { from: 'web-2', to: 'client', address: CLIENT, pps: 500, port: 7002 },
    ]);
    const alternation = await alternate(site);
    await allLive(t, 'during it');
    const counts = await alternation.counts();
    await alternation.stop();
    await streams.stop('alternating gateways');
    t.diagnostic(`packets by each gateway: ${JSON.stringify(counts)}`);
    for (const [direction, [first, second]] of Object.entries(counts)) {
      // Every connection is asked and answers. The counters are not read at one instant, and each workload takes turns by itself.
      assert.ok(first! + second! > 2 * 10_000, `${direction}: ${first} and ${second}`);
      assert.ok(Math.abs(first! / second! - 1) < 0.05, `${direction}: ${first} and ${second}`);
    }
  });

  test('a member is added, drained, killed: only the connections of the killed one are lost', async (t) => {
    const farthest = await memberComesAndGoes(t, site, {
      balancer,
      crowd: { address: VIP, port: 80, connections: LATE, perSecond: 700, openTimeoutMs: 30_000 },
      joined: () => allLive(t, 'one more'),
    });
    tellFigure(t, 'a member added: the share farthest from its weight', farthest * 100, '%', SPREAD * 100);
    assert.ok(farthest < SPREAD, `${farthest}`);
    await allLive(t, 'one killed');
  });

  test('a gateway is killed: none is lost, traffic resumes within a second; it comes back: none is lost', async (t) => {
    tellLoad(t);
    const oneWay = await OneWay.at(site, { floating: FLOATING, network: { start: '198.51.100.', bits: 24 } });
    const streams = await oneWay.startByFirst(t, 7020, PPS);
    const killedMs = Date.now();
    await site.lab.stopHost('gw-1');
    await sleep(5000);
    const gaps = await longestGaps(t, 'killed', streams);
    tellLoad(t);
    await site.lab.sendVia('client', ['up-1', 'up-2']);
    await allLive(t, 'a gateway less');
    const meanwhile = await oneWay.start(7040, { in: 1000, out: 3000 });
    const full = await socketDrops(site.lab);
    await site.lab.startHost('gw-1');
    await site.established('up-1', 'up-2');
    await sleep(1000);
    t.diagnostic(`sockets of the switches dropped ${(await socketDrops(site.lab)) - full} meanwhile`);
    for (const [way, gapMs] of await longestGaps(t, 'while it comes back', meanwhile))
      gaps.set(`${way}, while it comes back`, gapMs);
    await allLive(t, 'it is back');
    await tellEvents(t, killedMs);
    for (const [way, gapMs] of gaps)
      tellFigure(t, `a gateway killed, one-way UDP ${way}: gap`, gapMs, 'ms', RESUMES_MS);
    // Asked at last: what is too slow here leaves a site that is whole to the tests behind.
    for (const [way, gapMs] of gaps) assert.ok(gapMs < RESUMES_MS, `${way}: ${gapMs} ms`);
  });

  test('agent and server of a gateway are killed: BGP stays up, no packet is lost', async (t) => {
    tellLoad(t);
    const before = await dropsAt('up-1');
    const streams = await startLossless(site.lab, [
      { from: 'client', to: 'web-1', address: FLOATING, pps: 2000, port: 7005 },
      { from: 'web-1', to: 'client', address: CLIENT, pps: 2000, port: 7006 },
    ]);
    await Promise.all([site.weft.agent('gw-1').kill(), site.weft.server.kill()]);
    await sleep(12_000); // longer than any hold time or lease
    await site.weft.server.start();
    await site.weft.agent('gw-1').start();
    await sleep(3000);
    await streams.stop('agent and server killed');
    assert.equal(await dropsAt('up-1'), before);
    await site.established('up-1', 'up-2');
    await allLive(t, 'both are back');
  });

  describe('a peer that does wrong is told, and disturbs nobody', () => {
    const second = UPLINKS[1]!;
    const ill = async (
      t: TestContext,
      what: string,
      does: () => Promise<unknown>,
      undo: () => Promise<unknown>,
      problem: RegExp,
    ) => {
      await site.lab.sendVia('client', ['up-1']);
      const streams = await startLossless(site.lab, [
        { from: 'client', to: 'web-1', address: FLOATING, pps: 2000, port: 7007 },
        { from: 'web-1', to: 'client', address: CLIENT, pps: 2000, port: 7008 },
      ]);
      try {
        await does();
        await sleep(6000);
        const peer = await site.peer('up-2');
        t.diagnostic(`${what}: ${JSON.stringify(peer)}`);
        await streams.stop(what);
        assert.notEqual(peer.state, 'established');
        // A call that is dropped is repeated after seconds.
        await eventually(`${what}: a problem like ${problem}`, 20_000, async () =>
          problem.test((await site.peer('up-2')).sessions[0]?.problem ?? ''),
        );
        assert.equal((await site.peer('up-1')).state, 'established');
      } finally {
        await undo();
      }
      await site.established('up-1', 'up-2');
      await site.lab.sendVia('client', ['up-1', 'up-2']);
    };

    test('another password', async (t) => {
      await ill(
        t,
        'another password',
        () => put(peerOf(second, { password: 'another' })),
        () => put(peerOf(second)),
        /segments with another password arrive/,
      );
    });
    test('another AS', async (t) => {
      await ill(
        t,
        'another AS',
        () => put(peerOf(second, { asn: 64_999 })),
        () => put(peerOf(second)),
        /AS/,
      );
    });
    test('a session that flaps', async (t) => {
      const router = site.lab.upstream('up-2');
      await site.lab.sendVia('client', ['up-1']);
      const streams = await startLossless(site.lab, [
        { from: 'client', to: 'web-1', address: FLOATING, pps: 2000, port: 7009 },
        { from: 'web-1', to: 'client', address: CLIENT, pps: 2000, port: 7010 },
      ]);
      for (let n = 0; n < 20; n++) {
        await router.shutSession(second.here);
        await sleep(100);
        await router.openSession(second.here);
        await sleep(100);
      }
      t.diagnostic(`flapping: ${JSON.stringify(await site.peer('up-2'))}`);
      await streams.stop('a session that flaps');
      await site.established('up-1', 'up-2');
      await site.lab.sendVia('client', ['up-1', 'up-2']);
    });
  });

  /** MidoNet's scenario 43. */
  test('workloads move with their established connections', async (t) => {
    tellLoad(t);
    for (const [name, host] of [
      ['web-1', 'west'],
      ['web-2', 'east'],
    ] as const) {
      const { id } = await findPort(site.weft.client, `shop/${name}`);
      await site.weft.client.request('PATCH', `/v1/ports/${id}`, { body: { host } });
      const move = await startMigration(site.lab, name, host);
      await waitForPorts(site.weft.client, [id]);
      // As long as a hypervisor copies memory, at the least: some thousand connections a second are made again meanwhile.
      await sleep(5000);
      const streams = [
        await startStream(site.lab, { from: 'client', to: 'web-1', address: FLOATING, pps: 1000, port: 7050 }),
      ];
      await move.activate();
      await move.finish();
      await sleep(1500);
      for (const stream of streams) {
        const { sent, lost, longestGapMs } = await stream.stop();
        t.diagnostic(`${name} to ${host}: ${JSON.stringify({ sent, lost, longestGapMs })}`);
        tellFigure(t, `${name} moved, UDP to web-1 by its floating address: gap`, longestGapMs, 'ms', MOVED_MS);
      }
    }
    for (const [name, { connections }] of Object.entries(CROWDS)) {
      const { established, died, stalled } = await crowds.get(name)!.report('answered', 30_000);
      assert.deepEqual({ name, established, died, stalled }, { name, established: connections, died: 0, stalled: 0 });
    }
  });

  /** How often the router has lost sessions. */
  async function dropsAt(router: string): Promise<string> {
    const summary = JSON.stringify(await site.lab.upstream(router).daemons.show('bgp summary'));
    return [...summary.matchAll(/"connectionsDropped":\d+/g)].join();
  }
});
