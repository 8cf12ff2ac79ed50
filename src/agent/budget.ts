/**
 * How much of the agent's time one port may take. Packet-ins pass a meter of the switch before they come here; this is
 * the second fence: a port that goes on beyond its budget is shut off as a whole, by one flow, for a while that doubles
 * each time it starts again. It harms only itself.
 */
export interface BudgetLimits {
  readonly perSecond: number;
  readonly burst: number;
  readonly firstShutOffMs: number;
  readonly longestShutOffMs: number;
  readonly forgiveAfterMs: number;
}

export const BUDGET: BudgetLimits = {
  /** Packet-ins a second that a port may cause for long. */
  perSecond: 50,
  /** Beyond that, at once. */
  burst: 150,
  firstShutOffMs: 10_000,
  longestShutOffMs: 300_000,
  /** A port that was quiet for so long starts from the first length again. */
  forgiveAfterMs: 600_000,
};

interface Account {
  tokens: number;
  refilledMs: number;
  shutOffUntilMs: number;
  lengthMs: number;
}

export class Budgets {
  readonly #accounts = new Map<string, Account>();
  readonly #limits: BudgetLimits;

  constructor(limits = BUDGET) {
    this.#limits = limits;
  }

  /** Takes one packet-in of the port. `shut-off` exactly when this one exhausted the budget; `ignored` while it is shut off. */
  take(port: string, nowMs: number): 'ok' | 'shut-off' | 'ignored' {
    let account = this.#accounts.get(port);
    if (!account) {
      account = { tokens: this.#limits.burst, refilledMs: nowMs, shutOffUntilMs: 0, lengthMs: 0 };
      this.#accounts.set(port, account);
    }
    if (nowMs < untilMs(account, nowMs)) return 'ignored';
    account.tokens = Math.min(
      this.#limits.burst,
      account.tokens + (Math.max(0, nowMs - account.refilledMs) / 1000) * this.#limits.perSecond,
    );
    account.refilledMs = nowMs;
    if (account.tokens >= 1) {
      account.tokens -= 1;
      return 'ok';
    }
    const quietMs = nowMs - account.shutOffUntilMs;
    account.lengthMs =
      account.lengthMs === 0 || quietMs > this.#limits.forgiveAfterMs
        ? this.#limits.firstShutOffMs
        : Math.min(account.lengthMs * 2, this.#limits.longestShutOffMs);
    account.shutOffUntilMs = nowMs + account.lengthMs;
    account.tokens = this.#limits.burst;
    return 'shut-off';
  }

  /** Ports whose shut-off ended since the last call with an earlier time. */
  released(nowMs: number, shutOff: Iterable<string>): string[] {
    return [...shutOff].filter((port) => this.shutOffMs(port, nowMs) === 0);
  }

  shutOffMs(port: string, nowMs: number): number {
    const account = this.#accounts.get(port);
    return account ? Math.max(0, untilMs(account, nowMs) - nowMs) : 0;
  }

  forget(port: string): void {
    this.#accounts.delete(port);
  }
}

/** Until when it is shut off: no longer than it was to be, also where the clock went back since. */
function untilMs(account: Account, nowMs: number): number {
  account.shutOffUntilMs = Math.min(account.shutOffUntilMs, nowMs + account.lengthMs);
  return account.shutOffUntilMs;
}
