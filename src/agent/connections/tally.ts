import type { Tracked } from './dump.ts';

/** Connections that are to be counted: those of a zone that began to this address, and were led on from there. */
export interface CountedPlace {
  /** Who has the zone: a router, or the port of a member. */
  readonly owner: string;
  readonly zone: number;
  readonly address: string;
  /** Sources that do not count: the member's own, which its zone for virtual addresses has as those of a client. */
  readonly except: readonly string[];
}

/** How many connections a place has; without `count` its zone was not read. */
export interface Counted {
  readonly place: CountedPlace;
  readonly count: number | undefined;
}

/** Counts the connections of some addresses while all are read (exporter.ts). Those that both sides have closed are none any more. */
export class Tally {
  /** By zone and address. */
  readonly #counted = new Map<string, { readonly place: CountedPlace; count: number }>();

  constructor(places: Iterable<CountedPlace>) {
    for (const place of places) this.#counted.set(`${place.zone} ${place.address}`, { place, count: 0 });
  }

  take({ zone, original, reply, isOver }: Tracked): void {
    if (this.#counted.size === 0 || isOver) return;
    const counted = this.#counted.get(`${zone} ${original.to.address}`);
    // What a workload of the router begins to the address goes out before it comes in: there it is not led on.
    if (!counted || reply.from.address === original.to.address) return;
    if (!counted.place.except.includes(original.from.address)) counted.count++;
  }

  /** `unread`: owners of zones that were left out. */
  result(unread: ReadonlySet<string>): Counted[] {
    return [...this.#counted.values()].map(({ place, count }) => ({
      place,
      count: unread.has(place.owner) ? undefined : count,
    }));
  }
}
