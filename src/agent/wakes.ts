import type { Effect } from './events.ts';

/** Has an agent's part woken when the first of what it watches is due, and asks for it once. */
export class Wakes {
  #atMs = Number.POSITIVE_INFINITY;

  /** Time has passed: what was asked for up to now has come. */
  passed(nowMs: number): void {
    if (nowMs >= this.#atMs) this.#atMs = Number.POSITIVE_INFINITY;
  }

  askFor(watched: Iterable<{ readonly dueMs: number }>, nowMs: number): Effect[] {
    let due = Number.POSITIVE_INFINITY;
    for (const { dueMs } of watched) due = Math.min(due, dueMs);
    if (due >= this.#atMs) return [];
    this.#atMs = due;
    return [{ kind: 'wake', inMs: Math.max(1, due - nowMs) }];
  }
}
