import { formatIp, parseIp } from '../../base/addresses.ts';
import { holdsAddress } from '../../model/address-uses.ts';
import { advertisedBy } from '../../model/advertised.ts';
import { routerIdAt } from '../../model/gateways.ts';
import { nextHopsBy } from '../../model/multihop.ts';
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
  /** Peers of this host without a session, and why: for people. */
  readonly leftOut: readonly { readonly peer: string; readonly problem: string }[];
  /** The ways to peers that are more than a hop away: to the address of each alone. */
  readonly routes: readonly { readonly to: string; readonly via: string }[];
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
 * The speakers of a host whose scope this is, and which gets no answer from the `lost` ones. This file brings much of the model's code with it (and none of its
 * schemas, which cost more than all else of an agent): hosts without sessions never load it. `isLeaving`: the host is drained, but upstreams still have to find their other ways.
 */
export function plansOf(
  records: Iterable<ScopeRecord>,
  host: string,
  lost: readonly string[],
  isLeaving: boolean,
): readonly SpeakerPlan[] {
  const index = new RecordIndex();
  index.setLost(host, lost);
  // Of these there may be very many, and they have no part in it; nor have those of former kinds, which a disk may remember.
  for (const record of records) if (!record.kind.startsWith('learned')) index.put(record);
  return planSpeakers(index, host, isLeaving);
}

/** The speakers of this host: one for each router with a session, of BGP or of BFD alone, whose wire is here. Sorted by router. */
export function planSpeakers(index: RecordIndex, host: string, isLeaving = false): readonly SpeakerPlan[] {
  const plans: SpeakerPlan[] = [];
  const isDrained = index.get('host', host)?.drain === true && !isLeaving;
  const isLost = (other: string): boolean => index.isLost(host, other);
  for (const router of index.all('router')) {
    const { bgp } = router;
    if (!router.adminUp) continue;
    const bfd = bfdOf(index, router, host);
    const all = bgp === undefined ? [] : [...index.bgpPeersOfRouter(router.id)];
    const here = all.filter((peer) => hasWireHere(index, peer.routerPort, host));
    // Of the ports here: no two gateways may have the same.
    const routerId = bgp && routerIdAt(bgp.routerId, portsOf(index, here));
    const { peers, leftOut } = withoutTwins(index, routerId === undefined ? [] : here);
    if (peers.length + bfd.length === 0) continue;
    plans.push({
      ...{ router: router.id, ...NO_BGP, ...(peers.length === 0 ? {} : { asn: bgp!.asn, routerId: routerId! }) },
      ...{ ports: portsOf(index, [...peers, ...bfd]), bfd, isLeaving },
      ...{ peers, leftOut },
      routes: peers.flatMap((peer) => routesTo(index, router, peer)),
      networks:
        isDrained || peers.length === 0
          ? []
          : advertisedBy(index, router as Router, isLost).map(({ network }) => network),
    });
  }
  return plans.sort((a, b) => (a.router < b.router ? -1 : 1));
}

/** bgpd knows a peer by its address: of those with the same the first by name has the session, and none that is held down while there are others. Sorted by id. */
function withoutTwins(index: RecordIndex, here: readonly BgpPeer[]): Pick<SpeakerPlan, 'peers' | 'leftOut'> {
  const byAddress = new Map<string, BgpPeer>();
  const leftOut: { peer: string; problem: string }[] = [];
  for (const peer of [...here].sort((a, b) => Number(b.adminUp) - Number(a.adminUp) || (a.name < b.name ? -1 : 1))) {
    const twin = byAddress.get(peer.address);
    if (twin === undefined) byAddress.set(peer.address, peer);
    else {
      const by = index.get('routerPort', twin.routerPort)!.name;
      const problem = `this gateway has a session with ${peer.address} already, ${twin.name} by router port ${by}: one address has one session at a gateway; put one of the two wires on another`;
      leftOut.push({ peer: peer.id, problem });
    }
  }
  return { peers: [...byAddress.values()].sort((a, b) => (a.id < b.id ? -1 : 1)), leftOut };
}

/** Not the router's routes themselves: by a default route FRR reaches no peer. */
function routesTo(index: RecordIndex, router: Router, peer: BgpPeer): SpeakerPlan['routes'] {
  const ip = parseIp(peer.address)!;
  const port = index.get('routerPort', peer.routerPort)!;
  if (holdsAddress(port, ip)) return [];
  const to = `${peer.address}/${ip.version === 4 ? 32 : 128}`;
  return nextHopsBy(router, port, ip).map((via) => ({ to, via }));
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
