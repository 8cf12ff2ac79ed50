import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zonesOf } from '../connections/network.fixture.ts';
import type { ScopeChange } from '../events.ts';
import { portId, testGround } from '../testing/test-ground.ts';
import { KeptClients } from './kept-clients.ts';

const [A, B, CLIENT] = [portId(1), portId(2), portId(3)];
const port = (id: string, address: string, onSwitch = 's') => ({
  ...{ kind: 'port', id, name: id, switch: onSwitch, addresses: [address], adminUp: true },
});
const binding = (id: string, host: string) => ({ kind: 'binding', id, active: host });
const member = (id: string, more: object = {}) => ({ port: id, weight: 1, drain: false, adminUp: true, ...more });
const balancer = (members: readonly object[], more: object = {}) => ({
  ...{ kind: 'loadBalancer', id: 'lb', router: 'r', address: '203.0.113.80', adminUp: true, slots: 16, members },
  ...{ sticky: 'source', stickyS: 60, listeners: [{ protocol: 'tcp', port: 80 }], ...more },
});
/** What another host says. */
const kept = (host: string, at: string, client: string, seenS: number) => ({
  ...{ kind: 'keptClients', id: `lb/${host}`, revision: 1, loadBalancer: 'lb', host },
  members: [{ port: at, clients: { [client]: seenS } }],
});
/** Any client: with one member left its slot leads there. */
const C = '198.51.100.7';

function setup(...more: object[]) {
  const records = [
    ...[port(A, '10.0.0.1'), port(B, '10.0.0.2'), port(CLIENT, '10.0.0.9')],
    ...[binding(A, 'h1'), binding(B, 'h2'), { kind: 'routerPort', id: 'rp', router: 'r', switch: 's' }],
  ];
  const ground = testGround([...records, ...more], [A, CLIENT]);
  let lost: string[] = [];
  const clients = new KeptClients(ground, zonesOf({ [A]: 4, [CLIENT]: 8, r: 12 }), () => lost);
  const change = (nowMs: number, ...changed: object[]): string[] => {
    ground.put(...changed);
    clients.scopeChanged(
      changed.map((record): ScopeChange => ({ op: 'put', record: record as ScopeChange['record'] }) as ScopeChange),
      nowMs,
    );
    return told();
  };
  let calls = 0;
  /** The client has a new connection with the member. */
  const seen = (nowMs: number, at?: string, client = C): string[] => {
    const one = { client, member: at!, key: `${calls++}`, isOver: false };
    clients.told(new Map([['lb', at === undefined ? [] : [one]]]), nowMs);
    return told();
  };
  const told = (): string[] =>
    ground.reports.splice(0).flatMap((report) => {
      if (report.type !== 'keptClients') return [];
      const all = report.members.flatMap(({ port: at, clients: of }) =>
        Object.entries(of).map(([client, seenS]) => `${client} at ${at === A ? 'a' : 'b'} since ${seenS}`),
      );
      return [all.join(', ') || 'nobody'];
    });
  const tick = (nowMs: number): string[] => {
    clients.tick(nowMs);
    return told();
  };
  const lose = (nowMs: number, ...hosts: string[]): string[] => {
    lost = hosts;
    clients.hostsTold(nowMs);
    return told();
  };
  return { ground, clients, change, seen, tick, lose };
}

const both = balancer([member(A), member(B)]);
const onlyA = balancer([member(A)]);
const drained = balancer([member(A, { drain: true }), member(B)]);

test('connections to look for are those of members and clients here', () => {
  const { clients } = setup(both, balancer([member(A)], { id: 'other', stickyS: undefined }));
  assert.deepEqual(
    [...clients.places()].map(({ loadBalancer, zone, members }) => [loadBalancer, zone, [...members]]),
    [5, 9].map((zone) => [
      'lb',
      zone,
      [
        ['10.0.0.1', A],
        ['10.0.0.2', B],
      ],
    ]),
  );
});

test('a client is told of when its slot moves, and no more when it leads back, or its time is over', () => {
  const { change, seen, tick, ground } = setup(onlyA);
  assert.deepEqual(seen(10_000, A), [], 'its slot leads there');
  assert.deepEqual(change(12_000, drained), [`${C} at a since 10`]);
  assert.equal(ground.scope.get('keptClients', 'lb/h1')?.members[0]?.port, A, 'here it takes effect at once');
  assert.deepEqual(change(13_000, onlyA), ['nobody']);
  assert.equal(ground.scope.get('keptClients', 'lb/h1'), undefined);
  assert.deepEqual(change(14_000, drained), [`${C} at a since 10`]);
  assert.deepEqual(seen(30_000, A), [`${C} at a since 30`], 'seen a quarter of the time later');
  assert.deepEqual(seen(35_000, A), []);
  assert.deepEqual(seen(40_000), [], 'its connection has ended');
  assert.deepEqual(tick(94_999), []);
  assert.deepEqual(tick(100_000), ['nobody']);
});

test('a client is kept as long as its connection goes on, however late that is looked for again, or not all could be', () => {
  const { change, seen, tick, clients, ground } = setup(onlyA);
  seen(10_000, A);
  assert.deepEqual(change(12_000, drained), [`${C} at a since 10`]);
  assert.deepEqual(tick(80_000), []);
  clients.told(new Map([['lb', undefined]]), 90_000);
  assert.deepEqual([tick(100_000), ground.reports], [[], []]);
  assert.deepEqual(seen(110_000), ['nobody'], 'for a minute now, as far as is known');
});

test('a client leaves a member that fails, and comes back by a new connection only', () => {
  const { change, seen } = setup(onlyA);
  seen(10_000, A);
  change(11_000, drained);
  const down = { kind: 'memberHealth', id: `lb/${A}`, loadBalancer: 'lb', port: A, host: 'h1', up: false };
  assert.deepEqual(change(12_000, down), ['nobody']);
  assert.deepEqual(change(13_000, { ...down, up: true }), []);
  assert.deepEqual(seen(15_000, A), [`${C} at a since 15`]);
});

test('a client of this host leaves a member whose host is lost', () => {
  const { change, seen, lose } = setup(balancer([member(B)]));
  seen(10_000, B);
  assert.deepEqual(change(11_000, balancer([member(A), member(B, { drain: true })])), [`${C} at b since 10`]);
  assert.deepEqual(lose(12_000, 'h2'), ['nobody']);
});

test('of two hosts that keep a client the one that saw it last goes on, and the other forgets it', () => {
  const { change, seen } = setup(onlyA);
  seen(10_000, A);
  change(11_000, drained);
  assert.deepEqual(change(12_000, kept('h2', B, C, 9)), [], 'an older word');
  assert.deepEqual(change(13_000, kept('h2', B, C, 10)), [], 'of equal ones that of the smaller id');
  assert.deepEqual(change(14_000, kept('h2', B, C, 11)), ['nobody']);
  assert.deepEqual(seen(15_000, A), [], 'it is kept elsewhere');
});

test('a client that came here before this host knew that another keeps it is that one’s', () => {
  const { change, seen } = setup(onlyA);
  seen(10_000, A);
  change(11_000, kept('h2', B, C, 5), both);
  assert.deepEqual(change(12_000, drained), []);
});

test('a client that another host keeps no more is kept by who sees it then', () => {
  const { change, seen, clients, ground } = setup(both);
  change(11_000, kept('h2', B, C, 5), drained);
  assert.deepEqual(seen(12_000, A), [], 'it is kept elsewhere');
  const gone = { kind: 'keptClients', id: 'lb/h2' } as const;
  ground.scope.apply([{ op: 'delete', record: gone }]);
  clients.scopeChanged([{ op: 'delete', record: gone }], 13_000);
  assert.deepEqual(seen(14_000, A), [`${C} at a since 14`]);
});

test('what an earlier run of the agent said holds, and the server is told all', () => {
  const { clients, change, tick, ground } = setup(drained);
  assert.deepEqual(change(20_000, kept('h1', A, C, 10)), []);
  assert.deepEqual(clients.all(), [{ loadBalancer: 'lb', members: [{ port: A, clients: { [C]: 10 } }] }]);
  const record = ground.scope.get('keptClients', 'lb/h1')!;
  ground.scope.apply([{ op: 'delete', record }]);
  clients.scopeChanged([{ op: 'delete', record }], 21_000);
  assert.ok(ground.scope.get('keptClients', 'lb/h1'), 'a server that forgot is told again');
  ground.reports.splice(0);
  assert.deepEqual(tick(70_000), ['nobody']);
});

test('a balancer that keeps nobody any more is forgotten', () => {
  const { clients, change, seen } = setup(onlyA);
  seen(10_000, A);
  change(11_000, drained);
  assert.deepEqual(change(12_000, balancer([member(B)], { stickyS: undefined })), ['nobody']);
  assert.equal(clients.isUsed, false);
  assert.deepEqual(change(13_000, drained), []);
});
