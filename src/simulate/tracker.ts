import type { Ip } from '../base/addresses.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { type Connection, type Connections, type Found, type PortRange, tupleKey, type Zone } from './connections.ts';
import { type Frame, isIcmpError } from './frame.ts';
import { isIcmp, isQuery, type Tuple, tupleOf, turned } from './tuple.ts';

/** What conntrack says of a packet, as rules ask for it. */
export interface PacketState {
  readonly isNew: boolean;
  readonly isEstablished: boolean;
  readonly isReply: boolean;
  readonly isRelated: boolean;
  readonly isInvalid: boolean;
  /** Of the connection, before translation; absent for invalid packets. */
  readonly original?: Tuple;
  readonly mark: number;
}

export interface Tracked {
  readonly state: PacketState;
  /** As it is after translation. */
  readonly frame: Frame;
  /** Known, or just committed. */
  readonly connection?: Connection;
}

/** One end becomes this address, with this port or one of the ranges; without either the port stays where it is free. */
export interface Translation {
  readonly end: 'src' | 'dst';
  readonly address: Ip;
  readonly port?: number;
  readonly ranges?: readonly PortRange[];
}

const INVALID: PacketState = {
  isNew: false,
  isEstablished: false,
  isReply: false,
  isRelated: false,
  isInvalid: true,
  mark: 0,
};

/**
 * Connection tracking during one simulated packet: the given connections, and what the packet does to them. It follows Open vSwitch: a
 * connection is new until it is answered, TCP may be picked up in the middle (but not by SYN+ACK), an ICMP error is related to the connection of the packet that
 * it quotes. Not here: sequence windows, ageing, and the putting together of fragments (later ones are invalid by themselves).
 */
export class Tracker {
  readonly #given: Connections;
  /** By direction; `undefined`: the given connection is gone. */
  readonly #own = new Map<string, Found | undefined>();

  constructor(given: Connections) {
    this.#given = given;
  }

  /** Connections made or changed, as they are now. */
  changed(): Connection[] {
    return [...this.#own.values()].flatMap((found) => (found && !found.isReply ? [found.connection] : []));
  }

  /** Looks a packet up, translating it where its connection is translated in this zone. */
  look(zone: Zone, frame: Frame): Tracked {
    if (isIcmpError(frame)) return this.#lookError(zone, frame);
    const tuple = tupleOf(frame);
    if (!tuple || hasSenselessFlags(frame)) return { state: INVALID, frame };
    const found = this.#find(zone, tuple);
    if (found && !reopens(found.connection, frame)) return this.#known(found, frame);
    if (zone.startsWith('port:') && this.#given.assume === 'reply') {
      const state = { ...INVALID, isInvalid: false, isEstablished: true, isReply: true, original: turned(tuple) };
      return { state, frame };
    }
    const opens = isOpening(tuple, frame) || this.#given.assume === 'new';
    return { state: opens ? { ...INVALID, isInvalid: false, isNew: true, original: tuple } : INVALID, frame };
  }

  /**
   * Commits a packet that `look` called new, or marks the connection that it belongs to. Undefined where a translation finds no free port, and for packets
   * that no connection can begin with.
   */
  commit(zone: Zone, frame: Frame, mark: number, translation?: Translation): Tracked | undefined {
    const original = tupleOf(frame);
    if (!original) return undefined;
    const found = this.#find(zone, original);
    if (found && !reopens(found.connection, frame)) {
      this.#put({ ...found.connection, mark: found.connection.mark | mark });
      return this.look(zone, frame);
    }
    if (found) this.#remove(found.connection);
    const reply = translation ? this.#chooseReply(zone, original, translation) : turned(original);
    if (!reply) return undefined;
    const connection: Connection = {
      ...{ zone, original, reply, mark, answered: false, finished: 0 },
      ...(translation === undefined ? {} : { nat: translation.end }),
      ...(translation?.ranges === undefined ? {} : { ranges: translation.ranges }),
    };
    this.#put(connection);
    return {
      state: { ...INVALID, isInvalid: false, isNew: true, original, mark },
      frame: translated(frame, connection, false),
      connection,
    };
  }

  #find(zone: Zone, tuple: Tuple): Found | undefined {
    const key = tupleKey(zone, tuple);
    return this.#own.has(key) ? this.#own.get(key) : this.#given.find(zone, tuple);
  }

  #put(connection: Connection): void {
    this.#own.set(tupleKey(connection.zone, connection.reply), { connection, isReply: true });
    this.#own.set(tupleKey(connection.zone, connection.original), { connection, isReply: false });
  }

  #remove({ zone, original, reply }: Connection): void {
    this.#own.set(tupleKey(zone, reply), undefined);
    this.#own.set(tupleKey(zone, original), undefined);
  }

  #known({ connection: before, isReply }: Found, frame: Frame): Tracked {
    const flags = frame.tcpFlags ?? 0;
    const connection: Connection = {
      ...before,
      answered: before.answered || isReply,
      finished: flags & TCP_FLAG.rst ? 3 : before.finished | (flags & TCP_FLAG.fin ? (isReply ? 2 : 1) : 0),
    };
    if (connection.answered !== before.answered || connection.finished !== before.finished) this.#put(connection);
    const isEstablished = connection.answered || (frame.tcpFlags !== undefined && !isSyn(flags));
    const { original, mark } = connection;
    return {
      state: { ...INVALID, isInvalid: false, isNew: !isEstablished, isEstablished, isReply, original, mark },
      frame: translated(frame, connection, isReply),
      connection,
    };
  }

  #lookError(zone: Zone, frame: Frame): Tracked {
    // The error goes against the packet that it quotes.
    const found = frame.quoted && this.#find(zone, turned(frame.quoted));
    if (!found) return { state: INVALID, frame };
    const { connection, isReply } = found;
    const { original, mark } = connection;
    return {
      state: { ...INVALID, isInvalid: false, isRelated: true, isReply, original, mark },
      frame: translatedError(frame, connection, isReply),
      connection,
    };
  }

  #chooseReply(zone: Zone, original: Tuple, { end, address, port, ranges }: Translation): Tuple | undefined {
    const plain = turned(original);
    const base =
      end === 'src'
        ? { ...plain, dst: address }
        : { ...plain, src: address, ...(port === undefined ? {} : { srcPort: port }) };
    const isFree = (reply: Tuple): boolean => this.#find(zone, reply) === undefined;
    if (isIcmp(original.protocol) || original.srcPort === 0) return isFree(base) ? base : undefined;
    // A destination, and a source without ports of its own, may get any port of the class that the sender's is in.
    for (const range of ranges ?? [classOf(original.srcPort)])
      for (const dstPort of portsFrom(original.srcPort, range)) {
        const reply = { ...base, dstPort };
        if (isFree(reply)) return reply;
      }
    return undefined;
  }
}

function classOf(port: number): PortRange {
  if (port < 512) return { first: 1, last: 511 };
  return port < 1024 ? { first: 600, last: 1023 } : { first: 1024, last: 65_535 };
}

/** All ports of a range, from the wanted one on where it is in it. */
function* portsFrom(wanted: number, { first, last }: PortRange): Iterable<number> {
  const start = wanted >= first && wanted <= last ? wanted : first;
  for (let port = start; port <= last; port++) yield port;
  for (let port = first; port < start; port++) yield port;
}

function isSyn(flags: number): boolean {
  return (flags & (TCP_FLAG.syn | TCP_FLAG.ack)) === TCP_FLAG.syn;
}

function reopens(connection: Connection, { tcpFlags }: Frame): boolean {
  return tcpFlags !== undefined && connection.finished === 3 && isSyn(tcpFlags);
}

/** SYN with FIN or RST, neither SYN nor ACK nor RST, and FIN, PSH or URG without ACK: no sender means that. */
function hasSenselessFlags({ tcpFlags: flags }: Frame): boolean {
  if (flags === undefined) return false;
  const { fin, syn, rst, psh, ack, urg } = TCP_FLAG;
  if (flags & syn ? flags & (rst | fin) : !(flags & (ack | rst))) return true;
  return !(flags & ack) && (flags & (fin | psh | urg)) !== 0;
}

/** May a packet of no known connection begin one? */
function isOpening({ protocol, srcPort }: Tuple, { tcpFlags }: Frame): boolean {
  if (isIcmp(protocol)) return isQuery(protocol, srcPort);
  const synAck = TCP_FLAG.syn | TCP_FLAG.ack;
  return tcpFlags === undefined || (tcpFlags & synAck) !== synAck;
}

function translated(frame: Frame, { original, reply, nat }: Connection, isReply: boolean): Frame {
  if (nat === undefined || !frame.ip) return frame;
  const { src, dst, srcPort, dstPort } = ends(isReply ? original : reply);
  const ip = { ...frame.ip, src, dst };
  return frame.ports ? { ...frame, ip, ports: { src: srcPort, dst: dstPort } } : { ...frame, ip };
}

/** Of an error the translated end, and the packet that it quotes as its sender sent it. */
function translatedError(frame: Frame, { original, reply, nat }: Connection, isReply: boolean): Frame {
  if (nat === undefined || !frame.ip) return frame;
  const { src, dst } = ends(isReply ? original : reply);
  const ip = (nat === 'src') === isReply ? { ...frame.ip, dst } : { ...frame.ip, src };
  return { ...frame, ip, quoted: isReply ? original : reply };
}

/** Turned round by addresses and ports alone: ICMP types stay. */
function ends({ src, dst, srcPort, dstPort }: Tuple): Pick<Tuple, 'src' | 'dst' | 'srcPort' | 'dstPort'> {
  return { src: dst, dst: src, srcPort: dstPort, dstPort: srcPort };
}
