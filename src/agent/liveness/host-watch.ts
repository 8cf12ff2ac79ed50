import type { Random } from '../../base/random.ts';

/** Between probes while few hosts ask, and whenever a probe went unanswered: three of these, and the host is lost. */
export const FAST_MS = 100;
const MISSES = 3;
/** Answers in a row after which a lost host is one again. */
const ANSWERS = 3;
/** Who is lost again within a minute after it came back has to answer for longer: this, and twice as long each time. */
const FLAPPING_MS = 60_000;
const FIRST_HOLD_MS = 1_000;
const LONGEST_HOLD_MS = 30_000;
/** No host may ask for less. */
const LONGEST_INTERVAL_MS = 10_000;
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
}

interface Watched extends WatchedHost {
  state: 'unknown' | 'alive' | 'lost';
  sequence: number;
  /** How often the host wants to be asked. */
  intervalMs: number;
  sentMs: number;
  dueMs: number;
  isAnswered: boolean;
  /** Its kernel answered last, not its agent. */
  isAgentAway: boolean;
  missed: number;
  answers: number;
  /** The first of the answers in a row. */
  answersSinceMs: number;
  cameBackMs: number;
  holdMs: number;
}

/**
 * Which of some hosts live, by probes (docs/design/liveness.md). Knows no socket and no clock: `tick` says what to send, the others are told
 * what came. Only probes that were sent count as missed, so a process that was held up for a while holds nobody for dead.
 */
export class HostWatch {
  readonly #watched = new Map<string, Watched>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** From now on these. What is known of those that stay holds. */
  watch(hosts: readonly WatchedHost[], nowMs: number): void {
    const wanted = new Set(hosts.map(({ host }) => host));
    for (const host of this.#watched.keys()) if (!wanted.has(host)) this.#watched.delete(host);
    for (const { host, address } of hosts) {
      if (this.#watched.get(host)?.address === address) continue;
      this.#watched.set(host, {
        ...{ host, address, state: 'unknown', sequence: this.#random.u32(), intervalMs: FAST_MS },
        ...{ sentMs: Number.NEGATIVE_INFINITY, dueMs: nowMs, isAnswered: true, isAgentAway: false },
        ...{ missed: 0, answers: 0, answersSinceMs: nowMs, cameBackMs: Number.NEGATIVE_INFINITY, holdMs: 0 },
      });
    }
  }

  /** What is due. Answers that have come by now have to be told before. */
  tick(nowMs: number): DueProbe[] {
    const due: DueProbe[] = [];
    for (const watched of this.#watched.values()) {
      if (watched.dueMs > nowMs) continue;
      if (!watched.isAnswered) this.#miss(watched, nowMs);
      const withCall = watched.missed > 0 || watched.isAgentAway;
      watched.isAnswered = false;
      watched.sentMs = nowMs;
      watched.dueMs = nowMs + (watched.state === 'lost' ? this.#interval(watched) : FAST_MS);
      watched.sequence = (watched.sequence + 1) >>> 0;
      due.push({ host: watched.host, address: watched.address, sequence: watched.sequence, withCall });
    }
    return due;
  }

  #miss(watched: Watched, nowMs: number): void {
    watched.missed++;
    watched.answers = 0;
    if (watched.state === 'lost' || watched.missed < MISSES) return;
    const isFlapping = nowMs - watched.cameBackMs < FLAPPING_MS;
    watched.holdMs = isFlapping ? Math.min(Math.max(2 * watched.holdMs, FIRST_HOLD_MS), LONGEST_HOLD_MS) : 0;
    watched.state = 'lost';
  }

  /** The host's agent answered, or its kernel: it lives. */
  answered(host: string, by: { readonly intervalMs: number } | 'kernel', nowMs: number): void {
    const watched = this.#watched.get(host);
    if (!watched) return;
    watched.isAgentAway = by === 'kernel';
    if (by !== 'kernel') watched.intervalMs = Math.min(Math.max(by.intervalMs, FAST_MS), LONGEST_INTERVAL_MS);
    watched.missed = 0;
    if (watched.isAnswered) return;
    watched.isAnswered = true;
    watched.dueMs = Math.max(nowMs, watched.sentMs + this.#interval(watched));
    if (watched.answers++ === 0) watched.answersSinceMs = nowMs;
    if (watched.state === 'unknown') watched.state = 'alive';
    if (watched.state !== 'lost' || watched.answers < ANSWERS) return;
    // With all others lost too, one that answers is better than none that does.
    if (nowMs - watched.answersSinceMs < watched.holdMs && !this.#areAllLost()) return;
    watched.state = 'alive';
    watched.cameBackMs = nowMs;
  }

  /** Somebody else gets no answer from the host at this address: asked at once, where the next probe would be far. */
  suspect(address: string, nowMs: number): void {
    for (const watched of this.#watched.values())
      if (watched.address === address && watched.state === 'alive' && watched.isAnswered)
        watched.dueMs = Math.min(watched.dueMs, nowMs + this.#random.below(FAST_MS / 2));
  }

  #interval({ intervalMs }: Watched): number {
    return intervalMs === FAST_MS ? FAST_MS : intervalMs - this.#random.below(intervalMs / JITTER);
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
