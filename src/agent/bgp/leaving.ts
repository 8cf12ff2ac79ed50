/** Nothing may come in for so long. */
const QUIET_MS = 10_000;
/** Of what is no traffic (upstreams ask for MACs now and then) so many packets meanwhile are none. */
const STRAY_PACKETS = 3;

/**
 * A host is being drained: its upstreams have some time to send by others before it tells them nothing more (docs/design/gateways.md, §6), or
 * until they do.
 */
export class Leaving {
  readonly #sinceMs: number;
  /** Since nothing came in, and what had come in by then. */
  #quiet: { readonly packets: number; readonly sinceMs: number } | undefined;
  #isQuiet = false;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** So many packets of no session came in by the wires, ever. */
  counted(packets: number, nowMs: number): void {
    const quiet = this.#quiet;
    // Fewer than before: a flow was made anew.
    if (quiet === undefined || packets < quiet.packets || packets > quiet.packets + STRAY_PACKETS)
      this.#quiet = { packets, sinceMs: nowMs };
    else if (nowMs - quiet.sinceMs >= QUIET_MS) this.#isQuiet = true;
  }

  isOver(waitS: number, nowMs: number): boolean {
    return this.#isQuiet || nowMs - this.#sinceMs >= waitS * 1000;
  }
}
