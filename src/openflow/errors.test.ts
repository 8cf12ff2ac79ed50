import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { errorName } from './errors.ts';
import { decodeMessage, encodeMessage } from './message.ts';
import { OF10, OF13, OF14, OF15 } from './version.ts';

const NX = 0x2320;
const ONF = 0x4f4e_4600;

suite('error names', () => {
  test('one error has its numbers in each version', () => {
    assert.equal(errorName(OF10, 3, 0), 'OFPFMFC_TABLE_FULL');
    assert.equal(errorName(OF13, 5, 1), 'OFPFMFC_TABLE_FULL');
    assert.equal(errorName(OF15, 0, 0), 'OFPHFC_INCOMPATIBLE');
    assert.equal(errorName(OF13, 12, 3), 'OFPMMFC_UNKNOWN_METER');
    assert.equal(errorName(OF15, 17, 13), 'OFPBFC_MSG_FAILED');
  });

  test("experimenters' errors have names too", () => {
    assert.equal(errorName(OF13, 0xffff, 2313, ONF), 'OFPBFC_MSG_FAILED');
    assert.equal(errorName(OF14, 0xffff, 22, NX), 'OFPBFC_BAD_VERSION');
    assert.equal(errorName(OF15, 0xffff, 20, NX), 'NXTTMFC_ALREADY_MAPPED');
    assert.equal(errorName(OF10, 1, 534, NX), 'NXR_STALE');
  });

  test('an error without a name gives its numbers', () => {
    assert.equal(errorName(OF15, 99, 7), 'error 99/7');
    assert.equal(errorName(OF15, 0xffff, 7, 5), 'error 0x5/65535/7');
  });

  test("Nicira's errors of 1.0 come in their wrapping", () => {
    const data = new Uint8Array([1, 14, 0, 8]);
    const message = { kind: 'error', type: 1, code: 534, experimenter: NX, name: 'NXR_STALE', data } as const;
    const bytes = encodeMessage({ ...message, version: OF10, xid: 1 });
    assert.deepEqual([...bytes.subarray(8, 12)], [0xb0, 0xc2, 0, 0]);
    assert.deepEqual(decodeMessage(bytes), { ...message, version: OF10, xid: 1 });
  });
});
