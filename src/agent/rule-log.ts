import type { Compiler } from '../compile/compiler.ts';
import type { Effect, PacketIn } from './events.ts';
import type { Ground } from './ground.ts';
import { destinationMac, sourceMac } from './packet-in/frame-macs.ts';
import { RateLimit } from './rate-limit.ts';

const DEFAULT_PER_SECOND = 10;
/** Lines a second of all rules together. */
const ALTOGETHER = { perSecond: 500, burst: 1000 } as const;

/**
 * What rules log, each within its `limitPerSecond`. It costs no port's budget: that a rule logs is not the sender's doing. A meter of the
 * switch for logged frames alone holds back what is far beyond.
 */
export class RuleLog {
  readonly #ground: Ground;
  readonly #explain: Compiler['explain'];
  readonly #limit = new RateLimit({ perSecond: DEFAULT_PER_SECOND, burst: DEFAULT_PER_SECOND }, ALTOGETHER);

  constructor(ground: Ground, explain: Compiler['explain']) {
    this.#ground = ground;
    this.#explain = explain;
  }

  handle({ cookie, frame }: PacketIn, nowMs: number): Effect[] {
    const about = this.#explain(cookie).objects.find(({ kind }) => kind === 'rule');
    if (about === undefined) return [];
    const rule = this.#ground.scope.get('rule', about.id);
    const perSecond = rule?.limitPerSecond ?? DEFAULT_PER_SECOND;
    if (!this.#limit.take(about.id, nowMs, { perSecond, burst: perSecond })) return [];
    const text = `rule ${rule?.name ?? about.id} logged a frame of ${frame.length} bytes from ${sourceMac(frame)} to ${destinationMac(frame)}`;
    return this.#ground.report([{ type: 'event', atMs: nowMs, level: 'info', about, text }]);
  }
}
