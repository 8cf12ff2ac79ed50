import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ScopeRecord } from '../model/objects.ts';
import type { ScopeChange } from './events.ts';
import { NextHopHosts } from './next-hop-hosts.ts';
import { testGround } from './testing/test-ground.ts';

const hosts = ['h1', 'g1', 'g2', 'far'].map((id, n) => ({
  ...{ kind: 'host', id, name: id, zone: id === 'far' ? 'z2' : 'z', tunnelAddress: `192.0.2.${n}` },
}));
const uplink = (n: number): unknown[] => [
  { kind: 'routerPort', id: `up${n}`, router: 'r', switch: `s${n}`, addresses: [`10.9.${n}.2/24`], adminUp: true },
];
const bound = (port: string, onSwitch: string, active: string): unknown => {
  return { kind: 'binding', id: port, switch: onSwitch, claims: [], active };
};
const router = (...via: string[]): unknown => ({ kind: 'router', id: 'r', routes: via.map((each) => ({ via: each })) });

/** One of them on host h1, and what it wants watched after each change. */
function watching(...records: unknown[]): {
  change(nowMs: number, ...changes: unknown[]): string | undefined;
  drop(nowMs: number, record: unknown): string | undefined;
  readonly part: NextHopHosts;
} {
  const ground = testGround([...hosts, ...records]);
  const part = new NextHopHosts(ground, 0);
  const after = (nowMs: number, changes: readonly ScopeChange[]): string | undefined => {
    ground.scope.apply(changes);
    const effects = [...part.scopeChanged(changes, nowMs), ...part.tick(nowMs)];
    const watch = effects.findLast((effect) => effect.kind === 'watchHosts');
    return watch?.hosts.map(({ host, address }) => `${host} ${address}`).join(', ');
  };
  return {
    change: (nowMs, ...changes) =>
      after(
        nowMs,
        (changes as ScopeRecord[]).map((record) => ({ op: 'put', record })),
      ),
    drop: (nowMs, record) => after(nowMs, [{ op: 'delete', record: record as ScopeRecord }]),
    part,
  };
}

test('hosts behind next hops are watched: who heard it, else the only one with an active port of its switch', () => {
  const rig = watching(...uplink(1), ...uplink(2), bound('w1', 's1', 'g1'), bound('w2', 's2', 'g2'));
  assert.equal(rig.change(0, router('10.9.1.1')), 'g1 192.0.2.1');
  assert.equal(rig.change(1, router('10.9.1.1', '10.9.2.1')), 'g1 192.0.2.1, g2 192.0.2.2');
  assert.equal(rig.change(2, bound('other', 's2', 'h1')), 'g1 192.0.2.1', 'two hosts may have it');
  const neighbour = { kind: 'neighbour', id: 's2/10.9.2.1', switch: 's2', address: '10.9.2.1', port: 'w2', host: 'g2' };
  assert.equal(rig.change(3, neighbour), 'g1 192.0.2.1, g2 192.0.2.2');
  assert.equal(rig.change(4, bound('w1', 's1', 'g2')), 'g2 192.0.2.2');
  assert.equal(rig.change(5, bound('elsewhere', 's9', 'g1')), undefined, 'nothing is new');
  assert.equal(rig.change(6, router('10.9.7.7')), '');
});

test('hosts of members of balancers are watched, wherever the members are', () => {
  const balancer = (adminUp: boolean, ...members: string[]): unknown => {
    return { kind: 'loadBalancer', id: 'lb', adminUp, members: members.map((port) => ({ port })) };
  };
  const rig = watching(bound('m1', 's1', 'g1'), bound('m2', 's2', 'g2'), bound('own', 's1', 'h1'));
  assert.equal(rig.change(0, balancer(true, 'm1', 'own')), 'g1 192.0.2.1');
  assert.equal(rig.change(1, balancer(true, 'm1', 'm2', 'new')), 'g1 192.0.2.1, g2 192.0.2.2');
  assert.equal(rig.change(2, bound('m1', 's1', 'g2')), 'g2 192.0.2.2');
  assert.equal(rig.change(3, bound('new', 's3', 'g1')), 'g1 192.0.2.1, g2 192.0.2.2');
  assert.equal(rig.change(4, bound('no member', 's3', 'g1')), undefined);
  assert.equal(rig.change(5, balancer(false, 'm1', 'm2')), '');
});

test('not watched are this host, and hosts that no tunnel leads to', () => {
  const rig = watching(...uplink(1), ...uplink(2), bound('w1', 's1', 'h1'), bound('w2', 's2', 'far'));
  assert.equal(rig.change(0, router('10.9.1.1', '10.9.2.1')), '');
});

test('learned next hops count as written ones, and for who learned them where nobody else is known to have them', () => {
  const rig = watching(...uplink(1), router());
  const learned = (host: string, address = '10.9.1.1'): unknown => {
    const via = [{ address, routerPort: 'up1', weight: 1 }];
    return { kind: 'learnedSet', id: `r/${host}/1`, router: 'r', host, set: '1', via };
  };
  assert.equal(rig.change(0, learned('g1')), 'g1 192.0.2.1');
  assert.equal(rig.change(1, learned('g2')), 'g1 192.0.2.1, g2 192.0.2.2');
  assert.equal(rig.drop(2_000, learned('g1')), undefined, 'not at once');
  assert.equal(rig.change(20_000), 'g2 192.0.2.2');
});

test('at a start it is waited for who lives, a second at most; later for nobody', () => {
  const rig = watching(...uplink(1), bound('w1', 's1', 'g1'));
  rig.change(0, router('10.9.1.1'));
  assert.ok(rig.part.isAwaited);
  rig.part.told({ kind: 'hosts', lost: [], isSettled: false });
  assert.ok(rig.part.isAwaited);
  rig.part.told({ kind: 'hosts', lost: ['g1'], isSettled: true });
  assert.deepEqual([rig.part.isAwaited, rig.part.lost], [false, ['g1']]);
  const silent = watching(...uplink(1), bound('w1', 's1', 'g1'));
  silent.change(0, router('10.9.1.1'));
  silent.change(1_000);
  assert.equal(silent.part.isAwaited, false);
  silent.change(2_000, bound('w1', 's1', 'g2'));
  assert.equal(silent.part.isAwaited, false);
});
