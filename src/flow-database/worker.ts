import { parentPort } from 'node:worker_threads';
import { WeftError } from '../base/errors.ts';
import { FileFlowStore } from './file.ts';
import type { FlowStore, Troubles } from './flow-store.ts';
import { RedisConnections } from './redis.ts';
import { SplitFlowStore } from './split.ts';
import type { Call, Reply, WorkerFlowOptions } from './worker-store.ts';

/** The other side of `worker-store.ts`: calls begin in their order. */
let store: FlowStore | undefined;
let troubles: Troubles = {};

const say = (reply: Reply): void => parentPort?.postMessage(reply);

const tell =
  (part: keyof Troubles) =>
  (trouble: string | undefined): void => {
    troubles = { ...troubles, [part]: trouble };
    say({ troubles });
  };

function open({ redis, ...options }: WorkerFlowOptions): FlowStore {
  const file = new FileFlowStore({ ...options, isLogOnly: redis !== undefined }, tell('file'));
  return redis ? new SplitFlowStore(new RedisConnections({ ...redis, onTrouble: tell('connections') }), file) : file;
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
