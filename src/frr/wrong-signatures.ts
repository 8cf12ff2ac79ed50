/** Who calls waits twice as long each time, up to two minutes (RFC 6298 §5.7; ConnectRetryTime of RFC 4271 §8): who has not is heard no more. */
const FORGET_MS = 120_000;

/**
 * Peers that may be the ones whose segments the kernel drops for their TCP MD5 signature. It counts them for all of the namespace together, so each
 * peer that is not up when it has dropped one is suspected, until it is up.
 */
export class WrongSignatures {
  #count: number | undefined;
  /** When it was seen last, by address. */
  readonly #suspects = new Map<string, number>();

  /** `count`: by now, undefined where it cannot be read; `peers`: all that there are. Gives the suspects' addresses. */
  look(
    count: number | undefined,
    peers: readonly { readonly address: string; readonly established: boolean }[],
    nowMs: number,
  ): ReadonlySet<string> {
    const down = new Set(peers.flatMap(({ address, established }) => (established ? [] : [address])));
    // What was counted before the first look is old.
    if (count !== undefined && count > (this.#count ?? count))
      for (const address of down) this.#suspects.set(address, nowMs);
    this.#count = count ?? this.#count;
    for (const [address, atMs] of this.#suspects)
      if (!down.has(address) || nowMs - atMs >= FORGET_MS) this.#suspects.delete(address);
    return new Set(this.#suspects.keys());
  }
}
