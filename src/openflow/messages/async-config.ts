import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { OF14 } from '../version.ts';
import { type Codec, emptyCodec, readProperties, writeProperty } from './codec.ts';

/**
 * Which asynchronous messages a controller gets (1.3.5 §7.3.10, 1.4.1 §7.3.10, Nicira's NXT_SET_ASYNC_CONFIG).
 *
 *  1.0, 1.3: packet-in(4) for primary and equal, (4) for secondary; port status(4)(4); flow removed(4)(4)
 *  1.4:      properties of type 2n for secondary and 2n+1 for primary and equal, each with a mask(4);
 *            n: 0 packet-in, 1 port status, 2 flow removed, 3 role status, 4 table status, 5 request forward
 */
export interface AsyncMasks {
  /** Bit n: messages with reason n. [primary or equal, secondary] */
  readonly packetIn?: readonly [number, number];
  readonly portStatus?: readonly [number, number];
  readonly flowRemoved?: readonly [number, number];
  /** The rest: 1.4 and later. */
  readonly roleStatus?: readonly [number, number];
  readonly tableStatus?: readonly [number, number];
  readonly requestForward?: readonly [number, number];
  readonly unknown?: readonly Uint8Array[];
}
export interface GetAsyncRequest {
  readonly kind: 'getAsyncRequest';
}
export interface GetAsyncReply extends AsyncMasks {
  readonly kind: 'getAsyncReply';
}
export interface SetAsync extends AsyncMasks {
  readonly kind: 'setAsync';
}

const NAMES = ['packetIn', 'portStatus', 'flowRemoved', 'roleStatus', 'tableStatus', 'requestForward'] as const;

function readMasks(reader: ByteReader, version: number): AsyncMasks {
  if (version < OF14) {
    const pair = (name: string): [number, number] => [reader.u32(name), reader.u32(name)];
    return { packetIn: pair('packet-in'), portStatus: pair('port status'), flowRemoved: pair('flow removed') };
  }
  const out: { -readonly [N in (typeof NAMES)[number]]?: [number, number] } = {};
  const unknown: Uint8Array[] = [];
  for (const { type, body, whole } of readProperties(reader)) {
    const name = NAMES[type >> 1];
    if (!name || body.remaining !== 4) {
      unknown.push(whole);
      continue;
    }
    out[name] ??= [0, 0];
    out[name][1 - (type & 1)] = body.u32('mask');
  }
  return unknown.length > 0 ? { ...out, unknown } : out;
}

function writeMasks(w: ByteWriter, masks: AsyncMasks, version: number): void {
  if (version < OF14) {
    for (const name of NAMES.slice(0, 3)) w.u32(masks[name]?.[0] ?? 0).u32(masks[name]?.[1] ?? 0);
    return;
  }
  for (const [index, name] of NAMES.entries()) {
    const pair = masks[name];
    if (!pair) continue;
    writeProperty(w, 2 * index, (p) => p.u32(pair[1]));
    writeProperty(w, 2 * index + 1, (p) => p.u32(pair[0]));
  }
  for (const bytes of masks.unknown ?? []) w.raw(bytes);
}

export const getAsyncRequestCodec: Codec<GetAsyncRequest> = emptyCodec('getAsyncRequest');
export const getAsyncReplyCodec: Codec<GetAsyncReply> = {
  decode: (r, version) => ({ kind: 'getAsyncReply', ...readMasks(r, version) }),
  encode: writeMasks,
};
export const setAsyncCodec: Codec<SetAsync> = {
  decode: (r, version) => ({ kind: 'setAsync', ...readMasks(r, version) }),
  encode: writeMasks,
};
