import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { type Codec, emptyCodec } from './codec.ts';

/** Nicira's own messages (Open vSwitch `nicira-ext`), all behind an experimenter header; packet-in forms are elsewhere. */

/** Asks for packet-ins in one of `PACKET_IN_FORMAT`: format(4). */
export interface SetPacketInFormat {
  readonly kind: 'setPacketInFormat';
  readonly format: number;
}
export const PACKET_IN_FORMAT = { standard: 0, nxt: 1, nxt2: 2 } as const;

/** 1.0: whether the upper byte of a flow mod's command is a table: 0(1 to 7) set(1). */
export interface FlowModTableId {
  readonly kind: 'flowModTableId';
  readonly on: boolean;
}

/** The id that controller actions name this connection by: 0(6) id(2). */
export interface SetControllerId {
  readonly kind: 'setControllerId';
  readonly id: number;
}

/** Flushes a connection-tracking zone: 0(6) zone(2). */
export interface CtFlushZone {
  readonly kind: 'ctFlushZone';
  readonly zone: number;
}

/**
 * Which tunnel option (Geneve TLV) is which `tun_metadataN`.
 *  mod:   command(2) 0(6) maps;  reply: option space(4) fields(2) 0(10) maps
 *  map:   option class(2) type(1) length(1, a multiple of 4) index(2) 0(2)
 */
export interface TlvTableMod {
  readonly kind: 'tlvTableMod';
  /** One of `TLV_COMMAND`. */
  readonly command: number;
  readonly maps: readonly TlvMap[];
}
export interface TlvTableRequest {
  readonly kind: 'tlvTableRequest';
}
export interface TlvTableReply {
  readonly kind: 'tlvTableReply';
  readonly maxOptionSpace: number;
  readonly maxFields: number;
  readonly maps: readonly TlvMap[];
}
export interface TlvMap {
  readonly optionClass: number;
  readonly optionType: number;
  /** Bytes of the option's value. */
  readonly optionLength: number;
  /** The N of `tun_metadataN`. */
  readonly index: number;
}
export const TLV_COMMAND = { add: 0, delete: 1, clear: 2 } as const;

export const setPacketInFormatCodec: Codec<SetPacketInFormat> = {
  decode: (r) => ({ kind: 'setPacketInFormat', format: r.u32('format') }),
  encode: (w, body) => void w.u32(body.format),
};

export const flowModTableIdCodec: Codec<FlowModTableId> = {
  decode(r) {
    const on = r.u8('table id on') !== 0;
    r.skip(7, 'padding');
    return { kind: 'flowModTableId', on };
  },
  encode: (w, body) => void w.u8(body.on ? 1 : 0).zeros(7),
};

export const setControllerIdCodec: Codec<SetControllerId> = {
  decode(r) {
    r.skip(6, 'padding');
    return { kind: 'setControllerId', id: r.u16('controller id') };
  },
  encode: (w, body) => void w.zeros(6).u16(body.id),
};

export const ctFlushZoneCodec: Codec<CtFlushZone> = {
  decode(r) {
    r.skip(6, 'padding');
    return { kind: 'ctFlushZone', zone: r.u16('zone') };
  },
  encode: (w, body) => void w.zeros(6).u16(body.zone),
};

function readMaps(r: ByteReader): TlvMap[] {
  const maps: TlvMap[] = [];
  while (r.remaining > 0) {
    maps.push({
      optionClass: r.u16('option class'),
      optionType: r.u8('option type'),
      optionLength: r.u8('option length'),
      index: r.u16('index'),
    });
    r.skip(2, 'padding');
  }
  return maps;
}

function writeMaps(w: ByteWriter, maps: readonly TlvMap[]): void {
  for (const m of maps) w.u16(m.optionClass).u8(m.optionType).u8(m.optionLength).u16(m.index).u16(0);
}

export const tlvTableRequestCodec: Codec<TlvTableRequest> = emptyCodec('tlvTableRequest');

export const tlvTableModCodec: Codec<TlvTableMod> = {
  decode(r) {
    const command = r.u16('command');
    r.skip(6, 'padding');
    return { kind: 'tlvTableMod', command, maps: readMaps(r) };
  },
  encode(w, body) {
    w.u16(body.command).zeros(6);
    writeMaps(w, body.maps);
  },
};

export const tlvTableReplyCodec: Codec<TlvTableReply> = {
  decode(r) {
    const [maxOptionSpace, maxFields] = [r.u32('option space'), r.u16('fields')];
    r.skip(10, 'padding');
    return { kind: 'tlvTableReply', maxOptionSpace, maxFields, maps: readMaps(r) };
  },
  encode(w, body) {
    w.u32(body.maxOptionSpace).u16(body.maxFields).zeros(10);
    writeMaps(w, body.maps);
  },
};
