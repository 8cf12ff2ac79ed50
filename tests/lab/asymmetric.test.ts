// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type CrowdOptions, startCrowd } from '../../src/lab/connection-crowd.ts';
import { socketDrops } from '../../src/lab/machine-drops.ts';
import {
  type Alternation,
  alternate,
  assertOneLived,
  enoughOf,
  gatewaysKnowNothing,
  livesByHalves,
  sawHalves,
} from './alternating.ts';
import { eventually, sleep } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { ask, serveAll } from './services.ts';
import { CLIENT, FLOATING, SNAT, startTwoGateways, type TwoGateways, UPLINKS, unhurried, VIP } from './two-gateways.ts';

/** One connection at a time, past stateful filters, whose packets go by one gateway and the other in turn, both ways (docs/design/gateways.md). */
const WAYS: Readonly<Record<string, CrowdOptions>> = {
  'out by SNAT': { from: 'web-2', to: 'client', address: CLIENT, port: 7101 },
  'in by a floating address': { from: 'client', to: 'web-1', address: FLOATING, port: 7102 },
  'in by a VIP': { from: 'client', to: ['web-1', 'web-2'], address: VIP, port: 7100 },
};

describe('packets of one connection by two gateways in turn', { skip: needsRoot, timeout: 600_000 }, () => {
  let site: TwoGateways;
  let alternation: Alternation;

  before(async () => {
    site = await startTwoGateways('alt', UPLINKS.map(unhurried));
    await site.established('up-1', 'up-2');
    // Addresses outside are known by then, on both sides.
    for (const options of Object.values(WAYS))
      await (await startCrowd(site.lab, { ...options, connections: 1 })).stop();
    alternation = await alternate(site);
  });
  after(async () => {
    await alternation?.stop();
    await site?.down();
  });

  for (const [way, options] of Object.entries(WAYS))
    test(`${way}: the connection lives, and each gateway has seen half of it in each direction`, (t) =>
      livesByHalves(t, site, alternation, options));

  test('out to a pool: each workload has one address of it, and a connection from before keeps its own', async (t) => {
    await serveAll(site.lab, ['client'], 'tcp/80');
    const seenOf = async (web: string): Promise<string | undefined> =>
      (await ask(site.lab, web, 'tcp', CLIENT, 80)).seen;
    assert.deepEqual(await Promise.all(['web-2', 'web-3'].map(seenOf)), [SNAT, SNAT]);
    await sleep(500);
    await alternation.counts();
    const crowd = await startCrowd(site.lab, { ...WAYS['out by SNAT']!, connections: 1, intervalMs: 5 });
    const snat = [{ from: '10.0.0.0/16', to: [SNAT, '203.0.113.30-203.0.113.31'] }];
    await site.weft.client.request('PATCH', '/v1/routers/edge?tenant=shop', { body: { snat } });
    const wanted = { 'web-2': '203.0.113.31', 'web-3': '203.0.113.30' };
    for (const [web, address] of Object.entries(wanted)) {
      await eventually(`${web} as ${address}`, 20_000, async () => (await seenOf(web)) === address);
      for (let n = 0; n < 10; n++) assert.equal(await seenOf(web), address);
    }
    assertOneLived(await crowd.stop());
    // Ports are leased of addresses alone that workloads there have.
    const { status } = await site.weft.client.get<{
      status: { leases: { address: string; host: string; ports: number }[] };
    }>('/v1/routers/edge?tenant=shop');
    t.diagnostic(JSON.stringify(status.leases));
    assert.deepEqual(
      status.leases.flatMap(({ address, host }) => (host === 'west' ? [address] : [])).toSorted(),
      [SNAT, ...Object.values(wanted)].toSorted(),
    );
    assert.ok(status.leases.every(({ host, address }) => host === 'west' || !Object.values(wanted).includes(address)));
    await sleep(500);
    await alternation.counts();
    const dropped = await socketDrops(site.lab);
    const pooled = await startCrowd(site.lab, { ...WAYS['out by SNAT']!, connections: 1, intervalMs: 5 });
    await enoughOf(pooled);
    assert.equal((await pooled.stop()).died, 0);
    await sawHalves(t, site, alternation, dropped);
  });

  test('no gateway has an entry of connection tracking for any of it', () => gatewaysKnowNothing(site));
});
