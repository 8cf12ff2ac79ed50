import { cidrContains, type Ip, parseCidr, parseIp } from '../base/addresses.ts';
import { holdsAddress } from './address-uses.ts';
import type { Router, RouterPort } from './objects.ts';

/**
 * By which next hops of a port's networks a router's static routes lead to an address: those of the longest network that holds it, of these the best
 * metric. None of another IP version, and no route that has conditions (`from`).
 */
export function nextHopsBy(router: Router, port: RouterPort, address: Ip): readonly string[] {
  let best: { readonly prefix: number; readonly metric: number; readonly vias: Set<string> } | undefined;
  for (const { to, from, via, metric } of router.routes) {
    const network = parseCidr(to)!;
    const hop = via === undefined || from !== undefined ? undefined : parseIp(via);
    if (hop?.version !== address.version || !cidrContains(network, address) || !holdsAddress(port, hop)) continue;
    const { prefix } = network;
    if (best === undefined || prefix > best.prefix || (prefix === best.prefix && metric < best.metric))
      best = { prefix, metric, vias: new Set() };
    if (prefix === best.prefix && metric === best.metric) best.vias.add(via!);
  }
  return [...(best?.vias ?? [])].sort();
}
