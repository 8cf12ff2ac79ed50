import { bridgeLines, type Cable } from './cable.ts';
import { ipBatch, scriptIn } from './namespaces.ts';
import { type LabSpec, macFor } from './spec.ts';
import { namespaceOf } from './underlay.ts';
import { bare, type OutsideSpec } from './upstream-spec.ts';
import { interfaceName, WORKLOAD_INTERFACE } from './workload.ts';

/**
 * A small internet: a namespace with a Linux bridge, to which the upstream routers and the clients outside are joined.
 *
 *     weft-LAB-CLIENT          weft-LAB-internet            weft-LAB-ROUTER           weft-LAB-cables        weft-LAB-HOST
 *       eth0 ───────────── to-CLIENT  br0  to-ROUTER ───── internet   to-LINK ──── r-…  c-…  h-… ───── u-… br-int
 */
const INTERNET_BRIDGE = 'br0';
/** A router's interface on the internet. */
export const INTERNET_INTERFACE = 'internet';

function internetPort(place: string): string {
  return interfaceName('to-', place);
}

/** The cable between a router or a client and the internet. */
export function internetCable(lab: string, ...places: string[]): Cable {
  return { namespace: namespaceOf(lab, 'internet'), ports: places.map(internetPort) };
}

/** Makes the internet with its clients; the routers' namespaces must be there. Returns when it forwards is another's business. */
export async function createInternet(spec: LabSpec): Promise<void> {
  const inside = (place: string): string => namespaceOf(spec.name, place);
  const link = (place: string, device: string, mtu: number): string =>
    `link add ${device} netns ${inside(place)} address ${macFor(`${spec.name}/${place}/internet`)} mtu ${mtu} type veth peer ${internetPort(place)} netns ${inside('internet')} mtu ${mtu}`;
  await ipBatch([
    `netns add ${inside('internet')}`,
    ...spec.outside.map((client) => `netns add ${inside(client.name)}`),
    ...spec.routers.map((router) => link(router.name, INTERNET_INTERFACE, 1500)),
    ...spec.outside.map((client) => link(client.name, WORKLOAD_INTERFACE, client.mtu)),
  ]);
  await Promise.all([
    scriptIn(inside('internet'), [
      'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6',
      ...bridgeLines(
        INTERNET_BRIDGE,
        '',
        [...spec.routers, ...spec.outside].map(({ name }) => internetPort(name)),
      ),
    ]),
    ...spec.outside.map((client) => scriptIn(inside(client.name), clientLines(spec, client))),
  ]);
}

function clientLines(spec: LabSpec, client: OutsideSpec): string[] {
  return [
    // All of its connections together use all of its gateways, none that answers no ARP.
    'echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy',
    'echo 1 > /proc/sys/net/ipv4/fib_multipath_use_neigh',
    'echo 1 > /proc/sys/net/ipv6/fib_multipath_hash_policy',
    'echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter',
    // One router sends on by the other when its own link is gone: that is no reason to go there by oneself from then on.
    ...['ipv4/conf/all', `ipv4/conf/${WORKLOAD_INTERFACE}`, `ipv6/conf/${WORKLOAD_INTERFACE}`].map(
      (of) => `echo 0 > /proc/sys/net/${of}/accept_redirects`,
    ),
    'ip link set lo up',
    `ethtool -K ${WORKLOAD_INTERFACE} tx off >/dev/null`,
    `ip link set ${WORKLOAD_INTERFACE} up`,
    ...client.addresses.map((a) => `ip addr add ${a} dev ${WORKLOAD_INTERFACE}${a.includes(':') ? ' nodad' : ''}`),
    ...routeLines(spec, client.via),
  ];
}

/** Shell lines by which a client uses these routers, equally; none of them leaves it without a way. */
export function routeLines(spec: LabSpec, via: readonly string[]): string[] {
  const gateways = spec.routers
    .filter(({ name }) => via.includes(name))
    .flatMap(({ addresses }) => addresses.map(bare));
  return [4, 6].flatMap((version) => {
    const own = gateways.filter((gateway) => gateway.includes(':') === (version === 6));
    // `replace` adds to a multipath route of IPv6 instead of replacing it.
    const clear = `ip -${version} route flush default`;
    const hops = own.map((gateway) => `nexthop via ${gateway} dev ${WORKLOAD_INTERFACE}`);
    return own.length === 0 ? [clear] : [clear, `ip -${version} route add default ${hops.join(' ')}`];
  });
}
