import { STEADY_MS } from './host-watch.ts';
import type { LivenessMessage } from './message.ts';

/** Probes that one host answers in a second, whatever the number of those who ask: of either sort. */
const PROBES_PER_SECOND = 2_000;
/** Who is counted; more are answered all the same. */
const MOST_ASKERS = 100_000;
/** An asker that let this many of its intervals pass is gone. */
const GONE_AFTER = 3;
const SWEEP_INTERVAL_MS = 1_000;

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

interface Asker extends Endpoint {
  readonly token: number;
  readonly isServing: boolean;
  readonly heardMs: number;
}

/**
 * Answers the probes of others, and tells them how often to come: the more there are the less. Those whom many ask themselves (gateways) are
 * counted apart: as long as they are few they come fast, are the first to notice when one of them is gone, and tell those who come seldom.
 */
export class EchoDesk {
  /** By address: a host has one agent. */
  readonly #askers = new Map<string, Asker>();
  #serving = 0;
  #sweptMs = Number.NEGATIVE_INFINITY;
  /** Are this host's flows in? Others wait for it with one that they lost. */
  hasFlows = false;

  /** The answer to a probe. */
  answer(probe: LivenessMessage & { readonly kind: 'probe' }, from: Endpoint, nowMs: number): LivenessMessage {
    if (nowMs - this.#sweptMs >= SWEEP_INTERVAL_MS) this.#sweep(nowMs);
    const { token, sequence, isServing } = probe;
    const before = this.#askers.get(from.address);
    if (before || this.#askers.size < MOST_ASKERS) {
      this.#serving += (isServing ? 1 : 0) - (before?.isServing ? 1 : 0);
      this.#askers.set(from.address, { ...from, token, isServing, heardMs: nowMs });
    }
    const { hasFlows } = this;
    const intervalMs = isServing ? this.#servingIntervalMs : this.intervalMs;
    return { kind: 'echo', token, sequence, intervalMs, hasFlows };
  }

  #sweep(nowMs: number): void {
    this.#sweptMs = nowMs;
    const goneMs = nowMs - GONE_AFTER * Math.max(this.intervalMs, this.#servingIntervalMs, SWEEP_INTERVAL_MS);
    for (const { address, isServing, heardMs } of this.#askers.values())
      if (heardMs < goneMs && this.#askers.delete(address)) this.#serving -= isServing ? 1 : 0;
  }

  /** For hosts that few ask. */
  get intervalMs(): number {
    return intervalOf(this.#askers.size - this.#serving);
  }

  get #servingIntervalMs(): number {
    return intervalOf(this.#serving);
  }

  /** Do more ask than could come as they would? */
  get isServing(): boolean {
    return intervalOf(this.#askers.size) > STEADY_MS;
  }

  /** Those who would not notice within a second by themselves. */
  *toWarn(): IterableIterator<Endpoint & { readonly token: number }> {
    const { intervalMs } = this;
    const servingMs = this.#servingIntervalMs;
    if (Math.max(intervalMs, servingMs) === STEADY_MS) return;
    for (const { address, port, token, isServing } of this.#askers.values())
      if ((isServing ? servingMs : intervalMs) > STEADY_MS) yield { address, port, token };
  }
}

function intervalOf(askers: number): number {
  return Math.max(STEADY_MS, Math.ceil((askers * 1000) / PROBES_PER_SECOND));
}
