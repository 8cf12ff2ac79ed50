import type { Contribution } from '../../incremental/definitions.ts';
import { depthOfRule, MAX_JUMP_DEPTH, segmentsOfRule } from '../../model/chain-steps.ts';
import type { Rule } from '../../model/objects.ts';
import type { Action } from '../../openflow/flow.ts';
import { toAgent } from '../facts.ts';
import { load, match, type Registers, VERDICT } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader, rulesIndex } from '../inputs.ts';
import { reportProblem } from '../problem-sink.ts';
import { runsQuietly } from '../quiet-chains.ts';
import { planOf, type RuleFields, type RulePlan, type SetCondition, unknownIn } from '../rule-match.ts';
import { asked, conjunctionOf, IN_SET } from '../sets.ts';
import { TABLES } from '../tables.ts';
import { givesHelper, judgesRelated } from './connection-helpers.ts';
import { RECEIVER, SENDER } from './track.ts';

/**
 * Chains as flows, each rule once however many ports and chains use it. A rule that goes on behind itself (`jump`, `log`)
 * ends a segment; `chainStart` runs the segments of a chain one after the other, and what is decided makes the rest match nothing:
 *
 *   chain web (key 7)          chainStart  chain=7                actions: verdict=none, seg 0 -> chain, seg 1 -> chain, left=0
 *     10 accept tcp 80         chain       chain=7 seg=0 tcp 80   actions: verdict=accept
 *     20 jump common           chain       chain=7 seg=0          actions: chain=9, verdict=drop -> chainStart
 *     30 drop                  chain       chain=7 seg=1          actions: verdict=drop
 *
 * A rule that asks for a set ends a segment too: its flow looks the set up (sets.ts), then what came of it in a step of its own, so that
 * an address is one flow however many rules ask for its set:
 *
 *     40 drop srcSet bad       chain       chain=7 seg=1          actions: chain=bad -> set, chain=7 seg=1+step -> chain
 *                              chain       chain=7 seg=1+step isIn=1       actions: verdict=drop
 *
 * A rule with inverted fields has a segment to itself, where what does not fit stands above what does.
 */

/** Segments that fit one flow: each is 48 bytes of actions, and a message ends at 65,535. The rules of the model end chains before that (`MOST_CHAIN_STEPS`). */
export const MOST_SEGMENTS = 1_360;

const NO_SPLITS: readonly number[] = [];

/** Where segments end, ascending: positions of rules, and halves before those that have a segment to themselves. */
const splits = define.cell<readonly number[]>({
  name: 'chainSplits',
  run: (reader, chain) => {
    const positions: number[] = [];
    for (const id of reader.ids(rulesIndex, chain)) {
      const action = reader.pick('rule', id, 'action')!;
      const segments = segmentsOfRule({ action, match: reader.pick('rule', id, 'match')! });
      if (segments === 0) continue;
      const position = reader.pick('rule', id, 'position')!;
      if (segments === 2) positions.push(position - 0.5);
      positions.push(position);
    }
    return positions.length === 0 ? NO_SPLITS : positions.sort((a, b) => a - b);
  },
});

/** Chains that a chain jumps to, each once, and how deep that takes: a rule that asks for sets goes back to `chain` for each first. */
const jumpTargets = define.cell<ReadonlyMap<string, number>>({
  name: 'jumpTargets',
  run: (reader, chain) => {
    const targets = new Map<string, number>();
    for (const id of reader.ids(rulesIndex, chain)) {
      const target = reader.pick('rule', id, 'action') === 'jump' ? reader.pick('rule', id, 'jumpTo') : undefined;
      if (target === undefined) continue;
      const depth = depthOfRule({ match: reader.pick('rule', id, 'match')! });
      targets.set(target, Math.max(depth, targets.get(target) ?? 0));
    }
    return targets;
  },
});

/** Is the longest way of jumps from a chain short enough to follow? False for a chain that leads back to itself. */
const isBounded = define.cell<boolean>({
  name: 'jumpsAreBounded',
  run: (reader, chain) => {
    const levels: Set<string>[] = [new Set([chain])];
    for (let depth = 0; depth < levels.length; depth++) {
      if (depth > MAX_JUMP_DEPTH) return false;
      for (const from of levels[depth] ?? [])
        for (const [to, more] of reader.derive(jumpTargets, from)) {
          levels[depth + more] ??= new Set();
          levels[depth + more]!.add(to);
        }
    }
    return true;
  },
});

/** How many rules of the chain end a segment before this position. */
function segmentAt(positions: readonly number[], position: number): number {
  let low = 0;
  let high = positions.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (positions[middle]! < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Its chain drops everything, and none of its rules is asked. */
function isTooLong(positions: readonly number[]): boolean {
  return positions.length >= MOST_SEGMENTS;
}

const toChain: Action = { kind: 'resubmit', table: TABLES.chain.number };
const toChainStart: Action = { kind: 'resubmit', table: TABLES.chainStart.number };

/**
 * Runs a chain, which is done from tables before and after these, as `goto` could not. Closed rather than open: it drops until its flow in
 * `chainStart` says that nothing is decided yet, which Open vSwitch may have refused.
 */
export function startChain(chain: number, more: Registers = {}): Action[] {
  return [...load({ chain, verdict: VERDICT.drop, ...more }), toChainStart];
}

export const chainUnit = define.unit({
  name: 'chain',
  over: 'chain',
  run(reader, id): readonly Contribution[] {
    const chain = reader.pick('chain', id, 'key')!;
    const positions = reader.derive(splits, id);
    if (isTooLong(positions))
      return [
        flow('chainStart', 100, match({ chain }), { do: load({ verdict: VERDICT.drop }), drop: 'rule' }),
        reportProblem(
          id,
          `${positions.length + 1} parts, where ${MOST_SEGMENTS} are followed; the chain drops everything`,
        ),
      ];
    const first = load({ chain, segment: 0, verdict: VERDICT.none });
    const others = positions.flatMap((_, i) => [...load({ chain, segment: i + 1 }), toChain]);
    return [flow('chainStart', 100, match({ chain }), { do: [...first, toChain, ...others, ...load({ left: 0 })] })];
  },
});

/** Rules are tried from the lowest position (1 to 60,000) up. */
const FIRST_PRIORITY = 61_000;
/** What a rule with a segment to itself does not fit. */
const EXCEPT = 62_000;
/** Steps of a rule that asks for sets, beside its segment: there are fewer segments. */
const STEP = 0x2000;

export const ruleUnit = define.unit({
  name: 'rule',
  over: 'rule',
  run(reader, id): readonly Contribution[] {
    const rule = reader.get('rule', id)!;
    return flowsOf(reader, rule, isToldApart(reader, rule) ? { quiet: 0 } : {});
  },
});

/**
 * The same rule where a chain is run to find out what it would say (units/uplink.ts): what it drops then has not been dropped, and is not
 * counted as such. It logs nothing then.
 */
export const quietRuleUnit = define.unit({
  name: 'quietRule',
  over: 'rule',
  run(reader, id): readonly Contribution[] {
    const rule = reader.get('rule', id)!;
    return rule.action === 'log' || !isToldApart(reader, rule) ? [] : flowsOf(reader, rule, { quiet: 1 });
  },
});

function isToldApart(reader: Reader, { action, chain }: Rule): boolean {
  return (action === 'log' || action === 'drop' || action === 'reject') && reader.derive(runsQuietly, chain);
}

/** `told`: when its chain is run so, where that matters. */
function flowsOf(reader: Reader, rule: Rule, told: Pick<Registers, 'quiet'>): readonly Contribution[] {
  const { id } = rule;
  const chain = reader.pick('chain', rule.chain, 'key');
  if (chain === undefined) return [];
  const isQuiet = told.quiet === 1;
  const positions = reader.derive(splits, rule.chain);
  if (isTooLong(positions)) return [];
  const segment = segmentAt(positions, rule.position);
  const at: Registers = { ...told, chain, segment, verdict: VERDICT.none, left: 0 };
  const priority = FIRST_PRIORITY - rule.position;
  // Closed rather than open: who knows what such a rule would have dropped, or accepted.
  const closed = (why: string): Contribution[] => [
    flow('chain', priority, match(at), { do: load({ verdict: VERDICT.drop }), ...(isQuiet ? {} : { drop: 'rule' }) }),
    reportProblem(id, `${why}; from here on the chain drops everything`),
  ];
  const unknown = unknownIn(rule.match);
  if (unknown !== undefined) return closed(`"${unknown}" is not known to this agent`);
  let plan: RulePlan;
  try {
    plan = planOf(rule.match);
  } catch (error) {
    return closed(`its match does not read (${String(error)})`);
  }
  const outcome = outcomeOf(reader, rule);
  if ('unknown' in outcome) return closed(`the action "${rule.action}" is not known to this agent`);
  const steps = askingSets(reader, plan.sets, at);
  if (steps === undefined) return closed('a set or group that it names is not there');
  const flowsAt = (height: number, fields: readonly RuleFields[], target: Outcome): Contribution[] =>
    fields.map((one) =>
      flow('chain', height, match({ ...at, ...one.registers }, one.fields), {
        do: target.do,
        ...(target.drops === undefined || isQuiet ? {} : { drop: target.drops }),
      }),
    );
  const flows = [
    ...flowsAt(EXCEPT, plan.except, { do: [] }),
    ...flowsAt(priority, plan.matches, steps.length === 0 ? outcome : { do: steps[0]!.ask }),
    ...steps.flatMap(({ flows, where }, i) => [
      ...flows,
      flow('chain', priority, match(where), {
        do: steps[i + 1]?.ask ?? outcome.do,
        ...(i + 1 < steps.length || outcome.drops === undefined || isQuiet ? {} : { drop: outcome.drops }),
      }),
    ]),
  ];
  if (rule.action === 'accept' && rule.helper !== undefined)
    flows.push(...[SENDER, RECEIVER].flatMap((side) => givesHelper(side, rule.helper!)), ...judgesRelated());
  return outcome.problem === undefined ? flows : [...flows, reportProblem(id, outcome.problem)];
}

/** What a rule does with what it fits. */
interface Outcome {
  readonly do: readonly Action[];
  readonly drops?: 'rule' | 'rejected';
  readonly problem?: string;
}

function outcomeOf(reader: Reader, rule: Rule): Outcome | { readonly unknown: true } {
  switch (rule.action) {
    case 'accept':
      return { do: load({ verdict: VERDICT.accept, ...(rule.helper === undefined ? {} : { helped: 1 }) }) };
    case 'drop':
      return { do: load({ verdict: VERDICT.drop }), drops: 'rule' };
    case 'reject':
      return { do: load({ verdict: VERDICT.reject }), drops: 'rejected' };
    case 'return':
      return { do: load({ left: 1 }) };
    case 'log':
      return { do: [toAgent(reader, 'log')] };
    case 'jump': {
      const target = rule.jumpTo === undefined ? undefined : reader.pick('chain', rule.jumpTo, 'key');
      if (target !== undefined && reader.derive(isBounded, rule.jumpTo!)) return { do: startChain(target) };
      // Closed rather than open: what cannot be followed may have said drop.
      const why =
        target === undefined ? 'the chain that it jumps to is not there' : 'its jumps are too deep, or lead back';
      return { do: load({ verdict: VERDICT.drop }), drops: 'rule', problem: `${why}; the rule drops instead` };
    }
    default:
      return { unknown: true };
  }
}

const toSet: Action = { kind: 'resubmit', table: TABLES.set.number };

interface AskingSet {
  /** Looks the set up, and goes on to where `where` matches if the address is in it as wanted. */
  readonly ask: readonly Action[];
  readonly where: Registers;
  readonly flows: readonly Contribution[];
}

/** One step per set that a rule asks for; undefined where one is not there. */
function askingSets(reader: Reader, sets: readonly SetCondition[], at: Registers): AskingSet[] | undefined {
  const steps: AskingSet[] = [];
  for (const { set, side, isIn } of sets) {
    const id = conjunctionOf(reader, set, side);
    if (id === undefined) return undefined;
    const segment = at.segment! + (steps.length + 1) * STEP;
    steps.push({
      ask: [...load({ chain: id, isIn: 0 }), toSet, ...load({ chain: at.chain!, segment }), toChain],
      where: { ...at, segment, isIn: isIn ? 1 : 0 },
      flows: [
        flow('set', IN_SET, match({ chain: id }), { do: [asked(id)] }),
        flow('set', IN_SET, { conj_id: id }, { do: load({ isIn: 1 }) }),
      ],
    });
  }
  return steps;
}
