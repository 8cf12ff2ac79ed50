import { setImmediate as nextTurn } from 'node:timers/promises';
import { formatIp, parseIp } from '../../base/addresses.ts';
import { DecodeError } from '../../base/errors.ts';
import type { Endpoint } from '../../flow-database/flow-store.ts';

/** One direction of a tracked connection. ICMP has an id instead of ports, and a type. */
export interface Tuple {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly icmpId?: number;
  readonly icmpType?: number;
  readonly packets?: number;
  readonly bytes?: number;
}

/** An entry of connection tracking, as a line of `dpctl/dump-conntrack -s` tells it. */
export interface Tracked {
  /** As Open vSwitch names it, or a number. */
  readonly protocol: string;
  readonly zone: number;
  readonly original: Tuple;
  readonly reply: Tuple;
  /** Of TCP and SCTP: `established`, `time-wait`, … */
  readonly state?: string;
  /** `ct_mark`; absent: 0. */
  readonly mark?: number;
  /** Of other protocols: nobody has answered yet, as far as can be told. */
  readonly isUnanswered?: true;
  /** Of TCP: both sides have closed it, and it lives on only so that late packets are known. */
  readonly isOver?: true;
}

/** States of such connections. */
const OVER: ReadonlySet<string> = new Set(['time-wait', 'closed', 'close', 'last-ack', 'listen']);
/**
 * Open vSwitch's own tracker has a state for each side, and tells the one that is further. Where both have sent FIN it keeps the connection for so long at most;
 * for a quarter of an hour where one has (lib/conntrack-tcp.c, `tcp_conn_update`).
 */
const CLOSING: ReadonlySet<string> = new Set(['closing', 'fin-wait-2']);
const LONGEST_OVER_S = 45;

/**
 * Open vSwitch's own tracker keeps what was answered for 30 s, what was not for 60 s from its last packet (lib/conntrack-tp.c, `CT_DPIF_TP_ATTR_*`). The
 * kernel's says it.
 */
const LONGEST_ANSWERED_S = 30;

/** What these have for ports are ports; of other protocols Open vSwitch prints zeros. */
const WITH_PORTS: ReadonlySet<string> = new Set(['tcp', 'udp', 'sctp', 'udplite', 'dccp']);

const PROTOCOL = /^[a-z0-9-]+$/;
const STATE = /^[A-Z0-9_]+/;
const STATUS = /^[A-Z_|]+$/;
/** As here each state is called, of those that are common. */
const STATES: ReadonlyMap<string, string> = new Map(
  ['ESTABLISHED', 'TIME_WAIT', 'FIN_WAIT_2', 'CLOSING', 'SYN_SENT', 'SYN_RECV'].map((state) => [
    state,
    state.toLowerCase().replaceAll('_', '-'),
  ]),
);
const [ORIGINAL, REPLY] = [',orig=(', '),reply=('];

/**
 * A line of the dump. Throws `DecodeError` (`bad-text`), with the offset in the line. An entry in no zone has zone 0. A busy host has 100,000 of them
 * every few seconds: no expressions, and nothing is cut out that is not used.
 */
export function parseTracked(line: string): Tracked {
  const originalAt = line.indexOf(ORIGINAL);
  const replyAt = line.indexOf(REPLY, originalAt);
  const end = line.indexOf(')', replyAt + 1);
  const protocol = line.slice(0, Math.max(0, originalAt));
  const isWhole = replyAt > originalAt && end > 0 && (end + 1 === line.length || line[end + 1] === ',');
  if (!isWhole || !PROTOCOL.test(protocol)) throw new DecodeError('bad-text', 0, 'conntrack entry');
  const original = parseTuple(line, originalAt + ORIGINAL.length, replyAt, protocol);
  const tracked: Writable<Tracked> = {
    ...{ protocol, zone: 0, original },
    reply: parseTuple(line, replyAt + REPLY.length, end, protocol),
  };
  const fields = new Fields(line, end + 1, line.length);
  let [timeout, status] = [0, undefined as string | undefined];
  while (fields.next()) {
    if (fields.is('zone')) tracked.zone = fields.number(0xffff);
    else if (fields.is('timeout')) timeout = fields.number();
    else if (fields.is('mark')) {
      const mark = fields.number(0xffff_ffff);
      if (mark !== 0) tracked.mark = mark;
    } else if (fields.is('status')) status = STATUS.exec(fields.value)?.[0];
    else if (fields.is('protoinfo')) fields.enter();
    else if (tracked.state === undefined && (fields.is('state') || fields.is('state_orig'))) {
      const state = STATE.exec(fields.value)?.[0];
      if (state !== undefined) tracked.state = STATES.get(state) ?? state.toLowerCase().replaceAll('_', '-');
    }
  }
  const { state } = tracked;
  if (state === undefined) {
    if (status === undefined ? timeout > LONGEST_ANSWERED_S : !status.includes('SEEN_REPLY'))
      tracked.isUnanswered = true;
  } else if (OVER.has(state) || (CLOSING.has(state) && timeout <= LONGEST_OVER_S)) tracked.isOver = true;
  return tracked;
}

/** Lines between two turns of others. */
const SLICE = 250;

/** A whole dump, in slices; lines that are none are left out. */
export async function parseDump(text: string): Promise<Tracked[]> {
  const entries: Tracked[] = [];
  let lines = 0;
  for (const line of linesOf(text)) {
    if (++lines % SLICE === 0) await nextTurn();
    try {
      entries.push(parseTracked(line));
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }
  return entries;
}

/** Lines with something in them. */
export function* linesOf(text: string): Iterable<string> {
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at);
    const end = newline < 0 ? text.length : newline;
    if (end > at) yield text.slice(at, end);
    at = end + 1;
  }
}

function parseTuple(line: string, at: number, end: number, protocol: string): Tuple {
  const fields = new Fields(line, at, end);
  const hasPorts = WITH_PORTS.has(protocol);
  let [from, to] = ['', ''];
  let fromPort: number | undefined;
  let toPort: number | undefined;
  const more: Writable<Omit<Tuple, 'from' | 'to'>> = {};
  while (fields.next())
    if (fields.is('src')) from = fields.address();
    else if (fields.is('dst')) to = fields.address();
    else if (fields.is('sport')) fromPort = hasPorts ? fields.number(0xffff) : undefined;
    else if (fields.is('dport')) toPort = hasPorts ? fields.number(0xffff) : undefined;
    else if (fields.is('packets')) more.packets = fields.number();
    else if (fields.is('bytes')) more.bytes = fields.number();
    else if (fields.is('id')) more.icmpId = fields.number(0xffff);
    else if (fields.is('type')) more.icmpType = fields.number(0xff);
  if (from === '' || to === '') throw new DecodeError('bad-text', at, from === '' ? 'src' : 'dst');
  return { from: endpoint(from, fromPort), to: endpoint(to, toPort), ...more };
}

function endpoint(address: string, port: number | undefined): Endpoint {
  return port === undefined ? { address } : { address, port };
}

/** For whoever makes it, field by field. */
export type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

/** The fields of `name=value,name=value` in a part of a line, one after the other. Throws `DecodeError` at the value. */
class Fields {
  readonly #line: string;
  readonly #end: number;
  #next: number;
  #name = 0;
  #equals = 0;
  #stop = 0;

  constructor(line: string, at: number, end: number) {
    this.#line = line;
    this.#next = at;
    this.#end = end;
  }

  next(): boolean {
    while (this.#next < this.#end) {
      this.#name = this.#next;
      const comma = this.#line.indexOf(',', this.#name);
      this.#stop = comma < 0 || comma > this.#end ? this.#end : comma;
      this.#next = this.#stop + 1;
      this.#equals = this.#line.indexOf('=', this.#name);
      if (this.#equals > this.#name && this.#equals < this.#stop) return true;
    }
    return false;
  }

  is(name: string): boolean {
    return this.#equals - this.#name === name.length && this.#line.startsWith(name, this.#name);
  }

  /** The value is fields in brackets: they are the next ones. */
  enter(): void {
    if (this.#line[this.#equals + 1] === '(') this.#next = this.#equals + 2;
  }

  get value(): string {
    return this.#line.slice(this.#equals + 1, this.#stop);
  }

  address(): string {
    const canonical = canonicalAddress(this.value);
    if (canonical === undefined) throw this.#refused();
    return canonical;
  }

  number(most = Number.MAX_SAFE_INTEGER): number {
    let number = this.#equals + 1 < this.#stop ? 0 : Number.NaN;
    for (let at = this.#equals + 1; at < this.#stop; at++) {
      const digit = this.#line.charCodeAt(at) - 48;
      number = digit >= 0 && digit <= 9 ? number * 10 + digit : Number.NaN;
    }
    if (number <= most) return number;
    throw this.#refused();
  }

  #refused(): DecodeError {
    return new DecodeError('bad-text', this.#equals + 1, this.#line.slice(this.#name, this.#equals));
  }
}

/** A dump names few addresses many times. */
const canonical = new Map<string, string>();
const MOST_REMEMBERED = 10_000;

function canonicalAddress(text: string): string | undefined {
  const known = canonical.get(text);
  if (known !== undefined) return known;
  const ip = parseIp(text);
  if (ip === undefined) return undefined;
  if (canonical.size >= MOST_REMEMBERED) canonical.clear();
  const address = formatIp(ip);
  canonical.set(text, address);
  return address;
}

/** Text that two equal tuples of one protocol share. */
export function tupleText(protocol: string, { from, to, icmpId }: Tuple): string {
  return `${protocol} ${endText(from)} ${endText(to)}${icmpId === undefined ? '' : ` ${icmpId}`}`;
}

function endText({ address, port }: Endpoint): string {
  return port === undefined ? address : `${address}#${port}`;
}
