import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { openOvsdbStream } from './address.ts';
import { bounded } from './bounded.ts';
import { JsonRpcConnection } from './json-rpc.ts';

/** One command of a daemon of Open vSwitch, as `ovs-appctl` takes it: name, then arguments. */
export type UnixctlCommand = readonly [name: string, ...args: string[]];

const TIMEOUT_MS = 10_000;
/** A dump of all flows of a busy switch is one string. */
const LIMITS = { maxBytes: 256 * 1024 * 1024 };

/**
 * Runs commands of an Open vSwitch daemon over its control socket, one after the other on one connection: JSON-RPC as
 * `ovs-appctl` speaks it, without a process for each. Returns what each printed.
 * Errors: `unreachable`, `timeout` (10 s for all), `refused` with the daemon's own words.
 */
export async function unixctl(path: string, commands: readonly UnixctlCommand[]): Promise<string[]> {
  const giveUp = AbortSignal.timeout(TIMEOUT_MS);
  const stream = await openOvsdbStream({ kind: 'unix', path }, { timeoutMs: TIMEOUT_MS, signal: giveUp });
  const results: string[] = [];
  const current = (): string => `${path}: ${commands[results.length]?.join(' ')}`;
  const late = (): WeftError => new WeftError('timeout', `${current()}: no answer in ${TIMEOUT_MS} ms`);
  return await bounded({ signal: giveUp, timeoutMs: TIMEOUT_MS }, late, (resolve, reject) => {
    const connection = new JsonRpcConnection(stream, {
      ...{ log: silentLog, limits: LIMITS, probeMs: 0, onNotification: () => {} },
      onClose: (cause) => reject(new WeftError('unreachable', `${current()}: ${cause.message}`, { cause })),
    });
    const next = (): void => {
      const command = commands[results.length];
      if (!command) {
        resolve(results);
        connection.close();
        return;
      }
      const [method, ...params] = command;
      connection.request(method, params, (reply) => {
        if (reply instanceof WeftError) return; // onClose has the whole story
        if (reply.error !== null) {
          reject(new WeftError('refused', `${current()}: ${String(reply.error).trim()}`));
          connection.close();
          return;
        }
        results.push(String(reply.result ?? ''));
        next();
      });
    };
    next();
    return () => connection.close();
  });
}
