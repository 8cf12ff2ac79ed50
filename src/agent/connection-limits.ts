import type { CompilerChange } from '../compile/compiler.ts';
import { ZONE_KIND } from '../compile/translation.ts';
import type { FloatingAddress, LoadBalancer } from '../model/objects.ts';
import type { Counted, CountedPlace } from './connections/tally.ts';
import type { Effect, ScopeChange, ZoneUse } from './events.ts';
import type { Ground } from './ground.ts';
import type { Scope } from './scope.ts';
import type { Zones } from './zones.ts';

type Address = FloatingAddress | LoadBalancer;

/** Who has a limit for how many connections its addresses have at a time. */
interface Holder {
  readonly kind: 'floatingAddress' | 'loadBalancer' | 'router' | 'tenant';
  readonly id: string;
  readonly most: number;
}

/** Connections of an address in one zone here. */
interface Place extends CountedPlace {
  readonly of: Address;
  /** A zone that has each of them too: where the other is too full to be read, as many as this one has are taken for its. */
  readonly bound: number;
}

/** Who was full, and is so no more, is spoken of for so long: what comes and goes at the limit is no news. */
const QUIET_MS = 60_000;
/** What the records of these kinds say decides who is full. */
const ABOUT_LIMITS: ReadonlySet<string> = new Set(['floatingAddress', 'loadBalancer', 'router', 'tenant', 'port']);

/**
 * How many connections public addresses have at a time (docs/design/gateways.md, §8). Their workloads' hosts keep them; here they are counted
 * whenever connection tracking is read, which happens anyway. An address with as many as it may have is *full*: no further ones begin
 * (units/anchor.ts), until there are fewer again.
 */
export class ConnectionLimits {
  readonly #ground: Ground;
  readonly #zones: Zones;
  /** By zone and address. */
  #counts = new Map<string, number>();
  #uses: ReadonlyMap<number, number> = new Map();
  #full: ReadonlySet<string> = new Set();
  /** Of holders that are or were full: when last, and what is said. */
  readonly #said = new Map<string, { readonly holder: Holder; readonly text: string; atMs: number }>();

  constructor(ground: Ground, zones: Zones) {
    this.#ground = ground;
    this.#zones = zones;
  }

  /** What is to be counted, at the next reading. */
  *places(): Iterable<Place> {
    const { scope } = this.#ground;
    for (const of of scope.all('floatingAddress')) {
      const [zone, bound] = [this.#zones.of(of.router), this.#zoneOf(of.port)];
      if (zone === undefined || bound === undefined || holdersOf(scope, of).length === 0) continue;
      yield { of, owner: of.router, zone, address: of.address, except: [], bound };
    }
    for (const of of scope.all('loadBalancer')) {
      if (holdersOf(scope, of).length === 0) continue;
      for (const { port } of of.members) {
        const zone = this.#zoneOf(port);
        if (zone === undefined) continue;
        const except = scope.port(port)?.addresses ?? [];
        const vips = zone + ZONE_KIND.vip;
        yield { of, owner: port, zone: vips, address: of.address, except, bound: vips };
      }
    }
  }

  /** The zone of a port that is here. */
  #zoneOf(port: string): number | undefined {
    return this.#ground.interfaces.get(port) ? this.#zones.of(port) : undefined;
  }

  /** Zones are this full. */
  used(zones: readonly ZoneUse[]): void {
    this.#uses = new Map(zones.map(({ zone, connections }) => [zone, connections]));
  }

  told(counted: readonly Counted[], nowMs: number): Effect[] {
    const counts = new Map(counted.map(({ place, count }) => [keyOf(place), count]));
    const before = this.#counts;
    this.#counts = new Map();
    for (const place of this.places()) {
      const key = keyOf(place);
      const count = counts.get(key) ?? (counts.has(key) ? this.#uses.get(place.bound) : undefined) ?? before.get(key);
      if (count !== undefined) this.#counts.set(key, count);
    }
    return this.#judge(nowMs);
  }

  /** Limits may be others, or nobody's any more. */
  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    return this.#full.size > 0 && changes.some(({ record }) => ABOUT_LIMITS.has(record.kind)) ? this.#judge(nowMs) : [];
  }

  /** Ports came or went. */
  portsChanged(nowMs: number): Effect[] {
    return this.#full.size > 0 ? this.#judge(nowMs) : [];
  }

  /** Ids of the addresses that are full here. */
  get full(): readonly string[] {
    return [...this.#full].sort();
  }

  /** For `weft status`. */
  *problems(): Iterable<string> {
    for (const { text } of this.#said.values()) yield text;
  }

  #judge(nowMs: number): Effect[] {
    const { scope } = this.#ground;
    const held = new Map<string, { holder: Holder; count: number; addresses: Set<string>; places: Set<string> }>();
    for (const place of this.places())
      for (const holder of holdersOf(scope, place.of)) {
        // Load balancers that share their address have one limit, and what a member of several has is counted once.
        const limited = holder.kind === 'loadBalancer' ? `${place.of.router} ${place.address}` : holder.id;
        const at = held.get(limited) ?? { holder, count: 0, addresses: new Set<string>(), places: new Set<string>() };
        held.set(limited, at);
        at.addresses.add(place.of.id);
        const key = keyOf(place);
        if (at.places.has(key)) continue;
        at.places.add(key);
        at.count += this.#counts.get(key) ?? 0;
      }
    const full = [...held.values()].filter(({ holder, count }) => count >= holder.most);
    const before = this.#full;
    this.#full = new Set(full.flatMap(({ addresses }) => [...addresses]));
    const changes: CompilerChange[] = [
      ...[...this.#full].filter((id) => !before.has(id)).map((id) => put(id)),
      ...[...before].filter((id) => !this.#full.has(id)).map((id) => gone(id)),
    ];
    const said = [...full.flatMap(({ holder }) => this.#say(holder, nowMs)), ...this.#forget(nowMs)];
    return changes.length === 0 ? said : [...this.#ground.compile(changes), ...said];
  }

  #say(holder: Holder, nowMs: number): Effect[] {
    const known = this.#said.get(holder.id);
    if (known) known.atMs = nowMs;
    if (known?.holder.most === holder.most) return [];
    const text = `${this.#nameOf(holder)} has as many connections here as it may have at a time (${holder.most}): new ones are refused until others end`;
    this.#said.set(holder.id, { holder, text, atMs: nowMs });
    return [
      ...this.#ground.report([{ type: 'event', atMs: nowMs, level: 'warning', about: holder, text }]),
      { kind: 'log', level: 'warn', message: text, fields: { id: holder.id } },
    ];
  }

  /** Who was full at no reading for a while. */
  #forget(nowMs: number): Effect[] {
    return [...this.#said.values()].flatMap(({ holder, atMs }) => {
      if (nowMs - atMs < QUIET_MS) return [];
      this.#said.delete(holder.id);
      const text = `${this.#nameOf(holder)} has fewer connections than it may have`;
      return this.#ground.report([{ type: 'event', atMs: nowMs, level: 'info', about: holder, text }]);
    });
  }

  #nameOf({ kind, id }: Holder): string {
    const { scope } = this.#ground;
    if (kind === 'floatingAddress') return `floating address ${scope.get(kind, id)?.address ?? id}`;
    if (kind === 'loadBalancer') return `load balancer ${scope.get(kind, id)?.name ?? id}`;
    return `${kind} ${scope.get(kind, id)?.name ?? id}`;
  }
}

/** Whose limits the connections of an address are within. */
function holdersOf(scope: Scope, { kind, id, router, tenant, inboundLimit }: Address): Holder[] {
  if (router === undefined) return [];
  const limits = [
    { kind, id, most: inboundLimit?.connections },
    { kind: 'router', id: router, most: scope.get('router', router)?.inboundLimit?.connections },
    { kind: 'tenant', id: tenant, most: scope.get('tenant', tenant)?.inboundLimit?.connections },
  ] as const;
  return limits.flatMap(({ most, ...of }) => (most === undefined ? [] : [{ ...of, most }]));
}

function keyOf({ zone, address }: CountedPlace): string {
  return `${zone} ${address}`;
}

function put(id: string): CompilerChange {
  return { op: 'put', record: { kind: 'fullAddress', id } };
}

function gone(id: string): CompilerChange {
  return { op: 'delete', kind: 'fullAddress', id };
}
