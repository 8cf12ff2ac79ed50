import { createHash } from 'node:crypto';
import { formatCidr, type Ip, parseIp } from '../base/addresses.ts';
import type { LearnedRoute } from '../model/objects.ts';
import type { Action } from '../openflow/flow.ts';
import { set } from './fields.ts';
import { define, type LearnedDestination } from './inputs.ts';
import { withoutLost } from './lost-hosts.ts';
import { connectedNetworks, portTowards } from './routers.ts';
import { ecmpSlotFrom } from './units/router-base.ts';

/**
 * Routes that gateways learned (docs/design/gateways.md, §2): many networks, few sets of next hops. Which set a network has is worked out
 * here, record by record, beside the engines: there can be a hundred thousand, of each gateway, and a unit for each would cost more than all
 * else that is kept of them.
 */
export class LearnedDestinations {
  /** `router/network` → the routes of its hosts. */
  readonly #routes = new Map<string, readonly LearnedRoute[]>();
  /** What was made of them. */
  readonly #hops = new Map<string, string>();
  /** Each name of a set once, with how many networks have it. */
  readonly #names = new Map<string, { readonly name: string; uses: number }>();

  /** Takes records, or ids of those that are gone, and says which networks have another set now, or none. */
  take(
    changes: readonly { readonly id: string; readonly record: LearnedRoute | undefined }[],
  ): readonly DestinationChange[] {
    const touched = new Set<string>();
    for (const { id, record } of changes) {
      // `<router>/<network>/<host>`
      const key = id.slice(0, id.lastIndexOf('/'));
      const others = (this.#routes.get(key) ?? []).filter((route) => route.id !== id);
      if (record) others.push(record);
      if (others.length === 0) this.#routes.delete(key);
      else this.#routes.set(key, others);
      touched.add(key);
    }
    return [...touched].flatMap((key): DestinationChange[] => {
      const routes = this.#routes.get(key) ?? [];
      const hops = hopsOf(routes);
      const before = this.#hops.get(key);
      if (hops === before) return [];
      const name = hops === undefined ? undefined : this.#use(hops);
      if (before !== undefined) this.#release(before);
      if (name === undefined) this.#hops.delete(key);
      else this.#hops.set(key, name);
      if (name === undefined) return [{ id: key, value: undefined }];
      const { router, to } = routes[0]!;
      return [{ id: key, value: { kind: 'learnedDestination', id: key, router, to, hops: name } as const }];
    });
  }

  #use(name: string): string {
    const known = this.#names.get(name) ?? { name, uses: 0 };
    known.uses++;
    this.#names.set(known.name, known);
    return known.name;
  }

  #release(name: string): void {
    const known = this.#names.get(name)!;
    if (--known.uses === 0) this.#names.delete(name);
  }
}

export interface DestinationChange {
  readonly id: string;
  readonly value: LearnedDestination | undefined;
}

/** The name of the set of next hops: the router, then `host address weight` of each, sorted; undefined without any of the network's version. */
function hopsOf(routes: readonly LearnedRoute[]): string | undefined {
  const [first] = routes;
  if (first === undefined) return undefined;
  const isV6 = first.to.includes(':');
  const hops = routes.flatMap(({ host, via }) =>
    via.flatMap(({ address, weight }) => (address.includes(':') === isV6 ? [`${host} ${address} ${weight}`] : [])),
  );
  return hops.length === 0 ? undefined : [first.router, ...new Set(hops.sort())].join(',');
}

export interface LearnedHop {
  readonly via: string;
  readonly hop: Ip;
  /** Key of the router port that leads there. */
  readonly port: number;
  readonly weight: number;
  /** Hosts that learned it. */
  readonly toldBy: readonly string[];
}

/** Next hops of a set that a network of the router holds, each once with its highest weight. */
export const knownHops = define.cell<readonly LearnedHop[]>({
  name: 'knownHops',
  run: (reader, name) => {
    const [router, ...hops] = name.split(',');
    const networks = reader.derive(connectedNetworks, router!);
    const found = new Map<string, LearnedHop>();
    for (const each of hops) {
      const [host, via, weight] = each.split(' ') as [string, string, string];
      const hop = parseIp(via)!;
      const port = portTowards(networks, hop);
      if (port === undefined) continue;
      const { weight: former = 0, toldBy = [] } = found.get(via) ?? {};
      found.set(via, { via, hop, port, weight: Math.max(Number(weight), former), toldBy: [...toldBy, host] });
    }
    return [...found.values()];
  },
});

/** Those of them to which packets go now. */
export const usableHops = define.cell<readonly LearnedHop[]>({
  name: 'usableHops',
  run: (reader, name) => {
    const router = name.slice(0, name.indexOf(','));
    return withoutLost(reader, reader.derive(connectedNetworks, router), reader.derive(knownHops, name));
  },
});

/** What routes need of their set. */
export interface HopSetFacts {
  /** A set without a next hop is as though its routes were not there. */
  readonly isUsable: boolean;
  /** Names the set, and finds the slot where packets have to be shared out as long as all hosts live. One list for all routes. */
  readonly actions: { readonly 4: readonly Action[]; readonly 6: readonly Action[] };
}

export const hopSetFacts = define.cell<HopSetFacts>({
  name: 'hopSetFacts',
  run: (reader, name) => {
    const [, ...hops] = name.split(',');
    const isShared = new Set(hops.map((each) => each.split(' ')[1])).size > 1;
    const actions = (version: 4 | 6): Action[] => [
      set('xxreg2', hopSetId(name)),
      ...(isShared ? ecmpSlotFrom(version) : []),
    ];
    return { isUsable: reader.derive(knownHops, name).length > 0, actions: { 4: actions(4), 6: actions(6) } };
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
