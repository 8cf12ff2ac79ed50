import { createHash } from 'node:crypto';
import { formatCidr, type Ip, parseIp } from '../base/addresses.ts';
import { contribute, defineSink } from '../incremental/definitions.ts';
import { livingHops } from '../model/packed-routes.ts';
import type { Action } from '../openflow/flow.ts';
import { set } from './fields.ts';
import { define } from './inputs.ts';
import { connectedNetworks, portTowards } from './routers.ts';
import { withoutVoid } from './void-next-hops.ts';

/** Sets of next hops that gateways learned (docs/design/gateways.md, §2), and what routes need to know of them. */

/** What `LearnedDestinations` asks of routers: worked out beside the local switches. */
export const reachSink = defineSink<readonly string[], readonly string[]>({
  name: 'reach',
  merge: (contributions) => contributions[0]!.value,
});

export const reachUnit = define.unit({
  name: 'reach',
  over: 'router',
  run: (reader, id) => {
    const networks = reader.derive(connectedNetworks, id).map(({ network }) => formatCidr(network));
    return networks.length === 0 ? [] : [contribute(reachSink, id, networks)];
  },
});

export interface LearnedHop {
  readonly via: string;
  readonly hop: Ip;
  /** Key of the router port that leads there. */
  readonly port: number;
  readonly weight: number;
  /** Hosts that learned it. */
  readonly toldBy: readonly string[];
}

/** Of the name of a set (learned-destinations.ts). */
function partsOf(name: string): { readonly router: string; readonly version: 4 | 6; readonly sets: readonly string[] } {
  const [router, version, ...sets] = name.split(',');
  return { router: router!, version: version === '6' ? 6 : 4, sets };
}

/** Next hops of a set that a network of the router holds and whose sessions stand, each once with its highest weight. */
export const knownHops = define.cell<readonly LearnedHop[]>({
  name: 'knownHops',
  run: (reader, name) => {
    const { router, version, sets } = partsOf(name);
    const networks = reader.derive(connectedNetworks, router);
    const found = new Map<string, LearnedHop>();
    for (const each of sets) {
      const via = reader.pick('learnedSet', `${router}/${each}`, 'via') ?? [];
      const ended = reader.pick('learnedSet', `${router}/${each}`, 'ended');
      const host = each.slice(0, each.indexOf('/'));
      for (const { address, weight } of livingHops({ via, ...(ended === undefined ? {} : { ended }) })) {
        const hop = parseIp(address)!;
        const port = version === 4 || hop.version === 6 ? portTowards(networks, hop) : undefined;
        if (port === undefined) continue;
        const { weight: former = 0, toldBy = [] } = found.get(address) ?? {};
        found.set(address, { via: address, hop, port, weight: Math.max(weight, former), toldBy: [...toldBy, host] });
      }
    }
    return [...found.values()];
  },
});

/** Those of them to which packets go now. */
export const usableHops = define.cell<readonly LearnedHop[]>({
  name: 'usableHops',
  run: (reader, name) => {
    const { router } = partsOf(name);
    return withoutVoid(reader, router, reader.derive(connectedNetworks, router), reader.derive(knownHops, name));
  },
});

/** What routes need of their set. */
export interface HopSetFacts {
  /** A set without a next hop is as though its routes were not there. */
  readonly isUsable: boolean;
  /** Names the set. One list for all routes. */
  readonly actions: readonly Action[];
  /** The table that comes next: packets that have to be shared out as long as all hosts live find their slot first. */
  readonly next: 'spread' | 'ecmp';
}

export const hopSetFacts = define.cell<HopSetFacts>({
  name: 'hopSetFacts',
  run: (reader, name) => {
    const { router, version: own, sets } = partsOf(name);
    // Also of those that lead nowhere now: it must not change what routes have to do when they come and go.
    const addresses = sets.flatMap((each) => reader.pick('learnedSet', `${router}/${each}`, 'via') ?? []);
    const isShared =
      new Set(addresses.flatMap(({ address }) => (own === 4 || address.includes(':') ? [address] : []))).size > 1;
    return {
      isUsable: reader.derive(knownHops, name).length > 0,
      actions: [set('xxreg2', hopSetId(name))],
      next: isShared ? 'spread' : 'ecmp',
    };
  },
});

/** The number of a set, where a next hop would stand: it begins with ff, as no next hop does (RFC 4291 §2.7). */
export function hopSetId(name: string): bigint {
  const digest = createHash('sha256').update(name).digest('hex');
  return BigInt(`0xff${digest.slice(0, 30)}`);
}

/** Networks of a router that are connected, or that static routes for all sources lead to. */
interface KnownNetworks {
  readonly connected: readonly string[];
  readonly routed: readonly string[];
}

/** Of `<router>/<head>`: those whose text begins so. Few learned routes are told when another comes. */
export const knownNetworks = define.cell<KnownNetworks>({
  name: 'knownNetworks',
  run: (reader, key) => {
    const [router, head] = key.split('/') as [string, string];
    const connected = reader.derive(connectedNetworks, router).map(({ network }) => formatCidr(network));
    const routes = reader.pick('router', router, 'routes') ?? [];
    return {
      connected: connected.filter((network) => headOf(network) === head),
      routed: [...new Set(routes.flatMap(({ to, from }) => (from === undefined && headOf(to) === head ? [to] : [])))],
    };
  },
});

/** The first number of a network. */
export function headOf(network: string): string {
  return network.slice(0, network.search(/[.:]/));
}
