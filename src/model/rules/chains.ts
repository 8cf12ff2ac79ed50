import { depthOfRule, MAX_JUMP_DEPTH, MOST_CHAIN_STEPS, stepsOfRule } from '../chain-steps.ts';
import { describe, qualifiedName } from '../describe.ts';
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
  const isNew = new Set([...written(changes, 'rule')].map(({ after }) => after.id));
  const { circles, endless } = findCircles(index, inOrder(index, jumpers), isNew);
  for (const { rule, chains } of circles)
    report({
      ...{ object: describe(index, rule), path: 'jumpTo', code: 'chain-circle', hint: NO_CIRCLE },
      message: `jumps in a circle: ${chains.join(' → ')}`,
    });
  const longer = new Set<string>();
  for (const { before, after } of written(changes, 'rule')) if (isLonger(before, after)) longer.add(after.chain);
  for (const [chain, length] of tooLong(index, longer, endless)) {
    const hint =
      'a step is a rule that logs, jumps, asks for a set or group, or has "not", and all steps of the chain that it jumps to';
    const message =
      length.steps > MOST_CHAIN_STEPS
        ? `a packet may take ${length.steps} steps in it, and switches follow ${MOST_CHAIN_STEPS}`
        : `its jumps lead ${length.depth} deep, and switches follow ${MAX_JUMP_DEPTH}; asking for a set first counts as one more`;
    report({ object: describe(index, chain), path: '', code: 'chain-length', message, hint });
  }
};

const NO_CIRCLE =
  'take this jump or another of the circle away; what several chains need goes into one that jumps to none of them';

function isLonger(before: RuleObject | undefined, after: RuleObject): boolean {
  if (!before) return stepsOfRule(after) > 0;
  return before.jumpTo !== after.jumpTo || stepsOfRule(after) > stepsOfRule(before);
}

/** A chain with all that it jumps to. */
interface Length {
  readonly steps: number;
  readonly depth: number;
}

/** In a circle, or on the way into one: nothing is told of its length. */
const ENDLESS: Length = { steps: Number.POSITIVE_INFINITY, depth: Number.POSITIVE_INFINITY };

/** Of these chains and of those that lead to them the ones that are too long, while what they jump to is not. */
function tooLong(
  index: ModelIndex,
  changed: ReadonlySet<string>,
  endless: ReadonlySet<string>,
): readonly (readonly [Chain, Length])[] {
  const found: (readonly [Chain, Length])[] = [];
  const known = new Map([...endless].map((id) => [id, ENDLESS]));
  const isWell = ({ steps, depth }: Length): boolean => steps <= MOST_CHAIN_STEPS && depth <= MAX_JUMP_DEPTH;
  const judged = new Set(changed);
  for (const [referrer] of referrersBefore(index, changed)) if (referrer.kind === 'rule') judged.add(referrer.chain);
  for (const id of judged) {
    const length = lengthOf(index, id, known);
    const chain = index.get('chain', id);
    if (isWell(length) || length.steps === ENDLESS.steps || !chain) continue;
    if (targetsOf(index, id).every((target) => isWell(known.get(target)!))) found.push([chain, length]);
  }
  return found;
}

/** `known` collects what was reckoned, and has what is endless already. Not recursive, as `findCircles`. */
function lengthOf(index: ModelIndex, start: string, known: Map<string, Length>): Length {
  const way = [start];
  while (way.length > 0) {
    const chain = way.at(-1)!;
    const open = known.has(chain) ? [] : targetsOf(index, chain).filter((target) => !known.has(target));
    if (open.length === 0) {
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
  return jumpsOf(index, chain).map(({ jumpTo }) => jumpTo);
}

type Jump = RuleObject & { readonly jumpTo: string };

function jumpsOf(index: ModelIndex, chain: string): readonly Jump[] {
  return index.rulesOfChain(chain).filter((rule): rule is Jump => rule.jumpTo !== undefined);
}

/** By name, so that the same is told whatever the order of the request. */
function inOrder(index: ModelIndex, chains: ReadonlySet<string>): readonly string[] {
  const names = new Map([...chains].map((id) => [id, nameOf(index, id)]));
  return [...chains].sort((a, b) => (names.get(a)! < names.get(b)! ? -1 : 1));
}

function nameOf(index: ModelIndex, id: string): string {
  const chain = index.get('chain', id);
  return chain ? qualifiedName(index, chain) : id;
}

/** Chains from one onto itself, first and last the same, with the rule of the first that jumps to the second. */
interface Circle {
  readonly rule: RuleObject;
  readonly chains: readonly string[];
}

/** How many chains of a circle are named: with a thousand of them to one chain all names together would be as many as squared. */
const MOST_NAMED = 20;

interface Step {
  readonly chain: string;
  readonly jumps: readonly Jump[];
  at: number;
  /** The jump by which the way came here. */
  readonly by?: Jump | undefined;
  /** The last step of the way up to here to which a rule of the change jumps. */
  readonly lastNew: number;
}

/**
 * For each jump that leads back onto the way to it the circle that it closes: without those there would be none. Told of a rule of the change where
 * one is part of it. `endless`: the chains that were met in circles, and on the way into them.
 */
function findCircles(
  index: ModelIndex,
  starts: readonly string[],
  isNew: ReadonlySet<string>,
): { readonly circles: readonly Circle[]; readonly endless: ReadonlySet<string> } {
  // Not recursive: a chain of 10,000 jumps must not exhaust the stack.
  const way: Step[] = [];
  const onWay = new Map<string, number>();
  const left = new Set<string>();
  const endless = new Set<string>();
  const circles: Circle[] = [];
  const enter = (chain: string, by?: Jump): void => {
    const lastNew = by && isNew.has(by.id) ? way.length : (way.at(-1)?.lastNew ?? 0);
    onWay.set(chain, way.length);
    way.push({ chain, jumps: jumpsOf(index, chain), at: 0, by, lastNew });
  };
  /** Of the way from a step on, which this jump closes. */
  const circleBy = (jump: Jump, from: number): Circle => {
    const isTold = isNew.has(jump.id) || way.at(-1)!.lastNew <= from;
    const rule = isTold ? jump : way[way.at(-1)!.lastNew]!.by!;
    const [first, length] = [onWay.get(rule.chain)!, way.length - from];
    const named = Array.from(
      { length: Math.min(length, MOST_NAMED) },
      (_, n) => way[from + ((first - from + n) % length)]!.chain,
    );
    const names = [...named, rule.chain].map((id) => index.get('chain', id)?.name ?? id);
    if (length > MOST_NAMED) names.splice(MOST_NAMED, 0, `${length - MOST_NAMED} more`);
    return { rule, chains: names };
  };
  for (const start of starts) {
    if (!left.has(start)) enter(start);
    while (way.length > 0) {
      const here = way.at(-1)!;
      const jump = here.jumps[here.at++];
      if (jump === undefined) {
        way.pop();
        onWay.delete(here.chain);
        left.add(here.chain);
        if (here.jumps.some(({ jumpTo }) => endless.has(jumpTo))) endless.add(here.chain);
        continue;
      }
      const from = onWay.get(jump.jumpTo);
      if (from !== undefined) {
        endless.add(here.chain);
        circles.push(circleBy(jump, from));
      } else if (!left.has(jump.jumpTo)) enter(jump.jumpTo, jump);
    }
  }
  return { circles, endless };
}
