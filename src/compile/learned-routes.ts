import { createHash } from 'node:crypto';
import { type Cidr, cidrContains, formatCidr, type Ip, networkOf, parseCidr, parseIp } from '../base/addresses.ts';
import { contribute, defineSink } from '../incremental/definitions.ts';
import type { LearnedRoute, Router, RouterPort } from '../model/objects.ts';
import type { Action } from '../openflow/flow.ts';
import { Aggregate } from './aggregate.ts';
import { set } from './fields.ts';
import { define, type LearnedDestination } from './inputs.ts';
import { connectedNetworks, portTowards } from './routers.ts';
import { ecmpSlotFrom } from './units/router-base.ts';
import { withoutVoid } from './void-next-hops.ts';

/**
 * Routes that gateways learned (docs/design/gateways.md, §2): many networks, few sets of next hops. Which networks need a flow, and which set
 * each has, is worked out here, record by record, beside the engines: there can be a hundred thousand, of each gateway, and a unit for each would
 * cost more than all else that is kept of them.
 *
 *     learned routes of all hosts ─▶ set of next hops of each network ─▶ `Aggregate` of the router ─▶ learnedDestination records
 *     networks of the router's ports ─▶ no void ones ─┘                            │
 *     routers, router ports ─▶ networks with other routes, held ────────────────┘
 *
 * Void next hops are in no set: what is aggregated for one would be lost with it, and what lay below could not show.
 */
export class LearnedDestinations {
  /** `router/network` → the routes of its hosts. */
  readonly #routes = new Map<string, readonly LearnedRoute[]>();
  /** And the number of the set that was made of them. */
  readonly #setOf = new Map<string, number>();
  readonly #sets = new HopSets();
  readonly #aggregates = new Map<string, { readonly aggregate: Aggregate; networks: number }>();
  readonly #held = new HeldNetworks();
  readonly #reached = new ReachedHops();

  /** Says which networks have another set now, or none. Of several changes of one record the last holds. */
  take(changes: readonly RecordChange[], reach: readonly ReachChange[]): readonly DestinationChange[] {
    const networks = new Set<string>();
    const routers = new Set<string>();
    for (const { router, networks: now } of reach)
      if (this.#reached.take(router, now))
        for (const key of this.#routes.keys()) if (key.startsWith(router)) networks.add(key);
    for (const { kind, id, record } of changes) {
      if (kind === 'learnedRoute') networks.add(this.#note(id, record as LearnedRoute | undefined));
      else
        for (const { router, to, isHeld } of this.#held.take(id, record as Router | RouterPort | undefined)) {
          this.#aggregates.get(router)?.aggregate.hold(parseCidr(to)!, isHeld);
          routers.add(router);
        }
    }
    const former = [...networks].flatMap((key) => this.#settle(key, routers));
    const told = [...routers].flatMap((router) => this.#flush(router));
    // Not before: until now the aggregates could have spoken of them.
    for (const set of former) this.#sets.release(set);
    return told;
  }

  /** Returns `<router>/<network>` of `<router>/<network>/<host>`. */
  #note(id: string, record: LearnedRoute | undefined): string {
    const key = id.slice(0, id.lastIndexOf('/'));
    const others = (this.#routes.get(key) ?? []).filter((route) => route.id !== id);
    if (record) others.push(record);
    if (others.length === 0) this.#routes.delete(key);
    else this.#routes.set(key, others);
    return key;
  }

  /** Tells the aggregate which set the network has. Returns the set that it had, if that was another. */
  #settle(key: string, routers: Set<string>): readonly number[] {
    const router = key.slice(0, key.indexOf('/'));
    const to = key.slice(router.length + 1);
    const name = hopsOf(this.#routes.get(key) ?? [], this.#reached);
    const before = this.#setOf.get(key);
    if (name === (before === undefined ? undefined : this.#sets.nameOf(before))) return [];
    routers.add(router);
    const known = this.#aggregates.get(router) ?? { aggregate: this.#held.aggregateOf(router), networks: 0 };
    this.#aggregates.set(router, known);
    if (before === undefined) known.networks++;
    if (name === undefined) {
      known.networks--;
      this.#setOf.delete(key);
      known.aggregate.delete(parseCidr(to)!);
    } else {
      const set = this.#sets.use(name);
      this.#setOf.set(key, set);
      known.aggregate.put(parseCidr(to)!, set);
    }
    return before === undefined ? [] : [before];
  }

  #flush(router: string): readonly DestinationChange[] {
    const known = this.#aggregates.get(router);
    if (!known) return [];
    const { put, gone } = known.aggregate.flush();
    if (known.networks === 0) this.#aggregates.delete(router);
    return [
      ...gone.map((cidr): DestinationChange => ({ id: `${router}/${formatCidr(cidr)}`, value: undefined })),
      ...put.map(({ to: cidr, hops }): DestinationChange => {
        const to = formatCidr(cidr);
        const id = `${router}/${to}`;
        return { id, value: { kind: 'learnedDestination', id, router, to, hops: this.#sets.nameOf(hops) } };
      }),
    ];
  }
}

/** The networks of a router's ports that are up and lead somewhere; empty for a router that is gone. */
export interface ReachChange {
  readonly router: string;
  readonly networks: readonly string[];
}

/** A record put, or gone. */
export interface RecordChange {
  readonly kind: 'learnedRoute' | 'router' | 'routerPort';
  readonly id: string;
  readonly record: LearnedRoute | Router | RouterPort | undefined;
}

export interface DestinationChange {
  readonly id: string;
  readonly value: LearnedDestination | undefined;
}

/** Which next hops a network of their router holds. */
class ReachedHops {
  readonly #networks = new Map<string, readonly Cidr[]>();
  /** Router → what was ever asked of it, and is answered. */
  readonly #known = new Map<string, Map<string, boolean>>();

  has(router: string, address: string): boolean {
    const known = this.#known.get(router) ?? new Map<string, boolean>();
    this.#known.set(router, known);
    const answer = known.get(address) ?? this.#isReached(router, address);
    known.set(address, answer);
    return answer;
  }

  /** Is any answer another now? */
  take(router: string, networks: readonly string[]): boolean {
    if (networks.length === 0) this.#networks.delete(router);
    else
      this.#networks.set(
        router,
        networks.map((text) => parseCidr(text)!),
      );
    let isOther = false;
    const known = this.#known.get(router);
    for (const [address, answer] of known ?? []) {
      const now = this.#isReached(router, address);
      known!.set(address, now);
      isOther ||= now !== answer;
    }
    return isOther;
  }

  #isReached(router: string, address: string): boolean {
    const hop = parseIp(address)!;
    return this.#networks.get(router)?.some((network) => cidrContains(network, hop)) ?? false;
  }
}

/** Numbers of sets of next hops, by name. A number is not given twice. */
class HopSets {
  readonly #numbers = new Map<string, number>();
  readonly #sets = new Map<number, { readonly name: string; uses: number }>();
  #next = 0;

  nameOf(set: number): string {
    return this.#sets.get(set)!.name;
  }

  use(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) {
      this.#sets.get(known)!.uses++;
      return known;
    }
    this.#numbers.set(name, this.#next);
    this.#sets.set(this.#next, { name, uses: 1 });
    return this.#next++;
  }

  release(set: number): void {
    const known = this.#sets.get(set)!;
    if (--known.uses > 0) return;
    this.#sets.delete(set);
    this.#numbers.delete(known.name);
  }
}

/** Networks for which routers have other routes, whatever becomes of those: beside them nothing is aggregated. */
class HeldNetworks {
  /** Router or router port → what it holds. */
  readonly #of = new Map<string, { readonly router: string; readonly networks: ReadonlySet<string> }>();
  /** Router → network → by how many. */
  readonly #counts = new Map<string, Map<string, number>>();

  /** Networks that are held from now on, or no longer. */
  *take(id: string, record: Router | RouterPort | undefined) {
    const before = this.#of.get(id);
    const router = record?.kind === 'routerPort' ? record.router : id;
    const after = record && { router, networks: heldBy(record) };
    if (after && after.networks.size > 0) this.#of.set(id, after);
    else this.#of.delete(id);
    for (const to of after?.networks ?? []) if (this.#count(router, to, 1) === 1) yield { router, to, isHeld: true };
    for (const to of before?.networks ?? [])
      if (this.#count(before!.router, to, -1) === 0) yield { router: before!.router, to, isHeld: false };
  }

  aggregateOf(router: string): Aggregate {
    // How many routes a router takes is the server's to see to.
    const aggregate = new Aggregate(Number.MAX_SAFE_INTEGER);
    for (const to of this.#counts.get(router)?.keys() ?? []) aggregate.hold(parseCidr(to)!, true);
    return aggregate;
  }

  #count(router: string, to: string, by: 1 | -1): number {
    const counts = this.#counts.get(router) ?? new Map<string, number>();
    this.#counts.set(router, counts);
    const count = (counts.get(to) ?? 0) + by;
    if (count === 0) counts.delete(to);
    else counts.set(to, count);
    if (counts.size === 0) this.#counts.delete(router);
    return count;
  }
}

function heldBy(record: Router | RouterPort): ReadonlySet<string> {
  return new Set(
    record.kind === 'router'
      ? record.routes.map(({ to }) => to)
      : record.addresses.map((text) => formatCidr(networkOf(parseCidr(text)!))),
  );
}

/** The name of the set of next hops: the router, then `host address weight` of each, sorted; undefined without any that leads somewhere and is of the network's version. */
function hopsOf(routes: readonly LearnedRoute[], reached: ReachedHops): string | undefined {
  const [first] = routes;
  if (first === undefined) return undefined;
  const { router } = first;
  const isV6 = first.to.includes(':');
  const isUsable = (address: string): boolean => address.includes(':') === isV6 && reached.has(router, address);
  const hops = routes.flatMap(({ host, via }) =>
    via.flatMap(({ address, weight }) => (isUsable(address) ? [`${host} ${address} ${weight}`] : [])),
  );
  return hops.length === 0 ? undefined : [router, ...new Set(hops.sort())].join(',');
}

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
    return withoutVoid(reader, router, reader.derive(connectedNetworks, router), reader.derive(knownHops, name));
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
