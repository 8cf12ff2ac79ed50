import { type Cidr, cidrContains, formatCidr, networkOf, parseCidr, parseIp } from '../../base/addresses.ts';
import { holdsAddress } from '../address-uses.ts';
import { describe, qualifiedName } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { PolicyRoute, Router, RouterPort } from '../objects.ts';
import { parseAddressOrCidr } from '../texts.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/**
 * Static routes for one and the same network, and policies that ask for a destination at most, that send packets from router to router and back, over
 * links and common switches: two default routes at each other. A circle that a change closes runs through what it wrote.
 */
export const checkRouteCircles: Rule = (index, changes, report) => {
  const routers = new Set<string>();
  for (const { after } of written(changes, 'router')) routers.add(after.id);
  for (const { after } of written(changes, 'routerPort')) routers.add(after.router);
  const told = new Set<string>();
  for (const id of routers) {
    const router = index.get('router', id);
    if (!router) continue;
    for (const { path, via, packets } of sentOn(index, router))
      for (const some of packets) {
        const circle =
          findCircle(index, router, some, new Set(atAddress(index, router, via))) ?? findCircle(index, router, some);
        if (!circle) continue;
        const ids = circle.map((each) => each.id).toSorted();
        const key = `${some.to} ${some.from ?? ''} ${ids.join(' ')}`;
        if (!told.has(key)) {
          told.add(key);
          const names = [...circle, circle[0]!].map((each) => qualifiedName(index, each)).join(' → ');
          const message = `packets to ${some.to} would go in a circle: ${names}`;
          report({ object: describe(index, router), path, code: 'route-circle', message });
        }
        break;
      }
  }
};

/** By their destination, and source. */
interface Packets {
  readonly to: string;
  readonly from?: string | undefined;
}

/** What a router has next hops for, with what names them. */
function* sentOn(
  index: ModelIndex,
  router: Router,
): Iterable<{ path: string; via: string; packets: Iterable<Packets> }> {
  for (const [i, { via, to, from }] of router.routes.entries())
    if (via !== undefined) yield { path: `routes[${i}].via`, via, packets: [{ to, from }] };
  for (const [i, policy] of router.policies.entries())
    if (policy.via !== undefined && asksOnlyDestination(policy))
      yield {
        path: `policies[${i}].via`,
        via: policy.via,
        packets: behindPolicy(index, router, destinationOf(policy)),
      };
}

/** Packets to a network, and those for which routers that policies send them to have routes or policies. */
function* behindPolicy(index: ModelIndex, start: Router, all: Cidr): Iterable<Packets> {
  const to = formatCidr(all);
  yield { to };
  const open = [start];
  for (const router of open) {
    const decided = decidedBy(index, router, { to });
    if (decided === undefined || decided.action === 'allow')
      for (const route of router.routes)
        if (route.via !== undefined && route.to !== to && holds(all, parseCidr(route.to)!)) yield route;
    for (const policy of router.policies)
      if (policy.via !== undefined && policy.match.dst !== undefined && asksOnlyDestination(policy)) {
        const narrower = destinationOf(policy);
        if (formatCidr(narrower) !== to && holds(all, narrower)) yield { to: formatCidr(narrower) };
      }
    if (decided?.via !== undefined)
      for (const next of atAddress(index, router, decided.via)) if (!open.includes(next)) open.push(next);
  }
}

function asksOnlyDestination({ match }: PolicyRoute): boolean {
  return [match.src, match.protocol, match.srcPorts, match.dstPorts].every((asked) => asked === undefined);
}

/** Without one: all of the IP version of the next hop. */
function destinationOf({ match, via }: PolicyRoute): Cidr {
  if (match.dst !== undefined) return networkOf(parseAddressOrCidr(match.dst));
  return parseCidr(via?.includes(':') ? '::/0' : '0.0.0.0/0')!;
}

function holds(wide: Cidr, { ip, prefix }: Cidr): boolean {
  return wide.ip.version === ip.version && wide.prefix <= prefix && cidrContains(wide, ip);
}

/** The policy that all of these packets meet; undefined where routes decide, or where one before it asks for more than a destination. */
function decidedBy(index: ModelIndex, router: Router, { to }: Packets): PolicyRoute | undefined {
  const network = parseCidr(to)!;
  for (const policy of router.policies.toSorted((a, b) => a.position - b.position)) {
    if (!asksOnlyDestination(policy)) return undefined;
    const { dst } = policy.match;
    if (dst !== undefined && !holds(networkOf(parseAddressOrCidr(dst)), network)) continue;
    if (policy.via === undefined) return policy;
    const ip = parseIp(policy.via)!;
    const isUsed = ip.version === network.ip.version && portsHolding(index, router, policy.via).length > 0;
    if (isUsed) return policy;
  }
  return undefined;
}

/** The routers of a way from the router back to itself; `by` one of these first, where that is asked. */
function findCircle(
  index: ModelIndex,
  start: Router,
  packets: Packets,
  by?: ReadonlySet<Router>,
): readonly Router[] | undefined {
  const cameFrom = new Map<Router, Router | undefined>([[start, undefined]]);
  const open = [start];
  for (const router of open)
    for (const next of nextRouters(index, router, packets)) {
      if (next === start) {
        const way = [router];
        for (let back = cameFrom.get(router); back; back = cameFrom.get(back)) way.push(back);
        return way.reverse();
      }
      if (cameFrom.has(next) || (router === start && by?.has(next) === false)) continue;
      cameFrom.set(next, router);
      open.push(next);
    }
  return undefined;
}

/** The routers that have the next hops of a router for these packets: of a policy, or of its best routes for exactly this network. */
function* nextRouters(index: ModelIndex, router: Router, packets: Packets): Iterable<Router> {
  const decided = decidedBy(index, router, packets);
  if (decided?.via !== undefined) yield* atAddress(index, router, decided.via);
  if (decided !== undefined && decided.action !== 'allow') return;
  const routes = router.routes.filter((route) => route.to === packets.to && route.from === packets.from);
  const best = Math.min(...routes.map(({ metric }) => metric));
  for (const { metric, via } of routes) if (metric === best && via !== undefined) yield* atAddress(index, router, via);
}

/** Other routers that have a next hop's address, where a port of the router leads. */
export function* atAddress(index: ModelIndex, router: Router, via: string): Iterable<Router> {
  for (const port of portsHolding(index, router, via)) {
    const across = port.switch === undefined ? [...index.peersOf(port.id)] : index.addressHoldersOf(port.switch, via);
    const peer = port.peer === undefined ? undefined : index.get('routerPort', port.peer);
    for (const other of peer ? [peer] : across) {
      if (other.kind !== 'routerPort' || !other.addresses.some((text) => text.startsWith(`${via}/`))) continue;
      const next = index.get('router', other.router);
      if (next && next !== router) yield next;
    }
  }
}

function portsHolding(index: ModelIndex, router: Router, via: string): RouterPort[] {
  const ip = parseIp(via)!;
  return [...index.routerPortsOfRouter(router.id)].filter((port) => holdsAddress(port, ip));
}
