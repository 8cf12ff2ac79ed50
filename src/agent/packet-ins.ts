import { PACKET_IN } from '../compile/tables.ts';
import type { LogicalPort } from '../model/objects.ts';
import type { BackOff } from './back-off.ts';
import type { Effect, PacketIn } from './events.ts';
import type { Ground } from './ground.ts';
import type { Hold } from './hold/hold.ts';
import type { Attachments } from './l2-gateways/attachments.ts';
import { LEARNED_OUTSIDE, LEARNED_PER_PORT, type Learning, reported } from './learning.ts';
import type { Moves } from './moves.ts';
import type { NatNeeds } from './nat-needs.ts';
import type { Neighbours } from './neighbours.ts';
import type { NextHopProbes } from './next-hops/next-hop-probes.ts';
import type { PacketErrors } from './packet-errors.ts';
import { answerPacketIn } from './packet-in/answer.ts';
import { sourceMac } from './packet-in/frame-macs.ts';
import { answerName } from './packet-in/names.ts';
import type { Probes } from './probes/probes.ts';
import { RateLimit } from './rate-limit.ts';
import type { RuleLog } from './rule-log.ts';
import type { SprayGuard } from './spray-guard.ts';

/** Who does what packet-ins want. */
export interface PacketInParts {
  readonly guard: SprayGuard;
  readonly backOff: BackOff;
  readonly learning: Learning;
  readonly moves: Moves;
  readonly errors: PacketErrors;
  readonly neighbours: Neighbours;
  readonly natNeeds: NatNeeds;
  readonly probes: Probes;
  readonly nextHopProbes: NextHopProbes;
  readonly attachments: Attachments;
  readonly hold: Hold;
  readonly ruleLog: RuleLog;
}

/** Questions for names that are answered; more are left to the workload to repeat. */
const NAMES_PER_PORT = { perSecond: 100, burst: 200 } as const;
const NAMES = { perSecond: 1000, burst: 1000 } as const;

/** The wire of an uplink is many, as the outside of an L2 gateway is: shut off, all behind it would be. */
function isWire({ scope }: Ground, { portSecurity, switch: onSwitch }: LogicalPort): boolean {
  if (portSecurity) return false;
  for (const { routerPort } of scope.all('bgpPeer'))
    if (scope.get('routerPort', routerPort)?.switch === onSwitch) return true;
  for (const { switch: id, sourceCheck = 'off', outside } of scope.all('routerPort'))
    if (id === onSwitch && !outside && sourceCheck !== 'off') return true;
  return false;
}

/** Hands each packet-in to whom it is for, within the budget of the port that caused it. */
export class PacketIns {
  readonly #ground: Ground;
  readonly #parts: PacketInParts;
  readonly #names = new RateLimit(NAMES_PER_PORT, NAMES);
  readonly #outside = new RateLimit(NAMES_PER_PORT, NAMES);

  constructor(ground: Ground, parts: PacketInParts) {
    this.#ground = ground;
    this.#parts = parts;
  }

  handle(packet: PacketIn, nowMs: number): Effect[] {
    const { scope, interfaces, host } = this.#ground;
    const { guard, backOff, moves, errors, neighbours, natNeeds, probes, attachments, ruleLog } = this.#parts;
    if (packet.class === PACKET_IN.firstReply) return this.#parts.hold.firstReply(packet, nowMs);
    const port = this.#sender(packet);
    const isMany = (): boolean => port !== undefined && (attachments.isOutside(port.id) || isWire(this.#ground, port));
    const held = backOff.stops(packet, nowMs, isMany);
    if (held) return held;
    // Not in the budget of the port: what does not go on, or is the answer to a question of ours, is no spray. They have limits of their own.
    if (errors.isFor(packet)) return errors.handle(packet, nowMs);
    if (packet.class === PACKET_IN.resolve) return neighbours.resolve(packet, nowMs);
    if (packet.class === PACKET_IN.noPorts) return natNeeds.handle(packet, nowMs);
    if (packet.class === PACKET_IN.neighbour) return port ? neighbours.heard(packet, port, nowMs) : [];
    if (packet.class === PACKET_IN.probe) return port ? probes.answered(packet, port, nowMs) : [];
    if (packet.class === PACKET_IN.nextHop) return port ? this.#nextHopSaid(packet, port, nowMs) : [];
    if (packet.class === PACKET_IN.hello) return port ? attachments.heard(packet, port, nowMs) : [];
    if (packet.class === PACKET_IN.log) return ruleLog.handle(packet, nowMs);
    const ofport = port && interfaces.get(port.id)?.ofport;
    const sw = port && scope.switchOf(port);
    if (!port || !ofport) return [];
    if (packet.class === PACKET_IN.dns) {
      const frame =
        sw && this.#names.take(port.id, nowMs)
          ? answerName(packet.frame, { port, switch: sw, scope, host }, packet.vlan)
          : undefined;
      return frame ? [{ kind: 'packetOut', frame, toOfport: ofport }] : [];
    }
    const stopped = isMany() ? this.#heldBack(packet, port.id, nowMs) : guard.stops(packet, port, nowMs);
    if (stopped) return stopped;
    if (!sw) return [];
    switch (packet.class) {
      case PACKET_IN.learn:
        return this.#learn(packet, port.id, sw.id, nowMs);
      case PACKET_IN.announce:
        return moves.announced(port.id);
      default: {
        const frame = answerPacketIn(packet, { port, switch: sw, scope, host });
        return frame ? [{ kind: 'packetOut', frame, toOfport: ofport }] : [];
      }
    }
  }

  /** It answers a probe, and says where it is. */
  #nextHopSaid(packet: PacketIn, port: LogicalPort, nowMs: number): Effect[] {
    const { neighbours, nextHopProbes } = this.#parts;
    return [...nextHopProbes.answered(packet, port, nowMs), ...neighbours.heard(packet, port, nowMs)];
  }

  /** The outside of an L2 gateway is many: it may teach what the meters let through, of the rest some is answered, and it is never shut off. */
  #heldBack(packet: PacketIn, port: string, nowMs: number): Effect[] | undefined {
    if (packet.class === PACKET_IN.learn) return undefined;
    const isSample = packet.class === PACKET_IN.guard || packet.class === PACKET_IN.stray;
    return !isSample && this.#outside.take(port, nowMs) ? undefined : [];
  }

  /** Whose frame it was: by the pipeline's register, or by the OpenFlow port where the frame got no further than that. */
  #sender(packet: PacketIn): LogicalPort | undefined {
    const { scope, interfaces } = this.#ground;
    if (packet.portKey !== 0) return scope.portByKey(packet.portKey);
    const id = interfaces.byOfport(packet.inPort);
    return id === undefined ? undefined : scope.port(id);
  }

  #learn(packet: PacketIn, port: string, switchId: string, nowMs: number): Effect[] {
    const { host } = this.#ground;
    if (host === undefined) return [];
    const { learning, attachments } = this.#parts;
    const most = attachments.isOutside(port) ? LEARNED_OUTSIDE : LEARNED_PER_PORT;
    const record = learning.learn(switchId, port, host, packet.vlan, sourceMac(packet.frame), nowMs, most);
    if (!record) return [];
    return [...this.#ground.report([{ type: 'learned', ...reported(record) }]), ...this.#ground.overlay(record)];
  }
}
