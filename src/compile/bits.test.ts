import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commonBits, otherBits, prefixCover, setCover } from './bits.ts';

const fits = (value: number, block: { value: number | bigint; mask: number | bigint }): boolean =>
  (value & Number(block.mask)) >>> 0 === Number(block.value);

test('a range of ports is covered by its aligned blocks, each number by one', () => {
  assert.deepEqual(prefixCover(80, 80, 16), [{ value: 80, mask: 0xffff }]);
  assert.deepEqual(prefixCover(0, 65535, 16), [{ value: 0, mask: 0 }]);
  assert.deepEqual(prefixCover(1000, 1007, 16), [{ value: 1000, mask: 0xfff8 }]);
  const range = fc.tuple(fc.nat({ max: 65535 }), fc.nat({ max: 65535 })).map(([a, b]) => (a < b ? [a, b] : [b, a]));
  fc.assert(
    fc.property(range, fc.nat({ max: 65535 }), ([first, last], any) => {
      const blocks = prefixCover(first!, last!, 16);
      assert.ok(blocks.length <= 30);
      // No port is 65536: a block of all ports says nothing of it.
      for (const value of [first!, last!, Math.max(0, first! - 1), Math.min(65535, last! + 1), any]) {
        const hits = blocks.filter((block) => fits(value, block)).length;
        assert.equal(hits, value >= first! && value <= last! ? 1 : 0);
      }
    }),
    { examples: [[[0, 65535], 0]] },
  );
});

test('a set of VLANs is covered by blocks that hold its members and no others', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 4094 }), { maxLength: 40 }), fc.nat({ max: 4095 }), (vlans, any) => {
      const blocks = setCover(vlans, 12);
      for (const value of [...vlans, any])
        assert.equal(blocks.filter((block) => fits(value, block)).length, vlans.includes(value) ? 1 : 0);
    }),
  );
});

test('what has another bit than all owned values is none of them', () => {
  const owned = fc.array(fc.record({ value: fc.bigInt({ min: 0n, max: 0xffff_ffffn }), prefix: fc.nat({ max: 32 }) }), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(owned, fc.boolean(), (networks, onlyZeros) => {
      const fixed = networks.map(({ value, prefix }) => {
        const mask = 0xffff_ffffn ^ ((1n << BigInt(32 - prefix)) - 1n);
        return { value: value & mask, mask };
      });
      for (const bit of otherBits(fixed, 32, 6, onlyZeros)) {
        for (const { value } of networks) assert.notEqual(value & bit.mask, bit.value);
        if (onlyZeros) assert.notEqual(bit.value, 0n);
      }
    }),
  );
  assert.deepEqual(otherBits([], 32, 6), []);
  assert.equal(otherBits([{ value: 5n, mask: 0xffff_ffffn }], 32, 6).length, 6);
});

test('common bits are those that are fixed in all and equal', () => {
  assert.deepEqual(commonBits([], 32), { value: 0n, mask: 0n });
  // 10.0.1.0/24 and 10.0.3.7
  const bytes = ['30aff', '200ff', '101ff', '00000', '30aff', '200ff', '103ff', '007ff'];
  assert.deepEqual(commonBits(bytes, 32), { value: 0x0a00_0100n, mask: 0xffff_fd00n });
  assert.equal(commonBits(['502', '400', '300', '200', '100', '001', '002'], 48).mask, 0xffff_ffff_fffcn);
});
