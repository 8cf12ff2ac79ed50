import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as example from '../compile/testing/example.ts';
import { HOSTS, siteNetwork } from '../compile/testing/sites.fixture.ts';
import { arp, frame } from '../pipeline/frames.fixture.ts';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

/** A shared switch of beta with a router of acme, which answers for four addresses there; and acme's own behind it. */
const ROUTED = [
  ...BASE,
  { kind: 'switch', tenant: 'beta', name: 'public', shared: true, subnets: [{ cidr: '203.0.113.0/24' }] },
  { kind: 'port', tenant: 'beta', name: 'b1', switch: 'public', addresses: ['203.0.113.11'] },
  { kind: 'router', tenant: 'acme', name: 'r', snat: [{ from: '10.0.0.0/8', to: '203.0.113.40' }] },
  {
    ...{ kind: 'routerPort', tenant: 'acme', name: 'lan', router: 'r', switch: 'lan', mac: '02:00:00:00:00:aa' },
    addresses: ['10.0.0.1/24'],
  },
  {
    ...{ kind: 'routerPort', tenant: 'acme', name: 'out', router: 'r', switch: 'beta/public', outside: true },
    ...{ mac: '02:00:00:00:00:bb', addresses: ['203.0.113.2/24'] },
  },
  { kind: 'floatingAddress', tenant: 'acme', name: 'f', address: '203.0.113.50', router: 'r', port: 'p1' },
  {
    ...{ kind: 'loadBalancer', tenant: 'acme', name: 'vip', address: '203.0.113.60', router: 'r' },
    ...{ listeners: [{ protocol: 'tcp', port: 80 }], members: [{ port: 'p1' }] },
  },
  {
    ...{ kind: 'loadBalancer', tenant: 'acme', name: 'near', address: '10.0.0.80', switch: 'lan' },
    ...{ listeners: [{ protocol: 'tcp', port: 80 }], members: [{ port: 'p1' }] },
  },
];
const pairs = (...allowedPairs: readonly object[]) => ({
  ...{ kind: 'port', tenant: 'acme', name: 'p2', switch: 'lan', addresses: ['10.0.0.6'], allowedPairs },
});
const addresses = (...texts: readonly string[]) => pairs(...texts.map((address) => ({ address })));
const atPublic = (...texts: readonly string[]) => ({
  ...addresses(...texts),
  ...{ tenant: 'beta', switch: 'public', addresses: ['203.0.113.12'] },
});
const router = { kind: 'router', tenant: 'acme', name: 'r2' };
const routerPort = (fields: object) => ({
  ...{ kind: 'routerPort', tenant: 'acme', name: 'in', router: 'r2', switch: 'lan', addresses: ['10.0.0.2/24'] },
  ...fields,
});

const CASES: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  [
    'a virtual address of two workloads',
    [addresses('10.0.0.100'), { ...addresses('10.0.0.100/32'), name: 'p3', addresses: ['10.0.0.7'] }],
  ],
  ['the address of another workload', [addresses('10.0.0.5')]],
  [
    'a gateway that workloads are',
    [
      { kind: 'switch', tenant: 'acme', name: 'own', subnets: [{ cidr: '10.5.0.0/24', gateway: '10.5.0.1' }] },
      { ...addresses('10.5.0.1'), switch: 'own', addresses: ['10.5.0.2'] },
    ],
  ],
  ['everything, for a workload that routes', [addresses('0.0.0.0/0', '::/0')]],
  ["networks with the addresses of its own tenant's router", [addresses('10.0.0.0/24', 'fe80::/10')]],
  ['a shared MAC of VRRP', [pairs({ mac: '00:00:5e:00:01:01', address: '10.0.0.100' })]],
  ['the address of a router', [addresses('10.0.0.1')], 'duplicate-address port acme/p2 allowedPairs[0].address'],
  [
    'it as a network',
    [addresses('10.0.0.100', '10.0.0.1/32')],
    'duplicate-address port acme/p2 allowedPairs[1].address',
  ],
  [
    "a router's link-local address",
    [addresses('fe80::ff:fe00:aa')],
    'duplicate-address port acme/p2 allowedPairs[0].address',
  ],
  [
    "a router's MAC",
    [pairs({ mac: '02:00:00:00:00:aa', address: '10.0.0.100' })],
    'duplicate-mac port acme/p2 allowedPairs[0].mac',
  ],
  ["a router's MAC elsewhere", [pairs({ mac: '02:00:00:00:00:bb', address: '10.0.0.100' })]],
  ['a VIP of the switch', [addresses('10.0.0.80')], 'duplicate-address port acme/p2 allowedPairs[0].address'],
  ['an address that is translated elsewhere', [addresses('203.0.113.50', '203.0.113.40')]],
  [
    "what another tenant's router answers for",
    [atPublic('203.0.113.2', '203.0.113.40', '203.0.113.50', '203.0.113.60', '203.0.113.70')],
    ...[0, 1, 2, 3].map((at) => `duplicate-address port beta/p2 allowedPairs[${at}].address`),
  ],
  [
    'networks with such an address',
    [atPublic('0.0.0.0/0', '203.0.113.50/31', '203.0.113.128/25', '::/0', '2001:db8::/32')],
    ...[0, 1, 3].map((at) => `duplicate-address port beta/p2 allowedPairs[${at}].address`),
  ],
  ['networks with such an address, without port security', [{ ...atPublic('0.0.0.0/0'), portSecurity: false }]],
  [
    "an address that a router's port gets in the same request",
    [addresses('10.0.0.2'), router, routerPort({})],
    'duplicate-address port acme/p2 allowedPairs[0].address',
    'duplicate-address routerPort acme/r2/in addresses[0]',
  ],
];

for (const [what, objects, ...problems] of CASES)
  test(`allowed pairs: ${what} ${problems.length > 0 ? 'is refused' : 'is allowed'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(ROUTED), []);
    const found = model.apply(objects).map(({ code, object, path }) => `${code} ${object} ${path}`);
    assert.deepEqual(found.toSorted(), [...problems].toSorted());
  });

test('allowed pairs: what a workload may use no router gets there', () => {
  const taken = [
    pairs({ address: '10.0.0.2' }, { mac: '02:00:00:00:00:cc', address: '10.0.0.100' }),
    atPublic('203.0.113.70', '203.0.113.71', '203.0.113.72', '203.0.113.73'),
  ];
  const cases: readonly (readonly [objects: readonly object[], ...problems: readonly string[]])[] = [
    [[router, routerPort({})], 'duplicate-address routerPort acme/r2/in addresses[0]'],
    [[router, routerPort({ addresses: [], mac: '02:00:00:00:00:cc' })], 'duplicate-mac routerPort acme/r2/in mac'],
    [
      [{ ...ROUTED.find(({ kind }) => kind === 'floatingAddress'), address: '203.0.113.70' }],
      'duplicate-address floatingAddress acme/f address',
    ],
    [
      [{ ...ROUTED.find(({ name }) => name === 'vip'), address: '203.0.113.71' }],
      'duplicate-address loadBalancer acme/vip address',
    ],
    [
      [{ kind: 'router', tenant: 'acme', name: 'r', snat: [{ from: '10.0.0.0/8', to: '203.0.113.72' }] }],
      'duplicate-address router acme/r snat',
    ],
    // What it answered for nowhere comes to lie on the switch with its port.
    [
      [
        { ...router, snat: [{ from: '10.0.0.0/8', to: '203.0.113.73' }] },
        routerPort({ name: 'out', switch: 'beta/public', outside: true, addresses: ['203.0.113.3/24'] }),
      ],
      'duplicate-address router acme/r2 snat',
    ],
    [[router, routerPort({ addresses: ['10.0.0.3/24'] })]],
  ];
  for (const [objects, ...problems] of cases) {
    const model = new TrialModel();
    assert.deepEqual(model.apply([...ROUTED, ...taken]), []);
    const found = model.apply(objects).map(({ code, object, path }) => `${code} ${object} ${path}`);
    assert.deepEqual(found, problems);
  }
});

test('allowed pairs: what was stored before this was asked may be changed in other ways', () => {
  const model = new TrialModel();
  model.apply([...ROUTED, addresses('10.0.0.100')]);
  model.index.put({ ...model.port('p2'), allowedPairs: [{ address: '10.0.0.1' }] });
  assert.deepEqual(model.apply([{ ...addresses('10.0.0.1'), adminUp: false }]), []);
  assert.deepEqual(model.apply([{ ...ROUTED.find(({ name }) => name === 'lan'), adminUp: false }]), []);
  const [problem] = model.apply([addresses('10.0.0.1', '10.0.0.80')]);
  assert.equal(problem?.message, 'loadBalancer acme/near has 10.0.0.80 on the switch');
});

test('allowed pairs: neighbours hear of them as of addresses of the workload, so they would believe in another gateway', () => {
  const net = example.logicalSwitch(1, { subnets: [example.subnet('10.0.1.0/24', { gateway: '10.0.1.254' })] });
  const core = example.router(1);
  const gateway = example.routerPort(1, core, { switch: net.id, addresses: ['10.0.1.254/24'] });
  const victim = example.port(1, net, { addresses: ['10.0.1.1'] });
  const liar = example.port(2, net, { addresses: ['10.0.1.2'], allowedPairs: [{ address: '10.0.1.254' }] });
  const sites = [victim, liar].map((port, i) => ({ port, on: 0 as const, ofport: i + 1 }));
  const network = siteNetwork([net, core, gateway], sites);
  const reply = frame(liar.mac, victim.mac, arp(2, liar.mac, '10.0.1.254', '10.0.1.1'));
  assert.deepEqual(
    network.send(HOSTS[0].id, 2, reply).delivered.map(({ port }) => port),
    [victim.name],
  );
});
