import { isWire, mtuOfSwitch, tunnelMtu } from '../model/mtu.ts';
import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import type { Packet } from './packet.ts';

/** How large packets may be (docs/design/layer3.md, §6a). */

/** May what comes in by the port at this host be larger than tunnels take? */
export function bringsLarger(model: ModelView, port: LogicalPort, sw: LogicalSwitch, host: string): boolean {
  const tunnels = tunnelMtuAt(model, host);
  if (tunnels === undefined) return false;
  if (isWire(port) || (!port.portSecurity && model.outsideOfPort(port.id) !== undefined)) return true;
  return sw.mtu !== undefined && sw.mtu > tunnels;
}

/** The largest IP packet that a router sends into the switch; undefined where it does not ask. */
export function largestInto(model: ModelView, { host, isLarger }: Packet, sw: LogicalSwitch): number | undefined {
  if (sw.mtu !== undefined) return sw.mtu;
  const tunnels = isLarger && !hasWireAt(model, sw, host) ? tunnelMtuAt(model, host) : undefined;
  return tunnels === undefined ? undefined : mtuOfSwitch(sw, tunnels);
}

export function tunnelMtuAt(model: ModelView, hostId: string): number | undefined {
  const host = model.get('host', hostId);
  const zone = host && model.get('tunnelZone', host.zone);
  return zone && tunnelMtu(host, zone.encap);
}

/** Does the switch, on which nobody is told an address, lead out by a wire of this host? */
function hasWireAt(model: ModelView, sw: LogicalSwitch, host: string): boolean {
  if (sw.subnets.length > 0) return false;
  for (const port of model.portsOfSwitch(sw.id))
    if (isWire(port) && model.outsideOfPort(port.id) === undefined && model.bindingOf(port.id)?.active === host)
      return true;
  return false;
}
