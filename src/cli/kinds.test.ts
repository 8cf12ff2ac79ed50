import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KIND_NAMES, type KindDefinition } from '../model/kind.ts';
import { KINDS } from '../model/kinds.ts';
import { EXIT, exitCodeOf, UsageError } from './exit-codes.ts';
import { CLI_KINDS, kindOf, requireKind, singularOf } from './kinds.ts';
import { REFERRING } from './nouns/describe.ts';

test('the kinds of the CLI are those of the model', () => {
  assert.deepEqual(
    CLI_KINDS.map(({ kind, plural, tenantOwned, nameWithin }) => ({ kind, plural, tenantOwned, nameWithin })),
    KIND_NAMES.map((kind) => {
      const { plural, tenantOwned, nameWithin }: KindDefinition = KINDS[kind];
      return { kind, plural, tenantOwned, nameWithin };
    }),
  );
});

test('every column of the model is one of the CLI', () => {
  const PLACED: Readonly<Record<string, string>> = { 'status.binding': 'status.host' };
  for (const { kind, columns } of CLI_KINDS)
    for (const path of KINDS[kind].columns)
      assert.ok(
        columns.some((column) => column.path === (PLACED[path] ?? path)),
        `${kind}: ${path}`,
      );
});

test('describe looks for every reference that the model knows', () => {
  const known = Object.entries(REFERRING).flatMap(([to, ways]) =>
    ways.map((way) => `${way.kind}.${way.field} → ${to}`),
  );
  const wanted = KIND_NAMES.flatMap((kind) => [
    ...(KINDS[kind].tenantOwned ? [`${kind}.tenant → tenant`] : []),
    ...KINDS[kind].references.map((reference) => `${kind}.${reference.path} → ${reference.kind}`),
  ]);
  assert.deepEqual(known.sort(), wanted.sort());
});

test('a word means a kind in singular, plural and short form, and no word two kinds', () => {
  assert.equal(kindOf('Switches')?.kind, 'switch');
  assert.equal(kindOf('tz')?.kind, 'tunnelZone');
  const words = CLI_KINDS.flatMap(({ kind, plural, short }) => [kind.toLowerCase(), plural, ...short]);
  assert.equal(new Set(words).size, words.length);
});

test('an unknown kind is a usage error that names what was meant', () => {
  assert.throws(
    () => requireKind('prots'),
    (error) =>
      error instanceof UsageError && exitCodeOf(error) === EXIT.usage && /did you mean ports\?/.test(error.message),
  );
});

test('the singular of each kind is a word for it', () => {
  for (const entry of CLI_KINDS) assert.equal(kindOf(singularOf(entry)), entry);
  assert.equal(singularOf(requireKind('floating-addresses')), 'floating-address');
});
