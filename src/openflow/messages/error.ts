import { errorName } from '../errors.ts';
import type { Codec } from './codec.ts';

/**
 * Error (1.0 §5.4.4, 1.3.5 §7.5.4).
 *  +-------------------------------+-------------------------------+
 *  |             type              |             code              |
 *  +-------------------------------+-------------------------------+
 *  |  data: at least the first 64 bytes of the message that failed
 *
 * Experimenter errors: type 0xffff, `code` is the experimenter's type, its id (4) precedes the data. In OpenFlow 1.0
 * Open vSwitch wraps its own as type 0xb0c2, code 0, then vendor (4), type (2), code (2).
 */
export interface ErrorMessage {
  readonly kind: 'error';
  readonly type: number;
  readonly code: number;
  /** The experimenter that defines type and code; absent for OpenFlow's own. */
  readonly experimenter?: number;
  /** `OFPFMFC_TABLE_FULL` and the like; derived when decoding, ignored when encoding. */
  readonly name: string;
  readonly data: Uint8Array;
}

const EXPERIMENTER = 0xffff;
const NXET_VENDOR = 0xb0c2;

export const errorCodec: Codec<ErrorMessage> = {
  decode(reader, version) {
    const type = reader.u16('error type');
    const code = reader.u16('error code');
    if (type === EXPERIMENTER) {
      const experimenter = reader.u32('experimenter');
      const name = errorName(version, type, code, experimenter);
      return { kind: 'error', type, code, experimenter, name, data: reader.rest() };
    }
    if (type === NXET_VENDOR && code === 0 && reader.remaining >= 8) {
      const experimenter = reader.u32('vendor');
      const [type, code] = [reader.u16('vendor error type'), reader.u16('vendor error code')];
      const name = errorName(version, type, code, experimenter);
      return { kind: 'error', type, code, experimenter, name, data: reader.rest() };
    }
    return { kind: 'error', type, code, name: errorName(version, type, code), data: reader.rest() };
  },
  encode(writer, body) {
    if (body.experimenter === undefined) writer.u16(body.type).u16(body.code);
    else if (body.type === EXPERIMENTER) writer.u16(EXPERIMENTER).u16(body.code).u32(body.experimenter);
    else writer.u16(NXET_VENDOR).u16(0).u32(body.experimenter).u16(body.type).u16(body.code);
    writer.raw(body.data);
  },
};
