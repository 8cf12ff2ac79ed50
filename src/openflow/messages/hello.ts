import { type Codec, emptyCodec } from './codec.ts';

/**
 * Hello (1.3.5 §7.5.1) and echo.
 *
 * A hello's body is a list of elements; type 1 is a bitmap of versions, word by word from version 0:
 *  +-------------------------------+-------------------------------+
 *  |             type              |  length, padding not counted  |
 *  +-------------------------------+-------------------------------+
 *  |  bitmaps (4 each), padding to 8
 */
export interface Hello {
  readonly kind: 'hello';
  /** Versions by wire number, ascending. Absent in the bare hello of 1.0: whatever the header's version says. */
  readonly versions?: readonly number[];
  /** Elements that we do not know, whole. */
  readonly unknown?: Uint8Array;
}

export interface EchoRequest {
  readonly kind: 'echoRequest';
  readonly data: Uint8Array;
}
export interface EchoReply {
  readonly kind: 'echoReply';
  readonly data: Uint8Array;
}
export interface BarrierRequest {
  readonly kind: 'barrierRequest';
}
export interface BarrierReply {
  readonly kind: 'barrierReply';
}

const VERSION_BITMAP = 1;

export const helloCodec: Codec<Hello> = {
  decode(reader) {
    if (reader.remaining < 4)
      return reader.remaining > 0 ? { kind: 'hello', unknown: reader.rest() } : { kind: 'hello' };
    const start = reader.offset;
    const type = reader.u16('hello element');
    const length = reader.u16('hello element length');
    if (type !== VERSION_BITMAP || length < 8 || length % 4 !== 0) {
      reader.offset = start;
      return { kind: 'hello', unknown: reader.rest() };
    }
    const versions: number[] = [];
    for (let word = 0; word < (length - 4) / 4; word++) {
      const bits = reader.u32('version bitmap');
      for (let bit = 0; bit < 32; bit++) if ((bits >>> bit) & 1) versions.push(word * 32 + bit);
    }
    reader.skip(Math.min(reader.remaining, (8 - (length % 8)) % 8), 'padding');
    const rest = reader.rest();
    return rest.length > 0 ? { kind: 'hello', versions, unknown: rest } : { kind: 'hello', versions };
  },
  encode(writer, body) {
    if (body.versions) {
      const words = Math.max(1, Math.ceil((Math.max(...body.versions, 0) + 1) / 32));
      const start = writer.length;
      writer.u16(VERSION_BITMAP).u16(4 + 4 * words);
      for (let word = 0; word < words; word++) {
        let bits = 0;
        for (const version of body.versions) if (version >> 5 === word) bits |= 1 << (version & 31);
        writer.u32(bits >>> 0);
      }
      writer.align(8, start);
    }
    if (body.unknown) writer.raw(body.unknown);
  },
};

export const echoRequestCodec: Codec<EchoRequest> = {
  decode: (reader) => ({ kind: 'echoRequest', data: reader.rest() }),
  encode: (writer, body) => void writer.raw(body.data),
};

export const echoReplyCodec: Codec<EchoReply> = {
  decode: (reader) => ({ kind: 'echoReply', data: reader.rest() }),
  encode: (writer, body) => void writer.raw(body.data),
};

export const barrierRequestCodec: Codec<BarrierRequest> = emptyCodec('barrierRequest');
export const barrierReplyCodec: Codec<BarrierReply> = emptyCodec('barrierReply');
