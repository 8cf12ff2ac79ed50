import { formatMac } from '../base/addresses.ts';
import type { Compiler } from '../compile/compiler.ts';
import { walkChain } from '../simulate/chains.ts';
import { type Frame, readFrame } from '../simulate/frame.ts';
import { formatFrame } from '../simulate/frame-text.ts';
import type { Effect, PacketIn } from './events.ts';
import type { Ground } from './ground.ts';
import { type Hook, hooksOf } from './logged-at.ts';
import { RateLimit } from './rate-limit.ts';
import type { Scope } from './scope.ts';

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

  handle(packet: PacketIn, nowMs: number): Effect[] {
    const about = this.#explain(packet.cookie).objects.find(({ kind }) => kind === 'rule');
    if (about === undefined) return [];
    const { scope } = this.#ground;
    const perSecond = scope.get('rule', about.id)?.limitPerSecond ?? DEFAULT_PER_SECOND;
    if (!this.#limit.take(about.id, nowMs, { perSecond, burst: perSecond })) return [];
    const text = lineOf(scope, about.id, packet);
    return this.#ground.report([{ type: 'event', atMs: nowMs, level: 'info', about, text }]);
  }
}

/** `chain web, rule ssh: drop by rule rest, tcp 10.0.0.5:49152 → 10.0.1.5:22, from port acme/web-1 on switch front`. */
function lineOf(scope: Scope, ruleId: string, packet: PacketIn): string {
  const frame = readFrame(packet.frame);
  const rule = scope.get('rule', ruleId);
  const chain = rule && scope.get('chain', rule.chain);
  const hooks = hooksOf(scope, packet, frame);
  const found = hooks.map((hook) => ({ hook, said: decisionAt(scope, ruleId, { packet, frame }, hook) }));
  // Without a walk that meets the rule (one was changed a moment ago) the nearest place is named, and no decision.
  const { hook, said } = found.find((each) => each.said !== undefined) ?? { hook: hooks[0], said: undefined };
  const what = frame.ip
    ? formatFrame(frame)
    : `${formatMac(frame.src)} → ${formatMac(frame.dst)} ${formatFrame(frame)}`;
  return [
    `chain ${chain?.name ?? '?'}, rule ${rule?.name ?? ruleId}: ${said ?? 'noted'}`,
    what,
    ...(hook === undefined ? [] : [hook.text]),
  ].join(', ');
}

/** What the chain goes on to say of the packet; undefined where its walk there does not meet the rule. */
function decisionAt(
  scope: Scope,
  ruleId: string,
  { packet, frame }: { readonly packet: PacketIn; readonly frame: Frame },
  hook: Hook,
): string | undefined {
  const chain = scope.get('chain', hook.chain);
  if (chain === undefined) return undefined;
  let isMet = false;
  const met = ({ id }: { readonly id: string }): void => {
    isMet ||= id === ruleId;
  };
  try {
    const judged = { frame, state: { ...packet, mark: 0 } };
    const decision = walkChain(scope, judged, { chain: chain.id, vlan: hook.vlan }, met);
    if (!isMet) return undefined;
    return decision ? `${decision.verdict} by rule ${decision.rule.name}` : `${chain.policy} by policy`;
  } catch {
    // A rule that this agent cannot read: its flows drop (compile/units/chain.ts), and who knows by which of them.
    return undefined;
  }
}
