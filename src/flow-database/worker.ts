import { parentPort } from 'node:worker_threads';
import { WeftError } from '../base/errors.ts';
import type { FlowStore } from './flow-store.ts';
import { type SqliteFlowOptions, SqliteFlowStore } from './sqlite.ts';
import type { Call, Reply } from './worker-store.ts';

/** The other side of `worker-store.ts`: one call after the other. */
let store: FlowStore | undefined;

parentPort?.on('message', async ({ id, method, argument }: Call) => {
  let reply: Reply;
  try {
    if (method === 'open') {
      store = new SqliteFlowStore(argument[0] as SqliteFlowOptions);
      reply = { id, result: undefined };
    } else reply = { id, result: await (store![method] as (...given: unknown[]) => Promise<unknown>)(...argument) };
  } catch (error) {
    const code = error instanceof WeftError ? error.code : undefined;
    reply = { id, code, message: error instanceof Error ? error.message : String(error) };
  }
  parentPort?.postMessage(reply);
});
