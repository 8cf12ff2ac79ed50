import { parseIp } from '../base/addresses.ts';
import type { Draft } from '../model/draft.ts';
import type { ModelIndex } from '../model/model-index.ts';
import { parseMoved } from '../model/moved-connections.ts';
import type { LogicalPort, NatLease, NatMove, Router, RouterPort } from '../model/objects.ts';
import { freePorts, grownBlocks, portCount, withoutBlocks } from '../model/port-blocks.ts';
import { snatAddressFor, translatesTo } from '../model/snat.ts';
import type { Report } from './protocol.ts';

/**
 * Ports of SNAT addresses, leased to the hosts whose workloads use them. Durable: connections go on over a restart of
 * the server. A lease grows when its host asks, shrinks when it gives blocks back, and ends when none of the host's ports is behind the router any more,
 * or with the router, the rule or the host (docs/design/layer3.md, §7). The port of an L2 gateway has leases of its own, which move with it.
 */
export type LeaseOutcome = 'granted' | 'no-snat' | 'not-here' | 'no-ports' | 'no-room';

export const LEASE_REFUSALS: { readonly [K in LeaseOutcome]: string } = {
  granted: '',
  'no-snat': 'the router translates nothing to this address',
  'not-here': 'no port that this host has claimed is behind the router',
  'no-ports': 'every port of the address is leased',
  'no-room': 'the host has its share of the ports of the address: what is free is for others',
};

export interface LeaseNeed {
  readonly router: string;
  readonly address: string;
  /** The port of an L2 gateway, active on the host: the lease is its own. */
  readonly port?: string;
  /** Ports that the host (or the port) has and that are not enough; with more leased already, nothing is to be done. */
  readonly have?: number;
}

/** The host gets more ports of the address. `isBehind`: one of its ports is behind the router. */
export function growLease(draft: Draft, hostId: string, need: LeaseNeed, isBehind: boolean): LeaseOutcome {
  const { index } = draft;
  const { router, address, port } = need;
  if (!translatesTo(index.get('router', router), address)) return 'no-snat';
  if (!isBehind) return 'not-here';
  const isActive = port === undefined || index.bindingOf(port)?.active === hostId;
  if (!isActive || (port !== undefined && index.outsideOfPort(port)?.kind !== 'l2Gateway')) return 'not-here';
  const id = `${router}/${address}/${port ?? hostId}`;
  const own = index.get('natLease', id)?.blocks ?? [];
  if (need.have !== undefined && portCount(own) > need.have) return 'granted';
  const others = othersOf(index, need, id);
  const blocks = grownBlocks(own, others);
  if (!blocks) return freePorts([...own, ...others]) === 0 ? 'no-ports' : 'no-room';
  const ofPort = port === undefined ? {} : { port };
  draft.put({ kind: 'natLease', id, revision: 0, router, address, host: hostId, ...ofPort, blocks });
  return 'granted';
}

/**
 * Who gets a port behind a router that translates its address gets first ports of that address by the same transaction: so its flows are there with those of the
 * port, and not a round trip later. What is refused here the host asks for itself, and people are told.
 */
export function leaseAhead(draft: Draft): void {
  const { index } = draft;
  const needs = new Map<string, LeaseNeed & { readonly host: string }>();
  for (const port of portsConcerned(draft)) {
    const host = index.bindingOf(port.id)?.active;
    if (host === undefined) continue;
    const ofPort = index.outsideOfPort(port.id)?.kind === 'l2Gateway' ? { port: port.id } : {};
    for (const router of translatorsAt(index, port.switch))
      for (const text of port.addresses) {
        const address = snatAddressFor(router, parseIp(text)!);
        if (address === undefined) continue;
        const need = { host, router: router.id, address, ...ofPort, have: 0 };
        needs.set(`${router.id}/${address}/${ofPort.port ?? host}`, need);
      }
  }
  for (const { host, ...need } of needs.values()) growLease(draft, host, need, true);
}

/** Ports that are somewhere else now, have other addresses, or are behind other routers, or behind ones that translate in another way. */
function portsConcerned(draft: Draft): ReadonlySet<LogicalPort> {
  const { index } = draft;
  const ports = new Set<LogicalPort>();
  const take = (some: Iterable<LogicalPort>): void => {
    for (const port of some) ports.add(port);
  };
  const takeBehind = (routerPort: RouterPort): void => {
    if (routerPort.switch !== undefined && !routerPort.outside) take(index.portsOfSwitch(routerPort.switch));
  };
  for (const { before, after } of draft.changes()) {
    if (after?.kind === 'binding' && !(before?.kind === 'binding' && before.active === after.active)) {
      const port = index.get('port', after.id);
      if (port) ports.add(port);
    }
    if (after?.kind === 'port' && before) ports.add(after);
    if (after?.kind === 'routerPort') takeBehind(after);
    if (after?.kind === 'router' && before?.kind === 'router' && !isSameSnat(before, after))
      for (const routerPort of index.routerPortsOfRouter(after.id)) takeBehind(routerPort);
  }
  return ports;
}

function isSameSnat(before: Router, after: Router): boolean {
  return JSON.stringify(before.snat) === JSON.stringify(after.snat);
}

/** Routers with a port on the switch that translate what comes in by it. */
function translatorsAt(index: ModelIndex, switchId: string): readonly Router[] {
  return [...index.routerPortsOfSwitch(switchId)].flatMap(({ outside, router: id }) => {
    const router = outside ? undefined : index.get('router', id);
    return router && router.snat.length > 0 ? [router] : [];
  });
}

/** The host gives blocks back. Of what it does not have, or not any more, nothing becomes of it. */
export function shrinkLease(
  draft: Draft,
  hostId: string,
  { router, address, port, blocks }: Extract<Report, { type: 'natReturn' }>,
): void {
  const lease = draft.index.get('natLease', `${router}/${address}/${port ?? hostId}`);
  if (lease?.host !== hostId) return;
  const left = withoutBlocks(lease.blocks, blocks);
  if (left.length > 0 && portCount(left) < portCount(lease.blocks)) draft.put({ ...lease, blocks: left });
}

/** How many ports of an SNAT address nobody has. */
export function freePortsOf(index: ModelIndex, need: Pick<LeaseNeed, 'router' | 'address'>): number {
  return freePorts(othersOf(index, need, undefined));
}

/** The same of all addresses of which somebody has ports of the router. */
export function freePortsByAddress(index: ModelIndex, router: string): ReadonlyMap<string, number> {
  const byAddress = Map.groupBy(
    [...index.leasesOfRouter(router), ...index.natMovesOfRouter(router)],
    ({ address }) => address,
  );
  return new Map([...byAddress].map(([address, some]) => [address, freePorts(some.flatMap(inUseBy))]));
}

/** An address may be translated to by one router only: its leases are all there are. */
function othersOf(
  index: ModelIndex,
  { router, address }: Pick<LeaseNeed, 'router' | 'address'>,
  id: string | undefined,
): NatLease['blocks'] {
  const others: (NatLease | NatMove)[] = [];
  for (const lease of index.leasesOfRouter(router))
    if (lease.address === address && lease.id !== id) others.push(lease);
  for (const move of index.natMovesOfRouter(router)) if (move.address === address) others.push(move);
  return others.flatMap(inUseBy);
}

/** What a workload took along when it moved stays in use, though its former host has let go of the lease. */
function inUseBy(record: NatLease | NatMove): NatLease['blocks'] {
  if (record.kind === 'natLease') return record.blocks;
  return record.connections.map((text) => ({ first: parseMoved(text)!.port, size: 1 }));
}

/** Leases that lost their router, their rule or their host go with the change that took it. */
export function dropOrphanedLeases(draft: Draft): void {
  const { index } = draft;
  for (const { kind, id, after } of draft.changes()) {
    if (kind === 'router') {
      const router = after?.kind === 'router' ? after : undefined;
      for (const lease of [...index.leasesOfRouter(id)])
        if (!translatesTo(router, lease.address)) draft.delete('natLease', lease.id);
    }
    if (kind === 'host' && !after)
      for (const lease of [...index.all('natLease')])
        if (lease.host === id && (lease.port === undefined || index.bindingOf(lease.port)?.active === undefined))
          draft.delete('natLease', lease.id);
    if (kind === 'l2Gateway')
      for (const lease of [...index.all('natLease')])
        if (lease.port !== undefined && index.outsideOfPort(lease.port)?.kind !== 'l2Gateway')
          draft.delete('natLease', lease.id);
  }
}

/** Ports that are leased to the port of an L2 gateway are where that is active, from the same transaction on. */
export function moveLeases(draft: Draft): void {
  const { index } = draft;
  for (const { kind, after } of draft.changes()) {
    if (kind !== 'binding' || after?.kind !== 'binding' || after.active === undefined) continue;
    if (index.outsideOfPort(after.id)?.kind !== 'l2Gateway') continue;
    for (const lease of [...index.all('natLease')])
      if (lease.port === after.id && lease.host !== after.active) draft.put({ ...lease, host: after.active });
  }
}

/** Leases of hosts that have no port behind the router any more: their ids. */
export function idleLeases(
  leases: Iterable<NatLease>,
  routersBehind: (hostId: string) => ReadonlySet<string>,
): readonly string[] {
  const ofHost = new Map<string, ReadonlySet<string>>();
  const idle: string[] = [];
  for (const { id, host, router } of leases) {
    const routers = ofHost.get(host) ?? routersBehind(host);
    ofHost.set(host, routers);
    if (!routers.has(router)) idle.push(id);
  }
  return idle;
}

/**
 * But for those that a port needs since: it may have come while this waited for its turn, or by a write that is stored together with it, of which
 * `routersBehind` knows nothing yet.
 */
export function endLeases(
  draft: Draft,
  ids: readonly string[],
  routersBehind: (hostId: string) => ReadonlySet<string>,
): void {
  const { index } = draft;
  const leases = ids.flatMap((id) => index.get('natLease', id) ?? []);
  const idle = new Set(idleLeases(leases, routersBehind));
  for (const lease of leases)
    if (idle.has(lease.id) && !hasPortBehind(index, lease)) draft.delete('natLease', lease.id);
}

/** Has the host a port on a switch of the router, active there or about to be? */
function hasPortBehind(index: ModelIndex, { host, router }: NatLease): boolean {
  for (const { outside, switch: onSwitch } of index.routerPortsOfRouter(router)) {
    if (outside || onSwitch === undefined) continue;
    for (const { id } of index.portsOfSwitch(onSwitch))
      if (index.bindingOf(id)?.claims.some((claim) => claim.host === host)) return true;
  }
  return false;
}
