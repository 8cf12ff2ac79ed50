import type { Contribution } from '../../incremental/definitions.ts';
import { once } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import {
  CT_FLAGS,
  INVALID,
  IPV4,
  IPV6,
  load,
  match,
  move,
  moveMacToScratch,
  moveScratchToMac,
  TRACKED_FLAGS,
  VALID,
} from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define } from '../inputs.ts';
import { TABLES } from '../tables.ts';
import {
  destinationTranslated,
  KNOWN,
  later,
  marked,
  sourceTranslated,
  track,
  translateInPlace,
  untouched,
  zoneOf,
} from '../translation.ts';
import { admissionBase } from './admission.ts';
import { ANCHORED } from './anchor.ts';
import { MEMBER } from './balancer.ts';
import { LOOKUP } from './base.ts';
import { handOffBase } from './hand-off.ts';
import { nextHopFrom4, nextHopFrom6 } from './router-base.ts';
import { SNATTED } from './snat.ts';
import { FROM_VIP } from './to-port.ts';
import { TRACKED } from './track.ts';
import { backToSender, VIP } from './vip.ts';

/** What address translation does alike for all balancers, routers and ports: who it is for is in registers. */
export const translationUnit = define.unit({
  name: 'translation',
  over: once,
  run: () => [...vipBase(), ...anchorBase(), ...handOffBase(), ...snatBase(), ...admissionBase()],
});

function vipBase(): Contribution[] {
  // A member on this switch gets the frame without a router; where it is not known the frame goes on to the router that it was sent to.
  const toMember: Action[] = [
    ...moveMacToScratch('eth_dst'),
    { kind: 'resubmit', table: TABLES.resolve.number },
    ...moveScratchToMac('eth_dst'),
  ];
  const towards4 = [...nextHopFrom4('ip_dst'), ...toMember];
  const towards6 = [...nextHopFrom6('ipv6_dst'), ...toMember];
  return [
    flow('vip', VIP.translated, match({ viaVip: 1 }, IPV4), { do: towards4, goto: 'track' }),
    flow('vip', VIP.translated, match({ viaVip: 1 }, IPV6), { do: towards6, goto: 'track' }),
    // What a flow of `member` has translated and asked the zone of the client's port about in one pass.
    flow('tracked', TRACKED.translated, match({ viaVip: 1 }, IPV4), { do: [...towards4, remember], goto: 'fromGroup' }),
    flow('tracked', TRACKED.translated, match({ viaVip: 1 }, IPV6), { do: [...towards6, remember], goto: 'fromGroup' }),
    ...[IPV4, IPV6].map((ip) =>
      flow('member', MEMBER.closed, match({ viaVip: 1, memberVip: 0, inZone: 0 }, ip), { drop: 'invalid' }),
    ),
    ...[IPV4, IPV6].map((ip) =>
      flow('vip', VIP.untouched, match({ viaVip: 1 }, { ...ip, ...untouched }), {
        do: load({ viaVip: 0 }),
        goto: 'track',
      }),
    ),
    ...[IPV4, IPV6].flatMap(repliesOf),
    // Only what goes back to its sender has been told so early whom it is for.
    flow('lookup', LOOKUP.self, match({ outTracked: 1 }), { goto: 'toPort' }),
  ];
}

const UN_VIP = { outside: 200, selfCall: 100 } as const;

/** What answers to a VIP gets its source back. */
function repliesOf(ip: Match): Contribution[] {
  const isReply = (mark: 'viaVip' | 'memberVip'): Match => ({ ...ip, ...VALID, ...marked(mark) });
  const mac = { from: 0, bits: 48 } as const;
  return [
    // A client outside: its member answers as the VIP.
    flow('unVip', UN_VIP.outside, match({ isReply: 1 }, isReply('memberVip')), {
      do: [...zoneOf('inZone', 'vip'), track('answer', undefined, KNOWN)],
    }),
    // The sender answers itself: as a client it has this connection through a VIP, so that it is the server too. The frame returns to it
    // as it came in its zone, and is turned back behind that, first in the zone of such calls, then in that of VIPs.
    flow('unVip', UN_VIP.selfCall, match({ isReply: 1 }, isReply('viaVip')), {
      do: [move({ field: 'eth_src', ...mac }, { field: 'eth_dst', ...mac }), ...load({ viaVip: 1 }), ...backToSender],
      goto: 'answer',
    }),
    flow('fromVip', FROM_VIP.selfCall, match({ viaVip: 1, outTracked: 1, isReply: 1 }, isReply('viaVip')), {
      do: [...zoneOf('outZone', 'selfCall', { viaVip: 0 }), track('fromVip', undefined, KNOWN)],
    }),
    // Nothing is asked of it any more, but where copies are chosen by what they are (units/to-port.ts).
    flow('fromVip', FROM_VIP.vip, match({ outTracked: 1, isReply: 1 }, isReply('viaVip')), {
      do: [...zoneOf('outZone', 'vip'), translateInPlace(KNOWN)],
      goto: 'deliver',
    }),
  ];
}

const remember = move(CT_FLAGS, TRACKED_FLAGS);
/** Once translated, the zone of its sender does not know it any more. */
const admitted = load({ admitted: 1 });

function anchorBase(): Contribution[] {
  return [
    // What this zone said of the connection is what chains ask from here on.
    flow('anchored', ANCHORED.translated, destinationTranslated, { do: [remember, ...admitted], goto: 'inChain' }),
    ...[IPV4, IPV6].map((ip) => flow('anchored', ANCHORED.later, { ...ip, ...later }, { drop: 'not-translated' })),
    // To a floating address or a VIP: what can begin no connection.
    flow('anchored', 0, {}, { drop: 'invalid' }),
  ];
}

function snatBase(): Contribution[] {
  return [
    flow('snatted', SNATTED.translated, sourceTranslated, { do: [remember, ...admitted], goto: 'next' }),
    flow('snatted', SNATTED.reply, match({ isReply: 1 }), { goto: 'next' }),
    flow('snatted', SNATTED.reply, match({ own: 1 }), { goto: 'next' }),
    flow('snatted', SNATTED.invalid, INVALID, { drop: 'invalid' }),
  ];
}
