import type { Clock } from '../base/clock.ts';

/** A tick that comes so long after the last one has come late: the process was held up, or stopped. */
const LATE_MS = 3_000;
/** Agents answer the heartbeats, which were late as well: so long after a late tick whoever is there has been heard. */
const CATCH_UP_MS = 5_000;

/**
 * Says whether silence means anything. What hosts said while this process was held up waits in its sockets, behind the tick;
 * nor did anybody ask them.
 */
export class LateTicks {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #lastMs: number;
  #caughtUpMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
    this.#lastMs = clock.monotonicMs();
  }

  /** At each tick, every second or so: is whoever seems silent so? */
  isSilenceKnown(): boolean {
    const now = this.#clock.monotonicMs();
    if (now - this.#lastMs >= LATE_MS) this.#caughtUpMs = now + CATCH_UP_MS;
    this.#lastMs = now;
    return now >= this.#caughtUpMs;
  }
}
