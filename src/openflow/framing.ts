import { DecodeError } from '../base/errors.ts';

const HEADER_BYTES = 8;
/** Message types 0 (hello) and 1 (error) are the same in all versions. */
const LAST_OF_ANY_VERSION = 1;
/** An error tells some 64 bytes of what it is about. */
const MOST_BYTES_OF_ANY_VERSION = 1024;

/**
 * Cuts a byte stream into OpenFlow messages by the length in their headers. Frames are views of the chunks where a
 * chunk holds them whole, so a caller that keeps one must be given chunks that are not written to again.
 */
export class FrameReader {
  #kept: Uint8Array = new Uint8Array(0);

  /** Once it is agreed upon: a header of another one is refused at once, whatever length it tells to wait for. */
  version: number | undefined;

  /** Bytes that wait for the rest of their message. */
  get buffered(): number {
    return this.#kept.length;
  }

  /**
   * Takes a chunk and hands over each whole message. Throws `DecodeError`: `bad-length` on a header shorter than itself,
   * `bad-version` on one of a version other than agreed (hello and error tell of versions and may have any, but are
   * short: nobody waits for 60,000 bytes of nonsense).
   */
  push(chunk: Uint8Array, deliver: (frame: Uint8Array) => void): void {
    const data = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    let at = 0;
    while (data.length - at >= HEADER_BYTES) {
      const length = (data[at + 2]! << 8) | data[at + 3]!;
      const mayBeOther = data[at + 1]! <= LAST_OF_ANY_VERSION && length <= MOST_BYTES_OF_ANY_VERSION;
      if (this.version !== undefined && data[at] !== this.version && !mayBeOther)
        throw new DecodeError('bad-version', 0, 'version', `${data[at]}, agreed on ${this.version}`);
      if (length < HEADER_BYTES) throw new DecodeError('bad-length', 2, 'length', `${length}`);
      if (data.length - at < length) break;
      deliver(data.subarray(at, at + length));
      at += length;
    }
    this.#kept = data.subarray(at);
  }
}
