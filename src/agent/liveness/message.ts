import type { Ip, Ipv4, Ipv6 } from '../../base/addresses.ts';
import { ByteReader, ByteWriter } from '../../base/bytes.ts';

/** Of UDP, where an agent answers; of TCP, where nobody listens, so that the kernel of a living host refuses (docs/design/liveness.md). */
export const LIVENESS_PORT = 10_789;

/** What agents say to each other over the underlay. */
export type LivenessMessage =
  /** Are you there? `isServing`: the sender is asked by many itself; `isWell`: its flows are in, and its last probe was answered. */
  | {
      readonly kind: 'probe';
      readonly token: number;
      readonly sequence: number;
      readonly isServing: boolean;
      readonly isWell: boolean;
    }
  /**
   * The answer, with the token and sequence of the probe; how long to wait before the next one; and whether the flows of the host are in: where
   * its switch or machine has just been started they are not.
   */
  | {
      readonly kind: 'echo';
      readonly token: number;
      readonly sequence: number;
      readonly intervalMs: number;
      readonly hasFlows: boolean;
    }
  /** This host does not answer me: see for yourself. The token is that of the receiver's probes. */
  | { readonly kind: 'suspect'; readonly token: number; readonly address: Ip };

const MAGIC = 0x574c;
const VERSION = 1;
/** `early`: an echo of a host without flows. An older agent takes it for no answer, and so asks the kernel. */
const TYPE = { probe: 1, echo: 2, suspect: 3, early: 4 } as const;
const SERVING = 1;
const WELL = 2;
const V4_MAPPED = 0xffffn << 32n;

/**
 *      0                   1                   2                   3
 *     +-------------------------------+---------------+---------------+
 *     |          0x574c ("WL")        |   version 1   |     type      |
 *     +-------------------------------+---------------+---------------+
 *     |                             token                             |
 *     +---------------------------------------------------------------+
 *     |        sequence (suspect: address, 16 bytes, of IPv4 mapped)  |
 *     +---------------------------------------------------------------+
 *     |  probe: flags (1: serving, 2: well), echo: interval in ms     |
 *     +---------------------------------------------------------------+
 *
 * A probe and its echo are of equal length: nobody is made to send more than was sent in his name.
 * Errors: `truncated`, `bad-value` for another protocol or version, `bad-type`.
 */
export function decodeLiveness(bytes: Uint8Array): LivenessMessage {
  const reader = new ByteReader(bytes);
  if (reader.u16('liveness.magic') !== MAGIC) reader.fail('bad-value', 'liveness.magic');
  if (reader.u8('liveness.version') !== VERSION) reader.fail('bad-value', 'liveness.version');
  const type = reader.u8('liveness.type');
  const token = reader.u32('liveness.token');
  if (type === TYPE.suspect) return { kind: 'suspect', token, address: addressOf(reader.u128('liveness.address')) };
  const sequence = reader.u32('liveness.sequence');
  const value = reader.u32('liveness.value');
  if (type === TYPE.probe)
    return { kind: 'probe', token, sequence, isServing: (value & SERVING) !== 0, isWell: (value & WELL) !== 0 };
  if (type === TYPE.echo || type === TYPE.early)
    return { kind: 'echo', token, sequence, intervalMs: value, hasFlows: type === TYPE.echo };
  return reader.fail('bad-type', 'liveness.type', `${type}`);
}

export function encodeLiveness(message: LivenessMessage): Uint8Array {
  const type = message.kind === 'echo' && !message.hasFlows ? TYPE.early : TYPE[message.kind];
  const writer = new ByteWriter(24).u16(MAGIC).u8(VERSION).u8(type).u32(message.token);
  if (message.kind === 'suspect') return writer.u128(mapped(message.address)).finish();
  const value =
    message.kind === 'echo' ? message.intervalMs : (message.isServing ? SERVING : 0) | (message.isWell ? WELL : 0);
  return writer.u32(message.sequence).u32(value).finish();
}

function mapped({ version, value }: Ip): bigint {
  return version === 4 ? V4_MAPPED | BigInt(value) : value;
}

function addressOf(value: bigint): Ip {
  if (value >> 32n !== V4_MAPPED >> 32n) return { version: 6, value: value as Ipv6 };
  return { version: 4, value: Number(value & 0xffff_ffffn) as Ipv4 };
}
