import { parseIp } from '../base/addresses.ts';
import type { StoredConnection } from '../flow-database/flow-store.ts';
import { qualifiedName } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import { PROTOCOL_NAMES } from '../model/texts.ts';
import { allowingRule, helpingRule } from '../simulate/groups.ts';

/** What conntrack keeps of ICMP are queries: those of ping, as it tells no type. */
const ECHO = { icmp: 8, icmpv6: 128 } as const;

/**
 * Says of connections which rule of their port's security groups allows them, as the groups are now: `acme/web: https (tcp/443 from anywhere)`.
 * What a helper let in: `acme/files: related to ftp (tcp/21 from anywhere)`. Null: none does any more; undefined: the port has no groups, or is gone. Rules of chains decide by packets, not by connections.
 */
export function allowers(index: ModelIndex): (connection: StoredConnection) => string | null | undefined {
  const known = new Map<string, string | null | undefined>();
  return (connection) => {
    const { port, direction, protocol, from, to } = connection;
    const other = direction === 'out' ? to : from;
    const key = `${port} ${direction} ${protocol} ${other.address} ${to.port}`;
    if (!known.has(key)) known.set(key, ask(index, connection));
    return known.get(key);
  };
}

function ask(index: ModelIndex, connection: StoredConnection): string | null | undefined {
  const { direction, protocol, from, to } = connection;
  const port = index.get('port', connection.port);
  const [src, dst] = [parseIp(from.address), parseIp(to.address)];
  if (!port || port.groups.length === 0 || !src || !dst) return undefined;
  const number = PROTOCOL_NAMES[protocol as keyof typeof PROTOCOL_NAMES] ?? Number(protocol);
  const icmpType: number | undefined = ECHO[protocol as keyof typeof ECHO];
  const ports = { srcPort: icmpType ?? from.port ?? 0, dstPort: icmpType === undefined ? (to.port ?? 0) : 0 };
  const original = { version: src.version, protocol: number, src, dst, ...ports, id: 0 };
  const rule = allowingRule(index, port, direction === 'out' ? 'egress' : 'ingress', original);
  const helping = rule ? undefined : helpingRule(index, port, direction === 'out' ? dst : src, number);
  const found = rule ?? helping;
  if (!found) return null;
  const group = index.get('securityGroup', found.group);
  return `${group ? qualifiedName(index, group) : found.group}: ${helping ? 'related to ' : ''}${found.name}`;
}
