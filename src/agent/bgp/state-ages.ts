/** What is reckoned from whole seconds differs by so much from one time to the next. */
const ROUNDED_MS = 2_000;

/** Since when each session is in its state. */
export class StateAges {
  readonly #known = new Map<string, { readonly state: string; readonly sinceMs: number }>();

  /** `knownMs`: since when, where somebody knows better than by looking. */
  since(session: string, state: string, nowMs: number, knownMs?: number): number {
    const before = this.#known.get(session);
    const isAsBefore =
      before?.state === state && (knownMs === undefined || Math.abs(before.sinceMs - knownMs) < ROUNDED_MS);
    const sinceMs = isAsBefore ? before.sinceMs : (knownMs ?? nowMs);
    this.#known.set(session, { state, sinceMs });
    return sinceMs;
  }

  /** Of all others nothing is remembered. */
  keep(sessions: ReadonlySet<string>): void {
    for (const session of this.#known.keys()) if (!sessions.has(session)) this.#known.delete(session);
  }
}
