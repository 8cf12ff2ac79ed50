import { formatIp, formatMac, type Ip, type Mac, parseIp, parseMac } from '../../base/addresses.ts';
import type { Random } from '../../base/random.ts';
import type { LogicalPort, NextHopProbe, NextHopState, Router, RouterPort } from '../../model/objects.ts';
import type { Report, ReportedNextHop } from '../../server/protocol.ts';
import type { Effect, PacketIn, ScopeChange } from '../events.ts';
import type { Ground } from '../ground.ts';
import { neighbourQuestion } from '../packet-in/neighbour-frames.ts';
import { echoProbe } from '../probes/probe-frames.ts';
import { RateLimit } from '../rate-limit.ts';
import { addressOf, portTowards } from '../router-addresses.ts';
import { Wakes } from '../wakes.ts';
import { readNextHop } from './probe-frames.ts';
import { Verdict } from './verdict.ts';

/** Answers that are looked at; a next hop that says more is heard all the same, as it needs one in each interval. */
const PER_WIRE = { perSecond: 500, burst: 500 } as const;
const ALTOGETHER = { perSecond: 2000, burst: 2000 } as const;
/** Probes do not all begin at once. */
const JITTER = 4;
/** A round that comes so late was held up, and answers to it may wait to be read: they get a moment. */
const LATE_MS = 60;
const GRACE_MS = 40;
/** For a first session of BFD, and FRR to start. */
const BFD_START_MS = 10_000;

/** A next hop that this host probes. */
interface Target {
  /** Of its `nextHopState`. */
  readonly id: string;
  readonly router: string;
  readonly address: string;
  readonly probe: NextHopProbe;
  readonly hop: Ip;
  /** Who asks: the router port and its address. */
  readonly switchId: string;
  readonly mac: Mac;
  readonly asker: Ip;
  /** OpenFlow ports of the wires here. */
  readonly ofports: readonly number[];
  /** All of the above, to notice changes. */
  readonly text: string;
}

interface Watched {
  target: Target;
  readonly verdict: Verdict;
  sinceMs: number;
  /** A probe is under way; of a ping with this identifier and sequence. */
  isAsked: boolean;
  isAnswered: boolean;
  echo: { readonly id: number; readonly sequence: number };
  /** Of BFD: as it was told last, and whether it ever was up. */
  isSessionUp: boolean | undefined;
  hadSession: boolean;
  dueMs: number;
  isGivenMore: boolean;
}

/**
 * Do next hops of static routes answer (docs/design/gateways.md, §7)? Asked by the host where the wire is active, by frames that the agent hands
 * to the wire itself, in the name of the router port; what is answered comes back by `nextHop` packet-ins (src/compile/units/next-hop-probe.ts).
 * The verdict takes effect here at once, and everywhere through the server.
 *
 *     scope ─▶ targets ─▶ a probe each interval ─▶ wire          wire ─▶ answers ─▶ Verdict ─▶ nextHopState ─▶ flows here, report
 */
export class NextHopProbes {
  readonly #ground: Ground;
  readonly #random: Random;
  /** Do answers reach us: our flows are in the switch. */
  readonly #isAble: () => boolean;
  readonly #watched = new Map<string, Watched>();
  /** `<switch>/<MAC of the router port>/<next hop>` → whom that concerns. */
  #byAnswer = new Map<string, Watched>();
  /** Routers with probes, the switches that these cross, router ports on them, and ports without port security here. */
  readonly #routers = new Set<string>();
  #switches = new Set<string>();
  #ports = new Set<string>();
  /** By router with a target of BFD: with whom it has sessions, as it was told last. Without targets it is not known: nobody is asked then. */
  readonly #sessions = new Map<string, readonly string[]>();
  readonly #limit = new RateLimit(PER_WIRE, ALTOGETHER);
  readonly #wakes = new Wakes();

  constructor(ground: Ground, random: Random, isAble: () => boolean) {
    this.#ground = ground;
    this.#random = random;
    this.#isAble = isAble;
  }

  // ── who is probed ────────────────────────────────────────────────────────────────────────────────────────────────

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    let isOld = false;
    for (const { op, record } of changes) if (this.#concerns(op, record)) isOld = true;
    const effects = this.#correct(changes);
    return isOld ? [...effects, ...this.#retarget(nowMs)] : effects;
  }

  #concerns(op: 'put' | 'delete', record: ScopeChange['record']): boolean {
    switch (record.kind) {
      case 'router': {
        const isProbed = op === 'put' && (record as Router).routes.some(({ probe }) => probe !== undefined);
        const wasProbed = this.#routers.delete(record.id);
        if (isProbed) this.#routers.add(record.id);
        return isProbed || wasProbed;
      }
      case 'routerPort':
        return this.#ports.has(record.id) || (op === 'put' && this.#routers.has((record as RouterPort).router));
      case 'switch':
        return this.#switches.has(record.id);
      case 'port':
        if (this.#ports.has(record.id)) return true;
        return (
          op === 'put' && !(record as LogicalPort).portSecurity && this.#switches.has((record as LogicalPort).switch)
        );
      case 'binding':
        return this.#ports.has(record.id);
      default:
        return false;
    }
  }

  /** These ports came here, or went. */
  portsChanged(ports: readonly string[], nowMs: number): Effect[] {
    const isOurs = (id: string): boolean =>
      this.#ports.has(id) || this.#switches.has(this.#ground.scope.port(id)?.switch ?? '');
    return ports.some(isOurs) ? this.#retarget(nowMs) : [];
  }

  #retarget(nowMs: number): Effect[] {
    const effects: Effect[] = [];
    const targets = this.#targets();
    for (const [id, { target }] of this.#watched) {
      if (targets.has(id)) continue;
      this.#watched.delete(id);
      effects.push(...this.#gone(target));
    }
    for (const [id, target] of targets) {
      const watched = this.#watched.get(id);
      if (watched) {
        if (watched.target.text !== target.text) watched.isAsked = false;
        if (sessionOf(watched.target) !== sessionOf(target)) {
          watched.isSessionUp = this.#isSessionUp(target);
          watched.hadSession = false;
        }
        watched.target = target;
        continue;
      }
      // What was known before a restart holds until it is known better.
      const known = this.#ground.scope.get('nextHopState', id);
      this.#watched.set(id, {
        ...{ target, verdict: new Verdict(known?.up), sinceMs: known?.sinceMs ?? nowMs },
        ...{ isAsked: false, isAnswered: false, echo: { id: 0, sequence: 0 }, isGivenMore: false },
        ...{ isSessionUp: this.#isSessionUp(target), hadSession: false },
        dueMs: nowMs + this.#random.below(Math.ceil(target.probe.intervalMs / JITTER)),
      });
    }
    this.#byAnswer = new Map(
      [...this.#watched.values()].map((each) => [
        answerKey(each.target.switchId, each.target.mac, each.target.hop),
        each,
      ]),
    );
    for (const router of this.#sessions.keys()) if (!this.#hasBfd(router)) this.#sessions.delete(router);
    return [...effects, ...this.#wakes.askFor(this.#watched.values(), nowMs)];
  }

  #hasBfd(router: string): boolean {
    for (const { target } of this.#watched.values())
      if (target.router === router && target.probe.type === 'bfd') return true;
    return false;
  }

  /** Of what was told last: beside a session that goes on a new one begins with its own. */
  #isSessionUp({ router, address }: Target): boolean | undefined {
    return this.#sessions.get(router)?.includes(address);
  }

  #targets(): Map<string, Target> {
    const { scope, interfaces, host } = this.#ground;
    const targets = new Map<string, Target>();
    this.#switches = new Set();
    this.#ports = new Set();
    const wires = new Map<string, number[]>();
    for (const [id, { ofport }] of this.#routers.size === 0 ? [] : interfaces.bound()) {
      const port = scope.port(id);
      if (!port || port.portSecurity) continue;
      this.#ports.add(id);
      const active = scope.binding(id)?.active;
      if (!port.adminUp || !ofport || (active !== undefined && active !== host)) continue;
      wires.set(port.switch, [...(wires.get(port.switch) ?? []), ofport]);
    }
    for (const id of this.#routers) {
      const router = scope.get('router', id);
      if (!router?.adminUp) continue;
      for (const { via, probe } of router.routes) {
        const hop = probe && parseIp(via!);
        const port = hop && portTowards(scope, id, hop);
        if (!hop || !port) continue;
        this.#ports.add(port.id);
        if (port.switch !== undefined) this.#switches.add(port.switch);
        const target = this.#target(id, probe, hop, port, wires);
        if (target) targets.set(target.id, target);
      }
    }
    return targets;
  }

  #target(
    router: string,
    probe: NextHopProbe,
    hop: Ip,
    port: RouterPort,
    wires: ReadonlyMap<string, readonly number[]>,
  ): Target | undefined {
    const { scope, host } = this.#ground;
    const sw = port.switch === undefined ? undefined : scope.get('switch', port.switch);
    const ofports = wires.get(sw?.id ?? '');
    const asker = addressOf(port, hop);
    if (!sw?.adminUp || sw.vlanAware || !port.adminUp || !ofports || !asker || host === undefined) return undefined;
    const address = formatIp(hop);
    const id = `${router}/${address}/${host}`;
    const text = JSON.stringify([probe, port.mac, formatIp(asker), ofports]);
    const mac = parseMac(port.mac)!;
    return { id, router, address, probe, hop, switchId: sw.id, mac, asker, ofports, text };
  }

  // ── probing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Judges what was sent, and sends what is due. */
  tick(nowMs: number): Effect[] {
    this.#wakes.passed(nowMs);
    const effects: Effect[] = [];
    for (const watched of this.#watched.values()) {
      if (watched.dueMs > nowMs) continue;
      if (nowMs - watched.dueMs > LATE_MS && watched.isAsked && !watched.isAnswered && !watched.isGivenMore) {
        watched.isGivenMore = true;
        watched.dueMs = nowMs + GRACE_MS;
      } else effects.push(...this.#round(watched, nowMs));
    }
    return [...effects, ...this.#wakes.askFor(this.#watched.values(), nowMs)];
  }

  #round(watched: Watched, nowMs: number): Effect[] {
    const { target, verdict } = watched;
    watched.isGivenMore = false;
    watched.dueMs = nowMs + target.probe.intervalMs;
    if (!this.#isAble()) {
      watched.isAsked = false;
      verdict.forgive();
      return [];
    }
    if (target.probe.type === 'bfd')
      return watched.isSessionUp === undefined ? [] : this.#judge(watched, watched.isSessionUp, nowMs);
    const effects = watched.isAsked && !watched.isAnswered ? this.#judge(watched, false, nowMs) : [];
    watched.isAsked = true;
    watched.isAnswered = false;
    watched.echo = { id: this.#random.below(0x1_0000), sequence: this.#random.below(0x1_0000) };
    for (const frame of this.#probes(watched))
      for (const toOfport of target.ofports) effects.push({ kind: 'packetOut', frame, toOfport });
    return effects;
  }

  /** By its MAC while it answers there; after that everybody is asked where it is now (it can have a standby with another). */
  *#probes({ target, verdict, echo }: Watched): Iterable<Uint8Array> {
    const { probe, hop, mac, asker, switchId, address } = target;
    const heard = this.#ground.scope.get('neighbour', `${switchId}/${address}`)?.mac;
    const known = heard === undefined ? undefined : parseMac(heard);
    const isSure = known !== undefined && verdict.isWell;
    if (probe.type === 'arp' || !isSure)
      yield neighbourQuestion({ mac, ip: asker }, hop, 0, isSure ? known : undefined);
    if (probe.type === 'ping' && known !== undefined) {
      const ends = { srcMac: mac, dstMac: known, src: asker, dst: hop, tag: 0, dstPort: 0, srcPort: echo.id };
      yield echoProbe(ends, echo.sequence);
    }
  }

  /** A frame of a wire to the agent. */
  answered(packet: PacketIn, wire: LogicalPort, nowMs: number): Effect[] {
    const said = this.#limit.take(wire.id, nowMs) ? readNextHop(packet.frame) : undefined;
    const watched = said && this.#byAnswer.get(answerKey(wire.switch, said.to, said.from));
    if (!watched?.isAsked || watched.isAnswered) return [];
    const { probe } = watched.target;
    const isOurs =
      probe.type === 'ping'
        ? said!.echo?.id === watched.echo.id && said!.echo.sequence === watched.echo.sequence
        : said!.echo === undefined;
    if (!isOurs) return [];
    watched.isAnswered = true;
    return this.#judge(watched, true, nowMs);
  }

  /** bfdd has news of the router's next hops: those that it has a session with. That one went is the verdict, as it was not for one packet. */
  bfdTold(router: string, up: readonly string[], nowMs: number): Effect[] {
    if (this.#hasBfd(router)) this.#sessions.set(router, up);
    return [...this.#watched.values()].flatMap((watched) => {
      const { target, verdict } = watched;
      if (target.router !== router || target.probe.type !== 'bfd') return [];
      watched.isSessionUp = up.includes(target.address);
      watched.hadSession ||= watched.isSessionUp;
      return watched.isSessionUp || verdict.up !== true || !watched.hadSession
        ? []
        : this.#judge(watched, false, nowMs);
    });
  }

  // ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #judge(watched: Watched, isAnswered: boolean, nowMs: number): Effect[] {
    const { target, verdict } = watched;
    const wasKnown = verdict.up !== undefined;
    // A session that was never up may be on its way; one that goes was silent for long enough.
    const { type, intervalMs, recoveries } = target.probe;
    const failures =
      type !== 'bfd' ? target.probe.failures : watched.hadSession ? 1 : Math.ceil(BFD_START_MS / intervalMs);
    if (!verdict.take(isAnswered, nowMs, { failures, recoveries })) return [];
    watched.sinceMs = nowMs;
    const { router, address } = target;
    const up = verdict.up === true;
    const message = up ? 'a next hop answers' : 'a next hop does not answer: others are used where there are any';
    const fields = { router: this.#ground.scope.get('router', router)?.name ?? router, nextHop: address };
    const text = up ? `next hop ${address} answers again` : `next hop ${address} does not answer`;
    const about = { kind: 'router', id: router };
    return [
      ...this.#tell(watched),
      ...(up && !wasKnown
        ? []
        : this.#ground.report([{ type: 'event', atMs: nowMs, level: up ? 'info' : 'warning', about, text }])),
      { kind: 'log', level: up ? 'info' : 'warn', message, fields },
    ];
  }

  #tell({ target: { id, router, address }, verdict: { up }, sinceMs }: Watched): Effect[] {
    const { host } = this.#ground;
    if (host === undefined || up === undefined) return [];
    const record: NextHopState = { kind: 'nextHopState', id, revision: -1, router, address, host, up, sinceMs };
    return [
      ...this.#ground.report([{ type: 'nextHop', router, address, up, sinceMs }]),
      ...this.#ground.overlay(record),
    ];
  }

  /** It is not probed here any more. */
  #gone({ id, router, address }: Target): Effect[] {
    const { scope } = this.#ground;
    const report: Report = { type: 'nextHopGone', router, address };
    const record = scope.get('nextHopState', id);
    if (record === undefined) return this.#ground.report([report]);
    scope.apply([{ op: 'delete', record }]);
    return [...this.#ground.report([report]), ...this.#ground.compile([{ op: 'delete', kind: 'nextHopState', id }])];
  }

  /** What the server says of our next hops where we know better (it forgot, while we were silent). */
  #correct(changes: readonly ScopeChange[]): Effect[] {
    return changes.flatMap(({ op, record }) => {
      const watched = record.kind === 'nextHopState' ? this.#watched.get(record.id) : undefined;
      if (watched?.verdict.up === undefined) return [];
      const told = op === 'put' ? (record as NextHopState) : undefined;
      return told?.up === watched.verdict.up && told.sinceMs === watched.sinceMs ? [] : this.#tell(watched);
    });
  }

  all(): ReportedNextHop[] {
    return [...this.#watched.values()].flatMap(({ target: { router, address }, verdict: { up }, sinceMs }) =>
      up === undefined ? [] : [{ router, address, up, sinceMs }],
    );
  }
}

/** Of BFD: what FRR takes for one session; undefined of others. */
function sessionOf({ probe, mac, asker }: Target): string | undefined {
  return probe.type === 'bfd' ? `${formatMac(mac)} ${formatIp(asker)}` : undefined;
}

function answerKey(switchId: string, mac: Mac, from: Ip): string {
  return `${switchId}/${formatMac(mac)}/${formatIp(from)}`;
}
