import { define, enteredThroughIndex, jumpsIndex } from './inputs.ts';
import { judgesWithoutState, someRuleBehind } from './tracking.ts';

/** Chains that are run to find out what they would say (units/uplink.ts). */

/** Does a chain, or one that it jumps to, log? */
export const chainLogs = define.cell<boolean>({
  name: 'chainLogs',
  run: (reader, chain) => someRuleBehind(reader, chain, (rule) => reader.pick('rule', rule, 'action') === 'log'),
});

/** Is the chain run quietly: does such an in-chain lead to it? */
export const runsQuietly = define.cell<boolean>({
  name: 'runsQuietly',
  run: (reader, chain) => {
    const seen = new Set([chain]);
    for (const at of seen) {
      if (reader.ids(enteredThroughIndex, at).some((port) => reader.derive(judgesWithoutState, port))) return true;
      for (const rule of reader.ids(jumpsIndex, at)) seen.add(reader.pick('rule', rule, 'chain')!);
    }
    return false;
  },
});
