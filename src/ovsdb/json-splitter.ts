import { DecodeError } from '../base/errors.ts';

/**
 * Finds the messages in a stream of JSON texts that follow each other without delimiters (RFC 7047 §4: JSON-RPC straight
 * on a byte stream). It only counts brackets and strings to find where a text ends; `JSON.parse` judges the text itself.
 */

export interface JsonSplitterLimits {
  /** Bytes of one message; default 64 MiB. A full copy of a host's database is a few MiB. */
  readonly maxBytes?: number;
  /** Brackets within brackets; default 64. RFC 7047 needs 11. */
  readonly maxDepth?: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

const EMPTY = new Uint8Array(0);

export class JsonSplitter {
  readonly #maxBytes: number;
  readonly #maxDepth: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  /** Earlier chunks of the message that is not complete yet. */
  #parts: Uint8Array[] = [];
  #partsLength = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Bytes of the stream before the current message, for offsets in errors. */
  #position = 0;
  #failure: DecodeError | undefined;

  constructor(limits: JsonSplitterLimits = {}) {
    this.#maxBytes = limits.maxBytes ?? 64 * 1024 * 1024;
    this.#maxDepth = limits.maxDepth ?? 64;
  }

  /** Bytes held of a message whose end has not come. */
  get pendingBytes(): number {
    return this.#partsLength;
  }

  /**
   * Calls `emit` with each message that `chunk` completes, in order. Throws `DecodeError` at the first byte that no
   * message can have there, after emitting what came before it; from then on every call throws, as nothing tells where
   * the next message would start. Offsets count bytes from the start of the stream.
   */
  push(chunk: Uint8Array, emit: (message: Record<string, unknown>) => void): void {
    if (this.#failure) throw this.#failure;
    let start = 0;
    while (start < chunk.length) {
      if (this.#depth === 0) {
        start = this.#skipToMessage(chunk, start);
        if (start === chunk.length) return;
      }
      const end = this.#scan(chunk, start);
      const length = this.#partsLength + (end < 0 ? chunk.length : end) - start;
      if (length > this.#maxBytes)
        this.#fail('bad-length', this.#position + this.#maxBytes, `more than ${this.#maxBytes} bytes`);
      if (end < 0) {
        // A copy: the caller may use its buffer again.
        this.#parts.push(chunk.slice(start));
        this.#partsLength = length;
        return;
      }
      const message = this.#parse(chunk.subarray(start, end), length);
      start = end;
      emit(message);
    }
  }

  /** Index of the next message's first byte, or the chunk's length. */
  #skipToMessage(chunk: Uint8Array, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === OPEN_BRACE) {
        this.#position += at - from;
        return at;
      }
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)
        this.#fail('bad-text', this.#position + at - from, `a JSON object wanted, byte 0x${byte.toString(16)} found`);
    }
    this.#position += chunk.length - from;
    return chunk.length;
  }

  /** Index behind the message's last byte, or -1 when the message goes on in the next chunk. */
  #scan(chunk: Uint8Array, from: number): number {
    let depth = this.#depth;
    let inString = this.#inString;
    let escaped = this.#escaped;
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (++depth > this.#maxDepth)
          this.#fail('too-deep', this.#position + this.#partsLength + at - from, `more than ${this.#maxDepth}`);
      } else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) {
        this.#depth = 0;
        this.#inString = this.#escaped = false;
        return at + 1;
      }
    }
    this.#depth = depth;
    this.#inString = inString;
    this.#escaped = escaped;
    return -1;
  }

  #parse(tail: Uint8Array, length: number): Record<string, unknown> {
    const bytes = this.#parts.length === 0 ? tail : Buffer.concat([...this.#parts, tail], length);
    this.#parts = [];
    this.#partsLength = 0;
    let message: Record<string, unknown>;
    try {
      // What starts with a brace and parses is an object.
      message = JSON.parse(this.#decoder.decode(bytes)) as Record<string, unknown>;
    } catch (error) {
      this.#fail('bad-text', this.#position, error instanceof Error ? error.message : 'not JSON');
    }
    this.#position += length;
    return message;
  }

  #fail(code: 'bad-text' | 'bad-length' | 'too-deep', offset: number, detail: string): never {
    this.#failure = new DecodeError(code, offset, 'json', detail);
    this.#parts = [EMPTY];
    throw this.#failure;
  }
}
