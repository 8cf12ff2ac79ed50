import { OF14 } from '../version.ts';
import type { Codec } from './codec.ts';

/**
 * Table mod and status, and request forwarding (1.3.5 §7.3.3, 1.4.1 §7.3.3, §7.4.5-6).
 *
 *  mod:     table(1) 0(3) config(4); 1.4: properties
 *  status:  reason(1) 0(7) table description
 *  forward: a whole message: the group or meter mod of another controller
 */
export interface TableMod {
  readonly kind: 'tableMod';
  readonly table: number;
  readonly config: number;
  readonly properties?: Uint8Array;
}
export interface TableStatus {
  readonly kind: 'tableStatus';
  readonly reason: number;
  /** As in the table description multipart. */
  readonly description: Uint8Array;
}
export interface RequestForward {
  readonly kind: 'requestForward';
  readonly message: Uint8Array;
}

export const tableModCodec: Codec<TableMod> = {
  decode(r, version) {
    const table = r.u8('table');
    r.skip(3, 'padding');
    const base = { kind: 'tableMod', table, config: r.u32('config') } as const;
    return version >= OF14 && r.remaining > 0 ? { ...base, properties: r.rest().slice() } : base;
  },
  encode(w, body) {
    w.u8(body.table).zeros(3).u32(body.config);
    if (body.properties) w.raw(body.properties);
  },
};

export const tableStatusCodec: Codec<TableStatus> = {
  decode(r) {
    const reason = r.u8('reason');
    r.skip(7, 'padding');
    return { kind: 'tableStatus', reason, description: r.rest().slice() };
  },
  encode: (w, body) => void w.u8(body.reason).zeros(7).raw(body.description),
};

export const requestForwardCodec: Codec<RequestForward> = {
  decode: (r) => ({ kind: 'requestForward', message: r.rest().slice() }),
  encode: (w, body) => void w.raw(body.message),
};
