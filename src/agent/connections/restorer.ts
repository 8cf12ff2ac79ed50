import type { Clock } from '../../base/clock.ts';
import { WeftError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { parseDump, type Tracked, tupleText } from './dump.ts';
import type { EntryInZone } from './recreate.ts';
import { MOST_RECREATED, type Recreator } from './recreator.ts';

export interface RestorerOptions {
  /** What was read last: a dump. */
  readonly lastRead: () => string;
  /** How many connections the datapath has. Errors: `WeftError`. */
  readonly count: () => Promise<number>;
  /** Zones count what is in them from now on. */
  readonly limited: () => Promise<void>;
  readonly recreator: Recreator;
  /** Translations are there again, then all is. */
  readonly restored: (isAll: boolean) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** The control socket is there a moment after the bridge is. */
const TRIES = 20;
const TRY_MS = 100;

/**
 * Gives Open vSwitch the connections back that it had before it was restarted, as they were last read (docs/design/flow-database.md, §5). What is translated
 * comes first, before any flow; what filters know comes behind them, while nothing new begins.
 */
export class Restorer {
  readonly #options: RestorerOptions;
  #remembered = '';

  constructor(options: RestorerOptions) {
    this.#options = options;
  }

  /** The switch is gone: what is read from now on may be of another one. */
  switchLost(): void {
    this.#remembered = this.#options.lastRead();
  }

  /** Whatever comes of it, flows wait no longer. */
  async run(): Promise<void> {
    const { restored, log } = this.#options;
    try {
      await this.#run();
    } catch (error) {
      log.error('connections were not made again', { error });
      restored(false);
      restored(true);
    }
  }

  async #run(): Promise<void> {
    const { restored, recreator, log } = this.#options;
    const text = this.#remembered;
    const lost = text === '' || !(await this.#isEmpty()) ? [] : (await parseDump(text)).filter(({ isOver }) => !isOver);
    const translated = lost.filter(isTranslated).slice(0, MOST_RECREATED);
    const plain = lost.filter((one) => !isTranslated(one)).slice(0, MOST_RECREATED - translated.length);
    const inZones = (entries: readonly Tracked[]): EntryInZone[] =>
      entries.map((entry) => ({ entry, zone: entry.zone }));
    if (lost.length > 0) await this.#options.limited();
    await recreator.perform({ make: inZones(translated) });
    restored(false);
    await recreator.perform({ make: inZones(plain) });
    restored(true);
    if (lost.length > 0)
      log.info('Open vSwitch was restarted: it has its connections again', {
        entries: translated.length + plain.length,
        ...(lost.length > MOST_RECREATED ? { leftOut: lost.length - MOST_RECREATED } : {}),
      });
  }

  /** Has it none, but for those that began since it is there? When it does not answer: no. */
  async #isEmpty(): Promise<boolean> {
    const { count, clock, signal, log } = this.#options;
    for (let tries = 0; tries < TRIES && !signal.aborted; tries++)
      try {
        return (await count()) < FEW;
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        log.debug('connections were not counted', { error });
        await clock.sleep(TRY_MS, signal).catch(() => {});
      }
    return false;
  }
}

/** Without flows none begins. */
const FEW = 10;

function isTranslated({ protocol, original, reply }: Tracked): boolean {
  return tupleText(protocol, { ...original }) !== tupleText(protocol, { ...reply, from: reply.to, to: reply.from });
}
