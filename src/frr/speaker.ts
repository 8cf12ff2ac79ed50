import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { formatIp, parseIp } from '../base/addresses.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type DaemonName, formatConfig, isBfdAlone, outlivesRestart, type SpeakerConfig } from './config.ts';
import { NamespaceDaemons } from './daemons.ts';
import { FpmLink, type FpmLinkOptions } from './fpm-link.ts';
import { applyInterfaces, calmNamespace, listenInNamespace } from './namespace.ts';
import { inwardsName } from './policies.ts';
import { type Refusal, RefusedCalls } from './refused-calls.ts';
import type { RouteTable } from './route-table.ts';
import { connectedPeers, SessionWatch } from './session-watch.ts';
import {
  type BfdState,
  HELD_DOWN,
  md5Failures,
  type PeerState,
  parseBfd,
  parsePeers,
  parseRefused,
  type Refused,
  refusalOf,
  SHOW_BFD,
  SHOW_PEERS,
  SHOW_POLICIES,
  TOO_MANY,
} from './show.ts';
import { type ConfigProblem, type DaemonState, type DaemonTexts, Supervisor } from './supervisor.ts';
import { WrongSignatures } from './wrong-signatures.ts';

export type SpeakerOptions = Omit<FpmLinkOptions, 'log'> & {
  /** A network namespace that exists, with the interfaces of the configuration. */
  readonly namespace: string;
  /** FRR's pathspace of this speaker alone (`vtysh -N`), by which another agent finds the running daemons: the namespace's name where it is not given. */
  readonly pathspace?: string;
  readonly log: Log;
  readonly binDir?: string;
  readonly clock?: Clock;
  /**
   * Gateways whose sessions ended a moment ago, all of them as text: nothing is to go to them, whatever zebra says. It needs a second or two to take
   * back 100,000 routes of a session that ended.
   */
  readonly onEnded?: (gateways: readonly string[]) => void;
};

const LOOK_EVERY_MS = 100;
/** bgpd is asked who is up once a second. */
const ASK_EVERY_LOOKS = 10;

/**
 * A BGP speaker: FRR's daemons in a namespace, their configuration, and the routes that they learn.
 *
 *     SpeakerConfig ─▶ config ─▶ supervisor ─▶ daemons ── files, vty ──▶ zebra bgpd bfdd (staticd)
 *     onChanges ◀─ route table ◀─ fpm link ◀── netlink over FPM, 127.0.0.1 in the namespace ──┘
 *     onEnded ◀─ session watch ◀── sessions that ended, before zebra is through with them
 *
 * `close` leaves the daemons and their sessions as they are, for the next agent to find; `stop` ends them.
 */
export class Speaker {
  readonly #options: SpeakerOptions;
  readonly #daemons: NamespaceDaemons;
  readonly #supervisor: Supervisor;
  readonly #clock: Clock;
  #link: FpmLink | undefined;
  #port: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #watch = new SessionWatch();
  #mortal: ReadonlySet<string> = new Set();
  /** Addresses of the peers that have a password. */
  #signed: ReadonlySet<string> = new Set();
  /** How many prefixes each peer may tell, by address. */
  #most: ReadonlyMap<string, number> = new Map();
  /** Route maps of the peers of which not all is taken, by address. */
  #policed: ReadonlyMap<string, readonly string[]> = new Map();
  #looking = false;
  #asking = false;
  #looks = 0;
  /** What bgpd answered since the last look. */
  #established: ReadonlySet<string> | undefined;
  #sockets = '';
  #connected: ReadonlySet<string> = new Set();
  readonly #calls = new RefusedCalls();
  readonly #signatures = new WrongSignatures();
  /** How far bgpd's log was read; what was there before the first look is old. */
  #logRead: number | undefined;
  /** As it was told (`onEnded`). */
  ended: readonly string[] = [];
  /** Index of every interface of the namespace, by name: what a `Via`'s `oif` means. */
  interfaces: ReadonlyMap<string, number> = new Map();

  constructor(options: SpeakerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#daemons = new NamespaceDaemons(options);
    this.#supervisor = new Supervisor(this.#daemons, this.#clock, options.log);
  }

  /** What has been learned, as far as `onChanges` was told. */
  get routes(): RouteTable | undefined {
    return this.#link?.table;
  }
  get connected(): boolean {
    return this.#link?.connected ?? false;
  }
  get synced(): boolean {
    return this.#link?.synced ?? false;
  }

  /**
   * Starts what does not run yet and brings what runs to this configuration: at first and at every change. Returns what FRR
   * refused. Errors: `invalid`, `not-found` (namespace, interface, FRR), `conflict` (another listens for routes).
   */
  async apply(config: SpeakerConfig): Promise<readonly ConfigProblem[]> {
    const texts = this.#textsOf(config);
    this.#daemons.prepare();
    if (!this.#timer) await calmNamespace(this.#options.namespace);
    this.interfaces = await applyInterfaces(this.#options.namespace, config.interfaces);
    await this.#listen(config.fpmPort);
    const wanted: DaemonName[] = ['zebra', 'bfdd'];
    if (!isBfdAlone(config) || this.#daemons.pidOf('bgpd') !== undefined) wanted.push('bgpd');
    if (this.#daemons.has('mgmtd')) wanted.push('mgmtd');
    // Not told to go where it is not needed any more: it is small, and has nothing to do then.
    if (config.routes.length > 0 || this.#daemons.pidOf('staticd') !== undefined) wanted.push('staticd');
    const problems = await this.#supervisor.configure(texts, wanted);
    this.#signed = new Set(config.peers.flatMap((p) => (p.password ? [formatIp(parseIp(p.address)!)] : [])));
    this.#mortal = new Set(config.peers.filter((p) => !outlivesRestart(p)).map((p) => formatIp(parseIp(p.address)!)));
    const policed = config.peers.filter(({ accept }) => accept !== undefined);
    this.#policed = new Map(
      policed.map((p) => [formatIp(parseIp(p.address)!), p.families.map((family) => inwardsName(p, family))]),
    );
    await this.#letIn(config.peers);
    this.#timer ??= setInterval(() => void this.#look(), LOOK_EVERY_MS);
    return problems;
  }

  /** Peers that told too many for what they might, and may tell more now: by itself bgpd lets them wait. */
  async #letIn(peers: SpeakerConfig['peers']): Promise<void> {
    const before = this.#most;
    this.#most = new Map(peers.map(({ address, maxPrefixes }) => [formatIp(parseIp(address)!), maxPrefixes]));
    const raised = [...this.#most].filter(([address, most]) => most > (before.get(address) ?? most));
    if (raised.length === 0) return;
    try {
      const waiting = new Set((await this.#states()).flatMap((p) => (p.problem === TOO_MANY ? [p.address] : [])));
      for (const [address] of raised) if (waiting.has(address)) await this.#ask('bgpd', `clear bgp ${address}`);
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      // It starts anew, and lets in whoever may; or the wait ends by itself.
      this.#options.log.warn('peers that may tell more prefixes now wait on', { error });
    }
  }

  async #look(): Promise<void> {
    try {
      // First: daemons that are told something, or started, have a turn that may take seconds.
      this.#avoidEnded();
      await this.#lookAfterDaemons();
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      this.#options.log.warn('the sessions could not be looked at', { error });
    }
  }

  async #lookAfterDaemons(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      await this.#supervisor.tick();
    } finally {
      this.#looking = false;
    }
  }

  #avoidEnded(): void {
    const pid = this.#daemons.pidOf('bgpd');
    if (this.#mortal.size === 0) return this.#tellEnded([]);
    // Without bgpd there are no sessions, and zebra takes its routes back or keeps them, as it was told.
    if (pid === undefined) return;
    const established = this.#established;
    this.#established = undefined;
    // To list connections costs the kernel a walk through all of the machine, of all namespaces; to list bgpd's own sockets next to nothing.
    const sockets = socketsOf(pid);
    if (sockets !== this.#sockets || established !== undefined)
      this.#connected = connectedPeers(...['tcp', 'tcp6'].map((name) => textOf(`/proc/${pid}/net/${name}`)));
    this.#sockets = sockets;
    const connected = this.#connected;
    this.#tellEnded([...this.#watch.look(this.#mortal, connected, established, this.#clock.monotonicMs())].sort());
    if (this.#asking || this.#looks++ % ASK_EVERY_LOOKS !== 0) return;
    this.#asking = true;
    this.#states()
      .then((peers) => (this.#established = new Set(peers.filter((p) => p.established).map((p) => p.address))))
      .catch(() => {}) // it is asked again
      .finally(() => (this.#asking = false));
  }

  #tellEnded(ended: readonly string[]): void {
    if (ended.join() === this.ended.join()) return;
    this.ended = ended;
    this.#options.onEnded?.(ended);
  }

  async #states(): Promise<PeerState[]> {
    return parsePeers(await this.#ask('bgpd', SHOW_PEERS), this.#clock.now());
  }

  /** Since FRR 9 mgmtd tells staticd its routes. */
  #textsOf(config: SpeakerConfig): DaemonTexts {
    const texts = formatConfig(config);
    return this.#daemons.has('mgmtd') ? { ...texts, staticd: '' } : texts;
  }

  async #listen(port: number): Promise<void> {
    if (this.#link && this.#port === port) return;
    this.#link?.close();
    const link = new FpmLink(this.#options);
    link.attach(await listenInNamespace(this.#options.namespace, port));
    this.#link = link;
    this.#port = port;
  }

  daemons(): DaemonState[] {
    return this.#supervisor.states();
  }

  /** What FRR refuses of the configuration, by now: it may be told it long after `apply`. */
  refused(): readonly ConfigProblem[] {
    return this.#supervisor.refused();
  }

  /** Errors: `unreachable` while bgpd is not up, `protocol`. */
  async peers(): Promise<PeerState[]> {
    const states = await this.#withRefused(await this.#states());
    const refused = this.#refusedCalls(states.flatMap((peer) => (peer.established ? [peer.address] : [])));
    // `resetAt` is by the wall clock as it is now.
    const aheadMs = this.#clock.now() - this.#clock.monotonicMs();
    const peers = states.map((peer) => {
      const refusal = refused.get(peer.address);
      // What ended its session later is news.
      return refusal && refusal.atMs + aheadMs > peer.resetAt ? { ...peer, problem: refusalOf(refusal.code) } : peer;
    });
    const suspects = this.#signatures.look(this.#md5Failures(), states, this.#clock.monotonicMs());
    return peers.map((peer) => {
      if (peer.problem === undefined || peer.problem === HELD_DOWN || !suspects.has(peer.address)) return peer;
      if (peer.problem.startsWith('the peer does not answer'))
        return { ...peer, problem: 'the peer does not answer, and segments with another password arrive' };
      // Why it ended, whenever that was; it does not come back for this.
      const signed = this.#signed.has(peer.address);
      return signed ? { ...peer, problem: `${peer.problem}; segments with another password arrive` } : peer;
    });
  }

  async #withRefused(states: readonly PeerState[]): Promise<readonly PeerState[]> {
    if (this.#policed.size === 0) return states;
    const byName = parseRefused(await this.#ask('bgpd', SHOW_POLICIES));
    return states.map((peer) => {
      const names = this.#policed.get(peer.address);
      if (names === undefined) return peer;
      const all = names.flatMap((name): Refused | readonly [] => byName.get(name) ?? []);
      const prefixes = all.reduce((sum, refused) => sum + refused.prefixes, 0);
      return { ...peer, refused: { prefixes, hasDefault: all.some(({ hasDefault }) => hasDefault) } };
    });
  }

  /** Peers that call and are refused, by address. */
  #refusedCalls(letIn: readonly string[]): ReadonlyMap<string, Refusal> {
    const { text, end } = this.#daemons.readLog('bgpd', this.#logRead ?? 0);
    const news = this.#logRead === undefined ? '' : text;
    this.#logRead = end;
    return this.#calls.look(news, letIn, this.#clock.monotonicMs());
  }

  /** Errors: `unreachable` while bfdd is not up, `protocol`. */
  async bfd(): Promise<BfdState[]> {
    return parseBfd(await this.#ask('bfdd', SHOW_BFD));
  }

  /** Ends the agent's part alone. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#link?.close();
    this.#link = undefined;
  }

  /** Ends the sessions too, and leaves nothing of them. */
  async stop(): Promise<void> {
    this.close();
    await this.#supervisor.end();
    this.#daemons.forget();
  }

  async #ask(daemon: DaemonName, line: string): Promise<string> {
    const vty = await this.#daemons.openVty(daemon);
    try {
      return (await vty.send(line)).output;
    } finally {
      vty.close();
    }
  }

  /** As the kernel counts them in the namespace; undefined without bgpd. */
  #md5Failures(): number | undefined {
    const netstat = textOf(`/proc/${this.#daemons.pidOf('bgpd')}/net/netstat`);
    return netstat === '' ? undefined : md5Failures(netstat);
  }
}

/** The sockets that a process has open, by inode; empty where it is gone. */
function socketsOf(pid: number): string {
  const folder = `/proc/${pid}/fd`;
  try {
    const links = readdirSync(folder).map((fd) => linkOf(`${folder}/${fd}`));
    return links.filter((link) => link.startsWith('socket:')).join();
  } catch {
    return '';
  }
}

/** Empty where it was closed since. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** Empty where the process is gone. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
