import { type Mac, parseIp, parseMac } from '../../base/addresses.ts';
import type { Random } from '../../base/random.ts';
import { PROBE_PORT_COUNT, PROBE_PORTS, type ProbingVip, probeSource } from '../../compile/probe.ts';
import type { LoadBalancer, LogicalPort, MemberHealth, ScopeRecord } from '../../model/objects.ts';
import { healthPort } from '../../model/serving.ts';
import type { Report, ReportedMember } from '../../server/protocol.ts';
import type { Effect, PacketIn, ScopeChange } from '../events.ts';
import type { Ground } from '../ground.ts';
import { tagAt } from '../packet-in/reply.ts';
import { RateLimit } from '../rate-limit.ts';
import { Wakes } from '../wakes.ts';
import { type HealthCheck, Probe, type ProbeStep } from './probe.ts';
import { type ProbeEnds, readProbeAnswer } from './probe-frames.ts';

const PER_SENDER = { perSecond: 500, burst: 500 } as const;
const ALTOGETHER = { perSecond: 2000, burst: 2000 } as const;
/** Kinds whose records decide who is probed and how, beside those of the members themselves. */
const ABOUT_PROBES: ReadonlySet<string> = new Set(['loadBalancer', 'switch', 'routerPort']);
const DEFAULT_TIMEOUT_MS = 2_000;
/** Probes do not all begin at once, nor keep step. */
const JITTER = 10;

/** A member that this host probes. */
interface Target {
  readonly id: string;
  readonly loadBalancer: string;
  readonly port: string;
  readonly check: HealthCheck;
  readonly ends: Omit<ProbeEnds, 'srcPort'>;
  readonly ofport: number;
  /** All of the above that matters, to notice changes. */
  readonly text: string;
}

interface Watched {
  target: Target;
  /** Undefined until it is known. */
  up: boolean | undefined;
  /** Results in a row that speak for the other state. */
  streak: number;
  probe: Probe | undefined;
  startedMs: number;
  /** When to begin the next probe, or to give up the one under way. */
  dueMs: number;
}

/**
 * Health of balancers' members behind this host's ports (docs/design/layer3.md, §8). Probes are frames that the agent hands to the
 * member's interface itself: the host has no route to any tenant, and tenants may have the same addresses.
 */
export class Probes {
  readonly #ground: Ground;
  readonly #random: Random;
  readonly #watched = new Map<string, Watched>();
  /** Ports that some balancer wants probed, wherever they are. */
  #members = new Set<string>();
  /** `<port id>/<source port>` → the member whose probe that is. */
  readonly #underWay = new Map<string, Watched>();
  readonly #limit = new RateLimit(PER_SENDER, ALTOGETHER);
  #nextPort = 0;
  readonly #wakes = new Wakes();

  constructor(ground: Ground, random: Random) {
    this.#ground = ground;
    this.#random = random;
  }

  // ── who is probed ────────────────────────────────────────────────────────────────────────────────────────────────

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    const effects = this.#correct(changes);
    const isAbout = ({ record: { kind, id } }: ScopeChange): boolean =>
      ABOUT_PROBES.has(kind) || ((kind === 'port' || kind === 'binding') && this.#members.has(id));
    return changes.some(isAbout) ? [...effects, ...this.#retarget(nowMs)] : effects;
  }

  /** These ports came here, or went. */
  portsChanged(ports: readonly string[], nowMs: number): Effect[] {
    return ports.some((port) => this.#members.has(port)) ? this.#retarget(nowMs) : [];
  }

  #retarget(nowMs: number): Effect[] {
    const effects: Effect[] = [];
    const targets = this.#targets();
    for (const [id, watched] of this.#watched) {
      if (targets.has(id)) continue;
      this.#end(watched);
      this.#watched.delete(id);
      effects.push(...this.#gone(watched.target));
    }
    for (const [id, target] of targets) {
      const watched = this.#watched.get(id);
      if (watched?.target.text === target.text) continue;
      if (watched) {
        this.#end(watched);
        watched.target = target;
        watched.dueMs = nowMs + this.#jitter(target.check.intervalMs);
        continue;
      }
      // What was known before a restart, or where the member was before, holds until it is known better.
      const known = this.#ground.scope.get('memberHealth', id);
      this.#watched.set(id, {
        ...{ target, up: known?.up, streak: 0 },
        ...{ probe: undefined, startedMs: nowMs, dueMs: nowMs + this.#jitter(target.check.intervalMs) },
      });
    }
    return [...effects, ...this.#wakes.askFor(this.#watched.values(), nowMs)];
  }

  #jitter(intervalMs: number): number {
    return this.#random.below(Math.ceil(intervalMs / JITTER));
  }

  #targets(): Map<string, Target> {
    const { scope, interfaces, host } = this.#ground;
    const targets = new Map<string, Target>();
    this.#members = new Set();
    const speakers = this.#speakers();
    for (const balancer of scope.all('loadBalancer')) {
      const { health } = balancer;
      const ip = parseIp(balancer.address);
      if (!health || !ip || !balancer.adminUp) continue;
      const vip = { ip, switch: balancer.switch, speakerKey: speakers.get(placeOf(balancer))! };
      const dstPort = healthPort(health, balancer.listeners);
      for (const member of balancer.members) {
        this.#members.add(member.port);
        const ofport = interfaces.get(member.port)?.ofport;
        const port = ofport === undefined || !member.adminUp ? undefined : scope.port(member.port);
        const active = scope.binding(member.port)?.active;
        if (!ofport || !port?.adminUp || (active !== undefined && active !== host)) continue;
        const ends = this.#ends(port, vip, dstPort);
        if (!ends) continue;
        const id = `${balancer.id}/${port.id}`;
        const text = JSON.stringify([health, ofport, { ...ends, src: `${ends.src.value}`, dst: `${ends.dst.value}` }]);
        targets.set(id, { id, loadBalancer: balancer.id, port: port.id, check: health, ends, ofport, text });
      }
    }
    return targets;
  }

  /** By VIP the smallest key of those that are up and share it. */
  #speakers(): ReadonlyMap<string, number> {
    const speakers = new Map<string, number>();
    for (const balancer of this.#ground.scope.all('loadBalancer')) {
      const place = placeOf(balancer);
      if (balancer.adminUp) speakers.set(place, Math.min(balancer.key, speakers.get(place) ?? balancer.key));
    }
    return speakers;
  }

  #ends(port: LogicalPort, vip: ProbingVip, dstPort: number): Omit<ProbeEnds, 'srcPort'> | undefined {
    const { scope, host } = this.#ground;
    const sw = scope.switchOf(port);
    const dst = port.addresses.map((text) => parseIp(text)!).find((ip) => ip.version === vip.ip.version);
    if (!sw || !dst) return undefined;
    const onSwitch = [...scope.all('routerPort')].filter((candidate) => candidate.switch === sw.id);
    const { mac, ip, vlan } = probeSource({ address: dst, vlan: port.vlan, switch: sw }, onSwitch, vip);
    const tag = tagAt({ port, switch: sw, scope, host }, vlan);
    return { srcMac: mac as Mac, dstMac: parseMac(port.mac)!, src: ip, dst, tag, dstPort };
  }

  // ── probing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Begins what is due and gives up what took too long. */
  tick(nowMs: number): Effect[] {
    this.#wakes.passed(nowMs);
    const effects: Effect[] = [];
    for (const watched of this.#watched.values()) {
      if (watched.dueMs > nowMs) continue;
      effects.push(
        ...(watched.probe ? this.#step(watched, watched.probe.timedOut(), nowMs) : this.#begin(watched, nowMs)),
      );
    }
    return [...effects, ...this.#wakes.askFor(this.#watched.values(), nowMs)];
  }

  #begin(watched: Watched, nowMs: number): Effect[] {
    const { check, ends, port } = watched.target;
    const srcPort = PROBE_PORTS.value + this.#nextPort;
    this.#nextPort = (this.#nextPort + 1) % PROBE_PORT_COUNT;
    const probe = new Probe(check, { ...ends, srcPort }, this.#random.u32());
    watched.probe = probe;
    watched.startedMs = nowMs;
    watched.dueMs = nowMs + Math.min(check.timeoutMs ?? DEFAULT_TIMEOUT_MS, check.intervalMs);
    this.#underWay.set(`${port}/${srcPort}`, watched);
    return this.#send(watched, probe.start());
  }

  /** A frame of a member to the agent. */
  answered(packet: PacketIn, port: LogicalPort, nowMs: number): Effect[] {
    if (!this.#limit.take(port.id, nowMs)) return [];
    const answer = readProbeAnswer(packet.frame);
    const watched = answer && this.#underWay.get(`${port.id}/${answer.port}`);
    if (!answer || !watched?.probe) return [];
    return [
      ...this.#step(watched, watched.probe.answered(answer), nowMs),
      ...this.#wakes.askFor(this.#watched.values(), nowMs),
    ];
  }

  #step(watched: Watched, step: ProbeStep, nowMs: number): Effect[] {
    const effects = this.#send(watched, step);
    if (step.isGood === undefined) return effects;
    this.#end(watched);
    const { intervalMs } = watched.target.check;
    watched.dueMs = Math.max(nowMs, watched.startedMs + intervalMs - this.#jitter(intervalMs));
    return [...effects, ...this.#judge(watched, step.isGood)];
  }

  #send({ target }: Watched, { send }: ProbeStep): Effect[] {
    return send.map((frame) => ({ kind: 'packetOut', frame, toOfport: target.ofport }));
  }

  #end(watched: Watched): void {
    if (watched.probe) this.#underWay.delete(`${watched.target.port}/${watched.probe.ends.srcPort}`);
    watched.probe = undefined;
  }

  // ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #judge(watched: Watched, isGood: boolean): Effect[] {
    if (watched.up === isGood) {
      watched.streak = 0;
      return [];
    }
    watched.streak = watched.streak * (isGood ? 1 : -1) > 0 ? watched.streak + (isGood ? 1 : -1) : isGood ? 1 : -1;
    const { rise, fall } = watched.target.check;
    if (Math.abs(watched.streak) < (isGood ? rise : fall)) return [];
    watched.up = isGood;
    watched.streak = 0;
    return this.#tell(watched.target, isGood);
  }

  #tell({ id, loadBalancer, port }: Target, up: boolean): Effect[] {
    const { host } = this.#ground;
    if (host === undefined) return [];
    const record: MemberHealth = { kind: 'memberHealth', id, revision: -1, loadBalancer, port, host, up };
    return [
      ...this.#ground.report([{ type: 'memberHealth', loadBalancer, port, up }]),
      ...this.#ground.overlay(record),
      {
        kind: 'log',
        level: up ? 'info' : 'warn',
        message: up ? 'a member of a load balancer serves' : 'a member of a load balancer does not answer',
        fields: { loadBalancer, port },
      },
    ];
  }

  /**
   * It is probed here no more. A member that moved or is administratively down keeps its state until somebody knows better, and the server takes
   * that of one without an interface back together with its binding: one that was just found down must not serve meanwhile.
   */
  #gone({ id, loadBalancer, port }: Target): Effect[] {
    const { scope, host } = this.#ground;
    const balancer = scope.get('loadBalancer', loadBalancer);
    if (balancer?.health && balancer.members.some((member) => member.port === port)) return [];
    const record = scope.get('memberHealth', id);
    const report: Report = { type: 'memberHealthGone', loadBalancer, port };
    if (record?.host !== host || record === undefined) return this.#ground.report([report]);
    scope.apply([{ op: 'delete', record }]);
    return [...this.#ground.report([report]), ...this.#ground.compile([{ op: 'delete', kind: 'memberHealth', id }])];
  }

  /** What the server says of our members where we know better (it forgot, or heard of us through somebody else). */
  #correct(changes: readonly ScopeChange[]): Effect[] {
    const { host } = this.#ground;
    return changes.flatMap(({ op, record }) => {
      const watched = record.kind === 'memberHealth' ? this.#watched.get(record.id) : undefined;
      if (watched?.up === undefined) return [];
      const told = op === 'put' ? (record as Extract<ScopeRecord, { kind: 'memberHealth' }>) : undefined;
      return told?.up === watched.up && told.host === host ? [] : this.#tell(watched.target, watched.up);
    });
  }

  all(): ReportedMember[] {
    return [...this.#watched.values()].flatMap(({ target: { loadBalancer, port }, up }) =>
      up === undefined ? [] : [{ loadBalancer, port, up }],
    );
  }
}

function placeOf({ router, switch: on, address }: LoadBalancer): string {
  return `${router ?? on} ${address}`;
}
