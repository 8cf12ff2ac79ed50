/** Since when each session is in its state. */
export class StateAges {
  readonly #known = new Map<string, { readonly state: string; readonly sinceMs: number }>();

  /** `knownMs`: since when, where somebody knows better than by looking. */
  since(session: string, state: string, nowMs: number, knownMs?: number): number {
    const before = this.#known.get(session);
    const sinceMs = knownMs ?? (before?.state === state ? before.sinceMs : nowMs);
    this.#known.set(session, { state, sinceMs });
    return sinceMs;
  }

  /** Of all others nothing is remembered. */
  keep(sessions: ReadonlySet<string>): void {
    for (const session of this.#known.keys()) if (!sessions.has(session)) this.#known.delete(session);
  }
}
