import { cidrContains, formatIp, formatMac, type Ip, parseCidr, parseMac } from '../base/addresses.ts';
import type { LogicalSwitch, Router, RouterPort } from '../model/objects.ts';
import { translatesTo } from '../model/snat.ts';
import type { ModelView } from '../model/view.ts';
import { ARP_OP } from '../packet/arp.ts';
import { ICMPV6_TYPE } from '../packet/icmpv6.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { routerOwns, routerPortOwns } from './addresses.ts';
import { withVip } from './balancers.ts';
import { passes } from './chains.ts';
import { echoReply, isEchoRequest } from './echo.ts';
import type { Journey } from './journey.ts';
import { nameOf } from './names.ts';
import { comeIn, goOut } from './nat.ts';
import type { RequestService } from './outcome.ts';
import type { Leg, Packet } from './packet.ts';
import { passesPrefilters, sourceProblem } from './protection.ts';
import { resolve, vlanOfAddress } from './resolve.ts';
import { describeWay, type Way, wayOf } from './routes.ts';
import { largestInto, tunnelMtuAt } from './sizes.ts';
import { peerOf } from './tracking.ts';
import { dropUnknown, isJudgedWithoutState, passesUplink } from './uplinks.ts';

/** Through one router, by its eight steps (docs/design/layer3.md, §6). */

const HOPS_MAX = 16;
/** What a router says to those who take it for a server. */
const OWN_SERVICES: { readonly [protocol: number]: RequestService } = {
  [IP_PROTO.udp]: 'port-unreachable',
  [IP_PROTO.tcp]: 'reset',
};

/** Steps 1 and 2. */
export function enterRouter(journey: Journey, { packet, port, member }: Leg & { readonly at: 'router' }): void {
  const { model } = journey;
  const { host, frame } = packet;
  const about = { kind: 'routerPort', id: port.id } as const;
  const router = model.get('router', port.router);
  journey.step(host, about, 'enters the router');
  if (!router?.adminUp) return journey.drop('router-down', host, { kind: 'router', id: port.router });
  if (!port.adminUp) return journey.drop('router-down', host, about);
  if (isNeighbourAnswer(frame)) {
    journey.drop('agent', host, about);
    return journey.ask('neighbour', packet, about);
  }
  if (!frame.ip) return journey.drop('not-ip', host, about);
  if (packet.hops >= HOPS_MAX) return journey.drop('too-many-hops', host, about);
  const problem = packet.hops === 0 ? sourceProblem(model, packet, router, port) : undefined;
  if (problem !== undefined) {
    journey.step(host, about, problem);
    return journey.drop('source-check', host, about);
  }
  const { from: _, gatewayPort, ...entering } = packet;
  // Behind a shared switch it is like any other.
  const isNear = packet.hops === 0 || port.switch === undefined || !journey.model.get('switch', port.switch)?.shared;
  const inside: Packet = {
    ...entering,
    ...(gatewayPort === undefined || !isNear ? {} : { gatewayPort }),
    hops: packet.hops + 1,
    isRouters: false,
  };
  const isHandedOver = packet.isFromTunnel && packet.hops === 0;
  if (port.outside && !isHandedOver && !passesPrefilters(journey, inside, router, port)) return;
  if (port.outside && !fitsTunnels(journey, inside, port)) return;
  const arriving = port.outside ? comeIn(journey, inside, router, port, member) : [inside];
  for (const each of arriving) cross(journey, each, router, port);
}

/** What comes in by an outside port goes to its anchor, whichever host that is. Where it is too large the journey knows that it is dropped. */
function fitsTunnels(journey: Journey, packet: Packet, port: RouterPort): boolean {
  const { host, frame, isLarger } = packet;
  const tunnels = isLarger ? tunnelMtuAt(journey.model, host) : undefined;
  const { length } = frame.ip!;
  if (tunnels === undefined || length <= tunnels) return true;
  const at = { kind: 'routerPort', id: port.id } as const;
  journey.step(host, at, `${length} bytes do not fit the tunnels, which take ${tunnels}`);
  journey.drop('too-big', host, at);
  journey.ask('too-big', packet, at);
  return false;
}

/** What the router's agent asked the neighbourhood for. */
function isNeighbourAnswer({ arp, icmp, nd }: Packet['frame']): boolean {
  return arp?.op === ARP_OP.reply || (nd !== undefined && icmp?.type === ICMPV6_TYPE.neighborAdvert);
}

/** Step 3. `by`: the port by which the packet came in. */
function cross(journey: Journey, packet: Packet, router: Router, by: RouterPort): void {
  const at = { kind: 'routerPort', id: by.id } as const;
  if (by.inChain !== undefined) {
    const hook = { at, vlan: 0 };
    if (isJudgedWithoutState(journey, packet, by)) {
      const passed = passesUplink(journey, packet, by.inChain, hook);
      return passed && enterBehindChain(journey, passed, router, by);
    }
    if (!passes(journey, packet, by.inChain, hook)) return;
  }
  enterBehindChain(journey, packet, router, by);
}

/** Steps 4 and 5. */
function enterBehindChain(journey: Journey, packet: Packet, router: Router, by: RouterPort): void {
  const { frame, host } = packet;
  const at = { kind: 'routerPort', id: by.id } as const;
  const ip = frame.ip!;
  const about = { kind: 'router', id: router.id } as const;
  const isVipAsked =
    by.outside && isEchoRequest(frame) && withVip(journey.model.loadBalancersOf(router.id), ip.dst).length > 0;
  if (isVipAsked || (routerOwns(journey.model, router.id, ip.dst) && !answersOverSnat(packet, router, by))) {
    // A router keeps no connections of its own.
    if (packet.isKnownOnly) return dropUnknown(journey, packet, about);
    if (isEchoRequest(frame)) {
      journey.step(host, about, `answers the ping to ${formatIp(ip.dst)}`);
      const { state: _, ...fresh } = packet;
      return route(journey, { ...fresh, frame: echoReply(frame), isRouters: true }, router, by);
    }
    const service = OWN_SERVICES[ip.protocol];
    journey.drop('own', host, about);
    if (service) journey.ask(service, packet, at);
    return;
  }
  if (ip.ttl <= 1) {
    journey.drop('ttl', host, about);
    return journey.ask('ttl', packet, at);
  }
  route(journey, packet, router, by);
}

/** A workload's answer to another of the same router, whose connection went out and in again: it has to go that way too. */
function answersOverSnat({ state, frame }: Packet, router: Router, by: RouterPort): boolean {
  const isReply = state?.isReply === true && !by.outside;
  return isReply && translatesTo(router, formatIp(frame.ip!.dst));
}

/** Steps 6 and 7. */
function route(journey: Journey, packet: Packet, router: Router, by: RouterPort): void {
  const about = { kind: 'router', id: router.id } as const;
  const way = wayOf(journey.model, router, packet.frame, by, packet.host);
  switch (way?.kind) {
    case 'out':
      journey.step(
        packet.host,
        about,
        describeWay(way, nameOf(journey.model, { kind: 'routerPort', id: way.port.id })),
      );
      return leave(journey, packet, router, by, way);
    case 'blackhole':
      journey.step(packet.host, about, way.why);
      return journey.drop('blackhole', packet.host, about);
    case 'policy-drop':
      journey.step(packet.host, about, way.why);
      return journey.drop('route-policy', packet.host, about);
    default:
      if (way) journey.step(packet.host, about, way.why);
      journey.drop('no-route', packet.host, about);
      journey.ask('unreachable', packet, { kind: 'routerPort', id: by.id });
  }
}

/** Step 8. */
function leave(
  journey: Journey,
  packet: Packet,
  router: Router,
  by: RouterPort,
  { port, nextHop }: Way & { readonly kind: 'out' },
): void {
  const { model } = journey;
  const { host, isRouters } = packet;
  const at = { kind: 'routerPort', id: port.id } as const;
  if (!isRouters && port.outChain !== undefined && !passes(journey, packet, port.outChain, { at, vlan: 0 })) return;
  const ip = packet.frame.ip!;
  const sent: Packet = { ...packet, frame: { ...packet.frame, ip: { ...ip, ttl: isRouters ? ip.ttl : ip.ttl - 1 } } };
  const sw = port.switch === undefined ? undefined : model.get('switch', port.switch);
  const largest = sw && largestInto(model, packet, sw);
  if (sw && largest !== undefined && ip.length > largest) {
    journey.step(host, at, `${ip.length} bytes do not fit the MTU of ${largest}`);
    journey.drop('too-big', host, { kind: 'switch', id: sw.id });
    return journey.ask('too-big', packet, { kind: 'routerPort', id: by.id });
  }
  if (sw && !sw.adminUp) return journey.drop('switch-down', host, { kind: 'switch', id: sw.id });
  const outgoing = port.outside ? goOut(journey, sent, router) : sent;
  if (!outgoing) return;
  const src = parseMac(port.mac)!;
  const peer = peerOf(model, port);
  if (peer) {
    const frame = { ...outgoing.frame, src, dst: parseMac(peer.mac)! };
    return journey.goOn({ at: 'router', packet: { ...outgoing, frame }, port: peer });
  }
  if (!sw) return journey.drop('no-neighbour', host, at);
  const holder = resolve(model, sw, nextHop);
  // A VIP that nobody translated on the way here would come in again for ever.
  if (holder?.by.kind === 'loadBalancer' && holder.mac === src && !port.outside)
    return journey.drop('not-translated', host, holder.by);
  if (!maySay(model, router, port, sw, outgoing.frame.ip!.src)) return journey.drop('spoofed-ip', host, at);
  if (!holder) {
    journey.step(host, at, `asks who has ${formatIp(nextHop)} on ${sw.name}; the packet waits`);
    journey.drop('no-neighbour', host, at);
    return journey.ask('resolve', outgoing, at, formatIp(nextHop));
  }
  const name = nameOf(model, holder.by);
  journey.step(host, { kind: 'switch', id: sw.id }, `${formatIp(nextHop)} is ${name} at ${formatMac(holder.mac)}`);
  const frame = { ...outgoing.frame, src, dst: holder.mac };
  journey.goOn({ at: 'switch', packet: { ...outgoing, frame }, switch: sw, vlan: vlanOfAddress(sw, nextHop) });
}

/**
 * Into a network that another tenant shares go sources that the router has: its own, floating, SNAT and virtual addresses. An inside port
 * routes others too, but none of that network.
 */
function maySay(model: ModelView, router: Router, port: RouterPort, sw: LogicalSwitch, source: Ip): boolean {
  if (sw.tenant === port.tenant) return true;
  if (!port.outside && !sw.subnets.some(({ cidr }) => cidrContains(parseCidr(cidr)!, source))) return true;
  const text = formatIp(source);
  if (translatesTo(router, text)) return true;
  for (const { address } of model.floatingAddressesOfRouter(router.id)) if (address === text) return true;
  for (const { address } of model.loadBalancersOf(router.id)) if (address === text) return true;
  for (const own of model.routerPortsOfRouter(router.id))
    if (
      routerPortOwns(own, source) &&
      own.switch !== undefined &&
      model.get('switch', own.switch)?.tenant !== own.tenant
    )
      return true;
  return false;
}
