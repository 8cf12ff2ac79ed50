/** Zones of one owner: its own, and those behind it (docs/design/layer3.md, §2). */
export const ZONES_PER_OWNER = 4;
const FIRST = ZONES_PER_OWNER;
const LAST = 65_532;
const STEP = ZONES_PER_OWNER;

/** Conntrack zones as OVSDB keeps them: of one port, on its interface. */
export interface KeptZone {
  readonly port: string;
  readonly zone: number;
}

/** The text of a kept zone: `8/<port id>`. The port is part of it, as an interface may become another port while no agent runs. */
export function formatKeptZone({ port, zone }: KeptZone): string {
  return `${zone}/${port}`;
}

/** Undefined for anything that `formatKeptZone` does not write. */
export function parseKeptZone(text: string | undefined): KeptZone | undefined {
  const match = /^(\d{1,5})\/(.+)$/.exec(text ?? '');
  const zone = match ? parseZone(match[1]!) : undefined;
  return zone === undefined ? undefined : { zone, port: match![2]! };
}

export function parseZone(text: string): number | undefined {
  const zone = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return isZone(zone) ? zone : undefined;
}

function isZone(zone: number): boolean {
  return zone >= FIRST && zone <= LAST && zone % STEP === 0;
}

/**
 * Who has which conntrack zone of this host: ports (by their ids) and routers share one space. A zone that an owner gets anew may
 * hold connections of whoever had it before, also before this agent started: it has to be flushed first.
 */
export class Zones {
  readonly #byOwner = new Map<string, number>();
  readonly #owners = new Map<number, string>();
  #next = FIRST;

  of(owner: string): number | undefined {
    return this.#byOwner.get(owner);
  }

  ownerOf(zone: number): string | undefined {
    return this.#owners.get(zone - (zone % STEP));
  }

  /** The owner has the zone that OVSDB kept for it, and its connections with it; false where another has it now. */
  adopt(owner: string, zone: number): boolean {
    const before = this.#byOwner.get(owner);
    if (before !== undefined) return before === zone;
    if (!isZone(zone) || this.#owners.has(zone)) return false;
    this.#set(owner, zone);
    return true;
  }

  /** A zone that nobody has, the one given back longest ago; to be flushed. Undefined when all are taken. */
  give(owner: string): number | undefined {
    for (let tried = FIRST; tried <= LAST; tried += STEP) {
      const zone = this.#next;
      this.#next = zone >= LAST ? FIRST : zone + STEP;
      if (this.#owners.has(zone)) continue;
      this.#set(owner, zone);
      return zone;
    }
    return undefined;
  }

  release(owner: string): void {
    const zone = this.#byOwner.get(owner);
    if (zone === undefined) return;
    this.#byOwner.delete(owner);
    this.#owners.delete(zone);
  }

  entries(): Iterable<readonly [owner: string, zone: number]> {
    return this.#byOwner;
  }

  #set(owner: string, zone: number): void {
    this.#byOwner.set(owner, zone);
    this.#owners.set(zone, owner);
    if (zone >= this.#next) this.#next = zone >= LAST ? FIRST : zone + STEP;
  }
}
