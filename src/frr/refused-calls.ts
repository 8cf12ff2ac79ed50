/** Whoever calls does so again within two minutes (RFC 4271 §8, ConnectRetryTime): who has not is refused no more. */
const FORGET_MS = 120_000;
/** FRR's log of a notification that answered an OPEN (code 2): `%NOTIFICATION: sent to neighbor 192.0.2.1 2/2 (OPEN Message Error/Bad Peer AS) 2 bytes`. */
const REFUSAL =
  /^\S+ \S+ BGP: (?:\[[^\]]*\])* %NOTIFICATION(?:\([^)]*\))?: sent to neighbor ([0-9a-f.:]+)\S* 2\/(\d+) /gm;

/** `code`: of the notification, `0202` and the like. `atMs`: by a clock that does not step. */
export interface Refusal {
  readonly code: string;
  readonly atMs: number;
}

/**
 * Peers that call, and whose OPEN bgpd refuses. It holds them for strangers until it has read that, and forgets them then: nothing of it is in
 * what it says of its neighbors, only in its log.
 */
export class RefusedCalls {
  /** By address. */
  readonly #refused = new Map<string, Refusal>();

  /** `text`: what was logged since the last look; `letIn`: whose session is up now. Gives the notifications, by address. */
  look(text: string, letIn: readonly string[], nowMs: number): ReadonlyMap<string, Refusal> {
    for (const [, address, subcode] of text.matchAll(REFUSAL))
      this.#refused.set(address!, { code: `02${Number(subcode).toString(16).padStart(2, '0')}`, atMs: nowMs });
    for (const address of letIn) this.#refused.delete(address);
    for (const [address, { atMs }] of this.#refused) if (nowMs - atMs >= FORGET_MS) this.#refused.delete(address);
    return this.#refused;
  }
}
