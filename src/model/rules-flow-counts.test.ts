import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

/** What objects may cost a switch in flows. */

const rule = (position: number, match: object, fields: object = {}) => ({
  ...{ kind: 'rule', tenant: 'acme', name: `r${position}`, chain: 'c1', position, action: 'drop', match },
  ...fields,
});
const rules = (count: number, match: object) => Array.from({ length: count }, (_, i) => rule(i + 10, match));
const router = (policies: readonly object[]) => ({
  ...{ kind: 'router', tenant: 'acme', name: 'r' },
  policies: policies.map((match, i) => ({ position: i + 1, action: 'drop', match })),
});
const group = (count: number, ingress: object) => ({
  ...{ kind: 'securityGroup', tenant: 'acme', name: 'g' },
  ingress: Array.from({ length: count }, () => ingress),
});
const members = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    ...{ kind: 'port', tenant: 'acme', name: `m${i}`, switch: 'flat' },
    addresses: [`10.7.${i >> 8}.${i & 255}`],
  }));
const balancer = (count: number, listeners: number) => ({
  ...{ kind: 'loadBalancer', tenant: 'acme', name: 'vip', address: '10.8.0.1', switch: 'flat', slots: 1024 },
  listeners: Array.from({ length: listeners }, (_, i) => ({ protocol: 'tcp', port: 1000 + i })),
  members: members(count).map(({ name }) => ({ port: name })),
});
const trunk = (vlans: number, macs: number) => ({
  ...{ kind: 'port', tenant: 'acme', name: 't', switch: 'trunk' },
  vlan: { trunk: Array.from({ length: vlans }, (_, i) => 2 * i + 1) },
  allowedPairs: Array.from({ length: macs - 1 }, (_, i) => ({
    mac: `02:00:00:00:01:${i.toString(16).padStart(2, '0')}`,
    address: '10.0.0.9',
  })),
});

/** 30 flows each, where nothing multiplies them. */
const WIDE = '1-65534';
const tcp = (fields: object) => ({ protocol: 'tcp', ...fields });

const CASES: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  [
    'a rule from and to high ports, in two states',
    [rule(10, tcp({ srcPorts: '1024-65535', dstPorts: '1024-65535', state: ['new', 'established'] }))],
  ],
  [
    'a rule from and to wide ranges, of one IP version',
    [rule(10, tcp({ srcPorts: WIDE, dstPorts: WIDE, dst: '10.0.0.1' }))],
  ],
  [
    'a rule from and to wide ranges',
    [rule(10, tcp({ srcPorts: WIDE, dstPorts: WIDE }))],
    'flow-count rule acme/c1/r10 match',
  ],
  [
    'a rule to a wide range in more states than there are',
    [rule(10, tcp({ dstPorts: WIDE, state: Array.from({ length: 20 }, () => 'new') }))],
    'flow-count rule acme/c1/r10 match',
  ],
  [
    'a rule from and to all but a wide range',
    [rule(10, tcp({ srcPorts: WIDE, dstPorts: WIDE, not: ['srcPorts', 'dstPorts'] }))],
  ],
  ['a chain of a thousand rules', rules(1000, tcp({ dstPorts: '1024-65535' }))],
  ['a chain of hundreds with wide ranges', rules(100, tcp({ srcPorts: WIDE, dstPorts: '1024-65535' }))],
  ['a chain of more', rules(140, tcp({ srcPorts: WIDE, dstPorts: '1024-65535' })), 'flow-count chain acme/c1 '],
  ['a thousand policies', [router(Array.from({ length: 1000 }, () => tcp({ dstPorts: '8000-8099' })))]],
  [
    'a policy from and to wide ranges',
    [router([tcp({}), tcp({ srcPorts: WIDE, dstPorts: WIDE })])],
    'flow-count router acme/r policies[1].match',
  ],
  [
    'a thousand policies with wide ranges',
    [router(Array.from({ length: 1000 }, () => tcp({ dstPorts: WIDE })))],
    'flow-count router acme/r policies',
  ],
  [
    'a mirror of wide ranges',
    [
      {
        ...{ kind: 'mirror', tenant: 'acme', name: 'm', switch: 'flat', to: { port: 'p1' } },
        match: tcp({ srcPorts: WIDE, dstPorts: WIDE }),
      },
    ],
    'flow-count mirror acme/m match',
  ],
  ['a group of hundreds of wide ranges', [group(500, tcp({ ports: WIDE }))]],
  ['a group of a thousand', [group(1000, tcp({ ports: WIDE }))], 'flow-count securityGroup acme/g '],
  ['a thousand members at many ports', [...members(1000), balancer(1000, 40)]],
  [
    'a thousand members at all ports that there may be',
    [...members(1000), balancer(1000, 64)],
    'flow-count loadBalancer acme/vip listeners',
  ],
  ['a trunk of every other VLAN', [trunk(2047, 1)]],
  ['a trunk of some VLANs with as many MACs as there may be', [trunk(50, 65)]],
  ['a trunk of many VLANs with many MACs', [trunk(500, 33)], 'flow-count port acme/t vlan.trunk'],
];

for (const [what, objects, ...problems] of CASES)
  test(`flow counts: ${what} ${problems.length > 0 ? 'is refused' : 'is allowed'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(BASE), []);
    const found = model.apply(objects).map(({ code, object, path }) => `${code} ${object} ${path}`);
    assert.deepEqual(found, problems);
  });

test('flow counts: the problem says how many there are, how many may be, and what to ask for instead', () => {
  const model = new TrialModel();
  model.apply(BASE);
  const [problem] = model.apply([rule(10, tcp({ srcPorts: WIDE, dstPorts: WIDE }))]);
  assert.match(problem!.message, /^it is 1800 flows, .* may be 1000$/);
  assert.match(problem!.hint!, /srcPorts or dstPorts only/);
});

test('flow counts: what was stored with more may be changed, but not grow', () => {
  const model = new TrialModel();
  const wide = rule(10, tcp({ dstPorts: WIDE }));
  model.apply([...BASE, wide]);
  const stored = [...model.index.all('rule')].find(({ name }) => name === 'r10')!;
  model.index.put({ ...stored, match: { protocol: 'tcp', srcPorts: WIDE, dstPorts: WIDE } });
  const both = { srcPorts: WIDE, dstPorts: WIDE };
  assert.deepEqual(model.apply([rule(10, tcp(both), { action: 'accept' })]), []);
  const [problem] = model.apply([rule(10, tcp({ ...both, state: ['new', 'reply'] }))]);
  assert.equal(problem?.code, 'flow-count');
});
