// A scenario that measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Endpoint } from '../../src/flow-database/flow-store.ts';
import { type ConnectionCrowd, type CrowdOptions, startCrowd } from '../../src/lab/connection-crowd.ts';
import type { NatAnswer, ShownConnection } from '../../src/server/routes/flows.ts';
import { type Alternation, alternate, gatewaysKnowNothing, livesByHalves } from './alternating.ts';
import { memberComesAndGoes } from './changing-members.ts';
import { weft } from './command.ts';
import { eventually, sleep } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { longestGaps, OneWay } from './one-way.ts';
import { type HeldConnection, hold, serveAll } from './services.ts';
import { type TwoGateways, WEBS } from './two-gateways.ts';
import {
  balancer6,
  CLIENT6,
  FLOATING6,
  HURRIED6,
  ROUTED6,
  SNAT6,
  startTwoGateways6,
  VIP6,
  webAddress6,
} from './two-gateways-ipv6.ts';

/** What asymmetric.test.ts, stateful-uplinks.test.ts and gateways.campaign.ts ask of two gateways, over IPv6: all of it behind a stateful filter at the uplinks. */
const WAYS: Readonly<Record<string, CrowdOptions>> = {
  'out by SNAT': { from: 'web-2', to: 'client', address: CLIENT6, port: 7111 },
  'out by a floating address': { from: 'web-1', to: 'client', address: CLIENT6, port: 7112 },
  'in by a floating address': { from: 'client', to: 'web-1', address: FLOATING6, port: 7102 },
  'in by a VIP': { from: 'client', to: ['web-1', 'web-2'], address: VIP6, port: 7100 },
  'out by a routed address': { from: ROUTED6.name, to: 'client', address: CLIENT6, port: 7113 },
  'in by a routed address': { from: 'client', to: ROUTED6.name, address: ROUTED6.address, port: 7103 },
};
const REFUSED: Readonly<Record<string, CrowdOptions>> = {
  'to a floating address': { from: 'client', to: 'web-1', address: FLOATING6, port: 7121 },
  'to a routed address': { from: 'client', to: ROUTED6.name, address: ROUTED6.address, port: 7122 },
};
/** Of each way, so many at once. */
const MANY = 30;
/** At the VIP. */
const CROWD = 1500;
const PPS = 5000;
/** With BFD three times 100 ms. */
const RESUMES_MS = 1000;

describe('two gateways over IPv6', { skip: needsRoot, timeout: 600_000 }, () => {
  let site: TwoGateways;

  before(async () => {
    site = await startTwoGateways6('gw6');
    // Addresses outside are known by then, on both sides.
    for (const options of Object.values(WAYS))
      await (await startCrowd(site.lab, { ...options, connections: 1 })).stop();
  });
  after(() => site?.down());

  describe('packets of one connection by one gateway and the other in turn', () => {
    let alternation: Alternation;
    before(async () => {
      alternation = await alternate(site, [...WEBS, ROUTED6.name]);
    });
    after(() => alternation?.stop());

    for (const [way, options] of Object.entries(WAYS))
      test(`${way}: the connection lives, and each gateway has seen half of it in each direction`, (t) =>
        livesByHalves(t, site, alternation, options));

    for (const [way, options] of Object.entries(REFUSED))
      test(`${way}: a connection that no rule of the uplinks lets in does not begin`, async () => {
        const crowd = await startCrowd(site.lab, { ...options, connections: 1, openTimeoutMs: 1500 });
        assert.equal((await crowd.stop()).established, 0);
      });

    test('no gateway has an entry of connection tracking for any of it', () => gatewaysKnowNothing(site));
  });

  describe('the flow database', () => {
    let held: HeldConnection[] = [];
    before(async () => {
      await serveAll(site.lab, ['client'], 'tcp/7180');
      await serveAll(site.lab, ['web-1', 'web-2', ROUTED6.name], 'tcp/7104', 'tcp/7105');
      held = await Promise.all([
        hold(site.lab, 'web-2', CLIENT6, 7180),
        hold(site.lab, 'client', FLOATING6, 7105),
        hold(site.lab, 'client', VIP6, 7104),
        hold(site.lab, 'client', ROUTED6.address, 7105),
      ]);
    });
    after(() => {
      for (const each of held) each.stop();
    });
    const flows = async (...words: string[]): Promise<readonly ShownConnection[]> =>
      JSON.parse((await weft(site, 'flows', '-o', 'json', '--protocol', 'tcp', ...words)).out) as ShownConnection[];

    test('connections through SNAT, floating address, VIP and routed address appear with the addresses of both sides', async () => {
      const member = held[2]!.by;
      const wanted = [
        `web-2: ${webAddress6('web-2')} as ${SNAT6} to ${CLIENT6}:7180`,
        `web-1: ${CLIENT6} to ${webAddress6('web-1')}:7105 asked ${FLOATING6}:7105`,
        `${member}: ${CLIENT6} to ${webAddress6(member)}:7104 asked ${VIP6}:7104`,
        `srv: ${CLIENT6} to ${ROUTED6.address}:7105`,
      ].sort();
      const port = (end: Endpoint): string => (/^71\d\d$/.test(String(end.port)) ? `:${end.port}` : '');
      const lines = await eventually('every connection is told', 30_000, async () => {
        const all = [
          ...(await flows('--state', 'established', '-t', 'shop')),
          ...(await flows('--state', 'established', '-t', 'isp')),
        ];
        const told = all.map(({ names, from, seenAs, to, asked }) => {
          const [seen, called] = [
            seenAs ? ` as ${seenAs.address}` : '',
            asked ? ` asked ${asked.address}:${asked.port}` : '',
          ];
          return `${names.port.split('/')[1]}: ${from.address}${seen} to ${to.address}${port(to)}${called}`;
        });
        return wanted.every((line) => told.includes(line)) && told;
      });
      assert.deepEqual([...new Set(lines)].sort(), wanted);
    });

    test('who had an address and port of the SNAT address is told, in brackets or not', async () => {
      const [connection] = await flows('--address', SNAT6, '-t', 'shop', '--state', 'established');
      const { seenAs, from } = connection!;
      const { holders } = JSON.parse(
        (await weft(site, 'flows', '--nat', `[${SNAT6}]:${seenAs!.port}`, '-o', 'json')).out,
      ) as NatAnswer;
      assert.deepEqual(
        holders.map(({ by, names, workload }) => [by, names.host, workload?.address, workload?.port]),
        [
          ['connection', 'west', webAddress6('web-2'), from.port],
          ['lease', 'west', undefined, undefined],
        ],
      );
      const { code, out } = await weft(site, 'flows', '--nat', FLOATING6);
      assert.equal(code, 0);
      assert.match(out, /^east +shop\/web-1 /m);
      assert.equal((await weft(site, 'flows', '--nat', `[2001:db8:203::99]:7`)).code, 3, 'nobody had it');
    });
  });

  describe('a gateway is killed', () => {
    const crowds = new Map<string, ConnectionCrowd>();
    after(async () => {
      for (const crowd of crowds.values()) await crowd.stop(1).catch(() => {});
    });

    /** Every connection is asked for an answer, and gives it. */
    async function allLive(when: string): Promise<void> {
      for (const [way, crowd] of crowds) {
        const { established, failed, died, stalled, wrong, troubles } = await crowd.report('answered', 30_000);
        assert.deepEqual(
          { established, failed, died, stalled, wrong },
          { established: MANY, failed: 0, died: 0, stalled: 0, wrong: 0 },
          `${when}: ${way}: ${troubles.slice(0, 5).join('; ')}`,
        );
      }
    }

    test('no connection is lost, whichever gateway it is, nor when it comes back', async () => {
      for (const [way, options] of Object.entries(WAYS))
        crowds.set(way, await startCrowd(site.lab, { ...options, connections: MANY, intervalMs: 500 }));
      await allLive('opened');
      for (const [gateway, uplink] of [
        ['gw-1', 'up-1'],
        ['gw-2', 'up-2'],
      ] as const) {
        const other = uplink === 'up-1' ? 'up-2' : 'up-1';
        // All that comes in does by the one that dies; what goes out by either.
        await site.lab.sendVia('client', [uplink]);
        await allLive(`by ${uplink}`);
        await site.lab.stopHost(gateway);
        await allLive(`without ${gateway}`);
        await eventually(`${other} alone`, 10_000, async () => (await site.peer(uplink))?.state !== 'established');
        await site.lab.sendVia('client', [other]);
        await allLive(`without ${gateway}, by ${other}`);
        await site.lab.startHost(gateway);
        await site.established('up-1', 'up-2');
        await allLive(`${gateway} is back`);
      }
      await site.lab.sendVia('client', ['up-1', 'up-2']);
      await allLive('by both');
    });

    test('what goes one way goes on within a second', async (t) => {
      await site.weft.client.post('/v1/apply', { objects: HURRIED6 });
      await site.weft.client.get('/v1/sync');
      await sleep(1000);
      await site.established('up-1', 'up-2');
      const oneWay = await OneWay.at(site, { floating: FLOATING6, network: { start: '2001:db8:ffff::', bits: 64 } });
      const streams = await oneWay.startByFirst(t, 7020, PPS);
      await site.lab.stopHost('gw-1');
      await sleep(4000);
      const gaps = await longestGaps(t, 'killed', streams);
      await site.lab.startHost('gw-1');
      await site.lab.sendVia('client', ['up-1', 'up-2']);
      await site.established('up-1', 'up-2');
      await allLive('it is back');
      for (const [way, gapMs] of gaps) assert.ok(gapMs < RESUMES_MS, `${way}: ${gapMs} ms`);
    });
  });

  test('a member is added, drained, killed: only the connections of the killed one are lost', async (t) => {
    const farthest = await memberComesAndGoes(t, site, {
      balancer: balancer6,
      crowd: { address: VIP6, port: 7100, connections: CROWD },
      drained: async () => {
        const late = { from: 'client', to: WEBS, address: VIP6, port: 7109, connections: MANY };
        const { established, at } = await (await startCrowd(site.lab, late)).stop();
        assert.deepEqual([established, at['web-3']], [MANY, 0], 'who is drained gets no new ones');
      },
    });
    assert.ok(farthest < 0.2, `${farthest}`);
  });
});
