import type { NatLease } from '../../model/objects.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import { type Tracked, tupleText } from '../connections/dump.ts';
import { entryKey, type TrackedThere } from '../connections/of-port.ts';
import type { EntryInZone } from '../connections/recreate.ts';
import { floatingOf } from '../floating.ts';
import type { Scope } from '../scope.ts';
import { isLasting } from './copy-reader.ts';
import { canBeTold } from './message.ts';

/**
 * A gateway that comes back meets what it had when it lost the port: established TCP connections for a day. Some go on, by what the place that forwarded
 * meanwhile has told. All others have ended there, and what they had outside may be another's: they are in the way of what is made again, and of who is
 * given their ports next.
 */
export interface Leftovers {
  /** What tracks another connection by the addresses and ports of one that is to be made. */
  readonly inTheWay: readonly EntryInZone[];
  readonly others: readonly EntryInZone[];
}

/**
 * Of all that the zones of an L2 gateway's port and its routers have: what is the port's, and not held. A router's zone has others' connections too: of these
 * only what the router translates for this port is.
 */
export function leftoversOf(scope: Scope, there: TrackedThere, held: readonly ConnectionEntry[]): Leftovers {
  const { zones, tracked } = there;
  const alive = new Set(held.map(entryKey));
  const tuples = new Set(held.flatMap((entry) => tuplesOf(entry.owner, entry.kind, entry)));
  const kinds = new Map(OWN_KINDS.map((kind, n) => [zones.own + n, kind]));
  const routers = new Map([...zones.routers].map(([router, zone]) => [zone, router]));
  const own = tracked.filter(({ zone }) => kinds.get(zone) === 'own');
  const known = {
    originals: new Set(own.map(({ protocol, original }) => tupleText(protocol, original))),
    replies: new Set(own.map(({ protocol, reply }) => tupleText(protocol, reply))),
  };
  const outsides = new Map([...zones.routers.keys()].map((router) => [router, outsideOf(scope, router)]));
  const inTheWay: EntryInZone[] = [];
  const others: EntryInZone[] = [];
  for (const one of tracked) {
    const router = routers.get(one.zone);
    const kind = kinds.get(one.zone) ?? 'own';
    const owner = kinds.has(one.zone) ? zones.port : router;
    if (owner === undefined || !canBeTold({ ...one, owner, kind })) continue;
    if (router !== undefined && !isTranslatedFor(zones.port, one, outsides.get(router)!, known)) continue;
    if (!one.isOver && isLasting(one) && alive.has(entryKey({ ...one, owner, kind }))) continue;
    const isInTheWay = tuplesOf(owner, kind, one).some((tuple) => tuples.has(tuple));
    (isInTheWay ? inTheWay : others).push({ entry: one, zone: one.zone });
  }
  return { inTheWay, others };
}

/** In the order of `ZONE_KIND`. */
const OWN_KINDS = ['own', 'vip', 'selfCall'] as const;

/** Connection tracking knows an entry by either. */
function tuplesOf(
  owner: string,
  kind: ConnectionEntry['kind'],
  { protocol, original, reply }: Pick<Tracked, 'protocol' | 'original' | 'reply'>,
): string[] {
  return [original, reply].map((tuple) => `${owner} ${kind} ${tupleText(protocol, tuple)}`);
}

/** Of a router: whose its addresses outside are. */
interface Outside {
  readonly floating: ReadonlyMap<string, { readonly port: string; readonly fixed: string }>;
  readonly leases: ReadonlyMap<string, readonly NatLease[]>;
}

function outsideOf(scope: Scope, router: string): Outside {
  const floating = new Map<string, { readonly port: string; readonly fixed: string }>();
  for (const each of floatingOf(scope, router))
    floating.set(each.floating.address, { port: each.floating.port, fixed: each.fixed });
  const leases = new Map<string, NatLease[]>();
  for (const lease of scope.all('natLease'))
    if (lease.router === router) leases.set(lease.address, [...(leases.get(lease.address) ?? []), lease]);
  return { floating, leases };
}

/**
 * Does a router translate this for the port? By who has the outside address and port; where nobody has them any more, by what the port's own zone knows of
 * the connection. What the router translates for whoever is at the other end has the same tuple there too, but on the other side.
 */
function isTranslatedFor(
  port: string,
  { protocol, original, reply }: Tracked,
  { floating, leases }: Outside,
  known: { readonly originals: ReadonlySet<string>; readonly replies: ReadonlySet<string> },
): boolean {
  const isSource = reply.to.address !== original.from.address || reply.to.port !== original.from.port;
  const isDestination = reply.from.address !== original.to.address || reply.from.port !== original.to.port;
  if (isSource === isDestination) return false;
  const outside = isSource ? reply.to : original.to;
  const inside = isSource ? original.from : reply.from;
  const address = floating.get(outside.address);
  if (address) return address.port === port && address.fixed === inside.address;
  if (!isSource) return known.replies.has(tupleText(protocol, reply));
  const outsidePort = outside.port ?? 0;
  const has = ({ blocks }: NatLease): boolean =>
    blocks.some(({ first, size }) => outsidePort >= first && outsidePort < first + size);
  const lease = leases.get(outside.address)?.find(has);
  return lease ? lease.port === port : known.originals.has(tupleText(protocol, original));
}
