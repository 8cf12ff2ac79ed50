import type { DraftChange } from './draft.ts';
import type { ModelIndex } from './model-index.ts';
import type { Problem } from './problem.ts';
import { checkAllowedPairs } from './rules/allowed-pairs.ts';
import { checkBgp } from './rules/bgp.ts';
import { checkChains } from './rules/chains.ts';
import { checkConnectionHelpers } from './rules/connection-helpers.ts';
import { checkFlowCounts } from './rules/flow-counts.ts';
import { checkHosts } from './rules/hosts.ts';
import { checkIdentity } from './rules/identity.ts';
import { checkL2Gateways } from './rules/l2-gateways.ts';
import { checkMirrors } from './rules/mirrors.ts';
import { checkNextHopProbes } from './rules/next-hop-probes.ts';
import { checkPorts } from './rules/ports.ts';
import { checkProtection } from './rules/protection.ts';
import { checkReferences } from './rules/references.ts';
import { checkRouteCircles } from './rules/route-circles.ts';
import { checkRouterPorts } from './rules/router-ports.ts';
import { checkRouters } from './rules/routers.ts';
import type { Rule } from './rules/rule.ts';
import { checkStatefulUplinks } from './rules/stateful-uplinks.ts';
import { checkSwitches } from './rules/switches.ts';
import { checkTranslated } from './rules/translated.ts';
import { checkVteps } from './rules/vteps.ts';

/** The rules that a whole model must keep. Each looks only at what a change can have broken. */
const RULES: readonly Rule[] = [
  ...[checkIdentity, checkReferences, checkSwitches, checkPorts, checkChains, checkHosts],
  ...[checkRouters, checkNextHopProbes, checkRouterPorts, checkRouteCircles, checkTranslated, checkMirrors],
  ...[checkBgp, checkL2Gateways, checkVteps, checkProtection, checkConnectionHelpers, checkStatefulUplinks],
  ...[checkAllowedPairs, checkFlowCounts],
];

/**
 * Everything that is wrong with a change: `index` is the model after it. Costs in proportion to the change (for a switch
 * whose subnets change, to its ports as well).
 */
export function checkRules(index: ModelIndex, changes: readonly DraftChange[]): readonly Problem[] {
  const problems: Problem[] = [];
  for (const rule of RULES) rule(index, changes, (problem) => problems.push(problem));
  return problems;
}
