import type { Connection, Endpoint } from '../../flow-database/flow-store.ts';
import type { Scope } from '../scope.ts';
import type { Zones } from '../zones.ts';
import { type Tracked, tupleText, type Writable } from './dump.ts';
import { RouterReach } from './reach.ts';

/**
 * Connections as workloads see them, of what connection tracking has in the zones of ports, routers and VIPs
 * (docs/design/flow-database.md, §1). First `take` every entry, then ask for those of ports.
 *
 *     port's zone       10.0.1.12#33192 → 203.0.113.101#80
 *       = original of     router's zone, whose reply goes to 203.0.113.2#1262        seenAs
 *     port's zone       203.0.113.101#33308 → 10.0.1.11#80
 *       = reply of        router's or VIPs' zone, that began to 203.0.113.11#80      asked
 */
export class ConnectionJoin {
  readonly #scope: Scope;
  readonly #zones: Zones;
  readonly #reach: RouterReach;
  readonly #ofPorts: { readonly port: string; readonly tracked: Tracked }[] = [];
  /** By the original tuple; of routers. */
  readonly #byOriginal = new Map<string, Owned>();
  /** By the reply tuple; of routers, and of ports of whose VIP zones they are. */
  readonly #byReply = new Map<string, Owned>();

  constructor(scope: Scope, zones: Zones) {
    this.#scope = scope;
    this.#zones = zones;
    this.#reach = new RouterReach(scope);
  }

  take(tracked: Tracked): void {
    const { protocol, zone, original, reply } = tracked;
    const owner = this.#zones.ownerOf(zone);
    if (owner === undefined) return;
    const isPort = this.#scope.port(owner) !== undefined;
    const kind = zone - this.#zones.of(owner)!;
    if (isPort && kind === 0) this.#ofPorts.push({ port: owner, tracked });
    if (isPort ? kind !== 1 : kind !== 0) return;
    put(this.#byReply, tupleText(protocol, reply), owner, tracked);
    if (!isPort) put(this.#byOriginal, tupleText(protocol, original), owner, tracked);
  }

  get size(): number {
    return this.#ofPorts.length;
  }

  /** The n-th of those that ports have; undefined where the port is gone. `nowMs`: seen for the first time now. */
  at(n: number, nowMs: number): Writable<Connection> | undefined {
    const { port: id, tracked } = this.#ofPorts[n]!;
    const port = this.#scope.port(id);
    if (!port) return undefined;
    const { protocol, original, reply, state } = tracked;
    const routers = this.#reach.from(port.switch);
    const text = tupleText(protocol, original);
    const source = only(this.#byOriginal.get(text), (router) => routers.has(router));
    const destination = only(
      this.#byReply.get(tupleText(protocol, reply)),
      (owner) => owner === id || routers.has(owner),
    );
    const seenAs = source && differing(source.tracked.reply.to, original.from);
    const asked = destination && differing(destination.tracked.original.to, original.to);
    const router = seenAs ? source.owner : asked && destination.owner !== id ? destination.owner : undefined;
    const { addresses } = port;
    const isOut = addresses.includes(original.from.address) || !addresses.includes(original.to.address);
    const connection: Writable<Connection> = {
      key: `${id} ${text}`,
      port: id,
      direction: isOut ? 'out' : 'in',
      protocol,
      from: original.from,
      to: original.to,
      sinceMs: nowMs,
    };
    if (seenAs) connection.seenAs = seenAs;
    if (asked) connection.asked = asked;
    if (router !== undefined) connection.router = router;
    if (state !== undefined) connection.state = state;
    if (original.packets !== undefined && original.bytes !== undefined) {
      connection.packets = original.packets + (reply.packets ?? 0);
      connection.bytes = original.bytes + (reply.bytes ?? 0);
    }
    return connection;
  }
}

/** Entries with the same tuple, of one owner each, in the order in which they came. */
interface Owned {
  readonly owner: string;
  tracked: Tracked;
  next: Owned | undefined;
}

function put(index: Map<string, Owned>, text: string, owner: string, tracked: Tracked): void {
  let last = index.get(text);
  while (last && last.owner !== owner && last.next) last = last.next;
  if (last?.owner === owner) last.tracked = tracked;
  else if (last) last.next = { owner, tracked, next: undefined };
  else index.set(text, { owner, tracked, next: undefined });
}

function only(first: Owned | undefined, fits: (owner: string) => boolean): Owned | undefined {
  for (let owned = first; owned; owned = owned.next) if (fits(owned.owner)) return owned;
  return undefined;
}

function differing(translated: Endpoint, plain: Endpoint): Endpoint | undefined {
  return translated.address === plain.address && translated.port === plain.port ? undefined : translated;
}
