import { CT_MARK } from '../../compile/fields.ts';
import type { Connection } from '../../flow-database/flow-store.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';

/** States in which it is not worth while; whether both sides have closed is not told. */
const PAST: ReadonlySet<string> = new Set([
  'time-wait',
  'closed',
  'close',
  'last-ack',
  'closing',
  'fin-wait-2',
  'fin-wait',
]);

/**
 * The entries that a connection had in the zones of its host, from what the flow database was told of it (join.ts the other way round). None for
 * ICMP, whose ids are not told.
 */
export function entriesOfTold(connection: Connection): ConnectionEntry[] {
  const { port, direction, protocol, from, to, seenAs, asked, router, state } = connection;
  if ((state !== undefined && PAST.has(state)) || from.port === undefined || to.port === undefined) return [];
  const common = { protocol, ...(state === undefined ? {} : { state }) };
  // A router has translated one of both; what is left is a VIP's.
  const isVip = asked !== undefined && (router === undefined || seenAs !== undefined);
  const vipMark = direction === 'out' ? CT_MARK.viaVip : CT_MARK.memberVip;
  const entries: ConnectionEntry[] = [
    {
      ...{ owner: port, kind: 'own', ...common, mark: CT_MARK.kept | (isVip ? vipMark : 0) },
      ...{ original: { from, to }, reply: { from: to, to: from } },
    },
  ];
  const called = asked && { original: { from, to: asked }, reply: { from: to, to: from } };
  if (isVip && called) entries.push({ owner: port, kind: 'vip', ...common, ...called });
  if (router === undefined) return entries;
  if (seenAs)
    entries.push({
      ...{ owner: router, kind: 'own', ...common },
      ...{ original: { from, to }, reply: { from: to, to: seenAs } },
    });
  else if (called) entries.push({ owner: router, kind: 'own', ...common, ...called });
  return entries;
}
