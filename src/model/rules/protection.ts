import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { AnyObject, Rule as RuleObject } from '../objects.ts';
import { firstRuleBehind, oncePerChain, othersBehind, referrersBefore } from './jumps.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/**
 * What protects the outside (docs/design/gateways.md, §8): pre-filters are asked where no connection is known and answer nobody, sources are
 * checked where frames come from a switch.
 */
export const checkProtection: Rule = (index, changes, report) => {
  const unfit = UNFIT.map((why) => ({ ...why, behind: oncePerChain(unfitBehind(index, why)) }));
  for (const kind of ['switch', 'router', 'floatingAddress', 'loadBalancer'] as const)
    for (const { after } of written(changes, kind))
      for (const { behind, hint } of unfit) {
        const message = after.prefilter === undefined ? undefined : behind(after.prefilter);
        if (message !== undefined)
          report({ object: describe(index, after), path: 'prefilter', code: 'prefilter', message, hint });
      }
  for (const { after } of written(changes, 'loadBalancer'))
    for (const path of ['prefilter', 'inboundLimit'] as const)
      if (after[path] !== undefined && after.router === undefined)
        report({
          ...{ object: describe(index, after), path, code: 'prefilter' },
          message: 'nothing comes from outside to a VIP of a switch',
          hint: 'filter and limit its clients at their ports',
        });
  const hookOf = oncePerChain((chain) => firstHook(index, chain));
  for (const why of unfit) {
    for (const { before, after } of written(changes, 'rule')) {
      const { jumpTo } = after;
      const isWorse = why.isSo(after) && !(before && why.isSo(before));
      const isNewJump = jumpTo !== undefined && jumpTo !== before?.jumpTo;
      const hook = isWorse || isNewJump ? hookOf(after.chain) : undefined;
      if (hook === undefined) continue;
      const problem = (path: string, what: string): void =>
        report({
          ...{ object: describe(index, after), path, code: 'prefilter', hint: why.hint },
          message: `its chain is a pre-filter of ${describe(index, hook)}, and ${what}`,
        });
      if (isWorse) problem(why.path, `it ${why.what}`);
      const behind = isNewJump ? why.behind(jumpTo) : undefined;
      if (behind !== undefined) problem('jumpTo', behind);
    }
  }
  for (const { after } of written(changes, 'routerPort')) {
    if (after.sourceCheck === undefined || after.sourceCheck === 'off') continue;
    const problem = (message: string, hint: string): void =>
      report({ object: describe(index, after), path: 'sourceCheck', code: 'source-check', message, hint });
    if (after.outside)
      problem(
        'an outside port lets in only what it translates',
        'check sources at the router that the wire leads to, or by an inChain here',
      );
    else if (after.switch === undefined)
      problem('sources are checked of what a switch sends in, and the port joins none', 'check them where the wire is');
  }
};

/** Finds what is to be said of such rules of a chain, and of those that it jumps to. */
function unfitBehind(index: ModelIndex, { isSo, what }: Unfit): (chain: string) => string | undefined {
  const cleared = new Set<string>();
  return (chain) => {
    const first = firstRuleBehind(index, chain, isSo, cleared);
    return first && `${describe(index, first)} ${what}${othersBehind(index, chain, first, isSo)}`;
  };
}

/** Why no pre-filter may have a rule. */
interface Unfit {
  readonly isSo: (rule: RuleObject) => boolean;
  readonly path: string;
  readonly what: string;
  readonly hint: string;
}

const UNFIT: readonly Unfit[] = [
  {
    isSo: ({ match }) => match.state !== undefined,
    path: 'match.state',
    what: 'asks for the state of connections, which a pre-filter knows nothing of',
    hint: 'ask by address, protocol and port; established answers by tcpFlags: +ack',
  },
  {
    isSo: ({ action }) => action === 'reject',
    path: 'action',
    what: 'rejects, and a pre-filter answers nobody',
    hint: 'drop, or reject by the inChain of the outside port',
  },
];

/** Who has the chain as a pre-filter, or one that leads to it by jumps. */
function firstHook(index: ModelIndex, chain: string): AnyObject | undefined {
  for (const [referrer, at] of referrersBefore(index, [chain]))
    if ('prefilter' in referrer && referrer.prefilter === at) return referrer;
  return undefined;
}
