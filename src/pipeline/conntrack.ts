import { CT_ALG, type FieldValue, type Nat } from '../openflow/flow.ts';
import { type Expectation, Expectations, isReadBy } from './expectations.ts';
import { placeOf } from './layout.ts';
import { copyEnds, replies, translate } from './nat.ts';
import type { PacketState } from './packet-state.ts';
import { beginsTcp, TcpPeers } from './tcp-peers.ts';
import {
  beginsIcmp,
  fragmentId,
  LATER_FRAGMENT,
  PROTO,
  type Subject,
  subjectOf,
  type Tuple,
  tupleOf,
  turned,
} from './tuple.ts';

/** Bits of `ct_state` (`ovs-fields(7)`). */
export const CT_STATE = {
  new: 0x01,
  established: 0x02,
  related: 0x04,
  reply: 0x08,
  invalid: 0x10,
  tracked: 0x20,
  srcNat: 0x40,
  dstNat: 0x80,
} as const;
const TRANSLATED = CT_STATE.srcNat | CT_STATE.dstNat;

/** What a packet learns from the tracker. */
export interface Tracked {
  readonly state: number;
  readonly zone: number;
  readonly mark: number;
  readonly label: bigint;
  /** The connection's original direction, before translation; what was looked for, where none was found. */
  readonly original?: Tuple;
  /** What was found, where nothing was to be translated: the same zone looks no further (`process_one_fast`). */
  readonly known?: Known | undefined;
}

interface Known {
  readonly connection: Connection;
  readonly isReply: boolean;
  readonly isError: boolean;
}

export interface Connection {
  readonly zone: number;
  readonly original: Tuple;
  /** What answers look like: the original turned round and translated. */
  readonly reply: Tuple;
  readonly nat: 'src' | 'dst' | undefined;
  readonly peers: TcpPeers | undefined;
  /** The helper that reads it. */
  readonly alg: number | undefined;
  /** The connection on which a helper heard of this one: what packets are told is of that, the state aside. */
  readonly parent: Connection | undefined;
  mark: number;
  label: bigint;
  /** An answer was seen: the connection is established. Of TCP its peers say it. */
  answered: boolean;
}

export interface TrackRequest {
  readonly zone: number;
  readonly commit: boolean;
  readonly force: boolean;
  readonly nat: Nat | undefined;
  readonly alg?: number | undefined;
  readonly mark: { readonly value: number; readonly mask: number };
  readonly label: { readonly value: bigint; readonly mask: bigint };
}

interface Found {
  readonly connection: Connection;
  readonly isReply: boolean;
}

/** What came of a first fragment: the same comes of the later ones. */
interface FirstFragment {
  readonly tracked: Tracked;
  readonly src: FieldValue;
  readonly dst: FieldValue;
}

const TCP_FLAGS = placeOf('tcp_flags').word;
const IP_FRAG = placeOf('ip_frag').word;
/** How many packets of which the first fragment was seen are remembered. */
const MOST_FRAGMENTED = 1000;

/**
 * A connection tracker that decides as Open vSwitch's own does (`lib/conntrack.c`, 3.5: `process_one`): states new, established, related,
 * reply and invalid; zones, marks and labels; translation of sources and destinations with address and port ranges, inside ICMP errors
 * too. What a packet was told stays with it: in the same zone it is added to, and a packet that was translated there is looked up by what
 * its answers look like. Connections do not age; those closed by FIN or RST give way to a new SYN. Later fragments belong to the connection
 * of their first, which has to come before them (Open vSwitch holds fragments back until all are there: they come out the same, but none
 * where one is missing). Helpers (`alg`) read nothing here but that TFTP was asked for: what one of FTP would hear is said by `expect`. Not
 * modelled: TCP sequence windows, checksums and the chunks of SCTP (Open vSwitch calls what is wrong there invalid), and what it spoils of
 * ICMPv6 errors when it translates them.
 */
export class Conntrack {
  /** Newest first: an older connection may have the tuple of a newer one. */
  readonly #byTuple = new Map<string, readonly Found[]>();
  readonly #firstFragments = new Map<string, FirstFragment>();
  readonly #limits = new Map<number, number>();
  readonly #expected = new Expectations();

  /** Every connection once. */
  *connections(): Iterable<Connection> {
    for (const list of this.#byTuple.values())
      for (const { connection, isReply } of list) if (!isReply) yield connection;
  }

  /** A helper hears on this connection, in its reply direction or the other, that its sender waits for another one at this port. */
  expect(connection: Connection, isReply: boolean, port: number): void {
    if (connection.alg !== undefined) this.#expected.add(connection, isReply, port);
  }

  /** How many connections a zone may hold. Beyond that packets pass as new ones and none is made: the userspace datapath's way. */
  limit(zone: number, most: number): void {
    this.#limits.set(zone, most);
  }

  #isFull(zone: number): boolean {
    const most = this.#limits.get(zone);
    if (most === undefined) return false;
    let count = 0;
    for (const connection of this.connections()) if (connection.zone === zone) count++;
    return count >= most;
  }

  /** Forgets the connections of a zone, or all. */
  flush(zone?: number): void {
    for (const connection of [...this.connections()])
      if (zone === undefined || connection.zone === zone) this.#remove(connection);
  }

  #insert(connection: Connection): void {
    for (const isReply of [true, false]) {
      const key = keyOf(connection.zone, isReply ? connection.reply : connection.original);
      this.#byTuple.set(key, [{ connection, isReply }, ...(this.#byTuple.get(key) ?? [])]);
    }
  }

  #remove(connection: Connection): void {
    this.#expected.removeOf(connection);
    for (const tuple of [connection.original, connection.reply]) {
      const key = keyOf(connection.zone, tuple);
      const rest = this.#byTuple.get(key)?.filter((found) => found.connection !== connection) ?? [];
      if (rest.length > 0) this.#byTuple.set(key, rest);
      else this.#byTuple.delete(key);
    }
  }

  #find(zone: number, tuple: Tuple): Found | undefined {
    return this.#byTuple.get(keyOf(zone, tuple))?.[0];
  }

  /** Tracks a packet, which keeps what came of it; NAT rewrites it. */
  track(packet: PacketState, request: TrackRequest): Tracked {
    packet.tracked = this.#tracked(packet, request);
    return packet.tracked;
  }

  #tracked(packet: PacketState, request: TrackRequest): Tracked {
    const fragment = packet.key[IP_FRAG]!;
    if (fragment === 0) return this.#whole(packet, request);
    const key = fragmentKey(packet, request);
    const { v6 } = tupleOf(packet);
    if (fragment & LATER_FRAGMENT) {
      const first = this.#firstFragments.get(key);
      if (first) copyEnds(packet, v6, first);
      return first?.tracked ?? invalid(request.zone);
    }
    // Fragments were put together and taken apart again: none remembers the connection.
    const { known: _, ...tracked } = this.#whole(packet, request);
    const { src, dst } = tupleOf(packet);
    this.#firstFragments.set(key, { tracked, src, dst });
    const [oldest] = this.#firstFragments.keys();
    if (this.#firstFragments.size > MOST_FRAGMENTED) this.#firstFragments.delete(oldest!);
    return tracked;
  }

  #whole(packet: PacketState, request: TrackRequest): Tracked {
    const before = packet.tracked;
    const known = before?.known;
    if (known && known.connection.zone === request.zone && !request.force) return again(packet, request, before, known);
    const subject = subjectOf(packet);
    if (subject) return this.#anew(packet, request, subject);
    return { ...invalid(request.zone), ...(known ? { known } : {}) };
  }

  /** A packet that this zone has translated already is known by what its answers look like. */
  #anew(packet: PacketState, request: TrackRequest, { tuple, isError }: Subject): Tracked {
    const { zone, nat } = request;
    const before = packet.tracked?.zone === zone ? packet.tracked : undefined;
    let state = before?.state ?? 0;
    const found = state & TRANSLATED ? opposite(this.#find(zone, turned(tuple))) : this.#find(zone, tuple);
    const isReply = found?.isReply ?? false;
    const own = found && state & TRANSLATED ? tupleIn(found) : tuple;
    let connection: Connection | undefined = found?.connection;
    if (connection && request.force && isReply) {
      this.#remove(connection);
      connection = undefined;
    }
    const isKnown = connection !== undefined;
    if (!connection && !nat) connection = this.#byOriginal(before, tuple);
    let opens = !connection && !isError;
    if (connection) {
      const update = isError ? 'related' : updateOf(packet, connection, isReply);
      if (connection.parent) state |= CT_STATE.related;
      state = withUpdate(state, update, isReply);
      opens = update === 'reopens';
      if (opens) this.#remove(connection);
      else if (isKnown && nat) state |= translated(packet, connection, isReply, isError, state);
    } else if (isError) state = CT_STATE.invalid;
    let expected: Expectation | undefined;
    if (opens && !this.#find(zone, own)) {
      expected = this.#expected.find(zone, own);
      const begins = mayBegin(packet, own);
      state = begins ? CT_STATE.new | (expected ? CT_STATE.related : 0) : CT_STATE.invalid;
      connection = begins && request.commit ? this.#open(request, own, expected) : undefined;
      if (connection && nat) state |= translated(packet, connection, false, false, 0);
    }
    if (connection) setMarks(connection, request);
    // Of an error nothing is read: it is none of the helper's protocol.
    if (connection?.alg === CT_ALG.tftp && !isError)
      this.#expected.add(connection, isReply, connection.original.srcPort);
    const told = connection?.parent ?? connection ?? expected?.parent;
    return {
      state: state | CT_STATE.tracked,
      zone,
      mark: connection?.mark ?? expected?.parent.mark ?? 0,
      label: connection?.label ?? expected?.parent.label ?? 0n,
      original: told?.original ?? own,
      ...(connection && !nat ? { known: { connection, isReply, isError } } : {}),
    };
  }

  /** A packet that was translated here and then changed is still of the connection whose original it carries. */
  #byOriginal(before: Tracked | undefined, { v6, proto, id }: Tuple): Connection | undefined {
    const original = before?.original;
    if (!original?.proto || original.v6 !== v6 || !(before!.state & TRANSLATED)) return undefined;
    const ofIcmp = proto === (v6 ? PROTO.icmpv6 : PROTO.icmp);
    return this.#find(before!.zone, { ...original, id: ofIcmp ? id : 0 })?.connection;
  }

  /** Undefined where the zone is full, or every reply tuple that translation allows is taken. */
  #open({ zone, nat, alg: asked }: TrackRequest, original: Tuple, expected?: Expectation): Connection | undefined {
    if (this.#isFull(zone)) return undefined;
    const reply = !nat
      ? turned(original)
      : expected
        ? expected.replyTo(original)
        : this.#freeReply(zone, original, nat);
    if (!reply) return undefined;
    const peers = original.proto === PROTO.tcp ? new TcpPeers() : undefined;
    const { mark, label } = expected?.parent ?? { mark: 0, label: 0n };
    const connection: Connection = {
      ...{
        zone,
        original,
        reply,
        nat: nat && expected ? expected.nat : nat?.kind,
        peers,
        mark,
        label,
        answered: false,
      },
      alg: isReadBy(asked, original) ? asked : undefined,
      parent: expected?.parent,
    };
    this.#insert(connection);
    return connection;
  }

  #freeReply(zone: number, original: Tuple, nat: Nat): Tuple | undefined {
    for (const reply of replies(original, nat)) if (!this.#find(zone, reply)) return reply;
    return undefined;
  }
}

function invalid(zone: number): Tracked {
  return { state: CT_STATE.tracked | CT_STATE.invalid, zone, mark: 0, label: 0n };
}

function opposite(found: Found | undefined): Found | undefined {
  return found && { connection: found.connection, isReply: !found.isReply };
}

function tupleIn({ connection, isReply }: Found): Tuple {
  return isReply ? connection.reply : connection.original;
}

/** The state stays, whatever the packet looks like by now. */
function again(packet: PacketState, request: TrackRequest, before: Tracked, known: Known): Tracked {
  const { connection, isReply, isError } = known;
  const { known: _, ...rest } = before;
  const more = request.nat ? translated(packet, connection, isReply, isError, before.state) : 0;
  setMarks(connection, request);
  const { mark, label } = connection;
  const tracked = { ...rest, state: before.state | more, zone: request.zone, mark, label };
  return request.nat ? tracked : { ...tracked, known };
}

type Update = 'valid' | 'valid-new' | 'reopens' | 'invalid' | 'related';

/** What a packet is in its connection, which goes on by it. */
function updateOf(packet: PacketState, connection: Connection, isReply: boolean): Update {
  if (connection.peers) return connection.peers.update(packet.key[TCP_FLAGS]!, isReply);
  if (isReply) connection.answered = true;
  return connection.answered ? 'valid' : 'valid-new';
}

function withUpdate(state: number, update: Update, isReply: boolean): number {
  const direction = isReply ? CT_STATE.reply : 0;
  switch (update) {
    case 'related':
      return state | CT_STATE.related | direction;
    case 'valid':
      return (state & ~CT_STATE.new) | CT_STATE.established | direction;
    case 'valid-new':
      return state | CT_STATE.new;
    case 'invalid':
      return CT_STATE.invalid;
    case 'reopens':
      return state;
  }
}

/** Translates a packet, unless `state` says that it was already; the bits of `ct_state` that are to be added. */
function translated(
  packet: PacketState,
  connection: Connection,
  isReply: boolean,
  isError: boolean,
  state: number,
): number {
  const { original, reply, nat } = connection;
  if (!nat || state & TRANSLATED) return 0;
  const side = translate(packet, { original, reply, nat }, isReply, isError);
  return side === 'src' ? CT_STATE.srcNat : CT_STATE.dstNat;
}

/** Whether a packet of no known connection may begin one. */
function mayBegin(packet: PacketState, { proto }: Tuple): boolean {
  if (proto === PROTO.tcp) return beginsTcp(packet.key[TCP_FLAGS]!);
  return (proto !== PROTO.icmp && proto !== PROTO.icmpv6) || beginsIcmp(packet);
}

function keyOf(zone: number, t: Tuple): string {
  return `${zone}|${t.proto}|${t.src}|${t.dst}|${t.srcPort}|${t.dstPort}|${t.id}`;
}

/** Those of a connection that a helper let in stay its parent's. */
function setMarks(connection: Connection, { mark, label }: TrackRequest): void {
  if (connection.parent) return;
  connection.mark = ((connection.mark & ~mark.mask) | (mark.value & mark.mask)) >>> 0;
  connection.label = (connection.label & ~label.mask) | (label.value & label.mask);
}

/** The same for all fragments of a packet that meet the same action. */
function fragmentKey(packet: PacketState, { zone, commit, nat }: TrackRequest): string {
  const { src, dst } = tupleOf(packet);
  const before = packet.tracked;
  return `${src}|${dst}|${fragmentId(packet)}|${zone}|${commit}|${nat !== undefined}|${before?.zone}|${before?.state}`;
}
