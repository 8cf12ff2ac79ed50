import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { toAgentPaused } from '../facts.ts';
import {
  CT_FLAGS,
  CT_MARK,
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
import { TABLES } from '../tables.ts';
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
  unmarked,
  zoneOf,
} from '../translation.ts';
import { COMMIT } from './track.ts';

/**
 * The first reply of a connection of an L2 gateway waits until its host has told another of the connection (docs/design/l2-gateways.md, §4).
 * Each zone that knows the connection is told for itself: what connection tracking knows there can be made again elsewhere. A mark says that it
 * was, so that no later packet is asked.
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
export const HELD = { unVip: 210, snatReply: 1010, snatted: 1250 } as const;

/** What is told: both can be made again from addresses and ports. */
const TOLD: readonly Match[] = [IPV4, IPV6].flatMap((ip) =>
  [PROTO.tcp, PROTO.udp].map((ip_proto) => ({ ...ip, ip_proto })),
);
/** It was committed here, and its reply was not told of. */
const UNCOPIED: Match = { ...VALID, ...unmarked('copied') };
const KEPT_UNCOPIED: Match = {
  ...VALID,
  ct_mark: { value: CT_MARK.kept, mask: CT_MARK.kept | CT_MARK.copied },
};

/** In the mark of the connection that the packet is of; a connection that is not there is not made. */
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
    const pause = isPaused ? [toAgentPaused()] : [];
    return [
      ...TOLD.flatMap((what) => [
        flow('commit', COMMIT.held, match({ inTracked: 1, isReply: 1, inPort: key }, { ...what, ...KEPT_UNCOPIED }), {
          do: [...pause, markIn(REGISTERS.inZone)],
          goto: 'unVip',
        }),
        flow(
          'toCommit',
          COMMIT.held,
          match({ outTracked: 1, isReply: 1, outPort: key }, { ...what, ...KEPT_UNCOPIED }),
          { do: [...pause, markIn(REGISTERS.outZone)], goto: 'fromVip' },
        ),
      ]),
      ...[IPV4, IPV6].map((ip) =>
        flow('unVip', HELD.unVip, match({ isReply: 1, inPort: key }, { ...ip, ...VALID, ...marked('memberVip') }), {
          do: [
            ...zoneOf('inZone', 'vip', { segment: heldSegment('answer', isPaused) }),
            track('hold', undefined, KNOWN),
          ],
        }),
      ),
      ...hold(),
      ...reader.derive(routersFrom, onSwitch).flatMap((router) => outside(reader, router, id, key)),
    ];
  },
});

/** The same for all ports of L2 gateways here. */
function hold(): Contribution[] {
  const back = (table: Back): Action[] => [...load({ segment: 0 }), { kind: 'resubmit', table: TABLES[table].number }];
  return (Object.keys(HELD_BACK) as Back[]).flatMap((table) => {
    const translated = table === 'anchored' ? destinationTranslated : sourceTranslated;
    const reply = isReplyAnd(translated);
    return [false, true].flatMap((isPaused) => {
      const at = { segment: heldSegment(table, isPaused) };
      const pause = isPaused ? [toAgentPaused()] : [];
      return [
        ...TOLD.map((what) =>
          flow('hold', HOLD.uncopied, match(at, { ...what, ...UNCOPIED, ...reply }), {
            do: [...pause, markIn(REGISTERS.natZone), ...back(table)],
          }),
        ),
        flow('hold', HOLD.rest, match(at), { do: back(table) }),
      ];
    });
  });
}

/** CS_REPLY_DIR of `ct_state`. */
const REPLY = 0x08;
const NEW = 0x01;

function isReplyAnd({ ct_state }: Match): Match {
  const { value, mask } = ct_state as { value: number; mask: number };
  return { ct_state: { value: value | REPLY, mask: mask | REPLY } };
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
  return { ct_state: { value: value | NEW, mask: mask | NEW | REPLY } };
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
