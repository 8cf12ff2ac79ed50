import { type Cidr, formatCidr, type Ip, parseCidr, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { PolicyRoute, Route } from '../../model/objects.ts';
import type { Match } from '../../openflow/flow.ts';
import { prefixMatch } from '../bits.ts';
import { toAgent } from '../facts.ts';
import { ETH, IPV4, IPV6, load, match, set } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, type Reader, strictPortsIndex } from '../inputs.ts';
import { hopSetId } from '../learned-routes.ts';
import { reportProblem } from '../problem-sink.ts';
import { type ConnectedNetwork, connectedNetworks, portTowards } from '../routers.ts';
import { planOf } from '../rule-match.ts';
import { withoutVoid } from '../void-next-hops.ts';
import { type SharedHop, slotFlows, spreadOver, towards, wayToSlot } from './ecmp.ts';
import { nextHopFrom4, nextHopFrom6 } from './router-base.ts';

/** Which way a packet leaves its router (docs/design/layer3.md, §6.6 and 6.7): policies, then routes. */

/** Policies are tried from the lowest position (1 to 10,000) up. */
const FIRST_POLICY = 20_000;
/** In `ecmp`, above all static routes (16,770): named sets of next hops. */
export const HOP_SET = 20_000;

export const policiesUnit = define.unit({
  name: 'policies',
  over: 'router',
  run(reader, id) {
    const policies = reader.pick('router', id, 'policies')!;
    if (policies.length === 0) return [];
    const router = match({ router: reader.pick('router', id, 'key')! });
    const networks = reader.derive(connectedNetworks, id);
    return policies.flatMap((policy) => policyFlows(id, router, policy, networks));
  },
});

function policyFlows(
  id: string,
  router: Match,
  { position, match: wanted, action, via }: PolicyRoute,
  networks: readonly ConnectedNetwork[],
): Contribution[] {
  const priority = FIRST_POLICY - position;
  const hop = via === undefined ? undefined : parseIp(via);
  let target: FlowTarget;
  if (action === 'allow') target = { goto: 'route' };
  else if (action === 'reroute') {
    const port = hop && portTowards(networks, hop);
    // A next hop that no network holds: as though the policy were not there.
    if (port === undefined) return [];
    target = { do: towards(hop!, port), goto: 'outChain' };
  } else if (action === 'drop') target = { drop: 'route-policy' };
  else
    return [
      flow('policy', priority, router, { drop: 'route-policy' }),
      reportProblem(id, `the policy action "${String(action)}" is not known to this agent; it drops instead`),
    ];
  const version = hop === undefined ? undefined : hop.version === 4 ? ETH.ipv4 : ETH.ipv6;
  return planOf(wanted).matches.flatMap(({ fields }) => {
    if (version === undefined) return [flow('policy', priority, { ...router, ...fields }, target)];
    // A next hop is one for packets of its own version.
    if (fields.eth_type !== undefined && fields.eth_type !== version) return [];
    return [flow('policy', priority, { ...router, eth_type: version, ...fields }, target)];
  });
}

export const routesUnit = define.unit({
  name: 'routes',
  over: 'router',
  run(reader, id) {
    const router = reader.pick('router', id, 'key')!;
    const networks = reader.derive(connectedNetworks, id);
    const flows = networks.map(({ network, port }) =>
      flow('route', priorityOf(network, undefined), match({ router }, wayOf(network, undefined)), {
        do: [
          ...(network.ip.version === 4 ? nextHopFrom4('ip_dst') : nextHopFrom6('ipv6_dst')),
          ...load({ routerPort: port }),
        ],
        goto: 'outChain',
      }),
    );
    const connected = new Set(networks.map(({ network }) => formatCidr(network)));
    // A connected network has the lowest metric of all; where routes to one were learned, they and the static ones are put together.
    for (const [name, routes] of byNetwork(reader.pick('router', id, 'routes')!))
      if (!connected.has(name) && reader.get('learnedDestination', `${id}/${name}`) === undefined)
        flows.push(...routeFlows(reader, id, routes, networks));
    return flows;
  },
});

/** Static routes by destination and source: of each only the best are used. */
function byNetwork(routes: readonly Route[]): Map<string, Route[]> {
  const groups = new Map<string, Route[]>();
  for (const route of routes) {
    const name = route.from === undefined ? route.to : `${route.to} ${route.from}`;
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [route]);
    else group.push(route);
  }
  return groups;
}

export function routeFlows(
  reader: Reader,
  id: string,
  routes: readonly Route[],
  networks: readonly ConnectedNetwork[],
): Contribution[] {
  const router = reader.pick('router', id, 'key')!;
  const hops = new Map<Route, { readonly hop: Ip; readonly port: number }>();
  for (const route of routes) {
    const hop = route.via === undefined ? undefined : parseIp(route.via);
    const port = hop && portTowards(networks, hop);
    if (port !== undefined) hops.set(route, { hop: hop!, port });
  }
  const usable = withoutVoid(
    reader,
    id,
    networks,
    routes.filter((route) => route.action !== undefined || hops.has(route)),
  );
  const metric = Math.min(...usable.map((route) => route.metric));
  const best = usable.filter((route) => route.metric === metric);
  const first = best[0];
  if (first === undefined) return [];
  const to = parseCidr(first.to)!;
  const from = first.from === undefined ? undefined : parseCidr(first.from);
  const priority = priorityOf(to, from);
  const where = match({ router }, wayOf(to, from));
  // Of equals what stops packets goes before what sends them on.
  if (best.some(({ action }) => action === 'blackhole')) return [flow('route', priority, where, { drop: 'blackhole' })];
  if (best.some(({ action }) => action !== undefined))
    return [
      flow('route', priority, match({ router, reverse: 0, noErrors: 0 }, wayOf(to, from)), {
        do: [toAgent(reader, 'unreachable')],
        drop: 'no-route',
      }),
      flow('route', priority, match({ router, reverse: 0, noErrors: 1 }, wayOf(to, from)), { drop: 'no-route' }),
      // Who asks for the way back is told nothing.
      flow('route', priority, match({ router, reverse: 1 }, wayOf(to, from)), {}),
    ];
  const ways = new Map<string, SharedHop>();
  for (const route of best) {
    const weight = (ways.get(route.via!)?.weight ?? 0) + route.weight;
    ways.set(route.via!, { via: route.via!, ...hops.get(route)!, weight });
  }
  const back = backFlows(reader, router, { to, from, priority }, [...hops.values()]);
  const forth = back.length === 0 ? where : match({ router, reverse: 0 }, wayOf(to, from));
  if (ways.size === 1) {
    const [{ hop, port }] = ways.values() as unknown as [SharedHop];
    return [...back, flow('route', priority, forth, { do: towards(hop, port), goto: 'outChain' })];
  }
  const spread = spreadOver([...ways.values()]);
  const { more, ...way } = wayToSlot(spread, to.ip.version);
  return [
    ...back,
    flow('route', priority, forth, way),
    ...more,
    // The longest prefix among ECMP routes is the one that led here.
    ...slotFlows(spread, (ecmpSlot, target) =>
      flow('ecmp', priority, match({ router, ecmpSlot }, wayOf(to, from)), target),
    ),
  ];
}

/** Of some next hops the ports at which only sources that are routed by them come in. */
export function strictOf(reader: Reader, hops: readonly { readonly port: number }[]): number[] {
  return [...new Set(hops.map(({ port }) => port))].filter(
    (port) => reader.ids(strictPortsIndex, `${port}`).length > 0,
  );
}

/** One of the ways back is the port by which the packet came in. */
export function backBy(port: number): FlowTarget {
  return { do: load({ routerPort: port }), goto: 'outChain' };
}

/**
 * Who asks for the way back to a source (units/source-check.ts) asks whether *any* next hop is behind the port by which it came in, whatever
 * its metric, and alive or not: a packet may well come by another way than packets to it go (feasible paths, RFC 3704 §2.3).
 */
function backFlows(
  reader: Reader,
  router: number,
  { to, from, priority }: { readonly to: Cidr; readonly from: Cidr | undefined; readonly priority: number },
  hops: readonly { readonly port: number }[],
): Contribution[] {
  const strict = strictOf(reader, hops);
  if (strict.length === 0 || hops.every(({ port }) => port === hops[0]!.port)) return [];
  const xxreg2 = hopSetId(`back ${router} ${formatCidr(to)} ${from ? formatCidr(from) : ''}`);
  return [
    flow('route', priority, match({ router, reverse: 1 }, wayOf(to, from)), {
      do: [set('xxreg2', xxreg2), ...load({ routerPort: hops[0]!.port })],
      goto: 'ecmp',
    }),
    flow('ecmp', HOP_SET, match({ reverse: 1 }, { xxreg2 }), {}),
    ...strict.map((port) =>
      flow('ecmp', HOP_SET + 1, match({ reverse: 1, enteredBy: port }, { xxreg2 }), backBy(port)),
    ),
  ];
}

/** Longest destination first, then with a source before without, longest first. At most 16,770. */
export function priorityOf(to: Cidr, from: Cidr | undefined): number {
  return 1 + to.prefix * 130 + (from === undefined ? 0 : from.prefix + 1);
}

export function wayOf(to: Cidr, from: Cidr | undefined): Match {
  const isV4 = to.ip.version === 4;
  const bitsOf = ({ ip, prefix }: Cidr): ReturnType<typeof prefixMatch> =>
    prefixMatch(ip.value, prefix, isV4 ? 32 : 128);
  const [dst, src] = [bitsOf(to), from && bitsOf(from)];
  if (isV4)
    return {
      ...IPV4,
      ...(dst === undefined ? {} : { ip_dst: dst }),
      ...(src === undefined ? {} : { ip_src: src }),
    };
  return {
    ...IPV6,
    ...(dst === undefined ? {} : { ipv6_dst: dst }),
    ...(src === undefined ? {} : { ipv6_src: src }),
  };
}
