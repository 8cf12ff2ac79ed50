import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { RouterPort, Rule as RuleObject } from '../objects.ts';
import { firstRuleBehind, routerPortsWith } from './jumps.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/**
 * What comes in by an uplink is judged there by its in-chain, in the state of the wire's own connections: with several uplinks answers come by
 * another one than what they answer, and such a filter would drop them (docs/design/layer3.md, §5). Out-chains ask the sender's state, which is
 * the same whichever way a packet leaves.
 */
export const checkStatefulUplinks: Rule = (index, changes, report) => {
  const checked = new Set<string>();
  const check = (port: RouterPort): void => {
    if (port.inChain === undefined || checked.has(port.id) || !isOneOfSeveral(index, port)) return;
    checked.add(port.id);
    const rule = firstRuleBehind(index, port.inChain, asksState);
    if (rule)
      report({
        ...{ object: describe(index, port), path: 'inChain', code: 'stateful-uplink', hint: HINT },
        message: `${describe(index, rule)} asks for the state of connections, and ${describe(index, index.get('router', port.router)!)} has other uplinks, by which their other packets may come`,
      });
  };
  for (const { before, after } of written(changes, 'routerPort')) if (after.inChain !== before?.inChain) check(after);
  for (const { before, after } of written(changes, 'bgpPeer'))
    if (after.routerPort !== before?.routerPort)
      for (const port of index.routerPortsOfRouter(after.router)) check(port);
  for (const { before, after } of written(changes, 'rule'))
    if (
      (asksState(after) && !(before && asksState(before))) ||
      (after.jumpTo !== undefined && after.jumpTo !== before?.jumpTo)
    )
      for (const port of routerPortsWith(index, after.chain)) check(port);
};

const HINT =
  'filter by state at the outside port of the router behind it, at switches or ports, or here by an outChain; here rules without state';

const asksState = ({ match }: RuleObject): boolean => match?.state !== undefined;

/** Is BGP spoken by this port of the router, and by others? */
function isOneOfSeveral(index: ModelIndex, port: RouterPort): boolean {
  const uplinks = new Set([...index.bgpPeersOfRouter(port.router)].map(({ routerPort }) => routerPort));
  return uplinks.has(port.id) && uplinks.size > 1;
}
