import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

const acme = (kind: string, name: string, rest: object = {}) => ({ kind, tenant: 'acme', name, ...rest });
const ftp = { protocol: 'tcp', dstPorts: '21', state: ['new'] };
const rule = (name: string, match: object, rest: object = {}) =>
  acme('rule', name, { chain: 'web', position: 50, action: 'accept', helper: 'ftp', match, ...rest });
const group = (...ingress: object[]) => acme('securityGroup', 'g', { ingress });

const STATEFUL = [
  ...BASE,
  ...['web', 'inner', 'routed'].map((name) => acme('chain', name)),
  acme('rule', 'known', { chain: 'web', position: 10, action: 'accept', match: { state: ['established', 'related'] } }),
  acme('rule', 'ftp', { chain: 'inner', position: 10, action: 'accept', helper: 'ftp', match: ftp }),
  acme('rule', 'plain', { chain: 'routed', position: 10, action: 'drop' }),
  acme('router', 'edge'),
  acme('routerPort', 'lan', { router: 'edge', switch: 'lan', addresses: ['10.0.0.4/24'], inChain: 'routed' }),
];

const CASES: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  [
    'of security groups, at usual ports and others',
    [
      group(
        { protocol: 'tcp', ports: '21', helper: 'ftp' },
        { protocol: 6, ports: '2100-2200', helper: 'ftp', cidr: '10.0.0.0/8' },
        { protocol: 'udp', ports: '69', helper: 'tftp', ipVersion: 6 },
      ),
    ],
  ],
  [
    'without ports',
    [group({ protocol: 'tcp', helper: 'ftp' })],
    'schema securityGroup acme/g ingress[0].ports: helper ftp needs the ports of the control connection, as ports: 21',
  ],
  [
    'of another protocol',
    [group({ protocol: 'udp', ports: '21', helper: 'ftp' }, { protocol: 'tcp', ports: '69', helper: 'tftp' })],
    'schema securityGroup acme/g ingress[0].protocol: helper ftp reads tcp: protocol tcp',
    'schema securityGroup acme/g ingress[1].protocol: helper tftp reads udp: protocol udp',
  ],
  [
    'of a chain',
    [rule('ftp', ftp), rule('tftp', { ...ftp, protocol: 'udp', dstPorts: '69' }, { helper: 'tftp', position: 51 })],
  ],
  [
    'of a chain without state',
    [rule('ftp', { protocol: 'tcp', dstPorts: '21' })],
    'schema rule acme/ftp match.state: a helper is given to a connection when it begins, in a stateful chain: match state [new] (and let state [established, related] in by a rule before it)',
  ],
  [
    'of a chain, for what does not begin, and everything but a port',
    [rule('ftp', { protocol: 'tcp', dstPorts: '21', state: ['established'], not: ['dstPorts'] })],
    'schema rule acme/ftp match.dstPorts: helper ftp needs the ports of the control connection: match dstPorts',
    'schema rule acme/ftp match.state: a helper is given to a connection when it begins, in a stateful chain: match state [new] (and let state [established, related] in by a rule before it)',
  ],
  [
    'of a rule that accepts nothing',
    [rule('ftp', ftp, { action: 'drop' })],
    'schema rule acme/ftp helper: a helper belongs to connections that a rule accepts: action accept',
  ],
  [
    'in the chain of a router port',
    [rule('ftp', ftp, { chain: 'routed' })],
    'helper rule acme/routed/ftp helper: its chain hangs on routerPort acme/edge/lan, and routers keep no connections for a helper to read',
  ],
  [
    'by a jump from the chain of a router port',
    [acme('rule', 'more', { chain: 'routed', position: 20, action: 'jump', jumpTo: 'inner' })],
    'helper rule acme/routed/more jumpTo: its chain hangs on routerPort acme/edge/lan, and routers keep no connections for the helper of rule acme/inner/ftp to read',
  ],
  [
    'in a chain that a router port gets, of many rules',
    [
      ...Array.from({ length: 22 }, (_, n) =>
        rule(`ftp-${n}`, { ...ftp, dstPorts: `${2100 + n}` }, { chain: 'inner', position: 100 + n }),
      ),
      acme('routerPort', 'lan', { router: 'edge', switch: 'lan', addresses: ['10.0.0.4/24'], outChain: 'inner' }),
    ],
    `helper routerPort acme/edge/lan outChain: rule acme/inner/ftp has the helper ftp, and routers keep no connections for one to read (as do ${Array.from({ length: 20 }, (_, n) => `rule acme/inner/ftp-${n}`).join(', ')} and 2 more)`,
    ...Array.from(
      { length: 22 },
      (_, n) =>
        `helper rule acme/inner/ftp-${n} helper: its chain hangs on routerPort acme/edge/lan, and routers keep no connections for a helper to read`,
    ),
  ],
  [
    'in a chain that a router port gets',
    [acme('routerPort', 'lan', { router: 'edge', switch: 'lan', addresses: ['10.0.0.4/24'], outChain: 'inner' })],
    'helper routerPort acme/edge/lan outChain: rule acme/inner/ftp has the helper ftp, and routers keep no connections for one to read',
  ],
];

for (const [what, objects, ...wanted] of CASES)
  test(`a helper: ${what}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(STATEFUL), []);
    const problems = model
      .apply(objects)
      .map(({ code, object, path, message }) => `${code} ${object} ${path}: ${message}`);
    assert.deepEqual(problems, wanted);
  });
