import type { LocalInterface } from './events.ts';
import type { KeptZone } from './zones.ts';

/** What the server takes of names that come from this machine. */
const LONGEST_NAME = 255;
const PORT_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Which interface is which logical port. An interface names its port by `external_ids:iface-id` (never by MAC, never by
 * the port's name: names are the tenant's to choose); tools that set no ids are served by the host's interface pattern,
 * where `{port}` stands for the first eight or more digits of the port's id.
 */
export class Interfaces {
  readonly #byUuid = new Map<string, LocalInterface>();
  /** Port id → the interface that is the port. */
  readonly #bound = new Map<string, LocalInterface>();
  /** The same the other way: uuid → port id. */
  readonly #portOfUuid = new Map<string, string>();
  #pattern: RegExp | undefined;
  /** Name → `iface-id`, of interfaces whose `iface-id` cannot be a port's. */
  readonly malformed = new Map<string, string>();

  /** Do bindings depend on which ports there are, and not on the interfaces alone? */
  get hasPattern(): boolean {
    return this.#pattern !== undefined;
  }

  /** True if it is another one than before. */
  setPattern(pattern: string | undefined): boolean {
    const before = this.#pattern?.source;
    const parts = pattern?.split('{port}');
    this.#pattern = parts
      ? new RegExp(`^${literal(parts[0]!)}([0-9a-f]{8}[0-9a-f-]*)${literal(parts[1] ?? '')}$`)
      : undefined;
    return this.#pattern?.source !== before;
  }

  /** False where nothing is different that bindings follow from: then `rebind` would find them as they are. */
  put(entry: LocalInterface): boolean {
    const before = this.#byUuid.get(entry.uuid);
    const isSame = before?.name === entry.name && before.ofport === entry.ofport && before.ifaceId === entry.ifaceId;
    if (isSame) this.#replace(entry);
    else this.#byUuid.set(entry.uuid, entry);
    return !isSame;
  }

  delete(uuid: string): void {
    this.#byUuid.delete(uuid);
  }

  /** With one that is bound as the former was. */
  #replace(entry: LocalInterface): void {
    this.#byUuid.set(entry.uuid, entry);
    const port = this.#portOfUuid.get(entry.uuid);
    if (port !== undefined) this.#bound.set(port, entry);
  }

  /**
   * Notes that the interface's mark (and the zone kept with it) is asked to be so, ahead of OVSDB's telling; false where it is
   * so, or where there is no such interface.
   */
  mark(uuid: string, installed: boolean, zone?: KeptZone): boolean {
    const entry = this.#byUuid.get(uuid);
    if (!entry) return false;
    const isKept = zone === undefined || (entry.zone?.port === zone.port && entry.zone.zone === zone.zone);
    if (entry.markedInstalled === installed && isKept) return false;
    this.#replace({ ...entry, markedInstalled: installed, ...(zone === undefined ? {} : { zone }) });
    return true;
  }

  get(port: string): LocalInterface | undefined {
    return this.#bound.get(port);
  }

  bound(): ReadonlyMap<string, LocalInterface> {
    return this.#bound;
  }

  byOfport(ofport: number): string | undefined {
    for (const [port, entry] of this.#bound) if (entry.ofport === ofport) return port;
    return undefined;
  }

  /**
   * Works the bindings out anew from what is there (never from how it came about). Gives what changed, and interfaces
   * that claim a port which another interface of this host already is.
   * `resolve` finds the port that a pattern's digits mean.
   */
  rebind(resolve: (idPrefix: string) => string | undefined): {
    readonly put: string[];
    readonly gone: string[];
    readonly doubles: { port: string; name: string }[];
  } {
    const wanted = new Map<string, LocalInterface>();
    const doubles: { port: string; name: string }[] = [];
    this.malformed.clear();
    for (const entry of this.#byUuid.values()) {
      if (!entry.ofport || entry.ofport <= 0) continue;
      const port = this.#portOf(entry, resolve);
      if (port === undefined) continue;
      const rival = wanted.get(port);
      if (!rival) wanted.set(port, entry);
      else {
        // The one that was bound stays bound; otherwise the lower port number, so that the choice does not depend on order.
        const keep =
          this.#bound.get(port)?.uuid === entry.uuid ||
          (this.#bound.get(port)?.uuid !== rival.uuid && entry.ofport < rival.ofport!)
            ? entry
            : rival;
        wanted.set(port, keep);
        doubles.push({ port, name: keep === entry ? rival.name : entry.name });
      }
    }
    const put: string[] = [];
    const gone: string[] = [];
    for (const [port, entry] of wanted) {
      const before = this.#bound.get(port);
      if (!before || before.uuid !== entry.uuid || before.ofport !== entry.ofport) put.push(port);
    }
    for (const port of this.#bound.keys()) if (!wanted.has(port)) gone.push(port);
    this.#bound.clear();
    this.#portOfUuid.clear();
    for (const [port, entry] of wanted) {
      this.#bound.set(port, entry);
      this.#portOfUuid.set(entry.uuid, port);
    }
    return { put, gone, doubles };
  }

  #portOf(entry: LocalInterface, resolve: (idPrefix: string) => string | undefined): string | undefined {
    if (entry.ifaceId !== undefined) {
      const id = entry.ifaceId.toLowerCase();
      if (PORT_ID.test(id)) return id;
      // Anybody on this machine can write anything there.
      this.malformed.set(entry.name, entry.ifaceId);
      return undefined;
    }
    const digits = this.#pattern?.exec(entry.name)?.[1];
    return digits === undefined ? undefined : resolve(digits);
  }
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** A name or id of this machine, where anybody can write anything, as the server takes it. */
export function shortened(text: string): string {
  return text.slice(0, LONGEST_NAME);
}
