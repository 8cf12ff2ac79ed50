import { type Cidr, cidrContains, formatCidr, networkOf, parseCidr, parseIp } from '../base/addresses.ts';
import { cidrOf, keyOf, type RouteKey } from '../base/route-key.ts';
import type { LearnedRoutes, LearnedSet, Router, RouterPort } from '../model/objects.ts';
import { differenceOfPacked, livingHops, type PackedRoutes } from '../model/packed-routes.ts';
import { Aggregate } from './aggregate.ts';

/**
 * Routes that gateways learned (docs/design/gateways.md, §2): many networks, few sets of next hops. Which networks need a flow, and which set
 * each has, is worked out here, record by record, beside the engines: there can be a hundred thousand, of each gateway, and anything that is
 * kept for each of them in objects costs more than all else.
 *
 *     blocks of all hosts ─▶ `Told`: which set each host has for a network ─▶ set of next hops ─▶ `Aggregate` of the router ─▶ changes
 *     sets, networks of the router's ports ─▶ none that leads nowhere ─────────┘                 │
 *     routers, router ports ─▶ networks with other routes, held ──────────────────────────────────┘
 *
 * Of a network there is a number in the aggregate's trie, which names what the hosts say of it; nothing else. A set of next hops is named by the hosts'
 * own sets and not by what is in them, so that next hops come and go without a change of any route. Routes whose set leads nowhere are as though they
 * were not there: what is aggregated for one would be lost with it, and what lay below could not show.
 */
export class LearnedDestinations {
  readonly #told = new Told();
  readonly #sets = new HopSets();
  readonly #routers = new Map<string, { readonly aggregate: Aggregate; networks: number }>();
  readonly #held = new HeldNetworks();
  readonly #reached = new ReachedHops();
  readonly #hostSets = new Map<string, LearnedSet>();
  readonly #blocks = new Map<string, LearnedRoutes>();

  /** Says which networks have another set now, or none. Of several changes of one record the last holds. */
  take(changes: readonly RecordChange[], reach: readonly ReachChange[]): DestinationChanges {
    const routers = new Set<string>();
    const former: number[] = [];
    const turned = new Map<string, { readonly router: string; readonly to: Cidr; readonly wasHeld: boolean }>();
    const judged = new Set<string>();
    for (const { router, networks } of reach) if (this.#reached.take(router, networks)) judged.add(router);
    for (const { kind, id, record } of changes) {
      if (kind === 'learnedSet') {
        if (record) this.#hostSets.set(id, record);
        else this.#hostSets.delete(id);
        judged.add(routerOf(id));
      } else if (kind !== 'learnedRoutes')
        for (const { router, to, isHeld } of this.#held.take(id, record)) {
          const cidr = parseCidr(to)!;
          const key = `${router}/${to}`;
          if (!turned.has(key)) turned.set(key, { router, to: cidr, wasHeld: !isHeld });
          this.#routers.get(router)?.aggregate.hold(cidr, isHeld);
          routers.add(router);
        }
    }
    for (const router of judged) this.#judge(router, routers, former);
    for (const { kind, id, record } of changes) if (kind === 'learnedRoutes') this.#learn(id, record, routers, former);
    const told = new Collected(this.#sets, this.#held, turned);
    for (const router of routers) this.#flush(router, told);
    for (const { router, to } of turned.values()) told.turn(router, to, this.#routers.get(router)?.aggregate);
    const change = told.finish();
    // Not before: until now the aggregates could have spoken of them.
    for (const set of former) this.#sets.release(set);
    for (const router of routers) if (this.#routers.get(router)?.networks === 0) this.#routers.delete(router);
    return change;
  }

  /** All that are flows by themselves, in no order. */
  *plain(): Iterable<PlainRoute> {
    for (const [router, { aggregate }] of this.#routers)
      for (const { to, hops } of aggregate.routes())
        if (!this.#held.has(router, to)) yield { router, to, set: this.#sets.nameOf(hops) };
  }

  /** Those of them with one set. */
  *plainOf(set: string): Iterable<PlainRoute> {
    const router = set.slice(0, set.indexOf(','));
    const number = this.#sets.numberOf(set);
    if (number === undefined) return;
    for (const { to, hops } of this.#routers.get(router)?.aggregate.routes() ?? [])
      if (hops === number && !this.#held.has(router, to)) yield { router, to, set };
  }

  /** `id` is `<router>/<host>/<block>`. */
  #learn(id: string, record: LearnedRoutes | undefined, routers: Set<string>, former: number[]): void {
    const before = this.#blocks.get(id);
    if (record) this.#blocks.set(id, record);
    else this.#blocks.delete(id);
    const router = routerOf(id);
    const host = id.slice(router.length + 1, id.lastIndexOf('/'));
    for (const { to, set } of differing(before?.routes ?? [], record?.routes ?? [])) {
      routers.add(router);
      const here = this.#routers.get(router) ?? { aggregate: this.#held.aggregateOf(router), networks: 0 };
      this.#routers.set(router, here);
      const was = here.aggregate.tagOf(to);
      const is = this.#told.with(was, router, to.ip.version, host, set);
      if (is === was) continue;
      here.networks += (is === NONE ? 0 : 1) - (was === NONE ? 0 : 1);
      // The new first: a number without uses may be forgotten.
      if (is !== NONE) this.#told.use(is, (said) => this.#setOf(said));
      if (was !== NONE) former.push(...this.#told.release(was));
      this.#settle(here.aggregate, to, is);
    }
  }

  #settle(aggregate: Aggregate, to: Cidr, told: number): void {
    const set = told === NONE ? undefined : this.#told.setOf(told);
    if (set === undefined) aggregate.delete(to, told);
    else aggregate.put(to, set, told);
  }

  /** The number of the set, which is in use once more; undefined for one that leads nowhere. */
  #setOf({ router, version, sets, name }: Said): number | undefined {
    for (const [host, set] of sets) {
      const known = this.#hostSets.get(`${router}/${host}/${set}`);
      // RFC 8950: next hops of IPv4 routes may be IPv6.
      for (const { address } of known ? livingHops(known) : [])
        if ((version === 4 || address.includes(':')) && this.#reached.has(router, address)) return this.#sets.use(name);
    }
    return undefined;
  }

  /** Its hosts have other sets than before, or its networks hold other next hops: which sets lead somewhere? */
  #judge(router: string, routers: Set<string>, former: number[]): void {
    const known = this.#routers.get(router);
    if (known === undefined) return;
    const others = this.#told.judge(router, (said) => this.#setOf(said));
    former.push(...others.former);
    if (others.numbers.size === 0) return;
    routers.add(router);
    const here = [...known.aggregate.tags()].filter(({ tag }) => others.numbers.has(tag));
    for (const { to, tag } of here) this.#settle(known.aggregate, to, tag);
  }

  #flush(router: string, told: Collected): void {
    const known = this.#routers.get(router);
    if (known === undefined) return;
    const { put, gone } = known.aggregate.flush();
    for (const { to, hops } of gone) told.add(router, to, hops, undefined);
    for (const { to, hops, before } of put) told.add(router, to, before, hops);
  }
}

/** A network for which nothing but learned routes are, and its set of next hops by name. */
export interface PlainRoute {
  readonly router: string;
  readonly to: Cidr;
  readonly set: string;
}

/** What `take` comes to. */
export interface DestinationChanges {
  /** Networks with other routes of their router beside: which set the learned ones have. */
  readonly beside: readonly {
    readonly router: string;
    readonly to: string;
    readonly set: string | undefined;
  }[];
  /** All others: the sets before and now, where there are. */
  readonly plain: readonly {
    readonly router: string;
    readonly to: Cidr;
    readonly before: string | undefined;
    readonly after: string | undefined;
  }[];
  /** Sets that plain routes have now and had not, and those that none has any more. */
  readonly appeared: readonly string[];
  readonly vanished: readonly string[];
}

/** The networks of a router's ports that are up and lead somewhere; empty for a router that is gone. */
export interface ReachChange {
  readonly router: string;
  readonly networks: readonly string[];
}

/** A record put, or gone. */
export type RecordChange = Changed<LearnedRoutes> | Changed<LearnedSet> | Changed<Router> | Changed<RouterPort>;
type Changed<R extends { readonly kind: string }> = {
  readonly kind: R['kind'];
  readonly id: string;
  readonly record: R | undefined;
};

/** No route, no set. */
const NONE = -1;

/** Changes of the aggregates, told apart by whether other routes are for the same network, before and now. */
class Collected {
  readonly #sets: HopSets;
  readonly #held: HeldNetworks;
  readonly #turned: ReadonlyMap<string, { readonly wasHeld: boolean }>;
  readonly #seen = new Set<string>();
  readonly #beside: DestinationChanges['beside'][number][] = [];
  readonly #plain: DestinationChanges['plain'][number][] = [];
  /** Set → how many plain routes had it when this began, where that changed. */
  readonly #counts = new Map<number, number>();

  constructor(sets: HopSets, held: HeldNetworks, turned: ReadonlyMap<string, { readonly wasHeld: boolean }>) {
    this.#sets = sets;
    this.#held = held;
    this.#turned = turned;
  }

  add(router: string, to: Cidr, before: number | undefined, after: number | undefined): void {
    const isHeld = this.#held.has(router, to);
    let wasHeld = isHeld;
    if (this.#turned.size > 0) {
      const key = `${router}/${formatCidr(to)}`;
      this.#seen.add(key);
      wasHeld = this.#turned.get(key)?.wasHeld ?? isHeld;
    }
    this.#move(router, to, wasHeld, before, isHeld, after);
  }

  /** A network that other routes are for now, or are no more: its learned route, if it stayed as it is. */
  turn(router: string, to: Cidr, aggregate: Aggregate | undefined): void {
    const key = `${router}/${formatCidr(to)}`;
    if (this.#seen.has(key)) return;
    const set = aggregate?.toldOf(to) ?? NONE;
    const isHeld = this.#held.has(router, to);
    const { wasHeld } = this.#turned.get(key)!;
    if (set !== NONE && isHeld !== wasHeld) this.#move(router, to, wasHeld, set, isHeld, set);
  }

  #move(
    router: string,
    to: Cidr,
    wasHeld: boolean,
    before: number | undefined,
    isHeld: boolean,
    after: number | undefined,
  ): void {
    const name = (set: number | undefined): string | undefined =>
      set === undefined ? undefined : this.#sets.nameOf(set);
    if (isHeld || wasHeld) this.#beside.push({ router, to: formatCidr(to), set: isHeld ? name(after) : undefined });
    const [left, taken] = [wasHeld ? undefined : before, isHeld ? undefined : after];
    if (left === undefined && taken === undefined) return;
    if (left !== undefined) this.#count(left, -1);
    if (taken !== undefined) this.#count(taken, 1);
    this.#plain.push({ router, to, before: name(left), after: name(taken) });
  }

  #count(set: number, by: 1 | -1): void {
    const before = this.#sets.count(set, by);
    if (!this.#counts.has(set)) this.#counts.set(set, before);
  }

  finish(): DestinationChanges {
    const appeared: string[] = [];
    const vanished: string[] = [];
    for (const [set, before] of this.#counts) {
      const now = this.#sets.count(set, 0);
      if (before === 0 && now > 0) appeared.push(this.#sets.nameOf(set));
      else if (before > 0 && now === 0) vanished.push(this.#sets.nameOf(set));
    }
    return { beside: this.#beside, plain: this.#plain, appeared, vanished };
  }
}

/** What hosts say of a network: the same of many networks, and then one. */
interface Said {
  readonly router: string;
  readonly version: 4 | 6;
  /** Host → the number of its set. */
  readonly sets: ReadonlyMap<string, string>;
  /** Of the set of next hops: the router, the IP version, then `host/set` of each, sorted. */
  readonly name: string;
}

/** Numbers for that. */
class Told {
  readonly #numbers = new Map<string, number>();
  readonly #said = new Map<number, Said & { uses: number; set: number | undefined }>();
  /** `number host set` → what it becomes with them: there are few, each for many networks. */
  readonly #steps = new Map<string, number>();
  /** The one that was asked for last: that of the network before, mostly. */
  #last:
    | { before: number; router: string; version: 4 | 6; host: string; set: string | undefined; number: number }
    | undefined;
  #next = 0;
  #used = 0;

  setOf(number: number): number | undefined {
    return this.#said.get(number)!.set;
  }

  /** The number of what is said once the host says this, or says nothing any more. It may have no uses yet. */
  with(before: number, router: string, version: 4 | 6, host: string, set: string | undefined): number {
    const last = this.#last;
    if (
      last?.before === before &&
      last.set === set &&
      last.host === host &&
      (before !== NONE || (last.version === version && last.router === router))
    )
      return last.number;
    const number = this.#step(before, router, version, host, set);
    this.#last = { before, router, version, host, set, number };
    return number;
  }

  #step(before: number, router: string, version: 4 | 6, host: string, set: string | undefined): number {
    const step = `${before} ${before === NONE ? `${router} ${version}` : ''} ${host} ${set ?? ''}`;
    const known = this.#steps.get(step);
    if (known !== undefined) return known;
    const sets = new Map(before === NONE ? [] : this.#said.get(before)!.sets);
    sets.delete(host);
    if (set !== undefined) sets.set(host, set);
    const number = this.#numberOf(router, version, sets);
    if (this.#steps.size > 4 * (this.#said.size + MOST_UNUSED)) this.#steps.clear();
    this.#steps.set(step, number);
    return number;
  }

  #numberOf(router: string, version: 4 | 6, sets: ReadonlyMap<string, string>): number {
    if (sets.size === 0) return NONE;
    const sorted = [...sets].sort(([a], [b]) => (a < b ? -1 : 1));
    const name = [router, version, ...sorted.map(([host, set]) => `${host}/${set}`)].join();
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.#next++;
    this.#numbers.set(name, number);
    this.#said.set(number, { router, version, sets: new Map(sorted), name, uses: 0, set: undefined });
    return number;
  }

  use(number: number, setOf: (said: Said) => number | undefined): void {
    const said = this.#said.get(number)!;
    if (said.uses++ > 0) return;
    this.#used++;
    said.set = setOf(said);
  }

  /** One use less. Returns the set that goes with the last. */
  release(number: number): readonly number[] {
    const said = this.#said.get(number)!;
    if (--said.uses > 0) return [];
    const { set } = said;
    said.set = undefined;
    this.#used--;
    // Numbers without uses are kept while they are few: networks change to and fro between them.
    if (this.#said.size - this.#used > this.#used + MOST_UNUSED) this.#forgetUnused();
    return set === undefined ? [] : [set];
  }

  #forgetUnused(): void {
    for (const [number, { name, uses }] of this.#said) {
      if (uses > 0) continue;
      this.#said.delete(number);
      this.#numbers.delete(name);
    }
    this.#steps.clear();
    this.#last = undefined;
  }

  /** Asks for the sets of a router anew. Returns whose set is another now, and the sets that they had. */
  judge(router: string, setOf: (said: Said) => number | undefined) {
    const numbers = new Set<number>();
    const former: number[] = [];
    for (const [number, said] of this.#said) {
      if (said.router !== router || said.uses === 0) continue;
      const { set } = said;
      said.set = setOf(said);
      if (set !== undefined) former.push(set);
      if (said.set !== set) numbers.add(number);
    }
    return { numbers, former };
  }
}

const MOST_UNUSED = 1_000;

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
  readonly #sets = new Map<number, { readonly name: string; uses: number; plain: number }>();
  #next = 0;

  nameOf(set: number): string {
    return this.#sets.get(set)!.name;
  }

  numberOf(name: string): number | undefined {
    return this.#numbers.get(name);
  }

  use(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) {
      this.#sets.get(known)!.uses++;
      return known;
    }
    this.#numbers.set(name, this.#next);
    this.#sets.set(this.#next, { name, uses: 1, plain: 0 });
    return this.#next++;
  }

  release(set: number): void {
    const known = this.#sets.get(set)!;
    if (--known.uses > 0) return;
    this.#sets.delete(set);
    this.#numbers.delete(known.name);
  }

  /** So many plain routes more have it, or less. Returns how many had it before. */
  count(set: number, by: -1 | 0 | 1): number {
    const known = this.#sets.get(set)!;
    const before = known.plain;
    known.plain += by;
    return before;
  }
}

/** Networks for which routers have other routes, whatever becomes of those: beside them nothing is aggregated. */
class HeldNetworks {
  /** Router or router port → what it holds. */
  readonly #of = new Map<string, { readonly router: string; readonly networks: ReadonlySet<string> }>();
  /** Router → network → by how many. */
  readonly #counts = new Map<string, Map<RouteKey, number>>();

  has(router: string, to: Cidr): boolean {
    const counts = this.#counts.get(router);
    return counts !== undefined && counts.size > 0 && counts.has(keyOf(to));
  }

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
    for (const to of this.#counts.get(router)?.keys() ?? []) aggregate.hold(cidrOf(to), true);
    return aggregate;
  }

  #count(router: string, to: string, by: 1 | -1): number {
    const counts = this.#counts.get(router) ?? new Map<RouteKey, number>();
    this.#counts.set(router, counts);
    const key = keyOf(parseCidr(to)!);
    const count = (counts.get(key) ?? 0) + by;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
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

function routerOf(id: string): string {
  return id.slice(0, id.indexOf('/'));
}

/** Networks that two versions of a block have with different sets; undefined: the later has it not. */
function* differing(
  before: readonly PackedRoutes[],
  after: readonly PackedRoutes[],
): Iterable<{ readonly to: Cidr; readonly set: string | undefined }> {
  const sets = new Set([...before, ...after].map(({ set }) => set));
  for (const version of [4, 6] as const) {
    const packed = (of: readonly PackedRoutes[], set: string): string => {
      const routes = of.find((one) => one.set === set);
      return (version === 4 ? routes?.v4 : routes?.v6) ?? '';
    };
    const left = new Map<RouteKey, { readonly to: Cidr; readonly set: string }>();
    const come: { readonly to: Cidr; readonly set: string }[] = [];
    for (const set of sets) {
      const difference = differenceOfPacked(packed(before, set), packed(after, set), version);
      for (const to of difference.gone) left.set(keyOf(to), { to, set });
      for (const to of difference.come) come.push({ to, set });
    }
    for (const { to, set } of come) {
      const was = left.size === 0 ? undefined : left.get(keyOf(to));
      if (was !== undefined) left.delete(keyOf(to));
      if (was?.set !== set) yield { to, set };
    }
    for (const { to } of left.values()) yield { to, set: undefined };
  }
}
