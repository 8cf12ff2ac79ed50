import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { RouterPort, Rule as RuleObject } from '../objects.ts';
import { firstRuleBehind, oncePerChain, othersBehind, routerPortsWith } from './jumps.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** Helpers read connections in the zones of ports: in chains of routers they would read nothing (docs/design/layer3.md, §5). */
export const checkConnectionHelpers: Rule = (index, changes, report) => {
  const cleared = new Set<string>();
  const helpingOf = oncePerChain((chain) => {
    const rule = firstRuleBehind(index, chain, helps, cleared);
    return rule && { rule, others: othersBehind(index, chain, rule, helps) };
  });
  const routerPortOf = oncePerChain((chain) => firstRouterPort(index, chain));
  for (const { before, after } of written(changes, 'routerPort'))
    for (const path of ['inChain', 'outChain'] as const) {
      const chain = after[path];
      if (chain === undefined || chain === before?.[path]) continue;
      const found = helpingOf(chain);
      if (found)
        report({
          ...{ object: describe(index, after), path, code: 'helper', hint: HINT },
          message: `${describe(index, found.rule)} has the helper ${found.rule.helper}, and routers keep no connections for one to read${found.others}`,
        });
    }
  for (const { before, after } of written(changes, 'rule')) {
    const isWorse =
      (after.helper !== undefined && before?.helper === undefined) ||
      (after.jumpTo !== undefined && after.jumpTo !== before?.jumpTo);
    const on = isWorse ? routerPortOf(after.chain) : undefined;
    if (!on) continue;
    const isOwn = after.helper !== undefined;
    const behind = isOwn ? undefined : helpingOf(after.jumpTo!);
    if (!isOwn && !behind) continue;
    const [whose, others] = behind
      ? [`the helper of ${describe(index, behind.rule)}`, behind.others]
      : ['a helper', ''];
    report({
      ...{ object: describe(index, after), path: isOwn ? 'helper' : 'jumpTo', code: 'helper', hint: HINT },
      message: `its chain hangs on ${describe(index, on)}, and routers keep no connections for ${whose} to read${others}`,
    });
  }
};

const HINT = 'give the helper to a rule of a chain or security group of the port of the server (or of the client)';

function helps({ helper }: RuleObject): boolean {
  return helper !== undefined;
}

/** A router port that has the chain, or one that leads to it by jumps. */
function firstRouterPort(index: ModelIndex, chain: string): RouterPort | undefined {
  for (const port of routerPortsWith(index, [chain])) return port;
  return undefined;
}
