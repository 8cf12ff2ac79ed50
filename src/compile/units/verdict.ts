import type { Contribution } from '../../incremental/definitions.ts';
import { toAgent } from '../facts.ts';
import { GROUP_ADDRESS, IPV4, IPV6, match, NOT_LATER_FRAGMENT, VERDICT } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import type { Reader } from '../inputs.ts';
import type { TableName } from '../tables.ts';

export const VERDICTS = { group: 320, reject: 310, drop: 300, accept: 200, policy: 100, undecided: 0 } as const;

/** What becomes of a packet behind a chain. Rejected ones go to the agent where there is somebody to tell, and something to tell about. */
export function verdictBase(
  reader: Reader,
  table: 'fromVerdict' | 'toVerdict' | 'inVerdict' | 'outVerdict',
  next: TableName,
): Contribution[] {
  const rejected = match({ verdict: VERDICT.reject });
  const told = { do: [toAgent(reader, 'reject')], drop: 'rejected' } as const;
  return [
    flow(table, VERDICTS.group, { ...rejected, eth_dst: GROUP_ADDRESS }, { drop: 'rejected' }),
    flow(table, VERDICTS.reject, { ...rejected, ...IPV4, ...NOT_LATER_FRAGMENT }, told),
    flow(table, VERDICTS.reject, { ...rejected, ...IPV6, ...NOT_LATER_FRAGMENT }, told),
    flow(table, VERDICTS.drop, rejected, { drop: 'rejected' }),
    flow(table, VERDICTS.drop, match({ verdict: VERDICT.drop }), { drop: 'rule' }),
    flow(table, VERDICTS.accept, match({ verdict: VERDICT.accept }), { goto: next }),
    flow(table, VERDICTS.policy, match({ policyDrop: 1 }), { drop: 'policy' }),
    flow(table, VERDICTS.undecided, {}, { goto: next }),
  ];
}
