import type { MovedConnection } from '../../model/moved-connections.ts';
import { translatesTo } from '../../model/snat.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import type { Scope } from '../scope.ts';

/** The connection that an entry of a router's zone is, if its outside port is of an SNAT address and not in the lease of this host: another has that. */
export function foreignPort(
  scope: Pick<Scope, 'get'>,
  host: string | undefined,
  { owner, kind, protocol, original, reply }: ConnectionEntry,
): MovedConnection | undefined {
  if (kind !== 'own' || (protocol !== 'tcp' && protocol !== 'udp')) return undefined;
  const { address, port } = reply.to;
  if (port === undefined || reply.from.port === undefined || address === original.from.address) return undefined;
  if (!translatesTo(scope.get('router', owner), address)) return undefined;
  const blocks = scope.get('natLease', `${owner}/${address}/${host}`)?.blocks ?? [];
  if (blocks.some(({ first, size }) => port >= first && port < first + size)) return undefined;
  return { protocol, port, remote: reply.from.address, remotePort: reply.from.port };
}
