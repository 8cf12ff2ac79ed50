import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { waitForAgent } from '../facts.ts';
import {
  CT_FLAGS,
  CT_MARK,
  CT_STATE,
  IPV4,
  IPV6,
  load,
  match,
  move,
  PROTO,
  REGISTERS,
  SNAT_PORT_MARK,
  TRACKED_FLAGS,
  VALID,
} from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { routersFrom } from '../l2-gateway-ports.ts';
import { TABLES, type TableName } from '../tables.ts';
import {
  destinationTranslated,
  HELD_BACK,
  heldSegment,
  KNOWN,
  marked,
  portsFacing,
  sourceTranslated,
  track,
  trackHeld,
  translateInPlace,
  unmarked,
  zoneOf,
} from '../translation.ts';
import { COMMIT } from './track.ts';

/**
 * The first reply of a connection of an L2 gateway waits until its host has told another of the connection (docs/design/l2-gateways.md, §4).
 * Each zone that knows the connection is told for itself: what connection tracking knows there can be made again elsewhere. A mark says that it
 * was, so that no later packet is asked. Without an agent nothing waits: `pause` is empty then.
 *
 *   fromVerdict ─▶ commit ─┬─▶ unVip                       the zone of the port, of what it answers
 *                          └─(pause)─ct(mark)─▶ unVip
 *   toVerdict ─▶ toCommit  likewise                        … of what it is answered
 *   unVip, snat, anchor ─ct(nat)─▶ hold ─┬─▶ answer, snatted, anchored     zones that translate
 *                                        └─(pause)─ct(mark)─▶ …
 */

type Back = keyof typeof HELD_BACK;

const HOLD = { uncopied: 200, rest: 100 } as const;
/** In `unVip`, `snat` and `snatted`, before what is done for other ports. */
const HELD = { unVip: 210, snatReply: 1010, snatted: 1250 } as const;

/** What is told: both can be made again from addresses and ports. */
const TOLD: readonly Match[] = [IPV4, IPV6].flatMap((ip) =>
  [PROTO.tcp, PROTO.udp].map((ip_proto) => ({ ...ip, ip_proto })),
);
/** It was committed here, and its reply was not told of. */
const UNCOPIED: Match = { ...VALID, ...unmarked('copied') };
/** In the zone of a port; with which of the marks of virtual addresses. */
function keptUncopied(vip?: 'viaVip' | 'memberVip'): Match {
  const value = CT_MARK.kept | (vip === undefined ? 0 : CT_MARK[vip]);
  return { ...VALID, ct_mark: { value, mask: CT_MARK.kept | CT_MARK.copied | CT_MARK.viaVip | CT_MARK.memberVip } };
}

/**
 * In the mark of the connection that the packet is of. What conntrack said is not known behind it, so whoever asks for that has to be gone
 * around.
 */
function markIn(zone: number | typeof REGISTERS.inZone | typeof REGISTERS.outZone | typeof REGISTERS.natZone): Action {
  const exec: Action[] = [{ kind: 'setField', field: 'ct_mark', value: CT_MARK.copied, mask: CT_MARK.copied }];
  return { kind: 'ct', commit: true, zone, exec };
}

export const holdUnit = define.unit({
  name: 'hold',
  over: 'held',
  run(reader, id) {
    const key = reader.pick('port', id, 'key');
    const onSwitch = reader.pick('port', id, 'switch');
    if (key === undefined || onSwitch === undefined) return [];
    const isPaused = reader.pick('held', id, 'isPaused') === true;
    const pause = isPaused ? [waitForAgent] : [];
    const unVip = [
      ...zoneOf('inZone', 'vip', { segment: heldSegment('answer', isPaused) }),
      track('hold', undefined, KNOWN),
    ];
    return [
      ...TOLD.flatMap((what) => {
        const sent = (vip?: 'memberVip'): Match =>
          match({ inTracked: 1, isReply: 1, inPort: key }, { ...what, ...keptUncopied(vip) });
        const got = (vip?: 'viaVip'): Match =>
          match({ outTracked: 1, isReply: 1, outPort: key, viaVip: 0 }, { ...what, ...keptUncopied(vip) });
        return [
          flow('commit', COMMIT.held, sent(), { do: [...pause, markIn(REGISTERS.inZone)], goto: 'answer' }),
          flow('commit', COMMIT.held, sent('memberVip'), { do: [...pause, markIn(REGISTERS.inZone), ...unVip] }),
          flow('toCommit', COMMIT.held, got(), { do: [...pause, markIn(REGISTERS.outZone)], goto: 'deliver' }),
          // As `fromVip` does.
          flow('toCommit', COMMIT.held, got('viaVip'), {
            do: [...pause, markIn(REGISTERS.outZone), ...zoneOf('outZone', 'vip'), translateInPlace(KNOWN)],
            goto: 'deliver',
          }),
        ];
      }),
      ...[IPV4, IPV6].map((ip) =>
        flow('unVip', HELD.unVip, match({ isReply: 1, inPort: key }, { ...ip, ...VALID, ...marked('memberVip') }), {
          do: unVip,
        }),
      ),
      ...hold(),
      ...reader.derive(routersFrom, onSwitch).flatMap((router) => outside(reader, router, id, key)),
    ];
  },
});

/** Where the packets go that conntrack has translated: by the table that would ask what it said, or around it. */
const BEHIND = { answer: 'answer', snatted: 'next', anchored: 'inChain' } as const satisfies Record<Back, TableName>;

/** The same for all ports of L2 gateways here. */
function hold(): Contribution[] {
  const to = (table: TableName): Action[] => [
    ...load({ segment: 0 }),
    { kind: 'resubmit', table: TABLES[table].number },
  ];
  return (Object.keys(HELD_BACK) as Back[]).flatMap((table) => {
    const translated = table === 'anchored' ? destinationTranslated : sourceTranslated;
    const reply = isReplyAnd(translated);
    // As the table that is gone around does.
    const remember = table === 'answer' ? [] : [move(CT_FLAGS, TRACKED_FLAGS), ...load({ admitted: 1 })];
    return [false, true].flatMap((isPaused) => {
      const at = { segment: heldSegment(table, isPaused) };
      const pause = isPaused ? [waitForAgent] : [];
      return [
        ...TOLD.map((what) =>
          flow('hold', HOLD.uncopied, match(at, { ...what, ...UNCOPIED, ...reply }), {
            do: [...remember, ...pause, markIn(REGISTERS.natZone), ...to(BEHIND[table])],
          }),
        ),
        flow('hold', HOLD.rest, match(at), { do: to(table) }),
      ];
    });
  });
}

function isReplyAnd({ ct_state }: Match): Match {
  const { value, mask } = ct_state as { value: number; mask: number };
  return { ct_state: { value: value | CT_STATE.reply, mask: mask | CT_STATE.reply } };
}

/** Of a router that it leads to: what goes out there. */
function outside(reader: Reader, router: string, port: string, inPort: number): Contribution[] {
  const zone = reader.pick('natZone', router, 'zone');
  if (zone === undefined) return [];
  return reader.derive(portsFacing, router).outside.flatMap(({ key: routerPort }) => [
    ...[IPV4, IPV6].map((ip) =>
      flow('snat', HELD.snatReply, match({ routerPort, isReply: 1, inPort }, ip), {
        do: trackHeld(reader, port, 'snatted', zone),
      }),
    ),
    ...TOLD.map((what) =>
      flow('snatted', HELD.snatted, match({ routerPort, inPort }, { ...what, ...begun }), chosen(what, zone)),
    ),
  ]);
}

const begun: Match = (() => {
  const { value, mask } = sourceTranslated.ct_state as { value: number; mask: number };
  return { ct_state: { value: value | CT_STATE.new, mask: mask | CT_STATE.new | CT_STATE.reply } };
})();

/** Which port it was given is seen here alone: the mark keeps it until the connection is told of. */
function chosen(what: Match, zone: number): FlowTarget {
  const field = what.ip_proto === PROTO.tcp ? 'tcp_src' : 'udp_src';
  const exec: Action[] = [move({ field, from: 0, bits: 16 }, SNAT_PORT_MARK)];
  return {
    do: [move(CT_FLAGS, TRACKED_FLAGS), ...load({ admitted: 1 }), { kind: 'ct', commit: true, zone, exec }],
    goto: 'next',
  };
}
