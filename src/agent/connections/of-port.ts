import { ZONE_KIND } from '../../compile/translation.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import type { Scope } from '../scope.ts';
import { type Tracked, tupleText } from './dump.ts';
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
    if (kind === undefined) continue;
    entries.push(entryOf(zones.port, kind, one));
    if (kind !== 'own') continue;
    originals.add(tupleText(one.protocol, one.original));
    replies.add(tupleText(one.protocol, one.reply));
  }
  for (const one of tracked) {
    const router = routers.get(one.zone);
    if (router === undefined) continue;
    if (originals.has(tupleText(one.protocol, one.original)) || replies.has(tupleText(one.protocol, one.reply)))
      entries.push(entryOf(router, 'own', one));
  }
  return entries;
}

function entryOf(owner: string, kind: ConnectionEntry['kind'], tracked: Tracked): ConnectionEntry {
  const { protocol, original, reply, state, mark } = tracked;
  return {
    ...{ owner, kind, protocol, original, reply },
    ...(state === undefined ? {} : { state }),
    ...(mark === undefined ? {} : { mark }),
  };
}

/** The same entry of the same owner, whatever its state. */
export function entryKey({ owner, kind, protocol, original, reply }: ConnectionEntry): string {
  return `${owner} ${kind} ${tupleText(protocol, original)} ${tupleText(protocol, reply)}`;
}
