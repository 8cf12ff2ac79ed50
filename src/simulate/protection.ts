import {
  type Cidr,
  cidrContains,
  formatCidr,
  formatIp,
  type Ip,
  networkOf,
  parseCidr,
  parseIp,
} from '../base/addresses.ts';
import type { Router, RouterPort } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { floatingOf, isLinkLocal, networksOf, routerOwns, routerPortOwns } from './addresses.ts';
import { withVip } from './balancers.ts';
import { passes } from './chains.ts';
import type { Journey } from './journey.ts';
import type { ObjectRef } from './outcome.ts';
import type { Packet } from './packet.ts';
import { connectedNetworksOf, portsBackTo, portTowards } from './routes.ts';

/** What protects a cloud from its outside (docs/design/gateways.md, §8): pre-filters of outside ports, and the check of sources at uplinks. */

/** Does it pass the chains of the switch, of the router and of the address? If not, the journey knows. */
export function passesPrefilters(journey: Journey, packet: Packet, router: Router, port: RouterPort): boolean {
  const { model } = journey;
  const onSwitch = port.switch === undefined ? undefined : model.get('switch', port.switch);
  const { dst } = packet.frame.ip!;
  const floating = floatingOf(model, router.id).find(({ address }) => address === formatIp(dst));
  const [balancer] = withVip(model.loadBalancersOf(router.id), dst);
  const hooks = [onSwitch, router, floating, balancer].filter((hook) => hook?.prefilter !== undefined);
  return hooks.every((hook) => {
    const at: ObjectRef = { kind: hook!.kind, id: hook!.id };
    journey.step(packet.host, at, 'asks its pre-filter');
    return passes(journey, packet, hook!.prefilter!, { at, vlan: 0, isPrefilter: true }) !== undefined;
  });
}

/** Why packets with this source do not come in by the port; undefined where they do. */
export function sourceProblem(model: ModelView, packet: Packet, router: Router, port: RouterPort): string | undefined {
  const check = checkOf(model, port);
  if (check === 'off') return undefined;
  const { src, dst } = packet.frame.ip!;
  const text = formatIp(src);
  if (routerOwns(model, router.id, src)) return `the source ${text} is an address of the router itself`;
  if (networksOf(port).some((network) => cidrContains(network, src))) return undefined;
  if (isLinkLocal(src)) return routerPortOwns(port, dst) ? undefined : `the source ${text} is link-local`;
  if (BOGONS.some((network) => cidrContains(network, src))) return `the source ${text} is nobody's`;
  const ours = ownNetwork(model, router, port, src);
  if (ours) return `the source ${text} is ours: of ${formatCidr(ours)}`;
  if (check === 'own') return undefined;
  const ports = portsBackTo(model, router, packet.frame, packet.host);
  if (ports === undefined) return `no route leads back to the source ${text}`;
  return check === 'loose' || ports.has(port.id) ? undefined : `the way back to the source ${text} is not by this port`;
}

function checkOf(model: ModelView, port: RouterPort): NonNullable<RouterPort['sourceCheck']> {
  if (port.outside || port.switch === undefined) return 'off';
  if (port.sourceCheck !== undefined) return port.sourceCheck;
  for (const _ of model.bgpPeersAt(port.id)) return 'own';
  return 'off';
}

const BOGONS: readonly Cidr[] = [
  ...['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '::/127', '::ffff:0.0.0.0/96', 'ff00::/8'],
].map((text) => parseCidr(text)!);

/** The narrowest network, connected or of a static route for all sources, that holds the source: where nothing leads there by an uplink it is ours. */
function ownNetwork(model: ModelView, router: Router, by: RouterPort, src: Ip): Cidr | undefined {
  const isUplink = (port: RouterPort): boolean =>
    port.id === by.id || (!port.outside && port.sourceCheck !== undefined && port.sourceCheck !== 'off');
  let best: { readonly network: Cidr; readonly isOurs: boolean; readonly isConnected: boolean } | undefined;
  const take = (network: Cidr, isOurs: boolean, isConnected: boolean): void => {
    const longer = network.prefix - (best?.network.prefix ?? 0);
    if (!cidrContains(network, src) || network.prefix === 0 || longer < 0) return;
    if (longer > 0) best = { network, isOurs, isConnected };
    else if (best?.isConnected === isConnected) best = { network, isOurs: best.isOurs && isOurs, isConnected };
  };
  const seen = new Set<string>();
  for (const { port, network } of connectedNetworksOf(model, router)) {
    const name = formatCidr(networkOf(network));
    if (!seen.has(name)) take(networkOf(network), !isUplink(port), true);
    seen.add(name);
  }
  for (const { to, from, via } of router.routes) {
    if (from !== undefined) continue;
    const port = via === undefined ? undefined : portTowards(model, router, parseIp(via)!);
    if (via === undefined || port) take(parseCidr(to)!, port === undefined || !isUplink(port), false);
  }
  return best?.isOurs ? best.network : undefined;
}
