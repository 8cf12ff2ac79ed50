import { DecodeError } from './errors.ts';

/**
 * Big-endian reading and writing. `ByteReader` never reads outside its window: it throws `DecodeError('truncated')`,
 * which carries the offset within the whole message, also from a sub-reader.
 */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  /** Added to offsets in errors: where this window starts in the whole message. */
  readonly base: number;
  offset = 0;

  constructor(bytes: Uint8Array, base = 0) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.base = base;
  }

  get length(): number {
    return this.bytes.length;
  }

  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  /** Offset within the whole message. */
  get position(): number {
    return this.base + this.offset;
  }

  #take(n: number, field: string): number {
    const at = this.offset;
    if (at + n > this.bytes.length)
      throw new DecodeError('truncated', this.base + at, field, `${n} bytes wanted, ${this.remaining} left`);
    this.offset = at + n;
    return at;
  }

  u8(field: string): number {
    return this.#view.getUint8(this.#take(1, field));
  }
  u16(field: string): number {
    return this.#view.getUint16(this.#take(2, field));
  }
  u24(field: string): number {
    const at = this.#take(3, field);
    return (this.#view.getUint16(at) << 8) | this.#view.getUint8(at + 2);
  }
  u32(field: string): number {
    return this.#view.getUint32(this.#take(4, field));
  }
  /** 48 bits as a number: exact, as doubles hold 53. */
  u48(field: string): number {
    const at = this.#take(6, field);
    return this.#view.getUint16(at) * 0x1_0000_0000 + this.#view.getUint32(at + 2);
  }
  u64(field: string): bigint {
    return this.#view.getBigUint64(this.#take(8, field));
  }
  u128(field: string): bigint {
    const at = this.#take(16, field);
    return (this.#view.getBigUint64(at) << 64n) | this.#view.getBigUint64(at + 8);
  }
  /** A view, not a copy. */
  take(n: number, field: string): Uint8Array {
    const at = this.#take(n, field);
    return this.bytes.subarray(at, at + n);
  }
  skip(n: number, field: string): void {
    this.#take(n, field);
  }
  /** A reader over the next `n` bytes; errors keep whole-message offsets. */
  sub(n: number, field: string): ByteReader {
    const at = this.#take(n, field);
    return new ByteReader(this.bytes.subarray(at, at + n), this.base + at);
  }
  rest(): Uint8Array {
    return this.take(this.remaining, 'rest');
  }
  fail(code: ConstructorParameters<typeof DecodeError>[0], field: string, detail?: string): never {
    throw new DecodeError(code, this.position, field, detail);
  }
}

/** Grows as needed; `finish` returns a copy of what was written, `view` a window valid until the next write. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  #room(n: number): number {
    const at = this.length;
    const end = at + n;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.length = end;
    return at;
  }

  u8(value: number): this {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
    return this;
  }
  u16(value: number): this {
    const at = this.#room(2);
    this.#view.setUint16(at, value);
    return this;
  }
  u24(value: number): this {
    const at = this.#room(3);
    this.#view.setUint16(at, value >>> 8);
    this.#view.setUint8(at + 2, value);
    return this;
  }
  u32(value: number): this {
    const at = this.#room(4);
    this.#view.setUint32(at, value);
    return this;
  }
  u48(value: number): this {
    const at = this.#room(6);
    this.#view.setUint16(at, Math.floor(value / 0x1_0000_0000));
    this.#view.setUint32(at + 2, value % 0x1_0000_0000);
    return this;
  }
  u64(value: bigint): this {
    const at = this.#room(8);
    this.#view.setBigUint64(at, value);
    return this;
  }
  u128(value: bigint): this {
    const at = this.#room(16);
    this.#view.setBigUint64(at, value >> 64n);
    this.#view.setBigUint64(at + 8, BigInt.asUintN(64, value));
    return this;
  }
  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }
  zeros(n: number): this {
    const at = this.#room(n);
    this.#bytes.fill(0, at, at + n);
    return this;
  }
  /** Zeros up to the next multiple of `unit` bytes, counted from `start`. */
  align(unit: number, start = 0): this {
    const over = (this.length - start) % unit;
    return over ? this.zeros(unit - over) : this;
  }
  patchU8(at: number, value: number): void {
    this.#view.setUint8(at, value);
  }
  patchU16(at: number, value: number): void {
    this.#view.setUint16(at, value);
  }
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value);
  }
  reset(): void {
    this.length = 0;
  }
  view(from = 0): Uint8Array {
    return this.#bytes.subarray(from, this.length);
  }
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}

/** `00ff` and the like; spaces and colons are passed over. Throws `DecodeError('bad-text')`. */
export function parseHex(text: string): Uint8Array {
  const clean = text.replace(/[\s:]/g, '');
  if (clean.length % 2 !== 0 || /[^0-9a-fA-F]/.test(clean))
    throw new DecodeError('bad-text', 0, 'hex', 'pairs of hex digits wanted');
  return new Uint8Array(Buffer.from(clean, 'hex'));
}

export function formatHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
