import type { ModelIndex } from '../model-index.ts';
import type { AnyObject, RouterPort, Rule as RuleObject } from '../objects.ts';

/** Chains are followed over their jumps: from a chain to its rules, and from a chain to what it hangs on. */

/** The first rule like this of the chain, or of one that it jumps to. */
export function firstRuleBehind(
  index: ModelIndex,
  chain: string,
  isWanted: (rule: RuleObject) => boolean,
): RuleObject | undefined {
  const seen = new Set([chain]);
  for (const at of seen)
    for (const rule of index.rulesOfChain(at)) {
      if (isWanted(rule)) return rule;
      if (rule.jumpTo !== undefined) seen.add(rule.jumpTo);
    }
  return undefined;
}

/** What refers to the chain, or to one that leads to it by jumps, with the chain that it refers to. */
export function* referrersBefore(index: ModelIndex, chain: string): Iterable<readonly [AnyObject, at: string]> {
  const seen = new Set([chain]);
  for (const at of seen)
    for (const referrer of index.referrersOf('chain', at)) {
      yield [referrer, at];
      if (referrer.kind === 'rule' && referrer.jumpTo === at) seen.add(referrer.chain);
    }
}

/** Router ports among them; one that has two such chains may come twice. */
export function* routerPortsWith(index: ModelIndex, chain: string): Iterable<RouterPort> {
  for (const [referrer] of referrersBefore(index, chain)) if (referrer.kind === 'routerPort') yield referrer;
}
