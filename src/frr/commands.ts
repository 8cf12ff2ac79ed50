import { execFile } from 'node:child_process';
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
