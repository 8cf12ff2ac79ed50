import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';
import { ModelIndex } from './model-index.ts';

const acme = (kind: string, name: string, rest: object = {}) => ({ kind, tenant: 'acme', name, ...rest });

/** How often chains are looked through where many rules jump to one with as many that are refused there. */
function looks(hooks: readonly object[], unfit: object, count: number): number {
  const rules = (chain: string, rest: object): object[] =>
    Array.from({ length: count }, (_, n) => acme('rule', `${chain}-${n}`, { chain, position: n + 1, ...rest }));
  const model = new TrialModel();
  assert.deepEqual(model.apply(BASE), []);
  const ways = ['rulesOfChain', 'referrersOf'] as const;
  const looked = ways.map((way) => mock.method(ModelIndex.prototype, way));
  try {
    const refused = model.apply([
      ...[acme('chain', 'outer'), acme('chain', 'inner'), ...hooks],
      ...rules('outer', { action: 'jump', jumpTo: 'inner' }),
      ...rules('inner', unfit),
    ]);
    assert.equal(refused.filter(({ path }) => path === 'jumpTo').length, count);
    return looked.reduce((sum, each) => sum + each.mock.callCount(), 0);
  } finally {
    for (const each of looked) each.mock.restore();
  }
}

for (const [what, hooks, unfit] of [
  ['a pre-filter', [acme('router', 'edge', { prefilter: 'outer' })], { action: 'reject' }],
  [
    'a router port',
    [
      acme('router', 'edge'),
      acme('routerPort', 'lan', { router: 'edge', switch: 'lan', addresses: ['10.0.0.4/24'], inChain: 'outer' }),
    ],
    { action: 'accept', helper: 'ftp', match: { protocol: 'tcp', dstPorts: '21', state: ['new'] } },
  ],
] as const)
  test(`a chain of ${what} is looked through once, however many jumps to it are refused`, () => {
    assert.equal(looks(hooks, unfit, 60), looks(hooks, unfit, 20));
  });
