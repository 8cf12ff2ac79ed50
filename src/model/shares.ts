/**
 * Shares out slots by weight (docs/design/layer3.md, §9): used for next hops and for members of load balancers. Every host comes to
 * the same result from the same ids, and an id that comes or goes moves little more than its own share.
 */
export function shares(entries: readonly { readonly id: string; readonly weight: number }[], slots: number): string[] {
  if (entries.length === 0) return [];
  const left = quotas(entries, slots);
  const taken: string[] = [];
  for (let slot = 0; slot < slots; slot++) {
    let best: string | undefined;
    let bestScore = -1;
    for (const [id, quota] of left) {
      if (quota === 0) continue;
      const own = score(slot, id);
      if (own > bestScore || (own === bestScore && id < best!)) {
        best = id;
        bestScore = own;
      }
    }
    left.set(best!, left.get(best!)! - 1);
    taken.push(best!);
  }
  return taken;
}

const FEWEST_SLOTS = 32;
const MOST_SLOTS = 1024;
/** How far a member's share may be from its weight, in parts of that. */
const MOST_OFF = 0.05;
/** Of all, from which on a share counts: those below would take more slots than there are. */
const LEAST_SHARE = 0.02;

/**
 * How many slots a load balancer with such members needs, so that every share of 2 % and more is within 5 % of its weight: a power of two, and no
 * more than that, since every VIP costs its slots in flows on every host that knows it.
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
      return weight < LEAST_SHARE * total || Math.max(most - exact, exact - least) <= MOST_OFF * exact;
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
function quotas(
  entries: readonly { readonly id: string; readonly weight: number }[],
  slots: number,
): Map<string, number> {
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
