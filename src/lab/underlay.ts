import { bridgeLines, type Cable } from './cable.ts';
import { ipBatch, scriptIn } from './namespaces.ts';
import { UNDERLAY_INTERFACE, underlayMac } from './open-vswitch.ts';
import { type LabSpec, macFor } from './spec.ts';
import { interfaceName } from './workload.ts';

/**
 * The network between the hosts: a namespace with a Linux bridge, one link per host and one for the server.
 *
 *     weft-LAB-HOST                 weft-LAB-underlay             weft-LAB-server
 *       br-int   br-underlay            br0                          eth0 (the subnet's first address)
 *                  eth0 ─────────── to-HOST   to-server ─────────────┘
 */
const UNDERLAY_BRIDGE = 'br0';

/** Namespaces of a lab: `weft-LAB-PLACE`. */
export function namespaceOf(lab: string, place: string): string {
  return `weft-${lab}-${place}`;
}

/** The underlay's end of a host's (or the server's) link. */
export function underlayPort(place: string): string {
  return interfaceName('to-', place);
}

/** Creates the namespaces of underlay, server and hosts, and the links between them. */
export async function createUnderlay(spec: LabSpec): Promise<void> {
  const inside = (place: string) => namespaceOf(spec.name, place);
  const mtu = `mtu ${spec.underlay.mtu}`;
  const places = ['server', ...spec.hosts.map((h) => h.name)];
  await ipBatch([
    ...['underlay', ...places].map((place) => `netns add ${inside(place)}`),
    ...places.map((place) => {
      const own = `${UNDERLAY_INTERFACE} netns ${inside(place)} address ${macFor(`${spec.name}/${place}/link`)}`;
      return `link add ${own} ${mtu} type veth peer ${underlayPort(place)} netns ${inside('underlay')} ${mtu}`;
    }),
  ]);
  await Promise.all([
    scriptIn(inside('server'), [
      ...['ip link set lo up', `ethtool -K ${UNDERLAY_INTERFACE} tx off >/dev/null`],
      `ip addr add ${spec.server} dev ${UNDERLAY_INTERFACE}${spec.server.includes(':') ? ' nodad' : ''}`,
      `ip link set ${UNDERLAY_INTERFACE} up`,
      ...gatewaysOf(spec)
        .slice(0, 1)
        .map((g) => `ip route add default via ${g.address} dev ${UNDERLAY_INTERFACE}`),
    ]),
    ...spec.hosts.map((host) =>
      scriptIn(inside(host.name), [
        // Interfaces of a switch are not the host's own: without this each would send router solicitations and MLD
        // reports towards its workload. `br-underlay` gets it back where the underlay is of version 6.
        'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6',
        'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6',
        'ip link set lo up',
        `ethtool -K ${UNDERLAY_INTERFACE} tx off >/dev/null`,
        // The userspace datapath reads what the kernel goes on reading too: the kernel must not answer for the host's
        // address from here, with a MAC at which no tunnel packet is taken.
        `ip link set ${UNDERLAY_INTERFACE} arp off`,
        `ip link set ${UNDERLAY_INTERFACE} up`,
      ]),
    ),
  ]);
  await scriptIn(inside('underlay'), underlayLines(spec, places));
}

/** The cables of these places into the underlay. */
export function underlayCable(lab: string, ...places: string[]): Cable {
  return { namespace: namespaceOf(lab, 'underlay'), ports: places.map(underlayPort) };
}

function underlayLines(spec: LabSpec, places: readonly string[]): string[] {
  return [
    'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6',
    'echo 1 > /proc/sys/net/ipv4/ip_forward',
    ...bridgeLines(
      UNDERLAY_BRIDGE,
      `address ${underlayMac(spec.name, 'underlay')} mtu ${spec.underlay.mtu}`,
      places.map(underlayPort),
    ),
    ...gatewaysOf(spec).map((g) => `ip addr add ${g.address}/${g.prefix} dev ${UNDERLAY_BRIDGE}`),
  ];
}

/** Addresses at which the underlay routes: one per gateway named, with the prefix of the first host behind it. */
function gatewaysOf(spec: LabSpec): { address: string; prefix: number }[] {
  const found = new Map<string, number>();
  for (const host of spec.hosts) if (host.gateway && !found.has(host.gateway)) found.set(host.gateway, host.prefix);
  return [...found].map(([address, prefix]) => ({ address, prefix }));
}
