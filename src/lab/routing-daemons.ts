import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '../base/errors.ts';
import { runOk } from './command.ts';
import { ManagedProcess } from './managed-process.ts';
import type { LabState } from './state.ts';

/** In the order in which they start: the others look for zebra. */
export const DAEMONS = ['zebra', 'staticd', 'bfdd', 'bgpd'] as const;
export type Daemon = (typeof DAEMONS)[number];
/** Each daemon's configuration; one without text runs with none. */
export type DaemonTexts = { readonly [daemon in Daemon]?: string };

const FRR_PROGRAMS = '/usr/lib/frr';
/** Debian's FRR runs as this user, and takes commands from this group. */
const FRR_USER = 'frr';
const FRR_GROUP = 'frrvty';

/**
 * FRR in one place of the lab: its daemons are managed processes of that place, with a run directory of their own, so
 * that one can be killed and started like any other process.
 */
export class RoutingDaemons {
  readonly place: string;
  readonly dir: string;
  readonly #state: LabState;
  readonly #namespace: string;

  constructor(state: LabState, place: string, namespace: string) {
    this.#state = state;
    this.place = place;
    this.#namespace = namespace;
    this.dir = join(state.dir, 'frr', place);
  }

  /** Starts all of them. Errors: `not-found` where FRR is not installed, those of `ManagedProcess.start`. */
  async start(texts: DaemonTexts): Promise<void> {
    if (!existsSync(join(FRR_PROGRAMS, 'bgpd')))
      throw new WeftError('not-found', 'no FRR on this machine: run scripts/setup.sh');
    mkdirSync(this.dir, { recursive: true });
    await runOk(['chown', `${FRR_USER}:${FRR_GROUP}`, this.dir]);
    // Passwords of sessions are in there.
    const mode = 0o640;
    for (const daemon of DAEMONS) writeFileSync(this.#configFile(daemon), texts[daemon] ?? '', { mode });
    await runOk(['chown', `${FRR_USER}:${FRR_GROUP}`, ...DAEMONS.map((daemon) => this.#configFile(daemon))]);
    const [zebra, ...others] = DAEMONS.map((daemon) => this.#declare(daemon));
    await zebra!.start();
    await Promise.all(others.map((daemon) => daemon.start()));
  }

  /** One of them, running or not. Error: `not-found`. */
  daemon(name: Daemon): ManagedProcess {
    const found = ManagedProcess.find(this.#state, this.place, name);
    if (!found) throw new WeftError('not-found', `${this.place} runs no ${name}`);
    return found;
  }

  /** Runs commands of FRR's shell one after the other; returns what they said. Error: `refused`. */
  vtysh(...commands: string[]): Promise<string> {
    return runOk(['vtysh', '--vty_socket', this.dir, ...commands.flatMap((command) => ['-c', command])]);
  }

  /** A `show … json` command's answer. */
  async show<T>(command: string): Promise<T> {
    return JSON.parse(await this.vtysh(`show ${command} json`)) as T;
  }

  #configFile(daemon: Daemon): string {
    return join(this.dir, `${daemon}.conf`);
  }

  #declare(daemon: Daemon): ManagedProcess {
    const at = (name: string): string => join(this.dir, name);
    const argv = [
      // As Open vSwitch in the lab: a session must not end because the machine is busy.
      ...['nice', '-n', '-10', join(FRR_PROGRAMS, daemon), '-f', this.#configFile(daemon)],
      ...['-i', at(`${daemon}.pid`), '-z', at('zserv.api'), '--vty_socket', this.dir, '-P', '0', '--log', 'stdout'],
      ...(daemon === 'bfdd' ? ['--bfdctl', at('bfdd.sock')] : []),
    ];
    const ready = { socket: at(`${daemon}.vty`) };
    return ManagedProcess.declare(this.#state, this.#namespace, this.place, daemon, argv, { ready, cwd: this.dir });
  }
}
