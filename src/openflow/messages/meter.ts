import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { Codec } from './codec.ts';

/**
 * Meter mod (1.3.5 §7.3.4.4).
 *  +-------------------------------+-------------------------------+
 *  |            command            |             flags             |
 *  +-------------------------------+-------------------------------+
 *  |                            meter                              |
 *  +---------------------------------------------------------------+
 *  |  bands: type(2) len(2) rate(4) burst(4), then drop: 0(4); remark: level(1) 0(3); experimenter: id(4) data
 */
export interface MeterMod {
  readonly kind: 'meterMod';
  /** One of `METER_COMMAND`. */
  readonly command: number;
  /** `METER_FLAG` bits. */
  readonly flags: number;
  readonly meter: number;
  readonly bands: readonly Band[];
}

/** `rate` and `burst` in kilobits (a second) or packets (a second), as the meter's flags say. */
export interface Band {
  readonly type: number;
  readonly rate: number;
  readonly burst: number;
  /** Remark: drop precedence to add. */
  readonly precedence?: number;
  /** Types that we do not know: what follows the burst. */
  readonly data?: Uint8Array;
}

export const METER_COMMAND = { add: 0, modify: 1, delete: 2 } as const;
export const METER_FLAG = { kbps: 1, packets: 2, burst: 4, stats: 8 } as const;
export const BAND_TYPE = { drop: 1, dscpRemark: 2, experimenter: 0xffff } as const;
/** `controller` meters what goes to controllers, `slowPath` what the datapath hands up. */
export const METER = { slowPath: 0xffff_fffd, controller: 0xffff_fffe, all: 0xffff_ffff } as const;

export const meterModCodec: Codec<MeterMod> = {
  decode: (r) => ({
    kind: 'meterMod',
    command: r.u16('command'),
    flags: r.u16('flags'),
    meter: r.u32('meter'),
    bands: readBands(r),
  }),
  encode(w, body) {
    w.u16(body.command).u16(body.flags).u32(body.meter);
    writeBands(w, body.bands);
  },
};

export function readBands(reader: ByteReader): Band[] {
  const bands: Band[] = [];
  while (reader.remaining > 0) {
    const type = reader.u16('band type');
    const length = reader.u16('band length');
    if (length < 12) reader.fail('bad-length', 'band length', `${length}`);
    const r = reader.sub(length - 4, 'band');
    const common = { type, rate: r.u32('rate'), burst: r.u32('burst') };
    if (type === BAND_TYPE.drop && length === 16) bands.push(common);
    else if (type === BAND_TYPE.dscpRemark && length === 16) bands.push({ ...common, precedence: r.u8('precedence') });
    else bands.push({ ...common, data: r.rest().slice() });
  }
  return bands;
}

export function writeBands(w: ByteWriter, bands: readonly Band[]): void {
  for (const band of bands) {
    w.u16(band.type).u16(band.data ? 12 + band.data.length : 16);
    w.u32(band.rate).u32(band.burst);
    if (band.data) w.raw(band.data);
    else w.u8(band.precedence ?? 0).zeros(3);
  }
}
