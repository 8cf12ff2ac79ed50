import { PACKET_IN } from '../compile/tables.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import type { PacketIn } from './events.ts';

/** Sample keys remembered per port. */
const REMEMBERED = 64;

/**
 * Tells samples of a spray (ever other addresses) from those of a workload that is merely wrong (one address that is not
 * its own, a neighbour that is gone): only what was not seen lately counts.
 */
export class Novelty {
  readonly #seen = new Map<string, Set<string>>();

  isNew(port: string, key: string): boolean {
    let keys = this.#seen.get(port);
    if (!keys) {
      keys = new Set();
      this.#seen.set(port, keys);
    }
    const isKnown = keys.delete(key);
    keys.add(key); // last again
    if (keys.size > REMEMBERED) keys.delete(keys.values().next().value!);
    return !isKnown;
  }

  forget(port: string): void {
    this.#seen.delete(port);
  }
}

/** What a spray varies: the destination of a stray frame; sources (and what ARP and ND claim) of a guarded one. */
export function sampleKey({ class: wanted, frame }: PacketIn): string {
  const text = (from: number, to: number): string => Buffer.from(frame.subarray(from, to)).toString('latin1');
  if (wanted === PACKET_IN.stray) return text(0, 6);
  const source = text(6, 12);
  switch ((frame[12]! << 8) | frame[13]!) {
    case ETHER_TYPE.ipv4:
      return source + text(26, 30);
    case ETHER_TYPE.arp:
      return source + text(22, 32);
    case ETHER_TYPE.ipv6:
      // The target of neighbour discovery stands behind the ICMPv6 header; with other protocols these bytes are the payload.
      return source + text(22, 38) + (frame[20] === 58 ? text(62, 78) : '');
    default:
      return source;
  }
}
