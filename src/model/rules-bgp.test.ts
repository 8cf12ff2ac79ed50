import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';
import type { ScopeRecord } from './objects.ts';

/** A router with an uplink of both versions and a network inside; another that speaks no BGP. */
const GATEWAY = [
  ...BASE,
  { kind: 'switch', tenant: 'acme', name: 'up' },
  { kind: 'router', tenant: 'acme', name: 'core', bgp: { asn: 64512 } },
  {
    ...{ kind: 'routerPort', tenant: 'acme', name: 'up', router: 'core', switch: 'up' },
    addresses: ['192.0.2.2/29', '2001:db8:f::2/64'],
  },
  { kind: 'routerPort', tenant: 'acme', name: 'lan', router: 'core', switch: 'lan', addresses: ['10.0.0.3/24'] },
  { kind: 'routerPort', tenant: 'acme', name: 'out', router: 'core', outside: true, addresses: ['198.51.100.2/24'] },
  { kind: 'router', tenant: 'acme', name: 'mute' },
  { kind: 'routerPort', tenant: 'acme', name: 'a', router: 'mute', switch: 'flat', addresses: ['192.0.2.10/29'] },
  {
    kind: 'bgpPeer',
    tenant: 'acme',
    name: 'one',
    router: 'core',
    routerPort: 'core/up',
    address: '192.0.2.1',
    asn: 64513,
  },
];
const peer = (fields: object) => ({
  ...{
    kind: 'bgpPeer',
    tenant: 'acme',
    name: 'new',
    router: 'core',
    routerPort: 'core/up',
    address: '192.0.2.3',
    asn: 1,
  },
  ...fields,
});
const core = (bgp: object | undefined) => ({ kind: 'router', tenant: 'acme', name: 'core', ...(bgp ? { bgp } : {}) });
const uplink = (fields: object) => ({
  ...{ kind: 'routerPort', tenant: 'acme', name: 'up', router: 'core', switch: 'up' },
  ...{ addresses: ['192.0.2.2/29', '2001:db8:f::2/64'], ...fields },
});

const far = peer({ address: '203.0.113.9', multihop: 2 });
const routed = (to: string, via: string) => ({ ...core({ asn: 64512 }), routes: [{ to, via }] });

const ONE_AS = 'own-as bgpPeer acme/core/one asn';

/** What is applied, and every problem that comes of it as `code object path`. */
const CASES: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  ['a second peer', [peer({})]],
  ['a peer over IPv6', [peer({ address: '2001:db8:f::1', password: 'p4ss!', bfd: true })]],
  [
    'a peer some hops away to which a static route leads',
    [peer({ address: '203.0.113.9', multihop: 4 }), routed('203.0.113.0/24', '192.0.2.1')],
  ],
  ['a peer some hops away by the default route', [far, routed('0.0.0.0/0', '192.0.2.1')]],
  [
    'an IPv6 peer some hops away',
    [peer({ address: '2001:db8:9::9', multihop: 2 }), routed('2001:db8:9::/48', '2001:db8:f::1')],
  ],
  ['a peer some hops away without a way to it', [far], 'next-hop bgpPeer acme/core/new address'],
  [
    'a peer some hops away by a route of another port',
    [far, routed('203.0.113.9/32', '10.0.0.9')],
    'next-hop bgpPeer acme/core/new address',
  ],
  [
    'a peer some hops away by a route that ends',
    [far, { ...core({ asn: 64512 }), routes: [{ to: '203.0.113.9/32', action: 'reject' }] }],
    'next-hop bgpPeer acme/core/new address',
  ],
  ['a peer a hop away in no network', [{ ...far, multihop: 1 }], 'next-hop bgpPeer acme/core/new address'],
  [
    'a peer of a router without bgp',
    [peer({ router: 'mute', routerPort: 'mute/a', address: '192.0.2.9' })],
    'no-bgp bgpPeer acme/mute/new router',
  ],
  ['a port of another router', [peer({ routerPort: 'mute/a' })], 'bgp-port bgpPeer acme/core/new routerPort'],
  [
    'an outside port that joins nothing',
    [peer({ routerPort: 'core/out', address: '198.51.100.1' })],
    'bgp-port bgpPeer acme/core/new routerPort',
    'bgp-port bgpPeer acme/core/new routerPort',
  ],
  ['a peer in no network', [peer({ address: '203.0.113.9' })], 'next-hop bgpPeer acme/core/new address'],
  ['the own address', [peer({ address: '192.0.2.2' })], 'next-hop bgpPeer acme/core/new address'],
  [
    'no address of its version',
    [peer({ routerPort: 'core/lan', address: '2001:db8:f::1', multihop: 2 })],
    'ip-version bgpPeer acme/core/new routerPort',
  ],
  ['a link-local peer', [peer({ address: 'fe80::1', multihop: 1 })], 'address-reserved bgpPeer acme/core/new address'],
  ["a peer of the router's own AS", [peer({ asn: 64512 })], 'own-as bgpPeer acme/core/new asn'],
  ["a peer that gets the router's own AS", [{ ...peer({ address: '192.0.2.1', asn: 64512 }), name: 'one' }], ONE_AS],
  ['a router that gets the AS of its peer', [core({ asn: 64513 })], ONE_AS],
  [
    'a router and its peer that get one AS',
    [core({ asn: 65001 }), { ...peer({ address: '192.0.2.1', asn: 65001 }), name: 'one' }],
    ONE_AS,
  ],
  [
    'a router and its peer that change places',
    [core({ asn: 64513 }), { ...peer({ address: '192.0.2.1', asn: 64512 }), name: 'one' }],
  ],
  ['a peer twice', [peer({ address: '192.0.2.1' })], 'duplicate-address bgpPeer acme/core/new address'],
  [
    'the same peer by another port',
    [peer({ address: '192.0.2.1', routerPort: 'core/lan', multihop: 2 }), routed('192.0.2.1/32', '10.0.0.9')],
  ],
  [
    'bad fields',
    [peer({ asn: 0, password: 'two words', holdS: 3, keepaliveS: 3, multihop: 256, maxPrefixes: 0 })],
    'schema bgpPeer acme/new asn',
    'schema bgpPeer acme/new holdS',
    'schema bgpPeer acme/new maxPrefixes',
    'schema bgpPeer acme/new multihop',
    'schema bgpPeer acme/new password',
  ],
  [
    'policies of a peer',
    [peer({ accept: ['0.0.0.0/1', '128.0.0.0/1'], communities: ['65001:100', 'no-export', 'graceful-shutdown'] })],
  ],
  ['a peer that keeps routes over a restart', [peer({ bfd: true, gracefulRestart: true })]],
  ['a peer of which nothing is taken, and that is told nothing', [peer({ accept: [], advertise: [] })]],
  [
    'a peer of which the default route alone is taken',
    [peer({ accept: [{ network: '0.0.0.0/0' }], advertise: ['203.0.113.0/24', { network: '10.0.0.0/8', ge: 24 }] })],
  ],
  [
    'lengths of a prefix list',
    [
      peer({
        accept: [
          { network: '10.0.0.0/8', ge: 8, le: 32 },
          { network: '10.0.0.0/8', le: 8 },
        ],
      }),
    ],
  ],
  [
    'lengths that no prefix has',
    [
      peer({
        accept: [
          { network: '10.0.0.0/8', ge: 7 },
          { network: '10.0.0.0/8', le: 7 },
          { network: '10.0.0.0/8', ge: 24, le: 23 },
          { network: '10.0.0.0/8', le: 33 },
          { network: '10.0.0.1/8' },
          { ge: 8 },
        ],
      }),
    ],
    'schema bgpPeer acme/new accept[0].ge',
    'schema bgpPeer acme/new accept[1].le',
    'schema bgpPeer acme/new accept[2].le',
    'schema bgpPeer acme/new accept[3].le',
    'schema bgpPeer acme/new accept[4].network',
    'schema bgpPeer acme/new accept[5].network',
  ],
  [
    'networks that are not exchanged with it',
    [peer({ advertise: ['10.0.0.0/8', { network: '2001:db8::/32', le: 48 }] })],
    'schema bgpPeer acme/new advertise[1]',
  ],
  [
    'policies that say nothing',
    [peer({ accept: ['2001:db8::/32', '10.0.0.1/8'], communities: ['65536:1', 'local', '1:01'] })],
    'schema bgpPeer acme/new accept[0]',
    'schema bgpPeer acme/new accept[1]',
    'schema bgpPeer acme/new communities[0]',
    'schema bgpPeer acme/new communities[1]',
    'schema bgpPeer acme/new communities[2]',
  ],
  ['a hold time that keepalives cannot keep', [peer({ holdS: 3, keepaliveS: 3 })], 'schema bgpPeer acme/new holdS'],
  ['bgp that goes while there are peers', [core(undefined)], 'no-bgp bgpPeer acme/core/one router'],
  ['bgp with another number', [core({ asn: 4_200_000_000, networks: ['203.0.113.0/24'], advertise: ['connected'] })]],
  [
    'bad numbers and networks',
    [
      core({
        asn: 4_294_967_296,
        routerId: '2001:db8::1',
        networks: ['203.0.113.1/24'],
        advertise: ['all'],
        maxRoutes: 0,
      }),
    ],
    'schema router acme/core bgp.advertise[0]',
    'schema router acme/core bgp.asn',
    'schema router acme/core bgp.maxRoutes',
    'schema router acme/core bgp.networks[0]',
    'schema router acme/core bgp.routerId',
  ],
  [
    'an uplink that loses the network of its peer',
    [uplink({ addresses: ['192.0.2.18/29'] })],
    'next-hop bgpPeer acme/core/one address',
  ],
  [
    'an uplink that loses IPv4',
    [uplink({ addresses: ['2001:db8:f::2/64'] })],
    'ip-version bgpPeer acme/core/one routerPort',
    'no-bgp bgpPeer acme/core/one router',
  ],
  ['an uplink that becomes outside', [uplink({ outside: true })], 'bgp-port bgpPeer acme/core/one routerPort'],
  [
    'an uplink whose switch becomes VLAN-aware',
    [{ kind: 'switch', tenant: 'acme', name: 'up', vlanAware: true }],
    'bgp-port bgpPeer acme/core/one routerPort',
  ],
  [
    'a peer that moves to another router',
    [{ ...peer({ router: 'mute', routerPort: 'mute/a', address: '192.0.2.9' }), name: 'one' }],
    'no-bgp bgpPeer acme/mute/one router',
  ],
];

for (const [what, objects, ...expected] of CASES)
  test(`bgp: ${what} is ${expected.length === 0 ? 'fine' : 'refused'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(GATEWAY), []);
    const problems = model.apply(objects).map(({ code, object, path }) => `${code} ${object} ${path}`);
    assert.deepEqual(problems.toSorted(), expected.toSorted());
  });

test('a router with peers over IPv6 alone needs a router id', () => {
  const model = new TrialModel();
  const objects = [
    ...BASE,
    { kind: 'router', tenant: 'acme', name: 'core', bgp: { asn: 64512 } },
    { kind: 'routerPort', tenant: 'acme', name: 'up', router: 'core', switch: 'flat', addresses: ['2001:db8:f::2/64'] },
    peer({ address: '2001:db8:f::1' }),
  ];
  assert.deepEqual(
    model.apply(objects).map(({ code, hint }) => [code, hint]),
    [['no-bgp', 'without IPv4 give bgp.routerId']],
  );
  const withId = objects.map((object) =>
    'bgp' in object ? { ...object, bgp: { asn: 64512, routerId: '10.255.0.1' } } : object,
  );
  assert.deepEqual(model.apply(withId), []);
});

test('a peer that no route leads to is told how to be reached, and its last route stays while it is there', () => {
  const model = new TrialModel();
  assert.deepEqual(model.apply(GATEWAY), []);
  const problems = model.apply([far]);
  const text =
    /is in no network of .*, and no static route leads to it by a next hop there: give router acme\/core one to 203\.0\.113\.9\/32/;
  assert.match(problems[0]!.message, text);
  assert.deepEqual(model.apply([far, routed('203.0.113.9/32', '192.0.2.1')]), []);
  const [problem] = model.apply([{ ...core({ asn: 64512 }), routes: [] }]);
  assert.deepEqual([problem?.code, problem?.object], ['next-hop', 'bgpPeer acme/core/new']);
});

test("a peer of the router's own AS that is stored from before lets all be changed but that", () => {
  const model = new TrialModel();
  assert.deepEqual(model.apply(GATEWAY), []);
  const router = model.index.named('router', model.tenant('acme'), 'core')[Symbol.iterator]().next().value!;
  const [one] = model.index.bgpPeersOfRouter(router.id);
  model.index.put({ ...one!, asn: 64512 } as ScopeRecord);
  const old = { ...peer({ address: '192.0.2.1', asn: 64512 }), name: 'one' };
  assert.deepEqual(model.apply([{ ...old, holdS: 30 }, core({ asn: 64512, advertise: ['connected'] })]), []);
  assert.deepEqual(model.apply([uplink({ addresses: ['192.0.2.2/29'] })]), []);
  assert.deepEqual(model.apply([core({ asn: 65001 })]), []);
  const [problem] = model.apply([core({ asn: 64512 })]);
  assert.equal(problem?.code, 'own-as');
  assert.match(problem.message, /^AS 64512 is that of router acme\/core too/);
  assert.match(problem.hint!, /the upstream's AS, or the router another/);
});
