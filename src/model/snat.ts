import { cidrContains, type Ip, parseCidr } from '../base/addresses.ts';
import type { Router } from './objects.ts';

/** The rule by which a router translates what comes from this source: that of the narrowest network, of two for one network the first. */
export function snatRuleFor({ snat }: Pick<Router, 'snat'>, source: Ip): Router['snat'][number] | undefined {
  let [best, bestPrefix]: [Router['snat'][number] | undefined, number] = [undefined, -1];
  for (const rule of snat) {
    const network = parseCidr(rule.from)!;
    if (network.prefix > bestPrefix && cidrContains(network, source)) [best, bestPrefix] = [rule, network.prefix];
  }
  return best;
}
