import { DEFAULT_BFD, type SpeakerConfig, type SpeakerPeer } from '../../frr/config.ts';
import type { BgpPeer } from '../../model/objects.ts';
import type { SpeakerPlan } from './plan.ts';
import { interfacesOf } from './speaker-place.ts';

/** Anywhere in the speaker's own namespace. */
const FPM_PORT = 2620;

/** A plan in the words of FRR's configuration. */
export function configOf(plan: SpeakerPlan): SpeakerConfig {
  return {
    ...{ routerId: plan.routerId, asn: plan.asn, fpmPort: FPM_PORT, networks: plan.networks },
    routes: plan.routes,
    bfdPeers: plan.bfd.map(({ address, local, routerPort, intervalMs, failures }) => ({
      ...{ address, local, interface: interfacesOf(routerPort).inner, intervalMs },
      multiplier: Math.max(2, failures),
    })),
    interfaces: plan.ports.map(({ id, addresses }) => ({ name: interfacesOf(id).inner, addresses })),
    peers: plan.peers.map((peer) => ({
      ...{ address: peer.address, asn: peer.asn, keepaliveS: peer.keepaliveS, holdS: peer.holdS },
      ...{ maxPrefixes: peer.maxPrefixes, adminUp: peer.adminUp, communities: peer.communities },
      isLeaving: plan.isLeaving,
      families: peer.families ?? [peer.address.includes(':') ? ('ipv6' as const) : ('ipv4' as const)],
      ...(peer.password === undefined ? {} : { password: peer.password }),
      ...(peer.multihop === undefined ? {} : { multihop: peer.multihop }),
      ...(peer.gracefulRestart === undefined ? {} : { gracefulRestart: peer.gracefulRestart }),
      ...(peer.accept === undefined ? {} : { accept: peer.accept }),
      ...(peer.advertise === undefined ? {} : { advertise: peer.advertise }),
      ...(peer.bfd ? { bfd: bfdOf(peer) } : {}),
    })),
  };
}

function bfdOf({ bfdFailures, bfdIntervalMs }: BgpPeer): NonNullable<SpeakerPeer['bfd']> {
  return { multiplier: bfdFailures ?? DEFAULT_BFD.multiplier, intervalMs: bfdIntervalMs ?? DEFAULT_BFD.intervalMs };
}
