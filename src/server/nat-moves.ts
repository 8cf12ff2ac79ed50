import type { Draft } from '../model/draft.ts';
import { MOST_MOVED } from '../model/moved-connections.ts';
import { translatesTo } from '../model/snat.ts';
import type { Report } from './protocol.ts';

/**
 * Connections that a workload took along to another host, whose outside ports are in the lease of the former one (docs/design/layer3.md, §7). Durable,
 * as leases are: connections go on over a restart of the server, and whatever becomes of the former host. They end when the workload's host
 * says so, or with the router, the rule, the port, or its last interface.
 */
export type MoveOutcome = 'held' | 'no-claim' | 'no-snat' | 'not-behind';

export const MOVE_REFUSALS: { readonly [O in MoveOutcome]: string } = {
  held: '',
  'no-claim': 'this host has no claim of the port',
  'no-snat': 'the router translates nothing to this address',
  'not-behind': 'the port is not behind the router',
};

/**
 * What the port's active host says replaces what is known of the port at this address; what another says that may become active is added to it: the connections
 * are not there yet. `isBehind`: does what is on this switch reach that router?
 */
export function setNatMove(
  draft: Draft,
  hostId: string,
  { router, address, port, connections }: Extract<Report, { type: 'natMove' }>,
  isBehind: (router: string, switchId: string) => boolean,
): MoveOutcome {
  const { index } = draft;
  const binding = index.bindingOf(port);
  if (!binding?.claims.some(({ host }) => host === hostId)) return 'no-claim';
  const id = `${router}/${address}/${port}`;
  const before = index.get('natMove', id)?.connections ?? [];
  const all = binding.active === hostId ? connections : [...new Set([...before, ...connections])].slice(0, MOST_MOVED);
  if (all.length === 0) {
    if (before.length > 0) draft.delete('natMove', id);
    return 'held';
  }
  const wanted = [...all].sort();
  if (wanted.join() === before.join()) return 'held';
  if (!translatesTo(index.get('router', router), address)) return 'no-snat';
  // Whoever has some port must not take ports of any router's address from those behind it.
  if (!isBehind(router, binding.switch)) return 'not-behind';
  draft.put({ kind: 'natMove', id, revision: 0, router, address, port, connections: wanted });
  return 'held';
}

/** Moves that lost what they are of go with the change that took it. */
export function dropOrphanedMoves(draft: Draft): void {
  const { index } = draft;
  for (const { kind, id, after } of draft.changes()) {
    if (kind === 'router') {
      const router = after?.kind === 'router' ? after : undefined;
      for (const move of [...index.natMovesOfRouter(id)])
        if (!translatesTo(router, move.address)) draft.delete('natMove', move.id);
    }
    const isBound = after?.kind === 'binding' && after.claims.length > 0;
    if ((kind === 'port' && !after) || (kind === 'binding' && !isBound))
      for (const move of [...index.natMovesOfPort(id)]) draft.delete('natMove', move.id);
  }
}
