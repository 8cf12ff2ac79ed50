import { type Ipv6, type Mac, networkOf, parseIpv6, parseMac } from '../../base/addresses.ts';
import { RA_FLAG } from '../../packet/nd.ts';
import { INFINITE_LIFETIME_S, type NdOption, PREFIX_FLAG } from '../../packet/nd-option.ts';
import type { Scope } from '../scope.ts';
import {
  dnsServersOf,
  gateway6,
  type Link,
  mtuOf,
  type OwnSubnet,
  serviceLinkLocal,
  serviceMac,
  subnetsOf,
} from './link.ts';
import { ndFrame, tagAt } from './reply.ts';

const ALL_NODES = 0xff02_0000_0000_0000_0000_0000_0000_0001n as Ipv6;
/** How long a default router is believed: several advertisements may be lost (they are repeated every 200 s). */
const ROUTER_LIFETIME_S = 1800;

/**
 * A router advertisement (RFC 4861 §6.2.3, RFC 8106) for the port's link: prefixes, DNS, MTU. It makes a default router
 * where a subnet has a gateway (a router port, a workload or a link-local address): then it comes from that one's link-local address.
 * Undefined where the link has no IPv6 subnet with DHCP on.
 */
export function routerAdvert(link: Link, vlan: number): Uint8Array | undefined {
  const subnets = subnetsOf(link, 6, vlan);
  if (subnets.length === 0) return undefined;
  const router = subnets.map(({ subnet }) => gateway6(link, subnet)).find((gateway) => gateway !== undefined);
  const isManaged = subnets.some(({ subnet }) => subnet.ipv6Mode === 'stateful');
  const hasOther = subnets.some(({ subnet }) => dnsServersOf(link, subnet).length + subnet.dhcp.ntp.length > 0);
  const mac = router?.mac ?? serviceMac(link.switch);
  const options: NdOption[] = [
    // Who resolves a gateway that is no router port asks for it: its MAC is not ours to tell.
    ...(router === undefined || router.mac !== undefined ? [{ kind: 'sourceLinkLayer', mac } as const] : []),
    { kind: 'mtu', mtu: mtuOf(link) },
    ...subnets.map(prefixOption),
    ...namesOf(link, subnets),
  ];
  return ndFrame(
    { src: mac, dst: parseMac(link.port.mac) as Mac, tag: tagAt(link, vlan) },
    router?.ip ?? serviceLinkLocal(link.switch),
    ALL_NODES,
    {
      kind: 'routerAdvert',
      hopLimit: 64,
      flags: (isManaged ? RA_FLAG.managed : 0) | (hasOther ? RA_FLAG.other : 0),
      lifetimeS: router === undefined ? 0 : ROUTER_LIFETIME_S,
      reachableMs: 0,
      retransmitMs: 0,
      options,
    },
  );
}

/** One that nobody asked for (RFC 4861 §6.2.4): for a port that is new, and for all from time to time. */
export function unsolicitedAdvert(scope: Scope, portId: string, host: string | undefined): Uint8Array | undefined {
  const port = scope.port(portId);
  const sw = port && scope.switchOf(port);
  if (!sw?.adminUp || !port?.adminUp) return undefined;
  const vlan = port.vlan && 'access' in port.vlan ? port.vlan.access : (port.vlan?.native ?? 0);
  return routerAdvert({ port, switch: sw, scope, host }, vlan);
}

function prefixOption({ subnet, cidr }: OwnSubnet): NdOption {
  const isAutonomous = subnet.ipv6Mode !== 'stateful' && cidr.prefix === 64;
  return {
    kind: 'prefix',
    prefix: networkOf(cidr).ip.value as Ipv6,
    prefixLength: cidr.prefix,
    flags: PREFIX_FLAG.onLink | (isAutonomous ? PREFIX_FLAG.autonomous : 0),
    validS: INFINITE_LIFETIME_S,
    preferredS: INFINITE_LIFETIME_S,
  };
}

function namesOf(link: Link, subnets: readonly OwnSubnet[]): NdOption[] {
  const servers = [...new Set(subnets.flatMap(({ subnet }) => dnsServersOf(link, subnet)))]
    .map((text) => parseIpv6(text))
    .filter((ip) => ip !== undefined);
  const domains = [
    ...new Set(subnets.flatMap(({ subnet }) => (subnet.dhcp.domain === undefined ? [] : [subnet.dhcp.domain]))),
  ];
  const options: NdOption[] = [];
  if (servers.length > 0) options.push({ kind: 'dnsServers', lifetimeS: INFINITE_LIFETIME_S, servers });
  if (domains.length > 0) options.push({ kind: 'dnsSearch', lifetimeS: INFINITE_LIFETIME_S, domains });
  return options;
}
