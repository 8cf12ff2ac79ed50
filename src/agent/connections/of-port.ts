import { type Clock, systemClock } from '../../base/clock.ts';
import { WeftError } from '../../base/errors.ts';
import { ZONE_KIND } from '../../compile/translation.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import type { Scope } from '../scope.ts';
import { parseDump, type Tracked, tupleText } from './dump.ts';
import { RouterReach } from './reach.ts';
import { restAfter } from './reading.ts';

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
  return [...ownZones(own), ...routers.values()];
}

/** Those of a port that remember connections, by the first. */
export function ownZones(own: number): number[] {
  return OWN.map(([, kind]) => own + kind);
}

/** In which zone an entry is that somebody else told of the port; undefined where it is none of the port's, whatever he says. */
export function zoneOfEntry({ port, own, routers }: PortZones, { owner, kind }: ConnectionEntry): number | undefined {
  if (owner === port) return own + ZONE_KIND[kind];
  return kind === 'own' ? routers.get(owner) : undefined;
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
    if (kind === undefined || one.isOver) continue;
    entries.push(entryOf(zones.port, kind, one));
    if (kind !== 'own') continue;
    originals.add(tupleText(one.protocol, one.original));
    replies.add(tupleText(one.protocol, one.reply));
  }
  for (const one of tracked) {
    const router = routers.get(one.zone);
    if (router === undefined || one.isOver) continue;
    if (originals.has(tupleText(one.protocol, one.original)) || replies.has(tupleText(one.protocol, one.reply)))
      entries.push(entryOf(router, 'own', one));
  }
  return entries;
}

function entryOf(owner: string, kind: ConnectionEntry['kind'], tracked: Tracked): ConnectionEntry {
  const { protocol, original, reply, state, mark, isUnanswered } = tracked;
  return {
    ...{ owner, kind, protocol, original, reply },
    ...(state === undefined ? {} : { state }),
    ...(mark === undefined ? {} : { mark }),
    ...(isUnanswered ? { isUnanswered } : {}),
  };
}

/** The same entry of the same owner, whatever its state. */
export function entryKey({ owner, kind, protocol, original, reply }: ConnectionEntry): string {
  return `${owner} ${kind} ${tupleText(protocol, original)} ${tupleText(protocol, reply)}`;
}

/** What connection tracking has where connections of a port are kept, others' in its routers' zones too. */
export interface TrackedThere {
  readonly zones: PortZones;
  readonly tracked: readonly Tracked[];
}

/**
 * `now`: before all others, for whom a workload or flows wait. `ahead` of a move: readings are rested from, and who would wait for long is told to ask again
 * (`busy`). What is read is never older than the ask.
 */
export type Urgency = 'now' | 'ordinary' | 'ahead';

export interface PortAsk {
  /** `ordinary` when not given. */
  readonly urgency?: Urgency;
  /** Who asks gives up: what nobody else waits for is not read. */
  readonly signal?: AbortSignal;
}

const URGENCIES: readonly Urgency[] = ['now', 'ordinary', 'ahead'];
/** So long readings ahead of moves follow each other without a rest: they share what routers' zones have. */
const TURN_MS = 100;
/** So long an ask ahead of a move waits for its turn. */
const LONGEST_WAIT_MS = 1_000;

interface Waiter {
  readonly resolve: (there: TrackedThere) => void;
  readonly reject: (error: unknown) => void;
}

/** One reading for all that ask for the port before it begins. */
interface Reading {
  readonly port: string;
  urgency: Urgency;
  /** The number of the last ask that it is for. */
  asked: number;
  readonly waiters: Set<Waiter>;
}

/** What a router's zone had. `asked`: how many asks there had been when it was dumped, for which it is new enough. */
interface Shared {
  readonly zone: number;
  readonly asked: number;
  readonly tracked: readonly Tracked[];
}

/**
 * Reads what connection tracking has of a port's connections, also a moment after the port has left. A dump holds up ovs-vswitchd, and many workloads may
 * leave a host at a time: one reading after the other, those ahead of moves for a twentieth of the time, as all readings without a hurry (reading.ts).
 */
export class PortReader {
  readonly #options: PortReaderOptions;
  readonly #clock: Clock;
  /** Of ports that were asked for: when the interface is gone, what they reached may be out of scope. */
  readonly #last = new Map<string, PortZones>();
  readonly #due = new Set<Reading>();
  #isRunning = false;
  /** By router, for those that wait: many workloads may leave together. */
  readonly #shared = new Map<string, Shared>();
  #asked = 0;
  #isWaking = false;
  /** Of readings ahead of moves since the last rest. */
  #turnMs = 0;
  #restsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: PortReaderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** The port's connections. Errors: those of `all`. */
  async read(port: string, ask: PortAsk = {}): Promise<readonly ConnectionEntry[]> {
    const { zones, tracked } = await this.all(port, ask);
    return entriesOfPort(zones, tracked);
  }

  /**
   * Errors: `not-found` for a port that has no zone here, `full`, those of Open vSwitch's control socket; `aborted` by the signal, `busy` for an ask ahead
   * of a move.
   */
  async all(port: string, { urgency = 'ordinary', signal }: PortAsk = {}): Promise<TrackedThere> {
    if (signal?.aborted) throw givenUp(port);
    const { promise, resolve, reject } = Promise.withResolvers<TrackedThere>();
    const waiter: Waiter = { resolve, reject };
    const reading = this.#readingFor(port, urgency);
    reading.waiters.add(waiter);
    reading.asked = ++this.#asked;
    const leave = (error: WeftError): void => {
      reading.waiters.delete(waiter);
      if (reading.waiters.size === 0) this.#due.delete(reading);
      reject(error);
    };
    const onAbort = (): void => leave(givenUp(port));
    signal?.addEventListener('abort', onAbort, { once: true });
    if (urgency === 'ahead')
      void this.#clock.sleep(LONGEST_WAIT_MS).then(() => {
        if (this.#due.has(reading))
          leave(new WeftError('busy', `connections of other ports are read; those of port ${port} are not yet`));
      });
    void this.#run();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** One that has not begun says all that there is now. */
  #readingFor(port: string, urgency: Urgency): Reading {
    const due = [...this.#due].find((one) => one.port === port);
    if (due) {
      if (URGENCIES.indexOf(urgency) < URGENCIES.indexOf(due.urgency)) due.urgency = urgency;
      return due;
    }
    const reading: Reading = { port, urgency, asked: 0, waiters: new Set() };
    this.#due.add(reading);
    return reading;
  }

  #next(): Reading | undefined {
    const due = [...this.#due];
    for (const urgency of URGENCIES) {
      if (urgency === 'ahead' && this.#clock.monotonicMs() < this.#restsUntilMs) continue;
      const first = due.find((one) => one.urgency === urgency);
      if (first) return first;
    }
    return undefined;
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let reading = this.#next(); reading; reading = this.#next()) {
      this.#due.delete(reading);
      const { urgency, waiters } = reading;
      const beganMs = this.#clock.monotonicMs();
      try {
        const there = await this.#read(reading);
        for (const { resolve } of waiters) resolve(there);
      } catch (error) {
        for (const { reject } of waiters) reject(error);
      }
      waiters.clear();
      if (urgency === 'ahead') this.#took(this.#clock.monotonicMs() - beganMs);
    }
    this.#isRunning = false;
    this.#wakeLater();
  }

  #took(ms: number): void {
    this.#turnMs += ms;
    if (this.#turnMs < TURN_MS && [...this.#due].some(({ urgency }) => urgency === 'ahead')) return;
    this.#restsUntilMs = this.#clock.monotonicMs() + restAfter(this.#turnMs);
    this.#turnMs = 0;
  }

  /** Who is left waits for the end of the rest, but for no longer than any of them does. */
  #wakeLater(): void {
    if (this.#due.size === 0) this.#shared.clear();
    if (this.#due.size === 0 || this.#isWaking) return;
    this.#isWaking = true;
    const restMs = Math.min(LONGEST_WAIT_MS, this.#restsUntilMs - this.#clock.monotonicMs());
    void this.#clock.sleep(restMs).then(() => {
      this.#isWaking = false;
      void this.#run();
    });
  }

  async #read({ port, asked }: Reading): Promise<TrackedThere> {
    const { scope, zoneOf, dumpZones } = this.#options;
    const zones = zonesOfPort(scope, zoneOf, port) ?? this.#remembered(port);
    if (!zones) throw new WeftError('not-found', `this host has, and lately had, no interface of port ${port}`);
    this.#last.delete(port);
    this.#last.set(port, zones);
    for (const oldest of this.#last.keys()) {
      if (this.#last.size <= MOST_REMEMBERED) break;
      this.#last.delete(oldest);
    }
    const known = [...zones.routers].flatMap(([router, zone]) => {
      const one = this.#shared.get(router);
      return one && one.zone === zone && one.asked >= asked ? [one] : [];
    });
    const there = new Set(known.map(({ zone }) => zone));
    const askedNow = this.#asked;
    const tracked = await parseDump(await dumpZones(allZones(zones).filter((zone) => !there.has(zone))));
    if (this.#due.size > 0)
      for (const [router, zone] of zones.routers)
        if (!there.has(zone))
          this.#shared.set(router, { zone, asked: askedNow, tracked: tracked.filter((one) => one.zone === zone) });
    return { zones, tracked: known.reduce((all, one) => all.concat(one.tracked), tracked) };
  }

  #remembered(port: string): PortZones | undefined {
    const zones = this.#last.get(port);
    return zones && this.#options.zoneOf(port) === zones.own ? zones : undefined;
  }
}

function givenUp(port: string): WeftError {
  return new WeftError('aborted', `who asked for connections of port ${port} has given up`);
}

export interface PortReaderOptions {
  readonly scope: Scope;
  readonly zoneOf: ZoneOfOwner;
  /** A dump of these zones. Errors: `WeftError`. */
  readonly dumpZones: (zones: readonly number[]) => Promise<string>;
  /** For tests. */
  readonly clock?: Clock;
}

const MOST_REMEMBERED = 1_000;
