import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatCidr, parseCidr } from '../../base/addresses.ts';
import type { LearnedHop } from '../../model/objects.ts';
import { routesIn } from '../../model/packed-routes.ts';
import { LearnedTable } from './learned-table.ts';

const HOPS: readonly (readonly LearnedHop[])[] = ['192.0.2.1', '192.0.2.2', '2001:db8::1'].map((address) => [
  { address, routerPort: 'u1', weight: 1 },
]);
const networks = fc
  .tuple(fc.integer({ min: 0, max: 90 }), fc.boolean())
  .map(([n, isV6]) => (isV6 ? `2001:db8:${(n + 1).toString(16)}::/48` : `10.${n}.0.0/16`));
const steps = fc.oneof(
  fc.record({ do: fc.constant('put' as const), to: networks, hop: fc.nat({ max: 2 }) }),
  fc.record({ do: fc.constant('delete' as const), to: networks }),
  fc.record({ do: fc.constant('keep' as const), to: fc.array(networks, { maxLength: 60 }) }),
  fc.record({ do: fc.constant('take' as const) }),
  fc.record({ do: fc.constant('restart' as const) }),
);

/** What records say: network → first next hop. */
function saidBy(table: LearnedTable): Map<string, string | undefined> {
  const { sets, blocks } = table.all();
  const hops = new Map(sets.map(({ set, via }) => [set, via[0]!.address]));
  const said = blocks.flatMap(({ routes }) => [...routesIn(routes)]);
  assert.deepEqual(new Set(hops.keys()), new Set(said.map(({ set }) => set)), 'the sets that are used, and no others');
  return new Map(said.map(({ to, set }) => [formatCidr(to), hops.get(set)]));
}

test('after any changes, and with an agent that begins from its records, these say what was put', () => {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 200 }), (list) => {
      let table = new LearnedTable('r1', 'h1');
      const held = new Map<string, string | undefined>();
      for (const step of list) {
        if (step.do === 'put') {
          table.put(parseCidr(step.to)!, HOPS[step.hop]!);
          held.set(step.to, HOPS[step.hop]![0]!.address);
        } else if (step.do === 'delete') {
          table.delete(parseCidr(step.to)!);
          held.delete(step.to);
        } else if (step.do === 'keep') {
          table.keep(step.to.map((to) => parseCidr(to)!));
          for (const to of held.keys()) if (!step.to.includes(to)) held.delete(to);
        } else {
          table.take();
          assert.deepEqual(saidBy(table), held);
          if (step.do === 'take') continue;
          const { sets, blocks } = table.all();
          table = new LearnedTable('r1', 'h1');
          // The disk's and then the server's, which may be the same.
          for (const record of [...sets, ...blocks, ...blocks]) table.adopt(record);
        }
      }
      table.take();
      assert.deepEqual(saidBy(table), held);
      assert.deepEqual(table.take(), { sets: [], blocks: [], goneSets: [], goneBlocks: [] });
    }),
  );
});
