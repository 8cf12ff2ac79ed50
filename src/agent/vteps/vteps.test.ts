import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Effect, ScopeChange } from '../events.ts';
import { LEARNED_IDLE_MS, Learning } from '../learning.ts';
import { portId, testGround } from '../testing/test-ground.ts';
import { Vteps } from './vteps.ts';

const OUT = portId(1);
const sw = { kind: 'switch', id: 's', key: 0x100, vlanAware: false };
const out = port(1, { portSecurity: false });
const web = port(2, { allowedPairs: [{ mac: '02:00:5e:00:00:01', address: '10.0.0.9' }] });
const router = { kind: 'routerPort', id: 'r', switch: 's', mac: '02:00:00:00:00:fe' };
const vtep = {
  ...{ kind: 'vtep', id: 'v', name: 'tor', management: 'tcp:192.0.2.5:6640', physicalPorts: ['p1'] },
  places: [{ host: 'h2' }, { host: 'h1' }],
};
const joined = {
  ...{ kind: 'vtepBinding', id: 'b', name: 'joined', port: OUT, vtep: 'v', vni: 5000, adminUp: true },
  physicalPorts: [{ port: 'p1', vlan: 0 }],
};
const h1 = { kind: 'host', id: 'h1', name: 'h1', zone: 'z', tunnelAddress: '198.51.100.1' };
const binding = (active: string) => ({
  ...{ kind: 'binding', id: OUT, switch: 's', active },
  claims: ['h1', 'h2'].map((host) => ({ host, interface: 'vt', sinceMs: 1 })),
});

function port(n: number, more: object = {}) {
  return { kind: 'port', id: portId(n), switch: 's', mac: `02:00:00:00:00:0${n}`, allowedPairs: [], key: n, ...more };
}
const learned = (mac: string, behind: string) => ({
  ...{ kind: 'learned', id: `s/0/${mac}`, switch: 's', port: behind, host: 'h3', mac, vlan: 0 },
});
const changes = (records: readonly unknown[], op: 'put' | 'delete' = 'put'): ScopeChange[] =>
  records.map((record) => ({ op, record }) as ScopeChange);

/** Of a host with a place, with what the part was told. */
function served(active = 'h1', ...more: object[]) {
  const records = [sw, out, web, router, vtep, joined, h1, binding(active), ...more];
  const ground = testGround(records, [OUT]);
  const learning = new Learning();
  const part = new Vteps(ground, learning);
  const first = part.scopeChanged(changes(records), 0);
  const put = (...others: object[]): Effect[] => {
    ground.put(...others);
    return part.scopeChanged(changes(others), 0);
  };
  const remove = (...others: object[]): Effect[] => {
    ground.scope.apply(changes(others, 'delete'));
    return part.scopeChanged(changes(others, 'delete'), 0);
  };
  return { part, ground, learning, first, put, remove };
}

const plansOf = (effects: readonly Effect[]) => effects.flatMap((e) => (e.kind === 'serveVteps' ? [e] : []));
const macsOf = (effects: readonly Effect[]) =>
  effects.flatMap((e) => (e.kind === 'vtepMacs' ? [{ put: e.put, gone: e.gone, isAll: e.isAll }] : []));

describe('VTEPs of a host', () => {
  test('are served with their bindings, and the MACs that are elsewhere', () => {
    const { first, put, remove } = served();
    const { plans } = plansOf(first)[0]!;
    const { vni, physicalPorts } = joined;
    assert.deepEqual(plans, [
      {
        ...{ vtep: 'v', name: 'tor', management: 'tcp:192.0.2.5:6640', ownAddress: '198.51.100.1' },
        bindings: [{ binding: 'b', vni, physicalPorts, description: 'Weft: binding joined', isActive: true }],
      },
    ]);
    const own = ['02:00:00:00:00:02', '02:00:5e:00:00:01', '02:00:00:00:00:fe'];
    assert.deepEqual(macsOf(first), [{ put: own, gone: [], isAll: true }]);
    const guest = '02:77:00:00:00:01';
    assert.deepEqual(macsOf(put(learned(guest, portId(2)))), [{ put: [guest], gone: [], isAll: false }]);
    assert.deepEqual(macsOf(put(learned(guest, OUT))), [{ put: [], gone: [guest], isAll: false }]);
    assert.deepEqual(macsOf(remove(web))[0]!.gone, own.slice(0, 2));
    assert.deepEqual(plansOf(put({ ...joined, adminUp: false }))[0]!.plans[0]!.bindings, []);
    assert.deepEqual(plansOf(remove(vtep))[0]!.plans, []);
  });

  test('what is behind a binding ages as all does when another database has to say it, or in another VLAN', () => {
    const kept = '02:00:00:00:0a:01';
    for (const other of [
      { ...vtep, management: 'tcp:192.0.2.6:6640' },
      { ...sw, vlanAware: true },
    ]) {
      const { part, learning, put } = served('h1', { ...out, vlan: { access: 5 } });
      part.macsTold('b', [kept], [], 0);
      assert.deepEqual(learning.idle(2 * LEARNED_IDLE_MS), [], 'while the VTEP knows it');
      put(other);
      assert.deepEqual(
        learning.idle(4 * LEARNED_IDLE_MS).map(({ id }) => id),
        [`s/0/${kept}`],
      );
    }
  });

  test('are another host’s to write where that forwards, and wait for the server’s last word', () => {
    const { first, put, part, ground } = served('h2');
    assert.equal(plansOf(first)[0]!.plans[0]!.bindings[0]!.isActive, false);
    assert.equal(plansOf(first)[0]!.isCurrent, false);
    assert.equal(plansOf(part.serverCurrent(0))[0]!.isCurrent, true);
    assert.equal(plansOf(put(binding('h1')))[0]!.plans[0]!.bindings[0]!.isActive, true);
    assert.equal(plansOf(part.serverLost(0))[0]!.isCurrent, false);
    assert.equal(ground.reports.length, 0);
    // Before it is known that the server is gone, another may have been given what is active here.
    part.serverCurrent(1_000);
    part.serverCurrent(6_000);
    assert.deepEqual(plansOf(part.tick(14_000)), []);
    assert.equal(plansOf(part.tick(14_001))[0]!.isCurrent, false);
    assert.equal(plansOf(part.serverCurrent(15_000))[0]!.isCurrent, true);
  });

  test('teach what is behind them, but for what a port holds and what others heard', () => {
    const elsewhere = '02:77:00:00:00:02';
    const { part, ground, learning, put } = served('h1', learned(elsewhere, portId(2)));
    const guest = '02:77:00:00:00:01';
    part.macsTold('b', [guest, elsewhere, '02:00:00:00:00:02', '01:00:00:00:00:01', 'nonsense'], [], 0);
    assert.deepEqual(ground.reports, [{ type: 'learned', port: OUT, vlan: 0, mac: guest }]);
    // It does not age while the VTEP has it.
    assert.deepEqual(learning.idle(LEARNED_IDLE_MS * 3), []);
    part.macsTold('b', [], [guest], LEARNED_IDLE_MS);
    assert.deepEqual(learning.idle(LEARNED_IDLE_MS * 2), []);
    assert.equal(learning.idle(LEARNED_IDLE_MS * 2 + 1).length, 1);
    // What was elsewhere and is nowhere is behind the VTEP, as it says.
    ground.scope.apply(changes([learned(elsewhere, portId(2))], 'delete'));
    part.scopeChanged(changes([learned(elsewhere, portId(2))], 'delete'), 0);
    part.tick(1_000);
    assert.equal(ground.scope.get('learned', `s/0/${elsewhere}`)?.port, OUT);
    put(learned(elsewhere, portId(2)));
    part.tick(2_000);
    assert.equal(ground.scope.get('learned', `s/0/${elsewhere}`)?.port, portId(2));
  });

  test('teach a host that takes over all that it knows of them', () => {
    const { part, ground, put } = served('h2');
    part.macsTold('b', ['02:77:00:00:00:01'], [], 0);
    assert.deepEqual(ground.reports, []);
    put(binding('h1'));
    assert.deepEqual(ground.reports, [{ type: 'learned', port: OUT, vlan: 0, mac: '02:77:00:00:00:01' }]);
  });

  test('that are unreachable are told, with an event, once, and again when they are back', () => {
    const { part, ground } = served();
    const told = (state: object): void => {
      part.told({ vteps: new Map([['v', state]]), bindings: new Map() } as never, 7);
    };
    const ill = { state: 'unreachable', problem: 'no answer' };
    told({ state: 'connected', tunnelAddress: '192.0.2.5' });
    told(ill);
    told(ill);
    told({ state: 'connected', tunnelAddress: '192.0.2.5' });
    const texts = ground.reports.flatMap((each) => (each.type === 'event' ? [`${each.level} ${each.text}`] : []));
    assert.deepEqual(texts, ['warning VTEP tor: no answer', 'info VTEP tor: all is well again']);
    const states = ground.reports.flatMap((each) => (each.type === 'vteps' ? [each.vteps[0]!.state] : []));
    assert.deepEqual(states, ['connected', 'unreachable', 'connected']);
    assert.deepEqual(part.remotes(), ['192.0.2.5']);
  });
});
