import { advertisedBy } from '../../model/advertised.ts';
import { routerIdAt } from '../../model/gateways.ts';
import type { BgpPeer, Router, ScopeRecord } from '../../model/objects.ts';
import { ModelIndex } from '../../model/view.ts';

/** What the speaker of one router on this host is to be (docs/design/gateways.md, §3 and §4). */
export interface SpeakerPlan {
  readonly router: string;
  readonly asn: number;
  readonly routerId: string;
  /** Those that a session runs on, with the MAC and addresses that the speaker shares. */
  readonly ports: readonly { readonly id: string; readonly mac: string; readonly addresses: readonly string[] }[];
  readonly peers: readonly BgpPeer[];
  /** Advertised to every peer: nothing of a host that is drained. */
  readonly networks: readonly string[];
}

/**
 * The speakers of a host whose scope this is. This file brings the whole model's code with it: hosts without sessions
 * never load it.
 */
export function plansOf(records: Iterable<ScopeRecord>, host: string): readonly SpeakerPlan[] {
  const index = new ModelIndex();
  // Of these there may be very many, and they have no part in it.
  for (const record of records)
    if (record.kind !== 'learnedSet' && record.kind !== 'learnedRoutes' && record.kind !== 'learned') index.put(record);
  return planSpeakers(index, host);
}

/** The speakers of this host: one for each router with a session whose wire is here. Sorted by router. */
export function planSpeakers(index: ModelIndex, host: string): readonly SpeakerPlan[] {
  const plans: SpeakerPlan[] = [];
  const isDrained = index.get('host', host)?.drain === true;
  for (const router of index.all('router')) {
    const { bgp } = router;
    if (bgp === undefined || !router.adminUp) continue;
    const peers = [...index.bgpPeersOfRouter(router.id)].filter((peer) => hasWireHere(index, peer, host));
    const ports = portsOf(index, peers);
    // Of the ports here: no two gateways may have the same.
    const routerId = routerIdAt(bgp.routerId, ports);
    if (peers.length === 0 || routerId === undefined) continue;
    plans.push({
      ...{ router: router.id, asn: bgp.asn, routerId, ports },
      peers: peers.sort((a, b) => (a.id < b.id ? -1 : 1)),
      networks: isDrained ? [] : advertisedBy(index, router as Router).map(({ network }) => network),
    });
  }
  return plans.sort((a, b) => (a.router < b.router ? -1 : 1));
}

/** The wire is active here: a port without port security on the switch of the session's router port. */
function hasWireHere(index: ModelIndex, { routerPort }: BgpPeer, host: string): boolean {
  const port = index.get('routerPort', routerPort);
  if (port?.switch === undefined || !port.adminUp) return false;
  for (const wire of index.portsOfSwitch(port.switch))
    if (!wire.portSecurity && index.bindingOf(wire.id)?.active === host) return true;
  return false;
}

function portsOf(index: ModelIndex, peers: readonly BgpPeer[]): SpeakerPlan['ports'] {
  const ids = [...new Set(peers.map(({ routerPort }) => routerPort))].sort();
  return ids.map((id) => {
    const { mac, addresses } = index.get('routerPort', id)!;
    return { id, mac, addresses };
  });
}
