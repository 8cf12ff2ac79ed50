import { cidrContains, formatIp, type Ip, parseCidr } from '../base/addresses.ts';
import { addressesIn, parseAddressRange } from './address-pool.ts';
import type { Router } from './objects.ts';
import { shares } from './shares.ts';

/**
 * To which address a router translates a source (docs/design/layer3.md, §7): the narrowest rule says from which pool, and the low bits of the source
 * say which of that. So all connections of a workload have one public address (RFC 4787, REQ-2), on whichever host it is.
 */
export type SnatRule = Router['snat'][number];

/** The rule by which a router translates what comes from this source: that of the narrowest network, of two for one network the first. */
export function snatRuleFor({ snat }: Pick<Router, 'snat'>, source: Ip): SnatRule | undefined {
  let [best, bestPrefix]: [SnatRule | undefined, number] = [undefined, -1];
  for (const rule of snat) {
    const network = parseCidr(rule.from)!;
    if (network.prefix > bestPrefix && cidrContains(network, source)) [best, bestPrefix] = [rule, network.prefix];
  }
  return best;
}

/** So many slots have sources, too. Every address costs flows on each host with a workload behind it, and blocks of ports. */
export const MOST_IN_POOL = 64;

const pools = new WeakMap<SnatRule, readonly string[]>();
/** The addresses that a rule translates to, each once, as they are written. */
export function poolOf(rule: SnatRule): readonly string[] {
  const known = pools.get(rule);
  if (known) return known;
  const written = [rule.to].flat().flatMap((text) => [...addressesIn(parseAddressRange(text)!)].map(formatIp));
  const pool = [...new Set(written)];
  pools.set(rule, pool);
  return pool;
}

const owners = new WeakMap<SnatRule, readonly string[]>();
/**
 * Which address of the pool each slot has. The slot of a source is its low six bits; there are always as many, so that an address that comes or goes
 * moves its share of the sources and at most a fifth of all beside them.
 */
export function poolSlots(rule: SnatRule): readonly string[] {
  const known = owners.get(rule);
  if (known) return known;
  const entries = poolOf(rule).map((id) => ({ id, weight: 1 }));
  const slots = shares(entries, MOST_IN_POOL);
  owners.set(rule, slots);
  return slots;
}

/** The address of the rule's pool that this source gets. */
export function pooledAddress(rule: SnatRule, source: Ip): string {
  const slots = poolSlots(rule);
  return slots[Number(BigInt(source.value) % BigInt(slots.length))]!;
}

/** What this source becomes; undefined for what no rule translates. */
export function snatAddressFor(router: Pick<Router, 'snat'>, source: Ip): string | undefined {
  const rule = snatRuleFor(router, source);
  return rule && pooledAddress(rule, source);
}

const all = new WeakMap<Router['snat'], ReadonlySet<string>>();
/** All addresses that a router translates to. */
export function snatAddresses({ snat }: Pick<Router, 'snat'>): ReadonlySet<string> {
  const known = all.get(snat);
  if (known) return known;
  const addresses = new Set(snat.flatMap(poolOf));
  all.set(snat, addresses);
  return addresses;
}

export function translatesTo(router: Pick<Router, 'snat'> | undefined, address: string): boolean {
  return router !== undefined && snatAddresses(router).has(address);
}
