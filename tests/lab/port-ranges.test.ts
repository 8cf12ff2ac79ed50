// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { alternate } from './alternating.ts';
import { needsRoot } from './lab-name.ts';
import { askAll, type Question, serveAll } from './services.ts';
import { shop, startTwoGateways, type TwoGateways, UPLINKS, unhurried } from './two-gateways.ts';

const RANGES = '203.0.113.82';

/** Ranges of ports of a virtual address that are forwarded to one workload (docs/design/layer3.md, §8), through two gateways. */
describe('forwarded ranges of ports', { skip: needsRoot, timeout: 600_000 }, () => {
  let two: TwoGateways;

  before(async () => {
    two = await startTwoGateways('ranges', UPLINKS.map(unhurried));
    await two.weft.client.post('/v1/apply', {
      objects: [
        shop('loadBalancer', 'ranges', {
          ...{ address: RANGES, router: 'edge', members: [{ port: 'web-2' }] },
          listeners: [
            { protocol: 'tcp', port: '7150-7159' },
            { protocol: 'udp', port: '1-65535', memberPort: 7050 },
            { protocol: 'tcp', port: '2000-2003', memberPort: '7100-7103' },
          ],
        }),
      ],
    });
    await two.weft.client.get('/v1/sync');
    await two.established('up-1', 'up-2');
    // A service where a range is beside its end, too: it is not to be heard.
    const ports = [7149, 7150, 7155, 7159, 7160, 7100, 7103] as const;
    await serveAll(two.lab, ['web-2'], ...ports.map((port) => `tcp/${port}` as const), 'udp/7050');
  });
  after(() => two?.down());

  const questions = (from: string): Question[] => [
    ...[7150, 7155, 7159].map((port): Question => [from, 'tcp', RANGES, port, 'web-2']),
    ...[2000, 2003].map((port): Question => [from, 'tcp', RANGES, port, 'web-2']),
    ...[1, 53, 7050, 65_535].map((port): Question => [from, 'udp', RANGES, port, 'web-2']),
    // Within a range, where nobody serves: the workload says so.
    [from, 'tcp', RANGES, 7151, 'ECONNREFUSED'],
    ...[7149, 7160, 1999, 2004].map((port): Question => [from, 'tcp', RANGES, port, 'timeout']),
  ];

  test('lead to it from outside, every other packet by the other gateway, and end where they end', async () => {
    const alternation = await alternate(two);
    await askAll(two.lab, ...questions('client'));
    const counts = await alternation.counts();
    // Of each direction half; outwards there are fewer: refusals and answers alone, some of which carry their acknowledgement.
    for (const [one, other] of [counts.in, counts.out] as [number, number][]) {
      assert.ok(one + other > 15, JSON.stringify(counts));
      assert.ok(Math.abs(one - other) <= 3, JSON.stringify(counts));
    }
    await alternation.stop();
  });

  test('lead to it from inside, on its host and on another, and to itself', async () => {
    for (const from of ['web-1', 'web-3', 'web-2']) await askAll(two.lab, ...questions(from));
  });
});
