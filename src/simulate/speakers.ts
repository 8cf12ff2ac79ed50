import { parseIp, parseMac } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch, RouterPort } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { routerPortOwns } from './addresses.ts';
import type { Frame } from './frame.ts';
import { portTowards } from './routes.ts';

/** Which of the frames from outside are for the BGP daemon that shares a router port's address (docs/design/gateways.md, §3). */

const BGP = 179;
const BFD: readonly number[] = [3784, 3785, 4784];

/** The router port whose daemon gets the frame, which `wire` hands over at a host where it is active. */
export function speakerFor(
  model: ModelView,
  wire: LogicalPort,
  sw: LogicalSwitch,
  frame: Frame,
): RouterPort | undefined {
  if (wire.portSecurity || sw.vlanAware || frame.tag !== undefined || !isSession(frame)) return undefined;
  for (const port of model.routerPortsOfSwitch(sw.id))
    if (parseMac(port.mac) === frame.dst && routerPortOwns(port, frame.ip!.dst) && hasSpeaker(model, port)) return port;
  return undefined;
}

function isSession({ ip, ports }: Frame): boolean {
  if (ip === undefined || ports === undefined) return false;
  if (ip.protocol === IP_PROTO.tcp) return ports.src === BGP || ports.dst === BGP;
  return ip.protocol === IP_PROTO.udp && BFD.includes(ports.dst);
}

/** One runs wherever the wire is, while a peer is spoken to there. */
function hasSpeaker(model: ModelView, port: RouterPort): boolean {
  const router = model.get('router', port.router);
  if (!port.adminUp || !router?.adminUp) return false;
  for (const { via, probe } of router.routes)
    if (probe?.type === 'bfd' && portTowards(model, router, parseIp(via!)!)?.id === port.id) return true;
  if (router.bgp === undefined) return false;
  for (const { adminUp } of model.bgpPeersAt(port.id)) if (adminUp) return true;
  return false;
}
