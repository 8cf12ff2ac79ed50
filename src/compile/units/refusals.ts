import type { Contribution } from '../../incremental/definitions.ts';
import { match, VERDICT } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define } from '../inputs.ts';

/** Above the drop that all ports share (units/track.ts). */
const REFUSED = 1001;

/**
 * What the groups of a port refuse, counted by port and way (docs/design/flow-database.md, §1): two flows for each port that has groups, where
 * all packets come by anyway.
 */
export const refusalsUnit = define.unit({
  name: 'refusals',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const key = reader.pick('port', id, 'key');
    if (key === undefined || reader.pick('port', id, 'groups')!.length === 0) return [];
    const refused = { verdict: VERDICT.drop } as const;
    return [
      flow('fromPort', REFUSED, match({ ...refused, inPort: key }), { drop: 'group' }),
      flow('toChain', REFUSED, match({ ...refused, outPort: key }), { drop: 'group' }),
    ];
  },
});
