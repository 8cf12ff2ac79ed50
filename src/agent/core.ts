import type { Random } from '../base/random.ts';
import type { Compiler, CompilerChange } from '../compile/compiler.ts';
import type { Binding, Encap, LearnedAddress, ScopeRecord } from '../model/objects.ts';
import type { HostHealth, PortState, Report } from '../server/protocol.ts';
import { ConntrackZones } from './conntrack.ts';
import { sumCounters } from './counters.ts';
import type { AgentEvent, Effect, ScopeChange } from './events.ts';
import type { Ground } from './ground.ts';
import { describeHealth } from './health.ts';
import { Installation } from './installation.ts';
import { Interfaces, shortened } from './interfaces.ts';
import { Learning, reported } from './learning.ts';
import { differingMeters, HOST_METER, takeMeters } from './meters.ts';
import { reported as reportedNeighbour } from './neighbours.ts';
import { AgentParts } from './parts.ts';
import { PortStates } from './port-states.ts';
import { Scope } from './scope.ts';

const COUNTERS_INTERVAL_MS = 5_000;
const PULSE_INTERVAL_MS = 20_000;
const SERVER_GRACE_MS = 2_000;

/**
 * The agent without sockets: `step(event, nowMs) -> effects`. `src/agent` owns what one host does with its part of the
 * desired state; it does not own the meaning of flows (`compile`) nor what the host may know (the server's scope).
 *
 *   OVSDB ── interfaces ─┐
 *   server ── scope ─────┼─▶ Scope, Interfaces, Learning, Budgets ─▶ Compiler ─▶ Installation ─▶ bundles
 *   switch ── packet-ins ┘                                                  └─▶ reports, marks, packet-outs
 *
 * The flows depend only on what is known now, never on the order in which it became known.
 */
export class AgentCore implements Ground {
  readonly scope = new Scope();
  readonly interfaces = new Interfaces();
  readonly installation = new Installation(() => this.#compiler.flows());
  readonly learning = new Learning();
  readonly conntrack = new ConntrackZones();
  readonly parts: AgentParts;
  readonly #compiler: Compiler;
  readonly #agentVersion: string;
  /** Our host's id, once the server (or the disk) has told. */
  host: string | undefined;
  /** Scope content is there (from disk or from the server): only then may flows be removed. */
  #scopeReady = false;
  /** What the disk remembers may be old: before flows are compared by it the server gets a moment to say what is new. */
  #awaitsServer = false;
  #ovsdb: { readonly datapathType: string } | undefined;
  #ovsdbConnected = false;
  #openvswitchVersion = 'unknown';
  #switchConnected = false;
  #wasSwitchLost = false;
  serverConnected = false;
  #readBackAsked = false;
  #readySaid = false;
  #areFlowsIn = false;
  #saidServerAway = false;
  #tunnels: Readonly<Partial<Record<Encap, number>>> = {};
  readonly portStates = new PortStates(this, this.conntrack.zones, this.installation);
  readonly problems = new Map<string, string>();
  /** What the last hello said, until the scope that belongs to it is here: neither counts without the other. */
  #hello: { readonly host: string; readonly incarnation: string } | undefined;
  revision = 0;
  #appliedReported = -1;
  #lastCountersMs = 0;
  #lastPulseMs = Number.NEGATIVE_INFINITY;
  #lastHealth = '';
  readonly #startedMs: number;

  constructor(
    compiler: Compiler,
    options: {
      readonly agentVersion: string;
      readonly nowMs: number;
      readonly random: Random;
      readonly areSpeakersLeft?: boolean;
    },
  ) {
    this.#compiler = compiler;
    this.parts = new AgentParts(this, {
      ...{ learning: this.learning, conntrack: this.conntrack, installation: this.installation },
      explain: (cookie) => compiler.explain(cookie),
      ...options,
    });
    this.#agentVersion = options.agentVersion;
    this.#startedMs = options.nowMs;
  }

  /** OpenFlow port of the bridge's tunnel of this encapsulation, once Open vSwitch has made it. */
  tunnelOfport(encap: Encap): number | undefined {
    return this.#tunnels[encap];
  }

  step(event: AgentEvent, nowMs: number): Effect[] {
    const effects = [...this.#handle(event, nowMs), ...this.#tellFlows()];
    if (this.#readySaid || !this.#areFlowsIn) return effects;
    this.#readySaid = true;
    return [...effects, { kind: 'ready' }];
  }

  /** What is on its way later is for changes: the host forwards as it did. */
  #tellFlows(): Effect[] {
    const { synced, idle } = this.installation;
    const areIn = synced && (idle || this.#areFlowsIn);
    if (areIn === this.#areFlowsIn) return [];
    this.#areFlowsIn = areIn;
    return [{ kind: 'flows', areIn }];
  }

  #handle(event: AgentEvent, nowMs: number): Effect[] {
    switch (event.kind) {
      case 'restored':
        this.host = event.host;
        this.#scopeReady = event.host !== undefined && event.records.length > 0;
        this.#awaitsServer = this.#scopeReady;
        this.learning.adopt(event.records, event.host, nowMs);
        this.parts.neighbours.adopt(event.records, event.host, nowMs);
        return this.#applyScope(
          event.records.map((record) => ({ op: 'put', record })),
          undefined,
          nowMs,
        );
      case 'interfaces':
        return this.#interfacesChanged(event, nowMs);
      case 'ovsdbConnection':
        this.#ovsdbConnected = event.connected;
        return [];
      case 'ovsdbReady':
        this.#ovsdb = event;
        return [
          ...this.conntrack.adopt(event.natZones ?? new Map()),
          ...this.#rebind(nowMs),
          ...this.#giveNatZones(),
          ...this.#forgetAbsent(),
          ...this.#ensureTunnel(),
          ...this.#maybeReadBack(),
          ...this.#reportEverything(nowMs),
        ];
      case 'tunnels':
        this.#tunnels = event.ofports;
        return this.compile([this.#selfChange()]);
      case 'switchConnected':
        this.#switchConnected = true;
        this.#openvswitchVersion = event.version;
        this.parts.attachments.switchConnected(nowMs);
        return [
          ...this.conntrack.flushAgain(),
          ...this.conntrack.limits(),
          ...(this.#wasSwitchLost ? this.parts.imports.switchReturned() : []),
          ...this.#maybeReadBack(),
        ];
      case 'flushed':
        return this.conntrack.flushed(event.zones);
      case 'connectionsRestored':
        return [...this.parts.imports.restored(event.isAll), ...this.#maybeReadBack()];
      case 'switchLost':
        this.#switchConnected = false;
        this.#wasSwitchLost = true;
        this.#readBackAsked = false;
        this.installation.lost();
        this.parts.attachments.switchLost(nowMs);
        return [
          {
            kind: 'log',
            level: 'warn',
            message: 'the switch is gone; its flows are compared again when it returns',
            fields: { reason: event.reason },
          },
        ];
      case 'readBack': {
        this.#readBackAsked = false;
        const { put, gone } = differingMeters(this.#compiler.meters(), event.meters ?? []);
        return [
          ...(put.length === 0 ? [] : [{ kind: 'setMeters', put, gone: [] } as const]),
          ...this.installation.readBack(event.flows, this.#compiler.flows()),
          ...takeMeters(this.installation, this.#compiler, gone),
          ...this.installation.whenInstalled(() => this.parts.floatingEnds.installed()),
          ...this.#afterChange([...this.interfaces.bound().keys()]),
        ];
      }
      case 'installed':
        return this.installation.installed(event.id);
      case 'refused':
        return this.installation.refusedBundle(event.id, event.error, event.index);
      case 'serverHello':
        return this.#serverHello(event.host, event.incarnation, nowMs);
      case 'serverLost':
        if (!this.serverConnected && this.#saidServerAway) return [];
        this.#saidServerAway = true;
        this.serverConnected = false;
        this.#awaitsServer = false;
        return [
          {
            kind: 'log',
            level: 'warn',
            message: 'the server is gone; this host goes on with what it knows',
            fields: { reason: event.reason },
          },
          ...this.parts.vteps.serverLost(nowMs),
          ...this.#maybeReadBack(),
        ];
      case 'scope':
        this.#scopeReady = true;
        this.#awaitsServer = false;
        return [...this.#applyScope(event.changes, event.revision, nowMs), ...this.parts.vteps.serverCurrent(nowMs)];
      case 'progress':
        this.revision = event.revision;
        return [...this.#reportApplied(), ...this.parts.vteps.serverCurrent(nowMs)];
      case 'reportRefused':
        return this.#reportRefused(event.report, event.code, event.message);
      case 'packetIn':
        return [...this.parts.packetIns.handle(event.packet, nowMs), ...this.parts.imports.announced(nowMs)];
      case 'counters':
        return this.#counters(event, nowMs);
      case 'tick':
        return this.#tick(nowMs);
      case 'conntrack':
        this.parts.conntrackUse.told(event);
        this.parts.connectionLimits.used(event.zones);
        return this.#judgeRoom(event);
      case 'hosts':
        return [...this.parts.hostsTold(event, nowMs), ...this.#maybeReadBack(), ...this.#reportHealth()];
      case 'wake':
        return this.parts.wake(nowMs);
      case 'speakerProblems':
        for (const key of this.problems.keys()) if (key.startsWith('speaker/')) this.problems.delete(key);
        for (const [n, problem] of event.problems.entries()) this.problems.set(`speaker/${n}`, problem);
        return [];
      default:
        return this.parts.handle(event, nowMs);
    }
  }

  // ── scope ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #serverHello(host: string, incarnation: string, nowMs: number): Effect[] {
    this.serverConnected = true;
    this.#hello = { host, incarnation };
    this.#appliedReported = -1;
    return this.#reportEverything(nowMs);
  }

  #applyScope(told: readonly ScopeChange[], revision: number | undefined, nowMs: number): Effect[] {
    const hello = this.#hello;
    this.#hello = undefined;
    if (hello) this.host = hello.host;
    const changes = this.parts.sessions.withoutOutdated(told);
    const formerGroups = this.parts.formerGroups.scopeChanging(changes, nowMs);
    const noteFloatingEnds = this.parts.floatingEnds.scopeChanging(changes);
    this.scope.apply(changes);
    noteFloatingEnds();
    const own = this.host === undefined ? undefined : this.scope.host(this.host);
    const isOtherPattern = this.interfaces.setPattern(own?.interfacePattern);
    const kept: LearnedAddress[] = [];
    for (const { op, record } of changes) {
      const taught = record.kind === 'learned' ? this.learning.get(record.id) : undefined;
      // The server forgot it while we were silent; the port that taught it is here and knows better.
      if (taught && op === 'delete' && this.scope.port(taught.port)?.portSecurity === false) kept.push(taught);
      // Someone else has an address that our port taught us: it moved.
      else if (taught && (record as LearnedAddress).host !== this.host) this.learning.lose(record.id);
      if (record.kind === 'binding') this.parts.moves.told(record as Binding, hello !== undefined);
      if (record.kind === 'port' && !this.scope.port(record.id)) this.portStates.forget(record.id);
    }
    if (revision !== undefined) this.revision = revision;
    const neighbours = this.parts.neighbours.scopeChanged(changes);
    const inputs = [...changes, ...[...kept, ...neighbours.kept].map((record): ScopeChange => ({ op: 'put', record }))];
    this.scope.apply(inputs.slice(changes.length));
    const effects = this.report([
      ...kept.map((record): Report => ({ type: 'learned', ...reported(record) })),
      ...neighbours.kept.map((record): Report => ({ type: 'neighbour', ...reportedNeighbour(record) })),
    ]);
    effects.push(...this.parts.hold.scopeChanged(changes, nowMs));
    effects.push(
      ...this.#giveNatZones(changes, [this.#selfChange(), ...inputs, ...formerGroups]),
      ...this.#ensureTunnel(),
    );
    if (isOtherPattern || this.interfaces.hasPattern) effects.push(...this.#rebind(nowMs));
    const touched = changes.flatMap(({ record }) =>
      record.kind === 'port' && this.interfaces.get(record.id) ? [record.id] : [],
    );
    effects.push(
      ...this.#afterChange(touched),
      ...this.#maybeReadBack(),
      ...this.parts.scopeChanged(changes, inputs, nowMs),
    );
    if (neighbours.release) effects.push(...this.installation.whenInstalled(neighbours.release));
    effects.push(...this.installation.whenInstalled(() => this.parts.floatingEnds.installed()));
    if (revision === undefined) return effects;
    // The disk comes last: the switch must not wait for it.
    return [
      ...effects,
      ...this.installation.whenInstalled(() => this.#reportApplied()),
      { kind: 'persist', changes, ...hello },
    ];
  }

  #selfChange(): CompilerChange {
    if (this.host === undefined) return { op: 'delete', kind: 'self', id: 'self' };
    return {
      op: 'put',
      record: { kind: 'self', id: 'self', host: this.host, tunnelPorts: this.#tunnels, meters: HOST_METER },
    };
  }

  /** Routers that translate get their zones, and `inputs` become flows. Not before OVSDB told which zones there are. */
  #giveNatZones(changes?: readonly ScopeChange[], inputs: readonly CompilerChange[] = []): Effect[] {
    if (!this.#ovsdb || !this.#scopeReady) return this.compile(inputs);
    const { flows, effects } = this.conntrack.scopeChanged(this.scope, changes);
    return [...effects, ...this.compile([...inputs, ...flows])];
  }

  #judgeRoom(event: AgentEvent & { kind: 'conntrack' }): Effect[] {
    const changes = this.conntrack.used(event, this.#ovsdb?.datapathType !== 'netdev');
    return changes.length === 0 ? [] : this.compile(changes);
  }

  #ensureTunnel(): Effect[] {
    const own = this.host === undefined ? undefined : this.scope.host(this.host);
    const encap = own && this.scope.get('tunnelZone', own.zone)?.encap;
    return encap && this.#ovsdb && this.#tunnels[encap] === undefined ? [{ kind: 'ensureTunnel', encap }] : [];
  }

  // ── interfaces ─────────────────────────────────────────────────────────────────────────────────────────────────

  #interfacesChanged({ put, gone }: AgentEvent & { kind: 'interfaces' }, nowMs: number): Effect[] {
    let areBindingsOther = gone.length > 0;
    for (const entry of put) if (this.interfaces.put(entry)) areBindingsOther = true;
    for (const uuid of gone) this.interfaces.delete(uuid);
    return this.#ovsdb && areBindingsOther ? this.#rebind(nowMs) : [];
  }

  #rebind(nowMs: number): Effect[] {
    const before = new Map(this.interfaces.bound());
    const { put, gone, doubles } = this.interfaces.rebind((prefix) => this.scope.portByPrefix(prefix));
    for (const key of this.problems.keys()) if (key.startsWith('double/')) this.problems.delete(key);
    for (const { port, name } of doubles)
      this.problems.set(`double/${port}/${name}`, `interface ${name} also claims port ${port}; remove its iface-id`);
    for (const key of this.problems.keys()) if (key.startsWith('malformed/')) this.problems.delete(key);
    for (const [name, id] of this.interfaces.malformed)
      this.problems.set(
        `malformed/${name}`,
        `interface ${name} has an iface-id that is no port's id: ${shortened(id)}`,
      );
    if (put.length + gone.length === 0) return [];
    const bound = put.map((port) => [port, this.interfaces.get(port)!] as const);
    const flush = this.conntrack.rebound(bound, gone);
    const changes: CompilerChange[] = bound.map(([id, { ofport, name }]) => {
      const zone = this.conntrack.zones.of(id);
      return {
        op: 'put',
        record: { kind: 'interface', id, ofport: ofport!, name, ...(zone === undefined ? {} : { zone }) },
      };
    });
    const reports: Report[] = put.map((port) => this.#claim(port));
    const marks: Effect[] = [];
    const left: Effect[] = [];
    // An interface that is another port now, or none: its mark spoke of the former.
    for (const port of [...put, ...gone]) marks.push(...this.portStates.markInterface(before.get(port)?.uuid, false));
    for (const port of gone) {
      changes.push({ op: 'delete', kind: 'interface', id: port });
      reports.push({ type: 'unclaim', port });
      for (const record of this.learning.ofPort(port)) {
        this.learning.lose(record.id);
        changes.push({ op: 'delete', kind: 'learned', id: record.id });
        reports.push({ type: 'forgotten', ...reported(record) });
      }
      this.parts.guard.forget(port);
      changes.push({ op: 'delete', kind: 'shutOff', id: port });
      if (this.portStates.interfaceGone(port)) reports.push({ type: 'ports', ports: { [port]: { state: 'gone' } } });
      this.parts.moves.forget(port);
      left.push(...this.parts.neighbours.portGone(port), ...this.parts.backOff.forget(port));
    }
    const effects: Effect[] = this.report(reports);
    return [
      ...flush,
      ...marks,
      ...effects,
      ...this.compile(changes),
      ...left,
      ...this.#afterChange(put),
      ...this.parts.portsChanged(put, gone, nowMs),
    ];
  }

  /** Addresses from the last run whose port was unplugged while no agent ran. */
  #forgetAbsent(): Effect[] {
    const absent = this.learning.loseAbsent((port) => this.interfaces.get(port) !== undefined);
    this.scope.apply(absent.map((record) => ({ op: 'delete', record })));
    return [
      ...this.compile(absent.map(({ id }) => ({ op: 'delete', kind: 'learned', id }))),
      ...this.parts.neighbours.forgetAbsent(),
    ];
  }

  #claim(port: string): Report {
    const entry = this.interfaces.get(port)!;
    return {
      type: 'claim',
      port,
      interface: shortened(entry.name),
      ...(entry.vm === undefined ? {} : { vm: shortened(entry.vm) }),
    };
  }

  #afterChange(ports: readonly string[]): Effect[] {
    return this.portStates.whenInstalled(
      ports,
      (port) => this.parts.guard.isShutOff(port),
      (fresh) => this.parts.advertising.toPorts(fresh),
    );
  }

  reportStates(states: Readonly<Record<string, PortState>>): Effect[] {
    return this.portStates.tell(states);
  }

  // ── flows ──────────────────────────────────────────────────────────────────────────────────────────────────────

  compile(changes: readonly CompilerChange[]): Effect[] {
    const { add, remove, replaced, meters, goneMeters, problems } = this.#compiler.update(changes);
    for (const key of this.problems.keys()) if (key.startsWith('compile/')) this.problems.delete(key);
    for (const problem of problems) this.problems.set(`compile/${problem.unit}`, problem.message);
    return [
      ...(meters.length === 0 ? [] : [{ kind: 'setMeters', put: meters, gone: [] } as const]),
      ...this.installation.change(add, remove, replaced),
      ...takeMeters(this.installation, this.#compiler, goneMeters),
    ];
  }

  #maybeReadBack(): Effect[] {
    if (
      this.#awaitsServer ||
      !this.#switchConnected ||
      !this.#scopeReady ||
      !this.#ovsdb ||
      this.parts.nextHopHosts.isAwaited ||
      this.parts.imports.isRestoring ||
      this.installation.synced ||
      this.#readBackAsked
    )
      return [];
    this.#readBackAsked = true;
    return [{ kind: 'readBack' }];
  }

  /** Takes effect here before the server has agreed; what the server then sends replaces it. */
  overlay(record: ScopeRecord): Effect[] {
    this.scope.apply([{ op: 'put', record }]);
    return [...this.compile([{ op: 'put', record }]), ...this.parts.vteps.macsChanged([{ op: 'put', record }])];
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #tick(nowMs: number): Effect[] {
    const effects: Effect[] = [];
    if (this.#awaitsServer && nowMs - this.#startedMs >= SERVER_GRACE_MS) {
      this.#awaitsServer = false;
      effects.push(...this.#maybeReadBack());
    }
    effects.push(...this.parts.tick(nowMs));
    // Ageing stops while the server is away: nobody could tell us that an address lives elsewhere now.
    for (const record of this.serverConnected ? this.learning.idle(nowMs) : []) {
      this.learning.lose(record.id);
      this.scope.apply([{ op: 'delete', record }]);
      effects.push(
        ...this.compile([{ op: 'delete', kind: 'learned', id: record.id }]),
        ...this.report([{ type: 'forgotten', ...reported(record) }]),
        ...this.parts.vteps.macsChanged([{ op: 'delete', record }]),
      );
    }
    // Where the switch refused a bundle without saying why, or Open vSwitch could not make the tunnel port.
    effects.push(...this.#maybeReadBack(), ...this.#ensureTunnel());
    if (this.installation.synced && nowMs - this.#lastCountersMs >= COUNTERS_INTERVAL_MS) {
      this.#lastCountersMs = nowMs;
      effects.push({ kind: 'readCounters' });
    }
    if (nowMs - this.#lastPulseMs >= PULSE_INTERVAL_MS) {
      this.#lastPulseMs = nowMs;
      effects.push({ kind: 'pulse', addresses: [...this.scope.neighbours(this.host), ...this.parts.vteps.remotes()] });
    }
    return [...effects, ...this.#reportHealth()];
  }

  #counters(event: AgentEvent & { kind: 'counters' }, nowMs: number): Effect[] {
    const { rules, drops, learned } = sumCounters(event, this.#compiler, this.parts.errors.tooBig);
    for (const [id, packets] of learned) this.learning.heard(id, packets, nowMs);
    if (Object.keys(rules).length + Object.keys(drops).length === 0) return [];
    return this.report([{ type: 'counters', epochMs: this.#startedMs, rules, drops }]);
  }

  // ── reports ────────────────────────────────────────────────────────────────────────────────────────────────────

  report(reports: readonly Report[]): Effect[] {
    return this.serverConnected && reports.length > 0 ? [{ kind: 'report', reports }] : [];
  }

  /** On a new connection the server is told all that it may have missed. */
  #reportEverything(nowMs: number): Effect[] {
    if (!this.serverConnected || !this.#ovsdb) return [];
    const claims = [...this.interfaces.bound().keys()].map((port) => {
      const { type: _, ...claim } = this.#claim(port) as Extract<Report, { type: 'claim' }>;
      return claim;
    });
    this.#lastHealth = '';
    this.parts.natNeeds.serverIsNew();
    return [
      ...this.report([
        { type: 'claims', claims },
        ...[...this.parts.moves.pending()].map((port): Report => ({ type: 'activate', port })),
        { type: 'learnedAll', addresses: this.learning.all() },
        { type: 'ports', ports: Object.fromEntries(this.portStates.all) },
        ...this.parts.reports(),
      ]),
      ...this.parts.natNeeds.ahead([...this.interfaces.bound().keys()], nowMs),
      ...this.#reportHealth(),
    ];
  }

  #reportApplied(): Effect[] {
    if (
      !this.serverConnected ||
      !this.installation.synced ||
      !this.installation.idle ||
      this.revision === this.#appliedReported
    )
      return [];
    this.#appliedReported = this.revision;
    return this.report([{ type: 'applied', revision: this.revision }]);
  }

  #reportRefused(report: Report, code: string, message: string): Effect[] {
    const takenBack = report.type === 'activate' ? this.parts.moves.refused(report.port) : undefined;
    if (takenBack) return [{ kind: 'log', level: 'warn', message, fields: { code } }, ...takenBack];
    if (report.type !== 'claim' && report.type !== 'claims')
      return [{ kind: 'log', level: 'warn', message: `the server refused a report: ${message}`, fields: { code } }];
    const ports =
      report.type === 'claim'
        ? [report.port]
        : report.claims.map((claim) => claim.port).filter((port) => message.includes(port));
    for (const port of ports) this.portStates.take(port, { state: 'no-port', problem: message });
    return [{ kind: 'log', level: 'warn', message, fields: { code, ports } }];
  }

  health(): HostHealth {
    const ofParts = this.parts.health();
    return describeHealth({
      agentVersion: this.#agentVersion,
      openvswitchVersion: this.#openvswitchVersion,
      datapathType: this.#ovsdb?.datapathType ?? 'unknown',
      flows: this.#compiler.flowCount,
      interfaces: this.interfaces,
      portStates: this.portStates.all,
      refused: this.installation.refused.values(),
      ...ofParts,
      problems: [...this.problems.values(), ...ofParts.problems],
      nameOf: (host) => this.scope.host(host)?.name ?? host,
      isSwitchConnected: this.#switchConnected,
      isOvsdbConnected: this.#ovsdbConnected,
    });
  }

  #reportHealth(): Effect[] {
    const health = this.health();
    const text = JSON.stringify(health);
    if (text === this.#lastHealth || !this.serverConnected) return [];
    this.#lastHealth = text;
    return this.report([{ type: 'health', health }]);
  }
}
