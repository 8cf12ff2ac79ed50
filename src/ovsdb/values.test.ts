import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DecodeError, WeftError } from '../base/errors.ts';
import {
  ATOM_TYPES,
  type AtomType,
  applyDifference,
  type ColumnType,
  decodeValue,
  encodeValue,
  equalValues,
  isUuid,
  mapOf,
  named,
  optional,
  parseUuid,
  scalar,
  setOf,
  type Value,
} from './values.ts';

const atomOf: { readonly [K in AtomType]: fc.Arbitrary<string | number | boolean> } = {
  string: fc.string(),
  integer: fc.maxSafeInteger(),
  real: fc.double({ noNaN: true, noDefaultInfinity: true }).map((real) => real + 0),
  boolean: fc.boolean(),
  uuid: fc.uuid(),
};

const columnTypes: fc.Arbitrary<ColumnType> = fc.oneof(
  fc.constantFrom(...ATOM_TYPES).map(scalar),
  fc.constantFrom(...ATOM_TYPES).map(optional),
  fc.constantFrom(...ATOM_TYPES).map(setOf),
  fc.tuple(fc.constantFrom(...ATOM_TYPES), fc.constantFrom(...ATOM_TYPES)).map(([key, value]) => mapOf(key, value)),
);

function valuesOf(type: ColumnType): fc.Arbitrary<Value> {
  const atom = atomOf[type.key];
  if (type.shape === 'scalar') return atom;
  if (type.shape === 'optional') return fc.option(atom, { nil: undefined });
  if (type.shape === 'set') return fc.uniqueArray(atom, { maxLength: 6, comparator: 'SameValueZero' });
  const pair = fc.tuple(atom, atomOf[type.value]);
  return fc
    .uniqueArray(pair, { maxLength: 6, selector: ([key]) => key, comparator: 'SameValueZero' })
    .map((all) => new Map(all));
}

const throughJson = (wire: unknown): unknown => JSON.parse(JSON.stringify(wire));

test('values: what is written reads the same', () => {
  fc.assert(
    fc.property(
      columnTypes.chain((type) => fc.tuple(fc.constant(type), valuesOf(type))),
      ([type, value]) => {
        const read = decodeValue(type, throughJson(encodeValue(type, value, 'column')), 'column');
        assert.ok(equalValues(read, value), `${JSON.stringify(type)} ${String(value)} ${String(read)}`);
      },
    ),
    { numRuns: 500 },
  );
});

test('values: one element of a set may stand alone, as RFC 7047 section 5.1 allows', () => {
  assert.deepEqual(decodeValue(setOf('integer'), 5, 'c'), [5]);
  assert.deepEqual(decodeValue(setOf('integer'), ['set', [5, 6]], 'c'), [5, 6]);
  assert.equal(decodeValue(optional('string'), ['set', []], 'c'), undefined);
  assert.equal(decodeValue(optional('string'), 'x', 'c'), 'x');
  assert.equal(decodeValue(optional('string'), ['set', ['x']], 'c'), 'x');
  const uuid = parseUuid('550E8400-E29B-41D4-A716-446655440000');
  assert.deepEqual(decodeValue(setOf('uuid'), ['uuid', uuid], 'c'), [uuid]);
});

test('values: a named row and an object for a map are written in their notation', () => {
  assert.deepEqual(encodeValue(setOf('uuid'), [named('row1')], 'c'), ['set', [['named-uuid', 'row1']]]);
  assert.deepEqual(encodeValue(mapOf('string', 'string'), { a: 'b' }, 'c'), ['map', [['a', 'b']]]);
  assert.throws(() => named('1 row'), { code: 'invalid' });
});

test('values: the difference of two values turns the one into the other', () => {
  const pairOfValues = columnTypes.chain((type) => fc.tuple(fc.constant(type), valuesOf(type), valuesOf(type)));
  fc.assert(
    fc.property(pairOfValues, ([type, old, next]) => {
      assert.ok(equalValues(applyDifference(type, old, differenceOf(type, old, next)), next));
    }),
    { numRuns: 500 },
  );
});

/** ovsdb-server(7) §4.1.14, computed the slow way. */
function differenceOf(type: ColumnType, old: Value, next: Value): Value {
  if (type.shape === 'set') {
    const [a, b] = [old as readonly string[], next as readonly string[]];
    return [...a.filter((item) => !b.includes(item)), ...b.filter((item) => !a.includes(item))];
  }
  if (type.shape !== 'map') return next;
  const [a, b] = [old as ReadonlyMap<string, string>, next as ReadonlyMap<string, string>];
  const gone = [...a].filter(([key]) => !b.has(key));
  const put = [...b].filter(([key, value]) => !a.has(key) || a.get(key) !== value);
  return new Map([...gone, ...put]);
}

test('values: any JSON is either read or a DecodeError', () => {
  fc.assert(
    fc.property(columnTypes, fc.jsonValue(), (type, wire) => {
      try {
        decodeValue(type, wire, 'column');
      } catch (error) {
        assert.ok(error instanceof DecodeError);
      }
    }),
    { numRuns: 1_000 },
  );
  for (const wire of [['set', [1, 1]], ['set', [1], 2], ['set'], ['map', [['a', 'b']]], ['uuid', 'x'], null, {}, 1.5])
    assert.throws(() => decodeValue(setOf('integer'), wire, 'c'), DecodeError, JSON.stringify(wire));
  const map = mapOf('string', 'string');
  for (const wire of [
    [
      'map',
      [
        ['a', 'b'],
        ['a', 'c'],
      ],
    ],
    ['map', [['a']]],
    ['map', ['a']],
    ['map', {}],
    [['a', 'b']],
  ])
    assert.throws(() => decodeValue(map, wire, 'c'), DecodeError, JSON.stringify(wire));
});

test('values: what is not of the type is refused before it is sent', () => {
  for (const [type, value] of [
    [scalar('integer'), 1.5],
    [scalar('integer'), 2 ** 53],
    [scalar('real'), Number.NaN],
    [scalar('uuid'), 'not-a-uuid'],
    [scalar('string'), undefined],
    [setOf('string'), 'x'],
    [mapOf('string', 'string'), undefined],
    [mapOf('string', 'string'), { a: 1 }],
  ] as const)
    assert.throws(
      () => encodeValue(type, value, 'c'),
      (error) => error instanceof WeftError && error.code === 'invalid',
    );
  assert.ok(!isUuid('550e8400e29b41d4a716446655440000'));
});
