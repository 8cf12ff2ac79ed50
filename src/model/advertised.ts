import { cidrContains, formatCidr, type Ip, networkOf, parseCidr, parseIp } from '../base/addresses.ts';
import type { Router, RouterPort } from './objects.ts';
import { memberStates, openListeners } from './serving.ts';
import { snatAddresses } from './snat.ts';
import type { ModelView } from './view.ts';

/** What a router tells its peers (docs/design/gateways.md, §4): the same at every gateway that loses no host. */
export interface Advertised {
  readonly network: string;
  readonly why: 'network' | 'connected' | 'static' | 'floating' | 'snat' | 'vip' | 'summary';
  /** The router, router port, floating address or load balancer that wants it. */
  readonly id: string;
}

/** As much of a model as it takes. */
export type AdvertisedView = Pick<
  ModelView,
  | 'get'
  | 'routerPortsOfRouter'
  | 'routerPortsOfSwitch'
  | 'peersOf'
  | 'floatingAddressesOfRouter'
  | 'loadBalancersOf'
  | 'healthOf'
  | 'bindingOf'
>;

/**
 * Each network once, sorted by its text; nothing for a router that is down or speaks no BGP. `isLost`: hosts that do not answer whoever says it
 * (docs/design/liveness.md).
 */
export function advertisedBy(
  model: AdvertisedView,
  router: Router,
  isLost: (host: string) => boolean,
): readonly Advertised[] {
  const { bgp } = router;
  if (bgp === undefined || !router.adminUp) return [];
  const found = new Map<string, Advertised>();
  const add = (network: string, why: Advertised['why'], id: string): void => {
    if (!found.has(network)) found.set(network, { network, why, id });
  };
  for (const network of bgp.networks) add(network, 'network', router.id);
  const wanted = new Set(bgp.advertise);
  const ports = [...model.routerPortsOfRouter(router.id)].filter(({ adminUp }) => adminUp);
  if (wanted.has('static'))
    for (const { to, via } of router.routes) if (via !== undefined && !isDefault(to)) add(to, 'static', router.id);
  if (wanted.has('connected')) for (const port of ports) addConnected(model, port, add);
  for (const [id, outside] of outsidePorts(model, ports)) {
    const other = model.get('router', id);
    if (!other?.adminUp) continue;
    const isHeld = (address: string): boolean => outside.some((port) => holds(port, parseIp(address)!));
    const addHost = (address: string, why: Advertised['why'], by: string): void => {
      if (isHeld(address)) add(`${address}/${address.includes(':') ? 128 : 32}`, why, by);
    };
    if (wanted.has('floating'))
      for (const { id: floating, address, adminUp, port } of model.floatingAddressesOfRouter(id))
        if (adminUp && model.bindingOf(port)?.active !== undefined) addHost(address, 'floating', floating);
    if (wanted.has('snat')) for (const to of snatAddresses(other)) addHost(to, 'snat', id);
    if (wanted.has('vips'))
      for (const balancer of model.loadBalancersOf(id))
        if (
          openListeners(balancer).length > 0 &&
          [...memberStates(model, balancer, isLost).values()].includes('serving')
        )
          addHost(balancer.address, 'vip', balancer.id);
  }
  for (const summary of bgp.summarise ?? []) summarise(found, summary, router.id);
  return [...found.values()].sort((a, b) => (a.network < b.network ? -1 : 1));
}

function isDefault(network: string): boolean {
  return network.endsWith('/0');
}

/** Puts the network in the place of all within it, if there is anything. */
function summarise(found: Map<string, Advertised>, network: string, id: string): void {
  const { ip, prefix } = parseCidr(network)!;
  const within = [...found.keys()].filter((each) => {
    const other = parseCidr(each)!;
    return other.ip.version === ip.version && other.prefix >= prefix && cidrContains({ ip, prefix }, other.ip);
  });
  for (const each of within) found.delete(each);
  if (within.length > 0) found.set(network, { network, why: 'summary', id });
}

/** Networks that lead somewhere, those of uplinks too: a gateway does not know the peers of others. */
function addConnected(
  model: AdvertisedView,
  port: RouterPort,
  add: (network: string, why: 'connected', id: string) => void,
) {
  const [naming] = model.peersOf(port.id);
  const leads =
    port.switch === undefined ? (port.peer ?? naming) !== undefined : model.get('switch', port.switch)?.adminUp;
  if (!leads) return;
  for (const text of port.addresses) add(formatCidr(networkOf(parseCidr(text)!)), 'connected', port.id);
}

/** Router → its outside ports on switches that the ports are on. */
function outsidePorts(model: AdvertisedView, ports: readonly RouterPort[]): ReadonlyMap<string, readonly RouterPort[]> {
  const switches = new Set(ports.flatMap((port) => port.switch ?? []));
  const outside = [...switches]
    .filter((id) => model.get('switch', id)?.adminUp)
    .flatMap((id) => [...model.routerPortsOfSwitch(id)])
    .filter((port) => port.outside && port.adminUp);
  return Map.groupBy(outside, ({ router }) => router);
}

function holds(port: RouterPort, ip: Ip): boolean {
  return port.addresses.some((text) => cidrContains(networkOf(parseCidr(text)!), ip));
}
