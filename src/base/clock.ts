/** Time and timers, injected so that a core can be replayed. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds that never go back. */
  monotonicMs(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, ms);
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
};

/**
 * Wall time that does not step: what it was when this was made, and what has passed since by the monotonic clock. For timers that count in it:
 * a wall clock that is set back would stop them, one that is set forward would let all of them run out. It costs that times told from it are off by
 * what the wall clock was set since, until the process starts again (`wallTime` mends that of a moment just passed).
 */
export class SteadyClock {
  readonly #clock: Clock;
  readonly #originMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#originMs = clock.now() - clock.monotonicMs();
  }
  /** Whole milliseconds since the epoch, that never go back. */
  now(): number {
    return Math.floor(this.#originMs + this.#clock.monotonicMs());
  }
  /** A moment of this clock, as the wall clock shows it now. */
  wallTime(atMs: number): number {
    return atMs + this.#clock.now() - this.now();
  }
}

/** A clock that moves only when told: for tests, replay and the model checker. */
export class ManualClock implements Clock {
  #nowMs: number;
  #sleepers: { atMs: number; wake: () => void }[] = [];

  constructor(startMs = 0) {
    this.#nowMs = startMs;
  }
  now(): number {
    return this.#nowMs;
  }
  monotonicMs(): number {
    return this.#nowMs;
  }
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#sleepers.push({ atMs: this.#nowMs + ms, wake: resolve }));
  }
  /** Moves time on and wakes, in order, whoever slept until then. */
  advance(ms: number): void {
    this.#nowMs += ms;
    const due = this.#sleepers.filter((s) => s.atMs <= this.#nowMs).sort((a, b) => a.atMs - b.atMs);
    this.#sleepers = this.#sleepers.filter((s) => s.atMs > this.#nowMs);
    for (const sleeper of due) sleeper.wake();
  }
}
