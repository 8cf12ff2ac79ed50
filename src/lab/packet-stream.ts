import { fileURLToPath } from 'node:url';
import { WeftError } from '../base/errors.ts';
import type { Lab } from './lab.ts';
import type { ReceiverReport, SenderReport } from './packet-stream-end.ts';
import { ScriptEnd } from './script-end.ts';

export type StreamOptions = {
  readonly from: string;
  readonly to: string;
  /** Where the receiver is reached; its first static address when not given. */
  readonly address?: string;
  /** 5,000 when not given. */
  readonly pps?: number;
  /** Bytes of UDP payload, at least 24; 64 when not given. */
  readonly payloadBytes?: number;
  /** UDP port; several streams to one workload need different ones. 7,000 when not given. */
  readonly port?: number;
  /** How long the way may take to work at all before the first packet that counts; 5,000 when not given, 0 to start blindly. */
  readonly warmUpMs?: number;
};

export type StreamReport = {
  readonly sent: number;
  readonly received: number;
  /** Sent and never received, whoever lost them. */
  readonly lost: number;
  /** Of `lost`: what reached the receiver's socket and found it full. The network is not to blame for these. */
  readonly lostAtReceiver: number;
  /** Of `lost`: what the sender's own network stack refused, for want of a route or a neighbour. */
  readonly refusedAtSender: number;
  readonly duplicates: number;
  /** Packets that came after one with a higher number. */
  readonly reordered: number;
  /** The longest time between two packets at the receiver. */
  readonly longestGapMs: number;
  /** The number of the packet that ended it. */
  readonly longestGapAt: number;
  /** First and last number of each run of lost packets, the first hundred of them. */
  readonly lostRanges: readonly (readonly [number, number])[];
  readonly latencyMs: { readonly median: number; readonly p99: number; readonly max: number };
  readonly pps: number;
};

const END = fileURLToPath(new URL('./packet-stream-end.ts', import.meta.url));
/** Late packets are waited for this long after the last was sent. */
const DRAIN_MS = 250;

/**
 * Starts a stream of numbered UDP packets between two workloads, once a first packet that does not count has arrived.
 * Errors: `unreachable` when none does, `refused` when an end cannot run.
 */
export async function startStream(lab: Lab, options: StreamOptions): Promise<PacketStream> {
  const address = options.address ?? lab.workload(options.to).addresses[0]?.split('/')[0];
  if (!address) throw new WeftError('invalid', `${options.to} has no static address: say which to send to`);
  const port = options.port ?? 7000;
  const settings = { address, port, pps: options.pps ?? 5000, payloadBytes: Math.max(24, options.payloadBytes ?? 64) };
  const start = (place: string, role: string) => {
    const argv = ['nice', '-n', '-10', process.execPath, END, role, JSON.stringify(settings)];
    return new ScriptEnd(lab.spawn(place, argv), `packet stream: ${place} (${role})`);
  };
  const receiver = start(options.to, 'receive');
  await receiver.answer();
  const sender = start(options.from, 'send');
  await sender.answer();
  const warmUpMs = options.warmUpMs ?? 5000;
  if (warmUpMs > 0 && !(await receiver.answerWithin(warmUpMs))) {
    sender.end();
    receiver.end();
    throw new WeftError(
      'unreachable',
      `packet stream: nothing from ${options.from} reaches ${options.to} (${address}) within ${warmUpMs} ms`,
    );
  }
  await sender.ask('go', 'going');
  return new PacketStream(sender, receiver);
}

/** Runs a stream for a time and reports. */
export async function streamFor(lab: Lab, durationMs: number, options: StreamOptions): Promise<StreamReport> {
  const stream = await startStream(lab, options);
  await new Promise((resolve) => setTimeout(resolve, durationMs));
  return stream.stop();
}

export class PacketStream {
  readonly #sender: ScriptEnd;
  readonly #receiver: ScriptEnd;

  constructor(sender: ScriptEnd, receiver: ScriptEnd) {
    this.#sender = sender;
    this.#receiver = receiver;
  }

  /** Ends the stream, waits for late packets, and reports. */
  async stop(): Promise<StreamReport> {
    const sent = (await this.#sender.ask('stop', 'sent')) as SenderReport;
    await new Promise((resolve) => setTimeout(resolve, DRAIN_MS));
    const got = (await this.#receiver.ask(String(sent.sent), 'received')) as ReceiverReport;
    this.#sender.end();
    this.#receiver.end();
    return {
      sent: sent.sent,
      received: got.received,
      lost: sent.sent - got.received,
      lostAtReceiver: got.socketDrops,
      refusedAtSender: sent.refused,
      duplicates: got.duplicates,
      reordered: got.reordered,
      longestGapMs: got.longestGapMs,
      longestGapAt: got.longestGapAt,
      lostRanges: got.lostRanges,
      latencyMs: got.latencyMs,
      pps: Math.round(sent.sent / (sent.elapsedMs / 1000)),
    };
  }
}
