import { CT_ALG } from '../openflow/flow.ts';
import type { Connection } from './conntrack.ts';
import { PROTO, type Tuple, turned } from './tuple.ts';

/** A connection that a helper has heard of on another one, its parent: from any port of an end to one port of the other. */
export interface Expectation {
  readonly parent: Connection;
  /** What answers look like, where the zone translates: `expectation_create` of `lib/conntrack.c`. */
  replyTo(original: Tuple): Tuple;
  readonly nat: 'src' | 'dst';
}

/** Whether Open vSwitch keeps a helper with a connection of that protocol. */
export function isReadBy(alg: number | undefined, { proto }: Tuple): boolean {
  return (alg === CT_ALG.ftp && proto === PROTO.tcp) || (alg === CT_ALG.tftp && proto === PROTO.udp);
}

/** What helpers expect in all zones, as Open vSwitch's own do: until the connection that it was heard on ends. */
export class Expectations {
  readonly #byKey = new Map<string, Expectation>();

  /** Heard in the reply direction: the originator comes to this port; in the original one: the other end comes to it. */
  add(parent: Connection, isReply: boolean, port: number): void {
    const { original, reply, nat } = parent;
    const from = isReply ? original : reply;
    const key = keyOf(parent.zone, { ...from, dstPort: port });
    if (this.#byKey.has(key)) return;
    // Of a translated destination what comes back is turned, of a source (or none) what goes on.
    const target = nat === 'dst' ? (isReply ? 'src' : 'dst') : isReply ? 'dst' : 'src';
    const address = isReply ? (nat === 'dst' ? reply.src : reply.dst) : nat === 'dst' ? original.dst : original.src;
    this.#byKey.set(key, {
      parent,
      nat: target === 'dst' ? 'src' : 'dst',
      replyTo: (begun) => ({ ...turned(begun), [target]: address }),
    });
  }

  find(zone: number, tuple: Tuple): Expectation | undefined {
    return this.#byKey.size === 0 ? undefined : this.#byKey.get(keyOf(zone, tuple));
  }

  /** Its parent is gone. */
  removeOf(parent: Connection): void {
    for (const [key, expected] of this.#byKey) if (expected.parent === parent) this.#byKey.delete(key);
  }
}

function keyOf(zone: number, { v6, proto, src, dst, dstPort }: Tuple): string {
  return `${zone}|${v6}|${proto}|${src}|${dst}|${dstPort}`;
}
