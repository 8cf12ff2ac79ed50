import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { test } from 'node:test';

/** The folders in the order in which data flows (ARCHITECTURE.md); a folder imports only from itself and those before it. */
const LAYERS = [
  'base',
  'packet',
  'openflow',
  'ovsdb',
  'frr',
  'model',
  'simulate',
  'store',
  'flow-database',
  'server',
  'incremental',
  'compile',
  'pipeline',
  'agent',
  'fabric',
  'verify',
  'lab',
  'cli',
];

/** Pairs that must not know each other although the order would allow it. */
const STRANGERS = [
  ['simulate', 'compile'], // two implementations of one meaning: they may share only packet and model
  ['simulate', 'pipeline'],
  ['simulate', 'openflow'],
  ['incremental', 'openflow'], // the engine knows no networking words
  ['incremental', 'packet'],
  ['incremental', 'model'],
];

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((m) =>
    relative('src', join(dirname(file), m[1]!)),
  );
}

test('every folder imports only from folders before it', () => {
  const wrong: string[] = [];
  for (const file of globSync('src/**/*.ts')) {
    const own = relative('src', file).split(sep)[0]!;
    assert.ok(LAYERS.includes(own), `${own} is not in the list of layers`);
    for (const target of importsOf(file)) {
      const other = target.split(sep)[0]!;
      const isTest = /\.(test|fixture)\.ts$/.test(file);
      if (LAYERS.indexOf(other) > LAYERS.indexOf(own) && !isTest) wrong.push(`${file} imports ${target}`);
      if (STRANGERS.some(([a, b]) => (own === a && other === b) || (own === b && other === a)) && !isTest)
        wrong.push(`${file} must not know ${target}`);
    }
  }
  assert.deepEqual(wrong, []);
});
