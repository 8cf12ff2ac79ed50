import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';
import { advertisedBy } from './advertised.ts';
import { gatewaysOf } from './gateways.ts';

// What a router advertises (docs/design/gateways.md, §4).

const port = (name: string, address: string) => ({
  kind: 'port',
  tenant: 'acme',
  name,
  switch: 'web',
  addresses: [address, `2001:db8:1::${address.split('.').at(-1)}`],
});
const WORLD = [
  ...BASE,
  {
    kind: 'switch',
    tenant: 'beta',
    name: 'public',
    shared: true,
    subnets: [{ cidr: '203.0.113.0/24' }, { cidr: '2001:db8:f::/64' }],
  },
  { kind: 'switch', tenant: 'beta', name: 'up' },
  { kind: 'port', tenant: 'beta', name: 'wire', switch: 'up', portSecurity: false, host: 'h1' },
  { kind: 'router', tenant: 'beta', name: 'core', bgp: { asn: 64512, networks: ['198.51.100.0/24'] } },
  {
    kind: 'routerPort',
    tenant: 'beta',
    name: 'public',
    router: 'core',
    switch: 'public',
    addresses: ['203.0.113.1/24', '2001:db8:f::1/64'],
  },
  { kind: 'routerPort', tenant: 'beta', name: 'up', router: 'core', switch: 'up', addresses: ['192.0.2.2/29'] },
  {
    kind: 'bgpPeer',
    tenant: 'beta',
    name: 'p',
    router: 'core',
    routerPort: 'core/up',
    address: '192.0.2.1',
    asn: 64513,
  },
  { kind: 'switch', tenant: 'acme', name: 'web', subnets: [{ cidr: '10.1.0.0/24' }, { cidr: '2001:db8:1::/64' }] },
  port('w1', '10.1.0.11'),
  port('w2', '10.1.0.12'),
  {
    kind: 'router',
    tenant: 'acme',
    name: 'r',
    snat: [
      { from: '10.1.0.0/24', to: '203.0.113.7' },
      { from: '10.2.0.0/24', to: '203.0.113.7' },
    ],
  },
  {
    kind: 'routerPort',
    tenant: 'acme',
    name: 'web',
    router: 'r',
    switch: 'web',
    addresses: ['10.1.0.1/24', '2001:db8:1::1/64'],
  },
  {
    kind: 'routerPort',
    tenant: 'acme',
    name: 'out',
    router: 'r',
    switch: 'beta/public',
    outside: true,
    addresses: ['203.0.113.2/24', '2001:db8:f::2/64'],
  },
  { kind: 'floatingAddress', tenant: 'acme', name: 'f4', router: 'r', port: 'w1', address: '203.0.113.50' },
  { kind: 'floatingAddress', tenant: 'acme', name: 'f6', router: 'r', port: 'w1', address: '2001:db8:f::50' },
  { kind: 'floatingAddress', tenant: 'acme', name: 'unbound', router: 'r', port: 'w2', address: '203.0.113.51' },
  {
    ...{ kind: 'loadBalancer', tenant: 'acme', name: 'vip', router: 'r', address: '203.0.113.60' },
    ...{ listeners: [{ protocol: 'tcp', port: 80 }], members: [{ port: 'w1' }, { port: 'w2' }] },
  },
  {
    ...{ kind: 'loadBalancer', tenant: 'acme', name: 'inside', router: 'r', address: '10.250.0.1' },
    ...{ listeners: [{ protocol: 'tcp', port: 80 }], members: [{ port: 'w1' }] },
  },
];
const ALWAYS = ['198.51.100.0/24 network'];

class World extends TrialModel {
  constructor() {
    super();
    assert.deepEqual(this.apply(WORLD), []);
    this.bind('w1');
  }
  bind(name: string, host?: string): void {
    const { id, switch: onSwitch } = this.port(name);
    const active = host ?? [...this.index.named('host', undefined, 'h1')][0]!.id;
    const claims = [{ host: active, interface: name, sinceMs: 0 }];
    this.index.put({ kind: 'binding', id, revision: 1, switch: onSwitch, claims, active });
  }
  unbind(name: string): void {
    this.index.delete('binding', this.port(name).id);
  }
  health(name: string, up: boolean): void {
    const [balancer] = this.index.named('loadBalancer', this.tenant('acme'), 'vip');
    const { id } = this.port(name);
    this.index.put({
      kind: 'memberHealth',
      id: `${balancer!.id}/${id}`,
      revision: 1,
      loadBalancer: balancer!.id,
      port: id,
      host: 'h',
      up,
    });
  }
  change(name: string, fields: object, kind = 'router', tenant = 'beta'): void {
    const known = WORLD.find(
      (object) =>
        object.kind === kind &&
        'name' in object &&
        object.name === name &&
        'tenant' in object &&
        object.tenant === tenant,
    )!;
    assert.deepEqual(this.apply([{ ...known, ...fields }]), []);
  }
  said(lost: readonly string[] = []): string[] {
    const [core] = this.index.named('router', this.tenant('beta'), 'core');
    return advertisedBy(this.index, core!, (host) => lost.includes(host)).map(
      ({ network, why }) => `${network} ${why}`,
    );
  }
}

const TRANSLATED = [
  '2001:db8:f::50/128 floating',
  '203.0.113.50/32 floating',
  '203.0.113.60/32 vip',
  '203.0.113.7/32 snat',
];

test('floating, SNAT and virtual addresses of routers behind a shared switch are advertised, each once', () => {
  assert.deepEqual(new World().said(), [...ALWAYS, ...TRANSLATED]);
});

test('a floating address is advertised while its port is bound and it is up', () => {
  const world = new World();
  world.bind('w2');
  assert.ok(world.said().includes('203.0.113.51/32 floating'));
  world.change('unbound', { adminUp: false }, 'floatingAddress', 'acme');
  world.unbind('w1');
  assert.deepEqual(world.said(), [...ALWAYS, '203.0.113.60/32 vip', '203.0.113.7/32 snat']);
});

test('a virtual address is advertised while a member serves', () => {
  const world = new World();
  const isSaid = (): boolean => world.said().includes('203.0.113.60/32 vip');
  world.bind('w2');
  world.health('w1', false);
  assert.ok(isSaid());
  world.health('w2', false);
  assert.ok(!isSaid());
  world.health('w2', true);
  assert.ok(isSaid());
  world.change('vip', { members: [{ port: 'w1' }, { port: 'w2', drain: true }] }, 'loadBalancer', 'acme');
  assert.ok(!isSaid());
  world.health('w1', true);
  const listeners = [{ protocol: 'tcp', port: 80, adminUp: false }];
  world.change('vip', { listeners }, 'loadBalancer', 'acme');
  assert.ok(!isSaid());
  world.change('vip', { listeners: [...listeners, { protocol: 'tcp', port: 81 }] }, 'loadBalancer', 'acme');
  assert.ok(isSaid());
  world.change('vip', { adminUp: false }, 'loadBalancer', 'acme');
  assert.ok(!isSaid());
});

test('a virtual address is advertised while a member that serves is on a host that answers', () => {
  const world = new World();
  const isSaid = (...lost: string[]): boolean => world.said(lost).includes('203.0.113.60/32 vip');
  world.bind('w2', 'h2');
  world.health('w1', false);
  assert.ok(isSaid());
  assert.ok(!isSaid('h2'));
  world.health('w1', true);
  assert.ok(isSaid('h2'));
  for (const name of ['w1', 'w2']) world.unbind(name);
  assert.ok(!isSaid());
});

test('a virtual address that several share is advertised once, while a member of any of them serves', () => {
  const world = new World();
  const ssh = {
    ...{ kind: 'loadBalancer', tenant: 'acme', name: 'ssh', router: 'r', address: '203.0.113.60' },
    ...{ listeners: [{ protocol: 'tcp', port: 22 }], members: [{ port: 'w2' }] },
  };
  assert.deepEqual(world.apply([ssh]), []);
  world.bind('w2');
  const count = (): number => world.said().filter((each) => each === '203.0.113.60/32 vip').length;
  assert.equal(count(), 1);
  world.change('vip', { adminUp: false }, 'loadBalancer', 'acme');
  assert.equal(count(), 1);
  assert.deepEqual(world.apply([{ ...ssh, members: [{ port: 'w2', drain: true }] }]), []);
  assert.equal(count(), 0);
});

test('only what is asked for is advertised, of connected networks all', () => {
  const world = new World();
  world.change('core', { bgp: { asn: 64512, advertise: ['connected', 'snat'] } });
  assert.deepEqual(world.said(), [
    '192.0.2.0/29 connected',
    '2001:db8:f::/64 connected',
    '203.0.113.0/24 connected',
    '203.0.113.7/32 snat',
  ]);
  world.change('core', { bgp: { asn: 64512, advertise: [] } });
  assert.deepEqual(world.said(), []);
});

test('of a pool each address that an outside port holds is advertised', () => {
  const world = new World();
  const pool = ['203.0.113.7', '203.0.113.40-203.0.113.41', '198.18.0.1'];
  world.change('r', { snat: [{ from: '10.1.0.0/24', to: pool }] }, 'router', 'acme');
  const snat = world.said().filter((each) => each.endsWith(' snat'));
  assert.deepEqual(snat, ['203.0.113.40/32 snat', '203.0.113.41/32 snat', '203.0.113.7/32 snat']);
});

test('networks of static routes are advertised where that is asked for, default routes are not', () => {
  const world = new World();
  const route = (to: string, rest: object = { via: '192.0.2.1' }) => ({ to, ...rest });
  const routes = [
    route('0.0.0.0/0'),
    ...['10.7.0.0/16', '10.7.0.0/16'].map((to, n) => route(to, { via: `192.0.2.${n + 3}` })),
    route('10.8.0.0/16', { action: 'blackhole' }),
  ];
  world.change('core', { bgp: { asn: 64512, advertise: ['static'] }, routes });
  assert.deepEqual(world.said(), ['10.7.0.0/16 static']);
});

test('a summary is advertised in place of what is within it, while something is', () => {
  const world = new World();
  const summarise = ['203.0.113.0/26', '203.0.112.0/20', '2001:db8::/32', '10.0.0.0/8'];
  world.change('core', { bgp: { asn: 64512, networks: ['198.51.100.0/24', '203.0.0.0/16'], summarise } });
  const [others, all] = [['198.51.100.0/24 network', '203.0.0.0/16 network'], ['203.0.112.0/20 summary']];
  assert.deepEqual(world.said(), [...others.slice(0, 1), '2001:db8::/32 summary', ...others.slice(1), ...all]);
  world.unbind('w1');
  assert.ok(!world.said().includes('2001:db8::/32 summary'), 'its only floating address is not told any more');
  world.change('core', { bgp: { asn: 64512, advertise: [], summarise } });
  assert.deepEqual(world.said(), []);
});

test('what is down, or on another switch, is not advertised', () => {
  const world = new World();
  world.change('out', { adminUp: false }, 'routerPort', 'acme');
  assert.deepEqual(world.said(), ALWAYS);
  world.change('out', { switch: 'flat' }, 'routerPort', 'acme');
  assert.deepEqual(world.said(), ALWAYS);
  world.change('out', {}, 'routerPort', 'acme');
  assert.deepEqual(world.said(), [...ALWAYS, ...TRANSLATED]);
  world.change('public', { adminUp: false }, 'switch');
  assert.deepEqual(world.said(), ALWAYS);
  world.change('core', { adminUp: false });
  assert.deepEqual(world.said(), []);
});

test('gateways are the hosts that have, or shall have, the wire of an uplink', () => {
  const world = new World();
  const [core] = world.index.named('router', world.tenant('beta'), 'core');
  const [h1] = world.index.named('host', undefined, 'h1');
  assert.deepEqual([...gatewaysOf(world.index, core!.id)], [h1!.id]);
});
