import { setImmediate as nextTurn } from 'node:timers/promises';
import { WeftError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { type EntryInZone, ending, recreation, type TrackingPacket } from './recreate.ts';

export interface RecreatorOptions {
  /** Runs packets through actions, before whatever is sent to the switch after it. */
  readonly run: (packets: readonly TrackingPacket[]) => void;
  /** Sequence numbers are not to be asked for (recreate.ts). Errors: `WeftError`. */
  readonly disregardSequences: () => Promise<void>;
  readonly log: Log;
}

/** Of one restart or take-over; more are not made again: it takes a second for each some thousands. */
export const MOST_RECREATED = 20_000;
/** Entries between two turns of others. */
const SLICE = 100;

/** Makes entries of connection tracking again, in slices: others have their turn between. What is asked later is done later. */
export class Recreator {
  readonly #options: RecreatorOptions;
  #last: Promise<void> = Promise.resolve();

  constructor(options: RecreatorOptions) {
    this.#options = options;
  }

  /** Resolves when it is done, or cannot be: whoever waits goes on without. */
  perform(work: { readonly make: readonly EntryInZone[]; readonly end?: readonly EntryInZone[] }): Promise<void> {
    this.#last = this.#last
      .then(() => this.#perform(work))
      .catch((error: unknown) => this.#options.log.error('connections were not made again', { error }));
    return this.#last;
  }

  async #perform({ make, end = [] }: Parameters<Recreator['perform']>[0]): Promise<void> {
    const { run, disregardSequences, log } = this.#options;
    if (make.length + end.length === 0) return;
    try {
      await disregardSequences();
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      log.warn('connection tracking may ask for sequence numbers of imported connections', { error });
    }
    await this.#inSlices(make, recreation, run);
    await this.#inSlices(end, ending, run);
  }

  async #inSlices(
    all: readonly EntryInZone[],
    packetsOf: typeof recreation,
    run: (packets: readonly TrackingPacket[]) => void,
  ): Promise<void> {
    for (let at = 0; at < all.length; at += SLICE) {
      if (at > 0) await nextTurn();
      run(all.slice(at, at + SLICE).flatMap(({ entry, zone }) => packetsOf(entry, zone)));
    }
  }
}
