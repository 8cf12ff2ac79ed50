import { type Cidr, formatIp, type Ip } from '../base/addresses.ts';
import { NO_SLOT, PrefixSlots } from '../base/prefix-slots.ts';
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

/** No sender nests groups; a circle of them ends here. */
const GROUP_DEPTH = 4;

/** Columns of a route: where it goes (the id of a next-hop object or the number of ways; 0: nowhere), the ways that its reader knows, and marks. */
const [SOURCE, TOLD, MARKS] = [0, 1, 2];
/** Marks: looked at in the next `takeChanges`; known from the connection before and not told again; its source is a next-hop object. */
const [DIRTY, HELD, BY_OBJECT] = [1, 2, 4];

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
  readonly #routes = new PrefixSlots(3);
  readonly #objects = new Map<number, NextHopMessage['is']>();
  #size = 0;
  #held = 0;
  /** Routes with that mark. */
  #dirty: number[] = [];
  #objectsChanged = false;
  readonly #ways = new InternedWays();
  /** Ways of the objects as they are now, by number. */
  readonly #resolved = new Map<number, number>();

  constructor(protocols: Iterable<number> = [RouteProtocol.bgp]) {
    this.#protocols = new Set(protocols);
  }

  /** Routes that its reader knows. */
  get size(): number {
    return this.#size;
  }
  /** Routes that `takeChanges` has to look at, those of changed next-hop objects aside. */
  get pending(): number {
    return this.#dirty.length;
  }
  /** Routes of the connection before that were not told again. */
  get held(): number {
    return this.#held;
  }

  /** A connection began: what comes now is the whole table. */
  begin(): void {
    this.#dirty = [];
    this.#held = 0;
    for (const slot of this.#routes.slots()) {
      this.#routes.set(SOURCE, slot, 0);
      if (this.#routes.get(TOLD, slot) === 0) {
        this.#routes.release(slot);
        continue;
      }
      this.#routes.set(MARKS, slot, HELD);
      this.#held++;
    }
    // The ids of objects are the sender's: another zebra gives them another meaning.
    this.#objects.clear();
    this.#resolved.clear();
    this.#objectsChanged = false;
  }

  /** What was not told again is gone. */
  sweep(): void {
    if (this.#held === 0) return;
    for (const slot of this.#routes.slots()) if (this.#marks(slot) & HELD) this.#look(slot, 0, 0);
  }

  apply(message: NetlinkMessage): void {
    switch (message.kind) {
      case 'route': {
        if (message.table !== MAIN_TABLE && message.table !== 0) return;
        const source = message.action === 'put' ? this.#sourceOf(message) : 0;
        const slot = source === 0 ? this.#routes.find(message.to) : this.#routes.take(message.to);
        if (slot !== NO_SLOT) this.#look(slot, source, source !== 0 && isByObject(message) ? BY_OBJECT : 0);
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
    for (const slot of this.#dirty) {
      const before = this.#routes.get(TOLD, slot);
      const is = this.#current(slot);
      this.#routes.set(MARKS, slot, this.#marks(slot) & ~DIRTY);
      if (is !== before) {
        this.#routes.set(TOLD, slot, is);
        this.#size += (is === 0 ? 0 : 1) - (before === 0 ? 0 : 1);
        changes.push({ to: this.#routes.cidrOf(slot), ways: this.#ways.get(is) });
      }
      if (is === 0 && this.#routes.get(SOURCE, slot) === 0) this.#routes.release(slot);
    }
    this.#dirty = [];
    if (this.#ways.size > 1_000 + 2 * this.#objects.size) this.#forgetUnusedWays();
    return changes;
  }

  /** All that its reader knows. */
  *routes(): IterableIterator<{ readonly to: Cidr; readonly ways: Ways }> {
    for (const slot of this.#routes.slots()) {
      const ways = this.#ways.get(this.#routes.get(TOLD, slot));
      if (ways) yield { to: this.#routes.cidrOf(slot), ways };
    }
  }

  get(to: Cidr): Ways | undefined {
    const slot = this.#routes.find(to);
    return slot === NO_SLOT ? undefined : this.#ways.get(this.#routes.get(TOLD, slot));
  }

  #marks(slot: number): number {
    return this.#routes.get(MARKS, slot);
  }

  /** A route was told, or that it is gone: it is looked at when changes are taken. */
  #look(slot: number, source: number, by: 0 | typeof BY_OBJECT): void {
    const marks = this.#marks(slot);
    if (marks & HELD) this.#held--;
    if (!(marks & DIRTY)) this.#dirty.push(slot);
    this.#routes.set(SOURCE, slot, source);
    this.#routes.set(MARKS, slot, DIRTY | by);
  }

  #current(slot: number): number {
    const source = this.#routes.get(SOURCE, slot);
    return this.#marks(slot) & BY_OBJECT ? this.#waysOfObject(source) : source;
  }

  /** Objects are told ahead of the routes that use them, so most of those that changed are not in use; all of a batch is looked at once. */
  #markUsersOfObjects(): void {
    this.#objectsChanged = false;
    const before = new Map(this.#resolved);
    this.#resolved.clear();
    const changed = new Set<number>();
    for (const [id, ways] of before) if (this.#waysOfObject(id) !== ways) changed.add(id);
    if (changed.size === 0) return;
    for (const slot of this.#routes.slots()) {
      const source = this.#routes.get(SOURCE, slot);
      if (this.#marks(slot) & BY_OBJECT && changed.has(source)) this.#look(slot, source, BY_OBJECT);
    }
  }

  /** The number of its ways; 0: it leads nowhere. */
  #waysOfObject(id: number): number {
    const known = this.#resolved.get(id);
    if (known !== undefined) return known;
    const vias: Via[] = [];
    const discards = this.#collect(id, 1, vias, GROUP_DEPTH);
    const ways =
      vias.length > 0
        ? this.#ways.numberOf({ kind: 'forward', vias: ordered(vias) })
        : discards
          ? this.#ways.numberOf({ kind: 'discard', how: 'blackhole' })
          : 0;
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

  /** 0 where it leads nowhere that a reader could use, or is not one of `protocols`. */
  #sourceOf(route: RouteMessage): number {
    if (!this.#protocols.has(route.protocol)) return 0;
    if (isByObject(route)) return route.nextHopId!;
    const ways = ownWays(route);
    return ways === undefined ? 0 : this.#ways.numberOf(ways);
  }

  #forgetUnusedWays(): void {
    const used = new Set(this.#resolved.values());
    for (const slot of this.#routes.slots()) {
      used.add(this.#routes.get(TOLD, slot));
      if (!(this.#marks(slot) & BY_OBJECT)) used.add(this.#routes.get(SOURCE, slot));
    }
    this.#ways.keep(used);
  }
}

/** One object per meaning, with a number from 1 on that is not given twice. */
class InternedWays {
  readonly #numbers = new Map<string, number>();
  readonly #ways = new Map<number, Ways>();
  #next = 1;

  get size(): number {
    return this.#ways.size;
  }

  get(number: number): Ways | undefined {
    return this.#ways.get(number);
  }

  numberOf(ways: Ways): number {
    const name = ways.kind === 'discard' ? ways.how : ways.vias.map(viaName).join();
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    this.#numbers.set(name, this.#next);
    this.#ways.set(this.#next, ways);
    return this.#next++;
  }

  keep(used: ReadonlySet<number>): void {
    for (const [name, number] of this.#numbers) {
      if (used.has(number)) continue;
      this.#numbers.delete(name);
      this.#ways.delete(number);
    }
  }
}

function isByObject({ type, nextHopId }: RouteMessage): boolean {
  return type === RouteType.unicast && nextHopId !== undefined;
}

/** Of a route that names no next-hop object. */
function ownWays({ type, hops }: RouteMessage): Ways | undefined {
  if (type === RouteType.blackhole) return { kind: 'discard', how: 'blackhole' };
  if (type === RouteType.unreachable) return { kind: 'discard', how: 'unreachable' };
  if (type === RouteType.prohibit) return { kind: 'discard', how: 'prohibit' };
  return type === RouteType.unicast && hops.length > 0 ? { kind: 'forward', vias: ordered(hops) } : undefined;
}

/** `via 192.0.2.1 dev 3 weight 1`. */
function viaName(via: Via): string {
  return `${via.gateway ? formatIp(via.gateway) : ''}%${via.oif ?? ''}*${via.weight}`;
}

function ordered(vias: readonly Via[]): Via[] {
  return vias.length === 1 ? [...vias] : [...vias].sort((a, b) => (viaName(a) < viaName(b) ? -1 : 1));
}
