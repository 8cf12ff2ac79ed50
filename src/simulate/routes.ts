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
import type { PolicyRoute, Route, Router, RouterPort } from '../model/objects.ts';
import { ecmpShares } from '../model/shares.ts';
import { parseAddressOrCidr } from '../model/texts.ts';
import type { ModelView } from '../model/view.ts';
import { isLinkLocal, networksOf } from './addresses.ts';
import type { Frame } from './frame.ts';
import { isInRange, protocolFits } from './rule-match.ts';
import { peerOf } from './tracking.ts';

/** Where a router sends a packet, and why (docs/design/layer3.md, §6.6 and §6.7). */
export type Way =
  | { readonly kind: 'out'; readonly port: RouterPort; readonly nextHop: Ip; readonly why: string }
  | { readonly kind: 'blackhole' | 'reject' | 'policy-drop'; readonly why: string };

/** Of learned routes: before static ones, unless these say otherwise. */
const LEARNED_METRIC = 20;

/** Undefined: no route. `by`: the port by which the packet came in. `host`: where this is decided. */
export function wayOf(model: ModelView, router: Router, frame: Frame, by: RouterPort, host: string): Way | undefined {
  const dst = frame.ip!.dst;
  // Only the router's own answers go to such an address (RFC 4291 §2.5.6).
  if (isLinkLocal(dst)) return { kind: 'out', port: by, nextHop: dst, why: 'a link-local address is next to it' };
  for (const policy of [...router.policies].sort((a, b) => a.position - b.position)) {
    if (!policyMatchFits(policy.match, frame)) continue;
    const what = `policy ${policy.position}`;
    if (policy.action === 'drop') return { kind: 'policy-drop', why: what };
    if (policy.action === 'allow') break;
    const nextHop = parseIp(policy.via!)!;
    const port = nextHop.version === dst.version ? portTowards(model, router, nextHop) : undefined;
    if (port) return { kind: 'out', port, nextHop, why: `${what} by ${policy.via}` };
  }
  return bestRoute(model, router, frame, host);
}

/** Of IP packets: does the match of a policy, or of a mirror, fit? */
export function policyMatchFits(match: PolicyRoute['match'], { ip, ports }: Frame): boolean {
  if (match.src !== undefined && !cidrContains(parseAddressOrCidr(match.src), ip!.src)) return false;
  if (match.dst !== undefined && !cidrContains(parseAddressOrCidr(match.dst), ip!.dst)) return false;
  if (match.protocol !== undefined && !protocolFits(match.protocol, ip)) return false;
  if (match.srcPorts !== undefined && !(ports && isInRange(match.srcPorts, ports.src))) return false;
  return match.dstPorts === undefined || (ports !== undefined && isInRange(match.dstPorts, ports.dst));
}

/** A route that fits, static or connected, with what it is compared by. */
interface Candidate {
  readonly to: number;
  /** -1 without `from`. */
  readonly from: number;
  readonly metric: number;
  readonly connected?: { readonly port: RouterPort; readonly text: string };
  readonly route?: LearnedRoute;
}

/** The routes with the longest destination, then source, whatever their metric and whether what they lead to lives. Best metric first. */
function fittingRoutes(model: ModelView, router: Router, frame: Frame): readonly Candidate[] {
  const { src, dst } = frame.ip!;
  const candidates: Candidate[] = [];
  for (const port of connectedPorts(model, router)) {
    for (const network of networksOf(port))
      if (cidrContains(network, dst))
        candidates.push({
          ...{ to: network.prefix, from: -1, metric: 0 },
          connected: { port, text: formatCidr(networkOf(network)) },
        });
  }
  for (const route of [...router.routes, ...learnedRoutes(model, router, dst)]) {
    const to = parseCidr(route.to)!;
    const from = route.from === undefined ? undefined : parseCidr(route.from)!;
    if (isVoid(model, router, route) || !cidrContains(to, dst) || (from && !cidrContains(from, src))) continue;
    candidates.push({ to: to.prefix, from: from?.prefix ?? -1, metric: route.metric, route });
  }
  const { to: toLength, from: fromLength } = candidates.sort(byPreference)[0] ?? {};
  return candidates.filter((c) => c.to === toLength && c.from === fromLength);
}

/** Ports by which any route leads back to the source of a packet; undefined where none does. */
export function portsBackTo(
  model: ModelView,
  router: Router,
  frame: Frame,
  host: string,
): ReadonlySet<string> | undefined {
  const { src, dst } = frame.ip!;
  const back = { ...frame, ip: { ...frame.ip!, src: dst, dst: src } };
  if (bestRoute(model, router, back, host)?.kind !== 'out') return undefined;
  const fitting = fittingRoutes(model, router, back);
  const [first] = fitting;
  if (first?.connected) return new Set([first.connected.port.id]);
  const hops = fitting.flatMap(({ route }) => (route?.via === undefined ? [] : [parseIp(route.via)!]));
  return new Set(hops.flatMap((hop) => portTowards(model, router, hop)?.id ?? []));
}

function bestRoute(model: ModelView, router: Router, frame: Frame, host: string): Way | undefined {
  const { dst } = frame.ip!;
  const fitting = fittingRoutes(model, router, frame);
  const { silent, isLost, living, usable } = usableOf(model, router, fitting, host);
  const best = usable[0];
  if (!best) return undefined;
  if (best.connected) {
    const { port, text } = best.connected;
    return { kind: 'out', port, nextHop: dst, why: `connected to ${text}` };
  }
  const equals = usable.filter((c) => c.metric === best.metric);
  const way = staticWay(
    model,
    router,
    frame,
    equals.flatMap(({ route }) => route ?? []),
  );
  const lost = fitting.filter(({ route }) => route && !silent.has(route.via!) && isLost(route));
  const around = [
    [living === fitting ? 0 : lost.length, 'no answer from the host'],
    [living.length - usable.length, 'the host is drained'],
  ] as const;
  const voids = [
    ...[...silent].map(([via, sinceMs]) => `next hop ${via} does not answer since ${timeText(sinceMs)}`),
    ...around.flatMap(([count, why]) => (count === 0 ? [] : [`${count} void: ${why}`])),
  ];
  return voids.length === 0 ? way : { ...way, why: `${way.why} (${voids.join('; ')})` };
}

/** What leads to a lost host or a silent next hop is void, unless all of these routes do; of the others what leads to a drained one. */
function usableOf(model: ModelView, router: Router, fitting: readonly Candidate[], host: string) {
  const isLostHost = (id: string): boolean => model.isLost(host, id);
  const isLost = (route: LearnedRoute): boolean => isBehind(model, router, route, isLostHost);
  const silent = new Map(fitting.flatMap(({ route }) => silenceOf(model, router, route?.via, isLostHost)));
  const living = orAll(fitting, ({ route }) => !route || !(silent.has(route.via!) || isLost(route)));
  const isDrained = (id: string): boolean => model.get('host', id)?.drain === true;
  const usable = orAll(living, ({ route }) => !route || !isBehind(model, router, route, isDrained));
  return { silent, isLost, living, usable };
}

/** What becomes of the routes to exactly this network, from anywhere, where a host decides by them alone. */
export interface RoutesTo {
  /** Next hops of learned routes that packets take. */
  readonly taken: ReadonlySet<string>;
  /** Of the routes that are taken. */
  readonly metric: number;
  /** Next hops that do not answer, with when that began, and those behind lost hosts; void only where others are left. */
  readonly silent: ReadonlyMap<string, number>;
  readonly lost: ReadonlySet<string>;
}

export function routesTo(model: ModelView, router: Router, to: Cidr, host: string): RoutesTo {
  const text = formatCidr(to);
  const written = router.routes.filter(
    (route) => route.from === undefined && formatCidr(networkOf(parseCidr(route.to)!)) === text,
  );
  const fitting = [...written, ...learnedRoutesTo(model, router, to)]
    .filter((route) => !isVoid(model, router, route))
    .map((route): Candidate => ({ to: to.prefix, from: -1, metric: route.metric, route }))
    .sort(byPreference);
  const { silent, isLost, usable } = usableOf(model, router, fitting, host);
  const metric = usable[0]?.metric ?? LEARNED_METRIC;
  const best = usable.flatMap((each) => (each.metric === metric && each.route ? [each.route] : []));
  const endsHere = best.some(({ action }) => action !== undefined);
  const learned = best.filter((route) => !written.includes(route)).map(({ via }) => via!);
  const lost = fitting.flatMap(({ route }) => (route?.via !== undefined && isLost(route) ? [route.via] : []));
  return { taken: new Set(endsHere ? [] : learned), metric, silent, lost: new Set(lost) };
}

function isVoid(model: ModelView, router: Router, { via }: LearnedRoute): boolean {
  return via !== undefined && !portTowards(model, router, parseIp(via)!);
}

/**
 * A next hop of which some gateway on its switch says that it does not answer, and none that it does: with when that began. The last word of a lost gateway
 * counts where there is no other.
 */
export function silenceOf(
  model: ModelView,
  router: Router,
  via: string | undefined,
  isLost: (host: string) => boolean,
): readonly [string, number][] {
  const hop = via === undefined ? undefined : parseIp(via)!;
  const onSwitch = hop && portTowards(model, router, hop)?.switch;
  if (onSwitch === undefined) return [];
  const hosts = activeHosts(model, onSwitch);
  const all = [...model.nextHopStatesOf(router.id)].filter((each) => each.address === via && hosts.has(each.host));
  const said = orAll(all, (each) => !isLost(each.host));
  if (said.length === 0 || said.some(({ up }) => up)) return [];
  return [[via!, Math.min(...said.map(({ sinceMs }) => sinceMs))]];
}

export function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function activeHosts(model: ModelView, switchId: string): ReadonlySet<string> {
  const active = new Set<string>();
  for (const { id } of model.portsOfSwitch(switchId)) {
    const host = model.bindingOf(id)?.active;
    if (host !== undefined) active.add(host);
  }
  return active;
}

/** Those that fit, or all where none does. */
function orAll<T>(all: readonly T[], fits: (each: T) => boolean): readonly T[] {
  const found = all.filter(fits);
  return found.length === 0 ? all : found;
}

function byPreference(a: Candidate, b: Candidate): number {
  return b.to - a.to || b.from - a.from || a.metric - b.metric;
}

/**
 * Is it one of these hosts behind whose port the next hop was heard, or the only one with an active port of its switch? Where that says
 * nothing: are all of those from whom the route is?
 */
function isBehind(
  model: ModelView,
  router: Router,
  { via, toldBy }: LearnedRoute,
  isOne: (host: string) => boolean,
): boolean {
  const hop = via === undefined ? undefined : parseIp(via)!;
  const onSwitch = hop && portTowards(model, router, hop)?.switch;
  if (!hop || onSwitch === undefined) return false;
  const text = formatIp(hop);
  for (const { address, host } of model.neighboursOf(onSwitch)) if (address === text) return isOne(host);
  const active = activeHosts(model, onSwitch);
  const hosts = active.size === 1 ? [...active] : (toldBy ?? []);
  return hosts.length > 0 && hosts.every(isOne);
}

/** A route with the hosts that learned it; without them one that somebody wrote. */
type LearnedRoute = Route & { readonly toldBy?: readonly string[] };

/** Learned routes that hold the address, as static ones: a next hop that several hosts tell counts once, with its highest weight. */
function* learnedRoutes(model: ModelView, router: Router, dst: Ip): Iterable<LearnedRoute> {
  for (let prefix = dst.version === 4 ? 32 : 128; prefix >= 0; prefix--)
    yield* learnedRoutesTo(model, router, networkOf({ ip: dst, prefix }));
}

function* learnedRoutesTo(model: ModelView, router: Router, network: Cidr): Iterable<LearnedRoute> {
  const to = formatCidr(network);
  const hops = new Map<string, { weight: number; readonly toldBy: string[] }>();
  for (const { host, via } of model.learnedRoutesTo(router.id, to))
    for (const { address, weight } of via) {
      const known = hops.get(address) ?? { weight: 0, toldBy: [] };
      hops.set(address, { weight: Math.max(weight, known.weight), toldBy: [...known.toldBy, host] });
    }
  // IPv4 goes by IPv6 next hops too (RFC 8950), not the other way round.
  for (const [via, hop] of hops)
    if (network.ip.version === 4 || parseIp(via)?.version === 6) yield { to, via, ...hop, metric: LEARNED_METRIC };
}

/** Of equal routes one that ends here goes before next hops, which share the packets out. */
function staticWay(model: ModelView, router: Router, frame: Frame, routes: readonly Route[]): Way {
  const { to, from } = routes[0]!;
  const isLearned = routes.every((route) => !router.routes.includes(route));
  const text = `${isLearned ? 'learned ' : ''}route ${to}${from === undefined ? '' : ` from ${from}`}`;
  for (const action of ['blackhole', 'reject'] as const)
    if (routes.some((route) => route.action === action)) return { kind: action, why: `${text}: ${action}` };
  const weights = new Map<string, number>();
  for (const { via, weight } of routes) weights.set(via!, (weights.get(via!) ?? 0) + weight);
  const slots = ecmpShares([...weights].map(([id, weight]) => ({ id, weight })));
  const via = slots[(lowBits(frame.ip!.src) ^ lowBits(frame.ip!.dst)) % slots.length]!;
  const nextHop = parseIp(via)!;
  const why = `${text} via ${via}${weights.size > 1 ? `, one of ${weights.size}` : ''}`;
  return { kind: 'out', port: portTowards(model, router, nextHop)!, nextHop, why };
}

/** Networks of its ports with what leads there; of two ports with the same the first by id has it. */
export function* connectedNetworksOf(
  model: ModelView,
  router: Router,
): Iterable<{ readonly port: RouterPort; readonly network: Cidr }> {
  for (const port of connectedPorts(model, router)) for (const network of networksOf(port)) yield { port, network };
}

/** Ports that lead somewhere; of two with the same network the first by id has it. */
function connectedPorts(model: ModelView, router: Router): RouterPort[] {
  return [...model.routerPortsOfRouter(router.id)]
    .filter((port) => port.adminUp && (peerOf(model, port) ?? (port.switch && model.get('switch', port.switch))))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

function lowBits(ip: Ip): number {
  return Number(BigInt(ip.value) & 255n);
}

/** The port whose network holds a next hop: of several the narrowest. */
export function portTowards(model: ModelView, router: Router, nextHop: Ip): RouterPort | undefined {
  let best: { readonly port: RouterPort; readonly prefix: number } | undefined;
  for (const port of connectedPorts(model, router)) {
    for (const network of networksOf(port))
      if (cidrContains(network, nextHop) && !isLinkLocal(nextHop) && network.prefix > (best?.prefix ?? -1))
        best = { port, prefix: network.prefix };
  }
  return best?.port;
}

export function describeWay(way: Way & { readonly kind: 'out' }, name: string): string {
  return `${way.why}: to ${formatIp(way.nextHop)} by ${name}`;
}
