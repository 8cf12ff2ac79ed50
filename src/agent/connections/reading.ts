import type { Clock } from '../../base/clock.ts';
import { WeftError } from '../../base/errors.ts';
import { SILENCE_MS } from '../../flow-database/flow-store.ts';
import type { ZoneUse } from '../events.ts';
import type { Scope } from '../scope.ts';
import type { Zones } from '../zones.ts';

/** Connection tracking of the datapath, as `dpctl` tells of it. Errors: `WeftError`. */
export interface TrackingTexts {
  /** How many connections it has. */
  count(): Promise<number>;
  /** Of ovs-vswitchd, as `3.5.0`; undefined where it is not understood. */
  version(): Promise<string | undefined>;
  /** How full limited zones are. */
  uses(): Promise<readonly ZoneUse[]>;
  /** Connections of these zones, or of all, a line each (dump.ts). */
  dump(zones?: readonly number[]): Promise<string>;
}

export interface ReadingOptions {
  /** `system` for the kernel's datapath, `netdev` for the userspace one. */
  readonly datapathType: string;
  readonly scope: Scope;
  readonly zones: Zones;
  readonly tracking: TrackingTexts;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Between two readings; a host without connections looks as often. */
export const READ_MS = 5_000;
/** A dump holds up ovs-vswitchd: at most a twentieth of the time. What follows here takes about as long, in slices. */
const REST = 20;
/** But the server takes silence for the end of all connections. */
const LONGEST_REST_MS = SILENCE_MS / 2;
/** Of a host; what follows takes the agent some 1 KB each. */
export const MOST_CONNECTIONS = 100_000;
/**
 * In the userspace datapath the thread that stands still is the one that forwards: 12,000 connections take 40 ms, 42,000 take 150 ms and
 * sockets overflow. So much is dumped at once there at most: a zone, as nothing smaller can be asked for.
 */
export const MOST_AT_ONCE = 15_000;
/** With the kernel's datapath, which forwards on, all of a host. */
export function mostAtOnce(datapathType: string): number {
  return datapathType === 'netdev' ? MOST_AT_ONCE : MOST_CONNECTIONS;
}
/** And so much where there is a choice: some 3 ms. */
export const SLICE_CONNECTIONS = 800;
/** From here on a zone has a table of its own, and to dump it costs what is in it; before, all were walked (lib/conntrack-private.h). */
const ZONES_APART = [3, 4] as const;

/** So many may come or go between two questions. */
const CHURN = 50;

/** What a reading is made of. */
export interface ReadingPlan {
  /** To be dumped at once each; undefined: everything. */
  readonly slices: readonly (readonly number[] | undefined)[];
  /** Ports and routers of which not all is read. */
  readonly unread: ReadonlySet<string>;
  /** For people: what is not read, and why. */
  readonly problem?: string;
}

/** Reads connection tracking, and holds up nobody for long (docs/design/flow-database.md, §2). */
export class TrackingReader {
  readonly #options: ReadingOptions;
  /** Milliseconds of the dumps of the last reading. */
  #tookMs = 0;
  #wasSliced = false;

  constructor(options: ReadingOptions) {
    this.#options = options;
  }

  async plan(): Promise<ReadingPlan> {
    const { datapathType, tracking } = this.#options;
    const count = await tracking.count();
    const isApart = datapathType === 'netdev' && count > SLICE_CONNECTIONS && isSince(await tracking.version());
    if (isApart) return this.#byZone(await tracking.uses(), count);
    const most = mostAtOnce(datapathType);
    if (count <= most) return { slices: [undefined], unread: new Set() };
    const unread = new Set([...this.#options.zones.entries()].map(([owner]) => owner));
    return { slices: [], unread, problem: `the host tracks ${count}, more than ${most}` };
  }

  /** Ports first: what a router translates is there by then. `count`: of all zones together. */
  #byZone(uses: readonly ZoneUse[], count: number): ReadingPlan {
    const { scope, zones } = this.#options;
    const uncounted = count - uses.reduce((sum, { connections }) => sum + connections, 0);
    // What a zone had before it was limited is not counted there: any may have them, and it is a few at a time that are.
    const least = uncounted > CHURN && uncounted <= MOST_AT_ONCE ? 1 : 0;
    // And a router may translate since it was counted: what ports have must not be told without that.
    const leastOfRouter = uncounted <= MOST_AT_ONCE ? 1 : 0;
    const counts = new Map<number, number>();
    for (const [owner, zone] of zones.entries()) {
      const isPort = scope.port(owner) !== undefined;
      counts.set(zone, isPort ? least : leastOfRouter);
      if (isPort) counts.set(zone + 1, least);
    }
    for (const { zone, connections } of uses) counts.set(zone, Math.max(connections, counts.get(zone) ?? 0));
    const owners = [...zones.entries()].map(([owner, zone]) => {
      const port = scope.port(owner);
      // Of a port the zone behind it as well: VIPs.
      const own = port ? [zone, zone + 1] : [zone];
      const sizes = own.map((each) => counts.get(each) ?? 0);
      return { owner, port, own, size: sizes.reduce((sum, size) => sum + size, 0), largest: Math.max(...sizes) };
    });
    const unread = new Set<string>();
    const left: string[] = [];
    const take = (some: typeof owners): number[][] => {
      const slices: number[][] = [];
      let [total, room] = [0, 0];
      for (const { owner, port, own, size, largest } of some.toSorted((a, b) => a.size - b.size)) {
        if (size === 0) continue;
        if (largest > MOST_AT_ONCE || total + size > MOST_CONNECTIONS) {
          const router = scope.get('router', owner);
          unread.add(owner);
          left.push(port ? `port ${port.name} has ${size}` : `router ${router?.name ?? owner} translates ${size}`);
          continue;
        }
        total += size;
        for (const zone of own) {
          const here = counts.get(zone) ?? 0;
          if (here === 0) continue;
          if (here <= room) slices.at(-1)!.push(zone);
          else slices.push([zone]);
          room = here <= room ? room - here : SLICE_CONNECTIONS - here;
        }
      }
      return slices;
    };
    const slices = [...take(owners.filter(({ port }) => port)), ...take(owners.filter(({ port }) => !port))];
    if (uncounted > MOST_AT_ONCE) {
      left.push(`${uncounted} are in zones that do not count them`);
      for (const { owner, own } of owners) if (own.some((zone) => !counts.get(zone))) unread.add(owner);
    }
    if (left.length === 0) return { slices, unread };
    const more = left.length > 3 ? `, and ${left.length - 3} more` : '';
    const bounds = `at most ${MOST_AT_ONCE} of one and ${MOST_CONNECTIONS} in all are read`;
    return { slices, unread, problem: `${left.slice(0, 3).join(', ')}${more}: ${bounds}` };
  }

  /** Texts of whole lines, with pauses for others in between. */
  async *read({ slices }: ReadingPlan): AsyncGenerator<string> {
    const { tracking, clock, signal } = this.#options;
    this.#tookMs = 0;
    this.#wasSliced = slices.length > 1;
    for (const [n, zones] of slices.entries()) {
      const begun = clock.monotonicMs();
      const text = await tracking.dump(zones);
      const tookMs = clock.monotonicMs() - begun;
      this.#tookMs += tookMs;
      yield text;
      if (n < slices.length - 1)
        await clock.sleep(Math.min(restAfter(tookMs), LONGEST_REST_MS / slices.length), signal);
    }
  }

  /** Until the next reading. Slices had their rests. */
  get restMs(): number {
    if (this.#wasSliced) return READ_MS;
    return Math.max(READ_MS, restAfter(this.#tookMs));
  }
}

/** How long nothing is read after a reading that took so long. */
export function restAfter(tookMs: number): number {
  return Math.min(LONGEST_REST_MS, REST * tookMs);
}

function isSince(version: string | undefined): boolean {
  const [major = 0, minor = 0] = (version ?? '').split('.').map(Number);
  return major > ZONES_APART[0] || (major === ZONES_APART[0] && minor >= ZONES_APART[1]);
}

/** `WeftError`s and the end of the agent are ordinary here. */
export function isOrdinary(error: unknown, signal: AbortSignal): boolean {
  return error instanceof WeftError || signal.aborted;
}
