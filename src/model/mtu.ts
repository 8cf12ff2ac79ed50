import type { Encap, Host, LogicalPort, LogicalSwitch } from './objects.ts';

/** How large IP packets may be where (docs/design/layer3.md, §6a), in bytes. */

/** What the encapsulation adds to a packet of the workload, inner Ethernet header counted, over IPv4 (IPv6 adds 20). */
const OVERHEAD: Readonly<Record<Encap, number>> = { geneve: 50, vxlan: 50, gre: 42 };

/** Of every link with IPv6 (RFC 8200 §5): routers may not answer with less (RFC 8201 §4), so what does not fit would be lost for ever. */
export const LEAST_MTU_6 = 1280;

/** The largest IP packet, its frame without a tag, that tunnels of the host take. */
export function tunnelMtu(
  { underlayMtu, tunnelAddress }: Pick<Host, 'underlayMtu' | 'tunnelAddress'>,
  encap: Encap,
): number {
  return underlayMtu - OVERHEAD[encap] - (tunnelAddress.includes(':') ? 20 : 0);
}

/** The largest IP packet on a switch: its own say, or what the tunnels leave. `tunnels`: the `tunnelMtu` of the host that asks. */
export function mtuOfSwitch({ mtu, vlanAware }: Pick<LogicalSwitch, 'mtu' | 'vlanAware'>, tunnels: number): number {
  return mtu ?? tunnels - (vlanAware ? 4 : 0);
}

/** Behind a wire is the world, and nobody told it how large packets may be. */
export function isWire({ portSecurity, addresses }: Pick<LogicalPort, 'portSecurity' | 'addresses'>): boolean {
  return !portSecurity && addresses.length === 0;
}
