import { formatCidr, parseCidr } from '../../base/addresses.ts';
import { shares } from '../../model/shares.ts';
import { setCover } from '../bits.ts';
import { match, set } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { connectedToIndex, define, hopSetsIndex, type Reader, staticRoutesIndex } from '../inputs.ts';
import { hopSetFacts, hopSetId, knownHops, usableHops } from '../learned-routes.ts';
import { connectedNetworks } from '../routers.ts';
import { ECMP_SLOTS, priorityOf, routeFlows, towards, wayOf } from './route.ts';
import { ecmpSlotFrom } from './router-base.ts';

/** Routes that gateways learned (docs/design/gateways.md, §2): one flow each, which names the set of next hops that it has. */

/** Before static ones, unless these say otherwise. */
const LEARNED_METRIC = 20;
/** In `ecmp`, above all static routes (16,770). */
const HOP_SET = 20_000;

export const learnedRouteUnit = define.unit({
  name: 'learnedRoute',
  over: 'learnedDestination',
  run(reader, id) {
    const { router: owner, to, hops } = reader.get('learnedDestination', id)!;
    const router = reader.pick('router', owner, 'key');
    if (router === undefined || isConnected(reader, owner, to)) return [];
    const statics = reader.ids(staticRoutesIndex, id).flatMap((each) => reader.pick('router', each, 'routes')!);
    const equals = statics.filter((route) => route.to === to && route.from === undefined);
    if (equals.length > 0) {
      const learned = reader
        .derive(knownHops, hops)
        .map(({ via, weight, toldBy }) => ({ to, via, weight, toldBy, metric: LEARNED_METRIC }));
      return routeFlows(reader, router, [...equals, ...learned], reader.derive(connectedNetworks, owner));
    }
    const { id: number, isShared, isUsable } = reader.derive(hopSetFacts, hops);
    if (!isUsable) return [];
    const cidr = parseCidr(to)!;
    return [
      flow('route', priorityOf(cidr, undefined), match({ router }, wayOf(cidr, undefined)), {
        do: [set('xxreg2', number), ...(isShared ? ecmpSlotFrom(cidr.ip.version) : [])],
        goto: 'ecmp',
      }),
    ];
  },
});

/** A connected network has the lowest metric of all. */
function isConnected(reader: Reader, router: string, to: string): boolean {
  if (reader.ids(connectedToIndex, `${router}/${to}`).length === 0) return false;
  return reader.derive(connectedNetworks, router).some(({ network }) => formatCidr(network) === to);
}

export const hopSetUnit = define.unit({
  name: 'hopSet',
  over: hopSetsIndex,
  run(reader, name) {
    const hops = reader.derive(usableHops, name);
    const xxreg2 = hopSetId(name);
    const [first] = hops;
    if (first === undefined) return [];
    if (hops.length === 1)
      return [flow('ecmp', HOP_SET, match({}, { xxreg2 }), { do: towards(first.hop, first.port), goto: 'outChain' })];
    const slots = shares(
      hops.map(({ via, weight }) => ({ id: via, weight })),
      ECMP_SLOTS,
    );
    return hops.flatMap(({ via, hop, port }) => {
      const own = slots.flatMap((owner, slot) => (owner === via ? [slot] : []));
      return setCover(own, 4).map((ecmpSlot) =>
        flow('ecmp', HOP_SET, match({ ecmpSlot }, { xxreg2 }), { do: towards(hop, port), goto: 'outChain' }),
      );
    });
  },
});
