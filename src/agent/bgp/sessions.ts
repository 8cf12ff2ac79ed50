import { type AdvertisedView, advertisedBy } from '../../model/advertised.ts';
import { routerIdAt } from '../../model/gateways.ts';
import type { BgpPeer, RouterPort, ScopeKind, ScopeRecordOfKind } from '../../model/objects.ts';

/** Which BGP speakers this host shall run, and what they say (docs/design/gateways.md): a pure function of the scope. */
export interface WantedSpeaker {
  /** The router's id: a speaker each. */
  readonly router: string;
  readonly asn: number;
  readonly routerId: string;
  /** Those that sessions run at; each is an interface of the speaker. Sorted by id. */
  readonly ports: readonly RouterPort[];
  /** Sorted by id; `adminUp` false: configured and held down. */
  readonly peers: readonly BgpPeer[];
  /** What every peer is told, sorted as text. */
  readonly networks: readonly string[];
  readonly maxRoutes: number;
}

/** As much of the agent's scope as it takes. */
export interface Records {
  get<K extends ScopeKind>(kind: K, id: string): ScopeRecordOfKind[K] | undefined;
  all<K extends ScopeKind>(kind: K): Iterable<ScopeRecordOfKind[K]>;
}

/**
 * `hasInterface`: is the port's interface here? A session runs where a wire of its router port's switch is active: a port without port
 * security that is up. Sorted by the router's id.
 */
export function wantedSpeakers(
  records: Records,
  host: string,
  hasInterface: (port: string) => boolean,
): readonly WantedSpeaker[] {
  const wires = switchesWithWire(records, host, hasInterface);
  const running = [...records.all('bgpPeer')].filter(({ routerPort }) => {
    const onSwitch = records.get('routerPort', routerPort)?.switch;
    return onSwitch !== undefined && wires.has(onSwitch);
  });
  if (running.length === 0) return [];
  const view = viewOf(records);
  return [...Map.groupBy(running.toSorted(byId), ({ router }) => router)].toSorted(byKey).flatMap(([id, peers]) => {
    const router = records.get('router', id);
    const ports = [...new Set(peers.map(({ routerPort }) => routerPort))]
      .map((port) => records.get('routerPort', port)!)
      .filter(({ adminUp }) => adminUp)
      .toSorted(byId);
    const routerId = routerIdAt(router?.bgp?.routerId, ports);
    if (!router?.bgp || !router.adminUp || routerId === undefined) return [];
    const at = new Set(ports.map((port) => port.id));
    return [
      {
        ...{ router: id, asn: router.bgp.asn, routerId, ports, maxRoutes: router.bgp.maxRoutes },
        peers: peers.filter(({ routerPort }) => at.has(routerPort)),
        networks: advertisedBy(view, router).map(({ network }) => network),
      },
    ];
  });
}

function switchesWithWire(
  records: Records,
  host: string,
  hasInterface: (port: string) => boolean,
): ReadonlySet<string> {
  const found = new Set<string>();
  for (const { routerPort } of records.all('bgpPeer')) {
    const onSwitch = records.get('routerPort', routerPort)?.switch;
    if (onSwitch !== undefined && records.get('switch', onSwitch)?.adminUp) found.add(onSwitch);
  }
  const wires = new Set<string>();
  if (found.size === 0) return wires;
  for (const port of records.all('port')) {
    if (port.portSecurity || !port.adminUp || !found.has(port.switch) || !hasInterface(port.id)) continue;
    const active = records.get('binding', port.id)?.active;
    if (active === undefined || active === host) wires.add(port.switch);
  }
  return wires;
}

/** The relations that `advertisedBy` follows, found once for all. */
function viewOf(records: Records): AdvertisedView {
  const group = <K extends ScopeKind>(kind: K, by: (record: ScopeRecordOfKind[K]) => string | undefined) => {
    const groups = Map.groupBy(records.all(kind), by);
    return (id: string): readonly ScopeRecordOfKind[K][] => groups.get(id) ?? [];
  };
  return {
    get: (kind, id) => records.get(kind, id),
    bindingOf: (port) => records.get('binding', port),
    routerPortsOfRouter: group('routerPort', ({ router }) => router),
    routerPortsOfSwitch: group('routerPort', (port) => port.switch),
    peersOf: group('routerPort', ({ peer }) => peer),
    floatingAddressesOfRouter: group('floatingAddress', ({ router }) => router),
    loadBalancersOf: group('loadBalancer', (balancer) => balancer.router ?? balancer.switch),
    healthOf: group('memberHealth', ({ loadBalancer }) => loadBalancer),
  };
}

function byId(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id < b.id ? -1 : 1;
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}
