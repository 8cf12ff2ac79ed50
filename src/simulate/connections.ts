import type { Helper, PortRange } from '../model/texts.ts';
import { keyOfTuple, sameIp, type Tuple } from './tuple.ts';

/**
 * Connections as conntrack knows them, by zone: given to a simulation as the state that it begins with, and what it gives back.
 *
 * Zones are words here (a switch has numbers for them):
 *
 *     port:<port id>@<host>       the filter of a tracked port, where its interface is (of one that moves: on both hosts)
 *     vip:<port id>@<host>        translation of virtual addresses, at the client or, from outside, at the member
 *     self:<port id>@<host>       the second translation where a member calls its own VIP
 *     router:<router id>@<host>   floating addresses and SNAT of a router on one host
 */
export type Zone = `port:${string}` | `vip:${string}` | `self:${string}` | `router:${string}`;

export interface Connection {
  readonly zone: Zone;
  /** The direction that began it, before translation. */
  readonly original: Tuple;
  /** What answers look like: the original turned round, and translated. */
  readonly reply: Tuple;
  /** Which end is translated. */
  readonly nat?: 'src' | 'dst';
  /** Of a source translated to leased ports: where the switch may have found one. `reply.dstPort` is the first that was free, the sender's own where it is in a range. */
  readonly ranges?: readonly PortRange[];
  /** Of a port's zone. 1: it came to its destination through a VIP, chosen here; 2: through a VIP from outside, translated here. */
  readonly mark: number;
  /** An answer was seen; of TCP more than a SYN alone, by which the other end opens too. */
  readonly answered: boolean;
  /** Of TCP, what was seen of the end that did not begin: nothing, something, something that the other one has acknowledged. */
  readonly called: 'silent' | 'speaks' | 'heard';
  /** Of TCP: which directions have ended, and of which the other end has acknowledged that (`FINISHED`). */
  readonly finished: number;
  /** Who reads it, and of a port's zone which rules of the port that is for: `egress` where the port began it. */
  readonly helper?: Helper;
  readonly judged?: 'ingress' | 'egress';
  /** The control connection on which a helper heard of this one. */
  readonly parent?: Connection;
}

/** What a helper has heard on a connection, in its reply direction or the other: the sender waits for another connection at this port. */
export interface Expected {
  readonly parent: Connection;
  readonly isReply: boolean;
  readonly port: number;
}

/** A connection of which both ends are acknowledged, as after a reset, gives way to the next SYN. */
export const FINISHED = { original: 1, reply: 2, originalHeard: 4, replyHeard: 8, all: 15 } as const;

export const MARK = { viaVip: 1, vipFromOutside: 2 } as const;

/** What is taken for known of connections that are not given. */
export type Assumption = 'new' | 'reply';

export interface Found {
  readonly connection: Connection;
  /** Is the packet one of the reply direction? */
  readonly isReply: boolean;
}

/** An immutable set of connections, looked up by either direction. */
export class Connections {
  readonly #byTuple: ReadonlyMap<string, Found>;
  /**
   * Of packets that no given connection fits: `new`: each begins one, also in the middle of a TCP connection; `reply`: each answers one that
   * was accepted, without translation. Absent: what conntrack does, which calls invalid what can begin nothing. Only for the zones of ports.
   */
  readonly assume: Assumption | undefined;
  readonly expected: readonly Expected[];

  constructor(connections: Iterable<Connection> = [], assume?: Assumption, expected: readonly Expected[] = []) {
    const byTuple = new Map<string, Found>();
    for (const connection of connections) {
      byTuple.set(tupleKey(connection.zone, connection.reply), { connection, isReply: true });
      byTuple.set(tupleKey(connection.zone, connection.original), { connection, isReply: false });
    }
    this.#byTuple = byTuple;
    this.assume = assume;
    this.expected = expected;
  }

  find(zone: Zone, tuple: Tuple): Found | undefined {
    return this.#byTuple.get(tupleKey(zone, tuple));
  }

  /** Each once. */
  *[Symbol.iterator](): Iterator<Connection> {
    for (const { connection, isReply } of this.#byTuple.values()) if (!isReply) yield connection;
  }

  /** These and the others; one with the zone and the original direction of a known one takes its place. */
  with(changed: Iterable<Connection>): Connections {
    const all = new Map<string, Connection>();
    for (const each of [...this, ...changed]) all.set(tupleKey(each.zone, each.original), each);
    return new Connections(all.values(), this.assume, this.expected);
  }

  /** These, and what helpers have heard: on connections without one nobody listens. */
  expecting(...heard: readonly Expected[]): Connections {
    return new Connections(this, this.assume, [...this.expected, ...heard.filter(({ parent }) => parent.helper)]);
  }
}

/** Is a connection that begins so what a helper in that zone expects? From any port of one end to the port of the other. */
export function isExpected({ parent, isReply, port }: Expected, zone: Zone, tuple: Tuple): boolean {
  const from = isReply ? parent.original : parent.reply;
  return (
    parent.zone === zone &&
    from.protocol === tuple.protocol &&
    sameIp(from.src, tuple.src) &&
    sameIp(from.dst, tuple.dst) &&
    port === tuple.dstPort
  );
}

export function tupleKey(zone: Zone, tuple: Tuple): string {
  return `${zone} ${keyOfTuple(tuple)}`;
}
