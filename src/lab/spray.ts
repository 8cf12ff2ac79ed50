import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WeftError } from '../base/errors.ts';
import type { Lab } from './lab.ts';
import { encodePcap } from './pcap.ts';
import { WORKLOAD_INTERFACE } from './workload.ts';

export type SprayOptions = {
  /** Frames per second; 1,000 when not given, up to about 100,000. */
  readonly pps?: number;
  /** How often the whole list is sent: once when not given, `forever` until stopped. */
  readonly loop?: number | 'forever';
  /** The interface it leaves by; `eth0` when not given. */
  readonly device?: string;
};

export type SprayReport = { readonly sent: number; readonly failed: number; readonly pps: number };

let sprays = 0;

/** More than a workload's own kernel says in a moment. */
const BEGUN = 10;

/**
 * Sends Ethernet frames as they are (without checksum sequence) from a place, past its own network stack, at a given
 * rate. Returns when the first have left; `finished` gives the count. Uses tcpreplay with the frames in memory.
 */
export async function sendFrames(
  lab: Lab,
  place: string,
  frames: readonly Uint8Array[],
  options: SprayOptions = {},
): Promise<Spray> {
  const device = options.device ?? WORKLOAD_INTERFACE;
  const sent = async (): Promise<number> =>
    Number(await lab.execOk(place, ['cat', `/sys/class/net/${device}/statistics/tx_packets`]));
  const before = await sent();
  const spray = launchSpray(lab, place, frames, options);
  while (spray.isRunning && (await sent()) < before + BEGUN) await sleep(10);
  return spray;
}

/** Sends frames and waits until all have left. */
export async function sendFramesOnce(
  lab: Lab,
  place: string,
  frames: readonly Uint8Array[],
  options: SprayOptions = {},
): Promise<SprayReport> {
  return launchSpray(lab, place, frames, options).finished;
}

function launchSpray(lab: Lab, place: string, frames: readonly Uint8Array[], options: SprayOptions): Spray {
  if (frames.length === 0) throw new WeftError('invalid', 'no frames to send');
  const folder = join(lab.state.dir, 'captures');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${place}.spray.${process.pid}-${++sprays}.pcap`);
  writeFileSync(file, encodePcap(frames));
  const loop = options.loop ?? 1;
  const child = lab.spawn(place, [
    ...['tcpreplay', '--preload-pcap', '--timer=nano', `--pps=${options.pps ?? 1000}`],
    ...[`--loop=${loop === 'forever' ? 0 : loop}`, `--intf1=${options.device ?? WORKLOAD_INTERFACE}`, file],
  ]);
  return new Spray(child);
}

export class Spray {
  /** Error: `refused` when the frames could not be sent. */
  readonly finished: Promise<SprayReport>;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdin!.end();
    let said = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (said += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text));
    this.finished = new Promise((resolve, reject) => {
      child.on('close', (code) => {
        const report = readReport(said);
        if (report) resolve(report);
        else reject(new WeftError('refused', `tcpreplay: exit ${code}: ${said.trim()}`));
      });
    });
    this.finished.catch(() => {}); // whoever waits for it still sees the error
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  stop(): Promise<SprayReport> {
    this.#child.kill('SIGINT');
    return this.finished;
  }
}

function readReport(said: string): SprayReport | undefined {
  const number = (pattern: RegExp): number | undefined => {
    const match = pattern.exec(said);
    return match ? Number(match[1]) : undefined;
  };
  const sent = number(/Successful packets:\s+(\d+)/);
  if (sent === undefined) return undefined;
  return { sent, failed: number(/Failed packets:\s+(\d+)/) ?? 0, pps: number(/([\d.]+) pps/) ?? 0 };
}
