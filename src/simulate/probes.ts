import { cidrContains, type Ip, linkLocalOf, parseIp, parseIpv4 } from '../base/addresses.ts';
import type { LoadBalancer, LogicalPort, LogicalSwitch } from '../model/objects.ts';
import { healthPort } from '../model/serving.ts';
import { subnetOf } from '../model/subnets.ts';
import type { ModelView } from '../model/view.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { firstAddress, networksOf } from './addresses.ts';
import type { Frame } from './frame.ts';
import type { Journey } from './journey.ts';
import type { Packet } from './packet.ts';
import { vlanOfAddress } from './resolve.ts';
import { sameIp } from './tuple.ts';

/** Where the health of members is asked from (docs/design/layer3.md, §8). */

const FALLBACK4: Ip = { version: 4, value: parseIpv4('169.254.87.70')! };
const PORTS = { first: 61_440, last: 65_535 } as const;

/** Does the packet answer a probe of the port's health? Then it is for the host's agent. */
export function isProbeAnswer(journey: Journey, port: LogicalPort, sw: LogicalSwitch, packet: Packet): boolean {
  const kind = likeness(journey.model, port, sw, packet.frame);
  return kind === 'answer' || (kind === 'ambiguous' && !isKnownReply(journey, port, packet));
}

/** A member that called a VIP, from a port as probes have, answers itself: it is no call, whatever the VIP listens to. */
export function isNoProbeAnswer(journey: Journey, port: LogicalPort, sw: LogicalSwitch, packet: Packet): boolean {
  return likeness(journey.model, port, sw, packet.frame) === 'ambiguous' && isKnownReply(journey, port, packet);
}

function isKnownReply({ tracker }: Journey, port: LogicalPort, { frame, host }: Packet): boolean {
  return tracker.look(`port:${port.id}@${host}`, frame).state.isReply;
}

/** Whether it looks like an answer to a probe; `ambiguous`: or like a part of a connection with a VIP. */
function likeness(
  model: ModelView,
  port: LogicalPort,
  sw: LogicalSwitch,
  frame: Frame,
): 'answer' | 'ambiguous' | undefined {
  const { ip, ports } = frame;
  if (!ip) return undefined;
  let found: 'answer' | 'ambiguous' | undefined;
  for (const { balancer, address } of probesOf(model, port)) {
    const source = sourceOf(model, port, sw, address, balancer);
    if (!sameIp(source.ip, ip.dst) || !isWanted(balancer.health!.type, frame)) continue;
    if (!source.isVip || !ports) return 'answer';
    if (ip.fragment === 'no' && ports.src === healthPort(balancer.health!, balancer.listeners)) found = 'ambiguous';
  }
  return found;
}

/** The MAC of the switch itself, where the port is probed from an address that nobody has. */
export function serviceMacFor(
  model: ModelView,
  port: LogicalPort,
  sw: LogicalSwitch,
  ip: Ip,
  vlan: number,
): number | undefined {
  const fallback = fallbackOf(sw, ip.version);
  if (!sameIp(fallback, ip)) return undefined;
  for (const { balancer, address } of probesOf(model, port))
    if (sameIp(sourceOf(model, port, sw, address, balancer).ip, fallback) && vlanOfMember(port, sw, address) === vlan)
      return serviceMacOf(sw);
  return undefined;
}

/** Balancers that probe the port, and which of its addresses. */
function* probesOf(
  model: ModelView,
  port: LogicalPort,
): Iterable<{ readonly balancer: LoadBalancer; readonly address: Ip }> {
  for (const balancer of model.all('loadBalancer')) {
    const { adminUp, health, members } = balancer;
    if (!adminUp || !health || !members.some((member) => member.port === port.id)) continue;
    const address = firstAddress(port, parseIp(balancer.address)!.version);
    if (address) yield { balancer, address };
  }
}

/** A router's address in the member's network, a VIP of its switch beside it, or one that every switch has for this. */
function sourceOf(
  model: ModelView,
  port: LogicalPort,
  sw: LogicalSwitch,
  member: Ip,
  balancer: LoadBalancer,
): { readonly ip: Ip; readonly isVip: boolean } {
  const ports = [...model.routerPortsOfSwitch(sw.id)].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const each of ports) {
    const network = networksOf(each).find((own) => cidrContains(own, member));
    if (network) return { ip: network.ip, isVip: false };
  }
  const vip = parseIp(balancer.address)!;
  const isNear = balancer.switch === sw.id && vlanOfAddress(sw, vip) === vlanOfMember(port, sw, member);
  if (isNear && vip.version === 4 && subnetOf(sw, vip)?.cidr === subnetOf(sw, member)?.cidr)
    return { ip: vip, isVip: true };
  return { ip: fallbackOf(sw, member.version), isVip: false };
}

function vlanOfMember({ vlan }: LogicalPort, sw: LogicalSwitch, member: Ip): number {
  return sw.vlanAware && vlan && 'access' in vlan ? vlan.access : vlanOfAddress(sw, member);
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
