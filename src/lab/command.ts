import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { WeftError } from '../base/errors.ts';

/** What a finished command left. `code` is its exit status; a command ended by a signal has 128 + the signal's number. */
export type CommandResult = { readonly stdout: string; readonly stderr: string; readonly code: number };

export type RunOptions = {
  readonly input?: string;
  /** The command is killed after this; 60,000 when not given. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly env?: Record<string, string>;
};

const SIGNAL_CODES: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 129, SIGINT: 130, SIGKILL: 137, SIGTERM: 143 };

/**
 * Runs a command to its end. A nonzero exit is a result, not an error.
 * Errors: `not-found` when the program does not exist, `timeout`, `aborted`.
 */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  return new Promise((resolve, reject) => {
    const child = launch(argv, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env } });
    let stdout = '';
    let stderr = '';
    let failure: WeftError | undefined;
    const giveUp = (error: WeftError): void => {
      failure ??= error;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(
      () =>
        giveUp(
          new WeftError('timeout', `${argv.join(' ')}: no end within ${timeoutMs} ms`, { details: { stdout, stderr } }),
        ),
      timeoutMs,
    );
    const onAbort = (): void => giveUp(new WeftError('aborted', `${argv.join(' ')}: aborted`));
    if (options.signal?.aborted) onAbort();
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const settle = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
    };
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.stdin!.on('error', () => {}); // a command may end without reading its input
    child.stdin!.end(options.input ?? '');
    child.on('error', (cause: NodeJS.ErrnoException) => {
      settle();
      reject(
        new WeftError(cause.code === 'ENOENT' ? 'not-found' : 'refused', `cannot run ${argv[0]}: ${cause.message}`, {
          cause,
        }),
      );
    });
    child.on('close', (code, signal) => {
      settle();
      if (failure) reject(failure);
      else resolve({ stdout, stderr, code: code ?? (signal ? (SIGNAL_CODES[signal] ?? 128) : 1) });
    });
  });
}

/** Runs a command that must succeed; returns its standard output. Error: `refused` with what it said. */
export async function runOk(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code === 0) return result.stdout;
  const said = (result.stderr || result.stdout).trim();
  throw new WeftError('refused', `${argv.join(' ')}: exit ${result.code}${said ? `: ${said}` : ''}`, {
    details: result,
  });
}

/** Starts a command and returns at once. */
export function launch(argv: readonly string[], options: SpawnOptions): ChildProcess {
  const [program, ...args] = argv;
  if (program === undefined) throw new WeftError('invalid', 'an empty command');
  return spawn(program, args, options);
}
