import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { Rule as RuleObject } from '../objects.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** Positions are unique within a chain, and jumps lead to no circle. */
export const checkChains: Rule = (index, changes, report) => {
  const chains = new Set<string>();
  const jumpers = new Set<string>();
  for (const { after } of written(changes, 'rule')) {
    chains.add(after.chain);
    if (after.jumpTo !== undefined) jumpers.add(after.chain);
  }
  for (const chain of chains) {
    let last: RuleObject | undefined;
    for (const rule of index.rulesOfChain(chain)) {
      if (rule.position === last?.position)
        report({
          object: describe(index, rule),
          path: 'position',
          code: 'duplicate-position',
          message: `rule ${last.name} has position ${rule.position} too`,
        });
      last = rule;
    }
  }
  const cleared = new Set<string>();
  for (const chain of jumpers) {
    const circle = findCircle(index, chain, cleared);
    if (!circle) continue;
    const first = index.get('chain', chain);
    if (!first) continue;
    const names = circle.map((id) => index.get('chain', id)?.name ?? id);
    report({
      object: describe(index, first),
      path: '',
      code: 'chain-circle',
      message: `jumps in a circle: ${names.join(' → ')}`,
    });
    for (const id of circle) cleared.add(id);
  }
};

/** A way from the chain back onto itself, first and last the same; `cleared` collects chains that lead to none. */
function findCircle(index: ModelIndex, start: string, cleared: Set<string>): readonly string[] | undefined {
  // Not recursive: a chain of 10,000 jumps must not exhaust the stack.
  const way: { readonly chain: string; readonly next: readonly string[]; at: number }[] = [];
  const onWay = new Set<string>();
  const enter = (chain: string): void => {
    const next = index.rulesOfChain(chain).flatMap((rule) => (rule.jumpTo === undefined ? [] : [rule.jumpTo]));
    way.push({ chain, next, at: 0 });
    onWay.add(chain);
  };
  if (!cleared.has(start)) enter(start);
  while (way.length > 0) {
    const here = way.at(-1)!;
    const next = here.next[here.at++];
    if (next === undefined) {
      way.pop();
      onWay.delete(here.chain);
      cleared.add(here.chain);
    } else if (onWay.has(next)) {
      const from = way.findIndex((step) => step.chain === next);
      return [...way.slice(from).map((step) => step.chain), next];
    } else if (!cleared.has(next)) enter(next);
  }
  return undefined;
}
