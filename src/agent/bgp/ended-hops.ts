import type { SpeakerPlan } from './plan.ts';

/**
 * The next hops to which nothing is to go, of peers whose sessions ended a moment ago (addresses as text). Routes of a peer on a network of
 * ours have its address, those of one that is more than a hop away the next hops by which it is reached; where another peer's routes may have the
 * same they are left to zebra, which takes back the right ones in a second or two.
 */
export function endedHops(
  { peers, routes }: Pick<SpeakerPlan, 'peers' | 'routes'>,
  ended: readonly string[],
): readonly string[] {
  const hopsOf = (address: string): readonly string[] => {
    const by = routes.filter(({ to }) => to.startsWith(`${address}/`)).map(({ via }) => via);
    return by.length === 0 ? [address] : by;
  };
  const others = peers.filter(({ address, adminUp }) => adminUp && !ended.includes(address));
  const shared = new Set(others.flatMap(({ address }) => hopsOf(address)));
  return [...new Set(ended.flatMap(hopsOf))].filter((hop) => !shared.has(hop));
}
