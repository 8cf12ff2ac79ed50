import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ecmpShares, grownSlots, shares, slotsFor } from './shares.ts';

interface Member {
  readonly id: string;
  readonly weight: number;
}

function members(weights: readonly number[], ids?: readonly string[]): Member[] {
  return weights.map((weight, at) => ({ id: ids?.[at] ?? `port-${at}`, weight }));
}

/** 5 %, and what binary fractions make of it: 7 slots of 32 for 5 of 24 is exactly that. */
const MOST_OFF = 0.05 + 1e-9;

/** The largest difference of a member's share from its weight, in parts of that. */
function offBy(of: readonly Member[], slots: number): number {
  const owners = shares(of, slots);
  const total = of.reduce((sum, { weight }) => sum + weight, 0);
  return Math.max(
    ...of.map(({ id, weight }) =>
      Math.abs(owners.filter((each) => each === id).length / ((slots * weight) / total) - 1),
    ),
  );
}

const randomMembers = fc
  .uniqueArray(fc.tuple(fc.uuid(), fc.integer({ min: 1, max: 100 })), {
    ...{ minLength: 1, maxLength: 40, selector: ([id]) => id },
  })
  .map((each) => each.map(([id, weight]) => ({ id, weight })));

describe('slots of a load balancer', () => {
  for (const weights of [
    [1, 1],
    [1, 2],
    [1, 3, 5],
    [2, 3, 7],
    [19, 5],
    Array<number>(10).fill(1),
    Array<number>(50).fill(1),
  ])
    test(`are shared out within 5 % of the weights: ${weights.join(':')}`, () => {
      const of = members(weights);
      assert.ok(offBy(of, slotsFor(of)) <= MOST_OFF, `off by ${offBy(of, slotsFor(of))} with ${slotsFor(of)}`);
    });

  test('are enough whichever of two members with one remainder gets the slot: ids say who', () => {
    const weights = [68, 7, 13];
    for (const ids of [['a', 'b', 'c'] as const, ['c', 'b', 'a'] as const]) {
      const of = weights.map((weight, at) => ({ id: ids[at]!, weight }));
      assert.ok(offBy(of, slotsFor(of)) <= MOST_OFF, `${ids}: off by ${offBy(of, slotsFor(of))}`);
    }
  });

  test('are as many as keep every share of 2 % and more within 5 % of its weight', () => {
    fc.assert(
      fc.property(randomMembers, (of) => {
        const slots = slotsFor(of);
        assert.ok(slots >= 32 && slots <= 1024 && (slots & (slots - 1)) === 0);
        const total = of.reduce((sum, { weight }) => sum + weight, 0);
        fc.pre(of.every(({ weight }) => weight / total >= 0.02));
        assert.ok(offBy(of, slots) <= MOST_OFF);
      }),
      { numRuns: 60 },
    );
  });

  test('give small shares within a quarter of their weight as far as there are slots, and at least one where members are as many as that', () => {
    for (const weights of [Array<number>(51).fill(1), Array<number>(200).fill(1), [1, 100], [1, 1, 300]])
      assert.ok(offBy(members(weights), slotsFor(members(weights))) <= 0.25, `${weights.length} members`);
    for (const count of [300, 1000]) {
      const of = members(Array<number>(count).fill(1));
      assert.equal(new Set(shares(of, slotsFor(of))).size, count);
    }
  });

  test('grow with the members, never shrink, and stay what a person has chosen', () => {
    const of = (count: number): Member[] => members(Array<number>(count).fill(1));
    let slots = grownSlots(undefined, of(2), undefined);
    assert.equal(slots, 32);
    for (let count = 3; count <= 20; count++) {
      slots = grownSlots(slots, of(count), of(count - 1));
      assert.ok(offBy(of(count), slots) <= MOST_OFF, `${count} members, ${slots} slots`);
    }
    assert.equal(grownSlots(slots, of(2), of(20)), slots);
    assert.equal(grownSlots(16, of(3), of(3)), 16);
    assert.equal(grownSlots(512, of(3), of(2)), 512);
  });

  test('are all shared out, and the order of the members does not matter', () => {
    fc.assert(
      fc.property(randomMembers, (of) => {
        const slots = slotsFor(of);
        const owners = shares(of, slots);
        assert.equal(owners.length, slots);
        assert.deepEqual(shares(of.toReversed(), slots), owners);
      }),
      { numRuns: 60 },
    );
  });

  test('move with the member that goes or comes, and few others', () => {
    fc.assert(
      fc.property(randomMembers, fc.nat(), (of, which) => {
        fc.pre(of.length > 1);
        const gone = of[which % of.length]!;
        const slots = slotsFor(of);
        const [before, after] = [shares(of, slots), shares(without(of, gone), slots)];
        const own = before.filter((owner) => owner === gone.id).length;
        const others = before.filter((owner, slot) => owner !== gone.id && after[slot] !== owner).length;
        // Rounding gives and takes a slot of every other; a chain of exchanges comes on top.
        assert.ok(
          others <= own + 2 * of.length,
          `${others} others moved with ${own} of ${slots}, ${of.length} members`,
        );
      }),
      { numRuns: 60 },
    );
  });
});

describe('slots of an ECMP route', () => {
  const hops = (...weights: number[]): Member[] => weights.map((weight, at) => ({ id: `192.0.2.${at + 1}`, weight }));
  const count = (of: readonly Member[], id: string): number => ecmpShares(of).filter((owner) => owner === id).length;

  for (const [weights, slots] of [
    [[1, 1], 16],
    [[1, 1, 1], 16],
    [[1, 3], 16],
    [[1, 1, 1, 1], 16],
    [Array<number>(5).fill(1), 32],
    [Array<number>(9).fill(1), 64],
    [Array<number>(16).fill(1), 16],
    [Array<number>(17).fill(1), 128],
    [[1, 32], 32],
    [[1, 100], 64],
  ] as const)
    test(`are ${slots} for the weights ${weights.join(':')}, and everyone has its share of them`, () => {
      const of = hops(...weights);
      assert.equal(ecmpShares(of).length, slots);
      const total = of.reduce((sum, { weight }) => sum + weight, 0);
      for (const { id, weight } of of) {
        const exact = (slots * weight) / total;
        assert.ok(count(of, id) > 0, id);
        if (weight / total >= 0.02) assert.ok(Math.abs(count(of, id) - exact) <= exact / 8 + 1e-9, `${id} of ${slots}`);
      }
    });

  test('are all in use with up to 256 next hops', () => {
    assert.equal(new Set(ecmpShares(hops(...Array<number>(256).fill(1)))).size, 256);
  });

  test('are those that 16 are shared out in where 16 are enough', () => {
    assert.deepEqual(ecmpShares(hops(1, 3)), shares(hops(1, 3), 16));
  });

  /** Of 256, what the slots make of the low bits of source and destination. */
  const ways = (of: readonly Member[]): string[] => {
    const owners = ecmpShares(of);
    return Array.from({ length: 256 }, (_, bits) => owners[bits % owners.length]!);
  };
  const randomHops = fc
    .uniqueArray(fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 20 })), {
      ...{ minLength: 2, maxLength: 12, selector: ([id]) => id },
    })
    .map((each) => each.map(([id, weight]) => ({ id, weight })));

  test('move with the next hop that goes or comes, and few others, also where there are more or fewer of them then', () => {
    let [moved, owned] = [0, 0];
    fc.assert(
      fc.property(randomHops, fc.nat(), (of, which) => {
        const gone = of[which % of.length]!;
        const [before, after] = [ways(of), ways(without(of, gone))];
        const own = before.filter((owner) => owner === gone.id).length;
        const others = before.filter((owner, bits) => owner !== gone.id && after[bits] !== owner).length;
        assert.ok(others <= own + 80, `${others} others moved with ${own} of 256, ${of.length} next hops`);
        moved += others;
        owned += own;
      }),
      { numRuns: 200, seed: 1 },
    );
    assert.ok(moved < owned, `${moved} others moved with ${owned}`);
  });

  for (let weight = 2; weight <= 8; weight++)
    test(`of ${weight} equal next hops few move with one that goes`, () => {
      const of = hops(...Array<number>(weight).fill(1));
      for (const gone of of) {
        const [before, after] = [ways(of), ways(without(of, gone))];
        const others = before.filter((owner, bits) => owner !== gone.id && after[bits] !== owner).length;
        assert.ok(others <= 256 / weight + 32, `${others} others of 256 moved with ${gone.id}`);
      }
    });
});

function without(of: readonly Member[], gone: Member): Member[] {
  return of.filter((each) => each !== gone);
}
