// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import {
  type ConnectionCrowd,
  type CrowdOptions,
  type CrowdReport,
  startCrowd,
} from '../../src/lab/connection-crowd.ts';
import { startMigration } from '../../src/lab/migration.ts';
import { type StreamOptions, startStream } from '../../src/lab/packet-stream.ts';
import { waitForPorts } from '../../src/lab/weft.ts';
import type { ShownConnection } from '../../src/server/routes/flows.ts';
import { type Datacentre, eventually, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** An address of this test's IPv4 world, or the one with the same last part of its world of IPv6. */
type Addresses = (address: string) => string;
const WORLDS: Readonly<Record<string, Addresses>> = {
  IPv4: (address) => address,
  IPv6: (address) =>
    address.replace(/^203\.0\.113\.(\d+)$/, '2001:db8:f::$1').replace(/^10\.0\.(\d+)\.(\d+)$/, 'fd00:$1::$2'),
};

/** The kinds of connections that conntrack keeps for a workload (docs/design/flow-database.md, §5): 1,000 of a1, and others. */
const crowdsIn = (at: Addresses): Readonly<Record<string, CrowdOptions>> => ({
  'out by SNAT': { from: 'a1', to: 'o1', address: at('203.0.113.101'), port: 7101, connections: 250 },
  'in by a VIP': { from: 'o1', to: ['a1', 'b1'], address: at('203.0.113.50'), port: 7102, connections: 500 },
  'by a VIP to another': { from: 'a1', to: 'b1', address: at('203.0.113.51'), port: 7103, connections: 250 },
  'in past a group': { from: 'b1', to: 'a1', address: at('10.0.1.11'), port: 7104, connections: 250 },
  'in by a floating address': { from: 'o1', to: 'a2', address: at('203.0.113.12'), port: 7105, connections: 250 },
});

/** Numbered packets of one connection each, 5,000 a second, of workloads that have no others. */
const streamsIn = (at: Addresses): Readonly<Record<string, readonly (StreamOptions & { readonly way: string })[]>> => ({
  a5: [{ way: 'out by SNAT', from: 'a5', to: 'o1', address: at('203.0.113.101'), port: 7203 }],
  a6: [
    { way: 'out by a floating address', from: 'a6', to: 'o1', address: at('203.0.113.101'), port: 7204 },
    { way: 'in by a floating address', from: 'o1', to: 'a6', address: at('203.0.113.16'), port: 7205 },
  ],
});
const MOST_GAP_MS = 500;
const LEAST_TIMEOUT_MS = 200;
/**
 * How long TCP may wait for an answer whose segment was sent into such a gap: it sends it again after its time-out and after twice that once more
 * (a tenth more by its own granularity). The time-out is 0.2 s at least, and follows what answers took before: one of R makes it R + R/8
 * (RFC 6298 §2.3, from a smooth time near nothing). What the machine makes them wait anyway comes on top.
 */
function mostAnswerMs(beforeMs: number): number {
  const timeoutMs = Math.max(LEAST_TIMEOUT_MS, beforeMs * 1.125);
  return 3 * timeoutMs * 1.1 + beforeMs;
}

for (const [family, at] of Object.entries(WORLDS))
  describe(`connections of a workload that moves, over ${family}`, { skip: needsRoot, timeout: 300_000 }, () =>
    moving(at),
  );

function moving(address: Addresses): void {
  const wanted = crowdsIn(address);
  let dc: Datacentre;
  const crowds = new Map<string, ConnectionCrowd>();

  before(async () => {
    dc = await startDatacentre({
      prefix: 'import',
      hosts: ['east', 'west', 'edge'],
      objects: [
        ...networks({
          snat: [
            { from: '10.0.0.0/16', to: '203.0.113.2' },
            { from: 'fd00::/16', to: '2001:db8:f::2' },
          ],
        }),
        // What comes in is answered because it is known, and for no other reason.
        acme('securityGroup', 'web', {
          ingress: [{ protocol: 'tcp', ports: '7102' }, { protocol: 'tcp', ports: '7104' }, { protocol: 'icmp' }],
          egress: [
            { protocol: 'tcp', ports: '7101' },
            { protocol: 'tcp', ports: '7103' },
            { protocol: 'udp', ports: '7206' },
          ],
        }),
        member('a1', { groups: ['web'] }),
        ...['a2', 'a5', 'a6'].map((name) => member(name)),
        member('b1'),
        acme('floatingAddress', 'f2', { address: address('203.0.113.12'), router: 'r', port: 'a2' }),
        acme('floatingAddress', 'f6', { address: address('203.0.113.16'), router: 'r', port: 'a6' }),
        acme('loadBalancer', 'in', {
          ...{ address: address('203.0.113.50'), router: 'r', members: [{ port: 'a1' }, { port: 'b1' }] },
          listeners: [{ protocol: 'tcp', port: 7102 }],
        }),
        acme('loadBalancer', 'other', {
          ...{ address: address('203.0.113.51'), router: 'r', members: [{ port: 'b1' }] },
          listeners: [{ protocol: 'tcp', port: 7103 }],
        }),
        outsider('o1', 1),
      ],
      workloads: [
        ...['a1', 'a2', 'a5', 'a6'].map((name) => workload(name, 'east')),
        workload('b1', 'west'),
        outsideWorkload('o1', 1, 'edge'),
      ],
    });
  });
  after(async () => {
    await dc?.down();
  });

  const move = async (t: TestContext, name: string, host: string): Promise<void> => {
    const { id } = dc.ports.get(name)!;
    await dc.weft.client.request('PATCH', `/v1/ports/${id}`, { body: { host } });
    const migration = await startMigration(dc.lab, name, host);
    await waitForPorts(dc.weft.client, [id]);
    await sleep(3000);
    await migration.activate();
    const begun = performance.now();
    await migration.finish();
    await eventually(`${name} at ${host}`, 3000, async () => {
      const port = await dc.weft.client.get<{ status: { host?: string } }>(`/v1/ports/${id}`);
      return port.status.host === host;
    });
    t.diagnostic(`${name} is at ${host} ${Math.round(performance.now() - begun)} ms after it went on there`);
  };
  const allWhole = async (t: TestContext): Promise<void> => {
    for (const [name, crowd] of crowds) {
      const report = await crowd.report('answered', 15_000);
      t.diagnostic(`${name}: ${JSON.stringify(report)}`);
    }
    for (const [name, crowd] of crowds) assertWhole(name, wanted[name]!, await crowd.report('answered', 15_000));
  };

  /** So many of a port's connections, as the host where they are has told: it reads them every five seconds. */
  const atWest = (port: string, least: number): Promise<readonly ShownConnection[]> =>
    eventually('all of them at west', 30_000, async () => {
      const { items } = await dc.weft.client.get<{ items: ShownConnection[] }>('/v1/flows', {
        query: { port, state: 'established' },
      });
      return items.length >= least && items.every(({ names }) => names.host === 'west') ? items : undefined;
    });

  test('one is silent for half a second at most when its workload moves', async (t) => {
    for (const [name, ways] of Object.entries(streamsIn(address))) {
      const streams = await Promise.all(ways.map(({ way: _, ...options }) => startStream(dc.lab, options)));
      await move(t, name, 'west');
      await sleep(1_000);
      for (const [n, stream] of streams.entries()) {
        const { sent, lost, lostAtReceiver, longestGapMs, lostRanges } = await stream.stop();
        const { way } = ways[n]!;
        t.diagnostic(`${way}: ${JSON.stringify({ sent, lost, lostAtReceiver, longestGapMs, lostRanges })}`);
        assert.ok(sent > 5_000 && longestGapMs <= MOST_GAP_MS, `${way}: silent for ${longestGapMs} ms`);
      }
    }
  });

  test('none is lost when it moves: SNAT, VIPs from both sides, floating address, groups', async (t) => {
    const begin = async ([name, options]: readonly [string, CrowdOptions]): Promise<void> => {
      const crowd = await startCrowd(dc.lab, { perSecond: 250, ...options });
      crowds.set(name, crowd);
      assertWhole(name, options, await crowd.report('answered'));
    };
    await Promise.all(Object.entries(wanted).map(begin));
    const longestAnswers = async (): Promise<ReadonlyMap<string, number>> =>
      new Map(
        await Promise.all(
          [...crowds].map(
            async ([way, crowd]) => [way, (await crowd.report('answered', 15_000)).answerMs.max] as const,
          ),
        ),
      );
    await longestAnswers();
    await sleep(4_000); // as long as a move takes
    const still = await longestAnswers();
    let silentMs = Number.POSITIVE_INFINITY;
    for (const name of ['a1', 'a2']) {
      // The gap itself, of a1, which has a thousand connections: answers tell it by TCP's steps alone.
      const stream =
        name === 'a1'
          ? await startStream(dc.lab, {
              from: 'a1',
              to: 'o1',
              address: address('203.0.113.101'),
              port: 7206,
              pps: 5_000,
            })
          : undefined;
      await move(t, name, 'west');
      if (stream) {
        await sleep(1_000);
        const { sent, longestGapMs } = await stream.stop();
        t.diagnostic(`a1, with a thousand connections: silent for ${Math.round(longestGapMs)} ms`);
        assert.ok(sent > 5_000);
        silentMs = longestGapMs;
      }
      const moving = await longestAnswers();
      for (const [way, ms] of moving) {
        const beforeMs = still.get(way)!;
        t.diagnostic(`${way}: ${ms} ms for an answer while ${name} moved, ${beforeMs} ms before`);
        assert.ok(ms <= mostAnswerMs(beforeMs), `${way}: ${ms} ms while ${name} moved, ${beforeMs} ms before`);
      }
    }
    await allWhole(t);
    assert.ok(silentMs <= MOST_GAP_MS, `a1: silent for ${silentMs} ms`);
  });
  test('people see them at the new host, with the outside addresses and ports that they had', async () => {
    const { id } = dc.ports.get('a1')!;
    // Of the VIP's about half are its own: which, the ports of the client say.
    const { at } = await crowds.get('in by a VIP')!.report('answered', 15_000);
    const shown = await atWest(id, 500 + at.a1!);
    await atWest(dc.ports.get('a2')!.id, 250);
    const outside = new Set(shown.flatMap(({ seenAs }) => (seenAs ? [`${seenAs.address}#${seenAs.port}`] : [])));
    assert.equal(outside.size, wanted['out by SNAT']!.connections);
    const { items: nothing } = await dc.weft.client.get<{ items: ShownConnection[] }>('/v1/flows', {
      query: { port: id, host: 'east' },
    });
    assert.deepEqual(nothing, []);
  });

  test('none is lost with the host where they began, whose lease of outside ports they use', async (t) => {
    for (const process of dc.lab.processes()) if (process.place === 'east') await process.kill();
    await allWhole(t);
  });

  test('none is lost when Open vSwitch is restarted where they are', async (t) => {
    const answersOf = async (name: string): Promise<number> =>
      (await crowds.get(name)!.report('answered', 200)).answers;
    await dc.lab.killVswitchd('west');
    const before = await answersOf('out by SNAT');
    const begun = performance.now();
    await dc.lab.restartVswitchd('west');
    await eventually('an answer', 20_000, async () => {
      return (await answersOf('out by SNAT')) > before;
    });
    t.diagnostic(`goes on ${Math.round(performance.now() - begun)} ms after the start`);
    await sleep(3000);
    await allWhole(t);
  });

  test('a rule that is gone cuts those that it had allowed, and no others', async (t) => {
    const crowd = crowds.get('in past a group')!;
    crowds.delete('in past a group');
    await dc.weft.client.request('PATCH', '/v1/security-groups/web', {
      body: { ingress: [{ protocol: 'tcp', ports: '7102' }, { protocol: 'icmp' }] },
    });
    await sleep(1_000);
    const before = await crowd.report();
    const after = await crowd.report('answered', 3_000);
    assert.equal(after.answers, before.answers, 'an answer came');
    await allWhole(t);
  });
}

function assertWhole(
  name: string,
  { connections }: CrowdOptions,
  { established, failed, died, stalled, wrong, troubles }: CrowdReport,
): void {
  assert.deepEqual(
    { name, established, failed, died, stalled, wrong },
    { name, established: connections, failed: 0, died: 0, stalled: 0, wrong: 0 },
    troubles.slice(0, 5).join(),
  );
}
