import { parseIp } from '../../base/addresses.ts';
import type { Match } from '../../openflow/flow.ts';
import {
  DNS_PORT,
  IPV4,
  IPV6,
  match,
  NEIGHBOUR_ANSWERS,
  PROTO,
  type Registers,
  UDP4,
  UDP6,
  VERDICT,
} from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, neighboursIndex, type Reader } from '../inputs.ts';
import { announced4 } from './neighbour.ts';
import { ANCHOR, ARRIVE, LEAVE, OWN, TTL } from './router-base.ts';
import { VERDICTS } from './verdict.ts';

/**
 * Who asks too much of the agent is not heard for a while (docs/design/gateways.md, §8): what comes from there has it noted in its registers from the
 * start, and beside each flow that would tell the agent stands one that does not. They are there only while somebody is held back.
 */
export function heldBack(reader: Reader, id: string): Registers {
  const held = reader.get('heldBack', id);
  if (held === undefined) return {};
  return { ...(held.errors ? { noErrors: 1 } : {}), ...(held.hops ? { noHops: 1 } : {}) };
}

export const heldBackUnit = define.unit({
  name: 'heldBack',
  over: 'heldBack',
  run: () => {
    const quiet = { noErrors: 1 };
    return [
      ...[IPV4, IPV6].flatMap((ip) => [
        ...[PROTO.udp, PROTO.tcp].map((protocol) =>
          flow('own', OWN.agent + 1, match({ forRouter: 1, ...quiet }, { ...ip, ip_proto: protocol }), { drop: 'own' }),
        ),
        ...[0, 1].map((hops) => flow('ttl', TTL.over + 1, match(quiet, { ...ip, ip_ttl: hops }), { drop: 'ttl' })),
        flow('anchor', ANCHOR.tooBig + 1, match({ tooBig: 1, ...quiet }, ip), { drop: 'too-big' }),
        flow('leave', LEAVE.tooBig + 1, match({ tooBig: 1, ...quiet }, ip), { drop: 'too-big' }),
      ]),
      flow('route', 0, match({ reverse: 0, ...quiet }), { drop: 'no-route' }),
      ...(['fromVerdict', 'inVerdict', 'outVerdict', 'toVerdict'] as const).map((table) =>
        flow(table, VERDICTS.reject + 1, match({ verdict: VERDICT.reject, ...quiet }), { drop: 'rejected' }),
      ),
      flow('arrive', ARRIVE.unknown + 1, match({ scratchMacLow: 0, scratchMacHigh: 0, noHops: 1 }), {
        drop: 'no-neighbour',
      }),
    ];
  },
});

/** In `classify`, above the ways into the pipeline: other ports' frames never meet these matches. */
const TALK = 950;

/**
 * Who talks too much to the agent is not heard by anybody in that: the sorts of frames are dropped where they come in, so that other ports of the
 * host keep the meters that they share with it. (What it answers to checks: probe.ts.)
 */
export const heldTalkUnit = define.unit({
  name: 'heldTalk',
  over: 'heldBack',
  run(reader, id) {
    const ofport = reader.get('heldBack', id)?.talk ? reader.pick('interface', id, 'ofport') : undefined;
    if (ofport === undefined) return [];
    const sorts = [
      ...[...NEIGHBOUR_ANSWERS, { ...UDP4, udp_dst: DNS_PORT }, { ...UDP6, udp_dst: DNS_PORT }],
      ...announcements(reader, id),
    ];
    return sorts.map((sort) => flow('classify', TALK, { in_port: ofport, ...sort }, { drop: 'agent' }));
  },
});

/** Of addresses that routers use on the port's switch, by ARP requests; those of IPv6 are answers. */
function announcements(reader: Reader, port: string): Match[] {
  const onSwitch = reader.pick('port', port, 'switch');
  if (onSwitch === undefined) return [];
  return reader.ids(neighboursIndex, onSwitch).flatMap((id) => {
    const ip = parseIp(reader.pick('neighbour', id, 'address')!);
    return ip?.version === 4 ? [announced4(ip.value)] : [];
  });
}
