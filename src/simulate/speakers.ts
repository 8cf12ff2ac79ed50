import { parseIp, parseMac } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch, RouterPort } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { routerPortOwns } from './addresses.ts';
import type { Frame } from './frame.ts';
import { portTowards } from './routes.ts';
import { sameIp } from './tuple.ts';

/** Which of the frames from outside are for the BGP daemon that shares a router port's address (docs/design/gateways.md, §3). */

const BGP = 179;
/** Of one hop: control and echo (RFC 5881 §4), which neighbours alone can send with this TTL (§5). */
const BFD: readonly number[] = [3784, 3785];
const BFD_TTL = 255;
/** RFC 5883 §5. */
const MULTIHOP_BFD = 4784;

/** The router port whose daemon gets the frame, which `wire` hands over at a host where it is active. */
export function speakerFor(
  model: ModelView,
  wire: LogicalPort,
  sw: LogicalSwitch,
  frame: Frame,
): RouterPort | undefined {
  const session = wire.portSecurity || sw.vlanAware || frame.tag !== undefined ? undefined : sessionOf(frame);
  if (session === undefined) return undefined;
  for (const port of model.routerPortsOfSwitch(sw.id))
    if (parseMac(port.mac) === frame.dst && routerPortOwns(port, frame.ip!.dst) && isWith(model, port, session, frame))
      return port;
  return undefined;
}

type Session = 'bgp' | 'bfd' | 'multihopBfd';

function sessionOf({ ip, ports }: Frame): Session | undefined {
  if (ip === undefined || ports === undefined) return undefined;
  if (ip.protocol === IP_PROTO.tcp) return ports.src === BGP || ports.dst === BGP ? 'bgp' : undefined;
  if (ip.protocol !== IP_PROTO.udp) return undefined;
  if (ports.dst === MULTIHOP_BFD) return 'multihopBfd';
  return BFD.includes(ports.dst) && ip.ttl === BFD_TTL ? 'bfd' : undefined;
}

/** The daemon runs wherever the wire is, and speaks with the port's peers, held down or not, and with next hops that are probed by BFD. */
function isWith(model: ModelView, port: RouterPort, session: Session, { ip }: Frame): boolean {
  const router = model.get('router', port.router);
  if (!port.adminUp || !router?.adminUp) return false;
  const isSource = (address: string): boolean => sameIp(parseIp(address)!, ip!.src);
  for (const { address, bfd, multihop = 1 } of model.bgpPeersAt(port.id))
    if (isSource(address) && (session === 'bgp' || (bfd && (session === 'bfd' || multihop > 1)))) return true;
  return (
    session === 'bfd' &&
    router.routes.some(
      ({ via, probe }) =>
        probe?.type === 'bfd' && isSource(via!) && portTowards(model, router, parseIp(via!)!)?.id === port.id,
    )
  );
}
