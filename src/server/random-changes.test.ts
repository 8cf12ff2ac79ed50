import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { seededRandom } from '../base/random.ts';
import { KIND_NAMES, type KindName } from '../model/kind.ts';
import { modelOf } from '../model/model-index.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { RUNTIME_KINDS } from '../model/relations.ts';
import { snatAddresses } from '../model/snat.ts';
import { openMemoryStore } from '../store/memory.ts';
import { applyObjects, parseApplyRequest } from './apply.ts';
import { activatePort, claimPort, unclaimPort } from './bindings.ts';
import { DesiredState } from './desired-state.ts';
import { deleteObject } from './mutations.ts';
import { dropOrphanedLeases, endLeases, growLease, idleLeases } from './nat-leases.ts';
import { Runtime } from './runtime.ts';
import { ScopeIndex } from './scope.ts';

/**
 * Random changes of every kind through the same functions that the API uses, on a small world where they meet often:
 * names are few, so that creations collide, references dangle, chains close circles and addresses run out.
 */
const HOSTS = ['h1', 'h2', 'h3'];
const small = (prefix: string, n: number) => fc.integer({ min: 1, max: n }).map((i) => `${prefix}${i}`);
const tenant = fc.constantFrom('t1', 't1', 't1', 't2');
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });

/** Without the fields that are absent. */
const given = (object: object) => Object.fromEntries(Object.entries(object).filter(([, v]) => v !== undefined));

const anObject = fc.oneof(
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('tenant'), name: tenant }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('tunnelZone'), name: small('z', 2) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('host'),
      name: fc.constantFrom(...HOSTS),
      zone: small('z', 2),
      tunnelAddress: fc.constantFrom('10.9.0.1', '10.9.0.2', '10.9.0.3'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('switch'),
      tenant,
      name: small('s', 3),
      vlanAware: fc.boolean(),
      shared: fc.boolean(),
      subnets: fc.uniqueArray(
        fc.constantFrom(
          { cidr: '10.0.0.0/29', gateway: '10.0.0.1' },
          { cidr: '10.0.0.8/29' },
          { cidr: '2001:db8::/64' },
          { cidr: '2001:db8:1::/126', ipv6Mode: 'stateful' },
        ),
        { maxLength: 3 },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('chain'), tenant, name: small('c', 3) }) },
  {
    weight: 3,
    arbitrary: fc
      .record({
        tenant,
        name: small('r', 3),
        chain: small('c', 3),
        position: fc.integer({ min: 1, max: 4 }),
        jumpTo: optional(small('c', 3)),
        match: fc.constantFrom({}, {}, { srcSet: 'a1' }, { dstGroup: 'g1' }, { srcGroup: 'g2', dstSet: 'a2' }),
      })
      .map(({ jumpTo, ...rule }) => ({
        kind: 'rule',
        ...rule,
        ...(jumpTo ? { action: 'jump', jumpTo } : { action: 'accept' }),
      })),
  },
  {
    weight: 8,
    arbitrary: fc
      .record({
        tenant,
        name: small('p', 6),
        switch: small('s', 3),
        host: optional(fc.constantFrom(...HOSTS)),
        fromChain: optional(small('c', 3)),
        toChain: optional(small('c', 3)),
        groups: fc.option(fc.uniqueArray(small('g', 3), { maxLength: 2 }), { nil: undefined, freq: 1 }),
        portSecurity: fc.boolean(),
        addresses: fc.option(fc.constantFrom<string[]>(['10.0.0.3'], [], ['10.0.0.4', '2001:db8::5']), {
          nil: undefined,
          freq: 4,
        }),
      })
      .map((port) => ({
        kind: 'port',
        ...given(port),
      })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({
        tenant,
        name: small('g', 3),
        ingress: fc.array(fc.constantFrom({}, { group: 'g1' }, { group: 'g2' }, { addressSet: 'a1' }), {
          maxLength: 2,
        }),
        egress: fc.array(fc.constantFrom({}, { group: 'g3' }, { addressSet: 'a2' }), { maxLength: 2 }),
      })
      .map((group) => ({ kind: 'securityGroup', ...group })),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('addressSet'),
      tenant,
      name: small('a', 2),
      addresses: fc.uniqueArray(fc.constantFrom('10.0.0.0/8', '192.0.2.1', '2001:db8::/32'), { maxLength: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('router'),
      tenant,
      name: small('R', 3).map((name) => name.toLowerCase()),
      snat: fc.constantFrom([{ from: '10.0.0.0/8', to: '10.0.0.6' }], []),
    }),
  },
  {
    weight: 6,
    arbitrary: fc
      .record({
        tenant,
        name: small('q', 3),
        router: small('r', 3),
        way: fc.oneof(
          { weight: 4, arbitrary: fc.record({ switch: fc.constantFrom('s1', 's2', 's3', 't1/s1', 't2/s1') }) },
          { weight: 2, arbitrary: fc.record({ peer: fc.constantFrom('r1/q1', 'r2/q1', 'r3/q2', 'r1/q3') }) },
          { weight: 1, arbitrary: fc.constant({}) },
        ),
        outside: fc.boolean(),
        inChain: optional(small('c', 3)),
        outChain: optional(small('c', 3)),
      })
      .map(({ way, ...port }) => ({ kind: 'routerPort', ...given(port), ...way })),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('floatingAddress'),
      tenant,
      name: small('f', 3),
      address: small('10.0.0.', 7),
      router: small('r', 3),
      port: small('p', 3),
    }),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({
        tenant,
        name: small('l', 3),
        address: small('192.0.2.', 14),
        device: fc.oneof(fc.record({ router: small('r', 3) }), fc.record({ switch: small('s', 3) })),
        members: fc.uniqueArray(small('p', 3), { minLength: 1, maxLength: 3 }),
      })
      .map(({ device, members, ...balancer }) => ({
        kind: 'loadBalancer',
        ...balancer,
        ...device,
        listeners: [{ protocol: 'tcp', port: 80 }],
        members: members.map((port) => ({ port })),
      })),
  },
);

const pick = fc.nat(1000);
const aChange = fc.oneof(
  ...[
    { weight: 3, maxLength: 6 },
    // Alone it meets fewer others that are refused with it.
    { weight: 9, maxLength: 1 },
  ].map(({ weight, maxLength }) => ({
    weight,
    arbitrary: fc.record({
      type: fc.constant('apply' as const),
      objects: fc.array(anObject, { minLength: 1, maxLength }),
      prune: fc.boolean(),
    }),
  })),
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('delete' as const),
      kind: fc.constantFrom<KindName>(
        ...([
          'port',
          'port',
          'rule',
          'chain',
          'switch',
          'host',
          'tunnelZone',
          'tenant',
          'router',
          'routerPort',
        ] as const),
        ...(['routerPort', 'floatingAddress', 'loadBalancer', 'securityGroup', 'addressSet'] as const),
      ),
      pick,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constantFrom('claim' as const, 'unclaim' as const, 'activate' as const),
      host: fc.constantFrom(...HOSTS),
      pick,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constantFrom('learn' as const, 'forget' as const),
      host: fc.constantFrom(...HOSTS),
      pick,
      mac: small('02:00:00:00:00:0', 3),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constantFrom('lease' as const, 'health' as const, 'neighbour' as const, 'end' as const),
      host: fc.constantFrom(...HOSTS),
      pick,
      up: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('reconnect' as const), host: fc.constantFrom(...HOSTS) }) },
);
type Change = typeof aChange extends fc.Arbitrary<infer T> ? T : never;

/** What the agent of one host has put together from what it was told. */
type Replica = Map<string, ScopeRecord>;

class World {
  readonly state: DesiredState;
  readonly scopes: ScopeIndex;
  readonly runtime: Runtime;
  readonly replicas = new Map<string, Replica>();
  /** Tunnel keys that were ever in use, with the id of their device. */
  readonly keyOwners = new Map<number, string>();

  private constructor(state: DesiredState) {
    this.state = state;
    this.scopes = new ScopeIndex(state.index);
    this.runtime = new Runtime(state.index, { now: () => 0, monotonicMs: () => 0, sleep: async () => {} });
    state.onCommit(({ changes }) => {
      const leased = changes.flatMap((change) => this.runtime.followChange(change));
      this.publish([...changes, ...leased]);
    });
    state.amendWrites(dropOrphanedLeases);
  }

  static async create(): Promise<World> {
    const state = await DesiredState.open(openMemoryStore(), seededRandom(7), silentLog);
    const world = new World(state);
    const objects = [
      { kind: 'tenant', name: 't1' },
      { kind: 'tunnelZone', name: 'z1' },
      ...HOSTS.map((name, i) => ({ kind: 'host', name, zone: 'z1', tunnelAddress: `10.9.0.${i + 1}` })),
      { kind: 'switch', tenant: 't1', name: 's1', subnets: [{ cidr: '10.0.0.0/29' }] },
      ...['c1', 'c2', 'c3'].map((name) => ({ kind: 'chain', tenant: 't1', name })),
      { kind: 'rule', tenant: 't1', name: 'r1', chain: 'c1', position: 1, action: 'jump', jumpTo: 'c2' },
      { kind: 'port', tenant: 't1', name: 'p1', switch: 's1', host: 'h1', fromChain: 'c1' },
      ...['g1', 'g2', 'g3'].map((name) => ({ kind: 'securityGroup', tenant: 't1', name })),
      ...['a1', 'a2'].map((name) => ({ kind: 'addressSet', tenant: 't1', name })),
      ...['r1', 'r2', 'r3'].map((name) => ({
        ...{ kind: 'router', tenant: 't1', name },
        snat: [{ from: '10.0.0.0/8', to: '10.0.0.6' }],
      })),
      { kind: 'switch', tenant: 't1', name: 's2', shared: true },
      { kind: 'switch', tenant: 't1', name: 's3' },
      { kind: 'routerPort', tenant: 't1', name: 'q1', router: 'r1', switch: 's1' },
      { kind: 'routerPort', tenant: 't1', name: 'q2', router: 'r1', switch: 's2', outside: true, inChain: 'c1' },
      { kind: 'routerPort', tenant: 't1', name: 'q1', router: 'r2', switch: 's3' },
      { kind: 'routerPort', tenant: 't1', name: 'q2', router: 'r2', switch: 's2', outside: true },
      { kind: 'port', tenant: 't1', name: 'p3', switch: 's3', host: 'h3', groups: ['g1'], addresses: ['10.0.0.3'] },
      { kind: 'port', tenant: 't1', name: 'p2', switch: 's1', host: 'h2', toChain: 'c2' },
    ];
    await world.apply({ objects });
    for (const host of state.index.hosts()) world.connect(host.id);
    return world;
  }

  publish(changes: Parameters<ScopeIndex['apply']>[0]): void {
    for (const [scope, steps] of this.scopes.apply(changes)) {
      const replica = this.replicas.get(scope.hostId)!;
      for (const step of steps) {
        if (step.type === 'put') replica.set(`${step.record.kind}/${step.record.id}`, step.record);
        else
          assert.ok(replica.delete(`${step.kind}/${step.id}`), `${step.type} of ${step.kind}, which the agent lacks`);
      }
    }
  }

  connect(hostId: string): void {
    this.scopes.detach(hostId);
    const records = [...this.scopes.attach(hostId).records()];
    assert.equal(new Set(records.map((r) => `${r.kind}/${r.id}`)).size, records.length, 'a record comes once');
    this.replicas.set(hostId, new Map(records.map((r) => [`${r.kind}/${r.id}`, r])));
  }

  apply(body: object): Promise<unknown> {
    const request = parseApplyRequest(body);
    const { allocator } = this.state;
    return this.state.write((draft) => applyObjects({ draft, allocator }, request), { dryRun: request.dryRun });
  }

  async perform(change: Change): Promise<void> {
    const { index, allocator } = this.state;
    const choose = <T>(all: Iterable<T>, at: number): T | undefined => {
      const list = [...all];
      return list[at % list.length];
    };
    if (change.type === 'apply') {
      await this.apply({ objects: change.objects, ...(change.prune ? { applySet: 'set', prune: true } : {}) });
      return;
    }
    if (change.type === 'delete') {
      const object = choose(index.all(change.kind), change.pick);
      if (object) await this.state.write((draft) => deleteObject({ draft, allocator }, object));
      return;
    }
    const [host] = index.named('host', undefined, change.host);
    if (!host) return;
    if (change.type === 'reconnect') return this.connect(host.id);
    if (change.type === 'lease') {
      const router = choose(index.all('router'), change.pick);
      const address = router && choose([...snatAddresses(router)], change.pick);
      if (!router || address === undefined) return;
      const port = choose(index.all('port'), change.pick)?.id ?? '';
      await this.state.write((draft) => claimPort(draft, host.id, { port, interface: 'tap' }, 0, () => {}));
      const isBehind = this.scopes.routersBehind(host.id).has(router.id);
      await this.state.write((draft) => growLease(draft, host.id, { router: router.id, address }, isBehind));
      return;
    }
    if (change.type === 'health') {
      const balancer = choose(index.all('loadBalancer'), change.pick);
      const port = balancer && choose(balancer.members, change.pick)?.port;
      if (port === undefined) return;
      const { id: loadBalancer } = balancer!;
      this.publish(this.runtime.setMemberHealth(host.id, { loadBalancer, port, up: change.up }) ?? []);
      return;
    }
    if (change.type === 'end') {
      this.publish(this.runtime.forgetAll(host.id));
      const routersBehind = (hostId: string) => this.scopes.routersBehind(hostId);
      const idle = idleLeases(index.all('natLease'), routersBehind);
      await this.state.write((draft) => endLeases(draft, idle, routersBehind));
      return;
    }
    const port = choose(index.all('port'), change.pick);
    if (!port) return;
    if (change.type === 'neighbour') {
      const seen = {
        switch: port.switch,
        port: port.id,
        address: `10.0.0.${change.pick % 9}`,
        mac: '02:00:00:00:00:09',
      };
      this.publish(this.runtime.setNeighbour(host.id, seen) ?? []);
      return;
    }
    if (change.type === 'learn')
      this.publish(this.runtime.learn(host.id, { port: port.id, vlan: 0, mac: change.mac }) ?? []);
    else if (change.type === 'forget')
      this.publish(this.runtime.forget(host.id, { port: port.id, vlan: 0, mac: change.mac }));
    else
      await this.state.write((draft) => {
        if (change.type === 'claim') claimPort(draft, host.id, { port: port.id, interface: 'tap' }, 0, () => {});
        else if (change.type === 'unclaim') unclaimPort(draft, host.id, port.id);
        else activatePort(draft, host.id, port.id);
      });
  }

  /** What the agents put together is what a scope worked out from scratch holds. */
  checkScopes(): void {
    const { index } = this.state;
    for (const host of [...this.replicas.keys()]) {
      const fresh = new ScopeIndex(index).attach(host);
      const wanted = new Map([...fresh.records()].map((r) => [`${r.kind}/${r.id}`, r]));
      const replica = this.replicas.get(host)!;
      assert.deepEqual([...replica.keys()].toSorted(), [...wanted.keys()].toSorted());
      for (const [key, record] of wanted) assert.equal(replica.get(key), record, key);
    }
  }

  /** The rules that need no history, checked the slow way. */
  checkModel(): void {
    const { index } = this.state;
    const unique = (what: string, values: readonly string[]): void =>
      assert.equal(new Set(values).size, values.length, `${what}: ${values.toSorted().join(' ')}`);
    const ports = [...index.all('port')];
    const routing = [...index.all('router'), ...index.all('routerPort'), ...index.all('loadBalancer')];
    const sets = [...index.all('securityGroup'), ...index.all('addressSet')];
    const keyed = [...index.all('switch'), ...index.all('chain'), ...ports, ...routing, ...sets];
    unique(
      'keys',
      keyed.map((o) => String(o.key)),
    );
    unique(
      'MACs',
      ports.map((p) => p.mac),
    );
    unique(
      'addresses',
      ports.flatMap((p) => p.addresses.map((a) => `${p.switch} ${a}`)),
    );
    for (const { id, key } of keyed) {
      // No host ever says that it applied anything here: a key is never given a second time.
      assert.equal(this.keyOwners.get(key) ?? id, id, `key ${key} was used again`);
      this.keyOwners.set(key, id);
    }
    const rebuilt = modelOf([...index.all('tenant'), ...keyed, ...index.all('rule'), ...index.hosts()]);
    for (const chain of index.all('chain'))
      assert.deepEqual(rebuilt.rulesOfChain(chain.id), index.rulesOfChain(chain.id));
  }

  /** Everything there is, as text. */
  snapshot(): string {
    const { index } = this.state;
    return JSON.stringify(
      [...KIND_NAMES, ...RUNTIME_KINDS].map((kind) =>
        [...index.all(kind)].toSorted((a, b) => a.id.localeCompare(b.id)),
      ),
    );
  }
}

test('after any changes agents hold their scope, refused ones leave nothing, and nothing is allocated twice', async () => {
  const outcomes = { done: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(aChange, { minLength: 5, maxLength: 40 }), async (changes) => {
      const world = await World.create();
      for (const change of changes) {
        const before = world.snapshot();
        const { revision } = world.state;
        try {
          await world.perform(change);
          outcomes.done++;
        } catch (error) {
          if (!(error instanceof WeftError)) throw error;
          outcomes.refused++;
          assert.equal(world.snapshot(), before, 'a refused change left something');
          assert.equal(world.state.revision, revision);
        }
        world.checkScopes();
        world.checkModel();
      }
      const { index } = world.state;
      const reopened = await DesiredState.open(world.state.store, seededRandom(1), silentLog);
      for (const kind of [...KIND_NAMES, 'binding', 'natLease'] as const)
        assert.ok(isDeepStrictEqual(new Set(index.all(kind)), new Set(reopened.index.all(kind))), `${kind} reopened`);
    }),
    { numRuns: process.env.WEFT_CAMPAIGN ? 3000 : 100, endOnFailure: false },
  );
  assert.ok(outcomes.done > outcomes.refused / 10, JSON.stringify(outcomes));
});
