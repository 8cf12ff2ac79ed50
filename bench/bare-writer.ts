import { connect, type Socket } from 'node:net';
import { ByteWriter } from '../src/base/bytes.ts';
import { WeftError } from '../src/base/errors.ts';
import type { Flow } from '../src/openflow/flow.ts';
import { FrameReader } from '../src/openflow/framing.ts';
import { decodeMessage, encodeFlowMod, encodeMessage, type Message } from '../src/openflow/message.ts';
import { FLOW_COMMAND } from '../src/openflow/messages/flow-mod.ts';
import { OF15 } from '../src/openflow/version.ts';

/**
 * The least that installs flows: bytes that were encoded beforehand, written as fast as the switch takes them, and one
 * barrier. No bundle, no bookkeeping: what is lost against this is the price of everything else.
 */
export class BareWriter {
  readonly #socket: Socket;
  readonly #frames = new FrameReader();
  #onMessage: (message: Message) => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Uint8Array) => this.#frames.push(chunk, (frame) => this.#receive(frame)));
  }

  /** Connects to a bridge's management socket and says hello. */
  static async connect(path: string): Promise<BareWriter> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const writer = new BareWriter(socket);
    const hello = writer.#message((message) => message.kind === 'hello');
    socket.write(encodeMessage({ kind: 'hello', version: OF15, xid: 0, versions: [OF15] }));
    await hello;
    return writer;
  }

  /** Writes what `encodeFlows` made and waits until the switch has done all of it; milliseconds from the first byte. */
  async write(chunks: readonly Uint8Array[]): Promise<number> {
    const from = performance.now();
    const done = this.#message((message) => message.kind === 'barrierReply');
    for (const chunk of chunks)
      if (!this.#socket.write(chunk)) await new Promise<void>((resolve) => this.#socket.once('drain', resolve));
    this.#socket.write(encodeMessage({ kind: 'barrierRequest', version: OF15, xid: 1 }));
    await done;
    return performance.now() - from;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** The first message that fits. Error: `refused` when the switch reports an error, `closed`. */
  #message(fits: (message: Message) => boolean): Promise<Message> {
    return new Promise((resolve, reject) => {
      const onClose = (): void => reject(new WeftError('closed', 'the switch closed the connection'));
      this.#socket.once('close', onClose);
      this.#onMessage = (message) => {
        if (message.kind !== 'error' && !fits(message)) return;
        this.#socket.off('close', onClose);
        if (message.kind === 'error') reject(new WeftError('refused', `the switch refused a flow: ${message.name}`));
        else resolve(message);
      };
    });
  }

  #receive(frame: Uint8Array): void {
    const message = decodeMessage(frame);
    if (message.kind === 'echoRequest') this.#socket.write(encodeMessage({ ...message, kind: 'echoReply' }));
    else this.#onMessage(message);
  }
}

const CHUNK_BYTES = 256 * 1024;

/** Flow-mods that add these flows, in chunks as large as the agent's own writes. */
export function encodeFlows(flows: readonly Flow[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  const writer = new ByteWriter(CHUNK_BYTES + 0x1_0000);
  for (const [i, flow] of flows.entries()) {
    encodeFlowMod(writer, OF15, { ...flow, command: FLOW_COMMAND.add }, i + 1);
    if (writer.length < CHUNK_BYTES && i + 1 < flows.length) continue;
    chunks.push(writer.finish());
    writer.reset();
  }
  return chunks;
}
