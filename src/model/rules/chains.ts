import { depthOfRule, MAX_JUMP_DEPTH, MOST_CHAIN_STEPS, stepsOfRule } from '../chain-steps.ts';
import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { Chain, Rule as RuleObject } from '../objects.ts';
import { referrersBefore } from './jumps.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** Positions are unique within a chain, and jumps lead to no circle, nor further than a switch follows. */
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
  let isCircular = false;
  for (const chain of jumpers) {
    const circle = findCircle(index, chain, cleared);
    if (!circle) continue;
    isCircular = true;
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
  if (isCircular) return;
  const longer = new Set<string>();
  for (const { before, after } of written(changes, 'rule')) if (isLonger(before, after)) longer.add(after.chain);
  for (const [chain, length] of tooLong(index, longer)) {
    const hint =
      'a step is a rule that logs, jumps, asks for a set or group, or has "not", and all steps of the chain that it jumps to';
    const message =
      length.steps > MOST_CHAIN_STEPS
        ? `a packet may take ${length.steps} steps in it, and switches follow ${MOST_CHAIN_STEPS}`
        : `its jumps lead ${length.depth} deep, and switches follow ${MAX_JUMP_DEPTH}; asking for a set first counts as one more`;
    report({ object: describe(index, chain), path: '', code: 'chain-length', message, hint });
  }
};

function isLonger(before: RuleObject | undefined, after: RuleObject): boolean {
  if (!before) return stepsOfRule(after) > 0;
  return before.jumpTo !== after.jumpTo || stepsOfRule(after) > stepsOfRule(before);
}

/** A chain with all that it jumps to. */
interface Length {
  readonly steps: number;
  readonly depth: number;
}

/** Of these chains and of those that lead to them the ones that are too long, while what they jump to is not. */
function tooLong(index: ModelIndex, changed: ReadonlySet<string>): readonly (readonly [Chain, Length])[] {
  const found = new Map<string, readonly [Chain, Length]>();
  const known = new Map<string, Length>();
  const isWell = ({ steps, depth }: Length): boolean => steps <= MOST_CHAIN_STEPS && depth <= MAX_JUMP_DEPTH;
  const judge = (id: string): void => {
    const length = lengthOf(index, id, known);
    const chain = index.get('chain', id);
    if (isWell(length) || !chain) return;
    if (targetsOf(index, id).every((target) => isWell(known.get(target)!))) found.set(id, [chain, length]);
  };
  for (const id of changed) {
    judge(id);
    for (const [referrer] of referrersBefore(index, id)) if (referrer.kind === 'rule') judge(referrer.chain);
  }
  return [...found.values()];
}

/** Where no circle is. Not recursive, as `findCircle`; `known` collects what was reckoned. */
function lengthOf(index: ModelIndex, start: string, known: Map<string, Length>): Length {
  const way = [start];
  while (way.length > 0) {
    const chain = way.at(-1)!;
    const open = targetsOf(index, chain).filter((target) => !known.has(target));
    if (known.has(chain) || open.length === 0) {
      way.pop();
      if (!known.has(chain)) known.set(chain, lengthBy(index, chain, known));
    } else for (const target of open) way.push(target);
  }
  return known.get(start)!;
}

function lengthBy(index: ModelIndex, chain: string, known: ReadonlyMap<string, Length>): Length {
  let steps = 1;
  let depth = 0;
  for (const rule of index.rulesOfChain(chain)) {
    const target = rule.jumpTo === undefined ? undefined : known.get(rule.jumpTo)!;
    steps += stepsOfRule(rule) + (target?.steps ?? 0);
    if (target) depth = Math.max(depth, depthOfRule(rule) + target.depth);
  }
  return { steps, depth };
}

function targetsOf(index: ModelIndex, chain: string): readonly string[] {
  return index.rulesOfChain(chain).flatMap((rule) => (rule.jumpTo === undefined ? [] : [rule.jumpTo]));
}

/** A way from the chain back onto itself, first and last the same; `cleared` collects chains that lead to none. */
function findCircle(index: ModelIndex, start: string, cleared: Set<string>): readonly string[] | undefined {
  // Not recursive: a chain of 10,000 jumps must not exhaust the stack.
  const way: { readonly chain: string; readonly next: readonly string[]; at: number }[] = [];
  const onWay = new Set<string>();
  const enter = (chain: string): void => {
    way.push({ chain, next: targetsOf(index, chain), at: 0 });
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
