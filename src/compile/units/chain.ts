import type { Contribution } from '../../incremental/definitions.ts';
import type { Action } from '../../openflow/flow.ts';
import { toAgent } from '../facts.ts';
import { load, match, VERDICT } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, rulesIndex } from '../inputs.ts';
import { reportProblem } from '../problem-sink.ts';
import { type RuleFields, ruleMatches, unknownIn } from '../rule-match.ts';
import { TABLES } from '../tables.ts';

/**
 * Chains as flows, each rule once however many ports and chains use it. A rule that goes on behind itself (`jump`, `log`)
 * ends a segment; `chainStart` runs the segments of a chain one after the other, and what is decided makes the rest match nothing:
 *
 *   chain web (key 7)          chainStart  chain=7                actions: seg 0 -> chain, seg 1 -> chain, left=0
 *     10 accept tcp 80         chain       chain=7 seg=0 tcp 80   actions: verdict=accept
 *     20 jump common           chain       chain=7 seg=0          actions: chain=9 -> chainStart
 *     30 drop                  chain       chain=7 seg=1          actions: verdict=drop
 */

/** Jumps that follow each other. Open vSwitch follows 64 resubmits to earlier tables, and ours are not alone. */
export const MAX_JUMP_DEPTH = 40;

const NO_SPLITS: readonly number[] = [];

/** Positions of the rules that end a segment, ascending. */
const splits = define.cell<readonly number[]>({
  name: 'chainSplits',
  run: (reader, chain) => {
    const positions: number[] = [];
    for (const id of reader.ids(rulesIndex, chain)) {
      const action = reader.pick('rule', id, 'action');
      if (action === 'jump' || action === 'log') positions.push(reader.pick('rule', id, 'position')!);
    }
    return positions.length === 0 ? NO_SPLITS : positions.sort((a, b) => a - b);
  },
});

/** Chains that a chain jumps to, each once. */
const jumpTargets = define.cell<readonly string[]>({
  name: 'jumpTargets',
  run: (reader, chain) => {
    const targets = new Set<string>();
    for (const id of reader.ids(rulesIndex, chain)) {
      const target = reader.pick('rule', id, 'action') === 'jump' ? reader.pick('rule', id, 'jumpTo') : undefined;
      if (target !== undefined) targets.add(target);
    }
    return [...targets].sort();
  },
});

/** Is the longest way of jumps from a chain short enough to follow? False for a chain that leads back to itself. */
const isBounded = define.cell<boolean>({
  name: 'jumpsAreBounded',
  run: (reader, chain) => {
    let level = new Set([chain]);
    for (let depth = 0; depth <= MAX_JUMP_DEPTH; depth++) {
      const next = new Set<string>();
      for (const from of level) for (const to of reader.derive(jumpTargets, from)) next.add(to);
      if (next.size === 0) return true;
      level = next;
    }
    return false;
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

const toChain: Action = { kind: 'resubmit', table: TABLES.chain.number };
/** Chains are run from tables before and after theirs, which `goto` could not do. */
export const toChainStart: Action = { kind: 'resubmit', table: TABLES.chainStart.number };

export const chainUnit = define.unit({
  name: 'chain',
  over: 'chain',
  run(reader, id): readonly Contribution[] {
    const chain = reader.pick('chain', id, 'key')!;
    const positions = reader.derive(splits, id);
    const run = [...positions, undefined].flatMap((_, segment) => [...load({ chain, segment }), toChain]);
    return [flow('chainStart', 100, match({ chain }), { do: [...run, ...load({ left: 0 })] })];
  },
});

/** Rules are tried from the lowest position (1 to 60,000) up. */
const FIRST_PRIORITY = 61_000;

export const ruleUnit = define.unit({
  name: 'rule',
  over: 'rule',
  run(reader, id): readonly Contribution[] {
    const rule = reader.get('rule', id)!;
    const chain = reader.pick('chain', rule.chain, 'key');
    if (chain === undefined) return [];
    const segment = segmentAt(reader.derive(splits, rule.chain), rule.position);
    const registers = { chain, segment, verdict: VERDICT.none, left: 0 };
    const priority = FIRST_PRIORITY - rule.position;
    // Closed rather than open: who knows what such a rule would have dropped, or accepted.
    const closed = (why: string): Contribution[] => [
      flow('chain', priority, match(registers), { do: load({ verdict: VERDICT.drop }), drop: 'rule' }),
      reportProblem(id, `${why}; from here on the chain drops everything`),
    ];
    const unknown = unknownIn(rule.match);
    if (unknown !== undefined) return closed(`"${unknown}" is not known to this agent`);
    let matches: readonly RuleFields[];
    try {
      matches = ruleMatches(rule.match);
    } catch (error) {
      return closed(`its match does not read (${String(error)})`);
    }
    const flows = (actions: readonly Action[], drops = false): Contribution[] =>
      matches.map(({ fields, vlan }) =>
        flow('chain', priority, match(vlan === undefined ? registers : { ...registers, vlan }, fields), {
          do: actions,
          ...(drops ? { drop: 'rule' } : {}),
        }),
      );
    switch (rule.action) {
      case 'accept':
        return flows(load({ verdict: VERDICT.accept }));
      case 'drop':
        return flows(load({ verdict: VERDICT.drop }), true);
      case 'return':
        return flows(load({ left: 1 }));
      case 'log':
        return flows([toAgent(reader, 'log')]);
      case 'jump': {
        const target = rule.jumpTo === undefined ? undefined : reader.pick('chain', rule.jumpTo, 'key');
        if (target !== undefined && reader.derive(isBounded, rule.jumpTo!))
          return flows([...load({ chain: target }), toChainStart]);
        // Closed rather than open: what cannot be followed may have said drop.
        const why =
          target === undefined ? 'the chain that it jumps to is not there' : 'its jumps are too deep, or lead back';
        return [...flows(load({ verdict: VERDICT.drop }), true), reportProblem(id, `${why}; the rule drops instead`)];
      }
      default:
        return closed(`the action "${rule.action}" is not known to this agent`);
    }
  },
});
