import { cidrContains, type Ip, parseCidr, parseIp } from '../../base/addresses.ts';
import { holdsAddress } from '../address-uses.ts';
import type { ModelIndex } from '../model-index.ts';
import type { LogicalPort, Router } from '../objects.ts';
import { parseAddressOrCidr } from '../texts.ts';
import { atAddress } from './route-circles.ts';

/**
 * May packets for an address of a port get there from one of these routers: is it in a network that the router, or one that its routes and policies lead
 * to, has on the switch of the port? A next hop that is no router of ours, and what BGP may tell, may lead to any router there, or to what forwards.
 */
export function mayLeadTo(index: ModelIndex, routers: Iterable<string>, port: LogicalPort, ip: Ip): boolean {
  const seen = new Set(routers);
  for (const id of seen) {
    const router = index.get('router', id);
    if (!router) continue;
    const ports = [...index.routerPortsOfRouter(id)];
    const there = ports.filter((each) => each.switch === port.switch);
    if (there.some((each) => holdsAddress(each, ip) || [...index.bgpPeersAt(each.id)].length > 0)) return true;
    let isElsewhere = router.bgp !== undefined;
    for (const via of nextHopsFor(router, ip)) {
      const hop = parseIp(via)!;
      if (there.some((each) => holdsAddress(each, hop))) return true;
      const next = [...atAddress(index, router, via)];
      for (const other of next) seen.add(other.id);
      if (next.length === 0 && ports.some((each) => holdsAddress(each, hop))) isElsewhere = true;
    }
    if (!isElsewhere) continue;
    if (hasForwarders(index, port)) return true;
    for (const other of index.routerPortsOfSwitch(port.switch)) seen.add(other.router);
  }
  return false;
}

/** Other ports of the switch that may send what is not their own: appliances, and what is behind an L2 gateway. */
function hasForwarders(index: ModelIndex, port: LogicalPort): boolean {
  for (const other of index.portsOfSwitch(port.switch))
    if (other.id !== port.id && (!other.portSecurity || other.allowedPairs.length > 0)) return true;
  return false;
}

/** Of all routes and policies that may be for the address. */
function nextHopsFor({ routes, policies }: Router, ip: Ip): readonly string[] {
  const isFor = (to: string | undefined): boolean => to === undefined || cidrContains(parseAddressOrCidr(to), ip);
  const byPolicy = policies.filter(
    ({ via, match }) => via !== undefined && parseIp(via)!.version === ip.version && isFor(match.dst),
  );
  const byRoute = routes.filter(({ to }) => cidrContains(parseCidr(to)!, ip));
  return [...byPolicy, ...byRoute].flatMap(({ via }) => (via === undefined ? [] : [via]));
}
