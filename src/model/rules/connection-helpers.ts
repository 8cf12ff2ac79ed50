import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { RouterPort, Rule as RuleObject } from '../objects.ts';
import { firstRuleBehind, othersBehind, routerPortsWith } from './jumps.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** Helpers read connections in the zones of ports: in chains of routers they would read nothing (docs/design/layer3.md, §5). */
export const checkConnectionHelpers: Rule = (index, changes, report) => {
  for (const { before, after } of written(changes, 'routerPort'))
    for (const path of ['inChain', 'outChain'] as const) {
      const chain = after[path];
      if (chain === undefined || chain === before?.[path]) continue;
      const rule = firstHelping(index, chain);
      if (rule)
        report({
          ...{ object: describe(index, after), path, code: 'helper', hint: HINT },
          message: `${describe(index, rule)} has the helper ${rule.helper}, and routers keep no connections for one to read${othersBehind(index, chain, rule, helps)}`,
        });
    }
  const cleared = new Set<string>();
  for (const { before, after } of written(changes, 'rule')) {
    const isWorse =
      (after.helper !== undefined && before?.helper === undefined) ||
      (after.jumpTo !== undefined && after.jumpTo !== before?.jumpTo);
    const helping = !isWorse
      ? undefined
      : after.helper === undefined
        ? firstHelping(index, after.jumpTo!, cleared)
        : after;
    const on = helping && routerPortOf(index, after.chain);
    if (helping && on)
      report({
        object: describe(index, after),
        path: helping === after ? 'helper' : 'jumpTo',
        code: 'helper',
        message: `its chain hangs on ${describe(index, on)}, and routers keep no connections for ${helping === after ? 'a helper' : `the helper of ${describe(index, helping)}`} to read${helping === after ? '' : othersBehind(index, after.jumpTo!, helping, helps)}`,
        hint: HINT,
      });
  }
};

const HINT = 'give the helper to a rule of a chain or security group of the port of the server (or of the client)';

function helps({ helper }: RuleObject): boolean {
  return helper !== undefined;
}

/** The first rule with a helper of the chain, or of one that it jumps to. */
function firstHelping(index: ModelIndex, chain: string, cleared?: Set<string>): RuleObject | undefined {
  return firstRuleBehind(index, chain, helps, cleared);
}

/** A router port that has the chain, or one that leads to it by jumps. */
function routerPortOf(index: ModelIndex, chain: string): RouterPort | undefined {
  for (const port of routerPortsWith(index, [chain])) return port;
  return undefined;
}
