import type { Ip, Ipv4 } from '../base/addresses.ts';
import { PACKET_IN } from '../compile/tables.ts';
import { mtuOfSwitch } from '../model/mtu.ts';
import type { Router, RouterPort } from '../model/objects.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import type { Count } from './counters.ts';
import type { Effect, PacketIn } from './events.ts';
import type { Ground } from './ground.ts';
import { cutIpv4 } from './packet-in/fragments.ts';
import { type IcmpComplaint, icmpErrorFrame } from './packet-in/icmp-error.ts';
import { tunnelMtuOf } from './packet-in/link.ts';
import { type Offender, offenderOf } from './packet-in/offender.ts';
import { inTermsOf, inTermsOfSource } from './packet-in/public-terms.ts';
import { tcpResetFrame } from './packet-in/tcp-reset.ts';
import { floatingDestination, memberSource, virtualDestination } from './public-destination.ts';
import { RateLimit } from './rate-limit.ts';
import { addressOf, isDirectedBroadcast, portsOf, portTowards } from './router-addresses.ts';

/** Errors a second that one sender may cause, and all (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)). A path trace asks for some fifty at once. */
const PER_SENDER = { perSecond: 50, burst: 100 } as const;
const ALTOGETHER = { perSecond: 1000, burst: 1000 } as const;

/** What a router makes begins behind its decrement. */
const ROUTERS_HOPS = 64;

const COMPLAINTS: ReadonlyMap<number, IcmpComplaint['about']> = new Map([
  [PACKET_IN.unreachable, 'no-route'],
  [PACKET_IN.ttl, 'ttl'],
  [PACKET_IN.tooBig, 'too-big'],
  [PACKET_IN.portUnreachable, 'no-port'],
  [PACKET_IN.reject, 'prohibited'],
  [PACKET_IN.reset, 'prohibited'],
] as const);

/** Tells senders why a packet did not go on: ICMP errors and TCP resets of routers, and of rules that reject. */
export class PacketErrors {
  readonly #ground: Ground;
  readonly #limit = new RateLimit(PER_SENDER, ALTOGETHER);
  #tooBig: Count = { packets: 0, bytes: 0 };

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /** What was too large and could not be cut, of what came here: its meter lets a flood come in part. */
  get tooBig(): Count {
    return this.#tooBig;
  }

  isFor(packet: PacketIn): boolean {
    return COMPLAINTS.has(packet.class);
  }

  handle(packet: PacketIn, nowMs: number): Effect[] {
    if (packet.class === PACKET_IN.tooBig) {
      const cut = cutIpv4(packet.frame, this.#mtuBeyond(packet));
      if (cut) return cut.map((frame) => passOn(packet, frame));
      const { packets, bytes } = this.#tooBig;
      this.#tooBig = { packets: packets + 1, bytes: bytes + packet.frame.length };
    }
    const offender = offenderOf(packet.frame);
    if (!offender || !this.#limit.take(senderOf(packet), nowMs)) return [];
    const { scope } = this.#ground;
    const router = scope.byKey('router', packet.switchKey);
    return router ? this.#ofRouter(router, packet, offender) : this.#ofPort(packet, offender);
  }

  /** The next hop did not answer: its packets come back to their senders. */
  noNeighbour(packet: PacketIn, router: Router, nowMs: number): Effect[] {
    const offender = offenderOf(packet.frame);
    if (!offender || !this.#limit.take(senderOf(packet), nowMs)) return [];
    return this.#fromRouter(router, packet, offender, { about: 'no-neighbour' });
  }

  #ofRouter(router: Router, packet: PacketIn, offender: Offender): Effect[] {
    const isTcp = offender.protocol === IP_PROTO.tcp;
    const isOutside = this.#ground.scope.byKey('routerPort', packet.outPortKey)?.outside;
    const said = packet.class === PACKET_IN.reject && !isOutside ? this.#ofVirtual(packet, offender) : undefined;
    if (said) return said;
    if (packet.class === PACKET_IN.reset || (packet.class === PACKET_IN.reject && isTcp)) {
      const frame = isDirectedBroadcast(this.#ground.scope, router.id, offender.dst)
        ? undefined
        : tcpResetFrame(this.#asSent(router, packet, offender), ROUTERS_HOPS);
      return frame ? [fromRouter(router, packet, frame)] : [];
    }
    const about = COMPLAINTS.get(packet.class)!;
    if (about !== 'too-big') return this.#fromRouter(router, packet, offender, { about });
    return this.#fromRouter(router, packet, offender, { about, mtu: this.#mtuBeyond(packet) });
  }

  #fromRouter(router: Router, packet: PacketIn, offender: Offender, complaint: IcmpComplaint): Effect[] {
    const { scope } = this.#ground;
    if (isDirectedBroadcast(scope, router.id, offender.dst)) return [];
    const source = complaint.about === 'no-port' ? offender.dst : this.#sourceOf(router, packet, offender);
    const quoted = this.#asSent(router, packet, offender);
    return source ? [fromRouter(router, packet, icmpErrorFrame(quoted, complaint, source, ROUTERS_HOPS))] : [];
  }

  /**
   * The address of the port by which it came in (RFC 1812 §4.3.2.4 means the one by which the error leaves: the same but for
   * asymmetric ways). Where the registers do not tell any more, the sender's network does.
   */
  #sourceOf(router: Router, packet: PacketIn, { src }: Offender): Ip | undefined {
    const { scope } = this.#ground;
    const named = scope.byKey('routerPort', packet.outPortKey);
    const candidates = [
      named,
      portTowards(scope, router.id, src),
      this.#onSwitchOf(router, packet),
      ...portsOf(scope, router.id),
    ];
    for (const port of candidates) {
      const address = port && addressOf(port, src);
      if (address) return address;
    }
    return undefined;
  }

  /**
   * What came from outside is told of in public terms: a translated destination is none that its sender knows. So is, in its own terms, a member of
   * a balancer that answers a client outside.
   */
  #asSent(router: Router, packet: PacketIn, offender: Offender): Offender {
    const { scope } = this.#ground;
    const sender = packet.isReply ? scope.portByKey(packet.portKey) : undefined;
    const member = sender && memberSource(scope, sender.id, offender);
    if (member) return inTermsOfSource(offender, member.address, member.port);
    if (!scope.byKey('routerPort', packet.outPortKey)?.outside) return offender;
    const { balancerKey } = packet;
    const virtual = packet.memberVip
      ? virtualDestination(scope, offender, { router: router.id, balancerKey })
      : undefined;
    if (virtual) return inTermsOf(offender, virtual.address, virtual.port);
    const floating = floatingDestination(scope, router.id, offender);
    return floating ? inTermsOf(offender, floating) : offender;
  }

  /** The router's port on the switch of the port that it came from. */
  #onSwitchOf(router: Router, packet: PacketIn): RouterPort | undefined {
    const { scope } = this.#ground;
    const from = scope.portByKey(packet.portKey);
    return from && portsOf(scope, router.id).find((port) => port.switch === from.switch);
  }

  /** Of the switch that it was to go to; what came in by an outside port is asked before, whether tunnels take it. */
  #mtuBeyond({ routerPortKey }: PacketIn): number {
    const { scope, host } = this.#ground;
    const onSwitch = scope.byKey('routerPort', routerPortKey)?.switch;
    const sw = onSwitch === undefined ? undefined : scope.get('switch', onSwitch);
    const tunnels = tunnelMtuOf(scope, host);
    return sw ? mtuOfSwitch(sw, tunnels) : tunnels;
  }

  /** A rule or group of a port rejects (or a balancer on its switch has no member): in the name of whom the packet was for. */
  #ofPort(packet: PacketIn, offender: Offender): Effect[] {
    const { scope, interfaces } = this.#ground;
    const said = this.#ofVirtual(packet, offender);
    if (said) return said;
    const frame = refusal(offender);
    if (!frame) return [];
    const to = scope.portByKey(packet.outPortKey);
    const from = scope.portByKey(packet.portKey);
    const onSwitch = to && scope.switchOf(to);
    if (onSwitch)
      return [{ kind: 'inject', frame, at: 'lookup', registers: { switch: onSwitch.key, vlan: packet.vlan } }];
    const ofport = from && interfaces.get(from.id)?.ofport;
    return ofport ? [{ kind: 'packetOut', frame, toOfport: ofport }] : [];
  }

  /** What came from outside to a virtual address is refused by that, behind its router too: its client knows no member. */
  #ofVirtual(packet: PacketIn, offender: Offender): Effect[] | undefined {
    const { scope } = this.#ground;
    const virtual = packet.memberVip ? virtualDestination(scope, offender, packet) : undefined;
    const router = virtual && scope.get('router', virtual.router);
    if (!router) return undefined;
    const frame = refusal(inTermsOf(offender, virtual.address, virtual.port));
    return frame ? [{ kind: 'inject', frame, at: 'policy', registers: { router: router.key, own: 1, routed: 1 } }] : [];
  }
}

/** From whom it was for. */
function refusal(offender: Offender): Uint8Array | undefined {
  if (offender.protocol === IP_PROTO.tcp) return tcpResetFrame(offender);
  return icmpErrorFrame(offender, { about: 'prohibited' }, offender.dst);
}

/** Goes to the router's routes as what it made itself; to a link-local address by the port by which the packet came in. */
function fromRouter(router: Router, packet: PacketIn, frame: Uint8Array): Effect {
  const registers = { router: router.key, routerPort: packet.outPortKey, own: 1, routed: 1 };
  return { kind: 'inject', frame, at: 'policy', registers };
}

/** On from where its size was asked: to the port by which it leaves, or to its anchor. */
function passOn(packet: PacketIn, frame: Uint8Array): Effect {
  const { portKey, switchKey, outPortKey, routerPortKey, fromTunnel, knownOnly, nextHop } = packet;
  const known = knownOnly ? { knownOnly: 1 } : {};
  const entered = { inPort: portKey, router: switchKey, enteredBy: outPortKey, routed: 1, ...known };
  if (routerPortKey === 0)
    return { kind: 'inject', frame, at: 'anchor', registers: { ...entered, routerPort: outPortKey } };
  const registers = { ...entered, routerPort: routerPortKey, ...(fromTunnel ? { fromTunnel: 1 } : {}) };
  const hop: Ip = { version: 4, value: Number(nextHop) as Ipv4 };
  return { kind: 'inject', frame, at: 'leave', registers, nextHop: hop };
}

function senderOf(packet: PacketIn): string {
  return packet.portKey === 0 ? 'tunnel' : String(packet.portKey);
}
