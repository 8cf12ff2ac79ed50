import { formatIp, formatMac, type Ip, parseMac } from '../base/addresses.ts';
import type { LoadBalancer } from '../model/objects.ts';
import {
  addressed,
  balancersInside,
  chooseMember,
  haveRange,
  listenerFor,
  memberAt,
  refuse,
  withVip,
} from './balancers.ts';
import { type Passed, passes } from './chains.ts';
import { readingOf, sayWhatReadIt } from './connection-helpers.ts';
import { MARK } from './connections.ts';
import { echoReply, isEchoRequest } from './echo.ts';
import type { Ingress } from './forward.ts';
import { hasInnerTag } from './frame.ts';
import { groupsAllow } from './groups.ts';
import type { Journey } from './journey.ts';
import { probeAnswerOf } from './next-hop-probes.ts';
import { addressesOf } from './ownership.ts';
import type { Packet } from './packet.ts';
import { isNoProbeAnswer, isProbeAnswer } from './probes.ts';
import { holderOf, vlanOfAddress } from './resolve.ts';
import { isTrackable, isTracked } from './tracking.ts';
import { sameIp } from './tuple.ts';
import { egressTag } from './vlans.ts';

/**
 * Behind the guard: VIP, conntrack, groups, from-chain, commit (docs/design/layer3.md, §3). The packet as it goes on in the switch; undefined where it
 * ends here, which the journey then knows.
 */
export function leavePort(journey: Journey, packet: Packet, ingress: Ingress): Packet | undefined {
  const { port, vlan } = ingress;
  const at = { kind: 'port', id: port.id } as const;
  const passesChain = (given: Packet): Passed | undefined =>
    port.fromChain === undefined ? {} : passes(journey, given, port.fromChain, { at, vlan });
  if (isProbeAnswer(journey, port, ingress.switch, packet)) {
    journey.drop('agent', packet.host, at);
    journey.ask('health', packet, at);
    return undefined;
  }
  const answer = probeAnswerOf(journey.model, port, ingress.switch, packet.frame);
  if (answer) {
    const by = { kind: 'routerPort', id: answer.port.id } as const;
    journey.drop(answer.what === 'answer' ? 'agent' : 'own', packet.host, by);
    if (answer.what === 'answer') journey.ask('next-hop', packet, by);
    return undefined;
  }
  const isAsked = isTracked(journey.model, port);
  if (isAsked && hasInnerTag(packet.frame)) {
    journey.drop('tagged', packet.host, at);
    return undefined;
  }
  if (!isAsked || !isTrackable(packet.frame, 'sends')) return passesChain(packet) ? packet : undefined;
  const addressed = toVip(journey, packet, ingress);
  if (!addressed) return undefined;
  const zone = `port:${port.id}@${packet.host}` as const;
  const { state } = journey.tracker.look(zone, addressed.frame);
  if (state.isInvalid) {
    journey.drop('invalid', packet.host, at);
    return undefined;
  }
  if (state.isReply) journey.step(packet.host, at, 'answers a known connection');
  sayWhatReadIt(journey, packet.host, at, state);
  const tracked = { ...addressed, state };
  const passed = groupsAllow(journey, tracked, port, 'sends') ? passesChain(tracked) : undefined;
  if (!passed) return undefined;
  if (state.isNew && !state.isReply) {
    const reading = readingOf(journey, tracked, port, 'sends', passed.helper);
    journey.tracker.commit(zone, tracked.frame, tracked.isViaVip ? MARK.viaVip : 0, undefined, reading);
  }
  return state.isReply ? turnedBack(journey, tracked, ingress) : tracked;
}

/** A packet to a VIP goes to a member: the one that its connection has, or the one of its slot. */
function toVip(journey: Journey, packet: Packet, ingress: Ingress): Packet | undefined {
  const { model } = journey;
  const { frame, host } = packet;
  const sharers = frame.ip ? withVip(balancersInside(model, ingress.switch), frame.ip.dst) : [];
  const balancer = addressed(sharers, frame);
  if (!balancer || answersItself(journey, packet, sharers, ingress)) return packet;
  if (isNoProbeAnswer(journey, ingress.port, ingress.switch, packet)) return packet;
  const about = { kind: 'loadBalancer', id: balancer.id } as const;
  if (isEchoRequest(frame)) {
    journey.step(host, about, `answers the ping to ${balancer.address}`);
    const { port, switch: sw, vlan } = ingress;
    journey.deliver({ port: port.id, host, tag: egressTag(sw, port, vlan), frame: echoReply(frame) });
    return undefined;
  }
  const translated = translateToMember(journey, packet, balancer, ingress);
  if (translated === 'untouched') return packet;
  if (translated === 'refused') {
    refuse(journey, packet, balancer);
    return undefined;
  }
  const to = translated.frame.ip!.dst;
  journey.step(host, about, `sends it to ${formatIp(to)}`);
  const viaVip = { ...translated, isViaVip: true };
  if (addressesOf(ingress.port).some((own) => sameIp(own, to)))
    return toSelf(journey, viaVip, ingress, frame.ip!.dst, balancer);
  const { switch: sw, vlan } = ingress;
  const neighbour = vlanOfAddress(sw, to) === vlan ? holderOf(model, sw, to, vlan) : undefined;
  return neighbour ? { ...viaVip, frame: { ...viaVip.frame, dst: neighbour.mac } } : viaVip;
}

/** A member that called the VIP answers it, at a port that a range may have: its own zone knows that this is no call. */
function answersItself(
  { model, tracker }: Journey,
  { frame: { ip, ports }, frame, host }: Packet,
  sharers: readonly LoadBalancer[],
  { port }: Ingress,
): boolean {
  if (!ip || !ports || ip.fragment !== 'no' || !haveRange(sharers, ip.protocol)) return false;
  const isMember = sharers.some((balancer) => memberAt(model, balancer, port.id) !== undefined);
  return isMember && tracker.look(`port:${port.id}@${host}`, frame).state.isReply;
}

function translateToMember(
  journey: Journey,
  packet: Packet,
  balancer: LoadBalancer,
  { port }: Ingress,
): Packet | 'untouched' | 'refused' {
  const { frame } = packet;
  const listening = listenerFor(balancer, frame);
  if (!listening && !frame.icmp) return 'untouched';
  const zone = `vip:${port.id}@${packet.host}` as const;
  const { state, connection, frame: known } = journey.tracker.look(zone, frame);
  if (connection) return { ...packet, frame: known };
  if (state.isInvalid || !listening) return 'untouched';
  const member = chooseMember(journey, balancer, packet);
  if (!member) return 'refused';
  const translation = { end: 'dst', address: member.address, port: listening.memberPort } as const;
  const committed = journey.tracker.commit(zone, frame, 0, translation);
  return committed ? { ...packet, frame: committed.frame } : 'untouched';
}

/** The member that was chosen is the client: it hears from the VIP, or it would answer itself past the translation. */
function toSelf(
  journey: Journey,
  packet: Packet,
  { port }: Ingress,
  vip: Ip,
  balancer: LoadBalancer,
): Packet | undefined {
  const zone = `self:${port.id}@${packet.host}` as const;
  const { connection, frame: known } = journey.tracker.look(zone, packet.frame);
  const frame = connection ? known : journey.tracker.commit(zone, packet.frame, 0, { end: 'src', address: vip })?.frame;
  const about = { kind: 'loadBalancer', id: balancer.id } as const;
  if (!frame) {
    journey.drop('no-ports', packet.host, about);
    return undefined;
  }
  journey.step(packet.host, about, `the client is the member: its source becomes ${formatIp(vip)}`);
  return { ...packet, isToSelf: true, frame: { ...frame, dst: parseMac(port.mac)! } };
}

/** Replies of a member: to a client outside, from the VIP again; to itself, back to where they are turned round. */
function turnedBack(journey: Journey, packet: Packet, { port }: Ingress): Packet {
  const about = { kind: 'port', id: port.id } as const;
  const toItself = journey.tracker.look(`self:${port.id}@${packet.host}`, packet.frame);
  if (toItself.connection && toItself.state.isReply) {
    const { src } = packet.frame;
    journey.step(packet.host, about, `answers itself by a virtual address: back to ${formatMac(src)}`);
    return { ...packet, isToSelf: true, frame: { ...packet.frame, dst: src } };
  }
  if ((packet.state!.mark & MARK.vipFromOutside) === 0) return packet;
  const { frame, connection } = journey.tracker.look(`vip:${port.id}@${packet.host}`, packet.frame);
  if (connection) journey.step(packet.host, about, `its source becomes the virtual address again`);
  return { ...packet, frame };
}
