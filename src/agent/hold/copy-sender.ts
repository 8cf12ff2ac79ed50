import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { DecodeError, WeftError } from '../../base/errors.ts';
import { type CopyChange, decodeCopyMessage, encodeCopyMessage, MOST_CHANGES, NONCE_BYTES } from './message.ts';
import { keyOf, Opener, Sealer } from './sealed.ts';

/** Between two attempts, and as long as one may take. */
const AGAIN_MS = 1_000;
/** A sign of life so often; without an answer for so long the other end is gone. */
const LIFE_MS = 1_000;
const SILENT_MS = 3_000;
/** Said and not taken by the other end: more than this is told anew on a new connection. */
const MOST_QUEUED_BYTES = 8 * 1024 * 1024;

export interface CopySenderOptions {
  /** The port of the L2 gateway, and the gateway's secret. */
  readonly port: string;
  readonly secret: string;
  readonly own: string;
  readonly to: { readonly address: string; readonly tcpPort: number };
  /** All that there is to tell, on a new connection. `isWhole`: what is not among it is over. */
  readonly all: () => { readonly changes: readonly CopyChange[]; readonly isWhole: boolean };
  /** It stands, or (with why) not any more. */
  readonly changed: (problem: string | undefined) => void;
  /** Between two attempts: `AGAIN_MS` when not given. */
  readonly againMs?: number | undefined;
}

/** From the host where an L2 gateway is active to one other place of it: tells connections, and hears that they are held. Ends with `close`. */
export class CopySender {
  readonly #options: CopySenderOptions;
  #socket: Socket | undefined;
  #sealer: Sealer | undefined;
  #timer: NodeJS.Timeout | undefined;
  #life: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** Of this connection; on the wire their lowest 32 bits. */
  #sequence = 0;
  #acked = 0;
  #heardMs = 0;
  /** In the order of their sequences. */
  #waiting: { readonly sequence: number; readonly done: () => void }[] = [];
  isUp = false;

  constructor(options: CopySenderOptions) {
    this.#options = options;
    this.#dial();
  }

  get #againMs(): number {
    return this.#options.againMs ?? AGAIN_MS;
  }

  /** Everything that was told is held. */
  get isIdle(): boolean {
    return this.#acked >= this.#sequence;
  }

  /** `done`: the other end holds it, or the connection is gone. Nothing while it does not stand: all is told when it does. */
  send(changes: readonly CopyChange[], done?: () => void, isWhole = false): void {
    const socket = this.#socket;
    if (!this.isUp || !socket || !this.#sealer) return done?.();
    // Of what was told before: however much is told at once, it may take its time.
    if (socket.writableLength > MOST_QUEUED_BYTES) {
      this.#lost('it does not take what it is told');
      return done?.();
    }
    let at = 0;
    do {
      const some = changes.slice(at, at + MOST_CHANGES);
      const sequence = ++this.#sequence;
      const message = { kind: 'copies', sequence, isWhole: isWhole && at === 0, changes: some } as const;
      socket.write(this.#sealer.seal(encodeCopyMessage(message)));
      at += some.length;
    } while (at < changes.length);
    if (done) this.#waiting.push({ sequence: this.#sequence, done });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#hangUp();
  }

  #dial(): void {
    const { port, secret, own, to } = this.#options;
    this.#sequence = 0;
    this.#acked = 0;
    const socket = connect({ host: to.address, port: to.tcpPort, localAddress: own, noDelay: true });
    this.#socket = socket;
    const nonce = new Uint8Array(randomBytes(NONCE_BYTES));
    const sealer = new Sealer(keyOf(secret), true);
    const opener = new Opener(keyOf(secret, nonce), false);
    this.#timer = setTimeout(() => this.#lost('it does not answer'), this.#againMs).unref();
    socket.on('connect', () => socket.write(sealer.seal(encodeCopyMessage({ kind: 'hello', port, nonce }))));
    socket.on('error', (error) => {
      if (this.#socket === socket) this.#lost(error.message);
    });
    socket.on('close', () => {
      if (this.#socket === socket) this.#lost('it closed the connection');
    });
    socket.on('data', (bytes: Uint8Array) => {
      if (this.#socket !== socket) return;
      try {
        opener.take(bytes);
        for (let body = opener.next(); body; body = opener.next()) {
          const message = decodeCopyMessage(body);
          if (message.kind === 'welcome' && !this.isUp) {
            const key = keyOf(secret, nonce, message.nonce);
            sealer.setKey(key);
            opener.setKey(key);
            opener.trust();
            this.#sealer = sealer;
            this.#stands();
          } else if (message.kind === 'ack' && this.isUp) this.#heard(message.sequence);
          else throw new WeftError('denied', `no place for ${message.kind}`);
        }
      } catch (error) {
        if (!(error instanceof WeftError || error instanceof DecodeError)) throw error;
        this.#lost(error.message);
      }
    });
    socket.unref();
  }

  #stands(): void {
    clearTimeout(this.#timer);
    this.isUp = true;
    this.#heardMs = performance.now();
    this.#life = setInterval(() => {
      if (performance.now() - this.#heardMs > SILENT_MS) this.#lost('it is silent');
      else this.send([]);
    }, LIFE_MS).unref();
    // Short, so that the other end knows us before it gets long ones.
    this.send([]);
    const { changes, isWhole } = this.#options.all();
    this.send(changes, undefined, isWhole);
    if (this.isUp) this.#options.changed(undefined);
  }

  #heard(sequence: number): void {
    this.#heardMs = performance.now();
    this.#acked = ackedBy(sequence, this.#acked, this.#sequence);
    while (this.#waiting.length > 0 && this.#waiting[0]!.sequence <= this.#acked) this.#waiting.shift()!.done();
  }

  #lost(why: string): void {
    this.#hangUp();
    if (this.#isClosed) return;
    this.#options.changed(why);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#dial(), this.#againMs).unref();
  }

  #hangUp(): void {
    clearInterval(this.#life);
    this.isUp = false;
    this.#sealer = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
    this.#acked = this.#sequence;
    for (const { done } of this.#waiting.splice(0)) done();
  }
}

/** What is held by this word of it, of all that was said; as much as before where that makes no sense. */
export function ackedBy(word: number, acked: number, said: number): number {
  const held = acked + ((word - acked) >>> 0);
  return held <= said ? held : acked;
}
