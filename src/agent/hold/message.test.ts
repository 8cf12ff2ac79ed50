import fc from 'fast-check';
import { formatIp, type Ip, type Ipv4, type Ipv6 } from '../../base/addresses.ts';
import { testCodec } from '../../packet/testing/codec-contract.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import { type CopyMessage, decodeCopyMessage, encodeCopyMessage, NONCE_BYTES } from './message.ts';

const u32 = fc.nat({ max: 0xffff_ffff });
const nonce = fc.uint8Array({ minLength: NONCE_BYTES, maxLength: NONCE_BYTES });
const id = fc.stringMatching(/^[a-z0-9-]{1,40}$/);
const port = fc.nat({ max: 0xffff });
const v4: fc.Arbitrary<Ip> = u32.map((value) => ({ version: 4, value: value as Ipv4 }));
const v6: fc.Arbitrary<Ip> = fc
  .bigInt({ min: 1n << 112n, max: (1n << 128n) - 1n })
  .map((value) => ({ version: 6, value: value as Ipv6 }));

const entry: fc.Arbitrary<ConnectionEntry> = fc.boolean().chain((isV4) => {
  const end = fc.record({ address: (isV4 ? v4 : v6).map(formatIp), port });
  const tuple = fc.record({ from: end, to: end });
  return fc
    .record({
      owner: id,
      kind: fc.constantFrom('own' as const, 'vip' as const, 'selfCall' as const),
      protocol: fc.constantFrom('tcp', 'udp'),
      original: tuple,
      reply: tuple,
      mark: u32,
    })
    .map(({ mark, ...rest }) => ({
      ...rest,
      ...(rest.protocol === 'tcp' ? { state: 'established' } : {}),
      ...(mark === 0 ? {} : { mark }),
    }));
});

const message: fc.Arbitrary<CopyMessage> = fc.oneof(
  fc.record({ kind: fc.constant('hello' as const), port: id, nonce }),
  fc.record({ kind: fc.constant('welcome' as const), nonce }),
  fc.record({ kind: fc.constant('ack' as const), sequence: u32 }),
  fc.record({
    kind: fc.constant('copies' as const),
    sequence: u32,
    isWhole: fc.boolean(),
    changes: fc.array(fc.record({ op: fc.constantFrom('put' as const, 'gone' as const), entry }), { maxLength: 20 }),
  }),
);

testCodec({ name: 'copies of connections', values: message, encode: encodeCopyMessage, decode: decodeCopyMessage });
