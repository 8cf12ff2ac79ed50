import { formatCidr, networkOf, parseCidr } from '../base/addresses.ts';
import type { DaemonTexts } from './routing-daemons.ts';
import type { LabSpec } from './spec.ts';
import { bare, type PeerSpec, type RouterSpec } from './upstream-spec.ts';

/** The profile of bfdd that `bfd: true` means: down after 300 ms. */
const BFD_PROFILE = 'lab';

type Neighbour = PeerSpec & { readonly isFellow: boolean };

/** FRR's configuration of an upstream router, a text for each daemon. */
export function upstreamTexts(spec: LabSpec, router: RouterSpec): DaemonTexts {
  const head = [`hostname ${router.name}`, 'log stdout informational'];
  const text = (...lines: string[]): string => `${[...head, ...lines].join('\n')}\n`;
  return {
    zebra: text('ip forwarding', 'ipv6 forwarding'),
    staticd: text(...router.routes.map(({ to, via }) => `${to.includes(':') ? 'ipv6' : 'ip'} route ${to} ${via}`)),
    bfdd: text(
      'bfd',
      ` profile ${BFD_PROFILE}`,
      '  detect-multiplier 3',
      '  receive-interval 100',
      '  transmit-interval 100',
    ),
    bgpd: text(...bgpLines(spec, router), ...router.config),
  };
}

function bgpLines(spec: LabSpec, router: RouterSpec): string[] {
  const peers = [...fellows(spec, router), ...router.links.flatMap((link) => link.peers.map(ofDatacentre))];
  const advertised = [...router.networks, ...router.loopbacks, ...spec.internet.subnets].map((text) =>
    formatCidr(networkOf(parseCidr(text)!)),
  );
  return [
    `router bgp ${router.asn}`,
    ` bgp router-id ${routerId(router)}`,
    ' no bgp ebgp-requires-policy',
    ' no bgp network import-check',
    ' no bgp default ipv4-unicast',
    ' bgp bestpath as-path multipath-relax',
    ...peers.flatMap(peerLines),
    ...[false, true].flatMap((isV6) => [
      ` address-family ${isV6 ? 'ipv6' : 'ipv4'} unicast`,
      '  maximum-paths 64',
      ...[...new Set(advertised)].filter((to) => to.includes(':') === isV6).map((to) => `  network ${to}`),
      ...peers.filter((peer) => peer.address.includes(':') === isV6).flatMap(activation),
      ' exit-address-family',
    ]),
    'exit',
  ];
}

const ofDatacentre = (peer: PeerSpec): Neighbour => ({ ...peer, isFellow: false });

/** The other routers, at their addresses on the internet. */
function fellows(spec: LabSpec, router: RouterSpec): Neighbour[] {
  if (!spec.internet.peering) return [];
  const others = spec.routers.filter(({ name }) => name !== router.name);
  const settings = { bfd: true, gracefulRestart: false, keepaliveS: 3, holdS: 9, isFellow: true };
  return others.flatMap(({ asn, addresses }) => addresses.map((a) => ({ address: bare(a), asn, ...settings })));
}

function peerLines(peer: Neighbour): string[] {
  const of = ` neighbor ${peer.address}`;
  return [
    `${of} remote-as ${peer.asn}`,
    `${of} timers ${peer.keepaliveS} ${peer.holdS}`,
    // A session that could be there again is tried every second.
    `${of} timers connect 1`,
    `${of} ${peer.gracefulRestart ? 'graceful-restart' : 'graceful-restart-disable'}`,
    ...(peer.password === undefined ? [] : [`${of} password ${peer.password}`]),
    ...(peer.multihop === undefined ? [] : [`${of} ebgp-multihop ${peer.multihop}`]),
    ...(peer.bfd ? [`${of} bfd profile ${BFD_PROFILE}`] : []),
  ];
}

function activation(peer: Neighbour): string[] {
  const of = `  neighbor ${peer.address}`;
  return [`${of} activate`, ...(peer.isFellow ? [`${of} next-hop-self`] : [])];
}

/** Its address on the internet, or one made of its AS number where that has none of version 4. */
function routerId(router: RouterSpec): string {
  const v4 = router.addresses.find((a) => !a.includes(':'));
  return v4 ? bare(v4) : `10.255.${(router.asn >> 8) & 0xff}.${router.asn & 0xff}`;
}
