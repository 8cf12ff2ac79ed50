import type { Random } from '../../base/random.ts';

/** Between probes that are answered, while few hosts ask. */
export const STEADY_MS = 200;
/** After one that was not: three of these, and the host is lost. And until a host is known to live, or to live again, where few ask. */
const FAST_MS = 100;
const MISSES = 3;
/** Answers in a row after which a lost host is one again. */
const ANSWERS = 3;
/** Who is lost again within a minute after it came back has to answer for longer: this, and twice as long each time. */
const FLAPPING_MS = 60_000;
const FIRST_HOLD_MS = 1_000;
const LONGEST_HOLD_MS = 30_000;
/** A lost host of which only the kernel answers may have been started anew, without flows: its agent gets so long to say so. */
const AGENTLESS_MS = 60_000;
/** No host may ask for less. */
const LONGEST_INTERVAL_MS = 10_000;
/** Probes that one host sends in a second, however many it watches, while all of them answer. */
const PROBES_PER_SECOND = 2_000;
/** Who asks itself is waited for a little longer than until its next probe is due, so that of two one asks. */
const PATIENCE_MS = 50;
/** Probes of many hosts do not keep step. */
const JITTER = 10;

export interface WatchedHost {
  readonly host: string;
  readonly address: string;
}

/** To be sent now: a datagram, and where the last one was not answered by an agent a call that its kernel refuses if it lives. */
export interface DueProbe extends WatchedHost {
  readonly sequence: number;
  readonly withCall: boolean;
  /** Did its agent answer the last one? */
  readonly wasAnswered: boolean;
}

/** What answered a probe: the host's agent, or its kernel alone. */
export type Answer = { readonly intervalMs: number; readonly hasFlows: boolean } | 'kernel';

interface Watched extends WatchedHost {
  state: 'unknown' | 'alive' | 'lost';
  sequence: number;
  /** How often the host wants to be asked. */
  intervalMs: number;
  sentMs: number;
  dueMs: number;
  /** Who answered the last probe, so far. */
  answeredBy: 'agent' | 'kernel' | undefined;
  missed: number;
  /** In a row, of its agent, and with its flows in. */
  answers: number;
  /** The first of these. */
  answersSinceMs: number;
  /** The first answer in a row of its kernel alone. */
  agentlessSinceMs: number | undefined;
  cameBackMs: number;
  holdMs: number;
}

/**
 * Which of some hosts live, by probes (docs/design/liveness.md). Knows no socket and no clock: `tick` says what to send, the others are told
 * what came. Only probes that were sent count as missed, so a process that was held up for a while holds nobody for dead.
 */
export class HostWatch {
  readonly #watched = new Map<string, Watched>();
  readonly #byAddress = new Map<string, Watched>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** From now on these. What is known of those that stay holds. */
  watch(hosts: readonly WatchedHost[], nowMs: number): void {
    const wanted = new Set(hosts.map(({ host }) => host));
    for (const host of this.#watched.keys()) if (!wanted.has(host)) this.#watched.delete(host);
    this.#byAddress.clear();
    for (const { host, address } of hosts) {
      if (this.#watched.get(host)?.address === address) continue;
      this.#watched.set(host, {
        ...{ host, address, state: 'unknown', sequence: this.#random.u32(), intervalMs: STEADY_MS },
        ...{ sentMs: Number.NEGATIVE_INFINITY, dueMs: nowMs, answeredBy: 'agent' },
        ...{ missed: 0, answers: 0, answersSinceMs: nowMs, agentlessSinceMs: undefined },
        ...{ cameBackMs: Number.NEGATIVE_INFINITY, holdMs: 0 },
      });
    }
    for (const watched of this.#watched.values()) this.#byAddress.set(watched.address, watched);
  }

  /** What is due. Answers that have come by now have to be told before. */
  tick(nowMs: number): DueProbe[] {
    const due: DueProbe[] = [];
    for (const watched of this.#watched.values()) {
      if (watched.dueMs > nowMs) continue;
      if (watched.answeredBy === undefined) this.#miss(watched, nowMs);
      const withCall = watched.missed > 0 || watched.answeredBy === 'kernel';
      const wasAnswered = watched.answeredBy === 'agent';
      watched.answeredBy = undefined;
      watched.sentMs = nowMs;
      watched.dueMs = nowMs + (watched.state === 'lost' ? this.#interval(watched) : FAST_MS);
      watched.sequence = (watched.sequence + 1) >>> 0;
      due.push({ host: watched.host, address: watched.address, sequence: watched.sequence, withCall, wasAnswered });
    }
    return due;
  }

  #miss(watched: Watched, nowMs: number): void {
    watched.missed++;
    watched.answers = 0;
    watched.agentlessSinceMs = undefined;
    if (watched.state === 'lost' || watched.missed < MISSES) return;
    const isFlapping = nowMs - watched.cameBackMs < FLAPPING_MS;
    watched.holdMs = isFlapping ? Math.min(Math.max(2 * watched.holdMs, FIRST_HOLD_MS), LONGEST_HOLD_MS) : 0;
    watched.state = 'lost';
  }

  /** The host lives. One that was lost is back when its flows are in too; one that was not keeps them, whatever its agent does. */
  answered(host: string, by: Answer, nowMs: number): void {
    const watched = this.#watched.get(host);
    // An agent says more than a kernel, which the call may have reached as well.
    if (!watched || watched.answeredBy === 'agent' || watched.answeredBy === by) return;
    if (by !== 'kernel') watched.intervalMs = Math.min(Math.max(by.intervalMs, STEADY_MS), LONGEST_INTERVAL_MS);
    watched.answeredBy = by === 'kernel' ? by : 'agent';
    watched.missed = 0;
    if (watched.state === 'unknown') watched.state = 'alive';
    watched.dueMs = Math.max(nowMs, watched.sentMs + this.#interval(watched));
    if (by === 'kernel') watched.agentlessSinceMs ??= nowMs;
    else watched.agentlessSinceMs = undefined;
    if (by !== 'kernel' && !by.hasFlows) watched.answers = 0;
    if (by !== 'kernel' && by.hasFlows && watched.answers++ === 0) watched.answersSinceMs = nowMs;
    if (watched.state !== 'lost' || !this.#isBack(watched, nowMs)) return;
    watched.state = 'alive';
    watched.cameBackMs = nowMs;
  }

  #isBack({ answers, answersSinceMs, holdMs, agentlessSinceMs }: Watched, nowMs: number): boolean {
    if (agentlessSinceMs !== undefined) return nowMs - agentlessSinceMs >= Math.max(AGENTLESS_MS, holdMs);
    // With all others lost too, one that answers is better than none that does.
    return answers >= ANSWERS && (nowMs - answersSinceMs >= holdMs || this.#areAllLost());
  }

  /**
   * The host at this address, if it is watched, asks this one, is well and had its last answer: both ways work, so it need not be asked as long as
   * it goes on, where it would be asked as often as it asks.
   */
  asked(address: string, nowMs: number): void {
    const watched = this.#byAddress.get(address);
    if (watched?.state !== 'alive' || watched.answeredBy !== 'agent' || this.#shortest(watched) > STEADY_MS) return;
    watched.dueMs = Math.max(watched.dueMs, nowMs + STEADY_MS + PATIENCE_MS);
  }

  /** Somebody else gets no answer from the host at this address: asked at once, where the next probe would be far. */
  suspect(address: string, nowMs: number): void {
    const watched = this.#byAddress.get(address);
    if (watched?.state !== 'alive' || watched.answeredBy === undefined) return;
    watched.dueMs = Math.min(watched.dueMs, nowMs + this.#random.below(FAST_MS / 2));
  }

  #shortest({ intervalMs }: Watched): number {
    return Math.max(intervalMs, Math.ceil((this.#watched.size * 1000) / PROBES_PER_SECOND));
  }

  #interval(watched: Watched): number {
    const intervalMs = this.#shortest(watched);
    if (intervalMs === STEADY_MS) return watched.state === 'alive' ? STEADY_MS : FAST_MS;
    return intervalMs - this.#random.below(intervalMs / JITTER);
  }

  #areAllLost(): boolean {
    for (const { state } of this.#watched.values()) if (state !== 'lost') return false;
    return true;
  }

  /** Sorted. */
  get lost(): string[] {
    return [...this.#watched.values()].flatMap(({ host, state }) => (state === 'lost' ? [host] : [])).sort();
  }

  /** Of every host it is known whether it lives. */
  get isSettled(): boolean {
    for (const { state } of this.#watched.values()) if (state === 'unknown') return false;
    return true;
  }

  /** When to `tick` next. */
  get dueMs(): number {
    let due = Number.POSITIVE_INFINITY;
    for (const { dueMs } of this.#watched.values()) due = Math.min(due, dueMs);
    return due;
  }
}
