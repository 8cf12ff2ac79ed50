import { formatIp, type Ipv4, type Ipv6, parseIp } from '../../base/addresses.ts';
import { CT_MARK } from '../../compile/fields.ts';
import { ZONE_KIND } from '../../compile/translation.ts';
import type { Endpoint } from '../../flow-database/flow-store.ts';
import { listenerFor, memberPortFor } from '../../model/listener-ports.ts';
import type { LogicalPort, Router } from '../../model/objects.ts';
import { snatAddressFor } from '../../model/snat.ts';
import type { FieldValue, Masked, Match } from '../../openflow/flow.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import type { ConnectionEntry, EntryTuple } from '../../server/protocol.ts';
import { firstAddress, floatingOf } from '../floating.ts';
import type { Scope } from '../scope.ts';
import type { Zones } from '../zones.ts';

const PROTOCOLS: Readonly<Record<number, string>> = { [IP_PROTO.tcp]: 'tcp', [IP_PROTO.udp]: 'udp' };

/**
 * What connection tracking knows of the connection that a paused first reply is of (units/hold.ts). The packet-in says how the connection began and in
 * which zone; to what it was translated follows from the model, but for the source port that it was given, which is in the mark. Undefined where the
 * model knows no such translation any more.
 */
export function entryOfReply(metadata: Match, scope: Scope, zones: Zones): ConnectionEntry | undefined {
  const zone = numberOf(metadata.ct_zone);
  const owner = zones.ownerOf(zone);
  const base = owner === undefined ? undefined : zones.of(owner);
  const protocol = PROTOCOLS[numberOf(metadata.ct_nw_proto)];
  const original = originalOf(metadata);
  if (owner === undefined || base === undefined || protocol === undefined || !original) return undefined;
  const kind = zone - base === ZONE_KIND.own ? 'own' : zone - base === ZONE_KIND.vip ? 'vip' : undefined;
  const mark = numberOf(metadata.ct_mark);
  const port = scope.port(owner);
  const router = scope.get('router', owner);
  const reply =
    port && kind === 'own'
      ? { from: original.to, to: original.from }
      : port && kind === 'vip'
        ? ofMember(scope, port, protocol, original)
        : router && kind === 'own'
          ? ofRouter(scope, router, original, mark >>> 16)
          : undefined;
  if (kind === undefined || !reply) return undefined;
  const state = protocol === 'tcp' ? { state: 'established' } : {};
  return { owner, kind, protocol, original, reply, ...state, mark: (mark | CT_MARK.copied) >>> 0 };
}

/** Began to a virtual address. */
function ofMember(scope: Scope, port: LogicalPort, protocol: string, { from, to }: EntryTuple): EntryTuple | undefined {
  const address = firstAddress(scope, port.id, to.address.includes(':') ? 6 : 4);
  for (const balancer of scope.all('loadBalancer')) {
    if (balancer.address !== to.address || !balancer.members.some((member) => member.port === port.id)) continue;
    const asked = to.port ?? 0;
    const listener = listenerFor(balancer.listeners, protocol, asked);
    if (listener && address !== undefined) return { from: { address, port: memberPortFor(listener, asked) }, to: from };
  }
  return undefined;
}

/** Began to a floating address; or inside, and left as a floating address or that of a rule. */
function ofRouter(scope: Scope, router: Router, { from, to }: EntryTuple, sourcePort: number): EntryTuple | undefined {
  for (const { floating, fixed } of floatingOf(scope, router.id)) {
    if (floating.address === to.address) return { from: { ...to, address: fixed }, to: from };
    if (fixed === from.address && sourcePort !== 0)
      return { from: to, to: { address: floating.address, port: sourcePort } };
  }
  const source = parseIp(from.address);
  const address = source && snatAddressFor(router, source);
  return address === undefined || sourcePort === 0 ? undefined : { from: to, to: { address, port: sourcePort } };
}

/** The port of an L2 gateway that an entry in a router's zone is of: by the address that it has outside. */
export function portOfEntry(scope: Scope, entry: ConnectionEntry): string | undefined {
  if (scope.port(entry.owner)) return entry.owner;
  const { original, reply } = entry;
  for (const { floating } of floatingOf(scope, entry.owner))
    if ([original.to.address, reply.to.address].includes(floating.address)) return floating.port;
  const { address, port = 0 } = reply.to;
  // By their names: of all leases there may be many thousands, and each first reply asks.
  for (const gateway of scope.all('l2Gateway')) {
    const lease = scope.get('natLease', `${entry.owner}/${address}/${gateway.port}`);
    if (lease?.blocks.some(({ first, size }) => port >= first && port < first + size)) return gateway.port;
  }
  return undefined;
}

function originalOf(metadata: Match): EntryTuple | undefined {
  const end = (v4: FieldValue | Masked | undefined, v6: FieldValue | Masked | undefined): string | undefined => {
    if (v4 !== undefined) return formatIp({ version: 4, value: numberOf(v4) as Ipv4 });
    return v6 === undefined ? undefined : formatIp({ version: 6, value: wideOf(v6) as Ipv6 });
  };
  const from = end(metadata.ct_nw_src, metadata.ct_ipv6_src);
  const to = end(metadata.ct_nw_dst, metadata.ct_ipv6_dst);
  if (from === undefined || to === undefined) return undefined;
  const at = (address: string, port: FieldValue | Masked | undefined): Endpoint => ({ address, port: numberOf(port) });
  return { from: at(from, metadata.ct_tp_src), to: at(to, metadata.ct_tp_dst) };
}

function wideOf(field: FieldValue | Masked | undefined): bigint {
  return BigInt((typeof field === 'object' ? field.value : field) ?? 0);
}

function numberOf(field: FieldValue | Masked | undefined): number {
  return Number(wideOf(field));
}
