/** Who is silent again within a minute after it came back has to answer for longer: this, and twice as long each time. */
const FLAPPING_MS = 60_000;
const FIRST_HOLD_MS = 1_000;
const LONGEST_HOLD_MS = 30_000;

export interface Thresholds {
  /** Unanswered in a row. */
  readonly failures: number;
  /** Answered in a row. */
  readonly recoveries: number;
}

/**
 * Whether a next hop is there, from its probes one by one (docs/design/gateways.md, §7). Going is told at once, coming back is held up more and
 * more while it flaps: a dozen changes in the first minute at most, then two in half a minute.
 */
export class Verdict {
  /** Undefined until it is known. */
  up: boolean | undefined;
  #misses = 0;
  #answers = 0;
  /** The first of the answers in a row. */
  #answersSinceMs = 0;
  #cameBackMs = Number.NEGATIVE_INFINITY;
  #holdMs = 0;

  constructor(known: boolean | undefined) {
    this.up = known;
  }

  /** No probe is missing an answer. */
  get isWell(): boolean {
    return this.#misses === 0;
  }

  /** One more probe was answered, or was not. Is the verdict another now? */
  take(isAnswered: boolean, nowMs: number, { failures, recoveries }: Thresholds): boolean {
    if (!isAnswered) {
      this.#misses++;
      this.#answers = 0;
      if (this.up === false || this.#misses < failures) return false;
      const isFlapping = nowMs - this.#cameBackMs < FLAPPING_MS;
      this.#holdMs = isFlapping ? Math.min(Math.max(2 * this.#holdMs, FIRST_HOLD_MS), LONGEST_HOLD_MS) : 0;
      this.up = false;
      return true;
    }
    this.#misses = 0;
    if (this.#answers++ === 0) this.#answersSinceMs = nowMs;
    if (this.up === true) return false;
    const isFirst = this.up === undefined;
    if (!isFirst && (this.#answers < recoveries || nowMs - this.#answersSinceMs < this.#holdMs)) return false;
    this.up = true;
    if (!isFirst) this.#cameBackMs = nowMs;
    return true;
  }

  /** Probes could not be sent: what was missing says nothing. */
  forgive(): void {
    this.#misses = 0;
  }
}
