import fc from 'fast-check';
import type { Ip, Ipv4, Ipv6 } from '../../base/addresses.ts';
import { testCodec } from '../../packet/testing/codec-contract.ts';
import { decodeLiveness, encodeLiveness, type LivenessMessage } from './message.ts';

const u32 = fc.nat({ max: 0xffff_ffff });
const address: fc.Arbitrary<Ip> = fc.oneof(
  u32.map((value): Ip => ({ version: 4, value: value as Ipv4 })),
  fc.bigInt({ min: 1n << 112n, max: (1n << 128n) - 1n }).map((value): Ip => ({ version: 6, value: value as Ipv6 })),
);
const message: fc.Arbitrary<LivenessMessage> = fc.oneof(
  fc.record({
    ...{ kind: fc.constant('probe' as const), token: u32, sequence: u32 },
    ...{ isServing: fc.boolean(), isWell: fc.boolean() },
  }),
  fc.record({
    ...{ kind: fc.constant('echo' as const), token: u32, sequence: u32, intervalMs: u32 },
    hasFlows: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('suspect' as const), token: u32, address }),
);

testCodec({ name: 'liveness', values: message, encode: encodeLiveness, decode: decodeLiveness });
