import { cidrContains, parseCidr, parseIp } from '../base/addresses.ts';
import { isWire } from './mtu.ts';
import type { RouterPort } from './objects.ts';
import type { ModelView } from './view.ts';

/**
 * Is the router port an uplink (docs/design/gateways.md, §1)? It is not `outside`, all ports of its switch are wires, and its router speaks BGP
 * or probes a next hop there. Nothing here is known at gateways alone, as peers are: every host that has the router says the same.
 */
export function isUplink(model: ModelView, port: RouterPort): boolean {
  const router = model.get('router', port.router);
  if (port.outside || port.switch === undefined || router === undefined) return false;
  const isProbed = router.routes.some(
    ({ via, probe }) =>
      probe !== undefined && port.addresses.some((text) => cidrContains(parseCidr(text)!, parseIp(via!)!)),
  );
  return (router.bgp !== undefined || isProbed) && leadsToWiresAlone(model, port.switch);
}

function leadsToWiresAlone(model: ModelView, switchId: string): boolean {
  let wires = 0;
  for (const port of model.portsOfSwitch(switchId)) {
    if (!isWire(port)) return false;
    wires++;
  }
  return wires > 0;
}
