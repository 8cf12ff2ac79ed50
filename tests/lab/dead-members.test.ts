// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startMigration } from '../../src/lab/migration.ts';
import type { LoadBalancerStatus } from '../../src/server/present.ts';
import { eventually, sleep } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { type HeldConnection, hold, serveAll, tally } from './services.ts';
import { balancer, startTwoGateways, type TwoGateways, UPLINKS, unhurried, VIP, WEBS, waysOf } from './two-gateways.ts';

/** Members of a load balancer that go without a word: web-1 on east, web-2 and web-3 on west (two-gateways.ts). */
const HEALTH = { type: 'tcp', port: 80, intervalMs: 500, timeoutMs: 400, rise: 1, fall: 2 } as const;
/** From inside, where the client's host chooses the member, and from the internet, where a gateway does. */
const CLIENTS = ['web-1', 'client'] as const;
/** New connections go round a member that is gone within this. */
const GONE_MS = 2_000;

describe('a member of a load balancer', { skip: needsRoot, timeout: 300_000 }, () => {
  let site: TwoGateways;
  const states = async (): Promise<string> => {
    const path = '/v1/load-balancers/shop';
    const { status } = await site.weft.client.get<{ status: LoadBalancerStatus }>(path, { query: { tenant: 'shop' } });
    return status.members.map(({ state }) => state).join(' ');
  };
  const put = async (members: readonly string[]): Promise<void> => {
    const objects = [{ ...balancer(members.map((port) => ({ port }))), health: HEALTH }];
    await site.weft.client.post('/v1/apply', { objects });
    await site.weft.client.get('/v1/sync');
  };
  /** All new connections of every client go to these, and to each of them some. */
  const goTo = async (members: readonly string[], when: string): Promise<void> => {
    for (const from of CLIENTS) {
      const by = await tally(site.lab, from, VIP, 80, 30);
      assert.deepEqual([...by.keys()].sort(), members, `${when}, from ${from}: ${[...by]}`);
    }
  };
  /** The server says so, and every host knows: also one whose agent has still to come back to a server that was away. */
  const allServe = async (when: string): Promise<void> => {
    await eventually(`all serve ${when}`, 60_000, async () => (await states()) === 'serving serving serving');
    assert.deepEqual((await site.weft.client.get<{ waitingFor: string[] }>('/v1/sync')).waitingFor, []);
  };

  before(async () => {
    site = await startTwoGateways('dm', UPLINKS.map(unhurried));
    await site.established('up-1', 'up-2');
    await serveAll(site.lab, WEBS, 'tcp/80');
    await put(WEBS);
  });
  after(() => site?.down());

  test('is out when its interface goes, and back with it', async () => {
    await goTo(WEBS, 'at first');
    const { port } = site.lab.workload('web-2');
    await site.lab.unplug('web-2');
    await sleep(GONE_MS);
    await goTo(['web-1', 'web-3'], 'unplugged');
    assert.equal(await states(), 'serving unbound serving');
    await site.lab.plug('web-2', port!);
    await allServe('plugged in');
    await goTo(WEBS, 'plugged in');
  });

  test('is out when its interface goes with the server away too, for clients of its host', async () => {
    const { port } = site.lab.workload('web-2');
    const here = async (): Promise<string[]> => [...(await tally(site.lab, 'web-3', VIP, 80, 30)).keys()].sort();
    await site.weft.server.stop();
    try {
      await site.lab.unplug('web-2');
      await sleep(GONE_MS);
      assert.deepEqual(await here(), ['web-1', 'web-3']);
    } finally {
      await site.weft.server.start();
    }
    await site.lab.plug('web-2', port!);
    await allServe('plugged in');
  });

  test('stays where only the agent of its host dies', async () => {
    await site.weft.agent('west').kill({ wanted: true });
    await sleep(GONE_MS);
    await goTo(WEBS, 'without the agent');
    await site.weft.agent('west').start();
  });

  test('is out when its host loses power, also with the server away, and back with the host', async () => {
    await allServe('before');
    await site.weft.server.stop();
    try {
      await site.lab.stopHost('west');
      await sleep(GONE_MS);
      await goTo(['web-1'], 'west is off');
    } finally {
      await site.weft.server.start();
    }
    await eventually('it shows', 20_000, async () => (await states()) === 'serving host-lost host-lost');
    await site.lab.startHost('west');
    await allServe('and west is on');
    for (const from of CLIENTS)
      await eventually(`all are used by ${from}`, 30_000, async () => {
        const by = await tally(site.lab, from, VIP, 80, 30);
        return by.size === WEBS.length && WEBS.every((web) => by.has(web));
      });
    await goTo(WEBS, 'west is on');
  });

  test('that was the last one takes the VIP out of what gateways advertise, and brings it back', async () => {
    const ways = async (): Promise<number> =>
      (await Promise.all(UPLINKS.map(({ router }) => waysOf(site.lab, router, VIP)))).flat().length;
    await put(['web-2', 'web-3']);
    await eventually('both gateways advertise it', 10_000, async () => (await ways()) === 2);
    await site.lab.stopHost('west');
    await eventually('none advertises it', 15_000, async () => (await ways()) === 0);
    assert.deepEqual([...(await tally(site.lab, 'web-1', VIP, 80, 4)).keys()], ['ECONNREFUSED']);
    await site.lab.startHost('west');
    await eventually('both advertise it again', 60_000, async () => (await ways()) === 2);
  });

  test('stays one while it is moved live, and keeps its connections', async () => {
    await put(WEBS);
    await allServe('before');
    const held: HeldConnection[] = [];
    while (held.at(-1)?.by !== 'web-2') held.push(await hold(site.lab, 'client', VIP, 80));
    try {
      const move = await startMigration(site.lab, 'web-2', 'east');
      await goTo(WEBS, 'on two hosts');
      await move.activate();
      await goTo(WEBS, 'moved');
      await move.finish();
      await goTo(WEBS, 'and gone from the former host');
      const connection = held.at(-1)!;
      const before = connection.echoes();
      await eventually(
        'its connection goes on',
        3_000,
        async () => connection.isOpen() && connection.echoes() > before,
      );
    } finally {
      for (const each of held) each.stop();
    }
  });
});
