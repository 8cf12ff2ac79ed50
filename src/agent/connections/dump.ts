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

const LINE = /^([a-z0-9-]+),orig=\(([^)]*)\),reply=\(([^)]*)\)(,.*)?$/;
const ZONE = /,zone=(\d+)/;
const TIMEOUT = /,timeout=(\d+)/;
const STATUS = /,status=([A-Z_|]+)/;
const MARK = /,mark=(\d+)/;
const STATE = /,protoinfo=\((?:[^)]*,)?state(?:_orig)?=([A-Z0-9_]+)/;
/** What these have for ports are ports; of other protocols Open vSwitch prints zeros. */
const WITH_PORTS: ReadonlySet<string> = new Set(['tcp', 'udp', 'sctp', 'udplite', 'dccp']);

/** A line of the dump. Throws `DecodeError` (`bad-text`), with the offset in the line. An entry in no zone has zone 0. */
export function parseTracked(line: string): Tracked {
  const parts = LINE.exec(line);
  if (!parts) throw new DecodeError('bad-text', 0, 'conntrack entry');
  const [, protocol = '', original = '', reply = '', rest = ''] = parts;
  const offset = protocol.length + ',orig=('.length;
  const zone = Number(ZONE.exec(rest)?.[1] ?? 0);
  if (zone > 0xffff) throw new DecodeError('bad-text', line.length - rest.length, 'zone');
  const state = STATE.exec(rest)?.[1]?.toLowerCase().replaceAll('_', '-');
  const mark = Number(MARK.exec(rest)?.[1] ?? 0);
  if (mark > 0xffff_ffff) throw new DecodeError('bad-text', line.length - rest.length, 'mark');
  return {
    protocol,
    zone,
    original: parseTuple(protocol, original, offset),
    reply: parseTuple(protocol, reply, offset + original.length + '),reply=('.length),
    ...(state === undefined ? {} : { state }),
    ...(mark === 0 ? {} : { mark }),
    ...(state === undefined && isUnanswered(rest) ? { isUnanswered: true } : {}),
    ...(state !== undefined && isOver(state, rest) ? { isOver: true } : {}),
  };
}

function isOver(state: string, rest: string): boolean {
  return OVER.has(state) || (CLOSING.has(state) && Number(TIMEOUT.exec(rest)?.[1] ?? 0) <= LONGEST_OVER_S);
}

function isUnanswered(rest: string): boolean {
  const status = STATUS.exec(rest)?.[1];
  if (status !== undefined) return !status.includes('SEEN_REPLY');
  return Number(TIMEOUT.exec(rest)?.[1] ?? 0) > LONGEST_ANSWERED_S;
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

function parseTuple(protocol: string, text: string, offset: number): Tuple {
  const fields = new Map<string, string>();
  for (const item of text.split(',')) {
    const equals = item.indexOf('=');
    if (equals > 0) fields.set(item.slice(0, equals), item.slice(equals + 1));
  }
  const address = (name: string): string => {
    const canonical = canonicalAddress(fields.get(name) ?? '');
    if (canonical === undefined) throw new DecodeError('bad-text', offset, name);
    return canonical;
  };
  const number = (name: string, most = Number.MAX_SAFE_INTEGER): number | undefined => {
    const value = fields.get(name);
    if (value === undefined) return undefined;
    if (!/^\d{1,16}$/.test(value) || Number(value) > most) throw new DecodeError('bad-text', offset, name);
    return Number(value);
  };
  const end = (name: string, portName: string): Endpoint => {
    const port = WITH_PORTS.has(protocol) ? number(portName, 0xffff) : undefined;
    return { address: address(name), ...(port === undefined ? {} : { port }) };
  };
  const [icmpId, icmpType] = [number('id', 0xffff), number('type', 0xff)];
  const [packets, bytes] = [number('packets'), number('bytes')];
  return {
    from: end('src', 'sport'),
    to: end('dst', 'dport'),
    ...(icmpId === undefined ? {} : { icmpId }),
    ...(icmpType === undefined ? {} : { icmpType }),
    ...(packets === undefined ? {} : { packets }),
    ...(bytes === undefined ? {} : { bytes }),
  };
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
