import type { Contribution } from '../../incremental/definitions.ts';
import type { Match } from '../../openflow/flow.ts';
import { CT_STATE, IPV4, IPV6, load, match, PROTO } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, EVERY_PORT } from '../inputs.ts';
import { zoneOf as zoneOfPort } from '../tracking.ts';
import { track, unmarked, ZONE_KIND, zoneOf } from '../translation.ts';

/**
 * A workload that moves here goes on with the connections that were brought already; what its zones do not know may be one that is still on its way, and
 * would begin in the wrong direction, with another member or another outside port (docs/design/flow-database.md, §5). A connection that nobody has
 * answered (all of one-way UDP) is new to conntrack with each packet; its mark tells that it is known. Only while it moves:
 *
 *   vip ─ct(inZone)─▶ vip ─(new)─ct(VIPs)─▶ vip ─┬─▶ vip, as always     known
 *                                                └─▶ dropped
 */
const VIP = { ask: 2950, unknown: 2940, known: 2930 } as const;
/** Above all of track.ts: which direction began a connection is not for the packet to say that comes first. */
const TO_COMMIT = 300;

const ASKED: readonly Match[] = [
  ...[PROTO.tcp, PROTO.udp, PROTO.icmp, PROTO.sctp].map((ip_proto) => ({ ...IPV4, ip_proto })),
  ...[PROTO.tcp, PROTO.udp, PROTO.sctp].map((ip_proto) => ({ ...IPV6, ip_proto })),
];
const TRACKED = bits(CT_STATE.tracked);
const NEW = bits(CT_STATE.tracked | CT_STATE.new);
const REPLY = bits(CT_STATE.tracked | CT_STATE.reply);

function bits(ones: number): Match {
  return { ct_state: { value: ones, mask: ones } };
}

export const importingUnit = define.unit({
  name: 'importing',
  over: 'importing',
  run(reader, id): readonly Contribution[] {
    const isOne = id !== EVERY_PORT;
    const key = isOne ? reader.pick('port', id, 'key') : undefined;
    if (isOne && (key === undefined || !zoneOfPort(reader, id))) return [];
    // `admitted`: it is known, so nobody has to ask whether there is room for it either.
    const from = { ...(key === undefined ? {} : { inPort: key }), inTracked: 1, admitted: 0 };
    const to = key === undefined ? {} : { outPort: key };
    return [
      ...ASKED.flatMap((what): Contribution[] => [
        flow('vip', VIP.ask, match({ ...from, natZone: 0 }, what), { do: [...zoneOf('inZone', 'own'), track('vip')] }),
        flow(
          'vip',
          VIP.unknown,
          match({ ...from, natZoneKind: ZONE_KIND.own }, { ...what, ...NEW, ...unmarked('kept') }),
          {
            do: [{ kind: 'ctClear' }, ...zoneOf('inZone', 'vip'), track('vip')],
          },
        ),
        // What a member answers is known there too, but its own zone has to know it as an answer.
        ...[NEW, REPLY].map((state) =>
          flow('vip', VIP.unknown, match({ ...from, natZoneKind: ZONE_KIND.vip }, { ...what, ...state }), {
            drop: 'importing',
          }),
        ),
        flow('vip', VIP.known, match(from, { ...what, ...TRACKED }), {
          do: [{ kind: 'ctClear' }, ...load({ admitted: 1, natZone: 0 })],
          goto: 'vip',
        }),
      ]),
      flow('toCommit', TO_COMMIT, match({ ...to, outTracked: 1, isNew: 1 }), { goto: 'fromVip' }),
    ];
  },
});
