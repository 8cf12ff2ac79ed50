import { Worker } from 'node:worker_threads';
import { type ErrorCode, WeftError } from '../base/errors.ts';
import type { FlowStore, Troubles } from './flow-store.ts';
import type { RedisOptions } from './redis.ts';
import type { SqliteFlowOptions } from './sqlite.ts';

export interface WorkerFlowOptions extends SqliteFlowOptions {
  /** Connections are kept there, and only the log in SQLite. */
  readonly redis?: Omit<RedisOptions, 'onTrouble'>;
}

/** Methods of the store, called by name in the thread. */
export type Method = keyof FlowStore | 'open';
export interface Call {
  readonly id: number;
  readonly method: Method;
  readonly argument: unknown[];
}
export type Reply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly code: ErrorCode | undefined; readonly message: string }
  /** Said unasked, at each change. */
  | { readonly troubles: Troubles };

/**
 * The flow store, in a file where it can be opened, in a thread of its own: its writes hold up nobody. Errors: those of the store; `closed` for all calls in hand
 * and to come when the thread has ended.
 */
export async function openWorkerFlowStore(
  options: WorkerFlowOptions,
  onTroubles: (troubles: Troubles) => void = () => {},
): Promise<FlowStore> {
  const worker = new Worker(new URL('worker.ts', import.meta.url));
  worker.unref();
  const waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  let lastId = 0;
  let ended: Error | undefined;
  const end = (error: Error): void => {
    ended = error;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  worker.on('message', (reply: Reply) => {
    if ('troubles' in reply) return onTroubles(reply.troubles);
    const call = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('result' in reply) call?.resolve(reply.result as never);
    else call?.reject(reply.code ? new WeftError(reply.code, reply.message) : new Error(reply.message));
  });
  worker.on('error', (cause) => end(new WeftError('closed', 'the thread of the flow database failed', { cause })));
  worker.on('exit', () => end(ended ?? new WeftError('closed', 'the flow database is closed')));
  const call = <T>(method: Method, ...argument: unknown[]): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      if (ended) return reject(ended);
      const id = ++lastId;
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, method, argument } satisfies Call);
    });
  try {
    await call('open', options);
  } catch (error) {
    await worker.terminate();
    throw error;
  }
  return {
    write: (batch) => call('write', batch),
    list: (filter, limit) => call('list', filter, limit),
    setLease: (lease) => call('setLease', lease),
    leases: () => call('leases'),
    whoHeld: (question) => call('whoHeld', question),
    expire: (nowMs) => call('expire', nowMs),
    close: async () => {
      if (!ended) await call('close').catch(() => {});
      await worker.terminate();
    },
  };
}
