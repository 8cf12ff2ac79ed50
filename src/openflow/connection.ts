import { connect as connectSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ByteWriter } from '../base/bytes.ts';
import { DecodeError, WeftError } from '../base/errors.ts';
import { type Log, silentLog } from '../base/log.ts';
import { canonicalMatch } from './canonical.ts';
import { FrameReader } from './framing.ts';
import { shakeHands } from './handshake.ts';
import {
  decodeMessage,
  encodeFlowMod,
  encodeMessage,
  type Message,
  type MessageBody,
  writeBundleAdd,
  writeMessage,
} from './message.ts';
import { BUNDLE_CONTROL, BUNDLE_FLAG, type BundleControl } from './messages/bundle.ts';
import type { ErrorMessage } from './messages/error.ts';
import type { FlowMod } from './messages/flow-mod.ts';
import type { FlowRemoved } from './messages/flow-removed.ts';
import type { GroupMod } from './messages/group.ts';
import { type BodyOf, joinReplies, type ReplyBody, type RequestBody } from './messages/multipart.ts';
import type { PacketIn } from './messages/packet-in.ts';
import type { PacketOut } from './messages/packet-out.ts';
import type { PortMod, PortStatus } from './messages/port.ts';
import { OF10, OF15, type OpenFlowVersion } from './version.ts';

/**
 * A controller's end of an OpenFlow channel over any byte stream: hello and version, echo, replies by xid, bundles,
 * events. It knows nothing of what the messages are for.
 */
export interface OpenFlowEvents {
  /** Its match is canonical: registers by themselves, never in pairs. */
  packetIn(message: PacketIn): void;
  flowRemoved(message: FlowRemoved): void;
  portStatus(message: PortStatus): void;
  /** An error that answers no request that is waiting: for example to a flow mod that was merely sent. */
  error(message: ErrorMessage & { readonly xid: number }): void;
  /** Any other message that answers nothing. */
  message(message: Message): void;
  /** Once, and the last event. */
  disconnect(reason: WeftError): void;
}

export interface OpenFlowOptions {
  /** By preference of none: the highest that both sides have is taken. Default: 1.5 alone. */
  readonly versions?: readonly OpenFlowVersion[];
  /** Closes the connection, also while it is being made. */
  readonly signal?: AbortSignal;
  readonly log?: Log;
  readonly events?: Partial<OpenFlowEvents>;
  /** Silence after which the peer is asked for an echo; after twice as much the connection is closed. Default 5000. */
  readonly echoIntervalMs?: number;
  /** For the hello and for each request. Default 30,000. */
  readonly requestTimeoutMs?: number;
}

/** What a bundle can carry. */
export type BundleMessage = FlowMod | GroupMod | PortMod | PacketOut;

/** `details` of the `WeftError('refused')` that a request or transaction fails with. */
export interface Refusal {
  readonly error: ErrorMessage;
  /** Transactions: which message, counted from 0; absent when the bundle itself was refused. */
  readonly index?: number;
  readonly message?: MessageBody;
}

interface Pending {
  readonly what: string;
  readonly parts: ReplyBody[];
  readonly resolve: (message: Message) => void;
  readonly reject: (error: Error) => void;
}

interface Batch {
  readonly first: number;
  readonly messages: readonly BundleMessage[];
  readonly refused: Refusal[];
}

/** Bytes per write of a batch: large enough to cost few system calls, small enough to keep memory flat. */
const BATCH_BYTES = 256 * 1024;
const DEFAULT_ECHO_MS = 5_000;
const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * Connects to `unix:/path` or `tcp:host:port` and agrees on a version.
 * Rejects with `WeftError`: `invalid` (address), `unreachable`, `protocol` (no common version), `timeout`, `aborted`.
 */
export async function connectOpenFlow(address: string, options: OpenFlowOptions = {}): Promise<OpenFlowConnection> {
  const unix = /^unix:(.+)$/.exec(address);
  const tcp = /^tcp:\[?([^\]]+?)\]?:(\d+)$/.exec(address);
  if (!unix && !tcp) throw new WeftError('invalid', `${address}: want unix:/path or tcp:host:port`);
  const { signal } = options;
  const aborted = (): WeftError => new WeftError('aborted', `${address}: aborted`, { cause: signal?.reason });
  if (signal?.aborted) throw aborted();
  const socket = unix
    ? connectSocket(unix[1]!)
    : connectSocket({ host: tcp![1]!, port: Number(tcp![2]), noDelay: true });
  await new Promise<void>((resolve, reject) => {
    const settle = (): void => {
      socket.off('error', onError).off('connect', onConnect);
      signal?.removeEventListener('abort', onAbort);
    };
    const fail = (error: WeftError): void => {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const onError = (cause: Error): void =>
      fail(new WeftError('unreachable', `${address}: ${cause.message}`, { cause }));
    const onAbort = (): void => fail(aborted());
    const onConnect = (): void => {
      settle();
      resolve();
    };
    socket.on('error', onError).on('connect', onConnect);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
  return OpenFlowConnection.open(socket, options);
}

export class OpenFlowConnection {
  /** The version agreed upon. */
  readonly version: OpenFlowVersion;
  readonly counters = { messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0, decodeErrors: 0 };
  readonly #stream: Duplex;
  readonly #log: Log;
  readonly #frames: FrameReader;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Map<keyof OpenFlowEvents, Set<(...args: never[]) => void>>();
  readonly #timeoutMs: number;
  /** Runs of xids whose errors somebody collects. */
  readonly #batches = new Set<Batch>();
  readonly #abort: () => void;
  readonly #signal: AbortSignal | undefined;
  #echoTimer: NodeJS.Timeout | undefined;
  #heardAtMs = performance.now();
  #nextXid = 1;
  #nextBundle = 1;
  #closed: WeftError | undefined;

  private constructor(stream: Duplex, version: OpenFlowVersion, frames: FrameReader, options: OpenFlowOptions) {
    this.#stream = stream;
    this.version = version;
    this.#frames = frames;
    frames.version = version;
    this.#log = options.log ?? silentLog;
    this.#timeoutMs = options.requestTimeoutMs ?? DEFAULT_TIMEOUT_MS;
    for (const [event, listener] of Object.entries(options.events ?? {}))
      if (listener) this.on(event as keyof OpenFlowEvents, listener);
    this.#startEcho(options.echoIntervalMs ?? DEFAULT_ECHO_MS);
    this.#abort = () => this.close(new WeftError('aborted', 'OpenFlow: aborted'));
    this.#signal = options.signal;
    this.#signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** Says hello on a stream that is open already. */
  static async open(stream: Duplex, options: OpenFlowOptions = {}): Promise<OpenFlowConnection> {
    const frames = new FrameReader();
    const { version, rest } = await shakeHands(stream, frames, {
      versions: options.versions ?? [OF15],
      timeoutMs: options.requestTimeoutMs ?? DEFAULT_TIMEOUT_MS,
      ...(options.signal ? { signal: options.signal } : {}),
    });
    const connection = new OpenFlowConnection(stream, version, frames, options);
    connection.#attach(rest);
    return connection;
  }

  /** Adds a listener; call the result to take it away. */
  on<E extends keyof OpenFlowEvents>(event: E, listener: OpenFlowEvents[E]): () => void {
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set);
    set.add(listener as (...args: never[]) => void);
    return () => void set.delete(listener as (...args: never[]) => void);
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Sends one message and returns its xid. `drained` tells when the stream can take more. */
  send(body: MessageBody): number {
    const xid = this.#xid();
    const writer = new ByteWriter();
    writeMessage(writer, this.version, xid, body);
    this.#write(writer.finish(), 1);
    return xid;
  }

  /** Resolves when what was sent has left our buffers, at once if there is nothing to wait for. */
  async drained(): Promise<void> {
    if (this.#closed) throw this.#closed;
    if (!this.#stream.writableNeedDrain) return;
    await new Promise<void>((resolve, reject) => {
      const off = this.on('disconnect', (reason) => {
        this.#stream.off('drain', done);
        reject(reason);
      });
      const done = (): void => {
        off();
        resolve();
      };
      this.#stream.once('drain', done);
    });
  }

  /**
   * Sends a request and resolves with the reply of the same xid; the parts of a multipart reply are put together.
   * Rejects with `WeftError`: `refused` (details: `Refusal`), `timeout`, `closed`, `aborted`.
   */
  request(body: MessageBody, signal?: AbortSignal): Promise<Message> {
    return this.#await(this.#xid(), body.kind, signal, (xid) => {
      const writer = new ByteWriter();
      writeMessage(writer, this.version, xid, body);
      this.#write(writer.finish(), 1);
    });
  }

  /** A multipart request; the body of the whole reply. */
  async multipart<K extends RequestBody['kind'] & ReplyBody['kind']>(
    body: BodyOf<K, RequestBody> & { readonly kind: K },
    signal?: AbortSignal,
  ): Promise<Extract<ReplyBody, { kind: K }>> {
    const reply = await this.request({ kind: 'multipartRequest', flags: 0, body: body as RequestBody }, signal);
    if (reply.kind !== 'multipartReply' || reply.body.kind !== body.kind)
      throw new WeftError('protocol', `OpenFlow: ${reply.kind} in answer to a request for ${body.kind}`);
    return reply.body as Extract<ReplyBody, { kind: K }>;
  }

  /** Resolves when the switch has done all that was sent before. */
  async barrier(signal?: AbortSignal): Promise<void> {
    await this.request({ kind: 'barrierRequest' }, signal);
  }

  /**
   * Applies all messages or none, in order: open, adds, close, and, once every add is known to be accepted, commit.
   * (Open vSwitch commits what is left of a bundle after a refused add, so the commit must not be sent ahead.)
   * Rejects with `WeftError('refused')` whose details (`Refusal`) name the failing message and the switch's error.
   * OpenFlow 1.0 has no bundles: there the messages are sent one by one with a barrier, which is not atomic.
   */
  async transaction(messages: readonly BundleMessage[], signal?: AbortSignal): Promise<void> {
    if (messages.length === 0) return;
    if (this.version === OF10) return this.#sequence(messages, signal);
    const bundle = this.#nextBundle++;
    const first = this.#reserveXids(messages.length);
    const refused: Refusal[] = [];
    const batch = { first, messages, refused };
    this.#batches.add(batch);
    try {
      const opened = this.#control(bundle, BUNDLE_CONTROL.openRequest, signal);
      opened.catch(() => {});
      await this.#addAll(bundle, first, messages);
      const closing = this.#control(bundle, BUNDLE_CONTROL.closeRequest, signal);
      closing.catch(() => {});
      await opened;
      await closing;
      if (refused.length > 0) {
        await this.#control(bundle, BUNDLE_CONTROL.discardRequest, signal).catch(() => {});
        throw refusalError(refused[0]!);
      }
      await this.#control(bundle, BUNDLE_CONTROL.commitRequest, signal);
    } catch (error) {
      // What cannot be encoded leaves a bundle half filled.
      if (error instanceof WeftError && error.code === 'invalid')
        await this.#control(bundle, BUNDLE_CONTROL.discardRequest, signal).catch(() => {});
      throw refused[0] && error instanceof WeftError && error.code === 'refused' ? refusalError(refused[0]) : error;
    } finally {
      this.#batches.delete(batch);
    }
  }

  /**
   * Like `transaction`, but in one round trip: the commit goes along with the adds. The price: if the switch refuses a
   * message, all others are applied (still at one moment). Rejects then as `transaction` does, naming the first refused.
   * `after`: the commit waits for it; where it rejects nothing is applied, and this rejects as it does. (Open vSwitch keeps a bundle of which it hears nothing for
   * 10 s.)
   */
  async transactionOfAccepted(
    messages: readonly BundleMessage[],
    { signal, after }: { readonly signal?: AbortSignal; readonly after?: Promise<unknown> } = {},
  ): Promise<void> {
    if (messages.length === 0) return void (await after);
    if (this.version === OF10) {
      await after;
      return this.#sequence(messages, signal);
    }
    const bundle = this.#nextBundle++;
    const first = this.#reserveXids(messages.length);
    const refused: Refusal[] = [];
    const batch = { first, messages, refused };
    this.#batches.add(batch);
    let isHeld = after !== undefined;
    try {
      const steps: Promise<void>[] = [];
      const control = (type: number): void => void steps.push(this.#control(bundle, type, signal));
      const end = (): void => {
        control(BUNDLE_CONTROL.closeRequest);
        control(BUNDLE_CONTROL.commitRequest);
      };
      const remaining = this.#together(() => {
        control(BUNDLE_CONTROL.openRequest);
        steps[0]!.catch(() => {}); // it is waited for below
        const left = this.#addAll(bundle, first, messages);
        if (!left && !isHeld) end();
        return left;
      });
      if (remaining || isHeld) {
        await Promise.all([remaining, after]);
        isHeld = false;
        end();
      }
      await Promise.all(steps);
    } catch (error) {
      // What cannot be encoded leaves a bundle half filled, and so does what it was to wait for.
      if (isHeld || (error instanceof WeftError && error.code === 'invalid'))
        await this.#control(bundle, BUNDLE_CONTROL.discardRequest, signal).catch(() => {});
      throw error;
    } finally {
      this.#batches.delete(batch);
    }
    if (refused[0]) throw refusalError(refused[0]);
  }

  async #sequence(messages: readonly BundleMessage[], signal?: AbortSignal): Promise<void> {
    const first = this.#reserveXids(messages.length);
    const refused: Refusal[] = [];
    const batch = { first, messages, refused };
    this.#batches.add(batch);
    try {
      await this.#batch(messages, (writer, message, i) => writeMessage(writer, this.version, first + i, message));
      await this.barrier(signal);
    } finally {
      this.#batches.delete(batch);
    }
    if (refused[0]) throw refusalError(refused[0]);
  }

  #addAll(bundle: number, first: number, messages: readonly BundleMessage[]): Promise<void> | undefined {
    return this.#batch(messages, (writer, message, i) => {
      const xid = first + i;
      writeBundleAdd(writer, this.version, xid, bundle, BUNDLE_FLAGS, (inner) => {
        if (message.kind === 'flowMod') encodeFlowMod(inner, this.version, message, xid);
        else writeMessage(inner, this.version, xid, message);
      });
    });
  }

  /** Few, large writes. Returns what is to be waited for before more is written: where the stream asks to wait in between. */
  #batch<M>(
    messages: readonly M[],
    write: (writer: ByteWriter, message: M, index: number) => void,
    from = 0,
  ): Promise<void> | undefined {
    const writer = new ByteWriter();
    let written = from;
    for (let i = from; i < messages.length; i++) {
      write(writer, messages[i]!, i);
      if (writer.length < BATCH_BYTES && i + 1 < messages.length) continue;
      this.#write(writer.finish(), i + 1 - written);
      writer.reset();
      written = i + 1;
      if (written < messages.length && this.#stream.writableNeedDrain)
        return this.drained().then(() => this.#batch(messages, write, written));
    }
    return undefined;
  }

  /** What is written in here leaves in one piece: Open vSwitch wakes for it once, and takes it in one turn of its loop. */
  #together<T>(write: () => T): T {
    this.#stream.cork();
    try {
      return write();
    } finally {
      this.#stream.uncork();
    }
  }

  async #control(bundle: number, type: number, signal?: AbortSignal): Promise<void> {
    const body: BundleControl = { kind: 'bundleControl', bundle, type, flags: BUNDLE_FLAGS };
    const reply = await this.request(body, signal);
    if (reply.kind !== 'bundleControl' || reply.type !== type + 1)
      throw new WeftError('protocol', `OpenFlow: bundle control ${type} was answered by ${reply.kind}`);
  }

  /** Ends the connection; whoever waits is rejected with `reason`. Repeated calls do nothing. */
  close(reason: WeftError = new WeftError('closed', 'OpenFlow: closed by us')): void {
    if (this.#closed) return;
    this.#closed = reason;
    clearInterval(this.#echoTimer);
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#stream.destroy();
    for (const pending of this.#pending.values()) pending.reject(reason);
    this.#pending.clear();
    this.#emit('disconnect', reason);
  }

  #attach(early: readonly Uint8Array[]): void {
    const stream = this.#stream;
    stream.on('error', (cause: Error) =>
      this.close(new WeftError('closed', `OpenFlow: connection lost: ${cause.message}`, { cause })),
    );
    stream.on('close', () => this.close(new WeftError('closed', 'OpenFlow: the peer closed the connection')));
    stream.on('end', () => this.close(new WeftError('closed', 'OpenFlow: the peer closed the connection')));
    this.#guard(() => {
      for (const frame of early) this.#receive(frame);
    });
    stream.on('data', (chunk: Uint8Array) => {
      this.counters.bytesIn += chunk.length;
      this.#heardAtMs = performance.now();
      this.#guard(() => this.#frames.push(chunk, (frame) => this.#receive(frame)));
    });
    stream.resume();
  }

  /** Bad bytes end this connection, and nothing else. */
  #guard(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.counters.decodeErrors++;
      this.#log.warn('OpenFlow: bad bytes from the peer', { error });
      this.close(new WeftError('protocol', `OpenFlow: ${error.message}`, { cause: error }));
    }
  }

  #receive(frame: Uint8Array): void {
    if (this.#closed) return;
    const message = decodeMessage(frame);
    this.counters.messagesIn++;
    if (message.version !== this.version && message.kind !== 'hello' && message.kind !== 'error')
      throw new DecodeError('bad-version', 0, 'version', `${message.version}, agreed on ${this.version}`);
    switch (message.kind) {
      case 'echoRequest':
        this.#write(encodeMessage({ ...message, kind: 'echoReply' }), 1);
        return;
      case 'packetIn':
        return this.#emit('packetIn', { ...message, match: canonicalMatch(message.match) });
      case 'flowRemoved':
        return this.#emit('flowRemoved', message);
      case 'portStatus':
        return this.#emit('portStatus', message);
      default:
        this.#answer(message);
    }
  }

  #answer(message: Message): void {
    const pending = this.#pending.get(message.xid);
    if (message.kind === 'error') {
      if (pending) {
        this.#pending.delete(message.xid);
        pending.reject(refusalError({ error: message }, pending.what));
      } else this.#batchError(message);
      return;
    }
    if (!pending) {
      if (message.kind !== 'echoReply') this.#emit('message', message);
      return;
    }
    if (message.kind === 'multipartReply') {
      pending.parts.push(message.body);
      if (message.more) return;
    }
    this.#pending.delete(message.xid);
    pending.resolve(
      message.kind === 'multipartReply' && pending.parts.length > 1
        ? { ...message, body: joinReplies(pending.parts) }
        : message,
    );
  }

  #batchError(message: ErrorMessage & { readonly xid: number }): void {
    for (const { first, messages, refused } of this.#batches) {
      const index = message.xid - first;
      if (index < 0 || index >= messages.length) continue;
      refused.push({ error: message, index, message: messages[index]! });
      return;
    }
    this.#emit('error', message);
  }

  #await(xid: number, what: string, signal: AbortSignal | undefined, send: (xid: number) => void): Promise<Message> {
    if (this.#closed) return Promise.reject(this.#closed);
    return new Promise<Message>((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#pending.delete(xid);
      };
      const fail = (error: Error): void => {
        settle();
        reject(error);
      };
      const onAbort = (): void =>
        fail(new WeftError('aborted', `OpenFlow: ${what} given up`, { cause: signal?.reason }));
      const timer = setTimeout(
        () => fail(new WeftError('timeout', `OpenFlow: no answer to ${what} in ${this.#timeoutMs} ms`)),
        this.#timeoutMs,
      );
      this.#pending.set(xid, {
        what,
        parts: [],
        resolve: (message) => {
          settle();
          resolve(message);
        },
        reject: fail,
      });
      if (signal?.aborted) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      send(xid);
    });
  }

  #write(bytes: Uint8Array, messages: number): void {
    if (this.#closed) throw this.#closed;
    this.counters.messagesOut += messages;
    this.counters.bytesOut += bytes.length;
    this.#stream.write(bytes);
  }

  #xid(): number {
    return this.#reserveXids(1);
  }

  /** A run of xids that does not wrap; 0 is left to hellos. */
  #reserveXids(count: number): number {
    if (this.#nextXid + count > 0xffff_ffff) this.#nextXid = 1;
    const first = this.#nextXid;
    this.#nextXid += count;
    return first;
  }

  #startEcho(intervalMs: number): void {
    if (intervalMs <= 0) return;
    this.#echoTimer = setInterval(() => {
      const silentMs = performance.now() - this.#heardAtMs;
      if (silentMs >= 2 * intervalMs)
        this.close(new WeftError('timeout', `OpenFlow: the peer was silent for ${Math.round(silentMs)} ms`));
      else if (silentMs >= intervalMs / 2) this.send({ kind: 'echoRequest', data: new Uint8Array(0) });
    }, intervalMs);
    this.#echoTimer.unref();
  }

  #emit<E extends keyof OpenFlowEvents>(event: E, ...args: Parameters<OpenFlowEvents[E]>): void {
    const listeners = this.#listeners.get(event) as Set<(...args: unknown[]) => void> | undefined;
    for (const listener of listeners ?? []) listener(...args);
  }
}

const BUNDLE_FLAGS = BUNDLE_FLAG.atomic | BUNDLE_FLAG.ordered;

function refusalError(refusal: Refusal, what?: string): WeftError {
  const { error, index, message } = refusal;
  const subject = message ? `${describe(message)} (message ${index})` : (what ?? 'request');
  return new WeftError('refused', `OpenFlow: the switch refused ${subject}: ${error.name}`, { details: refusal });
}

function describe(message: MessageBody): string {
  if (message.kind === 'flowMod') return `flow mod table=${message.table},priority=${message.priority}`;
  if (message.kind === 'groupMod') return `group mod group=${message.group}`;
  return message.kind;
}
