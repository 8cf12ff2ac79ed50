import { parentPort } from 'node:worker_threads';
import { WeftError } from '../base/errors.ts';
import type { FlowStore } from './flow-store.ts';
import { RedisConnections } from './redis.ts';
import { SplitFlowStore } from './split.ts';
import { SqliteFlowStore } from './sqlite.ts';
import type { Call, Reply, WorkerFlowOptions } from './worker-store.ts';

/** The other side of `worker-store.ts`: calls begin in their order. */
let store: FlowStore | undefined;

const say = (reply: Reply): void => parentPort?.postMessage(reply);

function open({ redis, ...options }: WorkerFlowOptions): FlowStore {
  const sqlite = new SqliteFlowStore({ ...options, isLogOnly: redis !== undefined });
  if (!redis) return sqlite;
  return new SplitFlowStore(new RedisConnections({ ...redis, onTrouble: (trouble) => say({ trouble }) }), sqlite);
}

parentPort?.on('message', async ({ id, method, argument }: Call) => {
  try {
    if (method === 'open') {
      store = open(argument[0] as WorkerFlowOptions);
      say({ id, result: undefined });
    } else say({ id, result: await (store![method] as (...given: unknown[]) => Promise<unknown>)(...argument) });
  } catch (error) {
    const code = error instanceof WeftError ? error.code : undefined;
    say({ id, code, message: error instanceof Error ? error.message : String(error) });
  }
});
