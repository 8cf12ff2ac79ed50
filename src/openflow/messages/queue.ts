import { widePort } from '../oxm.ts';
import { OF10 } from '../version.ts';
import type { Codec } from './codec.ts';

/**
 * Queue configuration of a port (1.0 §5.3.4, 1.3.5 §7.3.6); 1.4 has the queue description multipart instead.
 *
 *  request: port(2 in 1.0, else 4) 0(2 or 4)
 *  reply:   port(2 or 4) 0(6 or 4) queues: id(4), in 1.3 port(4), len(2) 0(2 or 6) properties
 */
export interface QueueGetConfigRequest {
  readonly kind: 'queueGetConfigRequest';
  readonly port: number;
}
export interface QueueGetConfigReply {
  readonly kind: 'queueGetConfigReply';
  readonly port: number;
  /** The queues, as on the wire. */
  readonly queues: Uint8Array;
}

export const queueGetConfigRequestCodec: Codec<QueueGetConfigRequest> = {
  decode(r, version) {
    const port = version === OF10 ? widePort(r.u16('port')) : r.u32('port');
    r.skip(version === OF10 ? 2 : 4, 'padding');
    return { kind: 'queueGetConfigRequest', port };
  },
  encode(w, body, version) {
    if (version === OF10) w.u16(body.port).u16(0);
    else w.u32(body.port).u32(0);
  },
};

export const queueGetConfigReplyCodec: Codec<QueueGetConfigReply> = {
  decode(r, version) {
    const port = version === OF10 ? widePort(r.u16('port')) : r.u32('port');
    r.skip(version === OF10 ? 6 : 4, 'padding');
    return { kind: 'queueGetConfigReply', port, queues: r.rest().slice() };
  },
  encode(w, body, version) {
    if (version === OF10) w.u16(body.port).zeros(6);
    else w.u32(body.port).u32(0);
    w.raw(body.queues);
  },
};
