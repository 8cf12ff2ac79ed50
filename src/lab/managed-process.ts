import { closeSync, fstatSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { connect } from 'node:net';
import { WeftError } from '../base/errors.ts';
import { launch } from './command.ts';
import { inNamespace, inNetworkOf, killAll, sendSignal, startTicksOf } from './namespaces.ts';
import type { LabState } from './state.ts';

export type ProcessOptions = {
  readonly env?: Record<string, string>;
  /** When it counts as started: a line of its output, or a unix socket that takes connections. At once when neither is given. */
  readonly ready?: { readonly line: RegExp } | { readonly socket: string };
  /** How long to wait for that; 10,000 when not given. */
  readonly readyTimeoutMs?: number;
  readonly cwd?: string;
  /** For one that makes network namespaces of its own (`inNetworkOf`). */
  readonly sharesMounts?: boolean;
};

type ProcessRecord = {
  readonly place: string;
  readonly name: string;
  readonly namespace: string;
  readonly argv: readonly string[];
  readonly env: Record<string, string>;
  readonly cwd: string;
  readonly ready: { readonly line: string; readonly flags: string } | { readonly socket: string } | undefined;
  readonly readyTimeoutMs: number;
  readonly sharesMounts: boolean;
  /** Of the running process; with `startTicks` it cannot be mistaken for a later process with the same pid. */
  pid: number | undefined;
  startTicks: number | undefined;
  /** Whether it should run: `startHost` starts again what ran when the host was stopped. */
  wanted: boolean;
};

/**
 * A process of a lab that outlives whoever started it: it runs in a namespace, writes its output to a log file and is
 * found again through the state on disk. Signals go to its pid only, never to a name.
 */
export class ManagedProcess {
  readonly #state: LabState;
  #record: ProcessRecord;

  private constructor(state: LabState, record: ProcessRecord) {
    this.#state = state;
    this.#record = record;
  }

  /** Declares a process without starting it; what was declared under this name before must have ended. */
  static declare(
    state: LabState,
    namespace: string,
    place: string,
    name: string,
    argv: readonly string[],
    options: ProcessOptions = {},
  ): ManagedProcess {
    const ready =
      options.ready && 'line' in options.ready
        ? { line: options.ready.line.source, flags: options.ready.line.flags }
        : options.ready;
    const record: ProcessRecord = {
      place,
      name,
      namespace,
      argv: [...argv],
      env: options.env ?? {},
      cwd: options.cwd ?? process.cwd(),
      ready,
      readyTimeoutMs: options.readyTimeoutMs ?? 10_000,
      sharesMounts: options.sharesMounts ?? false,
      pid: undefined,
      startTicks: undefined,
      wanted: false,
    };
    const before = ManagedProcess.find(state, place, name);
    if (before?.running) throw new WeftError('conflict', `${place}: ${name} is running already (pid ${before.pid})`);
    return new ManagedProcess(state, record);
  }

  static find(state: LabState, place: string, name: string): ManagedProcess | undefined {
    const record = state.read<ProcessRecord>(`processes/${place}.${name}.json`);
    return record && new ManagedProcess(state, record);
  }

  static all(state: LabState): ManagedProcess[] {
    return state.readAll<ProcessRecord>('processes').map((record) => new ManagedProcess(state, record));
  }

  get place(): string {
    return this.#record.place;
  }
  get name(): string {
    return this.#record.name;
  }
  get wanted(): boolean {
    return this.#record.wanted;
  }
  get logFile(): string {
    return this.#state.logFile(this.#record.place, this.#record.name);
  }
  /** Undefined when it does not run. */
  get pid(): number | undefined {
    const { pid, startTicks } = this.#record;
    return pid !== undefined && startTicksOf(pid) === startTicks ? pid : undefined;
  }
  get running(): boolean {
    return this.pid !== undefined;
  }

  /** What it has written since it was first started, or from a byte of its log on. */
  log(from = 0): string {
    let file: number;
    try {
      file = openSync(this.logFile, 'r');
    } catch {
      return ''; // never started
    }
    try {
      const bytes = Buffer.alloc(Math.max(0, fstatSync(file).size - from));
      return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, from));
    } finally {
      closeSync(file);
    }
  }

  /** Bytes of its log so far: from here on `log` and `waitForLine` see only what comes later. */
  get logSize(): number {
    return statSync(this.logFile, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Starts it and waits until it is ready. Errors: `refused` when it ends instead, `timeout`; both carry the end of its log. */
  async start(): Promise<this> {
    if (this.running) return this;
    const record = this.#record;
    const log = openSync(this.logFile, 'a');
    writeSync(log, `--- ${new Date().toISOString()} ${record.argv.join(' ')}\n`);
    const from = this.logSize;
    const within = record.sharesMounts ? inNetworkOf : inNamespace;
    const child = launch(within(record.namespace, record.argv), {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...record.env },
      cwd: record.cwd,
    });
    closeSync(log);
    child.on('error', () => {}); // seen below as a process without a pid
    child.unref();
    if (child.pid === undefined) throw new WeftError('refused', `cannot start ${record.argv[0]} in ${record.place}`);
    this.#save({ ...record, pid: child.pid, startTicks: startTicksOf(child.pid), wanted: true });
    await this.#waitReady(from);
    return this;
  }

  /** Asks it to end (SIGTERM), after `timeoutMs` ends it. */
  async stop(timeoutMs = 5_000): Promise<void> {
    const pid = this.pid;
    this.#save({ ...this.#record, wanted: false });
    if (pid === undefined) return;
    sendSignal(pid, 'SIGTERM');
    const until = Date.now() + timeoutMs;
    while (this.running && Date.now() < until) await pause(5);
    if (this.running) await killAll([pid]);
  }

  /** Ends it at once (SIGKILL), as a crash would. `wanted` says whether a restart of its host brings it back. */
  async kill(options: { readonly wanted?: boolean } = {}): Promise<void> {
    const pid = this.pid;
    this.#save({ ...this.#record, wanted: options.wanted ?? false });
    if (pid !== undefined) await killAll([pid]);
  }

  /** Sends a signal; false when it does not run. */
  signal(signal: NodeJS.Signals): boolean {
    const pid = this.pid;
    return pid !== undefined && sendSignal(pid, signal);
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Waits for a line of its log, from byte `from` on. Errors: `refused` when it ends first, `timeout`. */
  async waitForLine(line: RegExp, timeoutMs = 10_000, from = 0): Promise<string> {
    let found: string | undefined;
    await this.#waitFor(`a line like ${line}`, timeoutMs, async () => {
      found = this.log(from)
        .split('\n')
        .find((text) => line.test(text));
      return found !== undefined;
    });
    return found!;
  }

  async #waitReady(from: number): Promise<void> {
    const { ready, readyTimeoutMs } = this.#record;
    if (!ready) return;
    if ('socket' in ready) {
      await this.#waitFor(`connections at ${ready.socket}`, readyTimeoutMs, () => accepts(ready.socket));
      return;
    }
    await this.waitForLine(new RegExp(ready.line, ready.flags), readyTimeoutMs, from);
  }

  async #waitFor(what: string, timeoutMs: number, done: () => Promise<boolean>): Promise<void> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const running = this.running; // read before `done`: what it wrote last must still be seen
      if (await done()) return;
      const { place, name } = this.#record;
      if (!running) throw new WeftError('refused', `${place}: ${name} ended before ${what}:\n${this.#logEnd()}`);
      if (Date.now() > until)
        throw new WeftError('timeout', `${place}: ${name}: no ${what} within ${timeoutMs} ms:\n${this.#logEnd()}`);
      await pause(5);
    }
  }

  #logEnd(): string {
    return this.log().trimEnd().split('\n').slice(-15).join('\n');
  }

  #save(record: ProcessRecord): void {
    this.#record = record;
    this.#state.write(`processes/${record.place}.${record.name}.json`, record);
  }
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
