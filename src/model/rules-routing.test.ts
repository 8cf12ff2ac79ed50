import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

/** Two tenants behind a shared switch: acme with a router, two switches, a translated and a virtual address. */
const ROUTED = [
  ...BASE,
  {
    kind: 'switch',
    tenant: 'beta',
    name: 'public',
    shared: true,
    subnets: [{ cidr: '203.0.113.0/24', gateway: '203.0.113.1' }],
  },
  { kind: 'switch', tenant: 'acme', name: 'web', subnets: [{ cidr: '10.1.0.0/24', gateway: '10.1.0.1' }] },
  { kind: 'port', tenant: 'acme', name: 'w1', switch: 'web', addresses: ['10.1.0.11'] },
  { kind: 'port', tenant: 'acme', name: 'w2', switch: 'web', addresses: ['10.1.0.12'] },
  { kind: 'port', tenant: 'acme', name: 'apart', switch: 'flat', addresses: ['10.1.0.99'] },
  {
    ...{ kind: 'router', tenant: 'acme', name: 'r', routes: [{ to: '0.0.0.0/0', via: '203.0.113.1' }] },
    snat: [{ from: '10.0.0.0/8', to: '203.0.113.2' }],
  },
  { kind: 'routerPort', tenant: 'acme', name: 'lan', router: 'r', switch: 'lan', addresses: ['10.0.0.1/24'] },
  { kind: 'routerPort', tenant: 'acme', name: 'web', router: 'r', switch: 'web', addresses: ['10.1.0.1/24'] },
  {
    ...{ kind: 'routerPort', tenant: 'acme', name: 'out', router: 'r' },
    switch: 'beta/public',
    outside: true,
    addresses: ['203.0.113.2/24'],
  },
  { kind: 'router', tenant: 'acme', name: 'r2' },
  { kind: 'routerPort', tenant: 'acme', name: 'open', router: 'r2', addresses: ['10.8.0.1/30'] },
  { kind: 'floatingAddress', tenant: 'acme', name: 'f', address: '203.0.113.50', router: 'r', port: 'w1' },
  {
    ...{ kind: 'loadBalancer', tenant: 'acme', name: 'vip', address: '203.0.113.60', router: 'r' },
    ...{ listeners: [{ protocol: 'tcp', port: 80 }], members: [{ port: 'w1' }, { port: 'w2' }] },
  },
  { kind: 'securityGroup', tenant: 'acme', name: 'g', ingress: [{ group: 'g' }] },
  { kind: 'addressSet', tenant: 'acme', name: 'a', addresses: ['10.0.0.0/8'] },
];
const of =
  (kind: string, tenant = 'acme') =>
  (fields: object) => ({ kind, tenant, name: 'new', ...fields });
const port = (fields: object) => of('port')({ name: 'p2', switch: 'lan', ...fields });
const routerPort = of('routerPort');
const router = (fields: object) => of('router')({ name: 'r', ...fields });
const floating = (fields: object) =>
  of('floatingAddress')({ address: '203.0.113.51', router: 'r', port: 'w2', ...fields });
const mirror = of('mirror');
const balancer = (fields: object) =>
  of('loadBalancer')({
    ...{ address: '203.0.113.61', router: 'r', listeners: [{ protocol: 'tcp', port: 80 }], members: [{ port: 'w1' }] },
    ...fields,
  });
const probing = (probe: object, rest: object = {}) =>
  router({ routes: [{ to: '0.0.0.0/0', via: '203.0.113.1', probe }], ...rest });
const toShared = [{ from: '10.0.0.0/8', to: '203.0.113.2' }];
const toOwn = [{ from: '10.0.0.0/8', to: '203.0.113.9' }];
const toOutside = { routes: [{ to: '0.0.0.0/0', via: '203.0.113.1' }] };

const rerouted = (position: number, via: string, dst?: string) => ({
  ...{ position, action: 'reroute', via },
  ...(dst === undefined ? {} : { match: { dst } }),
});
/** The routers r (10.8.0.2) and r2 (10.8.0.1), linked. */
const atEachOther = (one: object, other: object) => [
  routerPort({ router: 'r', peer: 'r2/open', addresses: ['10.8.0.2/30'] }),
  router(one),
  router({ name: 'r2', ...other }),
];

/** What is applied, and every problem that comes of it as `code object path`. */
const CASES: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  ['an open end', [routerPort({ router: 'r2' })]],
  [
    "a network that is wider than that of another tenant's switch",
    [routerPort({ router: 'r2', switch: 'beta/public', outside: true, addresses: ['203.0.113.5/20'] })],
    'address-outside routerPort acme/r2/new addresses[0]',
  ],
  ['a next hop that is probed by ARP', [probing({}, { snat: toShared })]],
  ['a next hop that is pinged from an address of its own', [probing({ type: 'ping' }, { snat: toOwn })]],
  [
    'a next hop that is pinged from an address that others have, too',
    [probing({ type: 'ping' }, { snat: toShared })],
    'probe router acme/r routes[0].probe',
  ],
  [
    'a next hop that is pinged from two addresses that others have, too',
    [
      routerPort({
        ...{ name: 'out', router: 'r', switch: 'beta/public', outside: true },
        addresses: ['203.0.113.2/24', '203.0.113.3/24'],
      }),
      probing({ type: 'ping' }, { snat: [{ from: '10.0.0.0/8', to: ['203.0.113.2', '203.0.113.3'] }] }),
    ],
    'probe router acme/r routes[0].probe',
    'probe router acme/r routes[0].probe',
  ],
  [
    'BFD from an address that others have, too',
    [probing({ type: 'bfd' }, { snat: toShared })],
    'probe router acme/r routes[0].probe',
  ],
  [
    'one next hop with two probes',
    [
      router({
        routes: [
          { to: '0.0.0.0/0', via: '203.0.113.1', probe: {} },
          { to: '198.51.100.0/24', via: '203.0.113.1', probe: { intervalMs: 100 } },
          { to: '198.51.101.0/24', via: '203.0.113.1' },
        ],
      }),
    ],
    'probe router acme/r routes[1].probe',
  ],
  [
    'a workload as a next hop that is probed',
    [router({ routes: [{ to: '198.51.100.0/24', via: '10.0.0.77', probe: {} }] }), port({ addresses: ['10.0.0.77'] })],
    'probe router acme/r routes[0].probe',
  ],
  [
    'a next hop behind an open end that is probed',
    [of('router')({ name: 'r2', routes: [{ to: '198.51.100.0/24', via: '10.8.0.2', probe: {} }] })],
    'probe router acme/r2 routes[0].probe',
  ],
  ['a mirror to a port', [mirror({ ports: ['w1'], to: { port: 'w2' } })]],
  ['a mirror to itself', [mirror({ ports: ['w2'], to: { port: 'w2' } })], 'ambiguous mirror acme/new ports[0]'],
  [
    'a mirror into a host of ours',
    [
      { kind: 'tunnelZone', name: 'z' },
      { kind: 'host', name: 'h', zone: 'z', tunnelAddress: '192.0.2.1' },
      mirror({ ports: ['w1'], to: { collector: { address: '192.0.2.1', key: 7 } } }),
    ],
    'collector host h tunnelAddress',
    'collector mirror acme/new to.collector.address',
  ],
  [
    'more limits than a port has meters',
    [1, 2, 3, 4, 5].map((n) => floating({ name: `l${n}`, address: `203.0.113.7${n}`, limit: { kbps: 1000 } })),
    ...[1, 2, 3, 4, 5].map((n) => `ambiguous floatingAddress acme/l${n} port`),
    ...[1, 2, 3, 4, 5].map((n) => `limits floatingAddress acme/l${n} limit`),
  ],
  ['a peer', [routerPort({ router: 'r', peer: 'r2/open', addresses: ['10.8.0.2/30'] })]],
  [
    'a peer that comes later in the request',
    [routerPort({ router: 'r', peer: 'r2/late' }), of('routerPort')({ name: 'late', router: 'r2' })],
  ],
  ['a peer on a switch', [routerPort({ router: 'r2', peer: 'r/lan' })], 'peer routerPort acme/r2/new peer'],
  [
    'a peer of the same router on a switch',
    [routerPort({ router: 'r', peer: 'r/lan' })],
    ...['peer routerPort acme/r/new peer', 'peer routerPort acme/r/new peer'],
  ],
  [
    'ports that name each other',
    [routerPort({ router: 'r', peer: 'r2/back' }), routerPort({ name: 'back', router: 'r2', peer: 'r/new' })],
    'peer routerPort acme/r/new peer',
    'peer routerPort acme/r2/back peer',
  ],
  ['itself as peer', [routerPort({ router: 'r2', peer: 'r2/new' })], 'peer routerPort acme/r2/new peer'],
  ['a peer of the same router', [routerPort({ router: 'r2', peer: 'r2/open' })], 'peer routerPort acme/r2/new peer'],
  [
    'a peer that two name',
    [routerPort({ router: 'r', peer: 'r2/open' }), routerPort({ name: 'new2', router: 'r', peer: 'r2/open' })],
    'peer routerPort acme/r/new peer',
    'peer routerPort acme/r/new2 peer',
  ],
  [
    'a switch and a peer',
    [routerPort({ router: 'r', switch: 'flat', peer: 'r2/open' })],
    'schema routerPort acme/new peer',
  ],
  [
    'an address outside the subnets',
    [routerPort({ router: 'r2', switch: 'lan', addresses: ['10.9.0.1/24'] })],
    'address-outside routerPort acme/r2/new addresses[0]',
  ],
  [
    'an address that a workload has',
    [routerPort({ router: 'r2', switch: 'lan', addresses: ['10.0.0.5/24'] })],
    'duplicate-address routerPort acme/r2/new addresses[0]',
  ],
  [
    'an address that a router has',
    [routerPort({ router: 'r2', switch: 'lan', addresses: ['10.0.0.1/24'] })],
    'duplicate-address routerPort acme/r2/new addresses[0]',
  ],
  [
    'an address that a router answers for',
    [routerPort({ router: 'r2', switch: 'beta/public', addresses: ['203.0.113.50/24'] })],
    'duplicate-address routerPort acme/r2/new addresses[0]',
  ],
  [
    "a workload address that is a router's",
    [port({ switch: 'web', addresses: ['10.1.0.1'] })],
    'gateway-in-use port acme/p2 addresses[0]',
  ],
  [
    'a workload address that is a VIP',
    [of('port', 'beta')({ switch: 'public', addresses: ['203.0.113.60'] })],
    'duplicate-address port beta/new addresses[0]',
  ],
  [
    'a network address',
    [routerPort({ router: 'r2', switch: 'flat', addresses: ['10.9.0.0/24'] })],
    'address-reserved routerPort acme/r2/new addresses[0]',
  ],
  [
    'a link-local address',
    [routerPort({ router: 'r2', switch: 'flat', addresses: ['fe80::1/64'] })],
    'address-reserved routerPort acme/r2/new addresses[0]',
  ],
  [
    'overlapping networks',
    [routerPort({ router: 'r', switch: 'flat', addresses: ['10.1.0.129/25'] })],
    'network-overlap routerPort acme/r/new addresses[0]',
  ],
  [
    'the gateway of a network that another tenant shares',
    [routerPort({ router: 'r2', switch: 'beta/public', addresses: ['203.0.113.1/24'] })],
    'gateway-in-use routerPort acme/r2/new addresses[0]',
  ],
  [
    'a virtual address that another router of a switch has, though it lies in none of its networks',
    [
      routerPort({ router: 'r2', switch: 'web', addresses: ['10.1.0.2/24'] }),
      balancer({ address: '192.0.2.1' }),
      balancer({ name: 'too', address: '192.0.2.1', router: 'r2' }),
    ],
    'duplicate-address loadBalancer acme/new address',
    'duplicate-address loadBalancer acme/too address',
  ],
  [
    'a switch that is not shared',
    [routerPort({ router: 'r2', switch: 'beta/lan' })],
    'not-shared routerPort acme/r2/new switch',
  ],
  [
    'sharing that ends while others are there',
    [{ ...ROUTED.find((o) => o.name === 'public')!, shared: false }],
    'not-shared routerPort acme/r/out switch',
  ],
  [
    'a MAC that a workload has',
    [routerPort({ router: 'r2', switch: 'lan', mac: '02:00:00:00:00:01' })],
    'duplicate-mac routerPort acme/r2/new mac',
  ],
  [
    'a next hop that no network holds',
    [router({ ...toOutside, routes: [{ to: '10.99.0.0/16', via: '192.0.2.1' }] })],
    'next-hop router acme/r routes[0].via',
  ],
  [
    'itself as next hop',
    [router({ routes: [{ to: '10.99.0.0/16', via: '10.0.0.1' }] })],
    'next-hop router acme/r routes[0].via',
  ],
  [
    'an IPv4 route by an IPv6 next hop',
    [
      routerPort({ router: 'r2', name: 'six', addresses: ['2001:db8:9::1/64'] }),
      of('router')({ name: 'r2', routes: [{ to: '10.99.0.0/16', via: '2001:db8:9::2' }] }),
    ],
  ],
  [
    'a next hop of another IP version',
    [router({ routes: [{ to: '2001:db8::/32', via: '10.0.0.9' }] })],
    'ip-version router acme/r routes[0].via',
  ],
  [
    'a route given twice',
    [
      router({
        routes: [
          { to: '10.9.0.0/16', via: '10.0.0.9' },
          { to: '10.9.0.0/16', action: 'reject' },
        ],
      }),
    ],
    'ambiguous router acme/r routes[1]',
  ],
  [
    'equal routes by one next hop twice, and another',
    [router({ routes: ['10.0.0.8', '10.0.0.8', '10.0.0.9'].map((via) => ({ to: '10.9.0.0/16', via })) })],
    'ambiguous router acme/r routes[1]',
  ],
  [
    'equal routes by two next hops',
    [router({ routes: ['10.0.0.8', '10.0.0.9'].map((via) => ({ to: '10.9.0.0/16', via })) })],
  ],
  [
    'a port taken from under a route',
    [{ ...ROUTED.find((o) => o.name === 'out')!, addresses: [] }],
    'next-hop router acme/r routes[0].via',
  ],
  [
    'policies at one position',
    [router({ policies: [1, 1].map((position) => ({ position, action: 'drop' })) })],
    'duplicate-position router acme/r policies[1].position',
  ],
  [
    'two translations of one source',
    [router({ snat: [2, 3].map((n) => ({ from: '10.0.0.0/8', to: `203.0.113.${n}` })) })],
    'ambiguous router acme/r snat[1].from',
  ],
  [
    'translation to what another has',
    [router({ snat: [{ from: '10.0.0.0/8', to: '203.0.113.60' }] })],
    'duplicate-address router acme/r snat[0].to',
  ],
  [
    'a pool with what others have',
    [router({ snat: [{ from: '10.0.0.0/8', to: ['203.0.113.2', '203.0.113.50', '203.0.113.59-203.0.113.61'] }] })],
    'duplicate-address router acme/r snat[0].to[1]',
    'duplicate-address router acme/r snat[0].to[2]',
  ],
  [
    'a pool with the first address of its network, and with the gateway',
    [router({ snat: [{ from: '10.0.0.0/8', to: '203.0.113.0/31' }] })],
    'address-reserved router acme/r snat[0].to',
    'gateway-in-use router acme/r snat[0].to',
  ],
  [
    'a floating address of a pool',
    [
      router({ snat: [{ from: '10.0.0.0/8', to: ['203.0.113.70-203.0.113.79'] }] }),
      floating({ address: '203.0.113.75' }),
    ],
    'duplicate-address floatingAddress acme/new address',
    'duplicate-address router acme/r snat[0].to[0]',
  ],
  [
    'a pool that is none: upside down, of two IP versions, with addresses twice',
    [
      router({
        snat: [
          { from: '10.0.0.0/8', to: ['203.0.113.79-203.0.113.70', '2001:db8::9', 'web', '203.0.113.9'] },
          { from: '10.1.0.0/16', to: ['203.0.113.70-203.0.113.79', '203.0.113.76/30', '203.0.113.75'] },
          { from: 'fd00::/16', to: '203.0.113.80-203.0.113.81' },
        ],
      }),
    ],
    'schema router acme/r snat[0].to[0]',
    'schema router acme/r snat[0].to[1]',
    'schema router acme/r snat[0].to[2]',
    'schema router acme/r snat[1].to[1]',
    'schema router acme/r snat[1].to[2]',
    'schema router acme/r snat[2].to',
  ],
  [
    'pools that are too large or empty',
    [
      router({
        snat: [
          { from: '10.0.0.0/8', to: ['203.0.113.64/26', '203.0.113.9'] },
          { from: '10.1.0.0/16', to: '198.18.0.0/15' },
          { from: '10.2.0.0/16', to: [] },
        ],
      }),
    ],
    'schema router acme/r snat[0].to',
    'schema router acme/r snat[1].to',
    'schema router acme/r snat[2].to',
  ],
  [
    'two default routes at each other over a link',
    [
      routerPort({ router: 'r', peer: 'r2/open', addresses: ['10.8.0.2/30'] }),
      router({ routes: [{ to: '0.0.0.0/0', via: '10.8.0.1' }] }),
      router({ name: 'r2', routes: [{ to: '0.0.0.0/0', via: '10.8.0.2' }] }),
    ],
    'route-circle router acme/r routes[0].via',
  ],
  [
    'equal routes of which each leads in a circle',
    [
      routerPort({ router: 'r2', switch: 'lan', addresses: ['10.0.0.2/24'] }),
      of('router')({ name: 'r3', routes: [{ to: '0.0.0.0/0', via: '10.0.0.1' }] }),
      routerPort({ name: 'three', router: 'r3', switch: 'lan', addresses: ['10.0.0.3/24'] }),
      router({ name: 'r2', routes: [{ to: '0.0.0.0/0', via: '10.0.0.1' }] }),
      router({ routes: ['10.0.0.2', '10.0.0.3'].map((via) => ({ to: '0.0.0.0/0', via })), snat: toShared }),
    ],
    'route-circle router acme/r3 routes[0].via',
    'route-circle router acme/r2 routes[0].via',
  ],
  [
    'two default routes at each other over a switch',
    [
      routerPort({ router: 'r2', switch: 'lan', addresses: ['10.0.0.2/24'] }),
      router({ routes: [{ to: '0.0.0.0/0', via: '10.0.0.2' }] }),
      router({ name: 'r2', routes: [{ to: '0.0.0.0/0', via: '10.0.0.1' }] }),
    ],
    'route-circle router acme/r routes[0].via',
  ],
  [
    'two policies for everything at each other',
    atEachOther({ policies: [rerouted(1, '10.8.0.1')] }, { policies: [rerouted(7, '10.8.0.2')] }),
    'route-circle router acme/r policies[0].via',
  ],
  [
    'two policies for one destination at each other, behind others',
    atEachOther(
      {
        policies: [
          { position: 1, match: { dst: '10.9.0.0/16' }, action: 'drop' },
          rerouted(2, '10.8.0.1', '10.6.0.0/16'),
        ],
      },
      { policies: [rerouted(1, '10.8.0.2', '10.0.0.0/8')] },
    ),
    'route-circle router acme/r policies[1].via',
  ],
  [
    'a policy and a route back for some of it',
    atEachOther({ policies: [rerouted(1, '10.8.0.1')] }, { routes: [{ to: '198.51.100.0/24', via: '10.8.0.2' }] }),
    'route-circle router acme/r policies[0].via',
  ],
  [
    'a policy that lets what would go in a circle go by its routes',
    atEachOther(
      { policies: [{ position: 1, match: { dst: '198.51.100.0/24' }, action: 'allow' }, rerouted(2, '10.8.0.1')] },
      { routes: [{ to: '198.51.100.0/24', via: '10.8.0.2' }] },
    ),
  ],
  [
    'policies that ask for more than a destination',
    atEachOther(
      { policies: [{ ...rerouted(1, '10.8.0.1'), match: { protocol: 'tcp' } }] },
      { policies: [{ ...rerouted(1, '10.8.0.2'), match: { src: '10.1.0.0/24' } }, rerouted(2, '10.8.0.2')] },
    ),
  ],
  [
    'a policy that drops what routes would send in a circle',
    atEachOther(
      { policies: [{ position: 1, action: 'drop' }], routes: [{ to: '198.51.100.0/24', via: '10.8.0.1' }] },
      { routes: [{ to: '198.51.100.0/24', via: '10.8.0.2' }] },
    ),
  ],
  [
    'IPv6 of a router on a switch with a small MTU',
    [
      { kind: 'switch', tenant: 'acme', name: 'narrow', mtu: 1000 },
      routerPort({ router: 'r', switch: 'narrow', addresses: ['10.7.0.1/24', '2001:db8:7::1/64'] }),
    ],
    'mtu routerPort acme/r/new addresses[1]',
    'mtu switch acme/narrow mtu',
  ],
  ['a floating address', [floating({})]],
  [
    'a floating address that is taken',
    [floating({ address: '203.0.113.60' })],
    'duplicate-address floatingAddress acme/new address',
  ],
  [
    'a floating address that is the gateway',
    [floating({ address: '203.0.113.1' })],
    'gateway-in-use floatingAddress acme/new address',
  ],
  [
    'a floating address for a port elsewhere',
    [floating({ port: 'apart' })],
    'unreachable floatingAddress acme/new port',
  ],
  [
    'a floating address for what the port has not',
    [floating({ fixed: '10.1.0.77' })],
    'member-address floatingAddress acme/new fixed',
  ],
  ['two floating addresses for one', [floating({ port: 'w1' })], 'ambiguous floatingAddress acme/new port'],
  [
    'a floating address of another IP version',
    [floating({ address: '2001:db8::51' })],
    'member-address floatingAddress acme/new port',
  ],
  [
    'a port that loses what a floating address leads to',
    [{ kind: 'port', tenant: 'acme', name: 'w1', switch: 'web', addresses: [] }],
    'member-address floatingAddress acme/f port',
    'member-address loadBalancer acme/vip members[0].port',
  ],
  ['a VIP inside', [balancer({ address: '10.1.0.200' })]],
  [
    'a VIP that a workload has',
    [balancer({ address: '10.1.0.12' })],
    'duplicate-address loadBalancer acme/new address',
  ],
  [
    'a VIP of a switch that a workload has',
    [balancer({ address: '10.1.0.12', router: undefined, switch: 'web' })],
    'duplicate-address loadBalancer acme/new address',
  ],
  [
    'next hops of very different weights',
    [
      router({
        routes: [
          { to: '198.51.100.0/24', via: '203.0.113.1', weight: 1 },
          { to: '198.51.100.0/24', via: '203.0.113.3', weight: 100 },
          ...Array.from({ length: 100 }, (_, n) => ({ to: '198.51.101.0/24', via: `203.0.113.${n + 3}` })),
        ],
      }),
    ],
  ],
  [
    'a next hop that would get none of the packets',
    [
      router({
        routes: [1, 3, 4, 5, 6].map((n) => ({ to: '198.51.100.0/24', via: `203.0.113.${n}`, weight: n < 3 ? 1 : 100 })),
      }),
    ],
    'slots router acme/r routes[0].weight',
  ],
  [
    'load balancers of a router that share an address',
    [
      balancer({ address: '203.0.113.60', listeners: [{ protocol: 'tcp', port: 2222, memberPort: 22 }] }),
      balancer({ name: 'dns', address: '203.0.113.60', listeners: [{ protocol: 'udp', port: 80 }] }),
    ],
  ],
  [
    'load balancers of a switch that share an address',
    [
      balancer({ address: '10.1.0.200', router: undefined, switch: 'web' }),
      balancer({
        ...{ name: 'ssh', address: '10.1.0.200', router: undefined, switch: 'web' },
        listeners: [{ protocol: 'tcp', port: 22 }],
      }),
    ],
  ],
  [
    'a shared address of which a listener, what protects it, and its limits are not the same',
    [
      { kind: 'chain', tenant: 'acme', name: 'c' },
      balancer({
        ...{ address: '203.0.113.60', prefilter: 'c', inboundLimit: { kbps: 1000 } },
        listeners: [
          { protocol: 'udp', port: 80 },
          { protocol: 'tcp', port: 80 },
        ],
      }),
    ],
    'duplicate-listener loadBalancer acme/new listeners[1].port',
    'shared-address loadBalancer acme/new inboundLimit',
    'shared-address loadBalancer acme/new prefilter',
  ],
  [
    'a shared address whose pre-filter and limits all get at once',
    [
      { kind: 'chain', tenant: 'acme', name: 'c' },
      { ...ROUTED.find((o) => o.name === 'vip')!, prefilter: 'c', inboundLimit: { kbps: 1000 } },
      balancer({
        ...{ address: '203.0.113.60', prefilter: 'c', inboundLimit: { kbps: 1000 } },
        listeners: [{ protocol: 'udp', port: 80 }],
      }),
    ],
  ],
  [
    'an address that a router and a switch share',
    [
      balancer({ address: '10.1.0.200', listeners: [{ protocol: 'tcp', port: 443 }] }),
      balancer({ name: 'too', address: '10.1.0.200', router: undefined, switch: 'web' }),
    ],
    'duplicate-address loadBalancer acme/new address',
    'duplicate-address loadBalancer acme/too address',
  ],
  [
    'more members of a shared address than a load balancer may have',
    [
      ...Array.from({ length: 1001 }, (_, n) => ({
        ...{ kind: 'port', tenant: 'acme', name: `m${n}`, switch: 'wide' },
        addresses: [`10.65.${n >> 8}.${n & 255}`],
      })),
      { kind: 'switch', tenant: 'acme', name: 'wide', subnets: [{ cidr: '10.64.0.0/12' }] },
      routerPort({ router: 'r', switch: 'wide', addresses: ['10.79.0.1/12'] }),
      ...['new', 'too'].map((name, which) =>
        balancer({
          ...{ name, address: '203.0.113.99', slots: 1024, listeners: [{ protocol: 'tcp', port: 80 + which }] },
          members: Array.from({ length: 500 + which }, (_, n) => ({ port: `m${500 * which + n}` })),
        }),
      ),
    ],
    'shared-address loadBalancer acme/new members',
    'shared-address loadBalancer acme/too members',
  ],
  ['a VIP without members', [balancer({ members: [] })], 'schema loadBalancer acme/new members'],
  [
    'probes that take longer than until the next one',
    [balancer({ health: { type: 'tcp', intervalMs: 500, timeoutMs: 501 } })],
    'schema loadBalancer acme/new health.timeoutMs',
  ],
  [
    'a member elsewhere',
    [balancer({ members: [{ port: 'apart' }] })],
    'unreachable loadBalancer acme/new members[0].port',
  ],
  [
    'a member twice',
    [balancer({ members: [{ port: 'w1' }, { port: 'w1' }] })],
    'ambiguous loadBalancer acme/new members[1].port',
  ],
  [
    'a member without an address of the version',
    [balancer({ address: '2001:db8::61' })],
    'member-address loadBalancer acme/new members[0].port',
  ],
  [
    "another tenant's member",
    [{ ...of('port', 'beta')({ name: 'x', switch: 'lan' }) }, balancer({ members: [{ port: 'beta/x' }] })],
    'cross-tenant loadBalancer acme/new members[0].port',
    'member-address loadBalancer acme/new members[0].port',
    'unreachable loadBalancer acme/new members[0].port',
  ],
  [
    'a bad member of a set',
    [of('addressSet')({ addresses: ['10.0.0.1', 'x'] })],
    'schema addressSet acme/new addresses[1]',
  ],
  [
    'a port range upside down',
    [of('securityGroup')({ ingress: [{ protocol: 'tcp', ports: '90-80' }] })],
    'schema securityGroup acme/new ingress[0].ports',
  ],
  [
    'groups that name each other',
    [
      of('securityGroup')({ name: 'x', ingress: [{ group: 'y' }] }),
      of('securityGroup')({ name: 'y', ingress: [{ group: 'x' }] }),
    ],
  ],
  [
    'an unknown group in a rule',
    [of('securityGroup')({ ingress: [{ group: 'gg' }] })],
    'reference securityGroup acme/new ingress[0].group',
  ],
  [
    "a router port's move to another router",
    [{ ...ROUTED.find((o) => o.name === 'open')!, router: 'r', addresses: [] }],
  ],
];

for (const [what, objects, ...problems] of CASES)
  test(`rules of routing: ${what} ${problems.length > 0 ? 'is refused' : 'is allowed'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(ROUTED), []);
    const found = model.apply(objects).map(({ code, object, path }) => `${code} ${object} ${path}`);
    assert.deepEqual(found.toSorted(), [...problems].toSorted());
  });

test('rules of routing: each circle that a router closes is named', () => {
  const model = new TrialModel();
  const backTo = (name: string) => router({ name, routes: [{ to: '0.0.0.0/0', via: '10.0.0.1' }] });
  const back = [2, 3].flatMap((n) => [
    backTo(`r${n}`),
    routerPort({ name: `lan${n}`, router: `r${n}`, switch: 'lan', addresses: [`10.0.0.${n}/24`] }),
  ]);
  model.apply(ROUTED);
  assert.deepEqual(model.apply(back), []);
  const routes = ['10.0.0.2', '10.0.0.3'].map((via) => ({ to: '0.0.0.0/0', via }));
  assert.deepEqual(
    model.apply([router({ routes, snat: toShared })]).map(({ path, message }) => `${path}: ${message}`),
    [2, 3].map((n) => `routes[${n - 2}].via: packets to 0.0.0.0/0 would go in a circle: acme/r → acme/r${n} → acme/r`),
  );
});

test('rules of routing: a circle is named', () => {
  const model = new TrialModel();
  model.apply(ROUTED);
  const [problem] = model.apply([
    routerPort({ router: 'r', peer: 'r2/open', addresses: ['10.8.0.2/30'] }),
    router({ routes: [{ to: '0.0.0.0/0', via: '10.8.0.1' }] }),
    router({ name: 'r2', routes: [{ to: '0.0.0.0/0', via: '10.8.0.2' }] }),
  ]);
  assert.match(problem?.message ?? '', /0\.0\.0\.0\/0 would go in a circle: acme\/r → acme\/r2 → acme\/r$/);
});

test('rules of routing: a policy closes a circle that a narrower one, or a route, is half of', () => {
  for (const half of [
    { policies: [rerouted(1, '10.8.0.2', '10.6.0.0/16')] },
    { routes: [{ to: '10.6.0.0/16', via: '10.8.0.2' }] },
  ]) {
    const model = new TrialModel();
    model.apply(ROUTED);
    assert.deepEqual(model.apply(atEachOther({}, half)), []);
    const [problem] = model.apply([router({ policies: [rerouted(1, '10.8.0.1')] })]);
    assert.match(problem?.message ?? '', /10\.6\.0\.0\/16 would go in a circle: acme\/r → acme\/r2 → acme\/r$/);
  }
});

test('rules of routing: what is in use stays: routers with ports, groups and sets that rules name', () => {
  const model = new TrialModel();
  const user = of('port')({ name: 'user', switch: 'flat', addresses: [], groups: ['g'] });
  const filter = of('rule')({ chain: 'c1', position: 9, action: 'drop', match: { srcSet: 'a' } });
  model.apply([...ROUTED, user, filter], { applySet: 'all' });
  const gone = new Set(['r', 'g', 'a']);
  const kept = [...ROUTED, user, filter].filter(
    (object) => !(gone.has(object.name) && ['router', 'securityGroup', 'addressSet'].includes(object.kind)),
  );
  const problems = model.apply(kept, { applySet: 'all', prune: true });
  assert.deepEqual(
    problems
      .filter(({ code }) => code === 'in-use')
      .map(({ object }) => object)
      .toSorted(),
    ['addressSet acme/a', 'router acme/r', 'securityGroup acme/g'],
  );
});

test('allocation: what a router has or answers for is given to no workload, and is to be had again afterwards', () => {
  const model = new TrialModel();
  const small = { kind: 'switch', tenant: 'acme', name: 'small', subnets: [{ cidr: '10.5.0.0/29' }] };
  const routed = [
    router({ name: 'r', snat: [] }),
    routerPort({ router: 'r', switch: 'small', addresses: ['10.5.0.1/29'] }),
    of('loadBalancer')({
      ...{ address: '10.5.0.2', router: 'r', listeners: [{ protocol: 'tcp', port: 80 }], members: [{ port: 'a' }] },
    }),
    port({ name: 'a', switch: 'small' }),
    port({ name: 'b', switch: 'small' }),
  ];
  assert.deepEqual(model.apply([...BASE, small, ...routed]), []);
  const addresses = () => ['a', 'b'].map((name) => model.port(name).addresses[0]);
  assert.deepEqual(addresses(), ['10.5.0.3', '10.5.0.4']);
  model.apply([port({ name: 'c', switch: 'small' }), port({ name: 'd', switch: 'small' })]);
  const [problem] = model.apply([port({ name: 'e', switch: 'small' })]);
  assert.equal(problem?.code, 'subnet-full');
  assert.deepEqual(model.apply([{ ...routed[1], addresses: [] }]), []);
  model.allocator.reconsider();
  assert.deepEqual(model.apply([port({ name: 'e', switch: 'small' })]), []);
  assert.equal(model.port('e').addresses[0], '10.5.0.1');
});

test('rules of routing: a whole routed network goes in one write', () => {
  const model = new TrialModel();
  model.apply(BASE);
  model.apply(ROUTED.slice(BASE.length), { applySet: 'routed' });
  assert.deepEqual(model.apply([], { applySet: 'routed', prune: true }), []);
  assert.equal(model.index.count('router') + model.index.count('routerPort') + model.index.count('securityGroup'), 0);
});

/** A member on a switch without subnets, where its router has 10.9.0.1/24 and fd00:9::1/64. */
const strays = (address: string, where: object = {}) => [
  routerPort({ name: 'flat', router: 'r', switch: 'flat', addresses: ['10.9.0.1/24', 'fd00:9::1/64'], ...where }),
  port({ name: 'stray', switch: 'flat', addresses: [address] }),
];
const toStray = { members: [{ port: 'stray' }] };
const six = { address: '2001:db8::61' };
const REFUSED = 'unreachable loadBalancer acme/new members[0].port';
const fromPeer = [
  routerPort({ router: 'r', name: 'link', peer: 'r2/open', addresses: ['10.8.0.2/30'] }),
  router({ routes: [{ to: '192.0.2.0/24', via: '10.8.0.1' }], snat: toShared }),
];

/** What is applied, and every problem that comes of it. */
const WAYS: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  ['a member in a network of the router', [...strays('10.9.0.5'), balancer(toStray)]],
  ['a member in none', [...strays('192.0.2.1'), balancer(toStray)], REFUSED],
  [
    'a member in none, of a router without routes',
    [...strays('192.0.2.1', { router: 'r2' }), balancer({ ...toStray, router: 'r2' })],
    REFUSED,
  ],
  ['an IPv6 member in a network of the router', [...strays('fd00:9::5'), balancer({ ...toStray, ...six })]],
  ['an IPv6 member in none', [...strays('fd00:a::5'), balancer({ ...toStray, ...six })], REFUSED],
  [
    'an IPv6 member where the router has IPv4 alone',
    [...strays('fd00:9::5', { addresses: ['10.9.0.1/24'] }), balancer({ ...toStray, ...six })],
    REFUSED,
  ],
  [
    'a workload with a floating address in none',
    [...strays('192.0.2.1'), floating({ port: 'stray' })],
    'unreachable floatingAddress acme/new port',
  ],
  [
    'a second address with a floating one in none',
    [
      strays('10.9.0.5')[0]!,
      port({ name: 'stray', switch: 'flat', addresses: ['10.9.0.5', '192.0.2.1'] }),
      floating({ port: 'stray', fixed: '192.0.2.1' }),
    ],
    'unreachable floatingAddress acme/new fixed',
  ],
  ['a workload with a floating address in a network', [...strays('10.9.0.5'), floating({ port: 'stray' })]],
  [
    'a member behind a next hop on its switch',
    [
      ...strays('192.0.2.1'),
      router({ routes: [{ to: '192.0.2.0/24', via: '10.9.0.7' }], snat: toShared }),
      balancer(toStray),
    ],
  ],
  [
    'a member that a policy leads to',
    [...strays('192.0.2.1'), router({ policies: [rerouted(1, '10.9.0.7', '192.0.2.0/24')] }), balancer(toStray)],
  ],
  [
    'a member for which there is a blackhole',
    [...strays('192.0.2.1'), router({ routes: [{ to: '192.0.2.0/24', action: 'blackhole' }] }), balancer(toStray)],
    REFUSED,
  ],
  [
    'a member behind a linked router that has its network',
    [...strays('192.0.2.5', { router: 'r2', addresses: ['192.0.2.1/24'] }), ...fromPeer, balancer(toStray)],
  ],
  [
    'a member behind a linked router that has another network',
    [...strays('192.0.2.5', { router: 'r2' }), ...fromPeer, balancer(toStray)],
    REFUSED,
  ],
  [
    'a member behind a linked router to which no route leads',
    [
      ...strays('192.0.2.5', { router: 'r2', addresses: ['192.0.2.1/24'] }),
      fromPeer[0]!,
      router({ routes: [], snat: toShared }),
      balancer(toStray),
    ],
    REFUSED,
  ],
  [
    'a member behind what forwards, to which a route leads',
    [...strays('192.0.2.1'), port({ name: 'wall', switch: 'flat', portSecurity: false }), balancer(toStray)],
  ],
  [
    'a member that may be told by BGP',
    [
      ...strays('192.0.2.1'),
      router({ bgp: { asn: 64_512 } }),
      of('bgpPeer')({ router: 'r', routerPort: 'r/flat', address: '10.9.0.7', asn: 64_513 }),
      balancer(toStray),
    ],
  ],
  [
    'members of a VIP of their switch, without a router',
    [
      port({ name: 'stray', switch: 'flat', addresses: ['192.0.2.1'] }),
      balancer({ ...toStray, router: undefined, switch: 'flat' }),
    ],
  ],
  [
    'a member on another switch than its VIP, in a network of a router of both',
    [...strays('10.9.0.5'), balancer({ ...toStray, address: '10.7.0.1', router: undefined, switch: 'web' })],
  ],
  [
    'a member on another switch than its VIP, whose router has no way to it',
    [...strays('192.0.2.1'), balancer({ ...toStray, address: '10.7.0.1', router: undefined, switch: 'web' })],
    REFUSED,
  ],
];
for (const [what, objects, ...problems] of WAYS)
  test(`ways to members: ${what} ${problems.length > 0 ? 'is refused' : 'is allowed'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(ROUTED), []);
    assert.deepEqual(
      model.apply(objects).map(({ code, object, path }) => `${code} ${object} ${path}`),
      problems,
    );
  });

test('ways to members: another address is asked for its way, and what was stored before may be changed in other ways', () => {
  const model = new TrialModel();
  model.apply(ROUTED);
  const held = [balancer(toStray), floating({ port: 'stray' })];
  assert.deepEqual(model.apply([...strays('10.9.0.5'), ...held]), []);
  const [, moved] = strays('192.0.2.1');
  const refused = [REFUSED, 'unreachable floatingAddress acme/new port'];
  const told = (...objects: readonly object[]) =>
    model.apply(objects).map(({ code, object, path }) => `${code} ${object} ${path}`);
  assert.deepEqual(told(moved!).toSorted(), refused.toSorted());
  const other = [balancer({ ...toStray, slots: 64 }), floating({ port: 'stray', limit: { kbps: 1000 } })];
  assert.deepEqual(told(moved!, ...other).toSorted(), refused.toSorted(), 'with all that leads there');
  const [problem] = model.apply([moved!]);
  assert.match(
    problem!.message,
    /^no way leads from router acme\/r to 192\.0\.2\.1 of port acme\/stray: .* have 10\.9\.0\.1\/24, fd00:9::1\/64, and/,
  );
  model.index.put({ ...model.port('stray'), addresses: ['192.0.2.1'] });
  assert.deepEqual(told(...other), []);
});
