import type { Ip } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { ecmpShares, FEWEST_HOP_SLOTS } from '../../model/shares.ts';
import type { Action, Masked } from '../../openflow/flow.ts';
import { setCover } from '../bits.ts';
import { IPV4, IPV6, load, match, move, REGISTERS, set } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { TABLES } from '../tables.ts';

/**
 * Several next hops for the same packets (docs/design/layer3.md, §6.7): a packet's slot is what the low bits of its source and destination
 * say together, XORed, so that both directions have the same.
 *
 *   route ─▶ spread ─▶ ecmp            the usual 16 slots: four bits
 *   route ────────────▶ ecmp           static routes that have more slots find them by themselves,
 *   route ─▶ spread (the set) ─▶ ecmp  and learned ones by a flow for their set of next hops
 */
const MIX = { flip: 30_000, done: 29_000 } as const;
/** In `spread`: a named set of next hops with more slots than usual. */
const WIDE_SET = 100;
const USUAL_BITS = 4;

/** The next hops of a route: each once. */
export interface SharedHop {
  readonly via: string;
  readonly hop: Ip;
  /** Key of the router port that leads there. */
  readonly port: number;
  readonly weight: number;
}

/** Who of several next hops has which slots. */
export interface Spread {
  /** Of a slot's number: 4 to 8. */
  readonly bits: number;
  readonly isWide: boolean;
  readonly parts: readonly { readonly hop: SharedHop; readonly slots: readonly Masked[] }[];
}

export function spreadOver(hops: readonly SharedHop[]): Spread {
  const owners = ecmpShares(hops.map(({ via, weight }) => ({ id: via, weight })));
  const bits = Math.log2(owners.length);
  const own = new Map<string, number[]>();
  for (const [slot, via] of owners.entries()) {
    const slots = own.get(via);
    if (slots === undefined) own.set(via, [slot]);
    else slots.push(slot);
  }
  const parts = hops.map((hop) => ({ hop, slots: setCover(own.get(hop.via) ?? [], bits) }));
  return { bits, isWide: owners.length > FEWEST_HOP_SLOTS, parts };
}

/** Which hop is next, and the port towards it. */
export function towards(hop: Ip, routerPort: number): Action[] {
  return [set('xxreg2', BigInt(hop.value)), ...load({ routerPort })];
}

/** A flow for each part of the slots: `flowIn` puts it where the packets are that have them. */
export function slotFlows(
  { parts, isWide }: Spread,
  flowIn: (ecmpSlot: Masked, target: FlowTarget) => Contribution,
): Contribution[] {
  // Where packets are tracked on their way out, what is in registers is what megaflows behind that are told apart by.
  const forget = isWide ? load({ ecmpSlot: 0 }) : [];
  return parts.flatMap(({ hop: { hop, port }, slots }) =>
    slots.map((slot) => flowIn(slot, { do: [...forget, ...towards(hop, port)], goto: 'outChain' })),
  );
}

/** Finds the slot: XORs one set bit more of `ecmpOther` into `ecmpSlot` each time that it asks `ecmp`. */
export function findSlot(version: 4 | 6, bits: number): Action[] {
  const [src, dst] = version === 4 ? (['ip_src', 'ip_dst'] as const) : (['ipv6_src', 'ipv6_dst'] as const);
  const mix: Action = { kind: 'resubmit', table: TABLES.ecmp.number };
  const part = (of: 'ecmpSlot' | 'ecmpOther') => ({ ...REGISTERS[of], bits });
  return [
    ...load({ ecmpOther: 0, ecmpMixing: 1 }),
    move({ field: src, from: 0, bits }, part('ecmpSlot')),
    move({ field: dst, from: 0, bits }, part('ecmpOther')),
    ...Array<Action>(bits).fill(mix),
    ...load({ ecmpMixing: 0 }),
  ];
}

/** What learned routes need whose set of next hops, `xxreg2`, has more slots than usual. */
export function wideSetFlows({ bits, isWide }: Spread, xxreg2: bigint): Contribution[] {
  if (!isWide) return [];
  const find = ([ip, version]: readonly [typeof IPV4 | typeof IPV6, 4 | 6]): Contribution =>
    flow('spread', WIDE_SET, match({}, { ...ip, xxreg2 }), { do: findSlot(version, bits), goto: 'ecmp' });
  return [...[[IPV4, 4] as const, [IPV6, 6] as const].map(find), ...mixing(USUAL_BITS, bits)];
}

/** The flows by which a static route's packets find their slot, and the table where they do. */
export function wayToSlot({ bits, isWide }: Spread, version: 4 | 6): FlowTarget & { readonly more: Contribution[] } {
  if (!isWide) return { goto: 'spread', more: [] };
  return { do: findSlot(version, bits), goto: 'ecmp', more: mixing(USUAL_BITS, bits) };
}

export function ecmpBase(): Contribution[] {
  return [
    // Not in each of a hundred thousand routes.
    flow('spread', 0, IPV4, { do: findSlot(4, USUAL_BITS), goto: 'ecmp' }),
    flow('spread', 0, IPV6, { do: findSlot(6, USUAL_BITS), goto: 'ecmp' }),
    flow('ecmp', MIX.done, match({ ecmpMixing: 1 }), {}),
    ...mixing(0, USUAL_BITS),
  ];
}

/** XORs a bit of `ecmpOther` that is set, and takes it away. */
function mixing(first: number, end: number): Contribution[] {
  const flows: Contribution[] = [];
  for (let bit = first; bit < end; bit++) {
    const one = 1 << bit;
    for (const now of [0, one]) {
      const where = match({
        ecmpMixing: 1,
        ecmpSlot: { value: now, mask: one },
        ecmpOther: { value: one, mask: one },
      });
      const flip: Action[] = [
        {
          kind: 'load',
          value: now === 0 ? 1 : 0,
          dst: { ...REGISTERS.ecmpSlot, from: REGISTERS.ecmpSlot.from + bit, bits: 1 },
        },
        { kind: 'load', value: 0, dst: { ...REGISTERS.ecmpOther, from: REGISTERS.ecmpOther.from + bit, bits: 1 } },
      ];
      flows.push(flow('ecmp', MIX.flip + bit, where, { do: flip }));
    }
  }
  return flows;
}
