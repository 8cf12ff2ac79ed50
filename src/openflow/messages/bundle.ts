import type { Codec } from './codec.ts';

/**
 * Bundles: messages that the switch applies all or none (1.5.1 §7.3.9; in 1.3 the ONF's extension 230, with the same
 * bodies behind an experimenter header).
 *
 *  control: bundle(4) type(2) flags(2) properties
 *  add:     bundle(4) 0(2) flags(2) a whole message with the same version and xid, then (padded to 8) properties
 */
export interface BundleControl {
  readonly kind: 'bundleControl';
  readonly bundle: number;
  /** One of `BUNDLE_CONTROL`. */
  readonly type: number;
  /** `BUNDLE_FLAG` bits. */
  readonly flags: number;
  readonly properties?: Uint8Array;
}
export interface BundleAdd {
  readonly kind: 'bundleAdd';
  readonly bundle: number;
  readonly flags: number;
  /** The message with its header, for `decodeMessage`. */
  readonly message: Uint8Array;
  /** Padding and properties behind it. */
  readonly properties?: Uint8Array;
}

export const BUNDLE_CONTROL = {
  openRequest: 0,
  openReply: 1,
  closeRequest: 2,
  closeReply: 3,
  commitRequest: 4,
  commitReply: 5,
  discardRequest: 6,
  discardReply: 7,
} as const;
export const BUNDLE_FLAG = { atomic: 1, ordered: 2 } as const;

export const bundleControlCodec: Codec<BundleControl> = {
  decode(r) {
    const base = {
      kind: 'bundleControl',
      bundle: r.u32('bundle'),
      type: r.u16('type'),
      flags: r.u16('flags'),
    } as const;
    const properties = r.rest();
    return properties.length > 0 ? { ...base, properties: properties.slice() } : base;
  },
  encode(w, body) {
    w.u32(body.bundle).u16(body.type).u16(body.flags);
    if (body.properties) w.raw(body.properties);
  },
};

export const bundleAddCodec: Codec<BundleAdd> = {
  decode(r) {
    const bundle = r.u32('bundle');
    r.skip(2, 'padding');
    const flags = r.u16('flags');
    const start = r.offset;
    r.skip(2, 'inner header');
    const length = r.u16('inner length');
    if (length < 8) r.fail('bad-length', 'inner length', `${length}`);
    r.offset = start;
    const message = r.take(length, 'inner message').slice();
    const properties = r.rest();
    const base = { kind: 'bundleAdd', bundle, flags, message } as const;
    return properties.length > 0 ? { ...base, properties: properties.slice() } : base;
  },
  encode(w, body) {
    w.u32(body.bundle).u16(0).u16(body.flags).raw(body.message);
    if (body.properties) w.raw(body.properties);
  },
};
