import { cidrContains, type Ip, linkLocalOf, parseIp, parseIpv4 } from '../base/addresses.ts';
import type { LoadBalancer, LogicalPort, LogicalSwitch } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { firstAddress, networksOf } from './addresses.ts';
import type { Frame } from './frame.ts';
import { sameIp } from './tuple.ts';

/** Where the health of members is asked from (docs/design/layer3.md, §8). */

const FALLBACK4: Ip = { version: 4, value: parseIpv4('169.254.87.70')! };
const PORTS = { first: 61_440, last: 65_535 } as const;

/** Does the packet answer a probe of the port's health? Then it is for the host's agent. */
export function isProbeAnswer(model: ModelView, port: LogicalPort, sw: LogicalSwitch, frame: Frame): boolean {
  const { ip } = frame;
  if (!ip) return false;
  for (const { balancer, address } of probesOf(model, port))
    if (sameIp(proberOf(model, sw, address), ip.dst) && isWanted(balancer.health!.type, frame)) return true;
  return false;
}

/** The MAC of the switch itself, where the port is probed from an address that no router port has. */
export function serviceMacFor(model: ModelView, port: LogicalPort, sw: LogicalSwitch, ip: Ip): number | undefined {
  const fallback = fallbackOf(sw, ip.version);
  if (!sameIp(fallback, ip)) return undefined;
  for (const { address } of probesOf(model, port))
    if (sameIp(proberOf(model, sw, address), fallback)) return serviceMacOf(sw);
  return undefined;
}

/** Balancers that probe the port, and which of its addresses. */
function* probesOf(
  model: ModelView,
  port: LogicalPort,
): Iterable<{ readonly balancer: LoadBalancer; readonly address: Ip }> {
  for (const balancer of model.all('loadBalancer')) {
    if (!balancer.health || !balancer.members.some((member) => member.port === port.id)) continue;
    const address = firstAddress(port, parseIp(balancer.address)!.version);
    if (address) yield { balancer, address };
  }
}

function proberOf(model: ModelView, sw: LogicalSwitch, member: Ip): Ip {
  const ports = [...model.routerPortsOfSwitch(sw.id)].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const port of ports) {
    const network = networksOf(port).find((each) => cidrContains(each, member));
    if (network) return network.ip;
  }
  return fallbackOf(sw, member.version);
}

function fallbackOf(sw: LogicalSwitch, version: 4 | 6): Ip {
  return version === 4 ? FALLBACK4 : { version: 6, value: linkLocalOf(serviceMacOf(sw)) };
}

function serviceMacOf({ key }: LogicalSwitch): number {
  return 0x0a57_4600_0000 + key;
}

function isWanted(type: NonNullable<LoadBalancer['health']>['type'], { ip, ports, icmp }: Frame): boolean {
  const isToProber = ports !== undefined && ports.dst >= PORTS.first && ports.dst <= PORTS.last;
  switch (type) {
    case 'tcp':
    case 'http':
      return ip!.protocol === IP_PROTO.tcp && isToProber;
    case 'udp': {
      const [unreachable, portCode] = ip!.version === 4 ? [3, 3] : [1, 4];
      return (ip!.protocol === IP_PROTO.udp && isToProber) || (icmp?.type === unreachable && icmp.code === portCode);
    }
    case 'icmp':
      return icmp !== undefined && icmp.type === (ip!.version === 4 ? 0 : 129);
  }
}
