import { listenerFor } from '../../model/listener-ports.ts';
import type { LoadBalancer } from '../../model/objects.ts';
import type { Tracked } from './dump.ts';

/** Connections to a virtual address that one zone has: those of a client inside, or those of all clients outside with a member. */
export interface ClientPlace {
  /** The port that has the zone. */
  readonly owner: string;
  readonly loadBalancer: string;
  readonly zone: number;
  readonly address: string;
  /** Others may share its address. */
  readonly listeners: LoadBalancer['listeners'];
  /** Address of a member → its port. */
  readonly members: ReadonlyMap<string, string>;
}

export interface ClientConnection {
  readonly client: string;
  /** The member's port. */
  readonly member: string;
  /** Tells it from others of the client, as `tcp/40123/80`. */
  readonly key: string;
  /** Closed by both ends. */
  readonly isOver: boolean;
}

/** Balancer → connections that its clients have; undefined where some were not read. Balancers without places are not there. */
export type ClientsOfBalancers = ReadonlyMap<string, readonly ClientConnection[] | undefined>;

/** Collects which clients of some balancers have which members, while all connections are read (exporter.ts). */
export class ClientsSeen {
  /** By zone and address. */
  readonly #places = new Map<string, ClientPlace[]>();
  readonly #seen = new Map<string, ClientConnection[]>();

  constructor(places: Iterable<ClientPlace>) {
    for (const place of places) {
      const at = `${place.zone} ${place.address}`;
      this.#places.set(at, [...(this.#places.get(at) ?? []), place]);
      this.#seen.set(place.loadBalancer, []);
    }
  }

  take({ zone, protocol, original: { from, to }, reply, isOver }: Tracked): void {
    if (this.#places.size === 0) return;
    for (const { loadBalancer, listeners, members } of this.#places.get(`${zone} ${to.address}`) ?? []) {
      const member = listenerFor(listeners, protocol, to.port ?? 0) && members.get(reply.from.address);
      if (member === undefined) continue;
      const key = `${protocol}/${from.port}/${to.port}`;
      this.#seen.get(loadBalancer)!.push({ client: from.address, member, key, isOver: isOver === true });
      return;
    }
  }

  /** `unread`: owners of zones that were left out. */
  result(unread: ReadonlySet<string>): ClientsOfBalancers {
    const result = new Map<string, readonly ClientConnection[] | undefined>(this.#seen);
    for (const places of this.#places.values())
      for (const { owner, loadBalancer } of places) if (unread.has(owner)) result.set(loadBalancer, undefined);
    return result;
  }
}
