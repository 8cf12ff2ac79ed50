import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyObjects, parseApplyRequest } from '../server/apply.ts';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';
import { Draft } from './draft.ts';

const port = (fields: object) => ({ kind: 'port', tenant: 'acme', name: 'p2', switch: 'lan', ...fields });
const lan = (subnets: readonly object[], more: object = {}) => ({
  kind: 'switch',
  tenant: 'acme',
  name: 'lan',
  subnets,
  ...more,
});
const rule = (name: string, chain: string, fields: object) => ({
  kind: 'rule',
  tenant: 'acme',
  name,
  chain,
  position: 5,
  ...fields,
});

/** Rules that ask for a set, of three steps each, in a chain that has one more. */
const steps = (chain: string, count: number) => [
  { kind: 'addressSet', tenant: 'acme', name: 'some', addresses: ['10.0.0.0/8'] },
  ...Array.from({ length: count }, (_, i) =>
    rule(`s${i}`, chain, { position: 10 + i, action: 'drop', match: { srcSet: 'some' } }),
  ),
];
/** Chains of which each has so many jumps to the next. */
const fan = (levels: number, jumps = 2) => [
  ...Array.from({ length: levels + 1 }, (_, i) => ({ kind: 'chain', tenant: 'acme', name: `fan${i}` })),
  ...Array.from({ length: levels * jumps }, (_, i) => {
    const level = Math.floor(i / jumps);
    return rule(`j${i}`, `fan${level}`, { position: 1 + i, action: 'jump', jumpTo: `fan${level + 1}` });
  }),
];

/** What is applied, and every problem that comes of it as `code object path`. */
const CASES: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  ['a duplicate address', [port({ addresses: ['10.0.0.5'] })], 'duplicate-address port acme/p2 addresses[0]'],
  [
    'an address given twice',
    [port({ addresses: ['10.0.0.6', '10.0.0.6'] })],
    'duplicate-address port acme/p2 addresses[1]',
  ],
  [
    'an address in another spelling',
    [
      port({ switch: 'flat', addresses: ['2001:DB8:0::1'] }),
      port({ name: 'p3', switch: 'flat', addresses: ['2001:db8::1'] }),
    ],
    'duplicate-address port acme/p2 addresses[0]',
    'duplicate-address port acme/p3 addresses[0]',
  ],
  ['the same address on two switches', [port({ switch: 'flat', addresses: ['10.0.0.5'] })]],
  ['an address outside the subnets', [port({ addresses: ['10.0.1.5'] })], 'address-outside port acme/p2 addresses[0]'],
  ['any address without subnets', [port({ switch: 'flat', addresses: ['192.0.2.1'] })]],
  ['the broadcast address', [port({ addresses: ['10.0.0.255'] })], 'address-reserved port acme/p2 addresses[0]'],
  [
    'a group address',
    [port({ switch: 'flat', addresses: ['224.0.0.1'] })],
    'address-reserved port acme/p2 addresses[0]',
  ],
  [
    'an IPv6 address that is an IPv4 one as a number',
    [port({ switch: 'flat', addresses: ['::cb00:7101'] }), { ...lan([{ cidr: '::cb00:0/112' }]), name: 'old' }],
    'address-reserved port acme/p2 addresses[0]',
    'address-reserved switch acme/old subnets[0].cidr',
  ],
  ['the gateway as address', [port({ addresses: ['10.0.0.1'] })], 'gateway-in-use port acme/p2 addresses[0]'],
  ['a duplicate MAC', [port({ mac: '02:00:00:00:00:01' })], 'duplicate-mac port acme/p2 mac'],
  ['the same MAC on another switch', [port({ switch: 'flat', mac: '02:00:00:00:00:01' })]],
  [
    'a gateway outside its subnet',
    [lan([{ cidr: '10.0.0.0/24', gateway: '10.0.1.1' }])],
    'gateway switch acme/lan subnets[0].gateway',
  ],
  ['IPv6 with the smallest MTU', [lan([{ cidr: '10.0.0.0/24' }, { cidr: '2001:db8::/64' }], { mtu: 1280 })]],
  ['a small MTU without IPv6', [lan([{ cidr: '10.0.0.0/24' }], { mtu: 576 })]],
  [
    'IPv6 with a smaller MTU',
    [lan([{ cidr: '10.0.0.0/24' }, { cidr: '2001:db8::/64' }], { mtu: 1279 })],
    'mtu switch acme/lan mtu',
  ],
  ['a link-local gateway', [lan([{ cidr: '10.0.0.0/24' }, { cidr: '2001:db8::/64', gateway: 'fe80::1' }])]],
  [
    'a gateway that a port has',
    [lan([{ cidr: '10.0.0.0/24', gateway: '10.0.0.5' }])],
    'gateway-in-use port acme/p1 addresses[0]',
    'gateway-in-use switch acme/lan subnets[0].gateway',
  ],
  [
    'overlapping subnets',
    [lan([{ cidr: '10.0.0.0/24' }, { cidr: '10.0.0.128/25' }])],
    'subnet-overlap switch acme/lan subnets[1].cidr',
  ],
  ['a subnet taken away below a port', [lan([{ cidr: '10.1.0.0/24' }])], 'address-outside port acme/p1 addresses[0]'],
  [
    'a subnet of group addresses',
    [lan([{ cidr: '10.0.0.0/24' }, { cidr: '224.0.0.0/24' }])],
    'address-reserved switch acme/lan subnets[1].cidr',
  ],
  [
    'SLAAC in a /80',
    [lan([{ cidr: '10.0.0.0/24' }, { cidr: '2001:db8::/80', ipv6Mode: 'slaac' }])],
    'subnet-option switch acme/lan subnets[1].ipv6Mode',
  ],
  [
    'IPv6 name servers for IPv4',
    [lan([{ cidr: '10.0.0.0/24', dhcp: { dns: ['2001:db8::53'] } }])],
    'subnet-option switch acme/lan subnets[0].dhcp.dns[0]',
  ],
  ['a VLAN on a switch without VLANs', [port({ vlan: { access: 5 } })], 'vlan port acme/p2 vlan'],
  [
    'a subnet VLAN on a switch without VLANs',
    [lan([{ cidr: '10.0.0.0/24', vlan: 5 }])],
    'vlan switch acme/lan subnets[0].vlan',
  ],
  [
    'one address in two VLANs',
    [
      port({ switch: 'trunk', vlan: { access: 5 }, addresses: ['192.0.2.1'] }),
      port({ name: 'p3', switch: 'trunk', vlan: { access: 6 }, addresses: ['192.0.2.1'] }),
    ],
  ],
  ['an unknown reference', [port({ switch: 'lan2' })], 'reference port acme/p2 switch'],
  ["another tenant's switch", [port({ switch: 'beta/lan' })], 'cross-tenant port acme/p2 switch'],
  ["a port's move to another switch", [{ ...BASE.at(-1), switch: 'flat' }], 'immutable port acme/p1 switch'],
  [
    'two hosts with a tunnel address',
    [{ kind: 'host', name: 'h2', zone: 'dc', tunnelAddress: '10.9.0.1' }],
    'duplicate-tunnel-address host h2 tunnelAddress',
  ],
  [
    'a rule at a taken position',
    [rule('r2', 'c1', { position: 1, action: 'drop' })],
    'duplicate-position rule acme/c1/r2 position',
  ],
  [
    'chains in a circle',
    [rule('a', 'c1', { action: 'jump', jumpTo: 'c2' }), rule('b', 'c2', { action: 'jump', jumpTo: 'c1' })],
    'chain-circle rule acme/c2/b jumpTo',
  ],
  [
    'a chain that jumps to itself',
    [rule('a', 'c1', { action: 'jump', jumpTo: 'c1' })],
    'chain-circle rule acme/c1/a jumpTo',
  ],
  [
    'several circles through one chain, and chains that are too long beside them',
    [
      { kind: 'chain', tenant: 'acme', name: 'c3' },
      rule('a', 'c1', { action: 'jump', jumpTo: 'c2' }),
      rule('b', 'c1', { position: 6, action: 'jump', jumpTo: 'c3' }),
      rule('c', 'c2', { action: 'jump', jumpTo: 'c1' }),
      rule('d', 'c3', { action: 'jump', jumpTo: 'c1' }),
      rule('first', 'c3', { position: 4, action: 'jump', jumpTo: 'lone' }),
      rule('e', 'c3', { position: 6, action: 'jump', jumpTo: 'c3' }),
      ...fan(41, 1),
      { kind: 'chain', tenant: 'acme', name: 'lone' },
      ...steps('lone', 334),
      // Into a circle: how long it is nobody can say.
      ...[{ kind: 'chain', tenant: 'acme', name: 'into' }, rule('f', 'into', { action: 'jump', jumpTo: 'c1' })],
      rule('g', 'into', { position: 6, action: 'jump', jumpTo: 'fan0' }),
    ],
    'chain-circle rule acme/c2/c jumpTo',
    'chain-circle rule acme/c3/d jumpTo',
    'chain-circle rule acme/c3/e jumpTo',
    'chain-length chain acme/fan0 ',
    'chain-length chain acme/lone ',
  ],
  [
    'a TCP flag that is wanted and not',
    [rule('f', 'c1', { action: 'drop', match: { protocol: 'tcp', tcpFlags: '+syn-syn' } })],
    'schema rule acme/f match.tcpFlags',
  ],
  ['a chain of a thousand steps', steps('c1', 332)],
  ['a chain of more', steps('c1', 334), 'chain-length chain acme/c1 '],
  ['jumps that fan out', fan(7)],
  ['jumps that fan out to thousands', fan(8), 'chain-length chain acme/fan0 '],
  ['jumps that go too deep', fan(41, 1), 'chain-length chain acme/fan0 '],
  [
    'an object given twice',
    [port({ mac: '02:00:00:00:00:07' }), port({ mac: '02:00:00:00:00:08' })],
    'duplicate-object port acme/p2 ',
  ],
  ['a taken key', [port({ key: 1 })], 'duplicate-key port acme/p2 key'],
  [
    'fields of a branch of a union',
    [port({ vlan: { trunk: 'all', native: 5000 } })],
    'schema port acme/p2 vlan.native',
  ],
  [
    'what refers to a refused object',
    [{ kind: 'switch', tenant: 'acme', name: 'new', mtu: 1 }, port({ switch: 'new' })],
    'schema switch acme/new mtu',
  ],
  ['a tenant that is missing', [{ kind: 'chain', name: 'x' }], 'schema chain x tenant'],
];

for (const [what, objects, ...problems] of CASES)
  test(`rules: ${what} ${problems.length > 0 ? 'is refused' : 'is allowed'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(BASE), []);
    const found = model.apply(objects).map(({ code, object, path }) => `${code} ${object} ${path}`);
    assert.deepEqual(found.toSorted(), [...problems].toSorted());
  });

test('rules: a circle is told of the rule of the change that is part of it, whatever the order of the request', () => {
  const model = new TrialModel();
  const chains = ['x', 'y', 'z'].map((name) => ({ kind: 'chain', tenant: 'acme', name }));
  const jump = (from: string, to: string, position: number) =>
    rule(`to-${to}`, from, { position, action: 'jump', jumpTo: to });
  model.apply([...BASE, ...chains, jump('y', 'x', 1), jump('y', 'z', 2), jump('z', 'x', 1)]);
  const told = (...objects: readonly object[]) =>
    model.apply(objects).map(({ object, path, message }) => `${object} ${path} ${message}`);
  assert.deepEqual(told(jump('x', 'y', 1)), [
    'rule acme/x/to-y jumpTo jumps in a circle: x → y → x',
    'rule acme/x/to-y jumpTo jumps in a circle: x → y → z → x',
  ]);
  const self = (chain: string) => rule('self', chain, { position: 9, action: 'jump', jumpTo: chain });
  const three = [self('c2'), jump('x', 'z', 1), self('z')];
  const all = [
    'rule acme/c2/self jumpTo jumps in a circle: c2 → c2',
    'rule acme/x/to-z jumpTo jumps in a circle: x → z → x',
    'rule acme/z/self jumpTo jumps in a circle: z → z',
  ];
  assert.deepEqual(told(...three), all);
  assert.deepEqual(told(...three.toReversed()), all);
});

test('rules: thousands of circles are told, of long ones the beginning', () => {
  const model = new TrialModel();
  const count = 3_000;
  model.apply(BASE);
  const problems = model.apply(
    Array.from({ length: count }, (_, n) => [
      { kind: 'chain', tenant: 'acme', name: `n${n}` },
      rule('back', `n${n}`, { position: 1, action: 'jump', jumpTo: 'n0' }),
      ...(n + 1 < count ? [rule('on', `n${n}`, { position: 2, action: 'jump', jumpTo: `n${n + 1}` })] : []),
    ]).flat(),
  );
  assert.equal(problems.length, count);
  assert.match(problems[25]!.message, /^jumps in a circle: n25 → n0 → .*n18 → 6 more → n25$/);
  assert.ok(problems.every(({ message, hint }) => message.length < 250 && hint !== undefined));
});

test('rules: what is in use is not pruned, and everything that refers is named', () => {
  const model = new TrialModel();
  model.apply(BASE, { applySet: 'all' });
  const problems = model.apply(
    BASE.filter((object) => object.name !== 'c1' && object.name !== 'lan'),
    { applySet: 'all', prune: true },
  );
  // r1 and p1 are in the request and refer to what is missing from it.
  assert.deepEqual(problems.map((p) => `${p.code} ${p.object}`).toSorted(), [
    'in-use chain acme/c1',
    'in-use switch acme/lan',
  ]);
  assert.match(problems.map((p) => p.message).join(), /rule acme\/c1\/r1/);
});

test('references: names, tenant/name and ids lead to the same object, and near misses are suggested', () => {
  const model = new TrialModel();
  model.apply(BASE);
  const { id } = [...model.index.named('switch', model.tenant('acme'), 'flat')][0]!;
  const ports = ['flat', 'acme/flat', id].map((text, at) => port({ name: `q${at}`, switch: text }));
  assert.deepEqual(model.apply(ports), []);
  for (const at of [0, 1, 2]) assert.equal(model.port(`q${at}`).switch, id);
  const [problem] = model.apply([port({ switch: 'falt' })]);
  assert.equal(problem?.hint, 'did you mean "flat"?');
});

test('allocation: the lowest address first, a released one last, and a full subnet is refused', () => {
  const model = new TrialModel();
  model.apply(BASE);
  const small = {
    kind: 'switch',
    tenant: 'acme',
    name: 'small',
    subnets: [{ cidr: '10.5.0.0/29', gateway: '10.5.0.1' }],
  };
  const one = (name: string) => port({ name, switch: 'small' });
  model.apply([small, one('a'), one('b'), one('c')], { applySet: 'x' });
  assert.deepEqual(
    ['a', 'b', 'c'].map((n) => model.port(n).addresses[0]),
    ['10.5.0.2', '10.5.0.3', '10.5.0.4'],
  );
  model.apply([small, one('b'), one('c')], { applySet: 'x', prune: true });
  model.apply([one('d'), one('e')]);
  assert.deepEqual(
    ['d', 'e'].map((n) => model.port(n).addresses[0]),
    ['10.5.0.5', '10.5.0.6'],
  );
  model.apply([one('f')]);
  assert.equal(model.port('f').addresses[0], '10.5.0.2');
  const [problem] = model.apply([one('g')]);
  assert.equal(problem?.code, 'subnet-full');
});

test('allocation: SLAAC addresses follow from the MAC, and a VLAN-aware switch gives those of the port’s VLANs', () => {
  const model = new TrialModel();
  model.apply(BASE);
  const subnets = [
    { cidr: '10.7.0.0/24', vlan: 7 },
    { cidr: '10.8.0.0/24', vlan: 8 },
    { cidr: '2001:db8:7::/64', vlan: 7 },
  ];
  const device = { kind: 'switch', tenant: 'acme', name: 'v', vlanAware: true, subnets };
  assert.deepEqual(model.apply([device, port({ switch: 'v', mac: '02:00:00:00:00:09', vlan: { access: 7 } })]), []);
  assert.deepEqual(model.port('p2').addresses, ['10.7.0.1', '2001:db8:7::ff:fe00:9']);
});

test('allocation: a trial gives nothing away, and a key in retirement is given to nobody', () => {
  const model = new TrialModel();
  model.apply(BASE);
  const draft = new Draft(model.index);
  model.allocator.settle();
  applyObjects({ draft, allocator: model.allocator }, parseApplyRequest({ objects: [port({})] }));
  const trial = model.port('p2');
  draft.rollback();
  model.allocator.rollback();
  model.apply([port({})]);
  assert.equal(model.port('p2').key, trial.key);
  assert.equal(model.port('p2').addresses[0], trial.addresses[0]);

  const { key } = model.port('p1');
  model.allocator.retireKey(key);
  model.allocator.settle();
  const [problem] = model.apply([port({ name: 'p3', key })]);
  assert.equal(problem?.code, 'duplicate-key');
});

test('rules: a switch that was stored with a smaller MTU than IPv6 needs may be changed in other ways', () => {
  const model = new TrialModel();
  const wide = lan([{ cidr: '10.0.0.0/24' }, { cidr: '2001:db8::/64' }], { mtu: 1280 });
  model.apply(BASE);
  assert.deepEqual(model.apply([wide]), []);
  const [stored] = model.index.named('switch', model.tenant('acme'), 'lan');
  model.index.put({ ...stored!, mtu: 1000 });
  assert.deepEqual(model.apply([{ ...wide, mtu: 1000, dns: true }]), []);
  assert.match(model.apply([{ ...wide, mtu: 900 }])[0]?.message ?? '', /^900 is less than the 1280 that IPv6 needs/);
});
