import { OF10, OF15 } from '../version.ts';
import type { Codec } from './codec.ts';

/**
 * Roles of controllers (1.3.5 §7.3.9, 1.4.1 §7.4.4). 1.0: Nicira's messages, which have the role alone and count from
 * "equal" = 0; here a role is numbered as in 1.3 for every version.
 *
 *  request, reply: role(4) 0(4) generation(8); 1.5: short id(2) 0(2) in place of the 0
 *  status:         role(4) reason(1) 0(3) generation(8) properties
 */
export interface RoleRequest {
  readonly kind: 'roleRequest';
  /** One of `ROLE`. */
  readonly role: number;
  readonly generation: bigint;
  readonly shortId?: number;
}
export interface RoleReply {
  readonly kind: 'roleReply';
  readonly role: number;
  readonly generation: bigint;
  readonly shortId?: number;
}
export interface RoleStatus {
  readonly kind: 'roleStatus';
  readonly role: number;
  readonly reason: number;
  readonly generation: bigint;
  readonly properties?: Uint8Array;
}

export const ROLE = { noChange: 0, equal: 1, primary: 2, secondary: 3 } as const;

function roleCodec<K extends 'roleRequest' | 'roleReply'>(
  kind: K,
): Codec<{ kind: K; role: number; generation: bigint; shortId?: number }> {
  return {
    decode(r, version) {
      if (version === OF10) return { kind, role: r.u32('role') + 1, generation: 0n };
      const role = r.u32('role');
      const shortId = r.u16('short id');
      r.skip(2, 'padding');
      const generation = r.u64('generation');
      return version >= OF15 && shortId !== 0 ? { kind, role, generation, shortId } : { kind, role, generation };
    },
    encode(w, body, version) {
      if (version === OF10) w.u32(body.role - 1);
      else
        w.u32(body.role)
          .u16(body.shortId ?? 0)
          .u16(0)
          .u64(body.generation);
    },
  };
}

export const roleRequestCodec: Codec<RoleRequest> = roleCodec('roleRequest');
export const roleReplyCodec: Codec<RoleReply> = roleCodec('roleReply');

export const roleStatusCodec: Codec<RoleStatus> = {
  decode(r) {
    const [role, reason] = [r.u32('role'), r.u8('reason')];
    r.skip(3, 'padding');
    const base = { kind: 'roleStatus', role, reason, generation: r.u64('generation') } as const;
    const properties = r.rest();
    return properties.length > 0 ? { ...base, properties: properties.slice() } : base;
  },
  encode(w, body) {
    w.u32(body.role).u8(body.reason).zeros(3).u64(body.generation);
    if (body.properties) w.raw(body.properties);
  },
};
