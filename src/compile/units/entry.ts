import type { Contribution } from '../../incremental/definitions.ts';
import { once } from '../../incremental/definitions.ts';
import type { Action } from '../../openflow/flow.ts';
import { IPV4, IPV6, load, match, move, REGISTERS, type Registers } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { portLimit } from '../meters.ts';
import { copies } from '../mirrors.ts';

/**
 * Marks, limits and copies of what a workload sends (docs/design/layer3.md, §11), in `vip`, where all that passed the guard comes by. Each flow takes
 * away what it matched on and goes through the table again, so that ports without any of this never notice.
 */
const ENTRY = { unmarkable: 3001, mark: 3000, port: 2900 } as const;

const DSCP = { field: 'ip_dscp', from: 0, bits: 6 } as const;

/** What `classify` notes of a port whose packets are marked. */
export function markOf(reader: Reader, id: string): Registers {
  const onSwitch = reader.pick('port', id, 'switch');
  const dscp =
    reader.pick('port', id, 'dscp') ?? (onSwitch === undefined ? undefined : reader.pick('switch', onSwitch, 'dscp'));
  return dscp === undefined ? {} : { dscp, marks: 1 };
}

export const markUnit = define.unit({
  name: 'mark',
  over: once,
  run: () =>
    [IPV4, IPV6].flatMap((ip) => [
      // Open vSwitch leaves a header alone that it can read no protocol in, and does not note that it looked: asked for here, such a packet leaves no
      // megaflow by which whole ones get past their mark (lib/odp-util.c, `commit_set_nw_action`).
      flow('vip', ENTRY.unmarkable, match({ marks: 1 }, { ...ip, ip_proto: 0 }), {
        do: load({ dscp: 0, marks: 0 }),
        goto: 'vip',
      }),
      flow('vip', ENTRY.mark, match({ marks: 1 }, ip), {
        do: [move(REGISTERS.dscp, DSCP), ...load({ dscp: 0, marks: 0 })],
        goto: 'vip',
      }),
    ]),
});

export const entryUnit = define.unit({
  name: 'entry',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const inPort = reader.pick('port', id, 'key');
    if (inPort === undefined) return [];
    const { meters, pass } = portLimit(reader, id, 'send');
    const actions: Action[] = [...pass, ...copies(reader, id, 'from')];
    if (actions.length === 0) return meters;
    const target = { do: [...load({ shaped: 1 }), ...actions], goto: 'vip' } as const;
    return [...meters, flow('vip', ENTRY.port, match({ inPort, shaped: 0 }), target)];
  },
});
