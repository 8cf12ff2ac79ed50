import { randomBytes } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { DecodeError, WeftError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import { entryKey } from '../connections/of-port.ts';
import { type CopyMessage, decodeCopyMessage, encodeCopyMessage, NONCE_BYTES } from './message.ts';
import { keyOf, Opener, Sealer } from './sealed.ts';

/** Connections that have not shown yet who they are, and how long they have. */
const MOST_STRANGERS = 64;
const STRANGER_MS = 2_000;
/** Of one gateway; where more are told the oldest are not held any more. */
const MOST_HELD = 100_000;
const LISTEN_AGAIN_MS = 1_000;
/** Who holds a connection gives a sign of life each second. */
const SILENT_MS = 5_000;

export interface CopyDeskOptions {
  /** The secret of the L2 gateway whose port this is, if this host is a place of it. */
  readonly secretOf: (port: string) => string | undefined;
  /** Does this host forward for it itself? */
  readonly isActive: (port: string) => boolean;
  readonly log: Log;
  /** How long a connection may take to show who it is: `STRANGER_MS` when not given. */
  readonly strangerMs?: number | undefined;
  /** `MOST_HELD` when not given. */
  readonly mostHeld?: number | undefined;
}

/** What was told of a port's connections, the oldest first. `isWhole`: those that go on are all among it. */
export interface Held {
  readonly entries: readonly ConnectionEntry[];
  readonly isWhole: boolean;
}

/** Takes copies of connections that other hosts keep for L2 gateways, and holds them. Ends with `close`. */
export class CopyDesk {
  readonly #options: CopyDeskOptions;
  #server: Server | undefined;
  readonly #held = new Map<string, Map<string, ConnectionEntry>>();
  /** Ports of which all was told. */
  readonly #whole = new Set<string>();
  /** Port → the one connection that it is told of by: the newest. */
  readonly #lines = new Map<string, Socket>();
  readonly #sockets = new Set<Socket>();
  #strangers = 0;
  #wasRefused = false;
  /** Connections that were ended because of what they said. */
  refused = 0;

  constructor(options: CopyDeskOptions) {
    this.#options = options;
  }

  /** From now on, at this address; undefined: nowhere. */
  listen(at: { readonly address: string; readonly tcpPort: number } | undefined): void {
    this.#server?.close();
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (!at) return;
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#server = server;
    server.on('error', (error) => {
      if (this.#server !== server) return;
      this.#options.log.debug('copies of connections are not taken yet', { ...at, error });
      setTimeout(() => {
        if (this.#server === server) this.listen(at);
      }, LISTEN_AGAIN_MS).unref();
    });
    server.listen({ host: at.address, port: at.tcpPort });
    server.unref();
  }

  close(): void {
    this.listen(undefined);
  }

  of(port: string): Held {
    return { entries: [...(this.#held.get(port)?.values() ?? [])], isWhole: this.#whole.has(port) };
  }

  forget(port: string): void {
    this.#drop(port);
    this.cut(port);
  }

  /** Whoever tells of the port has to show anew that he may; what he told stays held. */
  cut(port: string): void {
    this.#lines.get(port)?.destroy();
  }

  #drop(port: string): void {
    this.#held.delete(port);
    this.#whole.delete(port);
  }

  #accept(socket: Socket): void {
    if (this.#strangers >= MOST_STRANGERS) return void socket.destroy();
    this.#strangers++;
    this.#sockets.add(socket);
    let isStranger = true;
    const known = (): void => {
      if (isStranger) this.#strangers--;
      isStranger = false;
      clearTimeout(timer);
    };
    const timer = setTimeout(() => socket.destroy(), this.#options.strangerMs ?? STRANGER_MS).unref();
    let line: Line | undefined;
    const opener = new Opener(undefined, true);
    socket.unref();
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      known();
      this.#sockets.delete(socket);
      if (!line || this.#lines.get(line.port) !== socket) return;
      this.#lines.delete(line.port);
      // It took itself for the one that forwards, and is not: whoever is next has nothing of that.
      if (this.#options.isActive(line.port)) this.#drop(line.port);
    });
    socket.on('data', (bytes: Uint8Array) => {
      try {
        opener.take(bytes);
        line ??= this.#greet(socket, opener);
        if (!line) return;
        for (let body = opener.next(); body; body = opener.next()) {
          // Who has only repeated a hello has not heard our nonce: this message shows it.
          if (isStranger) {
            known();
            opener.trust();
            socket.setTimeout(SILENT_MS, () => socket.destroy());
          }
          this.#take(line, socket, decodeCopyMessage(body));
        }
      } catch (error) {
        if (!(error instanceof WeftError || error instanceof DecodeError)) throw error;
        this.refused++;
        if (!this.#wasRefused)
          this.#options.log.warn('copies of connections were refused', { from: socket.remoteAddress, error });
        this.#wasRefused = true;
        socket.destroy();
      }
    });
  }

  /** Undefined while the hello is not all there. Error: `denied`. */
  #greet(socket: Socket, opener: Opener): Line | undefined {
    const peeked = opener.peek();
    if (!peeked) return undefined;
    const hello = decodeCopyMessage(peeked);
    const secret = hello.kind === 'hello' ? this.#options.secretOf(hello.port) : undefined;
    if (hello.kind !== 'hello' || secret === undefined)
      throw new WeftError('denied', 'no L2 gateway that is known here');
    opener.setKey(keyOf(secret));
    opener.next();
    const nonce = new Uint8Array(randomBytes(NONCE_BYTES));
    const sealer = new Sealer(keyOf(secret, hello.nonce), false);
    socket.write(sealer.seal(encodeCopyMessage({ kind: 'welcome', nonce })));
    const key = keyOf(secret, hello.nonce, nonce);
    sealer.setKey(key);
    opener.setKey(key);
    return { port: hello.port, secret, sealer };
  }

  #take({ port, secret, sealer }: Line, socket: Socket, message: CopyMessage): void {
    if (message.kind !== 'copies') throw new WeftError('denied', `no place for ${message.kind}`);
    if (this.#options.secretOf(port) !== secret)
      throw new WeftError('denied', 'an L2 gateway that has another secret now');
    const former = this.#lines.get(port);
    if (former !== socket) {
      this.#lines.set(port, socket);
      former?.destroy();
    }
    const held = this.#held.get(port) ?? new Map<string, ConnectionEntry>();
    this.#held.set(port, held);
    if (message.isWhole) {
      held.clear();
      this.#whole.add(port);
    }
    for (const { op, entry } of message.changes) {
      const key = entryKey(entry);
      // What is told again is as new as what is told for the first time.
      held.delete(key);
      if (op === 'put') held.set(key, entry);
      if (held.size > (this.#options.mostHeld ?? MOST_HELD)) held.delete(held.keys().next().value!);
    }
    socket.write(sealer.seal(encodeCopyMessage({ kind: 'ack', sequence: message.sequence })));
  }
}

interface Line {
  readonly port: string;
  /** By which it was begun. */
  readonly secret: string;
  readonly sealer: Sealer;
}
