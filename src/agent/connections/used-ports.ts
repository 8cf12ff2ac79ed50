import type { Tracked } from './dump.ts';

/** An SNAT address of a router, and the router's zone. */
export interface TranslatedPlace {
  readonly router: string;
  readonly zone: number;
  readonly address: string;
}

/** `<router>/<address>` → ports of the address that connections here have. What was not read as a whole is missing. */
export type PortsInUse = ReadonlyMap<string, ReadonlySet<number>>;

/** Collects the ports of SNAT addresses that connections have, while all are read (exporter.ts): those that are over as well. */
export class UsedPorts {
  /** By zone and address. */
  readonly #ports = new Map<string, { readonly place: TranslatedPlace; readonly ports: Set<number> }>();
  #isSpoilt = false;

  constructor(places: Iterable<TranslatedPlace>) {
    for (const place of places) this.#ports.set(`${place.zone} ${place.address}`, { place, ports: new Set() });
  }

  take({ zone, reply }: Tracked): void {
    if (this.#ports.size === 0 || reply.to.port === undefined) return;
    this.#ports.get(`${zone} ${reply.to.address}`)?.ports.add(reply.to.port);
  }

  /** A line was not understood: it may have had any port. */
  spoil(): void {
    this.#isSpoilt = true;
  }

  /** `unread`: routers whose zones were left out. */
  result(unread: ReadonlySet<string>): PortsInUse {
    const known = this.#isSpoilt ? [] : [...this.#ports.values()].filter(({ place }) => !unread.has(place.router));
    return new Map(known.map(({ place: { router, address }, ports }) => [`${router}/${address}`, ports]));
  }
}
