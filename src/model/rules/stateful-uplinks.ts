import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import { isWire } from '../mtu.ts';
import type { RouterPort, RuleMatch, Rule as RuleObject } from '../objects.ts';
import type { Problem } from '../problem.ts';
import { isUplink } from '../uplinks.ts';
import { firstRuleBehind, othersBehind, routerPortsWith } from './jumps.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/**
 * What comes in by an uplink is let in as new, or else as known (docs/design/layer3.md, §5a). So a rule that stops known connections alone would not
 * stop what is let in as new, and is refused. One of several BGP ports that is no uplink, as others than wires are on its switch, has the state of
 * its own connections, and answers come by another port: there nothing may ask for it. Out-chains ask the sender's state.
 */
export const checkStatefulUplinks: Rule = (index, changes, report) => {
  const checked = new Set<string>();
  const check = (port: RouterPort): void => {
    if (port.inChain === undefined || checked.has(port.id)) return;
    checked.add(port.id);
    const problem = problemAt(index, port, port.inChain);
    if (problem) report(problem);
  };
  for (const { before, after } of written(changes, 'routerPort'))
    if (after.inChain !== before?.inChain || after.switch !== before?.switch) check(after);
  for (const { before, after } of written(changes, 'bgpPeer'))
    if (after.routerPort !== before?.routerPort)
      for (const port of index.routerPortsOfRouter(after.router)) check(port);
  for (const { after } of written(changes, 'router'))
    for (const port of index.routerPortsOfRouter(after.id)) check(port);
  for (const { before, after } of written(changes, 'port'))
    if (before === undefined || isWire(after) !== isWire(before))
      for (const port of index.routerPortsOfSwitch(after.switch)) check(port);
  const chains = new Set([...written(changes, 'rule')].map(({ after }) => after.chain));
  for (const port of routerPortsWith(index, chains)) check(port);
};

function problemAt(index: ModelIndex, port: RouterPort, chain: string): Problem | undefined {
  const asks = ({ match }: RuleObject): boolean => match?.state !== undefined;
  const asking = firstRuleBehind(index, chain, asks);
  if (asking === undefined) return undefined;
  const problem = { object: describe(index, port), path: 'inChain', code: 'stateful-uplink' } as const;
  if (isUplink(index, port)) {
    const stopsKnown = (rule: RuleObject): boolean => asksForKnownAlone(rule.match) && stops(index, rule);
    const stopping = firstRuleBehind(index, chain, stopsKnown);
    if (stopping === undefined) return undefined;
    return {
      ...problem,
      message: `${describe(index, stopping)} would stop known connections alone, and what is let in here as new is not asked whether it is known${othersBehind(index, chain, stopping, stopsKnown)}`,
      hint: 'let known ones in by "accept", and drop for all states; "state: invalid" may be dropped, which its anchor does anyway',
    };
  }
  if (!isOneOfSeveral(index, port) || !hasOthersThanWires(index, port)) return undefined;
  return {
    ...problem,
    message: `${describe(index, asking)} asks for the state of connections, and ${describe(index, index.get('router', port.router)!)} has other uplinks, by which their other packets may come${othersBehind(index, chain, asking, asks)}`,
    hint: 'give the uplink a switch of its own, with nothing but its wires (no port security, no addresses)',
  };
}

const BEGINS = ['new'] as const;
/** What else conntrack may say of a packet that it knows. */
const KNOWN = [['established'], ['established', 'reply'], ['related'], ['related', 'reply']] as const;

function asksForKnownAlone({ state, not }: RuleMatch): boolean {
  if (state === undefined) return false;
  const isInverted = not?.includes('state') ?? false;
  const fits = (said: readonly string[]): boolean => state.some((wanted) => said.includes(wanted)) !== isInverted;
  return !fits(BEGINS) && KNOWN.some(fits);
}

/** Does it keep something from being accepted: by itself, by what it jumps to, or by leaving out what comes behind it? */
function stops(index: ModelIndex, { action, jumpTo }: RuleObject): boolean {
  if (action === 'jump') return jumpTo !== undefined && firstRuleBehind(index, jumpTo, drops) !== undefined;
  return action === 'return' || drops({ action });
}

function drops({ action }: Pick<RuleObject, 'action'>): boolean {
  return action === 'drop' || action === 'reject';
}

/** Is BGP spoken by this port of the router, and by others? */
function isOneOfSeveral(index: ModelIndex, port: RouterPort): boolean {
  const uplinks = new Set([...index.bgpPeersOfRouter(port.router)].map(({ routerPort }) => routerPort));
  return uplinks.has(port.id) && uplinks.size > 1;
}

function hasOthersThanWires(index: ModelIndex, port: RouterPort): boolean {
  for (const other of port.switch === undefined ? [] : index.portsOfSwitch(port.switch))
    if (!isWire(other)) return true;
  return false;
}
