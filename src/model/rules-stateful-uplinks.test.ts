import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

const acme = (kind: string, name: string, rest: object = {}) => ({ kind, tenant: 'acme', name, ...rest });
const port = (name: string, network: number, rest: object = {}) =>
  acme('routerPort', name, { router: 'core', switch: name, addresses: [`192.0.2.${network + 2}/29`], ...rest });
const peer = (at: string, network: number) =>
  acme('bgpPeer', at, { router: 'core', routerPort: `core/${at}`, address: `192.0.2.${network + 1}`, asn: 64513 });
const rule = (chain: string, name: string, action: string, match: object, rest: object = {}) =>
  acme('rule', name, { chain, position: 10, action, match, ...rest });

/** A router with two uplinks; filters with state, without, one that jumps to the first, and one for each that stops something. */
const SITE = [
  ...BASE,
  ...['filter', 'plain', 'outer', 'stopping', 'drops'].map((name) => acme('chain', name)),
  rule('filter', 'known', 'accept', { state: ['reply', 'related'] }),
  rule('plain', 'web', 'accept', { protocol: 'tcp', dstPorts: '80' }),
  rule('outer', 'all', 'jump', {}, { jumpTo: 'filter' }),
  rule('drops', 'smtp', 'drop', { protocol: 'tcp', dstPorts: '25' }),
  acme('router', 'core', { bgp: { asn: 64512 } }),
  acme('routerPort', 'lan', { router: 'core', switch: 'lan', addresses: ['10.0.0.3/24'], inChain: 'filter' }),
  ...['up-1', 'up-2'].flatMap((name) => [
    acme('switch', name),
    acme('port', `${name}-wire`, { switch: name, portSecurity: false, addresses: [] }),
  ]),
  ...[port('up-1', 0, { inChain: 'filter' }), port('up-2', 8), peer('up-1', 0), peer('up-2', 8)],
];
const STOPS = (name: string): string =>
  `stateful-uplink routerPort acme/core/up-1 inChain: rule acme/stopping/${name} would stop known connections alone, and what is let in here as new is not asked whether it is known`;
const at = (inChain: string): object => port('up-1', 0, { inChain });

/** What is applied, and every problem of that. */
const CASES: readonly (readonly [string, readonly object[], ...problems: string[]])[] = [
  ['with state, by itself or by a jump', [port('up-2', 8, { inChain: 'outer' })]],
  [
    'that drops known connections',
    [at('stopping'), rule('stopping', 'no', 'drop', { state: ['established'] })],
    STOPS('no'),
  ],
  [
    'that drops known connections by several rules',
    [
      at('stopping'),
      rule('stopping', 'no', 'drop', { state: ['established'] }),
      rule('stopping', 'nor', 'drop', { state: ['related'] }, { position: 20 }),
    ],
    `${STOPS('no')} (as does rule acme/stopping/nor)`,
  ],
  [
    'that rejects what is not new',
    [at('stopping'), rule('stopping', 'no', 'reject', { state: ['new'], not: ['state'] })],
    STOPS('no'),
  ],
  [
    'that leads known connections to one that drops',
    [at('stopping'), rule('stopping', 'off', 'jump', { state: ['related'] }, { jumpTo: 'drops' })],
    STOPS('off'),
  ],
  [
    'that leaves out the rest for known connections',
    [at('stopping'), rule('stopping', 'out', 'return', { state: ['reply'] })],
    STOPS('out'),
  ],
  [
    'that drops what is new, invalid, or in any state',
    [
      at('stopping'),
      rule('stopping', 'invalid', 'drop', { state: ['invalid'] }),
      rule('stopping', 'unknown', 'drop', { state: ['established', 'related'], not: ['state'] }, { position: 20 }),
      rule(
        'stopping',
        'smtp',
        'drop',
        { state: ['new', 'established'], protocol: 'tcp', dstPorts: '25' },
        { position: 30 },
      ),
    ],
  ],
  [
    'with state, on a switch with others than wires',
    [acme('port', 'vm', { switch: 'up-1' })],
    'stateful-uplink routerPort acme/core/up-1 inChain: rule acme/filter/known asks for the state of connections, and router acme/core has other uplinks, by which their other packets may come',
  ],
];

for (const [what, objects, ...wanted] of CASES)
  test(`uplinks: a filter ${what} is ${wanted.length === 0 ? 'fine' : 'refused'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(SITE), []);
    const problems = model
      .apply(objects)
      .map(({ code, object, path, message }) => `${code} ${object} ${path}: ${message}`);
    assert.deepEqual(problems.sort(), wanted);
  });
