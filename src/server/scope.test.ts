import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { seededRandom } from '../base/random.ts';
import { describe } from '../model/describe.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { isObject } from '../model/relations.ts';
import { openMemoryStore } from '../store/memory.ts';
import { applyObjects, parseApplyRequest } from './apply.ts';
import { claimPort } from './bindings.ts';
import { DesiredState, type RecordChange } from './desired-state.ts';
import { ScopeIndex } from './scope.ts';

/** A store in memory, with the scope of each host followed as agents would. */
class Cloud {
  readonly state: DesiredState;
  readonly scopes: ScopeIndex;
  readonly agents = new Map<string, Map<string, ScopeRecord>>();
  steps = 0;

  private constructor(state: DesiredState) {
    this.state = state;
    this.scopes = new ScopeIndex(state.index);
    state.onCommit(({ changes }) => this.publish(changes));
  }

  static async of(...objects: readonly object[]): Promise<Cloud> {
    const cloud = new Cloud(await DesiredState.open(openMemoryStore(), seededRandom(3), silentLog));
    await cloud.apply(...objects);
    for (const { id, name } of cloud.state.index.hosts()) {
      const records = [...cloud.scopes.attach(id).records()];
      cloud.agents.set(name, new Map(records.map((record) => [`${record.kind}/${record.id}`, record])));
    }
    return cloud;
  }

  publish(changes: readonly RecordChange[]): void {
    for (const [scope, steps] of this.scopes.apply(changes)) {
      const agent = this.agents.get(this.state.index.get('host', scope.hostId)!.name)!;
      this.steps += steps.length;
      for (const step of steps)
        if (step.type === 'put') agent.set(`${step.record.kind}/${step.record.id}`, step.record);
        else agent.delete(`${step.kind}/${step.id}`);
    }
  }

  apply(...objects: readonly object[]): Promise<unknown> {
    const { allocator } = this.state;
    return this.state.write((draft) => applyObjects({ draft, allocator }, parseApplyRequest({ objects })));
  }

  async claim(host: string, ...ports: readonly string[]): Promise<void> {
    const { index } = this.state;
    const { id } = [...index.named('host', undefined, host)][0]!;
    await this.state.write((draft) => {
      for (const port of index.all('port'))
        if (ports.includes(port.name)) claimPort(draft, id, { port: port.id, interface: port.name }, 0, () => {});
    });
  }

  /** What the host's agent has, as people name it, of some kinds. */
  has(host: string, ...kinds: readonly ScopeRecord['kind'][]): readonly string[] {
    const { index } = this.state;
    return [...this.agents.get(host)!.values()]
      .filter((record) => kinds.includes(record.kind))
      .map((record) =>
        isObject(record)
          ? describe(index, record)
          : `${record.kind} of ${'port' in record ? '' : ''}${index.get('port', record.id)?.name ?? record.id}`,
      )
      .toSorted();
  }
}

const tenantNetwork = (tenant: string) => [
  { kind: 'tenant', name: tenant },
  { kind: 'switch', tenant, name: 'web', subnets: [{ cidr: '10.1.0.0/24' }] },
  { kind: 'switch', tenant, name: 'db', subnets: [{ cidr: '10.2.0.0/24' }] },
  { kind: 'chain', tenant, name: 'edge' },
  { kind: 'addressSet', tenant, name: 'friends', addresses: ['192.0.2.0/24'] },
  { kind: 'rule', tenant, name: 'friends', chain: 'edge', position: 1, match: { srcSet: 'friends' }, action: 'accept' },
  { kind: 'router', tenant, name: 'r' },
  { kind: 'routerPort', tenant, name: 'web', router: 'r', switch: 'web', addresses: ['10.1.0.1/24'] },
  { kind: 'routerPort', tenant, name: 'db', router: 'r', switch: 'db', addresses: ['10.2.0.1/24'] },
  { kind: 'port', tenant, name: `${tenant}-web`, switch: 'web', addresses: ['10.1.0.5'] },
  { kind: 'port', tenant, name: `${tenant}-db`, switch: 'db', addresses: ['10.2.0.5'] },
];
const outside = (tenant: string, address: string) => [
  {
    ...{ kind: 'routerPort', tenant, name: 'out', router: 'r', switch: 'isp/public', outside: true, inChain: 'edge' },
    addresses: [`203.0.113.${address}/24`],
  },
  {
    kind: 'floatingAddress',
    tenant,
    name: 'web',
    address: `203.0.113.1${address}`,
    router: 'r',
    port: `${tenant}-web`,
  },
];
const BASE = [
  { kind: 'tunnelZone', name: 'dc' },
  ...[1, 2, 3].map((i) => ({ kind: 'host', name: `h${i}`, zone: 'dc', tunnelAddress: `10.9.0.${i}` })),
  { kind: 'tenant', name: 'isp' },
  { kind: 'switch', tenant: 'isp', name: 'public', shared: true, subnets: [{ cidr: '203.0.113.0/24' }] },
  ...tenantNetwork('acme'),
  ...tenantNetwork('beta'),
];

test('scope: over its router a host reaches the other switches of the tenant, and no other tenant', async () => {
  const cloud = await Cloud.of(...BASE);
  await cloud.claim('h1', 'acme-web');
  assert.deepEqual(cloud.has('h1', 'switch', 'router', 'routerPort', 'port', 'tenant'), [
    'port acme/acme-db',
    'port acme/acme-web',
    'router acme/r',
    'routerPort acme/r/db',
    'routerPort acme/r/web',
    'switch acme/db',
    'switch acme/web',
    'tenant acme',
  ]);
  await cloud.claim('h2', 'acme-db');
  assert.deepEqual(cloud.has('h1', 'host', 'binding'), [
    'binding of acme-db',
    'binding of acme-web',
    'host h1',
    'host h2',
  ]);
  assert.deepEqual(cloud.has('h3', 'switch', 'router', 'host'), ['host h3']);
});

test('scope: beyond a shared switch a host sees the facades of other routers', async () => {
  const cloud = await Cloud.of(...BASE, ...outside('acme', '1'));
  await cloud.claim('h1', 'acme-web');
  await cloud.claim('h2', 'beta-web', 'beta-db');
  assert.deepEqual(cloud.has('h1', 'tenant'), ['tenant acme', 'tenant isp']);
  await cloud.apply(...outside('beta', '2'));
  assert.deepEqual(
    cloud.has('h1', 'router', 'routerPort', 'floatingAddress', 'chain', 'addressSet', 'host', 'tenant'),
    [
      'addressSet acme/friends',
      'addressSet beta/friends',
      'chain acme/edge',
      'chain beta/edge',
      'floatingAddress acme/web',
      'floatingAddress beta/web',
      'host h1',
      'host h2',
      'router acme/r',
      'router beta/r',
      'routerPort acme/r/db',
      'routerPort acme/r/out',
      'routerPort acme/r/web',
      'routerPort beta/r/out',
      'tenant acme',
      'tenant beta',
      'tenant isp',
    ],
  );
  assert.deepEqual(cloud.has('h1', 'port', 'binding', 'switch'), [
    'binding of acme-web',
    'binding of beta-web',
    'port acme/acme-db',
    'port acme/acme-web',
    'port beta/beta-web',
    'switch acme/db',
    'switch acme/web',
    'switch isp/public',
  ]);
  // A port that is not outside leads in: everything is decided where a packet enters.
  await cloud.apply({ ...outside('beta', '2')[0], outside: false });
  assert.ok(cloud.has('h1', 'port').includes('port beta/beta-db'));
});

test('scope: with a group come the members of groups that its rules name, wherever they are', async () => {
  const cloud = await Cloud.of(
    ...BASE,
    { kind: 'switch', tenant: 'acme', name: 'far' },
    ...['a', 'b', 'c'].map((name) => ({ kind: 'securityGroup', tenant: 'acme', name, ingress: [] })),
    { kind: 'port', tenant: 'acme', name: 'far', switch: 'far', addresses: ['10.7.0.1'], groups: ['b'] },
  );
  await cloud.claim('h1', 'acme-web');
  await cloud.claim('h2', 'far');
  const web = { kind: 'port', tenant: 'acme', name: 'acme-web', switch: 'web', addresses: ['10.1.0.5'] };
  await cloud.apply(
    { kind: 'securityGroup', tenant: 'acme', name: 'a', ingress: [{ group: 'b' }, { addressSet: 'friends' }] },
    { ...web, groups: ['a'] },
  );
  assert.deepEqual(cloud.has('h1', 'securityGroup', 'addressSet', 'port'), [
    'addressSet acme/friends',
    'port acme/acme-db',
    'port acme/acme-web',
    'port acme/far',
    'securityGroup acme/a',
    'securityGroup acme/b',
  ]);
  assert.deepEqual(cloud.has('h1', 'switch'), ['switch acme/db', 'switch acme/web']);
  await cloud.apply({ ...web, groups: [] });
  assert.deepEqual(cloud.has('h1', 'securityGroup', 'addressSet', 'port'), ['port acme/acme-db', 'port acme/acme-web']);
});

test('scope: two routers between two switches: either link may go, and with both the far switch leaves', async () => {
  const cloud = await Cloud.of(
    ...BASE,
    { kind: 'router', tenant: 'acme', name: 'second' },
    { kind: 'routerPort', tenant: 'acme', name: 'web', router: 'second', switch: 'web', addresses: ['10.1.0.2/24'] },
    { kind: 'routerPort', tenant: 'acme', name: 'db', router: 'second', switch: 'db', addresses: ['10.2.0.2/24'] },
  );
  await cloud.claim('h1', 'acme-web');
  const cut = (router: string) => ({ kind: 'routerPort', tenant: 'acme', name: 'web', router });
  await cloud.apply(cut('r'));
  assert.ok(cloud.has('h1', 'port').includes('port acme/acme-db'));
  await cloud.apply(cut('second'));
  assert.deepEqual(cloud.has('h1', 'port', 'router'), ['port acme/acme-web']);
  await cloud.apply({ ...cut('second'), switch: 'web' });
  assert.ok(cloud.has('h1', 'port').includes('port acme/acme-db'));
});

test('scope: a new port in a large routed network costs each host concerned one step', async () => {
  const many = Array.from({ length: 3000 }, (_, i) => ({
    ...{ kind: 'port', tenant: 'acme', name: `p${i}`, switch: 'db', portSecurity: false, addresses: [] },
  }));
  const cloud = await Cloud.of(...BASE, ...many);
  await cloud.claim('h1', 'acme-web', ...many.slice(0, 2000).map(({ name }) => name));
  await cloud.claim('h2', 'acme-db');
  cloud.steps = 0;
  await cloud.apply({ ...many[0], name: 'new' });
  assert.equal(cloud.steps, 2);
  await cloud.claim('h2', 'new');
  assert.equal(cloud.steps, 4);
});

test('scope: a mirror is where what it copies is and where its copies go, and leaves both with it', async () => {
  const cloud = await Cloud.of(
    ...BASE,
    { kind: 'switch', tenant: 'acme', name: 'taps' },
    {
      ...{ kind: 'port', tenant: 'acme', name: 'tap', switch: 'taps', addresses: [] },
    },
  );
  await cloud.claim('h1', 'acme-web');
  await cloud.claim('h2', 'tap');
  await cloud.claim('h3', 'beta-web');
  const mirror = { kind: 'mirror', tenant: 'acme', name: 'm', ports: ['acme-web'], to: { port: 'tap' } };
  await cloud.apply(mirror);
  const seen = (host: string): string[] => cloud.has(host, 'mirror', 'host').concat(cloud.has(host, 'port'));
  assert.ok(
    ['mirror acme/m', 'host h2', 'port acme/tap'].every((each) => seen('h1').includes(each)),
    `${seen('h1')}`,
  );
  assert.ok(seen('h2').includes('mirror acme/m'));
  assert.ok(seen('h2').includes('host h1'), 'whose copies come by the tunnel');
  assert.ok(!seen('h3').includes('mirror acme/m'));
  const { ports: _, ...rest } = mirror;
  await cloud.apply({ ...rest, ports: [], switch: 'db' });
  assert.ok(!seen('h1').includes('mirror acme/m') && !seen('h1').includes('host h2'));
  assert.ok(!seen('h2').includes('host h1'));
  await cloud.apply({ ...rest, ports: [], switch: 'web' });
  assert.ok(seen('h1').includes('mirror acme/m'));
  assert.ok(seen('h2').includes('host h1'));
});

test('scope: an L2 gateway is where it has a place, whoever is bound there, and nowhere else', async () => {
  const lending = BASE.map((each) => (each.kind === 'host' ? { ...each, gatewayInterfaces: ['eth1'] } : each));
  const out = { kind: 'port', tenant: 'acme', name: 'out', switch: 'db', portSecurity: false, addresses: [] };
  const cloud = await Cloud.of(...lending, out);
  await cloud.claim('h3', 'acme-web');
  const gateway = (...at: string[]) => ({
    ...{ kind: 'l2Gateway', tenant: 'acme', name: 'g', port: 'out', vlan: 7 },
    places: at.map((host) => ({ host, interface: 'eth1' })),
  });
  const seenBy = (): string[] =>
    ['h1', 'h2', 'h3'].filter((host) => cloud.has(host, 'l2Gateway').includes('l2Gateway acme/g'));
  await cloud.apply(gateway('h1'));
  assert.deepEqual(seenBy(), ['h1']);
  await cloud.apply(gateway('h2', 'h1'));
  assert.deepEqual(seenBy(), ['h1', 'h2']);
  await cloud.apply(gateway('h2'));
  assert.deepEqual(seenBy(), ['h2']);
});
