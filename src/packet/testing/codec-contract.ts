import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../base/errors.ts';
import { type Random, seededRandom } from '../../base/random.ts';

/** What every codec of this folder keeps: the tests of one are the tests of all. */
export interface CodecContract<T> {
  /** As tests are named. */
  readonly name: string;
  /** Values as a decoder would give them. */
  readonly values: fc.Arbitrary<T>;
  readonly encode: (value: T) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => T;
}

/** The long campaign (`WEFT_CAMPAIGN=1`) is what the folder is accepted by; the short one watches for slips. */
const MUTATIONS = process.env.WEFT_CAMPAIGN === '1' ? 1_000_000 : 3_000;
/** Messages that mutations start from. */
const SEEDS = 64;

export function testCodec<T>(contract: CodecContract<T>): void {
  const { name, encode, decode } = contract;
  const values = plain(contract.values);

  test(`${name}: what was encoded decodes to the same value, and encodes to the same bytes`, () => {
    fc.assert(
      fc.property(values, (value) => {
        const bytes = encode(value);
        const decoded = decode(bytes);
        assert.deepEqual(decoded, value);
        assert.deepEqual(encode(decoded), bytes);
      }),
    );
  });

  test(`${name}: a message cut at any byte gives a value or a DecodeError`, () => {
    for (const value of fc.sample(values, { numRuns: SEEDS, seed: 1 })) {
      const bytes = encode(value);
      for (let length = 0; length < bytes.length; length++) decodeOrRefuse(contract, bytes.subarray(0, length));
    }
  });

  test(`${name}: ${MUTATIONS.toLocaleString('en')} mutated messages give values that survive, or a DecodeError`, () => {
    const random = seededRandom(0x5eed);
    const seeds = fc.sample(values, { numRuns: SEEDS, seed: 2 }).map((value) => Uint8Array.from(encode(value)));
    for (let i = 0; i < MUTATIONS; i++) {
      const bytes = mutate(seeds[i % SEEDS]!, random);
      const value = decodeOrRefuse(contract, bytes);
      if (value === undefined || i % 16 !== 0) continue;
      assert.deepEqual(decode(encode(value)), value, `mutation ${i}: ${Buffer.from(bytes).toString('hex')}`);
    }
  });
}

/** fast-check mixes in objects without a prototype, which are never deeply equal to a decoder's. */
export function plain<T>(values: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return values.map((value) => structuredClone(value));
}

function decodeOrRefuse<T>(contract: CodecContract<T>, bytes: Uint8Array): T | undefined {
  try {
    return contract.decode(bytes);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw new Error(`${contract.name} of ${Buffer.from(bytes).toString('hex')}`, { cause: error });
  }
}

const EDGE_BYTES = [0x00, 0x01, 0x7f, 0x80, 0xff];

/** A copy with one to four bytes changed, sometimes cut, sometimes with bytes appended. */
export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const shape = random.below(8);
  let length = bytes.length;
  if (shape === 0) length = random.below(bytes.length + 1);
  else if (shape === 1) length += random.below(40);
  const mutated = new Uint8Array(length);
  mutated.set(bytes.subarray(0, Math.min(length, bytes.length)));
  if (length === 0) return mutated;
  for (let n = 1 + random.below(4); n > 0; n--) {
    const at = random.below(length);
    mutated[at] = random.below(2) === 0 ? random.u32() & 0xff : EDGE_BYTES[random.below(EDGE_BYTES.length)]!;
  }
  return mutated;
}
