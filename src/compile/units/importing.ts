import type { Contribution } from '../../incremental/definitions.ts';
import type { Match } from '../../openflow/flow.ts';
import { CT_STATE, IPV4, IPV6, load, match, PROTO } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define } from '../inputs.ts';
import { portTracked } from '../tracking.ts';
import { track, ZONE_KIND, zoneOf } from '../translation.ts';

/**
 * A workload that moves here goes on with the connections that were brought already; what its zones do not know may be one that is still on its way, and
 * would begin in the wrong direction, with another member or another outside port (docs/design/flow-database.md, §5). Only while it moves:
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
const NEW: Match = {
  ct_state: { value: CT_STATE.tracked | 1, mask: CT_STATE.tracked | 1 },
};
const TRACKED: Match = { ct_state: { value: CT_STATE.tracked, mask: CT_STATE.tracked } };

export const importingUnit = define.unit({
  name: 'importing',
  over: 'importing',
  run(reader, id): readonly Contribution[] {
    const key = reader.pick('port', id, 'key');
    if (key === undefined || reader.pick('interface', id, 'zone') === undefined || !reader.derive(portTracked, id))
      return [];
    // `admitted`: it is known, so nobody has to ask whether there is room for it either.
    const from = { inPort: key, inTracked: 1, admitted: 0 };
    return [
      ...ASKED.flatMap((what): Contribution[] => [
        flow('vip', VIP.ask, match({ ...from, natZone: 0 }, what), { do: [...zoneOf('inZone', 'own'), track('vip')] }),
        flow('vip', VIP.unknown, match({ ...from, natZoneKind: ZONE_KIND.own }, { ...what, ...NEW }), {
          do: [{ kind: 'ctClear' }, ...zoneOf('inZone', 'vip'), track('vip')],
        }),
        flow('vip', VIP.unknown, match({ ...from, natZoneKind: ZONE_KIND.vip }, { ...what, ...NEW }), {
          drop: 'importing',
        }),
        flow('vip', VIP.known, match(from, { ...what, ...TRACKED }), {
          do: [{ kind: 'ctClear' }, ...load({ admitted: 1, natZone: 0 })],
          goto: 'vip',
        }),
      ]),
      flow('toCommit', TO_COMMIT, match({ outPort: key, isNew: 1 }), { goto: 'fromVip' }),
    ];
  },
});
