import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import { restAfter } from '../connections/reading.ts';
import type { AgentEvent } from '../events.ts';
import type { CopyLink } from './copy-link.ts';

export interface CopyReaderOptions {
  /** What connection tracking has of a port's connections. Errors: `WeftError`. */
  readonly read: (port: string) => Promise<readonly ConnectionEntry[]>;
  readonly link: Pick<CopyLink, 'reconcile' | 'isFull'>;
  readonly emit: (event: AgentEvent) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Reads what connection tracking has of ports of L2 gateways, to be copied; beside all other readings it takes a twentieth of the time, too. */
export class CopyReader {
  readonly #options: CopyReaderOptions;
  #isReading = false;

  constructor(options: CopyReaderOptions) {
    this.#options = options;
  }

  /** Each of these ports once; nothing while the ports of a call before are read, or their reading is rested from. */
  async read(ports: readonly string[]): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    const { clock, signal } = this.#options;
    try {
      for (const port of ports) {
        const beganMs = clock.monotonicMs();
        await this.#readOne(port, beganMs);
        await clock.sleep(restAfter(clock.monotonicMs() - beganMs), signal).catch(() => {});
        if (signal.aborted) return;
      }
    } finally {
      this.#isReading = false;
    }
  }

  async #readOne(port: string, beganMs: number): Promise<void> {
    const { read, link, emit, log } = this.#options;
    let problem: string | undefined;
    try {
      link.reconcile(port, (await read(port)).filter(isLasting), beganMs);
    } catch (error) {
      log.debug('connections of a port were not read to be copied', { port, error });
      problem = error instanceof Error ? error.message : String(error);
    }
    emit({ kind: 'copiesRead', port, problem, isFull: link.isFull(port) });
  }
}

/** Answered, and not over: worth being held elsewhere. */
export function isLasting({ state, isUnanswered }: Pick<ConnectionEntry, 'state' | 'isUnanswered'>): boolean {
  return (
    (state === undefined && !isUnanswered) ||
    state === 'established' ||
    state === 'fin-wait-1' ||
    state === 'fin-wait' ||
    state === 'close-wait'
  );
}
