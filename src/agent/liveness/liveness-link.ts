import { createSocket, type Socket } from 'node:dgram';
import { connect, type Socket as TcpSocket } from 'node:net';
import { parseIp } from '../../base/addresses.ts';
import type { Clock } from '../../base/clock.ts';
import { DecodeError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { AgentEvent, Effect } from '../events.ts';
import { EchoDesk } from './echo-desk.ts';
import { type Answer, type DueProbe, HostWatch } from './host-watch.ts';
import { decodeLiveness, encodeLiveness, LIVENESS_PORT, type LivenessMessage } from './message.ts';

/** To one watched host. */
interface Line {
  readonly address: string;
  socket: Socket | undefined;
  isConnected: boolean;
  call?: TcpSocket;
}

const BIND_AGAIN_MS = 1_000;
/** Warnings that are sent between two looks at what came in. */
const WARNINGS_AT_ONCE = 500;

export interface LivenessLinkOptions {
  readonly emit: (event: AgentEvent) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * The sockets of liveness between hosts (docs/design/liveness.md), all at the host's own tunnel address: one that answers probes, and for each
 * host that is watched a connected one, so that the kernel tells of a port where nobody listens. Ends with `close`.
 */
export class LivenessLink {
  readonly #options: LivenessLinkOptions;
  readonly #watch: HostWatch;
  readonly #desk = new EchoDesk();
  readonly #token: number;
  #own: string | undefined;
  #deskSocket: Socket | undefined;
  readonly #lines = new Map<string, Line>();
  #timer: NodeJS.Timeout | undefined;
  #told = '';
  #lost: ReadonlySet<string> = new Set();
  #isClosed = false;
  #saidAbsent = false;
  /** Datagrams that were none of ours. */
  malformed = 0;

  constructor(options: LivenessLinkOptions) {
    this.#options = options;
    this.#watch = new HostWatch(options.random);
    this.#token = options.random.u32();
  }

  perform({ own, hosts }: Effect & { readonly kind: 'watchHosts' }): void {
    if (own !== this.#own) {
      this.#own = own;
      this.#openDesk();
      for (const host of [...this.#lines.keys()]) this.#hangUp(host);
    }
    const wanted = new Map(hosts.map(({ host, address }) => [host, address]));
    for (const [host, { address }] of [...this.#lines]) if (wanted.get(host) !== address) this.#hangUp(host);
    for (const [host, address] of wanted)
      if (!this.#lines.has(host)) this.#lines.set(host, { address, socket: undefined, isConnected: false });
    this.#watch.watch(hosts, this.#now());
    this.#goOn();
  }

  /** Whether this host's flows are in is told with every answer. */
  setFlows(areIn: boolean): void {
    this.#desk.hasFlows = areIn;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#deskSocket?.close();
    for (const host of [...this.#lines.keys()]) this.#hangUp(host);
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  // ── asked by others ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Answers have to come from the address that was asked: that one alone is listened at. It may not be there yet. */
  #openDesk(): void {
    this.#deskSocket?.close();
    this.#deskSocket = undefined;
    const own = this.#own;
    if (own === undefined || this.#isClosed) return;
    const socket = socketFor(own);
    this.#deskSocket = socket;
    socket.on('message', (bytes, from) => {
      const probe = this.#read(bytes);
      if (probe?.kind !== 'probe') return;
      const nowMs = this.#now();
      const echo = this.#desk.answer(probe, from, nowMs);
      if (probe.isWell) this.#watch.asked(from.address, nowMs);
      socket.send(encodeLiveness(echo), from.port, from.address, () => {});
    });
    socket.on('error', (error) => {
      if (this.#deskSocket !== socket) return;
      if (!this.#saidAbsent)
        this.#options.log.warn('probes of other hosts are not answered yet', { address: own, error });
      this.#saidAbsent = true;
      setTimeout(() => {
        if (this.#deskSocket === socket) this.#openDesk();
      }, BIND_AGAIN_MS).unref();
    });
    socket.bind({ port: LIVENESS_PORT, address: own }, () => (this.#saidAbsent = false));
  }

  // ── asking others ────────────────────────────────────────────────────────────────────────────────────────────────

  #probe({ host, address, sequence, withCall, wasAnswered }: DueProbe): void {
    const line = this.#lines.get(host);
    if (!line) return;
    const isServing = this.#desk.isServing;
    const isWell = wasAnswered && this.#desk.hasFlows;
    const bytes = encodeLiveness({ kind: 'probe', token: this.#token, sequence, isServing, isWell });
    if (!line.socket) this.#dial(host, address, bytes);
    else if (line.isConnected) line.socket.send(bytes, (error) => this.#failed(host, error));
    line.call?.destroy();
    if (withCall) line.call = this.#call(host, address);
  }

  #dial(host: string, address: string, bytes: Uint8Array): void {
    const line = this.#lines.get(host)!;
    const socket = socketFor(address);
    line.socket = socket;
    line.isConnected = false;
    socket.on('message', (answer) => this.#heard(host, answer));
    const broke = (error: NodeJS.ErrnoException): void => {
      this.#failed(host, error);
      // A refusal is news of the other end; anything else is about this end, and the next probe tries anew.
      if (error.code === 'ECONNREFUSED' || line.socket !== socket) return;
      line.socket = undefined;
      socket.close();
    };
    socket.on('error', broke);
    socket.bind({ port: 0, ...(this.#own === undefined ? {} : { address: this.#own }) }, () => {
      if (line.socket !== socket) return;
      socket.connect(LIVENESS_PORT, address, (error?: Error) => {
        if (error) return broke(error);
        if (line.socket !== socket) return;
        line.isConnected = true;
        socket.send(bytes, (failure) => this.#failed(host, failure));
      });
    });
  }

  /** A connection to where nobody listens: refused by every kernel that lives, and never rationed as port unreachables are. */
  #call(host: string, address: string): TcpSocket {
    const own = this.#own === undefined ? {} : { localAddress: this.#own };
    const call = connect({ host: address, port: LIVENESS_PORT, ...own });
    call.on('error', (error) => this.#failed(host, error));
    call.on('connect', () => {
      this.#answered(host, 'kernel');
      call.destroy();
    });
    return call.unref();
  }

  #failed(host: string, error: NodeJS.ErrnoException | null | undefined): void {
    if (error?.code === 'ECONNREFUSED' || error?.code === 'ECONNRESET') this.#answered(host, 'kernel');
  }

  #heard(host: string, bytes: Uint8Array): void {
    const message = this.#read(bytes);
    if (message?.kind === 'probe' || message?.token !== this.#token) return;
    if (message.kind === 'echo') return this.#answered(host, message);
    for (const { address } of this.#lines.values())
      if (parseIp(address)?.value === message.address.value) this.#watch.suspect(address, this.#now());
    this.#goOn();
  }

  #answered(host: string, by: Answer): void {
    this.#watch.answered(host, by, this.#now());
    this.#goOn();
  }

  #read(bytes: Uint8Array): LivenessMessage | undefined {
    try {
      return decodeLiveness(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.malformed++;
      return undefined;
    }
  }

  #hangUp(host: string): void {
    const line = this.#lines.get(host);
    this.#lines.delete(host);
    line?.call?.destroy();
    const socket = line?.socket;
    if (line) line.socket = undefined;
    socket?.close();
  }

  // ── time and news ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Says what is new, and comes back when something is due. */
  #goOn(): void {
    this.#tell();
    clearTimeout(this.#timer);
    const { dueMs } = this.#watch;
    if (this.#isClosed || dueMs === Number.POSITIVE_INFINITY) return;
    // What came in while this process did something else is read before it is judged: timers come before sockets, this behind them.
    const due = (): void => void setImmediate(() => this.#tick());
    this.#timer = setTimeout(due, Math.max(0, dueMs - this.#now())).unref();
  }

  #tick(): void {
    if (this.#isClosed) return;
    for (const probe of this.#watch.tick(this.#now())) this.#probe(probe);
    this.#goOn();
  }

  #tell(): void {
    const { lost, isSettled } = this.#watch;
    const told = `${isSettled} ${lost.join(' ')}`;
    if (told === this.#told) return;
    this.#told = told;
    const news = lost.filter((host) => !this.#lost.has(host));
    this.#lost = new Set(lost);
    this.#options.emit({ kind: 'hosts', lost, isSettled });
    for (const host of news) this.#warn(this.#lines.get(host)?.address);
  }

  /** Those who ask this host seldom hear of a loss from it. */
  #warn(lost: string | undefined): void {
    const address = lost === undefined ? undefined : parseIp(lost);
    if (!address) return;
    const askers = [...this.#desk.toWarn()];
    const some = (): void => {
      for (const { token, ...to } of askers.splice(0, WARNINGS_AT_ONCE))
        this.#deskSocket?.send(encodeLiveness({ kind: 'suspect', token, address }), to.port, to.address, () => {});
      if (askers.length > 0 && !this.#isClosed) setImmediate(some);
    };
    some();
  }
}

function socketFor(address: string): Socket {
  return createSocket(address.includes(':') ? 'udp6' : 'udp4').unref();
}
