import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '../base/errors.ts';
import { NAMESPACES_DIR } from '../base/namespaces.ts';
import { run, runDaemon } from './commands.ts';
import type { DaemonName } from './config.ts';
import { LOG_BYTES, readLog } from './daemon-log.ts';
import { Vty } from './vty.ts';

/** What a speaker does to FRR's daemons; tests put their own in its place. */
export interface Daemons {
  /** Its process, where it runs: also one that an earlier agent started. */
  pidOf(daemon: DaemonName): number | undefined;
  /**
   * Starts it, and returns when it is ready: whether it has read the file that was written last, or is still to be told all of
   * it. Errors: `refused`, `timeout`.
   */
  launch(daemon: DaemonName): Promise<boolean>;
  /** Asks it to end, and ends it when it does not. */
  end(daemon: DaemonName): Promise<void>;
  writeConfig(daemon: DaemonName, text: string): void;
  /** What the running daemon was told to be, by whichever agent. */
  appliedConfig(daemon: DaemonName): string | undefined;
  /** What it did not take of that, in the words of whoever wrote it; passwords are in none. */
  refusedConfig(daemon: DaemonName): string | undefined;
  writeApplied(daemon: DaemonName, text: string, refused: string): void;
  /** A session in which lines are given one after the other. Error: `unreachable`. */
  openVty(daemon: DaemonName): Promise<Pick<Vty, 'send' | 'close'>>;
}

export type DaemonsOptions = {
  readonly namespace: string;
  /**
   * FRR's word for one of several FRRs on a machine: letters, digits and hyphens, the namespace's name where it is not given. Its files are in
   * `RUN_DIR`/pathspace.
   */
  readonly pathspace?: string;
  /** Where FRR's daemons are. */
  readonly binDir?: string;
};

/** Compiled into FRR; /var/run is a link to /run. */
const RUN_DIR = '/var/run/frr';
/** What newer FRR keeps beside. */
const LIBRARY_DIR = '/var/lib/frr';
const CRASH_DIR = '/var/tmp/frr';
/** FRR's user on every distribution. */
const USER = 'frr';
/** What FRR's own unit gives it (`frr.service`): a session ends where its word is late. */
const NICENESS = '-5';
const END_WITHIN_MS = 5_000;

/**
 * FRR's daemons in a network namespace. Each is its own session from the start (`-d`), so that it outlives the agent; it is found again by its pid
 * file and by its command line, which names that file. Signals go to that pid only.
 */
export class NamespaceDaemons implements Daemons {
  readonly #options: Required<DaemonsOptions>;
  readonly runDir: string;

  constructor(options: DaemonsOptions) {
    const { namespace, pathspace = namespace, binDir = '/usr/lib/frr' } = options;
    this.#options = { namespace, pathspace, binDir };
    this.runDir = join(RUN_DIR, pathspace);
    // The kernel cuts the path of a socket off at 107 characters without a word.
    if (!/^[A-Za-z0-9-]{1,64}$/.test(pathspace)) throw new WeftError('invalid', `no pathspace of FRR: ${pathspace}`);
  }

  /** The folder, owned by FRR's user. Error: `not-found` without FRR. */
  prepare(): void {
    const { binDir } = this.#options;
    if (!existsSync(join(binDir, 'bgpd')))
      throw new WeftError('not-found', `no FRR in ${binDir}: install the package frr`);
    const { uid, gid } = frrUser();
    for (const [dir, mode] of [
      [RUN_DIR, 0o755],
      [this.runDir, 0o750],
    ] as const) {
      if (existsSync(dir)) continue;
      mkdirSync(dir, { mode });
      chownSync(dir, uid, gid);
    }
  }

  /** Takes the folder away, with the configurations in it. */
  forget(): void {
    for (const dir of [this.runDir, join(LIBRARY_DIR, this.#options.pathspace)])
      rmSync(dir, { recursive: true, force: true });
  }

  /** Whether this FRR has such a program: mgmtd came with FRR 9. */
  has(daemon: DaemonName): boolean {
    return existsSync(join(this.#options.binDir, daemon));
  }

  pidOf(daemon: DaemonName): number | undefined {
    const pid = this.#processOf(daemon);
    return pid !== undefined && this.#isInside(pid) ? pid : undefined;
  }

  /** A process of this run directory, in whichever namespace: one that has the name now may not be the one of then. */
  #processOf(daemon: DaemonName): number | undefined {
    try {
      const pid = Number(readFileSync(this.#path(daemon, 'pid'), 'utf8'));
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return words.includes(this.#path(daemon, 'pid')) ? pid : undefined;
    } catch {
      return undefined; // no such file, or no such process
    }
  }

  #isInside(pid: number): boolean {
    try {
      return (
        readlinkSync(`/proc/${pid}/ns/net`) === `net:[${statSync(`${NAMESPACES_DIR}/${this.#options.namespace}`).ino}]`
      );
    } catch {
      return false; // no such namespace, or no such process any more
    }
  }

  async launch(daemon: DaemonName): Promise<boolean> {
    await this.end(daemon); // one that is left in a namespace of former times
    const log = this.#path(daemon, 'log');
    if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES) renameSync(log, `${log}.1`);
    // FRR opens its log as root, before it becomes its user: the file may be root's.
    // Daemons whose configuration is mgmtd's business read no file of their own: from FRR 9 on more of them with each release.
    const reads = (await run([join(this.#options.binDir, daemon), '--help'])).includes('--config_file');
    await runDaemon(['ip', 'netns', 'exec', this.#options.namespace, ...this.#argv(daemon, reads)], log);
    const until = performance.now() + END_WITHIN_MS;
    // Its parent ends when it is ready, but for a moment.
    while (this.pidOf(daemon) === undefined || !existsSync(this.#path(daemon, 'vty'))) {
      if (performance.now() > until) throw new WeftError('timeout', `${daemon} did not come up: see ${log}`);
      await pause(10);
    }
    return reads;
  }

  async end(daemon: DaemonName): Promise<void> {
    const pid = this.#processOf(daemon);
    if (pid === undefined) return;
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      kill(pid, signal);
      const until = performance.now() + END_WITHIN_MS;
      while (this.#processOf(daemon) === pid && performance.now() < until) await pause(10);
    }
    // FRR leaves an empty folder for a crash's words at each start; one that crashed keeps it.
    rmSync(join(CRASH_DIR, `${daemon}.${pid}`), { recursive: true, force: true });
  }

  /** Passwords are in it: for FRR's user alone, from its first byte on. */
  writeConfig(daemon: DaemonName, text: string): void {
    const { uid, gid } = frrUser();
    const path = this.#path(daemon, 'conf');
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    chownSync(`${path}.new`, uid, gid);
    renameSync(`${path}.new`, path);
  }

  appliedConfig(daemon: DaemonName): string | undefined {
    return this.#noted(daemon, 'applied');
  }

  refusedConfig(daemon: DaemonName): string | undefined {
    return this.#noted(daemon, 'refused');
  }

  /** Where only the first is written all is said again, and heard again. */
  writeApplied(daemon: DaemonName, text: string, refused: string): void {
    for (const [suffix, content] of [
      ['refused', refused],
      ['applied', text],
    ] as const) {
      const path = this.#path(daemon, suffix);
      writeFileSync(`${path}.new`, content, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    }
  }

  #noted(daemon: DaemonName, suffix: 'applied' | 'refused'): string | undefined {
    try {
      return readFileSync(this.#path(daemon, suffix), 'utf8');
    } catch {
      return undefined;
    }
  }

  /** What the daemon has logged since `from` (daemon-log.ts). */
  readLog(daemon: DaemonName, from: number): ReturnType<typeof readLog> {
    return readLog(this.#path(daemon, 'log'), from);
  }

  openVty(daemon: DaemonName): Promise<Vty> {
    return Vty.open(this.#path(daemon, 'vty'));
  }

  #path(daemon: DaemonName, suffix: string): string {
    return join(this.runDir, `${daemon}.${suffix}`);
  }

  #argv(daemon: DaemonName, readsFile: boolean): string[] {
    const { pathspace, binDir } = this.#options;
    return [
      ...['nice', '-n', NICENESS, join(binDir, daemon)],
      ...['-d', '-P', '0', '-u', USER, '-g', USER, '-N', pathspace, '-i', this.#path(daemon, 'pid')],
      ...(readsFile ? ['-f', this.#path(daemon, 'conf')] : []),
      ...['--log', `file:${this.#path(daemon, 'log')}`],
      // bgpd tells there alone whose call it refused, and why.
      ...['--log-level', daemon === 'bgpd' ? 'informational' : 'warnings'],
      // It makes tables of as many entries as it may open files.
      ...['--limit-fds', '1024'],
      // A large receive buffer: a full table's worth of the kernel's echoes comes at once.
      ...(daemon === 'zebra' ? ['-M', 'dplane_fpm_nl', '-s', '90000000'] : []),
    ];
  }
}

/** Takes the folders of all FRRs away whose words begin so, also of daemons that were killed; they hold passwords. None of them may run. */
export function forgetFolders(prefix: string): void {
  for (const dir of [RUN_DIR, LIBRARY_DIR])
    for (const name of existsSync(dir) ? readdirSync(dir) : [])
      if (name.startsWith(prefix)) rmSync(join(dir, name), { recursive: true, force: true });
}

function frrUser(): { readonly uid: number; readonly gid: number } {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((l) => l.startsWith(`${USER}:`));
  if (!line) throw new WeftError('not-found', `no user ${USER}: install the package frr`);
  const fields = line.split(':');
  return { uid: Number(fields[2]), gid: Number(fields[3]) };
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ended meanwhile
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
