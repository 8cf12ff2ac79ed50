import { readActions, writeActions } from '../actions.ts';
import type { Action, Match } from '../flow.ts';
import { readMatch, writeMatch } from '../match.ts';
import { widePort } from '../oxm.ts';
import { OF10, OF15 } from '../version.ts';
import type { Codec } from './codec.ts';

/**
 * Packet out (1.0 §5.3.6, 1.3.5 §7.3.7, 1.5.1 §7.3.6).
 *
 *  1.0: buffer(4) in_port(2) actions_len(2) actions frame
 *  1.3: buffer(4) in_port(4) actions_len(2) 0(6) actions frame
 *  1.5: buffer(4) actions_len(2) 0(2) ofp_match actions frame
 */
export interface PacketOut {
  readonly kind: 'packetOut';
  readonly bufferId?: number;
  /** `in_port`; in 1.5 other pipeline fields too. */
  readonly match: Match;
  readonly actions: readonly Action[];
  readonly frame: Uint8Array;
}

const NO_BUFFER = 0xffff_ffff;

export const packetOutCodec: Codec<PacketOut> = {
  decode(r, version) {
    const bufferId = r.u32('buffer');
    let match: Match = {};
    if (version < OF15) match = { in_port: version === OF10 ? widePort(r.u16('in_port')) : r.u32('in_port') };
    const length = r.u16('actions length');
    if (version !== OF10) r.skip(version >= OF15 ? 2 : 6, 'padding');
    if (version >= OF15) match = readMatch(r);
    const actions = readActions(r.sub(length, 'actions'), version);
    const common = { match, actions, frame: r.rest() };
    return { kind: 'packetOut', ...(bufferId === NO_BUFFER ? {} : { bufferId }), ...common };
  },
  encode(w, body, version) {
    w.u32(body.bufferId ?? NO_BUFFER);
    const inPort = Number(
      typeof body.match.in_port === 'object' ? body.match.in_port.value : (body.match.in_port ?? 0),
    );
    if (version === OF10) w.u16(inPort);
    else if (version < OF15) w.u32(inPort);
    const lengthAt = w.length;
    w.u16(0);
    if (version !== OF10) w.zeros(version >= OF15 ? 2 : 6);
    if (version >= OF15) writeMatch(w, body.match, version);
    const start = w.length;
    writeActions(w, version, body.actions);
    w.patchU16(lengthAt, w.length - start);
    w.raw(body.frame);
  },
};
