import type { Duplex } from 'node:stream';
import { DecodeError, WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { JsonSplitter, type JsonSplitterLimits } from './json-splitter.ts';
import { isRecord } from './schema.ts';

/**
 * JSON-RPC 1.0 between peers on a byte stream, as RFC 7047 §4 uses it. Both sides send requests: the server's `echo` is
 * answered here, and ours notices a peer that is gone without a word.
 *
 * Nothing that the peer sends makes this throw: bytes or messages that cannot be understood close the connection with
 * the `DecodeError` as cause, and every request that has no answer yet fails with `WeftError('closed')`.
 */

/** What the peer said: `error` is null (or absent) when `result` counts. */
export interface JsonRpcReply {
  readonly result: unknown;
  readonly error: unknown;
}

/** Called once: with the reply, or with the `WeftError('closed')` of a connection that ended before. */
export type OnReply = (reply: JsonRpcReply | WeftError) => void;

export interface JsonRpcOptions {
  readonly log: Log;
  readonly limits?: JsonSplitterLimits;
  /** An echo is sent after this long without a byte from the peer, and the connection closed after as long again; 0 never. */
  readonly probeMs: number;
  /** May throw `DecodeError`: the connection is closed. */
  readonly onNotification: (method: string, params: readonly unknown[]) => void;
  readonly onClose: (error: WeftError) => void;
}

/** Bytes that may wait for a peer that does not read, before requests are refused with `busy`. */
const MAX_UNSENT_BYTES = 64 * 1024 * 1024;

export class JsonRpcConnection {
  readonly #stream: Duplex;
  readonly #options: JsonRpcOptions;
  readonly #splitter: JsonSplitter;
  readonly #waiting = new Map<number, OnReply>();
  #nextId = 1;
  #closed: WeftError | undefined;
  #probeTimer: NodeJS.Timeout | undefined;
  #heard = true;

  /** `stream` is connected; it is closed with the connection. */
  constructor(stream: Duplex, options: JsonRpcOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#splitter = new JsonSplitter(options.limits);
    stream.on('data', (chunk: Uint8Array) => this.#onData(chunk));
    stream.on('error', (error) =>
      this.close(new WeftError('closed', `connection lost: ${error.message}`, { cause: error })),
    );
    stream.on('close', () => this.close(new WeftError('closed', 'the peer closed the connection')));
    stream.on('end', () => this.close(new WeftError('closed', 'the peer closed the connection')));
    if (options.probeMs > 0) {
      this.#probeTimer = setInterval(() => this.#probe(), options.probeMs);
      this.#probeTimer.unref();
    }
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * Sends a request and returns its id. `onReply` is called in the order of the stream: notifications that the peer sent
   * before its reply have been handled by then, later ones have not. Like `onNotification` it may throw `DecodeError`.
   * Throws `WeftError('closed')`, or `busy` when the peer has not read for long.
   */
  request(method: string, params: readonly unknown[], onReply: OnReply): number {
    const id = this.#nextId++;
    this.#send({ method, params, id });
    this.#waiting.set(id, onReply);
    return id;
  }

  notify(method: string, params: readonly unknown[]): void {
    this.#send({ method, params, id: null });
  }

  /** Nobody waits for this reply any more; when it comes it is passed over. */
  forget(id: number): void {
    this.#waiting.delete(id);
  }

  /** `why` becomes the `WeftError('closed')` that requests without an answer get. */
  close(why: WeftError = new WeftError('closed', 'the connection was closed')): void {
    if (this.#closed) return;
    const error = why.code === 'closed' ? why : new WeftError('closed', why.message, { cause: why });
    this.#closed = error;
    clearInterval(this.#probeTimer);
    this.#stream.destroy();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const onReply of waiting) onReply(error);
    this.#options.onClose(error);
  }

  #send(
    message: { method: string; params: unknown; id: unknown } | { result: unknown; error: unknown; id: unknown },
  ): void {
    if (this.#closed) throw new WeftError('closed', this.#closed.message, { cause: this.#closed });
    if (this.#stream.writableLength > MAX_UNSENT_BYTES)
      throw new WeftError('busy', `the peer has left ${this.#stream.writableLength} bytes unread`);
    this.#stream.write(JSON.stringify(message));
  }

  #onData(chunk: Uint8Array): void {
    this.#heard = true;
    try {
      this.#splitter.push(chunk, (message) => {
        if (!this.#closed) this.#onMessage(message);
      });
    } catch (error) {
      if (error instanceof DecodeError)
        this.close(new WeftError('closed', `closed, as the peer sent nonsense: ${error.message}`, { cause: error }));
      else if (error instanceof WeftError) this.close(error);
      else throw error;
    }
  }

  #onMessage(message: Record<string, unknown>): void {
    const { method, params, id } = message;
    if (typeof method === 'string') {
      if (!Array.isArray(params) && params !== undefined && params !== null)
        throw new DecodeError('bad-value', 0, 'json-rpc.params', 'an array wanted');
      if (id === null || id === undefined) this.#options.onNotification(method, params ?? []);
      else if (method === 'echo') this.#send({ result: params ?? [], error: null, id });
      else this.#send({ result: null, error: 'unknown method', id });
      return;
    }
    if (method !== undefined || id === null || id === undefined || !('result' in message || 'error' in message))
      throw new DecodeError('bad-value', 0, 'json-rpc', 'neither a request nor a notification nor a reply');
    const onReply = this.#waiting.get(id as number);
    // A reply to a request that was given up, or to none.
    if (!onReply) return this.#options.log.debug('a reply that nobody waits for', { id: String(id) });
    this.#waiting.delete(id as number);
    onReply({ result: message.result ?? null, error: message.error ?? null });
  }

  #probe(): void {
    if (!this.#heard) {
      this.close(new WeftError('closed', `nothing heard from the peer for ${2 * this.#options.probeMs} ms`));
      return;
    }
    this.#heard = false;
    try {
      this.request('echo', [], () => {});
    } catch {
      // Busy: it does not read, and the next probe closes.
    }
  }
}

/** The result of a reply. Throws the error of a connection that closed, or `WeftError('refused')` with the peer's own. */
export function replyResult(reply: JsonRpcReply | WeftError, what: string): unknown {
  if (reply instanceof WeftError) throw reply;
  if (reply.error === null) return reply.result;
  const { error } = reply;
  const text =
    typeof error === 'string' ? error : isRecord(error) ? Object.values(error).map(String).join(': ') : 'error';
  throw new WeftError('refused', `${what}: ${text}`, { details: error });
}
