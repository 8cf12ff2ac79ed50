import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { AnyObject, Rule as RuleObject } from '../objects.ts';
import type { Problem } from '../problem.ts';
import { firstRuleBehind, referrersBefore } from './jumps.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/**
 * What protects the outside (docs/design/gateways.md, §8): pre-filters are asked where no connection is known and answer nobody, sources are
 * checked where frames come from a switch.
 */
export const checkProtection: Rule = (index, changes, report) => {
  for (const kind of ['switch', 'router', 'floatingAddress', 'loadBalancer'] as const)
    for (const { after } of written(changes, kind))
      if (after.prefilter !== undefined) checkPrefilter(index, after, after.prefilter, report);
  for (const { after } of written(changes, 'loadBalancer'))
    for (const path of ['prefilter', 'inboundLimit'] as const)
      if (after[path] !== undefined && after.router === undefined)
        report({
          ...{ object: describe(index, after), path, code: 'prefilter' },
          message: 'nothing comes from outside to a VIP of a switch',
          hint: 'filter and limit its clients at their ports',
        });
  for (const { before, after } of written(changes, 'rule')) {
    const was = before && whyNot(before);
    const why = whyNot(after);
    const isWorse =
      (why !== undefined && why !== was) || (after.jumpTo !== undefined && after.jumpTo !== before?.jumpTo);
    if (!isWorse) continue;
    const hook = hookOf(index, after.chain);
    if (hook === undefined) continue;
    const found = why === undefined ? firstUnfit(index, after.jumpTo!) : { rule: after, why };
    if (found === undefined) continue;
    report({
      object: describe(index, after),
      path: found.rule === after ? found.why.path : 'jumpTo',
      code: 'prefilter',
      message: `its chain is a pre-filter of ${describe(index, hook)}, and ${found.rule === after ? 'it' : describe(index, found.rule)} ${found.why.what}`,
      hint: found.why.hint,
    });
  }
  for (const { after } of written(changes, 'routerPort')) {
    if (after.sourceCheck === undefined || after.sourceCheck === 'off') continue;
    const problem = (message: string, hint: string): void =>
      report({ object: describe(index, after), path: 'sourceCheck', code: 'source-check', message, hint });
    if (after.outside)
      problem(
        'an outside port lets in only what it translates',
        'check sources at the router that the wire leads to, or by an inChain here',
      );
    else if (after.switch === undefined)
      problem('sources are checked of what a switch sends in, and the port joins none', 'check them where the wire is');
  }
};

type Report = (problem: Problem) => void;

function checkPrefilter(index: ModelIndex, hook: AnyObject, chain: string, report: Report): void {
  const problem = (message: string, hint: string): void =>
    report({ object: describe(index, hook), path: 'prefilter', code: 'prefilter', message, hint });
  const found = firstUnfit(index, chain);
  if (found) problem(`${describe(index, found.rule)} ${found.why.what}`, found.why.hint);
}

interface Unfit {
  readonly rule: RuleObject;
  readonly why: { readonly path: string; readonly what: string; readonly hint: string };
}

/** The first rule of the chain, or of one that it jumps to, that no pre-filter may have. */
function firstUnfit(index: ModelIndex, chain: string): Unfit | undefined {
  const rule = firstRuleBehind(index, chain, (each) => whyNot(each) !== undefined);
  return rule && { rule, why: whyNot(rule)! };
}

function whyNot(rule: RuleObject): Unfit['why'] | undefined {
  if (rule.match.state !== undefined) return ASKS_STATE;
  return rule.action === 'reject' ? ANSWERS : undefined;
}

const ASKS_STATE = {
  path: 'match.state',
  what: 'asks for the state of connections, which a pre-filter knows nothing of',
  hint: 'ask by address, protocol and port; established answers by tcpFlags: +ack',
};
const ANSWERS = {
  path: 'action',
  what: 'rejects, and a pre-filter answers nobody',
  hint: 'drop, or reject by the inChain of the outside port',
};

/** Who has the chain as a pre-filter, or one that leads to it by jumps. */
function hookOf(index: ModelIndex, chain: string): AnyObject | undefined {
  for (const [referrer, at] of referrersBefore(index, chain))
    if ('prefilter' in referrer && referrer.prefilter === at) return referrer;
  return undefined;
}
