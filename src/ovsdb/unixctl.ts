import { connect } from 'node:net';
import { WeftError } from '../base/errors.ts';

/** One command of a daemon of Open vSwitch, as `ovs-appctl` takes it: name, then arguments. */
export type UnixctlCommand = readonly [name: string, ...args: string[]];

/**
 * Runs commands of an Open vSwitch daemon over its control socket, one after the other on one connection: JSON-RPC as
 * `ovs-appctl` speaks it, without a process for each. Returns what each printed.
 * Errors: `unreachable`, `timeout` (10 s for all), `refused` with the daemon's own words.
 */
export function unixctl(path: string, commands: readonly UnixctlCommand[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const results: string[] = [];
    const socket = connect(path);
    let pending = '';
    const fail = (error: WeftError): void => {
      socket.destroy();
      reject(error);
    };
    const next = (): void => {
      const command = commands[results.length];
      if (!command) {
        socket.end();
        resolve(results);
        return;
      }
      const [method, ...params] = command;
      socket.write(JSON.stringify({ id: results.length, method, params }));
    };
    socket.setEncoding('utf8').setTimeout(10_000);
    socket.once('connect', next);
    socket.on('timeout', () =>
      fail(new WeftError('timeout', `${path}: no answer to ${commands[results.length]?.join(' ')}`)),
    );
    socket.on('error', (cause) => fail(new WeftError('unreachable', `${path}: ${cause.message}`, { cause })));
    socket.on('close', () => fail(new WeftError('unreachable', `${path}: closed`))); // of no effect once resolved
    socket.on('data', (text) => {
      pending += text;
      const answer = readAnswer(pending);
      if (!answer) return; // the rest of it is still to come
      pending = '';
      if (answer.error)
        return fail(new WeftError('refused', `${commands[results.length]?.join(' ')}: ${answer.error.trim()}`));
      results.push(answer.result ?? '');
      next();
    });
  });
}

function readAnswer(text: string): { result?: string | null; error?: string | null } | undefined {
  try {
    return JSON.parse(text) as { result?: string | null; error?: string | null };
  } catch {
    return undefined;
  }
}
