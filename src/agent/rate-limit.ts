/** Senders whose accounts are remembered: who is forgotten starts with a full one. */
const REMEMBERED = 4096;

/** A token bucket for each sender and one for all together. What goes beyond is not done, and costs nobody else. */
export class RateLimit {
  readonly #perSender: Rate;
  readonly #all: { rate: Rate; account: Account };
  readonly #accounts = new Map<string, Account>();

  constructor(perSender: Rate, all: Rate) {
    this.#perSender = perSender;
    this.#all = { rate: all, account: { tokens: all.burst, atMs: 0 } };
  }

  /** May this sender cause one more now? `rate`: where it is another than that of all others. */
  take(sender: string, nowMs: number, rate = this.#perSender): boolean {
    let account = this.#accounts.get(sender);
    if (account) this.#accounts.delete(sender);
    else account = { tokens: rate.burst, atMs: nowMs };
    this.#accounts.set(sender, account); // last again
    if (this.#accounts.size > REMEMBERED) this.#accounts.delete(this.#accounts.keys().next().value!);
    refill(account, rate, nowMs);
    refill(this.#all.account, this.#all.rate, nowMs);
    if (account.tokens < 1 || this.#all.account.tokens < 1) return false;
    account.tokens--;
    this.#all.account.tokens--;
    return true;
  }
}

export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

interface Account {
  tokens: number;
  atMs: number;
}

function refill(account: Account, { perSecond, burst }: Rate, nowMs: number): void {
  const sinceMs = Math.max(0, nowMs - account.atMs);
  account.tokens = Math.min(burst, account.tokens + (sinceMs / 1000) * perSecond);
  account.atMs = nowMs;
}
