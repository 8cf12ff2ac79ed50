import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReportedAttachment } from '../../server/protocol.ts';
import type { AttachmentPlan, Effect, ScopeChange } from '../events.ts';
import { Learning } from '../learning.ts';
import { portId, testGround } from '../testing/test-ground.ts';
import type { VtepState } from '../vteps/plan.ts';
import { Vteps } from '../vteps/vteps.ts';
import { Attachments } from './attachments.ts';

const OUT = portId(1);
const sw = { kind: 'switch', id: 's', key: 0x100, vlanAware: false };
const mac = '02:00:00:00:00:01';
const out = { kind: 'port', id: OUT, name: 'out', key: 9, switch: 's', portSecurity: false, mac, allowedPairs: [] };
const h1 = { kind: 'host', id: 'h1', name: 'h1', zone: 'z', tunnelAddress: '198.51.100.1' };
const vtep = {
  ...{ kind: 'vtep', id: 'v', name: 'tor', management: 'tcp:192.0.2.5:6640', physicalPorts: ['p1'] },
  places: [{ host: 'h2' }, { host: 'h1', address: '203.0.113.1' }],
};
const joined = {
  ...{ kind: 'vtepBinding', id: 'b', name: 'joined', port: OUT, vtep: 'v', vni: 5000, adminUp: true },
  physicalPorts: [{ port: 'p1', vlan: 0 }],
};
const claims = ['h1', 'h2'].map((host) => ({ host, interface: 'vt', sinceMs: 1_000 }));
const CONNECTED: VtepState = { state: 'connected', tunnelAddress: '192.0.2.5' };
const AWAY: VtepState = { state: 'unreachable', problem: 'no answer' };

/** The attachment on h1, whose interface is there already. */
function attached(active: string) {
  const records = [sw, out, h1, vtep, joined, { kind: 'binding', id: OUT, switch: 's', claims, active }];
  const ground = testGround(records, [OUT]);
  const vteps = new Vteps(ground, new Learning());
  const part = new Attachments(ground, vteps);
  const changes = records.map((record) => ({ op: 'put', record }) as unknown as ScopeChange);
  const first = [...vteps.scopeChanged(changes, 0), ...part.scopeChanged(changes, 0)];
  const told = (state: VtepState, nowMs: number, isUsable = true, problem?: string): Effect[] => {
    const its = { isUsable, ...(problem === undefined ? {} : { problem }) };
    vteps.told({ vteps: new Map([['v', state]]), bindings: new Map([['b', its]]) }, nowMs);
    return part.vtepsTold(nowMs);
  };
  const up = (nowMs: number): Effect[] => part.linksTold(new Map([['b', { isUp: true }]]), nowMs);
  const last = (): ReportedAttachment | undefined => {
    const said = ground.reports.findLast(({ type }) => type === 'attachments');
    return said?.type === 'attachments' ? said.attachments[0] : undefined;
  };
  return { part, first, told, up, last };
}
const plansOf = (effects: readonly Effect[]): readonly AttachmentPlan[] | undefined =>
  effects.flatMap((effect) => (effect.kind === 'attach' ? [effect.plans] : [])).at(-1);

describe('an attachment of a VTEP binding', () => {
  test('is a tunnel whose far end comes with the database, and stays as it is while that is away', () => {
    const { first, told } = attached('h1');
    const plan = { gateway: 'b', port: OUT, vni: 5000, local: '203.0.113.1' };
    assert.deepEqual(plansOf(first), [plan]);
    assert.deepEqual(plansOf(told(CONNECTED, 1)), [{ ...plan, remote: '192.0.2.5' }]);
    // Without a far end the link leaves what there is.
    assert.deepEqual(plansOf(told(AWAY, 2)), [plan]);
  });

  test('that forwards is up at once, and the last to say that the database is away', () => {
    const { part, told, up, last } = attached('h1');
    up(0);
    told(CONNECTED, 0);
    assert.deepEqual(last(), { gateway: 'b', state: 'up' });
    told(AWAY, 10_000);
    part.tick(15_999);
    assert.deepEqual(last(), { gateway: 'b', state: 'up' });
    part.tick(16_000);
    assert.deepEqual(last(), { gateway: 'b', state: 'down', problem: 'VTEP tor: no answer' });
    told(CONNECTED, 20_000);
    assert.deepEqual(last(), { gateway: 'b', state: 'up' });
    told(AWAY, 30_000);
    told(CONNECTED, 35_000);
    told(AWAY, 40_000);
    part.tick(45_000);
    assert.deepEqual(last(), { gateway: 'b', state: 'up' });
  });

  test('that does not forward says so at once, and is up two seconds after the database is there, and six after it is back', () => {
    const { part, told, up, last } = attached('h2');
    up(0);
    told(CONNECTED, 0);
    part.tick(1_999);
    assert.equal(last(), undefined);
    part.tick(2_000);
    assert.deepEqual(last(), { gateway: 'b', state: 'up' });
    told(AWAY, 10_000);
    assert.equal(last()!.state, 'down');
    told(CONNECTED, 20_000);
    part.tick(25_999);
    assert.equal(last()!.state, 'down');
    part.tick(26_000);
    assert.equal(last()!.state, 'up');
  });

  test('of which some is joined is up with a problem; of which nothing is, down', () => {
    const { part, told, up, last } = attached('h1');
    up(0);
    told(CONNECTED, 0, true, 'it has no physical port p9');
    assert.deepEqual(last(), { gateway: 'b', state: 'up', problem: 'VTEP tor: it has no physical port p9' });
    told(CONNECTED, 1, false, 'it has no physical port p1');
    part.tick(7_000);
    assert.deepEqual(last(), { gateway: 'b', state: 'down', problem: 'VTEP tor: it has no physical port p1' });
  });

  test('says hello where it forwards, never falls silent, and tells no MACs: the database does', () => {
    const said = (active: string): number => {
      const { part, told, up, last } = attached(active);
      up(0);
      told(CONNECTED, 0);
      const frames = part.tick(100_000).filter(({ kind }) => kind === 'packetOut').length;
      part.tick(110_000);
      assert.equal(last()!.state, 'up');
      return frames;
    };
    assert.equal(said('h1'), 1);
    assert.equal(said('h2'), 0);
  });
});
