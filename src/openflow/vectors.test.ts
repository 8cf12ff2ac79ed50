import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { formatHex, parseHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { decodeMessage, encodeMessage } from './message.ts';
import { assertSameAsOsKen } from './os-ken.fixture.ts';

const DATA = new URL('../../../shared/data/openflow/', import.meta.url);
const skip = existsSync(DATA) ? false : 'shared/data/openflow is not here';

interface Vector {
  readonly name: string;
  readonly hex: string;
  readonly ovs310: 'accept' | 'reject';
}

/** Numbers beyond 2^53 as bigints. */
function readJson<T>(file: string): T {
  const revive = (_: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^\d+$/.test(context?.source ?? '')
      ? BigInt(context!.source!)
      : value;
  return JSON.parse(readFileSync(new URL(file, DATA), 'utf8'), revive as (key: string, value: unknown) => unknown) as T;
}

suite('public vectors', { skip }, () => {
  test('every vector that Open vSwitch accepts decodes, and encodes to the same bytes', () => {
    const { vectors } = readJson<{ vectors: Vector[] }>('of13_vectors.json');
    let refused = 0;
    for (const { name, hex, ovs310 } of vectors) {
      try {
        assert.equal(formatHex(encodeMessage(decodeMessage(parseHex(hex)))), hex, name);
      } catch (error) {
        assert.ok(error instanceof DecodeError && ovs310 === 'reject', `${name}: ${String(error)}`);
        refused++;
      }
    }
    assert.equal(vectors.length, 173);
    assert.equal(refused, 2);
  });

  test('decoded values are those of os-ken', () => {
    const { vectors } = readJson<{ vectors: (Vector & { json: never })[] }>('of13_vectors_decoded.json');
    for (const { name, hex, json } of vectors) {
      const message = decodeMessage(parseHex(hex));
      try {
        assertSameAsOsKen(json, message);
      } catch (error) {
        throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
      }
    }
    assert.equal(vectors.length, 117);
  });

  test('flow, group and meter mods of the switch tests encode to the same bytes', () => {
    const tests = readJson<Record<'of10' | 'of13', { file: string; mods: string[] }[]>>('switch_tests.json');
    const seen = new Set<string>();
    for (const { file, mods } of [...tests.of10, ...tests.of13])
      for (const hex of mods) {
        if (seen.has(hex)) continue;
        seen.add(hex);
        assert.equal(formatHex(encodeMessage(decodeMessage(parseHex(hex)))), hex, file);
      }
    assert.ok(seen.size > 400);
  });
});
