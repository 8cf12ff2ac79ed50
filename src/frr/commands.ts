import { execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { WeftError } from '../base/errors.ts';

/** Runs a command to its end and returns what it wrote. Errors: `refused` with what it said, `not-found`. */
export function run(argv: readonly string[], input?: string): Promise<string> {
  const [program, ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = execFile(program!, args, { timeout: 30_000, maxBuffer: 8 << 20 }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const code = error.code === 'ENOENT' ? 'not-found' : 'refused';
      reject(new WeftError(code, `${argv.join(' ')}: ${stderr.trim() || error.message}`, { cause: error }));
    });
    child.stdin?.on('error', () => {}); // it may end without reading
    child.stdin?.end(input);
  });
}

/**
 * Runs a command that leaves a daemon behind, and returns when the command has ended, whatever the daemon keeps open. Both write
 * to the end of a file. Errors: `refused` with the end of that file, `timeout`.
 */
export function runDaemon(argv: readonly string[], logFile: string): Promise<void> {
  const [program, ...args] = argv;
  const log = openSync(logFile, 'a', 0o640);
  const child = spawn(program!, args, { stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new WeftError('timeout', `${argv.join(' ')}: no end within 10 s`));
    }, 10_000);
    child.on('error', (cause) =>
      reject(new WeftError('refused', `cannot run ${program}: ${cause.message}`, { cause })),
    );
    child.on('exit', (code) => {
      clearTimeout(timer);
      if (code === 0) return resolve();
      const said = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-3).join(' / ');
      reject(new WeftError('refused', `${argv.join(' ')}: ${said}`));
    });
  });
}
