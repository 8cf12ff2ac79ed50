import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

const acme = (kind: string, name: string, rest: object = {}) => ({ kind, tenant: 'acme', name, ...rest });
const rule = (name: string, position: number, rest: object) => acme('rule', name, { chain: 'web', position, ...rest });

/** A router that faces a shared switch of its own tenant, and one that a wire leads to. */
const PROTECTED = [
  ...BASE,
  acme('chain', 'web', { policy: 'drop' }),
  acme('chain', 'common'),
  rule('tcp', 10, { match: { protocol: 'tcp', dstPorts: '80' }, action: 'accept' }),
  rule('more', 20, { action: 'jump', jumpTo: 'common' }),
  acme('chain', 'stateful'),
  acme('rule', 'new', { chain: 'stateful', position: 10, match: { state: ['new'] }, action: 'drop' }),
  acme('chain', 'polite'),
  acme('rule', 'no', { chain: 'polite', position: 10, action: 'reject' }),
  acme('switch', 'public', { shared: true }),
  acme('router', 'edge', { prefilter: 'web' }),
  acme('routerPort', 'lan', { router: 'edge', switch: 'lan', addresses: ['10.0.0.4/24'] }),
  acme('routerPort', 'out', { router: 'edge', switch: 'public', outside: true, addresses: ['203.0.113.2/24'] }),
  acme('routerPort', 'loose-end', { router: 'edge', addresses: ['192.0.2.2/30'] }),
];

const CASES: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  ['one of a router that jumps', [acme('switch', 'public', { shared: true, prefilter: 'web' })]],
  [
    'a chain that asks for states',
    [acme('router', 'edge', { prefilter: 'stateful' })],
    'prefilter router acme/edge prefilter: rule acme/stateful/new asks for the state of connections, which a pre-filter knows nothing of',
  ],
  [
    'a chain that rejects',
    [acme('switch', 'public', { shared: true, prefilter: 'polite' })],
    'prefilter switch acme/public prefilter: rule acme/polite/no rejects, and a pre-filter answers nobody',
  ],
  [
    'a chain that does both, by several rules',
    [
      acme('rule', 'more', { chain: 'polite', position: 80, action: 'reject' }),
      acme('rule', 'asks', { chain: 'polite', position: 81, match: { state: ['new'] }, action: 'reject' }),
      acme('switch', 'public', { shared: true, prefilter: 'polite' }),
    ],
    'prefilter switch acme/public prefilter: rule acme/polite/asks asks for the state of connections, which a pre-filter knows nothing of',
    'prefilter switch acme/public prefilter: rule acme/polite/no rejects, and a pre-filter answers nobody (as do rule acme/polite/more, rule acme/polite/asks)',
    'prefilter rule acme/polite/asks match.state: its chain is a pre-filter of switch acme/public, and it asks for the state of connections, which a pre-filter knows nothing of',
    'prefilter rule acme/polite/more action: its chain is a pre-filter of switch acme/public, and it rejects, and a pre-filter answers nobody',
    'prefilter rule acme/polite/asks action: its chain is a pre-filter of switch acme/public, and it rejects, and a pre-filter answers nobody',
  ],
  [
    'a rule that makes a chain unfit, jumps followed',
    [acme('rule', 'late', { chain: 'common', position: 10, match: { state: ['invalid'] }, action: 'drop' })],
    'prefilter rule acme/common/late match.state: its chain is a pre-filter of router acme/edge, and it asks for the state of connections, which a pre-filter knows nothing of',
  ],
  [
    'a jump to an unfit chain',
    [rule('worse', 30, { action: 'jump', jumpTo: 'polite' })],
    'prefilter rule acme/web/worse jumpTo: its chain is a pre-filter of router acme/edge, and rule acme/polite/no rejects, and a pre-filter answers nobody',
  ],
  [
    'a source check where a wire may be',
    [acme('routerPort', 'lan', { router: 'edge', switch: 'lan', addresses: ['10.0.0.4/24'], sourceCheck: 'strict' })],
  ],
  [
    'a source check at an outside port',
    [
      acme('routerPort', 'out', {
        router: 'edge',
        switch: 'public',
        outside: true,
        addresses: ['203.0.113.2/24'],
        sourceCheck: 'own',
      }),
    ],
    'source-check routerPort acme/edge/out sourceCheck: an outside port lets in only what it translates',
  ],
  [
    'a source check at a port that joins nothing',
    [acme('routerPort', 'loose-end', { router: 'edge', addresses: ['192.0.2.2/30'], sourceCheck: 'loose' })],
    'source-check routerPort acme/edge/loose-end sourceCheck: sources are checked of what a switch sends in, and the port joins none',
  ],
  ['connections at a time, of a router', [acme('router', 'edge', { inboundLimit: { connections: 1000 } })]],
  [
    'a limit of nothing',
    [acme('router', 'edge', { inboundLimit: {} })],
    'schema router acme/edge inboundLimit: one of kbps, pps, newPerSecond and connections',
  ],
  [
    'a pre-filter of a VIP on a switch',
    [
      acme('port', 'web-9', { switch: 'lan' }),
      acme('loadBalancer', 'vip', {
        address: '10.0.0.200',
        switch: 'lan',
        listeners: [{ protocol: 'tcp', port: 80 }],
        members: [{ port: 'web-9' }],
        prefilter: 'web',
      }),
    ],
    'prefilter loadBalancer acme/vip prefilter: nothing comes from outside to a VIP of a switch',
  ],
];

for (const [what, objects, ...wanted] of CASES)
  test(`protection: ${what}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(PROTECTED), []);
    const problems = model
      .apply(objects)
      .map(({ code, object, path, message }) => `${code} ${object} ${path}: ${message}`);
    assert.deepEqual(problems, wanted);
  });
