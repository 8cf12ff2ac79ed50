import type { Connection, Endpoint } from '../../flow-database/flow-store.ts';
import type { Scope } from '../scope.ts';
import type { Zones } from '../zones.ts';
import { type Tracked, type Tuple, tupleText } from './dump.ts';
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
  /** Original tuple → by router. */
  readonly #byOriginal = new Map<string, Map<string, Tracked>>();
  /** Reply tuple → by router, or by the port whose VIP zone it is. */
  readonly #byReply = new Map<string, Map<string, Tracked>>();

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
  at(n: number, nowMs: number): Connection | undefined {
    const { port: id, tracked } = this.#ofPorts[n]!;
    const port = this.#scope.port(id);
    if (!port) return undefined;
    const { protocol, original, reply, state } = tracked;
    const routers = this.#reach.from(port.switch);
    const source = only(this.#byOriginal.get(tupleText(protocol, original)), (router) => routers.has(router));
    const destination = only(
      this.#byReply.get(tupleText(protocol, reply)),
      (owner) => owner === id || routers.has(owner),
    );
    const seenAs = source && differing(source.tracked.reply.to, original.from);
    const asked = destination && differing(destination.tracked.original.to, original.to);
    const router = seenAs ? source.owner : asked && destination.owner !== id ? destination.owner : undefined;
    return {
      key: `${id} ${tupleText(protocol, original)}`,
      port: id,
      direction:
        port.addresses.includes(original.from.address) || !port.addresses.includes(original.to.address) ? 'out' : 'in',
      protocol,
      from: original.from,
      to: original.to,
      ...(seenAs && { seenAs }),
      ...(asked && { asked }),
      ...(router === undefined ? {} : { router }),
      ...(state === undefined ? {} : { state }),
      ...counted(original, reply),
      sinceMs: nowMs,
    };
  }
}

function put(index: Map<string, Map<string, Tracked>>, text: string, owner: string, tracked: Tracked): void {
  const owners = index.get(text) ?? new Map<string, Tracked>();
  index.set(text, owners.set(owner, tracked));
}

function only(
  owners: ReadonlyMap<string, Tracked> | undefined,
  fits: (owner: string) => boolean,
): { readonly owner: string; readonly tracked: Tracked } | undefined {
  for (const [owner, tracked] of owners ?? []) if (fits(owner)) return { owner, tracked };
  return undefined;
}

function differing(translated: Endpoint, plain: Endpoint): Endpoint | undefined {
  return translated.address === plain.address && translated.port === plain.port ? undefined : translated;
}

function counted(original: Tuple, reply: Tuple): { packets?: number; bytes?: number } {
  if (original.packets === undefined || original.bytes === undefined) return {};
  return { packets: original.packets + (reply.packets ?? 0), bytes: original.bytes + (reply.bytes ?? 0) };
}
