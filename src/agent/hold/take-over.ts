import type { Clock } from '../../base/clock.ts';
import { WeftError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import type { EntryInZone } from '../connections/recreate.ts';
import { MOST_RECREATED, type Recreator } from '../connections/recreator.ts';
import type { Effect } from '../events.ts';
import type { Held } from './copy-desk.ts';
import type { Leftovers } from './leftovers.ts';
import { newestOf } from './newest.ts';

/** What is done in the order in which it comes: flows, and the connections that there are to be before and behind them. */
type OrderedEffect = Extract<Effect, { kind: 'install' | 'readBack' | 'setMeters' | 'flushZones' | 'recreate' }>;

export interface FormerConnections {
  /** What has ended, as these say that go on. Errors: `WeftError`. */
  readonly read: (port: string, held: readonly ConnectionEntry[], signal: AbortSignal) => Promise<Leftovers>;
  /** Takes entries out of connection tracking. Errors: `WeftError`. */
  readonly flush: (entries: readonly EntryInZone[]) => Promise<void>;
  /** Zones of the port alone. */
  readonly ownZones: (port: string) => readonly number[];
}

/** So long flows wait for what the port left here to be read, and, but for what is in the way of connections that go on, for it to be taken out. */
const LONGEST_READING_MS = 1_000;
const LONGEST_FLUSHING_MS = 500;
/** Entries that are taken out at once: some 20 ms. */
const SLICE = 100;

export interface TakeOverOptions {
  /** What others told of the port's connections until it became active here. */
  readonly held: (port: string) => Held;
  /** In which zones these belong here, in the order in which they are to be made. */
  readonly zonesOf: (port: string, entries: readonly ConnectionEntry[]) => readonly EntryInZone[];
  readonly recreator: Pick<Recreator, 'perform'>;
  /** What the port left here when it was active before. */
  readonly former: FormerConnections;
  readonly perform: (effect: OrderedEffect) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Where a port of an L2 gateway becomes active its connections are made again, before any flow that is asked for later: such flows wait, and everything
 * else of the agent goes on between slices.
 */
export class TakeOver {
  readonly #options: TakeOverOptions;
  #running = 0;
  #waiting: OrderedEffect[] = [];

  constructor(options: TakeOverOptions) {
    this.#options = options;
  }

  perform(effect: OrderedEffect): void {
    if (this.#running > 0) this.#waiting.push(effect);
    else this.#options.perform(effect);
  }

  /** What waits was meant for a switch that is gone. Flushes that wait come again: the core was not told that they were done. */
  switchLost(): void {
    this.#waiting = [];
  }

  /** Resolves when all is told the switch. */
  async run(port: string): Promise<void> {
    const { held, zonesOf, recreator, clock, log } = this.#options;
    const beganMs = clock.monotonicMs();
    const told = held(port);
    if (told.entries.length === 0 && !told.isWhole) return;
    const make = zonesOf(port, newestOf(told.entries, MOST_RECREATED));
    let later: readonly EntryInZone[] = [];
    this.#running++;
    try {
      later = await this.#clear(port, told);
      await recreator.perform({ make });
    } finally {
      this.#running--;
      if (this.#running === 0) for (const effect of this.#waiting.splice(0)) this.#options.perform(effect);
    }
    const leftOut = told.entries.length - make.length;
    log.info('connections of a port that is active here now are made again', {
      ...{ port, entries: make.length, ms: Math.round(clock.monotonicMs() - beganMs) },
      ...(leftOut > 0 ? { leftOut } : {}),
    });
    await this.#flush(port, later);
  }

  /**
   * Takes out what the port left here and has ended since; where not all was told, what is here may go on, and only what is in the way of others goes. Returns
   * what nobody needs to wait for.
   */
  async #clear(port: string, { entries: held, isWhole }: Held): Promise<readonly EntryInZone[]> {
    const { former, clock, log, perform } = this.#options;
    try {
      const left = await former.read(port, held, AbortSignal.timeout(LONGEST_READING_MS));
      const [inTheWay, others] = [left.inTheWay, isWhole ? left.others : []];
      await former.flush(inTheWay);
      const untilMs = clock.monotonicMs() + LONGEST_FLUSHING_MS;
      let done = 0;
      for (; done < others.length && clock.monotonicMs() < untilMs; done += SLICE)
        await former.flush(others.slice(done, done + SLICE));
      const entries = inTheWay.length + others.length;
      if (entries > 0) log.info('former connections of a port that is active here again are over', { port, entries });
      return others.slice(done);
    } catch (error) {
      if (error instanceof WeftError && error.code === 'not-found') return [];
      log.warn('what a port had here before cannot be read; routers may still have some of it', { port, error });
      const zones = isWhole ? former.ownZones(port) : [];
      if (zones.length > 0) perform({ kind: 'flushZones', zones });
      return [];
    }
  }

  async #flush(port: string, entries: readonly EntryInZone[]): Promise<void> {
    try {
      for (let at = 0; at < entries.length; at += SLICE)
        await this.#options.former.flush(entries.slice(at, at + SLICE));
    } catch (error) {
      this.#options.log.warn('former connections of a port are still tracked', { port, error });
    }
  }
}
