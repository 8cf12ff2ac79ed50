import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { formatHex, parseHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { seededRandom } from '../base/random.ts';
import { decodeMessage, encodeMessage } from './message.ts';
import { SAMPLE_VERSIONS, samples } from './samples.fixture.ts';

const VECTORS = new URL('../../../shared/data/openflow/of13_vectors.json', import.meta.url);
const MUTATIONS = process.env.WEFT_CAMPAIGN === '1' ? 1_000_000 : 20_000;

/** Our own samples and, where they are, the public vectors. */
function corpus(): Uint8Array[] {
  const own = SAMPLE_VERSIONS.flatMap((version) => samples(version).map(encodeMessage));
  if (!existsSync(VECTORS)) return own;
  const { vectors } = JSON.parse(readFileSync(VECTORS, 'utf8')) as { vectors: { hex: string }[] };
  return [...own, ...vectors.map((vector) => parseHex(vector.hex)).filter((bytes) => bytes.length < 2000)];
}

/**
 * Decodes; what decodes must encode, to bytes that decode and encode to themselves. Anything but a `DecodeError` is a
 * failure that shows its bytes.
 */
function attempt(bytes: Uint8Array): boolean {
  let decoded = false;
  try {
    const message = decodeMessage(bytes);
    decoded = true;
    const settled = encodeMessage(message);
    assert.equal(formatHex(encodeMessage(decodeMessage(settled))), formatHex(settled));
  } catch (error) {
    if (!decoded && error instanceof DecodeError) return false;
    throw new Error(`${formatHex(bytes)}: ${(error as Error).stack}`, { cause: error });
  }
  return true;
}

function setLength(bytes: Uint8Array): void {
  new DataView(bytes.buffer).setUint16(2, bytes.length);
}

suite('hostile bytes', () => {
  test('a message cut at any byte gives a DecodeError or a shorter message', () => {
    let cuts = 0;
    for (const bytes of corpus())
      for (let end = 0; end < bytes.length; end++) {
        const cut = bytes.slice(0, end);
        assert.throws(() => decodeMessage(cut), DecodeError);
        if (end < 8) continue;
        setLength(cut);
        attempt(cut);
        cuts++;
      }
    assert.ok(cuts > 10_000);
  });

  test(`${MUTATIONS} mutated messages give DecodeErrors or messages that encode`, () => {
    const random = seededRandom(2);
    const originals = corpus();
    let decoded = 0;
    for (let i = 0; i < MUTATIONS; i++) {
      const bytes = originals[random.below(originals.length)]!.slice();
      for (let flips = 1 + random.below(4); flips > 0; flips--)
        bytes[random.below(bytes.length)] = random.below(4) === 0 ? 0xff : random.below(256);
      setLength(bytes);
      if (attempt(bytes)) decoded++;
    }
    assert.ok(decoded > 0 && decoded < MUTATIONS);
  });
});
