import type { Contribution } from '../../incremental/definitions.ts';
import type { Action } from '../../openflow/flow.ts';
import { IPV4, IPV6, load, match, REGISTERS } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define } from '../inputs.ts';
import { TABLES, type TableName } from '../tables.ts';
import { marked, portsFacing } from '../translation.ts';
import { SNAT } from './snat.ts';

/**
 * Who may fill the zone of a router (docs/design/layer3.md, §7). Many ports share it, and each has a share of its own: that of its own
 * zone. Where that is full Open vSwitch's userspace datapath lets packets pass without a connection, and another pass tells: they lack the
 * mark of those that are kept. The pass is taken by new connections only, and only where the agent has found the router's zone tight.
 *
 *   snat ─ct(inZone)─▶ admit ─▶ snat                                    the sender's zone has its connection
 *   anchor ─ct─▶ anchored ─ct(commit,zone of the port's VIPs)─▶ admit ─▶ anchor      for a floating address (units/anchor.ts)
 */
export const admissionUnit = define.unit({
  name: 'admission',
  over: 'natZone',
  run(reader, id) {
    if (reader.pick('natZone', id, 'isTight') !== true || reader.pick('natZone', id, 'isStrict')) return [];
    const ask: Action[] = [{ kind: 'ctClear' }, { kind: 'ct', zone: REGISTERS.inZone, table: TABLES.admit.number }];
    return reader.derive(portsFacing, id).outside.flatMap(({ key }) =>
      [IPV4, IPV6].map((ip) =>
        flow('snat', SNAT.admission, match({ routerPort: key, inTracked: 1, isNew: 1, admitted: 0 }, ip), {
          do: ask,
        }),
      ),
    );
  },
});

/** Back to where it was asked: only what came in is said to be admitted before. */
export function admissionBase(): Contribution[] {
  const back = (table: TableName): Action => ({ kind: 'resubmit', table: TABLES[table].number });
  return [
    flow('admit', 100, match({ admitted: 0 }, marked('kept')), { do: [...load({ admitted: 1 }), back('snat')] }),
    flow('admit', 100, match({ admitted: 1 }, marked('kept')), { do: [back('anchor')] }),
  ];
}
