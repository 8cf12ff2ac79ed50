import { connect, type Socket } from 'node:net';
import { WeftError } from '../base/errors.ts';

/** What a daemon answered. `ok` is false where it understood the line but refused it, or did not understand it. */
export type VtyAnswer = { readonly ok: boolean; readonly output: string };

/** Ends an answer; the byte behind it is the result (lib/command.h: CMD_SUCCESS 0, CMD_WARNING 1, errors above). */
const END = Buffer.from([0, 0, 0]);
const SUCCESS = 0;
/** Also said by `show` commands that have nothing to show. */
const WARNING = 1;
const TIMEOUT_MS = 10_000;
/** A full table as JSON is some hundred megabytes: nobody should ask for that here. */
const MOST_BYTES = 32 << 20;

/**
 * A session on a daemon's vty socket (`bgpd.vty` and the like), which is what the program vtysh speaks: a line ended by
 * NUL, answered by text, three NULs and a result. A unix socket is no part of a network namespace, so none is entered.
 */
export class Vty {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #waiting: { resolve: (answer: VtyAnswer) => void; reject: (error: WeftError) => void } | undefined;
  #closed: WeftError | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (cause) => this.#end(new WeftError('closed', `vty: ${cause.message}`, { cause })));
    socket.on('close', () => this.#end(new WeftError('closed', 'vty: the daemon closed the session')));
  }

  /** Errors: `unreachable` where no daemon listens. */
  static async open(path: string): Promise<Vty> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (cause) => reject(new WeftError('unreachable', `vty ${path}: ${cause.message}`, { cause })));
    });
    const vty = new Vty(socket);
    await vty.send('enable');
    return vty;
  }

  /** One line at a time. Errors: `closed`, `timeout`, `full` (an answer beyond all measure). */
  send(line: string): Promise<VtyAnswer> {
    if (this.#closed) return Promise.reject(this.#closed);
    if (this.#waiting) return Promise.reject(new WeftError('busy', 'vty: the line before is not answered yet'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#end(new WeftError('timeout', 'vty: no answer')), TIMEOUT_MS);
      const settled = (): void => {
        clearTimeout(timer);
        this.#waiting = undefined;
      };
      this.#waiting = {
        resolve: (answer) => {
          settled();
          resolve(answer);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
      this.#socket.write(`${line}\0`);
    });
  }

  close(): void {
    this.#end(new WeftError('closed', 'vty: closed'));
  }

  #onData(chunk: Buffer): void {
    this.#chunks.push(chunk);
    let size = 0;
    for (const part of this.#chunks) size += part.length;
    if (size > MOST_BYTES) return this.#end(new WeftError('full', 'vty: the answer is too long'));
    // Long answers come in many chunks: the end is looked for only where it can be.
    const tail = chunk.length >= 4 || this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    if (tail.length < 4 || !tail.subarray(-4, -1).equals(END)) return;
    const bytes = Buffer.concat(this.#chunks);
    this.#chunks = [];
    const code = bytes[bytes.length - 1]!;
    const output = bytes.toString('utf8', 0, bytes.length - 4);
    this.#waiting?.resolve({ ok: code === SUCCESS || code === WARNING, output });
  }

  #end(error: WeftError): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#socket.destroy();
    this.#waiting?.reject(error);
  }
}
