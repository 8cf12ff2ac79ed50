import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options: { readonly type: 'major'; readonly flavor: 'last-resort' }) => void;

/** Work of this many records or flows leaves garbage worth giving back. */
export const LARGE_CHANGE = 1_000;
const SETTLE_MS = 3_000;

/**
 * Gives memory back to the system some seconds after a burst of work. V8 keeps the pages of a large change for the next
 * one; a process that runs for months beside workloads should not. The collection takes some 50 ms.
 */
export class MemoryTrimmer {
  #timer: NodeJS.Timeout | undefined;
  #collect: Collect | undefined;

  /** Call after each piece of work with its size; the collection comes once there was none of size for a while. */
  worked(size: number): void {
    if (size < LARGE_CHANGE) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#trim(), SETTLE_MS).unref();
  }

  #trim(): void {
    this.#timer = undefined;
    if (!this.#collect) {
      setFlagsFromString('--expose-gc');
      this.#collect = runInNewContext('gc') as Collect;
    }
    this.#collect({ type: 'major', flavor: 'last-resort' });
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
