import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type CrowdOptions, startCrowd } from '../../src/lab/connection-crowd.ts';
import { type Alternation, alternate } from './alternating.ts';
import { sleep } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { CLIENT, FLOATING, startTwoGateways, type TwoGateways, UPLINKS, unhurried, VIP } from './two-gateways.ts';

/** One connection at a time, past stateful filters, whose packets go by one gateway and the other in turn, both ways (docs/design/gateways.md). */
const WAYS: Readonly<Record<string, CrowdOptions>> = {
  'out by SNAT': { from: 'web-2', to: 'client', address: CLIENT, port: 7101 },
  'in by a floating address': { from: 'client', to: 'web-1', address: FLOATING, port: 7102 },
  'in by a VIP': { from: 'client', to: ['web-1', 'web-2'], address: VIP, port: 7100 },
};
const ENOUGH = 100;

describe('packets of one connection by two gateways in turn', { skip: needsRoot, timeout: 120_000 }, () => {
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
    test(`${way}: the connection lives, and each gateway has seen half of it in each direction`, async (t) => {
      await sleep(500); // the connection before has ended by then
      await alternation.counts();
      const crowd = await startCrowd(site.lab, { ...options, connections: 1, intervalMs: 5 });
      await sleep(1500);
      const { established, failed, died, stalled, wrong, answers } = await crowd.stop();
      assert.deepEqual(
        { established, failed, died, stalled, wrong },
        { established: 1, failed: 0, died: 0, stalled: 0, wrong: 0 },
      );
      assert.ok(answers > ENOUGH, `${answers} answers`);
      await sawHalves(t);
    });

  test('no gateway has an entry of connection tracking for any of it', async () => {
    for (const { gateway } of UPLINKS) {
      const entries = await site.lab.switchOf(gateway).appctl('dpctl/dump-conntrack');
      assert.equal(entries.match(new RegExp(`=${CLIENT.replaceAll('.', '\\.')}[,)]`, 'g')), null, entries);
    }
  });

  /** In each direction both have as many, give or take one; and all came by the gateway that they were sent by. */
  async function sawHalves(t: TestContext): Promise<void> {
    await sleep(500); // for the last packets of its end
    const counts = await alternation.counts();
    t.diagnostic(JSON.stringify(counts));
    for (const [direction, [first, second]] of Object.entries(counts)) {
      assert.ok(first! > ENOUGH, `${direction}: ${first}`);
      assert.ok(Math.abs(first! - second!) <= 1, `${direction}: ${first} and ${second}`);
    }
  }
});
