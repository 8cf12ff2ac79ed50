import { OF10 } from '../version.ts';
import { type Codec, emptyCodec } from './codec.ts';
import { type Port, readPort, writePort } from './port.ts';

/**
 * Features and configuration of a switch (1.0 §5.3.1-2, 1.3.5 §7.3.1-2).
 *
 *  features reply: datapath id(8) buffers(4) tables(1) auxiliary id(1) 0(2) capabilities(4)
 *                  1.0: actions(4) ports; later: reserved(4)
 *  config:         flags(2) miss_send_len(2)
 */
export interface FeaturesRequest {
  readonly kind: 'featuresRequest';
}
export interface FeaturesReply {
  readonly kind: 'featuresReply';
  readonly datapathId: bigint;
  readonly buffers: number;
  readonly tables: number;
  readonly auxiliaryId: number;
  readonly capabilities: number;
  /** 1.0: bit n says that action type n is supported. Later: reserved. */
  readonly actions: number;
  /** 1.0 only; later there is the port description multipart. */
  readonly ports?: readonly Port[];
}
export interface GetConfigRequest {
  readonly kind: 'getConfigRequest';
}
export interface GetConfigReply {
  readonly kind: 'getConfigReply';
  readonly flags: number;
  readonly missSendLength: number;
}
/**
 * The low two bits of the configuration's flags: what becomes of IP fragments. `nxMatch` is Open vSwitch's: flows see the ports of a
 * first fragment, where `normal` hides them (`ovs-ofctl(8)`, set-frags).
 */
export const FRAGMENTS = { normal: 0, drop: 1, reassemble: 2, nxMatch: 3 } as const;

export interface SetConfig {
  readonly kind: 'setConfig';
  /** Of `FRAGMENTS`. */
  readonly flags: number;
  readonly missSendLength: number;
}

export const featuresRequestCodec: Codec<FeaturesRequest> = emptyCodec('featuresRequest');
export const getConfigRequestCodec: Codec<GetConfigRequest> = emptyCodec('getConfigRequest');

export const featuresReplyCodec: Codec<FeaturesReply> = {
  decode(r, version) {
    const datapathId = r.u64('datapath id');
    const [buffers, tables, auxiliaryId] = [r.u32('buffers'), r.u8('tables'), r.u8('auxiliary id')];
    r.skip(2, 'padding');
    const [capabilities, actions] = [r.u32('capabilities'), r.u32('actions')];
    const base = { kind: 'featuresReply', datapathId, buffers, tables, auxiliaryId, capabilities, actions } as const;
    if (version !== OF10) return base;
    const ports: Port[] = [];
    while (r.remaining > 0) ports.push(readPort(r, version));
    return { ...base, ports };
  },
  encode(w, body, version) {
    w.u64(body.datapathId).u32(body.buffers).u8(body.tables).u8(body.auxiliaryId).u16(0);
    w.u32(body.capabilities).u32(body.actions);
    if (version === OF10) for (const port of body.ports ?? []) writePort(w, port, version);
  },
};

export const getConfigReplyCodec: Codec<GetConfigReply> = {
  decode: (r) => ({ kind: 'getConfigReply', flags: r.u16('flags'), missSendLength: r.u16('miss_send_len') }),
  encode: (w, body) => void w.u16(body.flags).u16(body.missSendLength),
};

export const setConfigCodec: Codec<SetConfig> = {
  decode: (r) => ({ kind: 'setConfig', flags: r.u16('flags'), missSendLength: r.u16('miss_send_len') }),
  encode: (w, body) => void w.u16(body.flags).u16(body.missSendLength),
};
