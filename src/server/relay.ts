import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { WeftError } from '../base/errors.ts';
import type { RelayedRequest } from './protocol.ts';

/**
 * Requests from people to agents, carried over the agents' own connections: an agent listens nowhere but on its host.
 *
 *     weft ──GET /v1/hosts/H/agent/capture──▶ server ──watch stream: request 7──▶ agent of H
 *     weft ◀───────────── bytes ───────────── server ◀──POST /v1/hosts/H/answers/7── agent of H
 *
 * Knows nothing of HTTP frameworks: the routes hand it streams.
 */
export class Relay {
  readonly #agents = new Map<string, Set<(request: RelayedRequest) => void>>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #timeoutMs: number;

  constructor(options: { readonly timeoutMs?: number } = {}) {
    this.#timeoutMs = options.timeoutMs ?? 20_000;
  }

  /** A host's watch stream is there; `send` writes one message into it. Returns what ends that. */
  attach(host: string, send: (request: RelayedRequest) => void): () => void {
    const streams = this.#agents.get(host) ?? new Set();
    this.#agents.set(host, streams.add(send));
    return () => {
      streams.delete(send);
      if (streams.size === 0 && this.#agents.get(host) === streams) this.#agents.delete(host);
    };
  }

  /** Asks the agent of a host (its id). Errors: `unreachable` when it is not connected, `timeout` when it does not begin to answer. */
  ask(
    host: string,
    request: Pick<RelayedRequest, 'method' | 'path' | 'body'>,
    signal?: AbortSignal,
  ): Promise<RelayedAnswer> {
    // The newest stream: an older one may be the rest of a connection that broke.
    const send = [...(this.#agents.get(host) ?? [])].at(-1);
    if (!send) return Promise.reject(new WeftError('unreachable', `the agent of host ${host} is not connected`));
    const id = randomUUID();
    return new Promise((resolve, reject) => {
      const giveUp = (error: WeftError): void => {
        if (this.#waiting.delete(id)) reject(error);
      };
      const timer = setTimeout(
        () => giveUp(new WeftError('timeout', `the agent of host ${host} did not answer within ${this.#timeoutMs} ms`)),
        this.#timeoutMs,
      );
      signal?.addEventListener('abort', () => giveUp(new WeftError('aborted', 'the caller gave up')), { once: true });
      this.#waiting.set(id, {
        host,
        take: (answer) => {
          clearTimeout(timer);
          resolve(answer);
        },
      });
      send({ type: 'request', id, ...request });
    });
  }

  /** The agent's answer arrives. False when nobody waits for it (any more), or another host was asked. */
  answer(host: string, id: string, answer: RelayedAnswer): boolean {
    const waiting = this.#waiting.get(id);
    if (waiting?.host !== host) return false;
    this.#waiting.delete(id);
    waiting.take(answer);
    return true;
  }
}

interface Waiting {
  readonly host: string;
  readonly take: (answer: RelayedAnswer) => void;
}

export interface RelayedAnswer {
  readonly status: number;
  readonly type: string;
  /** Destroyed when the one who asked goes away, which ends the agent's request. */
  readonly body: Readable;
}
