import { type Cidr, formatIp, type Ip } from '../base/addresses.ts';
import { cidrOf, keyOf, type RouteKey } from '../base/route-key.ts';
import {
  MAIN_TABLE,
  type NetlinkMessage,
  type NextHopMessage,
  type RouteMessage,
  RouteProtocol,
  RouteType,
} from './netlink.ts';

/** One way of a learned route. */
export type Via = {
  readonly gateway: Ip | undefined;
  /** Index of the interface in the speaker's namespace. */
  readonly oif: number | undefined;
  /** 1..256; equal where BGP says nothing about bandwidth. */
  readonly weight: number;
};

/** Where a prefix goes: ways in a fixed order, or none at all (`discard`). Equal meanings are one object: compare by `===`. */
export type Ways =
  | { readonly kind: 'forward'; readonly vias: readonly Via[] }
  | { readonly kind: 'discard'; readonly how: 'blackhole' | 'unreachable' | 'prohibit' };

/** `ways` undefined: the route is gone. */
export type RouteChange = { readonly to: Cidr; readonly ways: Ways | undefined };

/** A route's own ways, or the id of a next-hop object that says them. */
type Source = Ways | number;

/** No sender nests groups; a circle of them ends here. */
const GROUP_DEPTH = 4;

/**
 * What zebra has told: prefix -> ways, for the routes that a protocol of `protocols` made in the main table.
 * `apply` and friends only take note; `takeChanges` gives what differs from what it gave before, so that a route which is deleted
 * and told anew, or a group that changes for 100,000 prefixes and back, costs its reader nothing.
 *
 * A new connection begins with `begin`: zebra then tells everything again, in no particular order and without a mark at
 * its end. What was known stays until it is told anew or `sweep` is called.
 */
export class RouteTable {
  readonly #protocols: ReadonlySet<number>;
  readonly #sources = new Map<RouteKey, Source>();
  readonly #objects = new Map<number, NextHopMessage['is']>();
  /** What the reader knows. */
  readonly #told = new Map<RouteKey, Ways>();
  /** Known from the connection before and not told again yet: `#told` says what they are. */
  #held = new Set<RouteKey>();
  #dirty = new Set<RouteKey>();
  #objectsChanged = false;
  /** One object per meaning; grows with the number of different sets of ways, and is cut in `takeChanges`. */
  #interned = new Map<string, Ways>();
  /** Ways of the objects as they are now. */
  readonly #resolved = new Map<number, Ways | undefined>();

  constructor(protocols: Iterable<number> = [RouteProtocol.bgp]) {
    this.#protocols = new Set(protocols);
  }

  /** Routes that its reader knows. */
  get size(): number {
    return this.#told.size;
  }
  /** Routes of the connection before that were not told again. */
  get held(): number {
    return this.#held.size;
  }

  /** A connection began: what comes now is the whole table. */
  begin(): void {
    this.#held = new Set(this.#told.keys());
    // The ids of objects are the sender's: another zebra gives them another meaning.
    this.#sources.clear();
    this.#objects.clear();
    this.#resolved.clear();
    this.#dirty.clear();
    this.#objectsChanged = false;
  }

  /** What was not told again is gone. */
  sweep(): void {
    for (const key of this.#held) this.#dirty.add(key);
    this.#held.clear();
  }

  apply(message: NetlinkMessage): void {
    switch (message.kind) {
      case 'route': {
        if (message.table !== MAIN_TABLE && message.table !== 0) return;
        const key = keyOf(message.to);
        const source = message.action === 'put' ? this.#sourceOf(message) : undefined;
        if (source !== undefined) this.#sources.set(key, source);
        else if (!this.#sources.delete(key) && !this.#held.has(key)) return;
        this.#held.delete(key);
        this.#dirty.add(key);
        return;
      }
      case 'nextHop':
        this.#objects.set(message.id, message.is);
        this.#objectsChanged = true;
        return;
      case 'nextHopGone':
        this.#objects.delete(message.id);
        this.#objectsChanged = true;
        return;
      case 'other':
        return;
    }
  }

  /** What changed since it was last asked. */
  takeChanges(): RouteChange[] {
    if (this.#objectsChanged) this.#markUsersOfObjects();
    const changes: RouteChange[] = [];
    for (const key of this.#dirty) {
      const before = this.#told.get(key);
      const ways = this.#held.has(key) ? before : this.#current(key);
      if (ways === before) continue;
      if (ways) this.#told.set(key, ways);
      else this.#told.delete(key);
      changes.push({ to: cidrOf(key), ways });
    }
    this.#dirty = new Set();
    if (this.#interned.size > 1_000 + 2 * this.#objects.size) this.#forgetUnusedWays();
    return changes;
  }

  /** All that its reader knows. */
  *routes(): IterableIterator<{ readonly to: Cidr; readonly ways: Ways }> {
    for (const [key, ways] of this.#told) yield { to: cidrOf(key), ways };
  }

  get(to: Cidr): Ways | undefined {
    return this.#told.get(keyOf(to));
  }

  #current(key: RouteKey): Ways | undefined {
    const source = this.#sources.get(key);
    return typeof source === 'number' ? this.#waysOfObject(source) : source;
  }

  /** Objects are told ahead of the routes that use them, so most of those that changed are not in use; all of a batch is looked at once. */
  #markUsersOfObjects(): void {
    this.#objectsChanged = false;
    const before = new Map(this.#resolved);
    this.#resolved.clear();
    const changed = new Set<number>();
    for (const [id, ways] of before) if (this.#waysOfObject(id) !== ways) changed.add(id);
    if (changed.size === 0) return;
    for (const [key, source] of this.#sources)
      if (typeof source === 'number' && changed.has(source)) this.#dirty.add(key);
  }

  #waysOfObject(id: number): Ways | undefined {
    if (this.#resolved.has(id)) return this.#resolved.get(id);
    const vias: Via[] = [];
    const discards = this.#collect(id, 1, vias, GROUP_DEPTH);
    const ways =
      vias.length > 0
        ? this.#intern({ kind: 'forward', vias: ordered(vias) })
        : discards
          ? this.#intern({ kind: 'discard', how: 'blackhole' })
          : undefined;
    this.#resolved.set(id, ways);
    return ways;
  }

  /** Adds the hops of an object; true where it is, or has in it, a blackhole. */
  #collect(id: number, weight: number, into: Via[], depth: number): boolean {
    const is = this.#objects.get(id);
    if (!is || depth === 0) return false;
    if (is.kind === 'blackhole') return true;
    if (is.kind === 'hop') {
      into.push({ gateway: is.gateway, oif: is.oif, weight });
      return false;
    }
    let discards = false;
    for (const member of is.members) if (this.#collect(member.id, member.weight, into, depth - 1)) discards = true;
    return discards;
  }

  /** Undefined where it leads nowhere that a reader could use, or is not one of `protocols`. */
  #sourceOf({ protocol, type, nextHopId, hops }: RouteMessage): Source | undefined {
    if (!this.#protocols.has(protocol)) return undefined;
    if (type === RouteType.blackhole) return this.#intern({ kind: 'discard', how: 'blackhole' });
    if (type === RouteType.unreachable) return this.#intern({ kind: 'discard', how: 'unreachable' });
    if (type === RouteType.prohibit) return this.#intern({ kind: 'discard', how: 'prohibit' });
    if (type !== RouteType.unicast) return undefined;
    return nextHopId ?? (hops.length === 0 ? undefined : this.#intern({ kind: 'forward', vias: ordered(hops) }));
  }

  #intern(ways: Ways): Ways {
    const name = ways.kind === 'discard' ? ways.how : ways.vias.map(viaName).join();
    const known = this.#interned.get(name);
    if (known) return known;
    this.#interned.set(name, ways);
    return ways;
  }

  #forgetUnusedWays(): void {
    const used = new Set<Ways>(this.#told.values());
    for (const source of this.#sources.values()) if (typeof source !== 'number') used.add(source);
    for (const ways of this.#resolved.values()) if (ways) used.add(ways);
    for (const [name, ways] of this.#interned) if (!used.has(ways)) this.#interned.delete(name);
  }
}

/** `via 192.0.2.1 dev 3 weight 1`. */
function viaName(via: Via): string {
  return `${via.gateway ? formatIp(via.gateway) : ''}%${via.oif ?? ''}*${via.weight}`;
}

function ordered(vias: readonly Via[]): Via[] {
  return vias.length === 1 ? [...vias] : [...vias].sort((a, b) => (viaName(a) < viaName(b) ? -1 : 1));
}
