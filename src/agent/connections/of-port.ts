import { WeftError } from '../../base/errors.ts';
import { ZONE_KIND } from '../../compile/translation.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import type { Scope } from '../scope.ts';
import { parseDump, type Tracked, tupleText } from './dump.ts';
import { RouterReach } from './reach.ts';

/** Which zones an owner (a port or a router) has here, or had until a moment ago: the first of its four. */
export type ZoneOfOwner = (owner: string) => number | undefined;

/** Where connections of a port are kept: its own zones, and those of the routers that may translate its packets. */
export interface PortZones {
  readonly port: string;
  readonly own: number;
  /** Router → its zone. */
  readonly routers: ReadonlyMap<string, number>;
}

/** Undefined for a port that has no zone here. */
export function zonesOfPort(scope: Scope, zoneOf: ZoneOfOwner, port: string): PortZones | undefined {
  const [own, onSwitch] = [zoneOf(port), scope.port(port)?.switch];
  if (own === undefined || onSwitch === undefined) return undefined;
  const routers = new Map<string, number>();
  for (const router of new RouterReach(scope).from(onSwitch)) {
    const zone = zoneOf(router);
    if (zone !== undefined) routers.set(router, zone);
  }
  return { port, own, routers };
}

export function allZones({ own, routers }: PortZones): number[] {
  return [...OWN.map(([, kind]) => own + kind), ...routers.values()];
}

/** In which zone an entry is that somebody else told of the port; undefined where it is none of the port's, whatever he says. */
export function zoneOfEntry({ port, own, routers }: PortZones, { owner, kind }: ConnectionEntry): number | undefined {
  if (owner === port) return own + ZONE_KIND[kind];
  return kind === 'own' ? routers.get(owner) : undefined;
}

const OWN = [
  ['own', ZONE_KIND.own],
  ['vip', ZONE_KIND.vip],
  ['selfCall', ZONE_KIND.selfCall],
] as const;

/**
 * The entries of connection tracking that are of the port's connections, of all that these zones have: what is in its own zones, and of routers' what is
 * of one of these, by the tuple that it has inside the router (join.ts).
 */
export function entriesOfPort(zones: PortZones, tracked: readonly Tracked[]): ConnectionEntry[] {
  const kinds = new Map<number, ConnectionEntry['kind']>(OWN.map(([name, kind]) => [zones.own + kind, name]));
  const routers = new Map([...zones.routers].map(([router, zone]) => [zone, router]));
  const entries: ConnectionEntry[] = [];
  const originals = new Set<string>();
  const replies = new Set<string>();
  for (const one of tracked) {
    const kind = kinds.get(one.zone);
    if (kind === undefined || one.isOver) continue;
    entries.push(entryOf(zones.port, kind, one));
    if (kind !== 'own') continue;
    originals.add(tupleText(one.protocol, one.original));
    replies.add(tupleText(one.protocol, one.reply));
  }
  for (const one of tracked) {
    const router = routers.get(one.zone);
    if (router === undefined || one.isOver) continue;
    if (originals.has(tupleText(one.protocol, one.original)) || replies.has(tupleText(one.protocol, one.reply)))
      entries.push(entryOf(router, 'own', one));
  }
  return entries;
}

function entryOf(owner: string, kind: ConnectionEntry['kind'], tracked: Tracked): ConnectionEntry {
  const { protocol, original, reply, state, mark, isUnanswered } = tracked;
  return {
    ...{ owner, kind, protocol, original, reply },
    ...(state === undefined ? {} : { state }),
    ...(mark === undefined ? {} : { mark }),
    ...(isUnanswered ? { isUnanswered } : {}),
  };
}

/** The same entry of the same owner, whatever its state. */
export function entryKey({ owner, kind, protocol, original, reply }: ConnectionEntry): string {
  return `${owner} ${kind} ${tupleText(protocol, original)} ${tupleText(protocol, reply)}`;
}

/** Reads what connection tracking has of a port's connections, also a moment after the port has left. */
export class PortReader {
  readonly #options: PortReaderOptions;
  /** Of ports that were asked for: when the interface is gone, what they reached may be out of scope. */
  readonly #last = new Map<string, PortZones>();

  constructor(options: PortReaderOptions) {
    this.#options = options;
  }

  /** Errors: `not-found` for a port that has no zone here, `full`, those of Open vSwitch's control socket. */
  async read(port: string): Promise<readonly ConnectionEntry[]> {
    const { scope, zoneOf, dumpZones } = this.#options;
    const zones = zonesOfPort(scope, zoneOf, port) ?? this.#remembered(port);
    if (!zones) throw new WeftError('not-found', `this host has, and lately had, no interface of port ${port}`);
    this.#last.delete(port);
    this.#last.set(port, zones);
    for (const oldest of this.#last.keys()) {
      if (this.#last.size <= MOST_REMEMBERED) break;
      this.#last.delete(oldest);
    }
    return entriesOfPort(zones, await parseDump(await dumpZones(allZones(zones))));
  }

  #remembered(port: string): PortZones | undefined {
    const zones = this.#last.get(port);
    return zones && this.#options.zoneOf(port) === zones.own ? zones : undefined;
  }
}

export interface PortReaderOptions {
  readonly scope: Scope;
  readonly zoneOf: ZoneOfOwner;
  /** A dump of these zones. Errors: `WeftError`. */
  readonly dumpZones: (zones: readonly number[]) => Promise<string>;
}

const MOST_REMEMBERED = 1_000;
