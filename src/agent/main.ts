import { createSocket } from 'node:dgram';
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SteadyClock, systemClock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { MemoryTrimmer } from '../base/memory.ts';
import { listNamespaces } from '../base/namespaces.ts';
import { systemRandom } from '../base/random.ts';
import { createCompiler } from '../compile/compiler.ts';
import { createClient } from '../server/client.ts';
import type { ConnectionsAnswer, ImportAnswer, Report, WatchMessage } from '../server/protocol.ts';
import type { SpeakerLink } from './bgp/speaker-link.ts';
import { BridgeLink } from './bridge-link.ts';
import { ConnectionExporter } from './connections/exporter.ts';
import { PortReader } from './connections/of-port.ts';
import { mostAtOnce } from './connections/reading.ts';
import { Recreator, type RecreatorOptions } from './connections/recreator.ts';
import { Restorer } from './connections/restorer.ts';
import { entriesOfTold } from './connections/told.ts';
import { ConntrackLink } from './conntrack-link.ts';
import { answerControl, type ControlOptions, startControl } from './control.ts';
import { AgentCore } from './core.ts';
import type { AgentEvent, Effect } from './events.ts';
import { CopyLink } from './hold/copy-link.ts';
import { CopyReader } from './hold/copy-reader.ts';
import { TakeOver } from './hold/take-over.ts';
import { AttachmentLink } from './l2-gateways/attachment-link.ts';
import { LivenessLink } from './liveness/liveness-link.ts';
import { LocalState } from './local-state.ts';
import { HOST_METERS } from './meters.ts';
import { notifySystemd } from './readiness.ts';
import { readRegisters } from './registers.ts';
import { ServerLink } from './server-link.ts';
import { SwitchLink } from './switch-link.ts';
import { findControlSocket } from './vswitchd-control.ts';
import type { VtepLink } from './vteps/vtep-link.ts';

/** What `weft agent run` takes. */
export interface AgentOptions {
  /** This host by name or id, as the server knows it. */
  readonly host: string;
  /** `unix:/path`, `tcp:host:port` or `tls:host:port`. */
  readonly server: string;
  readonly token?: string;
  readonly ca?: string;
  /** Open vSwitch's run directory: its `db.sock`, control socket and the bridge's management socket. */
  readonly ovsRunDir: string;
  readonly bridge: string;
  /** `system` for the kernel's datapath, `netdev` for the userspace one. */
  readonly datapathType: string;
  readonly stateDir: string;
  readonly controlSocket: string;
  /** Names of the network namespaces of BGP speakers begin so. */
  readonly namespacePrefix: string;
  readonly version: string;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Called once all flows are in, and again when a part that few hosts need was loaded later. */
  readonly onLoaded?: () => void;
}

const TICK_MS = 1_000;

/**
 * The agent with its sockets: carries events to the core and effects from it. Ends when the signal says so, and leaves
 * the switch as it is: stopping an agent stops no traffic.
 */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { log, signal } = options;
  const compiler = createCompiler();
  const steady = new SteadyClock(systemClock);
  const core = new AgentCore(compiler, {
    agentVersion: options.version,
    nowMs: steady.now(),
    random: systemRandom,
    areSpeakersLeft: listNamespaces(options.namespacePrefix).length > 0,
  });
  const setProblem = (key: string, problem: string | undefined): void => {
    if (problem === undefined) core.problems.delete(key);
    else core.problems.set(key, problem);
  };
  const disk = new LocalState(options.stateDir, (problem) => setProblem('disk', problem));
  const pulse = createSocket('udp4').unref();
  const pulse6 = createSocket('udp6').unref();
  for (const socket of [pulse, pulse6]) socket.on('error', () => {}); // an unreachable neighbour is no news here

  const memory = new MemoryTrimmer();
  const emit = (event: AgentEvent): void => {
    if (event.kind === 'learnedRoutes') memory.worked(event.routes.length);
    for (const effect of core.step(event, steady.now())) perform(effect);
  };
  const switchLink = new SwitchLink({
    address: `unix:${join(options.ovsRunDir, `${options.bridge}.mgmt`)}`,
    meters: HOST_METERS,
    readRegisters,
    emit: (event) => {
      if (event.kind === 'switchLost') {
        restorer.switchLost();
        takeOver.switchLost();
      }
      emit(event);
    },
    clock: systemClock,
    log: log.child({ part: 'openflow' }),
    signal,
  });
  const bridgeLink = new BridgeLink({ ...options, emit, clock: systemClock, log: log.child({ part: 'ovsdb' }) });
  const vswitchdControl = (): string => findControlSocket(options.ovsRunDir);
  const conntrackLink = new ConntrackLink({
    ...{ datapathType: options.datapathType, control: vswitchdControl, emit, clock: systemClock },
    ...{ log: log.child({ part: 'conntrack' }), signal },
  });
  // Hosts without sessions, nearly all, load neither FRR's part nor the model's.
  let speakers: Promise<SpeakerLink> | undefined;
  const startSpeakers = async (): Promise<SpeakerLink> => {
    const { SpeakerLink } = await import('./bgp/speaker-link.ts');
    const link = new SpeakerLink({
      ...{ namespacePrefix: options.namespacePrefix, datapathType: options.datapathType, emit, clock: systemClock },
      ...{ log: log.child({ part: 'bgp' }), signal },
      setSpeakerPorts: (interfaces) => bridgeLink.setSpeakerPorts(interfaces),
    });
    void link.run();
    options.onLoaded?.();
    return link;
  };
  const planSpeakers = async (isLeaving: boolean): Promise<void> => {
    const { plansOf } = await import('./bgp/plan.ts');
    if (core.host !== undefined)
      emit({
        kind: 'planned',
        plans: plansOf(core.scope.everything(), core.host, core.parts.nextHopHosts.lost, isLeaving),
      });
  };
  const attachmentLink = new AttachmentLink({
    ...options,
    emit,
    clock: systemClock,
    log: log.child({ part: 'l2-gateways' }),
  });
  // Most hosts talk to no VTEP.
  let vteps: Promise<VtepLink> | undefined;
  const startVteps = async (): Promise<VtepLink> => {
    const { VtepLink } = await import('./vteps/vtep-link.ts');
    options.onLoaded?.();
    return new VtepLink({ emit, clock: systemClock, log: log.child({ part: 'vteps' }), signal });
  };
  const liveness = new LivenessLink({
    emit,
    clock: systemClock,
    random: systemRandom,
    log: log.child({ part: 'liveness' }),
  });
  const client = createClient({
    url: options.server,
    ...(options.token === undefined ? {} : { token: options.token }),
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  });
  const portReader = new PortReader({
    ...{ scope: core.scope, zoneOf: (owner) => core.conntrack.known(owner) },
    dumpZones: (zones) => conntrackLink.dumpZones(zones, mostAtOnce(options.datapathType)),
  });
  const recreating: RecreatorOptions = {
    run: (packets) => switchLink.runThrough(packets),
    disregardSequences: () => conntrackLink.disregardSequences(),
    log: log.child({ part: 'connections' }),
  };
  const recreator = new Recreator(recreating);
  const recreate = (effect: Extract<Effect, { kind: 'recreate' }>): void =>
    void recreator.perform(effect).then(() => {
      if (effect.port !== undefined) emit({ kind: 'recreated', port: effect.port });
    });
  const askConnections = async ({ port, from }: Extract<Effect, { kind: 'askConnections' }>): Promise<void> => {
    try {
      const path = `/v1/hosts/${encodeURIComponent(options.host)}/imports/${port}`;
      const beganMs = systemClock.monotonicMs();
      const answer = await client.get<ImportAnswer>(path, { query: { from }, signal, timeoutMs: 2_000 });
      const entries = 'entries' in answer ? answer.entries : answer.connections.flatMap(entriesOfTold);
      const ms = Math.round(systemClock.monotonicMs() - beganMs);
      log.info('connections of a port that moves here', { port, from, entries: entries.length, ms });
      emit({ kind: 'portConnections', port, entries, isOld: 'connections' in answer });
    } catch (error) {
      if (signal.aborted) return;
      log.info('connections of a port that moves here are not to be had', { port, from, error });
      emit({ kind: 'portConnections', port });
    }
  };
  const copyLink = new CopyLink({ emit, clock: systemClock, log: log.child({ part: 'copies' }) });
  const takeOver = new TakeOver({
    held: (port) => copyLink.takeOver(port),
    zonesOf: (port, entries) => core.parts.hold.zonesOf(port, entries),
    // Not behind imports, for which no flow waits.
    recreator: new Recreator(recreating),
    former: {
      read: async (port, held, within) =>
        core.parts.hold.leftovers(await portReader.all(port, { urgency: 'now', signal: within }), held),
      flush: (entries) => conntrackLink.flush(entries),
      ownZones: (port) => core.parts.hold.ownZones(port),
    },
    perform: (effect) => (effect.kind === 'recreate' ? recreate(effect) : switchLink.perform(effect)),
    ...{ clock: systemClock, log: log.child({ part: 'copies' }) },
  });
  const copyReader = new CopyReader({
    ...{ read: (port) => portReader.read(port), link: copyLink, emit, clock: systemClock, signal },
    log: log.child({ part: 'copies' }),
  });
  const control: ControlOptions = {
    core,
    compiler,
    link: switchLink,
    bridge: options.bridge,
    vswitchdControl,
    connectionsOf: (port, ask) => portReader.read(port, ask),
    copies: () => copyLink.counts(),
  };
  const serverLink = new ServerLink({
    client,
    host: options.host,
    have: () => ({
      ...(disk.incarnation === undefined ? {} : { incarnation: disk.incarnation }),
      revision: core.revision,
      have: core.scope.digest(),
    }),
    emit,
    other: (message) => void relay(message),
    clock: systemClock,
    random: systemRandom,
    log: log.child({ part: 'server' }),
    signal,
  });

  const connectionsPath = `/v1/hosts/${encodeURIComponent(options.host)}/connections`;
  const exporter = new ConnectionExporter({
    ...{ scope: core.scope, zones: core.conntrack.zones, clock: systemClock, signal },
    datapathType: options.datapathType,
    tracking: conntrackLink,
    post: (report) => client.post<ConnectionsAnswer>(connectionsPath, report, { signal, timeoutMs: 10_000 }),
    seen: (connections, unread) => emit({ kind: 'connectionsSeen', connections, unread }),
    counting: {
      places: () => core.parts.connectionLimits.places(),
      told: (counted) => emit({ kind: 'connectionsCounted', counted }),
    },
    translated: {
      places: () => core.parts.natReturns.places(),
      told: (used) => emit({ kind: 'natPortsUsed', used }),
    },
    clients: {
      places: () => core.parts.keptClients.places(),
      told: (seen) => emit({ kind: 'clientsSeen', seen }),
    },
    setProblem: (problem) => setProblem('connections', problem),
    log: log.child({ part: 'connections' }),
  });

  const restorer = new Restorer({
    ...{ lastRead: () => exporter.lastRead, count: () => conntrackLink.count(), recreator, clock: systemClock, signal },
    limited: () => conntrackLink.limited(),
    restored: (isAll) => emit({ kind: 'connectionsRestored', isAll }),
    log: log.child({ part: 'connections' }),
  });

  /** Events stand beside those of other hosts, and of other times. */
  const inWallTime = (report: Report): Report =>
    report.type === 'event' ? { ...report, atMs: steady.wallTime(report.atMs) } : report;
  const perform = (effect: Effect): void => {
    switch (effect.kind) {
      case 'install':
        memory.worked(effect.add.length + effect.remove.length);
        takeOver.perform(effect);
        break;
      case 'readBack':
      case 'flushZones':
      case 'setMeters':
      case 'recreate':
        takeOver.perform(effect);
        break;
      case 'readCounters':
      case 'packetOut':
      case 'inject':
      case 'readReceived':
      case 'readPassing':
      case 'resume':
      case 'keepPausing':
        switchLink.perform(effect);
        break;
      case 'markInstalled':
      case 'ensureTunnel':
      case 'keepNatZones':
        bridgeLink.perform(effect);
        break;
      case 'askConnections':
        void askConnections(effect);
        break;
      case 'restoreConnections':
        void restorer.run();
        break;
      case 'copyRoles':
        copyLink.perform(effect);
        if (effect.roles.length > 0)
          conntrackLink
            .disregardSequences()
            .catch((error: unknown) =>
              log.warn('connection tracking may ask for sequence numbers of copies', { error }),
            );
        break;
      case 'copyConnection': {
        const { port, entry, paused, waits } = effect;
        copyLink.copy(port, entry, () => switchLink.perform({ kind: 'resume', paused }), waits);
        break;
      }
      case 'readCopies':
        void copyReader.read(effect.ports);
        break;
      case 'takeOver':
        void takeOver.run(effect.port);
        break;
      case 'endAddresses':
        conntrackLink
          .end(effect.ends)
          .catch((error: unknown) =>
            log.warn('former connections of a floating address are still tracked', { ends: effect.ends, error }),
          );
        break;
      case 'limitZones':
      case 'readConntrack':
        conntrackLink.perform(effect);
        break;
      case 'attach':
        attachmentLink.attach(effect.plans);
        break;
      case 'serveVteps':
      case 'vtepMacs':
        vteps ??= startVteps();
        void vteps.then((link) => link.perform(effect));
        break;
      case 'planSpeakers':
        planSpeakers(effect.isLeaving).catch((error: unknown) =>
          log.error('what speakers there should be is not known', { error }),
        );
        break;
      case 'speak':
        speakers ??= startSpeakers();
        void speakers.then((link) => link.speak(effect.plans));
        break;
      case 'report':
        serverLink.report(effect.reports.map(inWallTime));
        break;
      case 'persist':
        if (
          (effect.host !== undefined && effect.host !== disk.host) ||
          (effect.incarnation !== undefined && effect.incarnation !== disk.incarnation)
        ) {
          disk.host = effect.host;
          disk.incarnation = effect.incarnation;
          disk.rewrite(() => core.scope.everything());
        } else disk.append(effect.changes, () => core.scope.everything());
        break;
      case 'pulse':
        for (const address of effect.addresses) (address.includes(':') ? pulse6 : pulse).send('', 9, address, () => {});
        break;
      case 'watchHosts':
        liveness.perform(effect);
        break;
      case 'flows':
        liveness.setFlows(effect.areIn);
        break;
      case 'wake':
        setTimeout(() => {
          if (!signal.aborted) emit({ kind: 'wake' });
        }, effect.inMs).unref();
        break;
      case 'ready':
        log.info('ready: all flows are in', { flows: compiler.flowCount, ports: core.interfaces.bound().size });
        notifySystemd('READY=1');
        options.onLoaded?.();
        break;
      case 'log':
        log[effect.level](effect.message, effect.fields);
        break;
    }
  };

  /** A request that the server passes on from somebody elsewhere. */
  const relay = async (message: WatchMessage): Promise<void> => {
    if (message.type !== 'request') return;
    const abandoned = new AbortController();
    const answer = await answerControl(
      control,
      message.method,
      message.path,
      message.body,
      AbortSignal.any([signal, abandoned.signal]),
    );
    try {
      await client.upload(`/v1/hosts/${encodeURIComponent(options.host)}/answers/${message.id}`, answer, signal);
    } catch (error) {
      if (!signal.aborted) log.warn('an answer did not reach the server', { error });
    } finally {
      abandoned.abort(); // whoever asked is served or gone: a capture ends
    }
  };

  mkdirSync(dirname(options.controlSocket), { recursive: true });
  const controlServer = await startControl(options.controlSocket, control);
  const records = disk.load();
  if (disk.host !== undefined) emit({ kind: 'restored', records, host: disk.host });
  log.info('started', {
    host: options.host,
    server: options.server,
    bridge: options.bridge,
    remembered: records.length,
  });
  const timer = setInterval(() => emit({ kind: 'tick' }), TICK_MS);
  try {
    await Promise.all([bridgeLink.run(), switchLink.run(), serverLink.run(), exporter.run()]);
  } finally {
    clearInterval(timer);
    disk.close();
    memory.stop();
    controlServer.close();
    controlServer.closeAllConnections();
    rmSync(options.controlSocket, { force: true });
    client.close();
    liveness.close();
    copyLink.close();
    pulse.close();
    pulse6.close();
  }
}
