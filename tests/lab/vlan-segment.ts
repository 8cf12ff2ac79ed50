import type { Lab } from '../../src/lab/lab.ts';
import { ipBatch, scriptIn } from '../../src/lab/namespaces.ts';

/** A segment outside: physical interfaces of gateways, and workloads in a VLAN each, at one switch. */
export interface SegmentPlan {
  /** Interfaces of hosts, and the ports of the segment that they are cabled to; with `tag` in that VLAN alone. */
  readonly cables: readonly {
    readonly host: string;
    readonly interface: string;
    readonly port: string;
    readonly tag?: number;
  }[];
  /** Namespaces of the lab with `eth0` in the VLAN; `mac` and `addresses` of it. */
  readonly ends: readonly {
    readonly name: string;
    readonly vlan: number;
    readonly addresses: readonly string[];
    readonly mac?: string;
    readonly gateway?: string;
  }[];
}

/**
 * Builds the segment as a bridge of Open vSwitch in `outside`, a host of the lab of its own: not every kernel has bridges with VLANs.
 * Namespaces begin as those of the lab do, and go with it.
 */
export async function buildSegment(lab: Lab, { cables, ends }: SegmentPlan): Promise<void> {
  const inside = (place: string): string => lab.namespace(place);
  const link = (device: string, place: string, port: string): string =>
    `link add ${device} netns ${inside(place)} type veth peer ${port} netns ${inside('outside')}`;
  await ipBatch([
    ...ends.map(({ name }) => `netns add ${inside(name)}`),
    ...cables.map((cable) => link(cable.interface, cable.host, cable.port)),
    ...ends.map(({ name }) => link('eth0', name, name)),
  ]);
  const up = (device: string): string[] => [
    `echo 1 > /proc/sys/net/ipv6/conf/${device}/disable_ipv6`,
    `ethtool -K ${device} tx off >/dev/null`,
    `ip link set ${device} up`,
  ];
  await scriptIn(inside('outside'), [...cables.map(({ port }) => port), ...ends.map(({ name }) => name)].flatMap(up));
  for (const host of new Set(cables.map((cable) => cable.host)))
    await scriptIn(
      inside(host),
      cables.filter((cable) => cable.host === host).flatMap((cable) => up(cable.interface)),
    );
  for (const { name, addresses, mac, gateway } of ends)
    await scriptIn(inside(name), [
      ...(mac === undefined ? [] : [`ip link set eth0 address ${mac}`]),
      ...['ip link set lo up', 'ip link set eth0 mtu 1400', ...up('eth0')],
      ...addresses.map((address) => `ip addr add ${address} dev eth0`),
      ...(gateway === undefined ? [] : [`ip route add default via ${gateway}`]),
    ]);
  const segment = lab.switchOf('outside');
  await segment.vsctl([
    ...['--timeout=30', 'add-br', 'segment', '--', 'set', 'bridge', 'segment', `datapath_type=${segment.datapath}`],
    ...cables.flatMap(({ port, tag }) => [
      ...['--', 'add-port', 'segment', port],
      ...(tag === undefined ? [] : [`tag=${tag}`]),
    ]),
    ...ends.flatMap(({ name, vlan }) => ['--', 'add-port', 'segment', name, `tag=${vlan}`]),
  ]);
}
