// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { TABLES } from '../../src/compile/tables.ts';
import { type CrowdOptions, startCrowd } from '../../src/lab/connection-crowd.ts';
import { INTEGRATION_BRIDGE } from '../../src/lab/open-vswitch.ts';
import { type Alternation, alternate, gatewaysKnowNothing, livesByHalves } from './alternating.ts';
import { eventually } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import {
  CLIENT,
  FLOATING,
  ROUTED,
  startTwoGateways,
  type TwoGateways,
  UPLINKS,
  unhurried,
  uplinkFilter,
  VIP,
  WEBS,
} from './two-gateways.ts';

/**
 * A stateful filter at the provider's uplinks themselves (docs/design/layer3.md, §5a): known connections, and some that begin from outside.
 * One connection at a time, whose packets go by one gateway and the other in turn, both ways.
 */
const WAYS: Readonly<Record<string, CrowdOptions>> = {
  'out by SNAT': { from: 'web-2', to: 'client', address: CLIENT, port: 7111 },
  'out by a floating address': { from: 'web-1', to: 'client', address: CLIENT, port: 7112 },
  'in by a floating address': { from: 'client', to: 'web-1', address: FLOATING, port: 7102 },
  'in by a VIP': { from: 'client', to: ['web-1', 'web-2'], address: VIP, port: 7100 },
  'out by a routed address': { from: ROUTED.name, to: 'client', address: CLIENT, port: 7113 },
  'in by a routed address': { from: 'client', to: ROUTED.name, address: ROUTED.address, port: 7103 },
};
const REFUSED: Readonly<Record<string, CrowdOptions>> = {
  'to a floating address': { from: 'client', to: 'web-1', address: FLOATING, port: 7121 },
  'to a routed address': { from: 'client', to: ROUTED.name, address: ROUTED.address, port: 7122 },
};

/** Of a connection that begins from outside only the first packet is let in as new: all others have to be known. */
const FILTER = uplinkFilter({ protocol: 'tcp', dstPorts: '7100-7109', tcpFlags: '+syn-ack' });

describe('a stateful filter at the uplinks of two gateways', { skip: needsRoot, timeout: 180_000 }, () => {
  let site: TwoGateways;
  let alternation: Alternation;

  before(async () => {
    site = await startTwoGateways('sup', UPLINKS.map(unhurried), [], true);
    await site.established('up-1', 'up-2');
    await site.weft.client.post('/v1/apply', { objects: FILTER });
    await eventually('the filter', 20_000, async () => {
      const flows = await Promise.all(
        UPLINKS.map(({ gateway }) =>
          site.lab.switchOf(gateway).ofctl('dump-flows', INTEGRATION_BRIDGE, `table=${TABLES.uplink.number}`),
        ),
      );
      return flows.every((text) => text.includes('priority=100'));
    });
    // Addresses outside are known by then, on both sides.
    for (const options of Object.values(WAYS))
      await (await startCrowd(site.lab, { ...options, connections: 1 })).stop();
    alternation = await alternate(site, [...WEBS, ROUTED.name]);
  });
  after(async () => {
    await alternation?.stop();
    await site?.down();
  });

  for (const [way, options] of Object.entries(WAYS))
    test(`${way}: the connection lives, and each gateway has seen half of it in each direction`, (t) =>
      livesByHalves(t, site, alternation, options));

  for (const [way, options] of Object.entries(REFUSED))
    test(`${way}: a connection that no rule lets in does not begin`, async () => {
      const crowd = await startCrowd(site.lab, { ...options, connections: 1, openTimeoutMs: 1500 });
      assert.equal((await crowd.stop()).established, 0);
    });

  test('what only known connections may have sent is counted where it was found to be of none', async () => {
    const { host } = site.lab.spec.workloads.find(({ name }) => name === 'web-1')!;
    await eventually('a count of what was refused', 20_000, async () => {
      const { items } = await site.weft.client.get<{
        items: readonly { readonly host: string; readonly reason: string; readonly packets: number }[];
      }>('/v1/flows/drops');
      return items.some((drop) => drop.host === host && drop.reason === 'unknown-connection' && drop.packets > 0);
    });
  });

  test('no gateway has an entry of connection tracking for any of it', () => gatewaysKnowNothing(site));
});
