import type { ConnectionEntry } from '../../server/protocol.ts';
import { tupleText } from '../connections/dump.ts';

/**
 * Of entries, the oldest first, the newest: about so many, each with what other zones know of the same connection, without which it is of little use. In
 * the order in which they came.
 */
export function newestOf(entries: readonly ConnectionEntry[], most: number): readonly ConnectionEntry[] {
  if (entries.length <= most) return entries;
  // What one connection has in several zones shares one of its two tuples (connections/of-port.ts).
  const byTuple = new Map<string, number[]>();
  const texts = entries.map(({ protocol, original, reply }) => [
    `original ${tupleText(protocol, original)}`,
    `reply ${tupleText(protocol, reply)}`,
  ]);
  for (const [n, both] of texts.entries())
    for (const text of both) {
      const others = byTuple.get(text);
      if (others) others.push(n);
      else byTuple.set(text, [n]);
    }
  const taken = new Set<number>();
  for (let n = entries.length - 1; n >= 0 && taken.size < most; n--) {
    if (taken.has(n)) continue;
    const connection = new Set([n, ...texts[n]!.flatMap((text) => byTuple.get(text)!)]);
    if (taken.size > 0 && taken.size + connection.size > most) break;
    for (const each of connection) taken.add(each);
  }
  return entries.filter((_, n) => taken.has(n));
}
