import type { Compiler } from '../compile/compiler.ts';
import type { Reason } from '../compile/tables.ts';
import type { AgentEvent } from './events.ts';

type Counted = AgentEvent & { kind: 'counters' };

export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

const TOO_BIG: Reason = 'too-big';

/** Of drops: `reason kind/id` of the router port, address or whatever else has it, or only the reason. */
export interface Counters {
  readonly rules: Readonly<Record<string, Count>>;
  readonly drops: Readonly<Record<string, Count>>;
  readonly learned: ReadonlyMap<string, number>;
}

/**
 * Counters of flows and meters as those of the objects behind them: totals of rules and drops, packets heard from learned addresses.
 * What was too large is `tooBig`, as the agent counted it: Open vSwitch credits the flows behind both answers of `check_pkt_larger` with every
 * packet that was asked, the small ones too (ofproto-dpif-xlate.c translates both).
 */
export function sumCounters(
  { flows, meters = new Map() }: Counted,
  compiler: Pick<Compiler, 'explain' | 'meters'>,
  tooBig: Count,
): Counters {
  const rules: Record<string, Count> = {};
  const drops: Record<string, Count> = {};
  const learned = new Map<string, number>();
  const add = (to: Record<string, Count>, name: string, { packets, bytes }: Count): void => {
    const total = to[name] ?? { packets: 0, bytes: 0 };
    to[name] = { packets: total.packets + packets, bytes: total.bytes + bytes };
  };
  for (const { cookie, ...count } of flows) {
    const { objects, reason } = compiler.explain(cookie);
    for (const { kind, id } of objects) {
      if (kind === 'learned') learned.set(id, count.packets);
      if (kind === 'rule') add(rules, id, count);
    }
    // What a rule says is done behind its chain, and counted there.
    if (reason === undefined || count.packets === 0 || objects.some(({ kind }) => kind === 'rule')) continue;
    if (reason === TOO_BIG) continue;
    add(drops, objects.length === 1 ? `${reason} ${objects[0]!.kind}/${objects[0]!.id}` : reason, count);
  }
  const limits = compiler.meters();
  for (const [meter, count] of meters) {
    const of = limits.get(meter)?.of;
    if (of !== undefined && count.packets > 0) add(drops, `inbound-limit ${of.kind}/${of.id}`, count);
  }
  if (tooBig.packets > 0) add(drops, TOO_BIG, tooBig);
  return { rules, drops, learned };
}
