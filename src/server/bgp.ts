import { type Cidr, cidrContains, formatCidr, networkOf, parseCidr, parseIp } from '../base/addresses.ts';
import { permits } from '../base/prefix-lists.ts';
import { type Advertised, advertisedBy } from '../model/advertised.ts';
import { describe, qualifiedName } from '../model/describe.ts';
import { gatewaysOf } from '../model/gateways.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { BgpPeer, Router } from '../model/objects.ts';
import type { LearnedRoute } from '../model/view.ts';
import { type RoutesTo, routesTo, timeText } from '../simulate/routes.ts';
import type { Presenter, SessionStatus, StatusProblem } from './present.ts';
import type { Runtime } from './runtime.ts';

/** What people see of BGP (`GET /v1/bgp`): peers, what routers say, and what they learned. References are names. */
export interface BgpRouter {
  readonly id: string;
  readonly name: string;
  readonly tenant: string;
  readonly asn: number;
  /** Where it is the same at all gateways. */
  readonly routerId?: string;
  readonly gateways: readonly string[];
  /** Those of them that are drained. */
  readonly drained: readonly string[];
  readonly peers: readonly ({
    readonly id: string;
    readonly name: string;
    readonly routerPort: string;
    readonly address: string;
    readonly asn: number;
    readonly adminUp: boolean;
  } & SessionStatus)[];
  /** Learned routes, those of each gateway counted by themselves. */
  readonly learned: number;
  readonly advertised: readonly Advertised[];
}

export interface BgpRoute {
  readonly to: string;
  /** The gateway that learned it. */
  readonly host: string;
  readonly via: readonly { readonly address: string; readonly routerPort: string; readonly weight: number }[];
  /** Why no packet takes it, where none does. */
  readonly unused?: string;
}

/** More are not told. */
export const MOST_PROBLEMS = 1000;

export function bgpOf(index: ModelIndex, present: Presenter, router: Router): BgpRouter {
  const nameOf = (kind: 'host' | 'routerPort' | 'tenant', id: string): string => index.get(kind, id)?.name ?? id;
  const { asn, routerId } = router.bgp!;
  const dead = present.deadHosts();
  const gateways = [...gatewaysOf(index, router.id)];
  const drained = gateways.filter((id) => index.get('host', id)?.drain);
  let learned = 0;
  for (const record of index.learnedOfRouter(router.id)) if (record.kind === 'learnedRoutes') learned += record.count;
  return {
    ...{ id: router.id, name: router.name, tenant: nameOf('tenant', router.tenant), asn },
    ...(routerId === undefined ? {} : { routerId }),
    gateways: gateways.map((id) => nameOf('host', id)).sort(),
    drained: drained.map((id) => nameOf('host', id)).sort(),
    peers: [...index.bgpPeersOfRouter(router.id)].map((peer) => ({
      ...{ id: peer.id, name: peer.name, routerPort: nameOf('routerPort', peer.routerPort) },
      ...{ address: peer.address, asn: peer.asn, adminUp: peer.adminUp, ...present.sessionStatus(peer) },
    })),
    learned,
    advertised: advertisedBy(index, router, (host) => dead.has(host)),
  };
}

/**
 * The first learned routes of a router, sorted by network and host as text; `to`: only to this network. `hosts`: those that decide by them,
 * of each view of who is lost one (`decidingHosts`).
 */
export function learnedRoutes(
  index: ModelIndex,
  router: Router,
  to: string | undefined,
  limit: number,
  hosts: readonly string[],
): readonly BgpRoute[] {
  const all = to === undefined ? index.learnedRoutesOf(router.id) : index.learnedRoutesTo(router.id, to);
  const whyUnused = unusedRoutes(index, router, hosts);
  return [...all]
    .sort((a, b) => (a.to === b.to ? (a.host < b.host ? -1 : 1) : a.to < b.to ? -1 : 1))
    .slice(0, limit)
    .map((route) => {
      const unused = whyUnused(route);
      return {
        to: route.to,
        host: nameOfHost(index, route.host),
        via: route.via.map((hop) => ({
          ...hop,
          routerPort: index.get('routerPort', hop.routerPort)?.name ?? hop.routerPort,
        })),
        ...(unused === undefined ? {} : { unused }),
      };
    });
}

function nameOfHost(index: ModelIndex, id: string): string {
  return index.get('host', id)?.name ?? id;
}

/**
 * Hosts that decide by a router's routes and live, one of each view of who is lost: all of one view decide alike. Who is lost for others decides
 * for nobody else.
 */
export function decidingHosts(hosts: readonly string[], runtime: Pick<Runtime, 'host'>): readonly string[] {
  const alive = hosts.filter((id) => runtime.host(id)?.isAlive);
  const lost = new Set(alive.flatMap((id) => [...runtime.host(id)!.lostSinceMs.keys()]));
  const reached = alive.filter((id) => !lost.has(id));
  const views = new Map<string, string>();
  for (const id of reached.length === 0 ? alive : reached)
    views.set([...runtime.host(id)!.lostSinceMs.keys()].sort().join(), id);
  return [...views.values()];
}

/** Why no packet takes a route, where none does. */
function unusedRoutes(
  index: ModelIndex,
  router: Router,
  hosts: readonly string[],
): (route: LearnedRoute) => string | undefined {
  const networks = [...index.routerPortsOfRouter(router.id)].flatMap((port) =>
    port.adminUp ? port.addresses.map((text) => ({ port, network: networkOf(parseCidr(text)!) })) : [],
  );
  const connected = new Map(networks.map(({ port, network }) => [formatCidr(network), port]));
  const written = new Set(router.routes.map(({ to }) => to));
  /** Most routes have the same few sets of next hops. */
  const known = new Map<string, readonly RoutesTo[]>();
  const routesAt = (to: string): readonly RoutesTo[] => {
    const told = [...index.learnedRoutesTo(router.id, to)].map(({ host, via }) => `${host} ${JSON.stringify(via)}`);
    const key = `${written.has(to) ? to : to.includes(':')} ${told.sort().join()}`;
    const found =
      known.get(key) ??
      (hosts.length === 0 ? [''] : hosts).map((host) => routesTo(index, router, parseCidr(to)!, host));
    known.set(key, found);
    return found;
  };
  return ({ to, via, host }) => {
    if (!router.adminUp) return 'the router is down';
    const port = connected.get(to);
    if (port) return `${describe(index, port)} is in this network`;
    if (via.length === 0) return 'the session that it came by ended';
    const isV6 = to.includes(':');
    const hops = via.filter(({ address }) => {
      const hop = parseIp(address)!;
      return (address.includes(':') || !isV6) && networks.some(({ network }) => cidrContains(network, hop));
    });
    if (hops.length === 0) return 'no network of the router holds its next hop';
    const routes = routesAt(to);
    if (routes.some(({ taken }) => hops.some(({ address }) => taken.has(address)))) return undefined;
    const [{ taken, metric, silent, lost }] = routes as [RoutesTo];
    const dumb = hops.find(({ address }) => silent.has(address));
    if (dumb) return `next hop ${dumb.address} does not answer since ${timeText(silent.get(dumb.address)!)}`;
    if (hops.some(({ address }) => lost.has(address))) return `host ${nameOfHost(index, host)} does not answer`;
    if (taken.size === 0) return `a static route has metric ${metric}`;
    return `host ${nameOfHost(index, host)} is drained`;
  };
}

/** What is wrong with sessions that should be up, and with routers of which no gateway advertises anything. */
export function bgpProblems(index: ModelIndex, present: Presenter, nowMs: number): readonly StatusProblem[] {
  const problems: StatusProblem[] = [];
  const report = (object: BgpPeer | Router, text: string): void => {
    const name = qualifiedName(index, object);
    problems.push({ about: { kind: object.kind, id: object.id, name }, text: `${object.kind} ${name}: ${text}` });
  };
  for (const peer of index.all('bgpPeer')) {
    if (!peer.adminUp || index.get('router', peer.router)?.adminUp !== true) continue;
    const { sessions } = present.sessionStatus(peer);
    if (sessions.length === 0) report(peer, 'no host runs the session');
    for (const { host, state, sinceMs, problem } of sessions)
      if (state !== 'established' || problem !== undefined)
        report(
          peer,
          `${state} for ${seconds(nowMs - sinceMs)} at ${host}${problem === undefined ? '' : `: ${problem}`}`,
        );
  }
  for (const router of index.all('router')) {
    const gateways = router.bgp ? [...gatewaysOf(index, router.id)] : [];
    if (gateways.length > 0 && gateways.every((host) => index.get('host', host)?.drain))
      report(router, 'all of its gateways are drained: nothing is advertised');
  }
  for (const overlap of overlaps(index, present.deadHosts())) {
    // Of n tenants there can be n squared.
    if (problems.length >= MOST_PROBLEMS) break;
    report(overlap.router, overlapText(index, overlap));
  }
  return problems;
}

interface Overlap {
  readonly router: Router;
  readonly other: Router;
  readonly text: string;
}

export function overlapText(index: ModelIndex, { other, text }: Overlap): string {
  return `${text} of router ${qualifiedName(index, other)}, to the same AS outside`;
}

/** Routers of two tenants that tell one AS outside of the same addresses: it sends to whichever it likes. Each pair once. */
export function* overlaps(index: ModelIndex, dead: ReadonlySet<string>): Iterable<Overlap> {
  const speaking = [...index.all('router')].filter((router) => router.bgp !== undefined && router.adminUp);
  const told = speaking.flatMap((router) => {
    const peers = [...index.bgpPeersOfRouter(router.id)].filter(({ adminUp }) => adminUp);
    return peers.length === 0 ? [] : [{ router, peers }];
  });
  if (new Set(told.map(({ router }) => router.tenant)).size < 2) return;
  const networks = told
    .flatMap((teller) =>
      advertisedBy(index, teller.router, (host) => dead.has(host)).map(({ network }) => {
        const cidr = networkOf(parseCidr(network)!);
        const toldTo = teller.peers.filter(({ advertise }) => advertise === undefined || permits(advertise, cidr));
        return { teller, network, cidr, systems: new Set(toldTo.map(({ asn }) => asn)) };
      }),
    )
    .sort(({ cidr: a }, { cidr: b }) =>
      a.ip.version !== b.ip.version
        ? a.ip.version - b.ip.version
        : a.ip.value < b.ip.value
          ? -1
          : a.ip.value > b.ip.value
            ? 1
            : a.prefix - b.prefix,
    );
  const seen = new Set<string>();
  // Those that hold the one that is looked at: in this order each lies within all that are open.
  const open: (typeof networks)[number][] = [];
  for (const one of networks) {
    while (open.length > 0 && !holds(open.at(-1)!.cidr, one.cidr)) open.pop();
    for (const { teller, network, systems } of open) {
      const [a, b] = [teller.router, one.teller.router];
      if (a.tenant === b.tenant || ![...systems].some((asn) => one.systems.has(asn))) continue;
      const pair = [a.id, b.id].sort().join();
      if (seen.has(pair)) continue;
      seen.add(pair);
      yield { router: b, other: a, text: `it advertises ${one.network}, within ${network}` };
    }
    open.push(one);
  }
}

function holds(outer: Cidr, inner: Cidr): boolean {
  return outer.ip.version === inner.ip.version && outer.prefix <= inner.prefix && cidrContains(outer, inner.ip);
}

function seconds(ms: number): string {
  return `${Math.max(0, Math.round(ms / 1000))} s`;
}
