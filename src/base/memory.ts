import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options: { readonly type: 'major'; readonly flavor: 'last-resort' }) => void;

/** Work of this many records or flows leaves garbage worth giving back. */
export const LARGE_CHANGE = 1_000;
const SETTLE_MS = 3_000;
/** V8 reads it at each collection of the young generation. `bin/weft` starts agents with it, as for most of their time the smallest is enough. */
const YOUNG_STAYS = '--semi-space-growth-factor=1';
const YOUNG_GROWS = '--semi-space-growth-factor=2';

/**
 * Gives memory back to the system some seconds after a burst of work. V8 keeps the pages of a large change for the next
 * one; a process that runs for months beside workloads should not. The collection takes some 50 ms.
 *
 * Where the young generation is held small it may grow during the burst: what a batch of 10,000 routes makes outlives a collection of 2 MB
 * twice, is taken for old, and dies right after.
 */
export class MemoryTrimmer {
  #timer: NodeJS.Timeout | undefined;
  #collect: Collect | undefined;
  readonly #isYoungHeld = process.execArgv.includes(YOUNG_STAYS);

  /** Call after each piece of work with its size; the collection comes once there was none of size for a while. */
  worked(size: number): void {
    if (size < LARGE_CHANGE) return;
    if (this.#isYoungHeld && !this.#timer) setFlagsFromString(YOUNG_GROWS);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#trim(), SETTLE_MS).unref();
  }

  #trim(): void {
    this.#timer = undefined;
    if (!this.#collect) {
      setFlagsFromString('--expose-gc');
      this.#collect = runInNewContext('gc') as Collect;
    }
    if (this.#isYoungHeld) setFlagsFromString(YOUNG_STAYS);
    this.#collect({ type: 'major', flavor: 'last-resort' });
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
