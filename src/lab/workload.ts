import { runOk } from './command.ts';
import { ipBatch, scriptIn } from './namespaces.ts';
import { type HostSwitch, INTEGRATION_BRIDGE } from './open-vswitch.ts';
import { macFor, type WorkloadSpec } from './spec.ts';

/** A workload as it is now: on which host, behind which port. */
export type Workload = WorkloadSpec & {
  readonly namespace: string;
  /** The host's end of its link: the interface on the integration bridge. Its own end is always `eth0`. */
  readonly interface: string;
};

export const WORKLOAD_INTERFACE = 'eth0';

/** The longest name of a Linux interface (IFNAMSIZ less the final zero). */
const INTERFACE_NAME_LENGTH = 15;

/** An interface's name for a place: readable where it fits, else cut and told apart by a digest. */
export function interfaceName(prefix: string, place: string): string {
  const whole = `${prefix}${place}`;
  if (whole.length <= INTERFACE_NAME_LENGTH) return whole;
  return `${whole.slice(0, INTERFACE_NAME_LENGTH - 5)}-${macFor(place).slice(3).replaceAll(':', '').slice(0, 4)}`;
}

/** The `ip` line that creates a workload's link, both ends at once where they belong. */
export function linkLine(workload: Workload, hostNamespace: string): string {
  const ends = {
    inside: `${WORKLOAD_INTERFACE} netns ${workload.namespace}`,
    outside: `${workload.interface} netns ${hostNamespace}`,
  };
  const mtu = `mtu ${workload.mtu}`;
  return `link add ${ends.inside} address ${workload.mac} ${mtu} type veth peer ${ends.outside} ${mtu}`;
}

/**
 * Shell lines for the workload's side: transmit checksums are computed here, since the userspace datapath forwards
 * what it gets; addresses, routes.
 */
export function insideLines(workload: Workload): string[] {
  return [
    'ip link set lo up',
    `ethtool -K ${WORKLOAD_INTERFACE} tx off >/dev/null`,
    `ip link set ${WORKLOAD_INTERFACE} up`,
    ...workload.addresses.map((a) => `ip addr add ${a} dev ${WORKLOAD_INTERFACE}${a.includes(':') ? ' nodad' : ''}`),
    ...gatewayLines(workload),
  ];
}

/** Default routes; they go with the link when it goes down. */
export function gatewayLines({ gateways }: Pick<Workload, 'gateways'>): string[] {
  return gateways.map(
    (g) => `ip ${g.includes(':') ? '-6 ' : ''}route replace default via ${g} dev ${WORKLOAD_INTERFACE}`,
  );
}

/** Shell lines for the host's side of many workloads. */
export function outsideLines(workloads: readonly Workload[]): string[] {
  return workloads.flatMap((w) => [`ethtool -K ${w.interface} tx off >/dev/null`, `ip link set ${w.interface} up`]);
}

/** Makes namespaces and links of workloads, a few processes for all of them. */
export async function createWorkloads(
  workloads: readonly Workload[],
  hostNamespace: (host: string) => string,
): Promise<void> {
  await ipBatch(workloads.flatMap((w) => [`netns add ${w.namespace}`, linkLine(w, hostNamespace(w.host))]));
  const hosts = [...new Set(workloads.map((w) => w.host))];
  await Promise.all([
    ...workloads.map((w) => scriptIn(w.namespace, insideLines(w))),
    ...hosts.map((h) => scriptIn(hostNamespace(h), outsideLines(workloads.filter((w) => w.host === h)))),
  ]);
}

/** Arguments of `ovs-vsctl` that plug workloads: what libvirt and Neutron write, in one transaction. */
export function plugArguments(workloads: readonly Workload[]): string[] {
  return workloads.flatMap((w) => {
    const ids = [
      `external_ids:iface-id="${w.port}"`,
      `external_ids:attached-mac="${w.mac}"`,
      'external_ids:iface-status=active',
    ];
    const add = ['--', '--may-exist', 'add-port', INTEGRATION_BRIDGE, w.interface];
    return [...add, '--', 'set', 'interface', w.interface, ...ids, `external_ids:vm-id="${w.name}"`];
  });
}

/** Plugs workloads of one host; returns when Open vSwitch has given them port numbers. */
export async function plugAll(hostSwitch: HostSwitch, workloads: readonly Workload[]): Promise<void> {
  if (workloads.length > 0) await hostSwitch.vsctl(['--timeout=30', ...plugArguments(workloads)]);
}

export async function unplug(hostSwitch: HostSwitch, workload: Workload): Promise<void> {
  await hostSwitch.vsctl(['--timeout=30', '--if-exists', 'del-port', INTEGRATION_BRIDGE, workload.interface]);
}

/** Moves a workload's link to another host as a live migration does: the workload keeps its interface, MAC and addresses. */
export async function relink(workload: Workload, hostNamespace: string): Promise<void> {
  await runOk(['ip', '-n', workload.namespace, 'link', 'del', WORKLOAD_INTERFACE]);
  await ipBatch([linkLine(workload, hostNamespace)]);
  await Promise.all([
    scriptIn(workload.namespace, insideLines(workload)),
    scriptIn(hostNamespace, outsideLines([workload])),
  ]);
}
