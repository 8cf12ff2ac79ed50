import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import type { DropReason } from './outcome.ts';

/** How VLANs of a VLAN-aware switch meet its ports (docs/design/layer2.md, steps 2, 6 and 7). 0 is "no VLAN". */

/** The VLAN that a frame with this outer tag belongs to, or why it is dropped. */
export function ingressVlan(
  sw: LogicalSwitch,
  port: LogicalPort,
  tag: number | undefined,
): { readonly vlan: number } | { readonly drop: DropReason } {
  if (!sw.vlanAware) return tag === undefined ? { vlan: 0 } : { drop: 'tagged' };
  const membership = port.vlan;
  if (membership && 'access' in membership) return tag === undefined ? { vlan: membership.access } : { drop: 'tagged' };
  if (tag === undefined) {
    if (membership?.native !== undefined) return { vlan: membership.native };
    return membership && membership.trunk !== 'all' ? { drop: 'vlan' } : { vlan: 0 };
  }
  const isListed = !membership || membership.trunk === 'all' || membership.trunk.includes(tag);
  return isListed && tag >= 1 && tag <= 4094 ? { vlan: tag } : { drop: 'vlan' };
}

/** The tag that the workload sees. */
export function egressTag(sw: LogicalSwitch, port: LogicalPort, vlan: number): number {
  if (!sw.vlanAware || !port.vlan) return vlan;
  if ('access' in port.vlan) return 0;
  return port.vlan.native === vlan ? 0 : vlan;
}
