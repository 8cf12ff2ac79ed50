import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { equalValues } from './values.ts';

const { value: arbTree } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'tree' },
    fc.constantFrom(null, undefined, true, 0, 1, Number.NaN, '', 'a', 1n),
    fc.uint8Array({ maxLength: 2 }),
    fc.date({ min: new Date(0), max: new Date(2) }),
    fc.array(tie('value'), { maxLength: 2, depthIdentifier: 'tree' }),
    fc.dictionary(fc.constantFrom('a', 'b'), tie('value'), { noNullPrototype: true, depthIdentifier: 'tree' }),
    fc.array(fc.constantFrom('x', 'y'), { maxLength: 2 }).map((items) => new Set(items)),
    fc.array(fc.tuple(fc.constantFrom('x', 'y'), tie('value')), { maxLength: 2 }).map((items) => new Map(items)),
  ),
}));

describe('equality of values', () => {
  it('is that of node:util, on two random values and on a value and its copy', () => {
    fc.assert(
      fc.property(arbTree, arbTree, (a, b) => {
        assert.equal(equalValues(a, b), isDeepStrictEqual(a, b));
        assert.equal(equalValues([a, a], [structuredClone(a), a]), true);
      }),
      { numRuns: 500 },
    );
  });

  it('does not ask for a prototype', () => {
    assert.equal(equalValues({ a: 1 }, Object.assign(Object.create(null), { a: 1 })), true);
    assert.equal(equalValues({ a: 1 }, [1]), false);
  });

  it('tells a field that is undefined from one that is missing', () => {
    assert.equal(equalValues({ a: undefined }, { b: undefined }), false);
    assert.equal(equalValues({ a: undefined }, {}), false);
  });
});
