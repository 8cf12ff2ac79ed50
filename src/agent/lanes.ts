import { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { connectOpenFlow, type Refusal } from '../openflow/connection.ts';
import type { FlowMod } from '../openflow/messages/flow-mod.ts';

/** Open vSwitch takes 50 messages of each connection before it turns to its ports again (`ofconn_run`). */
const LANES = 16;

export interface LaneOptions {
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Carries flow mods over connections of their own, in no order among each other: only what no packet meets may go so. What is refused stays
 * out and the rest goes in; then rejects with 'refused' and a `Refusal` whose index is that in `mods`. Any other failure may leave some in.
 */
export async function carryByLanes(address: string, mods: readonly FlowMod[], options: LaneOptions): Promise<void> {
  const share = Math.ceil(mods.length / LANES);
  const starts = Array.from({ length: LANES }, (_, lane) => lane * share).filter((start) => start < mods.length);
  const ends = await Promise.allSettled(
    starts.map((start) => carry(address, mods.slice(start, start + share), start, options)),
  );
  const failed = ends.filter((end) => end.status === 'rejected').map(({ reason }) => reason as unknown);
  // A refusal is known to have let all others in; so it is told only where nothing else went wrong.
  if (failed.length > 0) throw failed.find((error) => !isRefusal(error)) ?? failed[0];
}

async function carry(address: string, mods: readonly FlowMod[], start: number, options: LaneOptions): Promise<void> {
  const connection = await connectOpenFlow(address, options);
  try {
    await shifted(connection.transactionOfAccepted(mods, options.signal), start);
  } finally {
    connection.close();
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
