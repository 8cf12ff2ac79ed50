import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHex } from '../base/bytes.ts';
import { FrameReader } from './framing.ts';
import { OF15 } from './version.ts';

/** The lengths of what is handed over, of bytes that come in these chunks. */
function lengths(version: number | undefined, ...chunks: readonly string[]): number[] {
  const reader = new FrameReader();
  reader.version = version;
  const found: number[] = [];
  for (const chunk of chunks) reader.push(parseHex(chunk), (frame) => found.push(frame.length));
  return found;
}

test('messages are cut by their lengths, however the bytes come', () => {
  assert.deepEqual(lengths(OF15, '0602000800000001 0602000a00000002 ffff'), [8, 10]);
  assert.deepEqual(lengths(OF15, '06', '020008000000', '01 0602000a00000002', 'ff', 'ff'), [8, 10]);
});

test('hello and error may be of any version; what else is not of the one agreed on, and what is too long for them, is refused before it is whole', () => {
  assert.deepEqual(lengths(OF15, '0100000800000001 0101000800000001'), [8, 8]);
  for (const header of ['0102000800000001', '010dffff00000001', 'a500040100000001', 'a501fff000000001'])
    assert.throws(() => lengths(OF15, header), { code: 'bad-version' }, header);
  assert.deepEqual(lengths(undefined, 'a501fff000000001'), []);
  assert.throws(() => lengths(undefined, '0602000700000001'), { code: 'bad-length' });
});
