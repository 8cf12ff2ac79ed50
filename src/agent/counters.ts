import type { Explanation } from '../compile/explain.ts';
import { TABLES } from '../compile/tables.ts';
import type { AgentEvent } from './events.ts';

type CountedFlow = (AgentEvent & { kind: 'counters' })['flows'][number];

export interface Counted {
  readonly packets: number;
  readonly bytes: number;
}

/** Tables whose flows count what groups of ports refuse: of what they send, and of what is sent to them. */
export const REFUSALS: Readonly<Record<number, 'sends' | 'receives'>> = {
  [TABLES.fromPort.number]: 'sends',
  [TABLES.toChain.number]: 'receives',
};

/**
 * Counters of flows as those of the objects behind them: totals of rules, packets heard from learned addresses, and what ports' groups
 * refused, where they did, by `<port>/sends` and `<port>/receives`.
 */
export function sumCounters(
  flows: readonly CountedFlow[],
  explain: (cookie: bigint) => Explanation,
): {
  readonly rules: Readonly<Record<string, Counted>>;
  readonly refused: Readonly<Record<string, Counted>>;
  readonly learned: ReadonlyMap<string, number>;
} {
  const rules: Record<string, Counted> = {};
  const refused: Record<string, Counted> = {};
  const learned = new Map<string, number>();
  const add = (totals: Record<string, Counted>, id: string, { packets, bytes }: CountedFlow): void => {
    const total = totals[id] ?? { packets: 0, bytes: 0 };
    totals[id] = { packets: total.packets + packets, bytes: total.bytes + bytes };
  };
  for (const flow of flows) {
    const way = REFUSALS[flow.table];
    if (way !== undefined && flow.packets === 0) continue;
    const { units, objects } = explain(flow.cookie);
    if (way !== undefined) {
      if (units[0]?.startsWith('refusals/')) add(refused, `${units[0].slice('refusals/'.length)}/${way}`, flow);
      continue;
    }
    for (const { kind, id } of objects) {
      if (kind === 'learned') learned.set(id, flow.packets);
      if (kind === 'rule') add(rules, id, flow);
    }
  }
  return { rules, refused, learned };
}
