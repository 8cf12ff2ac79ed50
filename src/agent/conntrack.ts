import type { CompilerChange } from '../compile/compiler.ts';
import type { NatZone } from '../compile/inputs.ts';
import type { AgentEvent, Effect, LocalInterface, ScopeChange } from './events.ts';
import type { Scope } from './scope.ts';
import { ZONES_PER_OWNER, Zones } from './zones.ts';

/**
 * One zone gets so small a part of what the host's connection tracking holds: who floods it fills its own. A router's holds connections of
 * many ports, and should outlast any one of them.
 */
const PART = { port: 8, router: 2 } as const;

/**
 * A zone of a router is tight where there is room for fewer connections than a host may see begin between two readings (conntrack-use.ts),
 * and stays so until there is some more. Ordinarily there is: then nobody pays for who could fill it (src/compile/units/admission.ts).
 */
const ROOM = { tight: 1_000_000, enough: 1_200_000 } as const;

/** Ports that left and are remembered. */
const MOST_FORMER = 1_000;

/** Kinds whose records decide which routers translate. */
const ABOUT_NAT: ReadonlySet<string> = new Set(['router', 'floatingAddress', 'loadBalancer']);

/**
 * Conntrack zones of this host's ports and of the routers that translate here. They are chosen in memory, at once, and kept in
 * OVSDB (a port's with its mark, a router's when it is flushed): they stay over restarts, also of an agent that lost its disk.
 */
export class ConntrackZones {
  readonly zones = new Zones();
  /** Of ports that left: nobody else has the zone yet, and the workload's new host may still ask for what is in it. */
  readonly #former = new Map<string, number>();
  readonly #routers = new Set<string>();
  /** Those of which the flows know. */
  readonly #told = new Set<string>();
  readonly #tight = new Set<string>();
  /** Given, and not yet known to be flushed: the switch may not be there, or be lost before it has heard of it. */
  readonly #unflushed = new Set<number>();
  /** Zones of routers that the bridge is not told to keep before they are flushed: the next agent would not flush what it finds kept. */
  readonly #unkept = new Map<string, number>();
  #isStrict = false;

  /** What the bridge kept of routers' zones. Comes before anything is given; and before the switch or after it, so these are limited here as well. */
  adopt(natZones: ReadonlyMap<string, number>): Effect[] {
    const adopted = [...natZones].filter(([router, zone]) => this.zones.adopt(router, zone));
    for (const [router] of adopted) this.#routers.add(router);
    return limit(
      adopted.map(([, zone]) => zone),
      PART.router,
    );
  }

  /** Interfaces became ports (`put`), or are none any more: gives zones, and flushes what others left in them. */
  rebound(put: Iterable<readonly [port: string, entry: LocalInterface]>, gone: readonly string[]): Effect[] {
    for (const port of gone) {
      const zone = this.zones.of(port);
      if (zone === undefined) continue;
      this.zones.release(port);
      this.#former.delete(port); // the newest last
      this.#former.set(port, zone);
    }
    for (const port of this.#former.keys()) {
      if (this.#former.size <= MOST_FORMER) break;
      this.#former.delete(port);
    }
    // Kept zones first: nobody else may get them.
    const fresh: string[] = [];
    const kept: number[] = [];
    for (const [port, { zone }] of put) {
      if (this.zones.of(port) !== undefined) continue;
      if (zone?.port === port && this.zones.adopt(port, zone.zone)) kept.push(zone.zone);
      else fresh.push(port);
    }
    const given = fresh.map((port) => this.zones.give(port)).filter((zone) => zone !== undefined);
    return [...this.#flush(given), ...limit([...kept, ...given], PART.port)];
  }

  /** The owner's zone, or what was a port's until it left, while nobody else has it. */
  known(owner: string): number | undefined {
    const zone = this.zones.of(owner) ?? this.#former.get(owner);
    const has = zone === undefined ? undefined : this.zones.ownerOf(zone);
    return has === undefined || has === owner ? zone : undefined;
  }

  /** The switch has forgotten what was in these. */
  flushed(zones: readonly number[]): Effect[] {
    for (const zone of zones) this.#unflushed.delete(zone);
    const put = new Map([...this.#unkept].filter(([, zone]) => zonesFrom(zone).every((z) => !this.#unflushed.has(z))));
    for (const router of put.keys()) this.#unkept.delete(router);
    return put.size === 0 ? [] : [{ kind: 'keepNatZones', put, gone: [] }];
  }

  /** What no switch has confirmed. Comes before connections are restored and flows installed: only former owners have any in these zones. */
  flushAgain(): Effect[] {
    return this.#unflushed.size === 0 ? [] : [{ kind: 'flushZones', zones: [...this.#unflushed] }];
  }

  #flush(given: Iterable<number>): Effect[] {
    const zones = [...given].flatMap(zonesFrom);
    for (const zone of zones) this.#unflushed.add(zone);
    return zones.length === 0 ? [] : [{ kind: 'flushZones', zones }];
  }

  /** The datapath is a new one, and knows no limits. */
  limits(): Effect[] {
    const of = (isRouter: boolean): number[] =>
      [...this.zones.entries()].flatMap(([owner, zone]) => (this.#routers.has(owner) === isRouter ? [zone] : []));
    return [...limit(of(false), PART.port), ...limit(of(true), PART.router)];
  }

  /** The scope changed (all of it, without `changes`): which routers translate now? */
  scopeChanged(scope: Scope, changes?: readonly ScopeChange[]): { flows: CompilerChange[]; effects: Effect[] } {
    const flows: CompilerChange[] = [];
    if (changes && !changes.some(({ record }) => ABOUT_NAT.has(record.kind))) return { flows, effects: [] };
    const wanted = translating(scope);
    const put = new Map<string, number>();
    const gone = [...this.#routers].filter((router) => !wanted.has(router));
    for (const router of gone) {
      this.#routers.delete(router);
      this.#told.delete(router);
      this.#tight.delete(router);
      this.#unkept.delete(router);
      this.zones.release(router);
      flows.push({ op: 'delete', kind: 'natZone', id: router });
    }
    for (const router of wanted) {
      let zone = this.zones.of(router);
      if (zone === undefined) {
        zone = this.zones.give(router);
        if (zone === undefined) continue;
        this.#routers.add(router);
        put.set(router, zone);
        this.#unkept.set(router, zone);
      }
      if (this.#told.has(router)) continue;
      this.#told.add(router);
      flows.push({ op: 'put', record: this.#natZone(router, zone) });
    }
    const keep: Effect[] = gone.length === 0 ? [] : [{ kind: 'keepNatZones', put: new Map(), gone }];
    return { flows, effects: [...this.#flush(put.values()), ...limit(put.values(), PART.router), ...keep] };
  }

  /** How full the zones are. `isStrict`: the datapath drops what a full zone has no room for, as the kernel's does. */
  used({ connections, most, zones }: Extract<AgentEvent, { kind: 'conntrack' }>, isStrict: boolean): CompilerChange[] {
    this.#isStrict = isStrict;
    const changes: CompilerChange[] = [];
    for (const { zone, limit, connections: count } of zones) {
      const router = this.zones.ownerOf(zone);
      if (router === undefined || !this.#told.has(router) || this.zones.of(router) !== zone || limit === 0) continue;
      const room = Math.min(limit - count, most - connections);
      const wasTight = this.#tight.has(router);
      const isTight = room < (wasTight ? ROOM.enough : ROOM.tight);
      if (isTight === wasTight) continue;
      if (isTight) this.#tight.add(router);
      else this.#tight.delete(router);
      changes.push({ op: 'put', record: this.#natZone(router, zone) });
    }
    return changes;
  }

  #natZone(router: string, zone: number): NatZone {
    const isTight = this.#tight.has(router);
    return { kind: 'natZone', id: router, zone, ...(isTight && { isTight, isStrict: this.#isStrict }) };
  }
}

const zonesFrom = (first: number): number[] => Array.from({ length: ZONES_PER_OWNER }, (_, i) => first + i);

/** Routers with addresses that they translate. */
function translating(scope: Scope): Set<string> {
  const routers = new Set<string>();
  for (const { id, snat } of scope.all('router')) if (snat.length > 0) routers.add(id);
  for (const { router } of scope.all('floatingAddress')) if (scope.get('router', router)) routers.add(router);
  for (const { router } of scope.all('loadBalancer'))
    if (router !== undefined && scope.get('router', router)) routers.add(router);
  return routers;
}

/** Connections are kept in the owner's zone and in the one behind it (VIPs); the others hold few. */
function limit(given: Iterable<number>, part: number): Effect[] {
  const zones = [...given].flatMap((zone) => [zone, zone + 1]);
  return zones.length === 0 ? [] : [{ kind: 'limitZones', zones, part }];
}
