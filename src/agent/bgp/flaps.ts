const WINDOW_MS = 60_000;
/** So often within a minute is no accident. */
const MANY = 3;

/** Sessions that go down again and again, whatever they are at the moment they are looked at. `nowMs`: by a clock that does not step. */
export class Flaps {
  /** Peer → what its counter of drops was, at most a minute ago and since. */
  readonly #seen = new Map<string, { readonly atMs: number; readonly drops: number }[]>();

  /** `drops`: how often the session went down so far. Returns how often within the last minute, where that is too often. */
  note(peer: string, drops: number, nowMs: number): number | undefined {
    const seen = this.#seen.get(peer) ?? [];
    this.#seen.set(peer, seen);
    // A bgpd that was started again counts anew.
    if (drops < (seen.at(-1)?.drops ?? 0)) seen.length = 0;
    if (seen.at(-1)?.drops !== drops) seen.push({ atMs: nowMs, drops });
    // The last that is older says what it was a minute ago.
    while (seen.length > 1 && nowMs - seen[1]!.atMs >= WINDOW_MS) seen.shift();
    const count = drops - seen[0]!.drops;
    return count >= MANY ? count : undefined;
  }

  keep(peers: ReadonlySet<string>): void {
    for (const peer of this.#seen.keys()) if (!peers.has(peer)) this.#seen.delete(peer);
  }
}
