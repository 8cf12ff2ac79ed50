import { parseIp } from '../../base/addresses.ts';
import { holdsAddress } from '../address-uses.ts';
import { describe, qualifiedName } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { Router } from '../objects.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/**
 * Static routes for one and the same network that send packets from router to router and back, over links and common
 * switches: two default routes at each other. A circle that a change closes runs through what it wrote.
 */
export const checkRouteCircles: Rule = (index, changes, report) => {
  const routers = new Set<string>();
  for (const { after } of written(changes, 'router')) routers.add(after.id);
  for (const { after } of written(changes, 'routerPort')) routers.add(after.router);
  const told = new Set<string>();
  for (const id of routers) {
    const router = index.get('router', id);
    if (!router) continue;
    for (const [at, route] of router.routes.entries()) {
      if (route.via === undefined) continue;
      const circle = findCircle(index, router, route.to, route.from);
      if (!circle) continue;
      const key = `${route.to} ${route.from ?? ''} ${circle
        .map((each) => each.id)
        .toSorted()
        .join(' ')}`;
      if (told.has(key)) continue;
      told.add(key);
      const names = [...circle, circle[0]!].map((each) => qualifiedName(index, each)).join(' → ');
      const message = `packets to ${route.to} would go in a circle: ${names}`;
      report({ object: describe(index, router), path: `routes[${at}].via`, code: 'route-circle', message });
    }
  }
};

/** The routers of a way from the router back to itself. */
function findCircle(
  index: ModelIndex,
  start: Router,
  to: string,
  from: string | undefined,
): readonly Router[] | undefined {
  const cameFrom = new Map<Router, Router | undefined>([[start, undefined]]);
  const open = [start];
  for (const router of open)
    for (const next of nextRouters(index, router, to, from)) {
      if (next === start) {
        const way = [router];
        for (let back = cameFrom.get(router); back; back = cameFrom.get(back)) way.push(back);
        return way.reverse();
      }
      if (cameFrom.has(next)) continue;
      cameFrom.set(next, router);
      open.push(next);
    }
  return undefined;
}

/** The routers that have the next hops of a router's best routes for exactly this network. */
function* nextRouters(index: ModelIndex, router: Router, to: string, from: string | undefined): Iterable<Router> {
  const routes = router.routes.filter((route) => route.to === to && route.from === from);
  const best = Math.min(...routes.map(({ metric }) => metric));
  for (const { metric, via } of routes) {
    if (metric !== best || via === undefined) continue;
    const ip = parseIp(via)!;
    for (const port of index.routerPortsOfRouter(router.id)) {
      if (!holdsAddress(port, ip)) continue;
      const across = port.switch === undefined ? [...index.peersOf(port.id)] : index.addressHoldersOf(port.switch, via);
      const peer = port.peer === undefined ? undefined : index.get('routerPort', port.peer);
      for (const other of peer ? [peer] : across) {
        if (other.kind !== 'routerPort' || !other.addresses.some((text) => text.startsWith(`${via}/`))) continue;
        const next = index.get('router', other.router);
        if (next && next !== router) yield next;
      }
    }
  }
}
