import { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { connectOpenFlow, type OpenFlowConnection, type Refusal } from '../openflow/connection.ts';
import type { FlowMod } from '../openflow/messages/flow-mod.ts';

/** Open vSwitch takes 50 messages of each connection before it turns to its ports again (`ofconn_run`). */
const LANES = 16;
/** That many messages at once at least: a connection is accepted in a turn of its own, so the first lanes may do all of a smaller change. */
const LEAST_AT_ONCE = 100;

export interface LaneOptions {
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Connections of their own that carry flow mods in no order among each other: only what no packet meets may go so. They are opened at once, so that they are
 * there when there is something to carry. End with `close`.
 */
export class Lanes {
  readonly #connections: readonly Promise<OpenFlowConnection>[];
  readonly #signal: AbortSignal;

  /** `most`: how many messages the largest `carry` will have. */
  constructor(address: string, most: number, options: LaneOptions) {
    this.#signal = options.signal;
    const count = Math.min(LANES, Math.ceil(most / LEAST_AT_ONCE));
    this.#connections = Array.from({ length: count }, () => connectOpenFlow(address, options));
    for (const connection of this.#connections) connection.catch(() => {}); // whoever carries is told
  }

  /**
   * What is refused stays out and the rest goes in; then rejects with 'refused' and a `Refusal` whose index is that in `mods`. Any other failure may leave
   * some in.
   */
  async carry(mods: readonly FlowMod[]): Promise<void> {
    if (mods.length === 0) return;
    const share = Math.max(LEAST_AT_ONCE, Math.ceil(mods.length / (2 * LANES)));
    const refusals: unknown[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let [next, left] = [0, Math.ceil(mods.length / share)];
    let hasFailed = false;
    const carrySome = async (opening: Promise<OpenFlowConnection>): Promise<void> => {
      const connection = await opening;
      while (next < mods.length && !hasFailed) {
        const start = next;
        next += share;
        const some = connection.transactionOfAccepted(mods.slice(start, next), { signal: this.#signal });
        await shifted(some, start).catch((error: unknown) => {
          if (!isRefusal(error)) throw error;
          refusals.push(error);
        });
        if (--left === 0) resolve(); // those that are not open yet have nothing to do
      }
    };
    for (const connection of this.#connections)
      carrySome(connection).catch((error: unknown) => {
        hasFailed = true; // whoever reads back next must not be overtaken by more
        reject(error);
      });
    await promise;
    if (refusals.length > 0) throw refusals[0];
  }

  close(): void {
    for (const opening of this.#connections)
      opening.then(
        (connection) => connection.close(),
        () => {},
      );
  }
}

/** Of part of the messages, which begins there in all of them: where one of it is refused, the index is that in all. */
export async function shifted(part: Promise<void>, by: number): Promise<void> {
  try {
    await part;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const { index, ...details } = error.details as Refusal;
    throw new WeftError('refused', error.message, {
      details: index === undefined ? details : { ...details, index: by + index },
    });
  }
}

function isRefusal(error: unknown): error is WeftError {
  return error instanceof WeftError && error.code === 'refused';
}
