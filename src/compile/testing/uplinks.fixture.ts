import type { BgpPeer, Host, Router, RouterPort, ScopeRecord } from '../../model/objects.ts';
import { learnedRecords } from '../../model/packed-routes.ts';
import type { LearnedRoute } from '../../model/view.ts';
import * as example from './example.ts';

/**
 * A router with two uplinks and a network inside (docs/design/gateways.md):
 *
 *   a .11 ── inside 10.0.1.0/24 ── core ─┬─ up 192.0.2.0/29 ── wire (1), and a workload b that should not be there
 *                                        └─ second 192.0.2.8/29 ── wire of another gateway
 */
export const inside = example.logicalSwitch(1, {
  subnets: [example.subnet('10.0.1.0/24'), example.subnet('2001:db8:1::/64')],
});
export const up = example.logicalSwitch(2);
export const second = example.logicalSwitch(3);

export const core = example.router(1, {
  bgp: { asn: 64_512, advertise: ['floating', 'vips', 'snat'], networks: [], maxRoutes: 100_000 },
});
export const toInside = example.routerPort(1, core, {
  switch: inside.id,
  addresses: ['10.0.1.1/24', '2001:db8:1::1/64'],
});
export const uplink = example.routerPort(2, core, {
  switch: up.id,
  addresses: ['192.0.2.2/29', '2001:db8:f::2/64'],
});
export const secondUplink = example.routerPort(3, core, {
  switch: second.id,
  addresses: ['192.0.2.10/29', '2001:db8:f:1::2/64'],
});

export const wire = example.port(1, up, { portSecurity: false });
export const a = example.port(2, inside, { addresses: ['10.0.1.11', '2001:db8:1::11'] });
export const b = example.port(3, up, { addresses: ['192.0.2.4', '2001:db8:f::4'] });
export const secondWire = example.port(4, second, { portSecurity: false });

/** A peer behind an uplink. */
export function peer(number: number, at: RouterPort, address: string, options: Partial<BgpPeer> = {}): BgpPeer {
  return {
    ...{ kind: 'bgpPeer', id: example.idOf('peer', number), name: `peer${number}`, revision: 1, tenant: core.tenant },
    ...{ router: core.id, routerPort: at.id, address, asn: 64_513, bfd: true, keepaliveS: 3, holdS: 9 },
    ...{ maxPrefixes: 200_000, communities: [], adminUp: true, ...options },
  };
}

/** A route that a gateway learned: next hops as `address` or `address weight`. */
export function learned(of: Router, to: string, host: Host, ...hops: readonly string[]): LearnedRoute {
  const via = hops.map((hop) => {
    const [address, weight] = hop.split(' ') as [string, string | undefined];
    return { address, routerPort: uplink.id, weight: Number(weight ?? 1) };
  });
  return { router: of.id, to, host: host.id, via };
}

/** As their gateways tell of them. */
export function records(routes: readonly LearnedRoute[]): readonly ScopeRecord[] {
  const of = new Map<string, LearnedRoute[]>();
  for (const route of routes) {
    const name = `${route.router} ${route.host}`;
    of.set(name, [...(of.get(name) ?? []), route]);
  }
  return [...of.values()].flatMap((own) => learnedRecords(own[0]!.router, own[0]!.host, own));
}

/** All of it, without the router. */
export const world: readonly ScopeRecord[] = [
  ...[inside, up, second, toInside, uplink, secondUplink, wire, a, b, secondWire],
  peer(1, uplink, '192.0.2.1'),
];
