import { ByteReader } from '../base/bytes.ts';

/**
 * What every decoder of this folder takes: bytes, or a reader that stands at the structure. A reader is moved past
 * what was read, and makes errors carry offsets within the whole message.
 */
export type Input = ByteReader | Uint8Array;

export function readerOf(input: Input): ByteReader {
  return input instanceof ByteReader ? input : new ByteReader(input);
}

/** The value of options, payloads and trailers that are not there. */
export const NO_BYTES = new Uint8Array(0);
