import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

const acme = (kind: string, name: string, rest: object = {}) => ({ kind, tenant: 'acme', name, ...rest });
const port = (name: string, network: number, rest: object = {}) =>
  acme('routerPort', name, { router: 'core', switch: name, addresses: [`192.0.2.${network + 2}/29`], ...rest });
const peer = (at: string, network: number) =>
  acme('bgpPeer', at, { router: 'core', routerPort: `core/${at}`, address: `192.0.2.${network + 1}`, asn: 64513 });

/** A router with one uplink in use, one that is not yet, and a filter with state, one without, one that jumps to the first. */
const SITE = [
  ...BASE,
  ...['filter', 'plain', 'outer'].map((name) => acme('chain', name)),
  acme('rule', 'known', { chain: 'filter', position: 10, action: 'accept', match: { state: ['reply'] } }),
  acme('rule', 'web', { chain: 'plain', position: 10, action: 'accept', match: { protocol: 'tcp', dstPorts: '80' } }),
  acme('rule', 'all', { chain: 'outer', position: 10, action: 'jump', jumpTo: 'filter' }),
  acme('router', 'core', { bgp: { asn: 64512 } }),
  acme('routerPort', 'lan', { router: 'core', switch: 'lan', addresses: ['10.0.0.3/24'], inChain: 'filter' }),
  ...['up-1', 'up-2'].map((name) => acme('switch', name)),
  ...[port('up-1', 0, { inChain: 'filter' }), port('up-2', 8), peer('up-1', 0)],
];
const refused = (at: string): string =>
  `stateful-uplink routerPort acme/core/${at} inChain: rule acme/filter/known asks for the state of connections, and router acme/core has other uplinks, by which their other packets may come`;

/** First what is there already beside the site, then what is applied, and every problem of that. */
const CASES: readonly (readonly [string, readonly object[], readonly object[], ...problems: string[]])[] = [
  ['with state at the only uplink, and at ports that are none', [], [peer('up-1', 0)]],
  ['with state, when there is another uplink', [], [peer('up-2', 8)], refused('up-1')],
  [
    'with state at one of two, by a jump',
    [port('up-1', 0), peer('up-2', 8)],
    [port('up-2', 8, { inChain: 'outer' })],
    refused('up-2'),
  ],
  [
    'that comes to ask for state at both of two',
    ['up-1', 'up-2'].flatMap((name, n) => [port(name, 8 * n, { inChain: 'plain' }), peer(name, 8 * n)]),
    [acme('rule', 'more', { chain: 'plain', position: 20, action: 'jump', jumpTo: 'filter' })],
    ...['up-1', 'up-2'].map(refused),
  ],
  [
    'without state, or on the way out',
    [port('up-1', 0), peer('up-2', 8)],
    [port('up-1', 0, { inChain: 'plain' }), port('up-2', 8, { outChain: 'filter' })],
  ],
];

for (const [what, before, objects, ...wanted] of CASES)
  test(`uplinks: a filter ${what} is ${wanted.length === 0 ? 'fine' : 'refused'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(SITE), []);
    assert.deepEqual(model.apply(before), []);
    const problems = model
      .apply(objects)
      .map(({ code, object, path, message }) => `${code} ${object} ${path}: ${message}`);
    assert.deepEqual(problems.sort(), wanted);
  });
