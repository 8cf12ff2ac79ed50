import { formatIp, parseIp, plus } from '../../src/base/addresses.ts';
import type { Router } from '../../src/model/objects.ts';
import { poolOf, type SnatRule } from '../../src/model/snat.ts';
import type { ModelView } from '../../src/model/view.ts';

/** Of no other router in generated models (src/model/generate-build-routed.ts). */
const BESIDE_FIRST = 5;

/** Each pool shrinks to its first address, and grows again to all that hosts have ports of, and one that none has. */
export function withOtherPools(model: ModelView, router: Router): Router {
  const leased = [...model.leasesOfRouter(router.id)].map(({ address }) => address);
  const other = (rule: SnatRule): SnatRule['to'] => {
    const [first, ...more] = poolOf(rule);
    if (more.length > 0) return first!;
    const all = [first!, formatIp(plus(parseIp(first!)!, BESIDE_FIRST)), ...leased];
    return [...new Set(all)].filter((address) => address.includes(':') === rule.from.includes(':'));
  };
  return { ...router, snat: router.snat.map((rule) => ({ ...rule, to: other(rule) })) };
}
