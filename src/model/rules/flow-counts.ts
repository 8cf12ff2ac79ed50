import { describe } from '../describe.ts';
import {
  flowsOfBalancer,
  flowsOfGroupRule,
  flowsOfMatch,
  flowsOfPolicy,
  flowsOfTrunk,
  MOST_OBJECT_FLOWS,
  MOST_RULE_FLOWS,
  MOST_TRUNK_FLOWS,
} from '../flow-counts.ts';
import type { ModelIndex } from '../model-index.ts';
import type { AnyObject, PolicyRoute, Router, SecurityGroup } from '../objects.ts';
import type { Problem } from '../problem.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** No object costs switches more flows than they take. What was stored before this was asked may be changed as long as it costs no more. */
export const checkFlowCounts: Rule = (index, changes, report) => {
  const grown = new Set<string>();
  for (const { before, after } of written(changes, 'rule')) {
    const [was, is] = [flowsOfMatch(before?.match ?? {}), flowsOfMatch(after.match)];
    if (before?.chain !== after.chain || is > was) grown.add(after.chain);
    if (isTooMany(is, before && was, MOST_RULE_FLOWS)) report(ofMatch(index, after, 'match', is));
  }
  for (const id of grown) {
    const chain = index.get('chain', id);
    const count = sum(index.rulesOfChain(id), ({ match }) => flowsOfMatch(match));
    if (chain && count > MOST_OBJECT_FLOWS) report(ofAll(index, chain, '', 'its rules', count, WIDE_RANGES));
  }
  for (const { before, after } of written(changes, 'router')) checkPolicies(index, before, after, report);
  for (const { before, after } of written(changes, 'mirror')) {
    const is = flowsOfMatch(after.match);
    if (isTooMany(is, before && flowsOfMatch(before.match), MOST_RULE_FLOWS))
      report(ofMatch(index, after, 'match', is));
  }
  for (const { before, after } of written(changes, 'securityGroup')) {
    const is = flowsOfGroup(after);
    if (isTooMany(is, before && flowsOfGroup(before), MOST_OBJECT_FLOWS))
      report(ofAll(index, after, '', 'its rules', is, WIDE_RANGES));
  }
  for (const { before, after } of written(changes, 'loadBalancer')) {
    const is = flowsOfBalancer(after);
    if (isTooMany(is, before && flowsOfBalancer(before), MOST_OBJECT_FLOWS))
      report(ofAll(index, after, 'listeners', 'its members at the ports that its listeners lead to', is, MANY_PORTS));
  }
  for (const { before, after } of written(changes, 'port')) {
    const is = flowsOfTrunk(after);
    if (!isTooMany(is, before && flowsOfTrunk(before), MOST_TRUNK_FLOWS)) continue;
    const message = `its VLANs, with the MACs of its allowed pairs, are ${is} flows, and a trunk may be ${MOST_TRUNK_FLOWS}`;
    report({ object: describe(index, after), path: 'vlan.trunk', code: 'flow-count', message, hint: SCATTERED });
  }
};

const BLOCKS = 'a range is a flow for each aligned block of it: 1024-2047 is one, 1023-2048 three';
const WIDE_RANGES = `ask for fewer ranges of ports, or for wider ones; ${BLOCKS}`;
const MANY_PORTS =
  'let listeners lead to fewer ports of members (memberPort), or share the members out to more balancers';
const SCATTERED = 'list VLANs that follow each other, or trunk: all; or give fewer pairs a MAC of their own';

function checkPolicies(
  index: ModelIndex,
  before: Router | undefined,
  after: Router,
  report: (problem: Problem) => void,
): void {
  if (before?.policies === after.policies) return;
  const was = new Map(before?.policies.map((policy) => [policy.position, flowsOfPolicy(policy)]));
  for (const [at, policy] of after.policies.entries()) {
    const is = flowsOfPolicy(policy);
    if (isTooMany(is, was.get(policy.position), MOST_RULE_FLOWS))
      report(ofMatch(index, after, `policies[${at}].match`, is));
  }
  const all = (policies: readonly PolicyRoute[]): number => sum(policies, flowsOfPolicy);
  const is = all(after.policies);
  if (isTooMany(is, before && all(before.policies), MOST_OBJECT_FLOWS))
    report(ofAll(index, after, 'policies', 'its policies', is, WIDE_RANGES));
}

function flowsOfGroup({ ingress, egress }: SecurityGroup): number {
  return sum([...ingress, ...egress], flowsOfGroupRule);
}

function sum<T>(values: readonly T[], countOf: (value: T) => number): number {
  return values.reduce((total, value) => total + countOf(value), 0);
}

function isTooMany(is: number, was: number | undefined, most: number): boolean {
  return is > most && is > (was ?? 0);
}

function ofMatch(index: ModelIndex, object: AnyObject, path: string, count: number): Problem {
  return {
    ...{ object: describe(index, object), path, code: 'flow-count' },
    message: `it is ${count} flows, for every block of one range of ports with every block of the other, by IP version and state, and may be ${MOST_RULE_FLOWS}`,
    hint: `ask for srcPorts or dstPorts only, for one IP version, or for ranges of fewer blocks; ${BLOCKS}`,
  };
}

function ofAll(index: ModelIndex, object: AnyObject, path: string, what: string, count: number, hint: string): Problem {
  const message = `${what} are ${count} flows together, and may be ${MOST_OBJECT_FLOWS}`;
  return { object: describe(index, object), path, code: 'flow-count', message, hint };
}
