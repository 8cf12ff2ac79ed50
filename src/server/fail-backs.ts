/** After a second failure a place has to be well for so long before it is gone back to, after each further one twice as long. */
const FIRST_HOLD_MS = 4_000;
const LONGEST_HOLD_MS = 300_000;
/** Who was well for so long has not failed before. */
const QUIET_MS = 600_000;
/** So long gateways are looked at once more behind the end of a hold. */
const DUE_MS = 10_000;

interface Place {
  isWell: boolean;
  sinceMs: number;
  failures: number;
  /** The hold that people were told of. */
  toldMs: number;
}

/**
 * How often places of L2 gateways and VTEP bindings failed lately, and how long each has to be well therefore before a gateway that is well where it
 * is goes back to it (docs/design/l2-gateways.md, §2). The first time that is not held up. Times by the clock that does not step.
 */
export class FailBacks {
  readonly #places = new Map<string, Map<string, Place>>();

  /** What the place is now. */
  look(gateway: string, host: string, isWell: boolean, nowMs: number): void {
    const places = this.#places.get(gateway) ?? new Map<string, Place>();
    this.#places.set(gateway, places);
    const place = places.get(host) ?? { isWell, sinceMs: nowMs, failures: 0, toldMs: 0 };
    places.set(host, place);
    if (place.isWell === isWell) return;
    if (!isWell && nowMs - place.sinceMs >= QUIET_MS) [place.failures, place.toldMs] = [0, 0];
    if (!isWell) place.failures++;
    place.isWell = isWell;
    place.sinceMs = nowMs;
  }

  /** How long it has to be well before it is gone back to. */
  holdMs(gateway: string, host: string): number {
    const failures = this.#places.get(gateway)?.get(host)?.failures ?? 0;
    return failures < 2 ? 0 : Math.min(FIRST_HOLD_MS * 2 ** (failures - 2), LONGEST_HOLD_MS);
  }

  /** How much of that is left, from now on. */
  leftMs(gateway: string, host: string, nowMs: number): number {
    const place = this.#places.get(gateway)?.get(host);
    return place ? Math.max(0, this.holdMs(gateway, host) - (place.isWell ? nowMs - place.sinceMs : 0)) : 0;
  }

  /** Was nobody told of this hold yet? From now on it is told. */
  isNews(gateway: string, host: string): boolean {
    const place = this.#places.get(gateway)?.get(host);
    const holdMs = this.holdMs(gateway, host);
    if (!place || place.toldMs === holdMs) return false;
    place.toldMs = holdMs;
    return true;
  }

  /** Gateways with a place that is well and has to be for longer, or had to until a moment ago. */
  due(nowMs: number): readonly string[] {
    return [...this.#places].flatMap(([gateway, places]) =>
      [...places].some(([host, { isWell, sinceMs }]) => {
        const holdMs = this.holdMs(gateway, host);
        return isWell && holdMs > 0 && nowMs - sinceMs < holdMs + DUE_MS;
      })
        ? [gateway]
        : [],
    );
  }

  forget(gateway: string): void {
    this.#places.delete(gateway);
  }
}
