import { formatIp } from '../../base/addresses.ts';
import type { LoadBalancer } from '../../model/objects.ts';
import { TCP_FLAG } from '../../packet/tcp.ts';
import { echoProbe, type ProbeAnswer, type ProbeEnds, tcpProbe, udpProbe } from './probe-frames.ts';

export type HealthCheck = NonNullable<LoadBalancer['health']>;

/** What to send, and whether the probe is decided. */
export interface ProbeStep {
  readonly send: readonly Uint8Array[];
  readonly isGood?: boolean;
}

/** As much of an answer as holds a status line. */
const STATUS_LINE_BYTES = 512;
const NOTHING: ProbeStep = { send: [] };

/**
 * One probe of one member, from its first frame to its verdict. TCP is spoken just far enough (RFC 9293 §3.5): the member's SYN is
 * answered with a reset, or with an HTTP request whose status line decides.
 */
export class Probe {
  readonly ends: ProbeEnds;
  readonly #check: HealthCheck;
  /** Next byte of ours, and of the member's. */
  #sequence: number;
  #expected: number | undefined;
  #answer = '';

  constructor(check: HealthCheck, ends: ProbeEnds, firstSequence: number) {
    this.#check = check;
    this.ends = ends;
    this.#sequence = firstSequence >>> 0;
  }

  start(): ProbeStep {
    switch (this.#check.type) {
      case 'tcp':
      case 'http':
        return { send: [this.#segment(TCP_FLAG.syn)] };
      case 'udp':
        return { send: [udpProbe(this.ends)] };
      case 'icmp':
        return { send: [echoProbe(this.ends)] };
    }
  }

  answered(answer: ProbeAnswer): ProbeStep {
    switch (this.#check.type) {
      case 'icmp':
        return answer.kind === 'echo' ? { send: [], isGood: true } : NOTHING;
      case 'udp':
        if (answer.kind === 'closed') return { send: [], isGood: false };
        return answer.kind === 'udp' ? { send: [], isGood: true } : NOTHING;
      case 'tcp':
      case 'http':
        return answer.kind === 'tcp' ? this.#segmentCame(answer) : NOTHING;
    }
  }

  /** No (further) answer in time. A UDP port that says nothing is open as far as anybody can tell. */
  timedOut(): ProbeStep {
    if (this.#check.type === 'udp') return { send: [], isGood: true };
    return { send: this.#expected === undefined ? [] : [this.#segment(TCP_FLAG.rst)], isGood: false };
  }

  #segmentCame({ header, payload }: Extract<ProbeAnswer, { kind: 'tcp' }>): ProbeStep {
    const { flags, sequence, acknowledgement } = header;
    if (this.#expected === undefined) {
      // Anything that does not acknowledge our SYN belongs to an earlier probe (RFC 9293 §3.10.7.3).
      if ((flags & TCP_FLAG.ack) === 0 || acknowledgement !== (this.#sequence + 1) >>> 0) return NOTHING;
      if ((flags & TCP_FLAG.rst) !== 0) return { send: [], isGood: false };
      if ((flags & TCP_FLAG.syn) === 0) return NOTHING;
      this.#sequence = (this.#sequence + 1) >>> 0;
      this.#expected = (sequence + 1) >>> 0;
      if (this.#check.type === 'tcp') return { send: [this.#segment(TCP_FLAG.rst)], isGood: true };
      return { send: [this.#request()] };
    }
    if ((flags & TCP_FLAG.rst) !== 0) return { send: [], isGood: false };
    // Out of order, or heard before: the member sends it again.
    if (sequence !== this.#expected || payload.length === 0) {
      if ((flags & TCP_FLAG.fin) === 0 || sequence !== this.#expected) return NOTHING;
      return { send: [this.#segment(TCP_FLAG.rst)], isGood: false };
    }
    this.#expected = (this.#expected + payload.length) >>> 0;
    this.#answer += Buffer.from(payload.subarray(0, STATUS_LINE_BYTES)).toString('latin1');
    const isGood = statusIsGood(this.#answer);
    if (isGood === undefined) return { send: [this.#segment(TCP_FLAG.ack)] };
    return { send: [this.#segment(TCP_FLAG.rst | TCP_FLAG.ack)], isGood };
  }

  /** RFC 9112 §2; the connection ends with the answer. */
  #request(): Uint8Array {
    const { ends } = this;
    const host = ends.dst.version === 4 ? formatIp(ends.dst) : `[${formatIp(ends.dst)}]`;
    const text = `GET ${this.#check.path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: weft-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n`;
    const payload = new TextEncoder().encode(text);
    const segment = this.#segment(TCP_FLAG.ack | TCP_FLAG.psh, payload);
    this.#sequence = (this.#sequence + payload.length) >>> 0;
    return segment;
  }

  #segment(flags: number, payload?: Uint8Array): Uint8Array {
    const isAcknowledged = this.#expected !== undefined && (flags & TCP_FLAG.syn) === 0;
    return tcpProbe(
      this.ends,
      {
        sequence: this.#sequence,
        acknowledgement: isAcknowledged ? this.#expected! : 0,
        flags: isAcknowledged ? flags | TCP_FLAG.ack : flags,
      },
      payload,
    );
  }
}

/** 2xx and 3xx are good (RFC 9110 §15); undefined while the line is not there as a whole. */
function statusIsGood(answer: string): boolean | undefined {
  const end = answer.indexOf('\n');
  if (end < 0 && answer.length < STATUS_LINE_BYTES) return undefined;
  return /^HTTP\/\d(?:\.\d)? [23]\d\d(?:\s|$)/.test(answer.slice(0, end < 0 ? undefined : end));
}
