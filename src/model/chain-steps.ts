import type { Rule, RuleMatch } from './objects.ts';

/**
 * What a chain costs the switch that walks it. Rules that simply decide are tried all at once; one that goes on behind itself, asks for a
 * set, or has inverted fields is a *step* of its own (compile/units/chain.ts), and a jump leads through all steps of its target.
 */

/** Jumps that follow each other. Open vSwitch follows 64 resubmits to earlier tables, and ours are not alone. */
export const MAX_JUMP_DEPTH = 40;
/** Steps of a chain with all that it jumps to. Open vSwitch follows 4,096 resubmits a packet, which may meet several chains. */
export const MOST_CHAIN_STEPS = 1_000;

type Field = Exclude<keyof RuleMatch, 'not'>;

/** Has it fields, sets and groups apart, that must not fit? */
export function hasExceptions(match: RuleMatch): boolean {
  return (match.not ?? []).some((field) => !isSetField(field) && match[field as Field] !== undefined);
}

/** How many sets and groups it asks for. */
export function setsAsked(match: RuleMatch): number {
  return [match.srcSet, match.dstSet, match.srcGroup, match.dstGroup].filter((set) => set !== undefined).length;
}

export function isSetField(field: string): boolean {
  return field === 'srcSet' || field === 'dstSet' || field === 'srcGroup' || field === 'dstGroup';
}

/** Segments that a rule ends: one behind itself, and one before where it has inverted fields. */
export function segmentsOfRule({ action, match }: Pick<Rule, 'action' | 'match'>): 0 | 1 | 2 {
  if (hasExceptions(match)) return 2;
  return setsAsked(match) > 0 || action === 'jump' || action === 'log' ? 1 : 0;
}

/** Steps of a rule, without those of the chain that it jumps to. */
export function stepsOfRule(rule: Pick<Rule, 'action' | 'match'>): number {
  return segmentsOfRule(rule) + 2 * setsAsked(rule.match) + (rule.action === 'jump' ? 1 : 0);
}

/** How deep its jump leads: Open vSwitch goes back to an earlier table for each set first. */
export function depthOfRule({ match }: Pick<Rule, 'match'>): number {
  return 1 + setsAsked(match);
}
