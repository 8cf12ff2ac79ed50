import type { ObjectName } from '../compile/compiler.ts';
import type { AgentEvent } from './events.ts';

type CountedFlow = (AgentEvent & { kind: 'counters' })['flows'][number];

/** Counters of flows as those of the objects behind them: totals of rules, packets heard from learned addresses. */
export function sumCounters(
  flows: readonly CountedFlow[],
  objectsOf: (cookie: bigint) => readonly ObjectName[],
): {
  readonly rules: Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>;
  readonly learned: ReadonlyMap<string, number>;
} {
  const rules: Record<string, { packets: number; bytes: number }> = {};
  const learned = new Map<string, number>();
  for (const { cookie, packets, bytes } of flows) {
    for (const { kind, id } of objectsOf(cookie)) {
      if (kind === 'learned') learned.set(id, packets);
      if (kind !== 'rule') continue;
      const total = rules[id] ?? { packets: 0, bytes: 0 };
      rules[id] = { packets: total.packets + packets, bytes: total.bytes + bytes };
    }
  }
  return { rules, learned };
}
