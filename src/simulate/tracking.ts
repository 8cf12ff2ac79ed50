import type { LogicalPort, RouterPort } from '../model/objects.ts';
import { isUplink } from '../model/uplinks.ts';
import type { ModelView } from '../model/view.ts';
import { floatingOf } from './addresses.ts';
import type { Frame } from './frame.ts';

/** Which ports' packets conntrack sees (docs/design/layer3.md, §2). */
export function isTracked(model: ModelView, port: LogicalPort): boolean {
  return (
    port.groups.length > 0 || asksForState(model, [port.fromChain, port.toChain]) || isSwitchTracked(model, port.switch)
  );
}

/** All IP but neighbour discovery, multicast listeners, and DHCP that the port sends: what others send is filtered as any. */
export function isTrackable({ ip, ports, icmp }: Frame, way: 'sends' | 'receives'): boolean {
  if (!ip) return false;
  if (ip.version === 6 && icmp) return !((icmp.type >= 130 && icmp.type <= 137) || icmp.type === 143);
  if (ip.protocol !== 17 || way === 'receives') return true;
  return ip.version === 4 ? !(ports?.src === 68 && ports.dst === 67) : !(ports?.src === 546 && ports.dst === 547);
}

function asksForState(model: ModelView, chains: readonly (string | undefined)[]): boolean {
  const seen = new Set<string>();
  const open = chains.filter((chain) => chain !== undefined);
  for (let chain = open.pop(); chain !== undefined; chain = open.pop()) {
    if (seen.has(chain)) continue;
    seen.add(chain);
    for (const { match, jumpTo } of model.rulesOfChain(chain)) {
      if (match.state !== undefined) return true;
      if (jumpTo !== undefined) open.push(jumpTo);
    }
  }
  return false;
}

function isSwitchTracked(model: ModelView, id: string): boolean {
  if (!isEmpty(model.loadBalancersOf(id))) return true;
  for (const port of model.routerPortsOfSwitch(id)) {
    if (judgesWithoutState(model, port)) continue;
    if (port.outside ? hasStateOutside(model, port) : isRouterTracked(model, port.router, isUplink(model, port)))
      return true;
  }
  return false;
}

/** Is it an uplink with a chain for what is of known connections, which are known elsewhere (docs/design/layer3.md, §5a)? */
export function judgesWithoutState(model: ModelView, port: RouterPort): boolean {
  return asksForState(model, [port.inChain]) && isUplink(model, port);
}

/** By what is seen of a router from the switch that it faces. */
function hasStateOutside(model: ModelView, port: RouterPort): boolean {
  return translates(model, port.router) || asksForState(model, [port.inChain]);
}

/** By itself, or by a router that it is linked to. Of its wires (`isWire`) the chains at uplinks ask nothing: no gateway keeps connections. */
function isRouterTracked(model: ModelView, id: string, isWire: boolean): boolean {
  for (const router of linked(model, id, false)) if (hasState(model, router)) return true;
  if (isWire) return false;
  for (const router of linked(model, id, true)) if (asksAtUplinks(model, router)) return true;
  return false;
}

/** The router and those that it is linked to, one behind the other; `widely`: over shared switches too. */
function* linked(model: ModelView, id: string, widely: boolean): Iterable<string> {
  const seen = new Set<string>([id]);
  for (const router of seen) {
    yield router;
    for (const port of model.routerPortsOfRouter(router))
      for (const other of linkedTo(model, port, widely)) seen.add(other);
  }
}

/** What it asks for at uplinks aside. */
function hasState(model: ModelView, id: string): boolean {
  if (translates(model, id)) return true;
  for (const port of model.routerPortsOfRouter(id))
    if (asksForState(model, [port.inChain, port.outChain]) && !isUplink(model, port)) return true;
  return false;
}

/** Do chains at uplinks ask for connections, which are then known to the ports behind the router? */
function asksAtUplinks(model: ModelView, id: string): boolean {
  for (const port of model.routerPortsOfRouter(id))
    if (asksForState(model, [port.inChain, port.outChain]) && isUplink(model, port)) return true;
  return false;
}

function translates(model: ModelView, router: string): boolean {
  if ((model.get('router', router)?.snat.length ?? 0) > 0) return true;
  return !isEmpty(floatingOf(model, router)) || !isEmpty(model.loadBalancersOf(router));
}

/**
 * Routers behind a port: its peer's, and those on its switch unless that is shared. Not over an outside port: what comes in there has its state at
 * its anchor, and ports beyond (the wires of gateways) need none. `widely`: over shared switches too.
 */
function* linkedTo(model: ModelView, port: RouterPort, widely: boolean): Iterable<string> {
  const peer = peerOf(model, port);
  if (peer) yield peer.router;
  if (port.switch === undefined || port.outside) return;
  if (!widely && model.get('switch', port.switch)?.shared) return;
  for (const { router, outside } of model.routerPortsOfSwitch(port.switch)) if (!outside) yield router;
}

/** The port at the other end of a link between routers, whichever end names it. */
export function peerOf(model: ModelView, port: RouterPort): RouterPort | undefined {
  if (port.peer !== undefined) return model.get('routerPort', port.peer);
  for (const other of model.peersOf(port.id)) return other;
  return undefined;
}

function isEmpty(items: Iterable<unknown>): boolean {
  for (const _ of items) return false;
  return true;
}
