import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c } from './crc32c.ts';
import { encodeSctp, SCTP_CHUNK, sctpInit } from './sctp.ts';

test('CRC-32C is that of RFC 3720 appendix B.4', () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
});

test('an SCTP packet has its chunks, padded, and a checksum over all that is zero where it stands itself', () => {
  const packet = encodeSctp({ srcPort: 40_000, dstPort: 3868, tag: 7 }, [
    { type: SCTP_CHUNK.data, flags: 3, value: Uint8Array.of(1, 2, 3, 4, 5) },
    { type: SCTP_CHUNK.cookieAck, value: new Uint8Array(0) },
  ]);
  assert.equal(Buffer.from(packet.subarray(0, 8)).toString('hex'), '9c400f1c00000007');
  assert.equal(Buffer.from(packet.subarray(12)).toString('hex'), '0003000901020304050000000b000004');
  const view = new DataView(packet.buffer);
  const given = view.getUint32(8, true);
  view.setUint32(8, 0);
  assert.equal(given, crc32c(packet));
});

test('an INIT chunk has 16 bytes, and an INIT ACK the cookie behind them', () => {
  assert.equal(Buffer.from(sctpInit(0x1234)).toString('hex'), '00001234000100000001000100000001');
  assert.equal(Buffer.from(sctpInit(1, Uint8Array.of(9, 8, 7, 6)).subarray(16)).toString('hex'), '0007000809080706');
});
