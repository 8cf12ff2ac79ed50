import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '../base/errors.ts';
import { run, runOk } from './command.ts';
import type { Lab } from './lab.ts';
import { type CapturedFrame, decodePcap } from './pcap.ts';

export type CaptureOptions = {
  /** What is captured at all, in tcpdump's language. */
  readonly filter?: string;
  /** Bytes kept of each frame; 2,048 when not given. */
  readonly snapLength?: number;
  /** Where the frames go (must end in .pcap: AppArmor's profile of tcpdump allows no other); in the lab's folder when not given. */
  readonly file?: string;
};

/** tcpdump's own count, as it prints on SIGUSR1 and at its end. */
type Counts = { readonly captured: number; readonly received: number; readonly dropped: number };

let captures = 0;

/** Starts to capture on an interface of any place: a workload's `eth0`, a host's `eth0` or `v-…`, the underlay's `br0`. Returns when it listens. */
export async function startCapture(
  lab: Lab,
  place: string,
  device: string,
  options: CaptureOptions = {},
): Promise<Capture> {
  const folder = join(lab.state.dir, 'captures');
  mkdirSync(folder, { recursive: true });
  const file = options.file ?? join(folder, `${place}.${device}.${process.pid}-${++captures}.pcap`);
  const child = lab.spawn(place, [
    ...['tcpdump', '-i', device, '-w', file, '-U', '-n', '-Z', 'root'],
    // Without immediate mode frames wait up to a second in the kernel's block, and those of the last are lost at the end.
    ...['--immediate-mode', '-B', '32768', '-s', String(options.snapLength ?? 2048)],
    ...(options.filter ? [options.filter] : []),
  ]);
  const capture = new Capture(child, file, `${place} ${device}`);
  await capture.listening();
  return capture;
}

/** A capture that runs until it is stopped. */
export class Capture {
  readonly file: string;
  readonly #child: ChildProcess;
  readonly #what: string;
  readonly #ended: Promise<void>;
  #said = '';
  #onSaid: (() => void)[] = [];

  constructor(child: ChildProcess, file: string, what: string) {
    this.#child = child;
    this.file = file;
    this.#what = what;
    child.stdin!.end();
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
      this.#wake();
    });
    this.#ended = new Promise((resolve) => {
      child.on('close', () => {
        resolve();
        this.#wake();
      });
    });
  }

  async listening(): Promise<void> {
    await this.#until(() => /listening on/.test(this.#said), 10_000);
    if (this.#child.exitCode !== null) throw new WeftError('refused', `capture on ${this.#what}: ${this.#said.trim()}`);
  }

  /** Returns once it has so many frames, or after so long: whether it has is its result's to tell. */
  async reaches(count: number, timeoutMs = 5_000): Promise<void> {
    const until = Date.now() + timeoutMs;
    while (this.#child.exitCode === null && Date.now() < until) {
      if (((await this.#counts())?.captured ?? 0) >= count) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Ends the capture once everything that arrived so far is in the file. */
  async stop(): Promise<CaptureResult> {
    const until = Date.now() + 3_000;
    while (this.#child.exitCode === null && Date.now() < until) {
      const counts = await this.#counts();
      if (counts && counts.captured + counts.dropped >= counts.received) break;
    }
    this.#child.kill('SIGINT');
    await this.#ended;
    const counts = allCounts(this.#said).at(-1) ?? { captured: 0, received: 0, dropped: 0 };
    return new CaptureResult(this.file, counts);
  }

  /** As of now; the last that it said where it does not answer. */
  async #counts(): Promise<Counts | undefined> {
    const said = allCounts(this.#said).length;
    this.#child.kill('SIGUSR1');
    await this.#until(() => allCounts(this.#said).length > said, 1_000);
    return allCounts(this.#said).at(-1);
  }

  #wake(): void {
    const waiting = this.#onSaid;
    this.#onSaid = [];
    for (const wake of waiting) wake();
  }

  /** Waits for something in what tcpdump says; gives up silently at its end or the time limit. */
  async #until(done: () => boolean, timeoutMs: number): Promise<void> {
    const until = Date.now() + timeoutMs;
    while (!done() && this.#child.exitCode === null && Date.now() < until) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 20);
        this.#onSaid.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }
}

/** On SIGUSR1 the three counts come on one line, at the end on three: both are read the same way. */
function allCounts(said: string): Counts[] {
  const pattern =
    /(\d+) packets? captured[,\n]\s*(\d+) packets? received by filter[,\n]\s*(\d+) packets? dropped by kernel/g;
  return [...said.matchAll(pattern)].map((m) => ({
    captured: Number(m[1]),
    received: Number(m[2]),
    dropped: Number(m[3]),
  }));
}

/** What a finished capture holds; every reader takes a second filter, applied to the file. */
export class CaptureResult {
  readonly file: string;
  readonly captured: number;
  /** Frames that the capture itself lost: what it shows is the whole truth only where this is 0. */
  readonly dropped: number;

  constructor(file: string, counts: Counts) {
    this.file = file;
    this.captured = counts.captured;
    this.dropped = counts.dropped;
  }

  /** One line per frame, with link-layer addresses, as tcpdump prints them. */
  async lines(filter?: string): Promise<string[]> {
    const text = await runOk([
      'tcpdump',
      '-r',
      this.file,
      '-nn',
      '-e',
      '-t',
      '-Z',
      'root',
      ...(filter ? [filter] : []),
    ]);
    return text.split('\n').filter((line) => line !== '' && !/^\s/.test(line));
  }

  /** The frames' bytes. */
  async frames(filter?: string): Promise<CapturedFrame[]> {
    if (filter === undefined) return decodePcap(readFileSync(this.file));
    const part = this.file.replace(/\.pcap$/, '.part.pcap');
    const { code, stderr } = await run(['tcpdump', '-r', this.file, '-w', part, '-Z', 'root', filter]);
    if (code !== 0) throw new WeftError('invalid', `tcpdump: ${stderr.trim()}`);
    return decodePcap(readFileSync(part));
  }

  async count(filter?: string): Promise<number> {
    return (await this.frames(filter)).length;
  }
}
