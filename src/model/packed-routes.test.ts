import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, formatCidr, type Ipv4, type Ipv6, networkOf } from '../base/addresses.ts';
import { differenceOfPacked, packBlock, routesIn } from './packed-routes.ts';

const SEED = 20_261_201;

/** Few addresses and all lengths, so that lists have much in common and networks lie within each other. */
const networks = (version: 4 | 6): fc.Arbitrary<Cidr[]> =>
  fc.uniqueArray(
    fc
      .tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: version === 4 ? 32 : 128 }))
      .map(([n, prefix]) => {
        const high = 0x0a00_0000 + n * 0x0101_0101;
        const ip =
          version === 4
            ? ({ version, value: high as Ipv4 } as const)
            : ({ version, value: ((BigInt(high) << 96n) | BigInt(n)) as Ipv6 } as const);
        return networkOf({ ip, prefix });
      }),
    { selector: formatCidr, maxLength: 30 },
  );
const pack = (version: 4 | 6, list: readonly Cidr[]): string => {
  const [packed] = packBlock(list.map((to) => ({ to, set: '1' }))).routes;
  return (version === 4 ? packed?.v4 : packed?.v6) ?? '';
};
const texts = (list: readonly Cidr[]): string[] => list.map(formatCidr).sort();

for (const version of [4, 6] as const) {
  test(`the difference of two packed lists is that of their networks, IPv${version}`, () => {
    fc.assert(
      fc.property(networks(version), networks(version), (before, after) => {
        const { gone, come } = differenceOfPacked(pack(version, before), pack(version, after), version);
        const [old, now] = [texts(before), texts(after)];
        assert.deepEqual(
          texts(gone),
          old.filter((text) => !now.includes(text)),
        );
        assert.deepEqual(
          texts(come),
          now.filter((text) => !old.includes(text)),
        );
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  test(`packed networks are the same again, in one order, IPv${version}`, () => {
    fc.assert(
      fc.property(networks(version), (list) => {
        const { routes, count } = packBlock(list.map((to) => ({ to, set: '7' })));
        assert.deepEqual(
          [...routesIn(routes)].map(({ to, set }) => `${formatCidr(to)} ${set}`).sort(),
          texts(list).map((text) => `${text} 7`),
        );
        assert.equal(count, list.length);
        assert.deepEqual(packBlock(list.toReversed().map((to) => ({ to, set: '7' }))).routes, routes);
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
}

test('lists that nobody packed are compared to their end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 20 }), (before, after) => {
      const text = (bytes: Uint8Array): string => Buffer.from(bytes.map((byte) => byte % 40)).toString('base64');
      const { gone, come } = differenceOfPacked(text(before), text(after), 4);
      assert.ok(gone.length <= before.length && come.length <= after.length);
    }),
    { seed: SEED, numRuns: 300 },
  );
});
