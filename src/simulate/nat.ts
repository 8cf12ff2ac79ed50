import { formatIp, type Ip, type Mac, parseIp, parseMac } from '../base/addresses.ts';
import { parseMoved } from '../model/moved-connections.ts';
import type { FloatingAddress, LoadBalancer, NatLease, NatMove, Router, RouterPort } from '../model/objects.ts';
import { pooledAddress, poolOf, snatRuleFor, translatesTo } from '../model/snat.ts';
import type { ModelView } from '../model/view.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { fixedOf, floatingOf, routerPortOwns } from './addresses.ts';
import { addressed, chooseMember, listenerAt, listenerFor, memberAt, refuse, withVip } from './balancers.ts';
import { readingAtRouter } from './connection-helpers.ts';
import type { Zone } from './connections.ts';
import { isEchoRequest } from './echo.ts';
import { askMember, handOn, isInMidConnection, othersThan } from './hand-off.ts';
import type { Journey } from './journey.ts';
import { nameOf } from './names.ts';
import type { ObjectRef } from './outcome.ts';
import { type Packet, sourceOf } from './packet.ts';
import { areJoined } from './places.ts';
import type { Reading, Translation } from './tracker.ts';
import { sameIp } from './tuple.ts';
import { dropUnknown, foundKnown } from './uplinks.ts';

/** Translation at outside ports (docs/design/layer3.md, §7 and "from outside" of §8). */

/**
 * What comes in by an outside port: the packet as it goes on, at its anchor; several copies where only the hosts themselves can know whose it is; none
 * where it is dropped, which the journey then knows. `member`: chosen before the packet came through the tunnel.
 */
export function comeIn(
  journey: Journey,
  packet: Packet,
  router: Router,
  port: RouterPort,
  member?: string,
): readonly Packet[] {
  const { model } = journey;
  const { dst } = packet.frame.ip!;
  const text = formatIp(dst);
  const sharers = withVip(model.loadBalancersOf(router.id), dst);
  const balancer = addressed(sharers, packet.frame);
  if (balancer && member !== undefined) return toMember(journey, packet, balancer, port, member);
  for (const floating of floatingOf(model, router.id)) {
    const fixed = floating.address === text ? fixedOf(model, floating) : undefined;
    if (fixed) return toFloating(journey, packet, port, floating, fixed);
  }
  if (translatesTo(router, text)) return toTranslated(journey, packet, router, port, text);
  if (balancer && listenerFor(balancer, packet.frame)) return toMember(journey, packet, balancer, port, undefined);
  if (balancer && isEchoRequest(packet.frame)) return [packet];
  if (balancer && packet.frame.icmp) return toKnownMembers(journey, packet, sharers, port);
  if (routerPortOwns(port, dst)) return [packet];
  journey.drop('not-translated', packet.host, { kind: 'router', id: router.id });
  return [];
}

/** Without a connection an SNAT address may be one of the port itself. */
function asOwn(journey: Journey, packet: Packet, router: Router, port: RouterPort): readonly Packet[] {
  if (routerPortOwns(port, packet.frame.ip!.dst)) return [packet];
  journey.drop('not-translated', packet.host, { kind: 'router', id: router.id });
  return [];
}

/** The packet on the host that keeps its connection's state; undefined where no tunnel leads there. `mac`: as its destination in the tunnel. */
function atAnchor(
  journey: Journey,
  packet: Packet,
  port: RouterPort,
  anchor: string,
  mac = parseMac(port.mac)!,
): Packet | undefined {
  const { host } = packet;
  if (anchor === host) return packet;
  const at = { kind: 'routerPort', id: port.id } as const;
  if (packet.isFromTunnel || !areJoined(journey, host, anchor)) {
    journey.drop(packet.isFromTunnel ? 'tunnel-loop' : 'no-tunnel', host, at);
    return undefined;
  }
  journey.step(
    host,
    at,
    `through the tunnel to host ${nameOf(journey.model, { kind: 'host', id: anchor })}, its anchor`,
  );
  journey.anchor({
    from: host,
    to: anchor,
    routerPort: port.id,
    frame: { ...packet.frame, src: sourceOf(packet), dst: mac },
  });
  const { state: _, gatewayPort: __, ...untracked } = packet;
  return { ...untracked, host: anchor, isLarger: false, isFromTunnel: true };
}

function toFloating(
  journey: Journey,
  packet: Packet,
  port: RouterPort,
  floating: FloatingAddress,
  fixed: Ip,
): readonly Packet[] {
  const about = { kind: 'floatingAddress', id: floating.id } as const;
  const anchor = journey.model.bindingOf(floating.port)?.active;
  if (anchor === undefined) {
    journey.drop('not-bound', packet.host, { kind: 'port', id: floating.port });
    return [];
  }
  const here = atAnchor(journey, packet, port, anchor);
  if (!here) return [];
  const zone = zoneOf(port.router, here.host);
  const reading = readingAtRouter(journey.model, floating.port, 'in', here);
  const translated = translateFor(journey, here, zone, { end: 'dst', address: fixed }, about, reading);
  if (!translated) return [];
  journey.step(here.host, about, `leads to ${formatIp(translated.frame.ip!.dst)}`);
  return [translated];
}

/** To an SNAT address: back to who sent from it, which the lease of the port tells for TCP and UDP. */
function toTranslated(
  journey: Journey,
  packet: Packet,
  router: Router,
  port: RouterPort,
  address: string,
): readonly Packet[] {
  const { ip, ports } = packet.frame;
  const leases = [...journey.model.leasesOfRouter(router.id)].filter((lease) => lease.address === address);
  const hasPorts = ip!.protocol === IP_PROTO.tcp || ip!.protocol === IP_PROTO.udp;
  const moves = [...journey.model.natMovesOfRouter(router.id)].filter((move) => move.address === address);
  if (hasPorts) {
    const move = moves.find((move) => tookAlong(move, packet));
    if (move) return toMoved(journey, packet, router, port, move);
    const lease = ports && leases.find(({ blocks }) => blocks.some((b) => holds(b, ports.dst)));
    if (!lease) return asOwn(journey, packet, router, port);
    const here = atAnchor(journey, packet, port, lease.host);
    return here ? turnedBack(journey, here, router, port) : [];
  }
  // A ping from outside answers nobody.
  if (isEchoRequest(packet.frame) || leases.length === 0) return asOwn(journey, packet, router, port);
  const hosts = new Set(leases.map(({ host }) => host));
  for (const move of moves) {
    const host = journey.model.bindingOf(move.port)?.active;
    if (host !== undefined) hosts.add(host);
  }
  return [...hosts].flatMap((host) => {
    const here = atAnchor(journey, packet, port, host);
    return here ? turnedBack(journey, here, router) : [];
  });
}

/** Is it for one of the connections that moved? */
function tookAlong({ connections }: NatMove, { frame: { ip, ports } }: Packet): boolean {
  return connections.some((text) => {
    const moved = parseMoved(text);
    if (!moved || !ports || ip!.protocol !== (moved.protocol === 'tcp' ? IP_PROTO.tcp : IP_PROTO.udp)) return false;
    return ports.dst === moved.port && ports.src === moved.remotePort && sameIp(ip!.src, parseIp(moved.remote)!);
  });
}

/** The workload is elsewhere than the lease of the port: its host has the connection. */
function toMoved(journey: Journey, packet: Packet, router: Router, port: RouterPort, move: NatMove): readonly Packet[] {
  const anchor = journey.model.bindingOf(move.port)?.active;
  if (anchor === undefined) {
    journey.drop('not-bound', packet.host, { kind: 'port', id: move.port });
    return [];
  }
  const here = atAnchor(journey, packet, port, anchor);
  return here ? turnedBack(journey, here, router, port) : [];
}

/** `own`: the port whose address it may be, too. */
function turnedBack(journey: Journey, packet: Packet, router: Router, own?: RouterPort): readonly Packet[] {
  const { state, frame, connection } = journey.tracker.look(zoneOf(router.id, packet.host), packet.frame);
  const about = { kind: 'router', id: router.id } as const;
  if (connection) {
    journey.step(packet.host, about, `the destination becomes ${formatIp(frame.ip!.dst)} again`);
    return [foundKnown(journey, { ...packet, frame, state }, about)];
  }
  if (packet.isKnownOnly) {
    dropUnknown(journey, packet, about);
    return [];
  }
  if (own) return asOwn(journey, packet, router, own);
  journey.drop('not-translated', packet.host, about);
  return [];
}

function toMember(
  journey: Journey,
  packet: Packet,
  balancer: LoadBalancer,
  port: RouterPort,
  chosen: string | undefined,
): readonly Packet[] {
  const { model } = journey;
  const about = { kind: 'loadBalancer', id: balancer.id } as const;
  const member = chosen === undefined ? chooseMember(journey, balancer, packet) : memberAt(model, balancer, chosen);
  const listening = listenerFor(balancer, packet.frame);
  if (!member && isInMidConnection(packet.frame)) {
    const others = othersThan(model, balancer, undefined);
    if (others.length > 0) return handOn(journey, packet, balancer, port, others);
  }
  if (!member && packet.isKnownOnly) {
    dropUnknown(journey, packet, about);
    return [];
  }
  if (!member || !listening) {
    refuse(journey, packet, balancer);
    return [];
  }
  const anchor = model.bindingOf(member.port.id)?.active;
  if (anchor === undefined) {
    journey.drop('not-bound', packet.host, { kind: 'port', id: member.port.id });
    return [];
  }
  const marker = (0x024d_0000_0000 + member.port.key) as Mac;
  const here = atAnchor(journey, packet, port, anchor, marker);
  if (!here) return [];
  if (isInMidConnection(here.frame)) {
    const others = othersThan(model, balancer, member.port.id);
    if (others.length > 0)
      return askMember(journey, here, balancer, member.port.id) ?? handOn(journey, here, balancer, port, others);
  }
  const to: Translation = { end: 'dst', address: member.address, port: listening.memberPort };
  const translated = translateFor(journey, here, `vip:${member.port.id}@${here.host}`, to, about);
  if (!translated) return [];
  journey.step(here.host, about, `sends it to ${member.port.name} (${formatIp(translated.frame.ip!.dst)})`);
  return [{ ...translated, vipMember: member.port.id }];
}

/** An ICMP error has no port to choose a balancer and a member by: each member's zone is asked, on its host. */
function toKnownMembers(
  journey: Journey,
  packet: Packet,
  sharers: readonly LoadBalancer[],
  port: RouterPort,
): readonly Packet[] {
  const { model } = journey;
  const members = new Map<string, { readonly anchor: string; readonly about: ObjectRef }>();
  for (const balancer of sharers)
    for (const { port: id } of balancer.members) {
      const anchor = memberAt(model, balancer, id) && model.bindingOf(id)?.active;
      if (anchor !== undefined && !members.has(id))
        members.set(id, { anchor, about: { kind: 'loadBalancer', id: balancer.id } });
    }
  if (members.size === 0) journey.drop('not-bound', packet.host, { kind: 'loadBalancer', id: sharers[0]!.id });
  return [...members].flatMap(([id, { anchor, about }]) => {
    const here = atAnchor(journey, packet, port, anchor);
    if (!here) return [];
    const { state, frame, connection } = journey.tracker.look(`vip:${id}@${here.host}`, here.frame);
    if (!connection) {
      if (here.isKnownOnly) dropUnknown(journey, here, about);
      else journey.drop('invalid', here.host, about);
      return [];
    }
    journey.step(here.host, about, `the destination becomes ${formatIp(frame.ip!.dst)}`);
    return [foundKnown(journey, { ...here, frame, state, vipMember: id }, about)];
  });
}

/** To an address that may be full: then there are no new connections. Undefined where the packet is dropped, which the journey then knows. */
function translateFor(
  journey: Journey,
  packet: Packet,
  zone: Zone,
  to: Translation,
  about: { readonly kind: 'floatingAddress' | 'loadBalancer'; readonly id: string },
  reading: Reading = {},
): Packet | undefined {
  const isFull = journey.model.isFull(packet.host, about.id);
  const { state, frame, connection } = journey.tracker.look(zone, packet.frame);
  if (packet.isKnownOnly && !connection) {
    dropUnknown(journey, packet, about);
    return undefined;
  }
  if ((isFull || packet.isKnownOnly) && connection) return foundKnown(journey, { ...packet, frame, state }, about);
  const translated = isFull ? undefined : translate(journey, packet, zone, to, reading);
  if (!translated) journey.drop(isFull && !state.isInvalid ? 'connection-limit' : 'invalid', packet.host, about);
  return translated;
}

/** A known connection keeps its translation, a new one gets the given. Undefined for what can begin none, and where no port is free. */
function translate(
  journey: Journey,
  packet: Packet,
  zone: Zone,
  to: Translation,
  reading: Reading,
): Packet | undefined {
  const known = journey.tracker.look(zone, packet.frame);
  if (known.connection) return { ...packet, frame: known.frame, state: known.state };
  const made = known.state.isInvalid ? undefined : journey.tracker.commit(zone, packet.frame, 0, to, reading);
  return made && { ...packet, frame: made.frame, state: made.state };
}

/** What leaves by an outside port, its source translated; undefined where it is dropped, which the journey then knows. */
export function goOut(journey: Journey, packet: Packet, router: Router): Packet | undefined {
  const { host, frame } = packet;
  const zone = zoneOf(router.id, host);
  const about = { kind: 'router', id: router.id } as const;
  const toldBy = (after: Packet): Packet => {
    const [before, now] = [frame.ip!.src, after.frame.ip!.src];
    if (!sameIp(before, now)) journey.step(host, about, `the source ${formatIp(before)} becomes ${shown(after)}`);
    return after;
  };
  if (!packet.isRouters && packet.state?.isReply && isOfVip(journey.model, router, packet)) return packet;
  if (packet.isRouters || packet.state?.isReply) {
    const known = journey.tracker.look(zone, frame);
    return toldBy(known.connection ? { ...packet, frame: known.frame, state: known.state } : packet);
  }
  const to = sourceTranslation(journey.model, router, packet);
  if (!to) return packet;
  if (to === 'no-lease') {
    const known = journey.tracker.look(zone, frame);
    const isHere = isKnownHere(journey.model, router, packet);
    if (isHere && known.connection) return toldBy({ ...packet, frame: known.frame, state: known.state });
    if (isHere && known.state.isInvalid) {
      journey.drop('invalid', host, about);
      return undefined;
    }
    journey.drop('no-ports', host, about);
    return undefined;
  }
  const translated = translate(journey, packet, zone, to.by, to.reading);
  if (translated) return toldBy(translated);
  const isInvalid = journey.tracker.look(zone, frame).state.isInvalid;
  journey.drop(isInvalid ? 'invalid' : 'no-ports', host, about);
  return undefined;
}

/** Is it what a member here answers a client outside, as a VIP of the router again? The router's zone has translated no such thing. */
function isOfVip(model: ModelView, router: Router, { host, frame }: Packet): boolean {
  const { ip, ports } = frame;
  if (!ip || !ports || ip.fragment !== 'no') return false;
  return withVip(model.loadBalancersOf(router.id), ip.src).some(
    (balancer) =>
      listenerAt(balancer, ip.protocol, ports.src) !== undefined &&
      balancer.members.some(({ port }) => model.bindingOf(port)?.active === host),
  );
}

function shown({ frame: { ip, ports } }: Packet): string {
  return ports ? `${formatIp(ip!.src)} port ${ports.src}` : formatIp(ip!.src);
}

/** A floating address of the source goes before the router's rules, of which the narrowest network wins. */
function sourceTranslation(
  model: ModelView,
  router: Router,
  packet: Packet,
): { readonly by: Translation; readonly reading: Reading } | 'no-lease' | undefined {
  const { frame, host, gatewayPort } = packet;
  const { src, protocol } = frame.ip!;
  for (const floating of floatingOf(model, router.id)) {
    const fixed = fixedOf(model, floating);
    if (fixed && sameIp(fixed, src)) {
      const by = { end: 'src', address: parseIp(floating.address)! } as const;
      return { by, reading: readingAtRouter(model, floating.port, 'out', packet) };
    }
  }
  const rule = snatRuleFor(router, src);
  if (!rule) return undefined;
  const to = pooledAddress(rule, src);
  const lease = leaseOf(model, router, to, host, gatewayPort);
  if (!lease || lease.blocks.length === 0) return 'no-lease';
  const address = parseIp(to)!;
  // Ports that a client names to a server are of no block: nothing is read here.
  if (protocol !== IP_PROTO.tcp && protocol !== IP_PROTO.udp) return { by: { end: 'src', address }, reading: {} };
  const ranges = lease.blocks.map(({ first, size }) => ({ first, last: first + size - 1 }));
  return { by: { end: 'src', address, ranges }, reading: {} };
}

/**
 * Are there connections of an address of the pool that the source's is one of: with ports of this host, as the pool was another one when they began, or
 * of a workload of this host, with ports of another?
 */
function isKnownHere(model: ModelView, router: Router, { frame, host, gatewayPort }: Packet): boolean {
  const rule = snatRuleFor(router, frame.ip!.src);
  const pool = new Set(rule === undefined ? [] : poolOf(rule));
  return (
    [...pool].some((address) => (leaseOf(model, router, address, host, gatewayPort)?.blocks.length ?? 0) > 0) ||
    [...model.natMovesOfRouter(router.id)].some(
      ({ address, port }) => pool.has(address) && model.bindingOf(port)?.active === host,
    )
  );
}

/** The host's, or that of the L2 gateway's port by which the packet came in. */
function leaseOf(
  model: ModelView,
  router: Router,
  address: string,
  host: string,
  port: string | undefined,
): NatLease | undefined {
  for (const lease of model.leasesOfRouter(router.id))
    if (lease.address === address && lease.port === port && (port !== undefined || lease.host === host)) return lease;
  return undefined;
}

function holds({ first, size }: NatLease['blocks'][number], port: number): boolean {
  return port >= first && port < first + size;
}

function zoneOf(router: string, host: string): Zone {
  return `router:${router}@${host}`;
}
