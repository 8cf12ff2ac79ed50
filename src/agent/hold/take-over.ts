import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import type { EntryInZone } from '../connections/recreate.ts';
import { MOST_RECREATED, type Recreator } from '../connections/recreator.ts';
import type { Effect } from '../events.ts';

/** What is done in the order in which it comes: flows, and the connections that there are to be before and behind them. */
type OrderedEffect = Extract<Effect, { kind: 'install' | 'readBack' | 'setMeters' | 'flushZones' | 'recreate' }>;

export interface TakeOverOptions {
  /** What others told of the port's connections until it became active here. */
  readonly held: (port: string) => readonly ConnectionEntry[];
  /** In which zones these belong here, in the order in which they are to be made. */
  readonly zonesOf: (port: string, entries: readonly ConnectionEntry[]) => readonly EntryInZone[];
  readonly recreator: Pick<Recreator, 'perform'>;
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
    const known = zonesOf(port, held(port));
    if (known.length === 0) return;
    this.#running++;
    try {
      await recreator.perform({ make: known.slice(0, MOST_RECREATED) });
    } finally {
      this.#running--;
      if (this.#running === 0) for (const effect of this.#waiting.splice(0)) this.#options.perform(effect);
    }
    log.info('connections of a port that is active here now are made again', {
      ...{ port, entries: Math.min(known.length, MOST_RECREATED), ms: Math.round(clock.monotonicMs() - beganMs) },
      ...(known.length > MOST_RECREATED ? { leftOut: known.length - MOST_RECREATED } : {}),
    });
  }
}
