import { WeftError } from '../base/errors.ts';
import { type JsonRpcConnection, replyResult } from './json-rpc.ts';
import { isRecord } from './schema.ts';

/** A lock at the server (RFC 7047 §4.1.8): at most one connection holds it; it goes with the connection. */
export interface Lock {
  readonly name: string;
  /** Held right now, as far as is known: a transaction that must not go wrong starts with `assertLock(name)`. */
  readonly held: boolean;
  release(): void;
}

/** Asks for the lock on every connection anew. */
export class LockSession {
  readonly name: string;
  readonly #steal: boolean;
  readonly #onChange: (held: boolean) => void;
  #connection: JsonRpcConnection | undefined;
  #held = false;

  constructor(name: string, steal: boolean, onChange: (held: boolean) => void) {
    this.name = name;
    this.#steal = steal;
    this.#onChange = onChange;
  }

  get held(): boolean {
    return this.#held;
  }

  start(connection: JsonRpcConnection): void {
    this.#connection = connection;
    connection.request(this.#steal ? 'steal' : 'lock', [this.name], (reply) => {
      if (reply instanceof WeftError || connection !== this.#connection) return;
      const result = replyResult(reply, `lock ${this.name}`);
      this.#set(isRecord(result) && result.locked === true);
    });
  }

  onNotification(method: 'locked' | 'stolen'): void {
    this.#set(method === 'locked');
  }

  onDisconnected(): void {
    this.#connection = undefined;
    this.#set(false);
  }

  release(): void {
    const connection = this.#connection;
    this.onDisconnected();
    if (connection && !connection.closed) connection.request('unlock', [this.name], () => {});
  }

  #set(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    this.#onChange(held);
  }
}
