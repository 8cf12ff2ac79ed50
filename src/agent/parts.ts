import type { Random } from '../base/random.ts';
import type { Explanation } from '../compile/explain.ts';
import type { Report } from '../server/protocol.ts';
import { Advertising } from './advertising.ts';
import { BackOff } from './back-off.ts';
import { Sessions } from './bgp/sessions.ts';
import { ConnectionLimits } from './connection-limits.ts';
import { Imports } from './connections/imports.ts';
import { MovedWatch } from './connections/moved-watch.ts';
import type { ConntrackZones } from './conntrack.ts';
import { ConntrackUse } from './conntrack-use.ts';
import type { AgentEvent, Effect, ScopeChange } from './events.ts';
import { FloatingEnds } from './floating-ends.ts';
import { FormerGroups } from './former-groups.ts';
import type { Ground } from './ground.ts';
import type { HealthFacts } from './health.ts';
import { Hold } from './hold/hold.ts';
import type { Installation } from './installation.ts';
import { Attachments } from './l2-gateways/attachments.ts';
import type { Learning } from './learning.ts';
import { Moves } from './moves.ts';
import { NatNeeds } from './nat-needs.ts';
import { NatReturns } from './nat-returns.ts';
import { Neighbours } from './neighbours.ts';
import { NextHopHosts } from './next-hop-hosts.ts';
import { NextHopProbes } from './next-hops/next-hop-probes.ts';
import { PacketErrors } from './packet-errors.ts';
import { PacketIns } from './packet-ins.ts';
import { Probes } from './probes/probes.ts';
import { RuleLog } from './rule-log.ts';
import { SprayGuard } from './spray-guard.ts';
import { KeptClients } from './sticky/kept-clients.ts';
import { Vteps } from './vteps/vteps.ts';

/** Events that are one part's alone. */
export type PartEvent = AgentEvent & {
  readonly kind:
    | 'portConnections'
    | 'connectionsSeen'
    | 'connectionsCounted'
    | 'natPortsUsed'
    | 'clientsSeen'
    | 'copies'
    | 'copiesRead'
    | 'recreated'
    | 'speakerPorts'
    | 'learnedRoutes'
    | 'endedHops'
    | 'planned'
    | 'bfd'
    | 'sessions'
    | 'attachmentLinks'
    | 'vteps'
    | 'vtepMacs'
    | 'received'
    | 'passing';
};

/**
 * What an agent does besides turning its scope into flows: each part has a concern of its own, and stands on the core (`Ground`). They share the
 * moments at which they are asked: the scope changed, ports came or went, time passed, the server is new. The core says when, here is who.
 */
export class AgentParts {
  readonly conntrackUse = new ConntrackUse();
  readonly guard: SprayGuard;
  readonly backOff: BackOff;
  readonly connectionLimits: ConnectionLimits;
  readonly formerGroups: FormerGroups;
  readonly floatingEnds: FloatingEnds;
  readonly moves: Moves;
  readonly errors: PacketErrors;
  readonly neighbours: Neighbours;
  readonly natNeeds: NatNeeds;
  readonly natReturns: NatReturns;
  readonly imports: Imports;
  readonly hold: Hold;
  readonly nextHopHosts: NextHopHosts;
  readonly keptClients: KeptClients;
  readonly probes: Probes;
  readonly nextHopProbes: NextHopProbes;
  readonly sessions: Sessions;
  readonly vteps: Vteps;
  readonly attachments: Attachments;
  readonly advertising: Advertising;
  readonly packetIns: PacketIns;
  readonly #movedWatch: MovedWatch;
  readonly #ground: Ground;
  readonly #conntrack: ConntrackZones;

  constructor(
    ground: Ground,
    options: {
      readonly learning: Learning;
      readonly conntrack: ConntrackZones;
      readonly installation: Installation;
      readonly explain: (cookie: bigint) => Explanation;
      readonly random: Random;
      readonly nowMs: number;
      readonly areSpeakersLeft?: boolean;
    },
  ) {
    const { learning, conntrack, installation, random, nowMs } = options;
    this.#ground = ground;
    this.#conntrack = conntrack;
    this.guard = new SprayGuard(ground);
    this.backOff = new BackOff(ground);
    this.connectionLimits = new ConnectionLimits(ground, conntrack.zones);
    this.formerGroups = new FormerGroups(ground);
    this.floatingEnds = new FloatingEnds(ground, (router) => conntrack.zones.of(router));
    this.moves = new Moves(ground);
    this.errors = new PacketErrors(ground);
    this.neighbours = new Neighbours(ground, this.errors, (callback) => installation.whenInstalled(callback));
    this.natReturns = new NatReturns(ground, conntrack.zones, installation);
    this.natNeeds = new NatNeeds(ground, this.natReturns);
    this.imports = new Imports(ground, conntrack);
    this.#movedWatch = new MovedWatch(ground.scope, () => ground.host);
    this.hold = new Hold(ground, conntrack);
    this.nextHopHosts = new NextHopHosts(ground, nowMs);
    this.keptClients = new KeptClients(ground, conntrack.zones, () => this.nextHopHosts.lost);
    this.probes = new Probes(ground, random);
    this.nextHopProbes = new NextHopProbes(ground, random, () => installation.synced);
    this.sessions = new Sessions(ground, options.areSpeakersLeft);
    this.vteps = new Vteps(ground, learning);
    this.attachments = new Attachments(ground, this.vteps);
    this.advertising = new Advertising(ground, installation, this.guard, nowMs);
    this.packetIns = new PacketIns(ground, {
      ...{ guard: this.guard, backOff: this.backOff, learning, moves: this.moves, errors: this.errors },
      ...{ neighbours: this.neighbours, natNeeds: this.natNeeds, probes: this.probes },
      ...{ nextHopProbes: this.nextHopProbes, attachments: this.attachments, hold: this.hold },
      ruleLog: new RuleLog(ground, options.explain),
    });
  }

  handle(event: PartEvent, nowMs: number): Effect[] {
    switch (event.kind) {
      case 'portConnections':
        return this.imports.told(event, nowMs);
      case 'connectionsSeen':
        return this.#ground.report(this.#movedWatch.judge(event.connections, event.unread));
      case 'connectionsCounted':
        return this.connectionLimits.told(event.counted, nowMs);
      case 'natPortsUsed':
        return this.natReturns.told(event.used, nowMs);
      case 'clientsSeen':
        return this.keptClients.told(event.seen, nowMs);
      case 'copies':
        return this.hold.told(event, nowMs);
      case 'copiesRead':
        return this.hold.read(event, nowMs);
      case 'recreated':
        return this.imports.recreated(event.port);
      case 'speakerPorts':
        return this.sessions.portsTold(event.ofports);
      case 'learnedRoutes':
        return this.sessions.routesTold(event.router, event.routes, event.isAll);
      case 'endedHops':
        return this.sessions.endedTold(event.router, event.addresses);
      case 'planned':
        return this.sessions.planned(event.plans);
      case 'bfd':
        return this.nextHopProbes.bfdTold(event.router, event.up, nowMs);
      case 'sessions':
        return this.sessions.sessionsTold(event.sessions);
      case 'attachmentLinks':
        return this.attachments.linksTold(event.links, nowMs);
      case 'vteps':
        return [...this.vteps.told(event.states, nowMs), ...this.attachments.vtepsTold(nowMs)];
      case 'vtepMacs':
        return this.vteps.macsTold(event.binding, event.seen, event.gone, nowMs);
      case 'received':
        return this.attachments.counted(event.received, nowMs);
      case 'passing':
        return this.sessions.passingTold(event.packets, nowMs);
    }
  }

  /** The flows of these changes are on their way. `inputs`: with what this host knows better than the server. */
  scopeChanged(changes: readonly ScopeChange[], inputs: readonly ScopeChange[], nowMs: number): Effect[] {
    return [
      ...this.backOff.scopeChanged(changes),
      ...this.connectionLimits.scopeChanged(changes, nowMs),
      ...this.natReturns.scopeChanged(changes, nowMs),
      ...this.natNeeds.scopeChanged(changes, nowMs),
      ...this.nextHopHosts.scopeChanged(changes, nowMs),
      ...this.probes.scopeChanged(changes, nowMs),
      ...this.keptClients.scopeChanged(changes, nowMs),
      ...this.nextHopProbes.scopeChanged(changes, nowMs),
      ...this.advertising.scopeChanged(changes),
      ...this.sessions.scopeChanged(changes, nowMs),
      ...this.vteps.scopeChanged(inputs, nowMs),
      ...this.attachments.scopeChanged(changes, nowMs),
      ...this.imports.scopeChanged(changes, nowMs),
    ];
  }

  /** Which other hosts answer, and which do not. */
  hostsTold(event: AgentEvent & { readonly kind: 'hosts' }, nowMs: number): Effect[] {
    return [...this.nextHopHosts.told(event), ...this.keptClients.hostsTold(nowMs), ...this.sessions.hostsTold(nowMs)];
  }

  /** Ports whose interface came to this host (or is another one), and those whose left it. */
  portsChanged(put: readonly string[], gone: readonly string[], nowMs: number): Effect[] {
    const ports = [...put, ...gone];
    return [
      ...this.natNeeds.ahead(put, nowMs),
      ...this.connectionLimits.portsChanged(nowMs),
      ...this.probes.portsChanged(ports, nowMs),
      ...this.imports.portsChanged(ports, nowMs),
      ...this.nextHopProbes.portsChanged(ports, nowMs),
    ];
  }

  /** Once a second. */
  tick(nowMs: number): Effect[] {
    return [
      ...this.nextHopHosts.tick(nowMs),
      ...this.guard.tick(nowMs),
      ...this.formerGroups.tick(nowMs),
      ...this.backOff.tick(nowMs),
      ...this.neighbours.tick(nowMs),
      ...this.keptClients.tick(nowMs),
      ...this.probes.tick(nowMs),
      ...this.nextHopProbes.tick(nowMs),
      ...this.hold.tick(nowMs),
      ...this.imports.tick(nowMs),
      ...this.conntrackUse.tick(nowMs),
      ...this.sessions.tick(nowMs),
      ...this.vteps.tick(nowMs),
      ...this.attachments.tick(nowMs),
      ...this.advertising.tick(nowMs),
    ];
  }

  /** When one of them asked to be woken. */
  wake(nowMs: number): Effect[] {
    return [
      ...this.probes.tick(nowMs),
      ...this.nextHopProbes.tick(nowMs),
      ...this.sessions.wake(nowMs),
      ...this.hold.wake(nowMs),
      ...this.imports.tick(nowMs),
    ];
  }

  /** What parts know about how well the agent does. */
  health(): Pick<HealthFacts, 'problems' | 'conntrack' | 'lost' | 'full'> {
    const { backOff, connectionLimits, conntrackUse, nextHopHosts } = this;
    const conntrackProblems = conntrackUse.problems(this.#ground.scope, this.#conntrack.zones);
    return {
      problems: [...backOff.problems(), ...connectionLimits.problems(), ...conntrackProblems],
      ...{ conntrack: conntrackUse.use, lost: nextHopHosts.lost, full: connectionLimits.full },
    };
  }

  /** What a server that may know nothing of this host has to be told. */
  reports(): Report[] {
    return [
      { type: 'neighbourAll', neighbours: this.neighbours.all() },
      { type: 'memberHealthAll', members: this.probes.all() },
      ...(this.keptClients.isUsed ? [{ type: 'keptClientsAll', kept: this.keptClients.all() } as const] : []),
      { type: 'nextHopsAll', hops: this.nextHopProbes.all() },
      ...this.imports.reports(),
      ...this.sessions.all(),
      ...this.attachments.all(),
      { type: 'vteps', vteps: this.vteps.all() },
    ];
  }
}
