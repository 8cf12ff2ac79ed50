import { ByteWriter } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { decodeNetlink, type NetlinkMessage } from './netlink.ts';

/**
 * Frames of FRR's forwarding-plane-manager channel (fpm/fpm.h): zebra connects and writes, nothing is answered.
 *
 *     0         1         2         4
 *     +---------+---------+---------+----------------
 *     | version | type    | length  | netlink messages, one or more
 *     +---------+---------+---------+----------------
 *
 * Version is 1, type is 1 (netlink; 2 is protobuf, which Weft does not ask for), length counts the header too. A route that
 * changes comes as its deletion and its new meaning in one frame.
 */
const VERSION = 1;
const NETLINK = 1;
const HEADER = 4;

/** Cuts a stream into messages. After a `DecodeError` the stream has no known boundary any more: end the connection. */
export class FpmSplitter {
  #rest: Uint8Array = new Uint8Array(0);

  /** The messages of all frames that this chunk completes. Throws `DecodeError`; offsets count from the frame's first byte. */
  push(chunk: Uint8Array): NetlinkMessage[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: NetlinkMessage[] = [];
    let at = 0;
    while (bytes.length - at >= HEADER) {
      const length = frameLength(bytes, at);
      if (bytes.length - at < length) break;
      for (const message of decodePayload(bytes.subarray(at + HEADER, at + length))) messages.push(message);
      at += length;
    }
    // A copy: what is left is small, the chunk that it would hold on to is not.
    this.#rest = at === bytes.length ? new Uint8Array(0) : bytes.slice(at);
    return messages;
  }

  /** Bytes of a frame that is not whole yet. */
  get waiting(): number {
    return this.#rest.length;
  }
}

function frameLength(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== VERSION) throw new DecodeError('bad-version', 0, 'fpm version', `${bytes[at]}`);
  if (bytes[at + 1] !== NETLINK) throw new DecodeError('bad-type', 1, 'fpm type', `${bytes[at + 1]}`);
  const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
  if (length < HEADER) throw new DecodeError('bad-length', 2, 'fpm length', `${length}`);
  return length;
}

function decodePayload(payload: Uint8Array): NetlinkMessage[] {
  try {
    return decodeNetlink(payload);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new DecodeError(error.code, error.offset + HEADER, error.field);
  }
}

/** One frame of encoded netlink messages. */
export function encodeFpm(...payload: readonly Uint8Array[]): Uint8Array {
  const out = new ByteWriter(128).u8(VERSION).u8(NETLINK).u16(0);
  for (const bytes of payload) out.raw(bytes);
  out.patchU16(2, out.length);
  return out.finish();
}
