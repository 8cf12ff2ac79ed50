import type { Ip } from '../base/addresses.ts';
import type { PortRange } from '../model/texts.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import {
  type Connection,
  type Connections,
  type Expected,
  FINISHED,
  type Found,
  isExpected,
  tupleKey,
  type Zone,
} from './connections.ts';
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
  /** Of what a helper reads or has let in, in a port's zone: which rules of the port's groups allowed it. */
  readonly judged?: 'ingress' | 'egress' | undefined;
}

export interface Tracked {
  readonly state: PacketState;
  /** As it is after translation. */
  readonly frame: Frame;
  /** Known, or just committed. */
  readonly connection?: Connection;
}

/** Who reads a connection that begins, and for which rules of the port. */
export type Reading = Pick<Connection, 'helper' | 'judged'>;

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
 * connection is new until it is answered, TCP may be picked up in the middle (but not by SYN+ACK), a SYN that comes against one that opens is
 * new and no reply, an ICMP error is related to the connection of the packet that it quotes. Not here: sequence windows, ageing, and the putting together of fragments (later ones are invalid by themselves).
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
    const expected = opens ? this.#expectedAs(zone, tuple) : undefined;
    if (expected)
      return {
        state: { ...INVALID, isInvalid: false, isNew: true, ...toldOf(expected.parent), isRelated: true },
        frame,
      };
    return { state: opens ? { ...INVALID, isInvalid: false, isNew: true, original: tuple } : INVALID, frame };
  }

  /**
   * Commits a packet that `look` called new, or marks the connection that it belongs to. Undefined where a translation finds no free port, and for packets
   * that no connection can begin with.
   */
  commit(
    zone: Zone,
    frame: Frame,
    mark: number,
    translation?: Translation,
    reading: Reading = {},
  ): Tracked | undefined {
    const original = tupleOf(frame);
    if (!original) return undefined;
    const found = this.#find(zone, original);
    if (found && !reopens(found.connection, frame)) {
      if (!found.connection.parent) this.#put({ ...found.connection, mark: found.connection.mark | mark });
      return this.look(zone, frame);
    }
    if (found) this.#remove(found.connection);
    const expected = this.#expectedAs(zone, original);
    const alike = translation && expected ? translatedAs(expected, original) : undefined;
    const reply = alike?.reply ?? (translation ? this.#chooseReply(zone, original, translation) : turned(original));
    if (!reply) return undefined;
    const connection: Connection = {
      ...{ zone, original, reply, mark: expected?.parent.mark ?? mark },
      ...{ answered: false, called: 'silent', finished: 0 },
      ...(translation === undefined ? {} : { nat: alike?.nat ?? translation.end }),
      ...(translation?.ranges === undefined ? {} : { ranges: translation.ranges }),
      ...(reading.helper === undefined ? {} : reading),
      ...(expected === undefined ? {} : { parent: expected.parent }),
    };
    this.#put(connection);
    return {
      state: { ...INVALID, isInvalid: false, isNew: true, ...toldOf(connection) },
      frame: translated(frame, connection, false),
      connection,
    };
  }

  #find(zone: Zone, tuple: Tuple): Found | undefined {
    const key = tupleKey(zone, tuple);
    return this.#own.has(key) ? this.#own.get(key) : this.#given.find(zone, tuple);
  }

  /** TFTP answers from a port of its own to the one that asked. */
  #expectedAs(zone: Zone, tuple: Tuple): Expected | undefined {
    for (const expected of this.#given.expected) if (isExpected(expected, zone, tuple)) return expected;
    const known = [...this.#given, ...this.changed()].filter(({ helper }) => helper === 'tftp');
    return known
      .map((parent) => ({ parent, isReply: false, port: parent.original.srcPort }))
      .find((expected) => isExpected(expected, zone, tuple));
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
    const connection = goneOn(before, isReply, frame);
    const { answered, called, finished } = connection;
    if (answered !== before.answered || called !== before.called || finished !== before.finished) this.#put(connection);
    const isNew = frame.tcpFlags === undefined ? !connection.answered : opens(before, isReply, frame.tcpFlags);
    const state = { ...INVALID, isInvalid: false, isNew, isEstablished: !isNew, isReply: isReply && !isNew };
    return {
      state: { ...state, ...toldOf(connection) },
      frame: translated(frame, connection, isReply),
      connection,
    };
  }

  #lookError(zone: Zone, frame: Frame): Tracked {
    // The error goes against the packet that it quotes.
    const found = frame.quoted && this.#find(zone, turned(frame.quoted));
    if (!found) return { state: INVALID, frame };
    const { connection, isReply } = found;
    return {
      state: { ...INVALID, isInvalid: false, isReply, ...toldOf(connection), isRelated: true },
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

/** What packets of a connection are told beside their state; those of a data connection are told of its control connection. */
function toldOf(connection: Connection): Pick<PacketState, 'original' | 'mark' | 'isRelated' | 'judged'> {
  const { original, judged } = connection.parent ?? connection;
  return { original, mark: connection.mark, isRelated: connection.parent !== undefined, judged };
}

/** A data connection is translated as its control connection is, its ports as they are. */
function translatedAs({ parent, isReply }: Expected, original: Tuple): Pick<Connection, 'reply' | 'nat'> {
  const plain = turned(original);
  const isDestination = parent.nat === 'dst';
  if (isDestination === isReply)
    return { nat: 'dst', reply: { ...plain, src: isReply ? parent.reply.src : parent.original.src } };
  return { nat: 'src', reply: { ...plain, dst: isReply ? parent.reply.dst : parent.original.dst } };
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

/** Is it a SYN alone of an end that the other has not acknowledged? Of the one that was called it is a try to open, too (RFC 9293 §3.5). */
function opens({ answered, called, finished }: Connection, isReply: boolean, flags: number): boolean {
  if (!isSyn(flags) || finished & (isReply ? FINISHED.reply : FINISHED.original)) return false;
  return isReply ? called !== 'heard' : !answered;
}

/** The connection as it is behind a packet of it. */
function goneOn(before: Connection, isReply: boolean, { tcpFlags: flags }: Frame): Connection {
  if (flags === undefined) return { ...before, answered: before.answered || isReply };
  const isHeard = !isReply && (flags & TCP_FLAG.ack) !== 0 && before.called === 'speaks';
  const speaks = isReply && before.called === 'silent' ? 'speaks' : before.called;
  return {
    ...before,
    answered: before.answered || (isReply && !isSyn(flags)),
    called: isHeard ? 'heard' : speaks,
    finished: finishedBy(before.finished, isReply, flags),
  };
}

function finishedBy(before: number, isReply: boolean, flags: number): number {
  if (flags & TCP_FLAG.rst) return FINISHED.all;
  const ends = flags & TCP_FLAG.fin ? (isReply ? FINISHED.reply : FINISHED.original) : 0;
  const [other, heard] = isReply ? [FINISHED.original, FINISHED.originalHeard] : [FINISHED.reply, FINISHED.replyHeard];
  return before | ends | (flags & TCP_FLAG.ack && before & other ? heard : 0);
}

function reopens(connection: Connection, { tcpFlags }: Frame): boolean {
  return tcpFlags !== undefined && connection.finished === FINISHED.all && isSyn(tcpFlags);
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
