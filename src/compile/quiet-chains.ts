import { define, enteredThroughIndex, jumpsIndex, rulesIndex } from './inputs.ts';
import { judgesWithoutState } from './tracking.ts';

/** Chains that are run to find out what they would say (units/uplink.ts). */

/** Does a chain, or one that it jumps to, log? */
export const chainLogs = define.cell<boolean>({
  name: 'chainLogs',
  run: (reader, chain) => {
    const seen = new Set([chain]);
    for (const at of seen)
      for (const rule of reader.ids(rulesIndex, at)) {
        const action = reader.pick('rule', rule, 'action');
        if (action === 'log') return true;
        const next = action === 'jump' ? reader.pick('rule', rule, 'jumpTo') : undefined;
        if (next !== undefined) seen.add(next);
      }
    return false;
  },
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
