import { isDeepStrictEqual } from 'node:util';
import type { Router } from '../../src/model/objects.ts';
import { poolOf, type SnatRule } from '../../src/model/snat.ts';
import type { ModelView } from '../../src/model/view.ts';

/** Each pool shrinks to its first address, and grows again to all that hosts have ports of. */
export function withOtherPools(model: ModelView, router: Router): Router | undefined {
  const leased = [...model.leasesOfRouter(router.id)].map(({ address }) => address);
  const other = (rule: SnatRule): SnatRule['to'] => {
    const [first, ...more] = poolOf(rule);
    if (more.length > 0) return first!;
    return [...new Set([first!, ...leased])].filter((address) => address.includes(':') === rule.from.includes(':'));
  };
  const snat = router.snat.map((rule) => ({ ...rule, to: other(rule) }));
  return isDeepStrictEqual(snat, router.snat) ? undefined : { ...router, snat };
}
