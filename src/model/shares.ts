/**
 * Shares out slots by weight (docs/design/layer3.md, §9): used for next hops and for members of load balancers. Every host comes to
 * the same result from the same ids, and an id that comes or goes moves little more than its own share.
 */
export function shares(entries: readonly Entry[], slots: number): string[] {
  return shareOut(entries, slots, slots);
}

interface Entry {
  readonly id: string;
  readonly weight: number;
}

/** The ids rank alike for slots that are equal modulo `alike`, a power of two, and these are given away together. */
function shareOut(entries: readonly Entry[], slots: number, alike: number): string[] {
  if (entries.length === 0) return [];
  const left = quotas(entries, slots);
  const taken = Array<string>(slots);
  for (let first = 0; first < alike; first++) {
    const ranked = entries.map(({ id }) => ({ id, rank: score(first, id) }));
    for (let slot = first; slot < slots; slot += alike) {
      let best: (typeof ranked)[number] | undefined;
      for (const one of ranked)
        if (left.get(one.id)! > 0 && (!best || one.rank > best.rank || (one.rank === best.rank && one.id < best.id)))
          best = one;
      left.set(best!.id, left.get(best!.id)! - 1);
      taken[slot] = best!.id;
    }
  }
  return taken;
}

export const FEWEST_HOP_SLOTS = 16;
const MOST_HOP_SLOTS = 256;
/** How far a next hop's share may be from its weight: one part in so many of that. Of three with equal weights 16 slots are enough. */
const HOP_SHARE_OFF = 8;
/** One part in so many of all, from which on that is asked of a share; below it has a slot, and no more is asked. */
const LEAST_HOP_SHARE = 50;

/**
 * Who of the next hops of an ECMP route has each slot: of 16, which nearly all routes do with, or of as many as give everyone one and no share of 2 % and
 * more is further from its weight than an eighth of that, up to 256. Twice as many slots are given away as half of them would be, as near as rounding lets
 * them: so a next hop that comes or goes moves little more than its share also where it changes how many there are.
 */
export function ecmpShares(hops: readonly Entry[]): string[] {
  let slots = FEWEST_HOP_SLOTS;
  while (slots < MOST_HOP_SLOTS && !isFairTo(hops, slots)) slots *= 2;
  return shareOut(hops, slots, FEWEST_HOP_SLOTS);
}

function isFairTo(hops: readonly Entry[], slots: number): boolean {
  const quota = quotas(hops, slots);
  const total = hops.reduce((sum, { weight }) => sum + weight, 0);
  return hops.every(({ id, weight }) => {
    const own = quota.get(id)!;
    const off = Math.abs(own * total - slots * weight);
    return own > 0 && (weight * LEAST_HOP_SHARE < total || off * HOP_SHARE_OFF <= slots * weight);
  });
}

const FEWEST_SLOTS = 32;
const MOST_SLOTS = 1024;
/** How far a member's share may be from its weight, in parts of that. */
const MOST_OFF = 0.05;
/** The same of shares below `LEAST_SHARE` of all: nearer would take more slots than there are. */
const MOST_OFF_SMALL = 0.25;
const LEAST_SHARE = 0.02;

/**
 * How many slots a load balancer with such members needs, so that every share of 2 % and more is within 5 % of its weight, and each below that within a
 * quarter, as far as 1,024 slots go: a power of two, and no more than that, since every VIP costs its slots in flows on every host that knows it.
 */
export function slotsFor(members: readonly { readonly weight: number }[]): number {
  const total = members.reduce((sum, { weight }) => sum + weight, 0);
  const isFair = (slots: number): boolean => {
    const parts = members.map(({ weight }) => partOf(weight, total, slots));
    const open = slots - parts.reduce((sum, { whole }) => sum + whole, 0);
    // Of those with the remainder of the last who gets one more, ids say who goes without.
    const last = open === 0 ? Number.POSITIVE_INFINITY : parts.map(({ rest }) => rest).sort((a, b) => b - a)[open - 1]!;
    const isTie = parts.filter(({ rest }) => rest >= last).length > open;
    return members.every(({ weight }, at) => {
      const { whole, rest } = parts[at]!;
      const exact = (slots * weight) / total;
      const most = whole + (rest >= last ? 1 : 0);
      const least = isTie && rest === last ? whole : most;
      const mostOff = weight < LEAST_SHARE * total ? MOST_OFF_SMALL : MOST_OFF;
      return Math.max(most - exact, exact - least) <= mostOff * exact;
    });
  };
  let slots = FEWEST_SLOTS;
  while (slots < MOST_SLOTS && !isFair(slots)) slots *= 2;
  return slots;
}

/**
 * The slots of a load balancer whose members change: more where these need more, never fewer. `given`: what it has, or a person wants; who wants
 * fewer than the members `before` needed keeps them.
 */
export function grownSlots(
  given: number | undefined,
  members: readonly { readonly weight: number }[],
  before: readonly { readonly weight: number }[] | undefined,
): number {
  const needed = slotsFor(members);
  if (given === undefined) return needed;
  return before !== undefined && given >= slotsFor(before) ? Math.max(given, needed) : given;
}

/** Largest remainders; of equal ones the smaller id first. */
function quotas(entries: readonly Entry[], slots: number): Map<string, number> {
  const total = entries.reduce((sum, { weight }) => sum + weight, 0);
  const exact = entries.map(({ id, weight }) => ({ id, ...partOf(weight, total, slots) }));
  let open = slots - exact.reduce((sum, { whole }) => sum + whole, 0);
  const byRest = exact.toSorted((a, b) => b.rest - a.rest || (a.id < b.id ? -1 : 1));
  const quota = new Map<string, number>();
  for (const { id, whole } of byRest) quota.set(id, whole + (open-- > 0 ? 1 : 0));
  return quota;
}

/** Whole slots, and what remains in parts of the total. */
function partOf(weight: number, total: number, slots: number): { readonly whole: number; readonly rest: number } {
  const numerator = slots * weight;
  return { whole: Math.floor(numerator / total), rest: numerator % total };
}

/** FNV-1a of `<slot>/<id>`, finished as murmur3 does: 32 bits. */
function score(slot: number, id: string): number {
  let hash = 0x811c_9dc5;
  const text = `${slot}/${id}`;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85eb_ca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
