import { parseCidr } from '../../base/addresses.ts';
import { match } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, hopSetsIndex } from '../inputs.ts';
import { headOf, hopSetFacts, hopSetId, knownHops, knownNetworks, usableHops } from '../learned-routes.ts';
import { connectedNetworks } from '../routers.ts';
import { slotFlows, spreadOver, towards, wideSetFlows } from './ecmp.ts';
import { backBy, HOP_SET, priorityOf, routeFlows, strictOf, wayOf } from './route.ts';

/** Routes that gateways learned (docs/design/gateways.md, §2): one flow each, which names the set of next hops that it has. */

/** Before static ones, unless these say otherwise. */
const LEARNED_METRIC = 20;

export const learnedRouteUnit = define.unit({
  name: 'learnedRoute',
  over: 'learnedDestination',
  run(reader, id) {
    const { router: owner, to, hops } = reader.get('learnedDestination', id)!;
    const router = reader.pick('router', owner, 'key');
    const { connected, routed } = reader.derive(knownNetworks, `${owner}/${headOf(to)}`);
    // A connected network has the lowest metric of all.
    if (router === undefined || connected.includes(to)) return [];
    if (routed.includes(to)) {
      const statics = reader.pick('router', owner, 'routes')!;
      const equals = statics.filter((route) => route.to === to && route.from === undefined);
      const learned = reader
        .derive(knownHops, hops)
        .map(({ via, weight, toldBy }) => ({ to, via, weight, toldBy, metric: LEARNED_METRIC }));
      return routeFlows(reader, owner, [...equals, ...learned], reader.derive(connectedNetworks, owner));
    }
    const { isUsable, actions, next } = reader.derive(hopSetFacts, hops);
    if (!isUsable) return [];
    const cidr = parseCidr(to)!;
    const where = match({ router }, wayOf(cidr, undefined));
    return [flow('route', priorityOf(cidr, undefined), where, { do: actions, goto: next })];
  },
});

export const hopSetUnit = define.unit({
  name: 'hopSet',
  over: hopSetsIndex,
  run(reader, name) {
    const hops = reader.derive(usableHops, name);
    const xxreg2 = hopSetId(name);
    const [first] = hops;
    if (first === undefined) return [];
    const back = strictOf(reader, reader.derive(knownHops, name)).map((port) =>
      flow('ecmp', HOP_SET + 1, match({ reverse: 1, enteredBy: port }, { xxreg2 }), backBy(port)),
    );
    if (hops.length === 1)
      return [
        ...back,
        flow('ecmp', HOP_SET, match({}, { xxreg2 }), { do: towards(first.hop, first.port), goto: 'outChain' }),
      ];
    const spread = spreadOver(hops);
    const flows = slotFlows(spread, (ecmpSlot, target) =>
      flow('ecmp', HOP_SET, match({ ecmpSlot }, { xxreg2 }), target),
    );
    return [...back, ...wideSetFlows(spread, xxreg2), ...flows];
  },
});
