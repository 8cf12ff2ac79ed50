import type { Contribution } from '../incremental/definitions.ts';
import type { Action, Match } from '../openflow/flow.ts';
import { load, REGISTERS } from './fields.ts';
import { type FlowTarget, flow } from './flow-sink.ts';
import { TABLES, type TableName } from './tables.ts';

/**
 * Lists of copies that may be longer than a flow: to hosts, to ports, to members of a balancer.
 *
 *   few    where             actions: first, copy, copy, …, then last
 *   many   where, chunk=0    actions: first, chunk=1 -> table, chunk=2 -> table, …, then last
 *          where, chunk=1    actions: chunk=0, copy, copy, …
 *          where, chunk=2    actions: chunk=0, copy, …
 */

/**
 * Copies per flow. A flow-mod holds 64 KB, and a copy is up to 136 bytes of actions: one that is handed over to a host with an IPv6 address
 * (units/hand-off.ts). Open vSwitch follows 4,096 resubmits a packet: tracked ports cost two each, ports without chains, tags or states none.
 */
export const COPIES_PER_FLOW = 450;

export interface Copies {
  /** Done once, before all copies. */
  readonly first?: readonly Action[];
  readonly copies: readonly (readonly Action[])[];
  /** What comes behind them. */
  readonly last?: FlowTarget;
}

/** Copies leave nothing behind that is asked for in `where`, and in `chunk` there is nothing but here. */
export function chunked(
  table: TableName,
  priority: number,
  where: Match,
  { first = [], copies, last = {} }: Copies,
): Contribution[] {
  const whole = (target: readonly Action[]): FlowTarget => ({
    ...last,
    do: [...first, ...target, ...(last.do ?? [])],
  });
  if (copies.length <= COPIES_PER_FLOW) return [flow(table, priority, where, whole(copies.flat()))];
  const flows: Contribution[] = [];
  const runs: Action[] = [];
  for (let from = 0, chunk = 1; from < copies.length; from += COPIES_PER_FLOW, chunk++) {
    const part = copies.slice(from, from + COPIES_PER_FLOW).flat();
    flows.push(flow(table, priority, inChunk(where, chunk), { do: [...load({ chunk: 0 }), ...part] }));
    runs.push(...load({ chunk }), { kind: 'resubmit', table: TABLES[table].number });
  }
  return [flow(table, priority, inChunk(where, 0), whole(runs)), ...flows];
}

/** `where` may ask for other bits of that word. */
function inChunk(where: Match, chunk: number): Match {
  const { field, from, bits } = REGISTERS.chunk;
  const there = where[field] ?? { value: 0, mask: 0 };
  const { value, mask } = typeof there === 'object' ? there : { value: there, mask: 0xffff_ffff };
  const own = ((1 << bits) - 1) << from;
  return {
    ...where,
    [field]: { value: ((Number(value) & ~own) | (chunk << from)) >>> 0, mask: (Number(mask) | own) >>> 0 },
  };
}
