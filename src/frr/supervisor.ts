import type { Clock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { DAEMONS, type DaemonName } from './config.ts';
import { commandLines, configDifference } from './config-difference.ts';
import type { Daemons } from './daemons.ts';

/** A line that a daemon refused; it goes on without. */
export type ConfigProblem = { readonly daemon: DaemonName; readonly line: string; readonly said: string };

/** What is told of a daemon. */
export type DaemonState = {
  readonly daemon: DaemonName;
  readonly running: boolean;
  /** Starts beyond the first, by this supervisor. */
  readonly restarts: number;
  /** Why it could not be started last. */
  readonly problem: string | undefined;
};

export type DaemonTexts = { readonly [daemon in DaemonName]: string };

/** A daemon that dies is started at once, then after so long, doubled with each death up to the most. */
const LEAST_BACK_OFF_MS = 500;
const MOST_BACK_OFF_MS = 30_000;
/** Whoever ran so long may die once more without waiting. */
const STEADY_MS = 60_000;

type Record = { startedAtMs: number | undefined; failures: number; restarts: number; problem: string | undefined };

/**
 * Keeps the daemons of one speaker running, and their configuration what it should be. One step at a time:
 * `tick` looks after them and is to be called a few times a second, `configure` changes what they are told. Neither
 * touches a daemon that is as it should be, whoever started it.
 */
export class Supervisor {
  readonly #daemons: Daemons;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #records = new Map<DaemonName, Record>();
  /** Lines of what each is to be that it did not take. */
  readonly #refused = new Map<DaemonName, readonly ConfigProblem[]>();
  #texts: DaemonTexts | undefined;
  #wanted: readonly DaemonName[] = [];
  #turn: Promise<unknown> = Promise.resolve();

  constructor(daemons: Daemons, clock: Clock, log: Log) {
    this.#daemons = daemons;
    this.#clock = clock;
    this.#log = log;
  }

  /** Which daemons shall run, and with what. Returns what they refused of it, now or before; a daemon out of reach gets it at a later `tick`. */
  configure(texts: DaemonTexts, wanted: readonly DaemonName[]): Promise<readonly ConfigProblem[]> {
    return this.#inTurn(async () => {
      this.#texts = texts;
      this.#wanted = DAEMONS.filter((daemon) => wanted.includes(daemon));
      return this.#look();
    });
  }

  /** Starts what died and is due, and makes good what could not be applied. */
  tick(): Promise<readonly ConfigProblem[]> {
    return this.#inTurn(() => this.#look());
  }

  /** Ends all, those that use the others first. */
  end(): Promise<void> {
    return this.#inTurn(async () => {
      this.#wanted = [];
      for (const daemon of [...DAEMONS].reverse()) await this.#daemons.end(daemon);
    });
  }

  /** What they refused of what they are to be, by now: a daemon may have been told after `configure`. */
  refused(): readonly ConfigProblem[] {
    return this.#wanted.flatMap((daemon) => this.#refused.get(daemon) ?? []);
  }

  states(): DaemonState[] {
    return this.#wanted.map((daemon) => {
      const { restarts = 0, problem } = this.#records.get(daemon) ?? {};
      return { daemon, running: this.#daemons.pidOf(daemon) !== undefined, restarts, problem };
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #look(): Promise<readonly ConfigProblem[]> {
    for (const daemon of this.#wanted) {
      const text = this.#texts![daemon];
      // What it refused of an earlier agent it is not told again.
      if (!this.#refused.has(daemon)) this.#refused.set(daemon, parseRefused(this.#daemons.refusedConfig(daemon)));
      if (this.#daemons.pidOf(daemon) === undefined) await this.#start(daemon, text);
      else {
        if (!this.#records.has(daemon)) this.#records.set(daemon, fresh(this.#clock.monotonicMs())); // an earlier agent's
        if (this.#daemons.appliedConfig(daemon) !== text) await this.#change(daemon, text);
      }
    }
    return this.refused();
  }

  async #start(daemon: DaemonName, text: string): Promise<void> {
    const now = this.#clock.monotonicMs();
    const record = this.#records.get(daemon) ?? fresh(undefined);
    this.#records.set(daemon, record);
    if (record.startedAtMs !== undefined) {
      const waitMs =
        record.failures === 0 ? 0 : Math.min(LEAST_BACK_OFF_MS * 2 ** (record.failures - 1), MOST_BACK_OFF_MS);
      const ranMs = now - record.startedAtMs;
      if (ranMs >= STEADY_MS) record.failures = 0;
      else if (ranMs < waitMs) return;
      record.failures++;
      record.restarts++;
      this.#log.warn('a daemon of FRR ended and is started again', { daemon, failures: record.failures });
    }
    record.startedAtMs = now;
    try {
      this.#daemons.writeConfig(daemon, text);
      const read = await this.#daemons.launch(daemon);
      // What it refuses of a file only its log knows: who refused something before is told all, at the next look.
      const isRefused = (this.#refused.get(daemon) ?? []).length > 0;
      this.#daemons.writeApplied(daemon, read && !isRefused ? text : '', NOTHING_REFUSED);
      record.problem = undefined;
    } catch (error) {
      if (!isOperational(error)) throw error;
      record.problem = error.message;
      this.#log.error('a daemon of FRR does not start', { daemon, error });
    }
  }

  /** The file first: whatever happens next, a restart of the daemon gives the new configuration. */
  async #change(daemon: DaemonName, text: string): Promise<void> {
    const before = this.#daemons.appliedConfig(daemon) ?? '';
    try {
      this.#daemons.writeConfig(daemon, text);
      const vty = await this.#daemons.openVty(daemon);
      const problems: ConfigProblem[] = [];
      const said = new Set<string>();
      try {
        await vty.send('configure terminal');
        for (const { line, removal } of commandLines(configDifference(before, text))) {
          const answer = await vty.send(line);
          if (removal) continue;
          said.add(withoutPassword(line));
          if (!answer.ok) problems.push(problemOf(daemon, line, answer.output));
        }
        await vty.send('end');
      } finally {
        vty.close();
      }
      // What it refused before is no difference, and still not so.
      const wanted = new Set(text.split('\n').map((row) => withoutPassword(row.trim())));
      const former = this.#refused.get(daemon) ?? [];
      const refused = [...former.filter(({ line }) => wanted.has(line) && !said.has(line)), ...problems];
      this.#daemons.writeApplied(daemon, text, JSON.stringify(refused));
      this.#refused.set(daemon, refused);
      for (const problem of problems) this.#log.error('FRR refused a line of its configuration', problem);
    } catch (error) {
      if (!isOperational(error)) throw error;
      // It died, or is about to: the next tick starts it with the new file, or says the difference again.
      this.#log.warn('a daemon of FRR could not be told its configuration', { daemon, error });
    }
  }
}

function fresh(startedAtMs: number | undefined): Record {
  return { startedAtMs, failures: 0, restarts: 0, problem: undefined };
}

/** What the machine can do to us: a full disk, a folder that somebody removed, a daemon that does not answer. */
function isOperational(error: unknown): error is Error {
  return error instanceof WeftError || (error instanceof Error && 'syscall' in error);
}

const NOTHING_REFUSED = '[]';

/** As an earlier agent wrote it; nothing where that is not known. */
function parseRefused(text = NOTHING_REFUSED): readonly ConfigProblem[] {
  try {
    return JSON.parse(text) as readonly ConfigProblem[];
  } catch {
    return [];
  }
}

/** FRR repeats what it does not understand. */
function problemOf(daemon: DaemonName, line: string, output: string): ConfigProblem {
  const shown = withoutPassword(line);
  return { daemon, line: shown, said: shown === line ? output.trim() : 'refused' };
}

function withoutPassword(line: string): string {
  const at = line.indexOf(' password ');
  return at < 0 ? line : `${line.slice(0, at)} password …`;
}
