import { formatIp, parseIp } from '../../base/addresses.ts';
import { advertisedBy } from '../../model/advertised.ts';
import { routerIdAt } from '../../model/gateways.ts';
import type { BgpPeer, Router, ScopeRecord } from '../../model/objects.ts';
import { RecordIndex } from '../../model/view.ts';
import { portTowards } from '../../simulate/routes.ts';
import { addressOf } from '../router-addresses.ts';

/** What the speaker of one router on this host is to be (docs/design/gateways.md, §3 and §4). */
export interface SpeakerPlan {
  readonly router: string;
  readonly asn: number;
  readonly routerId: string;
  /** Those that a session runs on, with the MAC and addresses that the speaker shares. */
  readonly ports: readonly { readonly id: string; readonly mac: string; readonly addresses: readonly string[] }[];
  readonly peers: readonly BgpPeer[];
  /** Next hops of static routes that are probed by BFD (docs/design/gateways.md, §7), with the router port's address. */
  readonly bfd: readonly PlannedBfd[];
  /** This host is being drained: what it advertises is to be used last. */
  readonly isLeaving: boolean;
  /** Advertised to every peer: nothing of a host that is drained. */
  readonly networks: readonly string[];
}

export interface PlannedBfd {
  readonly address: string;
  readonly local: string;
  readonly routerPort: string;
  readonly intervalMs: number;
  readonly failures: number;
}

/** What stands for an AS number and a router id where no BGP is spoken. */
const NO_BGP = { asn: 0, routerId: '0.0.0.0' } as const;

/**
 * The speakers of a host whose scope this is. This file brings much of the model's code with it (and none of its
 * schemas, which cost more than all else of an agent): hosts without sessions never load it. `isLeaving`: the host is drained, but upstreams still have to find their other ways.
 */
export function plansOf(records: Iterable<ScopeRecord>, host: string, isLeaving = false): readonly SpeakerPlan[] {
  const index = new RecordIndex();
  // Of these there may be very many, and they have no part in it; nor have those of former kinds, which a disk may remember.
  for (const record of records) if (!record.kind.startsWith('learned')) index.put(record);
  return planSpeakers(index, host, isLeaving);
}

/** The speakers of this host: one for each router with a session, of BGP or of BFD alone, whose wire is here. Sorted by router. */
export function planSpeakers(index: RecordIndex, host: string, isLeaving = false): readonly SpeakerPlan[] {
  const plans: SpeakerPlan[] = [];
  const isDrained = index.get('host', host)?.drain === true && !isLeaving;
  for (const router of index.all('router')) {
    const { bgp } = router;
    if (!router.adminUp) continue;
    const bfd = bfdOf(index, router, host);
    const all = bgp === undefined ? [] : [...index.bgpPeersOfRouter(router.id)];
    const here = all.filter((peer) => hasWireHere(index, peer.routerPort, host));
    // Of the ports here: no two gateways may have the same.
    const routerId = bgp && routerIdAt(bgp.routerId, portsOf(index, here));
    const peers = routerId === undefined ? [] : here;
    if (peers.length + bfd.length === 0) continue;
    plans.push({
      ...{ router: router.id, ...NO_BGP, ...(peers.length === 0 ? {} : { asn: bgp!.asn, routerId: routerId! }) },
      ...{ ports: portsOf(index, [...peers, ...bfd]), bfd, isLeaving },
      peers: peers.sort((a, b) => (a.id < b.id ? -1 : 1)),
      networks:
        isDrained || peers.length === 0 ? [] : advertisedBy(index, router as Router).map(({ network }) => network),
    });
  }
  return plans.sort((a, b) => (a.router < b.router ? -1 : 1));
}

/** The wire is active here: a port without port security on the switch of the session's router port. */
function hasWireHere(index: RecordIndex, routerPort: string, host: string): boolean {
  const port = index.get('routerPort', routerPort);
  if (port?.switch === undefined || !port.adminUp) return false;
  for (const wire of index.portsOfSwitch(port.switch))
    if (!wire.portSecurity && index.bindingOf(wire.id)?.active === host) return true;
  return false;
}

/** Sorted by address; of one next hop once. */
function bfdOf(index: RecordIndex, router: Router, host: string): PlannedBfd[] {
  const found = new Map<string, PlannedBfd>();
  for (const { via, probe } of router.routes) {
    const hop = probe?.type === 'bfd' ? parseIp(via!) : undefined;
    const port = hop && portTowards(index, router, hop);
    const local = port && addressOf(port, hop);
    if (!local || !hasWireHere(index, port.id, host)) continue;
    const { intervalMs, failures } = probe!;
    found.set(via!, { address: formatIp(hop), local: formatIp(local), routerPort: port.id, intervalMs, failures });
  }
  return [...found.values()].sort((a, b) => (a.address < b.address ? -1 : 1));
}

function portsOf(index: RecordIndex, peers: readonly { readonly routerPort: string }[]): SpeakerPlan['ports'] {
  const ids = [...new Set(peers.map(({ routerPort }) => routerPort))].sort();
  return ids.map((id) => {
    const { mac, addresses } = index.get('routerPort', id)!;
    return { id, mac, addresses };
  });
}
