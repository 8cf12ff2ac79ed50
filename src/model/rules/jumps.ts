import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { AnyObject, RouterPort, Rule as RuleObject } from '../objects.ts';

/** Chains are followed over their jumps: from a chain to its rules, and from a chain to what it hangs on. */

/** The first rule like this of the chain, or of one that it jumps to. `cleared` collects chains behind which there is none, for who asks of many. */
export function firstRuleBehind(
  index: ModelIndex,
  chain: string,
  isWanted: (rule: RuleObject) => boolean,
  cleared: Set<string> = new Set(),
): RuleObject | undefined {
  const seen = new Set([chain]);
  for (const at of seen) {
    if (cleared.has(at)) continue;
    for (const rule of index.rulesOfChain(at)) {
      if (isWanted(rule)) return rule;
      if (rule.jumpTo !== undefined) seen.add(rule.jumpTo);
    }
  }
  for (const at of seen) cleared.add(at);
  return undefined;
}

/** Remembers what was found of each chain, for who asks of many while nothing changes. */
export function oncePerChain<Found>(find: (chain: string) => Found): (chain: string) => Found {
  const known = new Map<string, { readonly found: Found }>();
  return (chain) => {
    const one = known.get(chain) ?? { found: find(chain) };
    known.set(chain, one);
    return one.found;
  };
}

/** How many further rules one problem names; the rest is counted. */
const MOST_NAMED = 20;

/** For behind what is said of the first rule: all others like it of the chain, and of those that it jumps to. Nothing where there are none. */
export function othersBehind(
  index: ModelIndex,
  chain: string,
  first: RuleObject,
  isLike: (rule: RuleObject) => boolean,
): string {
  const names: string[] = [];
  let count = 0;
  const seen = new Set([chain]);
  for (const at of seen)
    for (const rule of index.rulesOfChain(at)) {
      if (rule.jumpTo !== undefined) seen.add(rule.jumpTo);
      if (rule.id === first.id || !isLike(rule)) continue;
      if (count++ < MOST_NAMED) names.push(describe(index, rule));
    }
  if (count === 0) return '';
  return ` (as ${count === 1 ? 'does' : 'do'} ${names.join(', ')}${count > names.length ? ` and ${count - names.length} more` : ''})`;
}

/** What refers to the chains, or to those that lead to them by jumps, with the chain that it refers to. */
export function* referrersBefore(
  index: ModelIndex,
  chains: readonly string[] | ReadonlySet<string>,
): Iterable<readonly [AnyObject, at: string]> {
  const seen = new Set(chains);
  for (const at of seen)
    for (const referrer of index.referrersOf('chain', at)) {
      yield [referrer, at];
      if (referrer.kind === 'rule' && referrer.jumpTo === at) seen.add(referrer.chain);
    }
}

/** Router ports among them; one that has two such chains may come twice. */
export function* routerPortsWith(
  index: ModelIndex,
  chains: readonly string[] | ReadonlySet<string>,
): Iterable<RouterPort> {
  for (const [referrer] of referrersBefore(index, chains)) if (referrer.kind === 'routerPort') yield referrer;
}
