import { createHmac, timingSafeEqual } from 'node:crypto';
import { ByteWriter } from '../../base/bytes.ts';
import { WeftError } from '../../base/errors.ts';

/** Of each message on the wire. */
const MAC_BYTES = 16;
const HEADER_BYTES = 4 + MAC_BYTES;
/** Longer ones are none of ours: before the other end has shown who it is, and behind that. */
const LONGEST = { stranger: 256, known: 512 * 1024 } as const;

/**
 * Messages on a stream, each with its length (32 bits) and the first 16 bytes of an HMAC-SHA256 (RFC 2104) over direction, number and body, so
 * that none can be forged, left out, repeated or sent back. `key` changes once, when both ends have named a nonce: what was said on another
 * connection is worth nothing on this one.
 */
export class Sealer {
  #key: Uint8Array;
  #number = 0;
  readonly #direction: number;

  constructor(key: Uint8Array, isCaller: boolean) {
    this.#key = key;
    this.#direction = isCaller ? 1 : 2;
  }

  setKey(key: Uint8Array): void {
    this.#key = key;
  }

  seal(body: Uint8Array): Uint8Array {
    const mac = macOf(this.#key, this.#direction, this.#number++, body);
    return new ByteWriter(HEADER_BYTES + body.length).u32(body.length).raw(mac).raw(body).finish();
  }
}

/** The other end's half: bytes as they come in, bodies as they are whole. */
export class Opener {
  #key: Uint8Array | undefined;
  #isKnown = false;
  #number = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  readonly #direction: number;

  /** Without a key the first message names it (`peek`). */
  constructor(key: Uint8Array | undefined, isCaller: boolean) {
    this.#key = key;
    this.#direction = isCaller ? 1 : 2;
  }

  setKey(key: Uint8Array): void {
    this.#key = key;
  }

  /** The other end has shown that it has the secret, now: it may say long things. */
  trust(): void {
    this.#isKnown = true;
  }

  take(bytes: Uint8Array): void {
    if (this.#bytes.length === 0) this.#bytes = bytes;
    else this.#bytes = Buffer.concat([this.#bytes, bytes]);
  }

  /** The next message's body, not yet known to be genuine. Error: `denied` for one that is too long. */
  peek(): Uint8Array | undefined {
    if (this.#bytes.length < HEADER_BYTES) return undefined;
    const length = new DataView(this.#bytes.buffer, this.#bytes.byteOffset).getUint32(0);
    if (length > LONGEST[this.#isKnown ? 'known' : 'stranger'])
      throw new WeftError('denied', `a message of ${length} bytes`);
    return this.#bytes.length < HEADER_BYTES + length
      ? undefined
      : this.#bytes.subarray(HEADER_BYTES, HEADER_BYTES + length);
  }

  /** Takes the next message off. Error: `denied` for one that is not genuine. */
  next(): Uint8Array | undefined {
    const body = this.peek();
    if (!body || !this.#key) return undefined;
    const mac = this.#bytes.subarray(4, HEADER_BYTES);
    if (!timingSafeEqual(mac, macOf(this.#key, this.#direction, this.#number, body)))
      throw new WeftError('denied', 'a message that was not made with our secret');
    this.#number++;
    this.#bytes = this.#bytes.subarray(HEADER_BYTES + body.length);
    return body;
  }
}

/** From the gateway's secret alone; and with what both ends of a connection have chosen. */
export function keyOf(secret: string, ...nonces: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac('sha256', secret).update('weft copies');
  for (const nonce of nonces) hmac.update(nonce);
  return hmac.digest();
}

function macOf(key: Uint8Array, direction: number, number: number, body: Uint8Array): Uint8Array {
  const head = new ByteWriter(9).u8(direction).u64(BigInt(number)).finish();
  return createHmac('sha256', key).update(head).update(body).digest().subarray(0, MAC_BYTES);
}
