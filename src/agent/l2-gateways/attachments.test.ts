import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { attachmentMac, encodeHello, HELLO_ETHER_TYPE, helloGroup } from '../../packet/attachment-hello.ts';
import { ETHER_TYPE, encodeEthernet } from '../../packet/ethernet.ts';
import { decodePacket } from '../../packet/packet.ts';
import type { ReportedAttachment } from '../../server/protocol.ts';
import type { Effect, PacketIn, ScopeChange } from '../events.ts';
import { Learning } from '../learning.ts';
import { portId, type TestGround, testGround } from '../testing/test-ground.ts';
import { Vteps } from '../vteps/vteps.ts';
import { Attachments } from './attachments.ts';

const OUT = portId(1);
const OFPORT = 101;
const OWN_SINCE = 1_000;
const sw = { kind: 'switch', id: 's', key: 0x100, vlanAware: false };
const port = {
  kind: 'port',
  id: OUT,
  name: 'out',
  key: 0x200,
  switch: 's',
  portSecurity: false,
  mac: '02:00:00:00:00:01',
};
const workload = { kind: 'port', id: portId(2), name: 'web', key: 0x201, switch: 's', mac: '02:00:00:00:00:02' };
const places = ['h1', 'h2'].map((host) => ({ host, interface: 'eth1' }));
const gateway = { kind: 'l2Gateway', id: 'g', name: 'g', port: OUT, vlan: 100, places, silenceS: 3, adminUp: true };
const claims = ['h1', 'h2'].map((host) => ({ host, interface: 'l2', sinceMs: OWN_SINCE }));
const binding = (active: string) => ({ kind: 'binding', id: OUT, switch: 's', claims, active });

const changes = (records: readonly unknown[], op: 'put' | 'delete' = 'put'): ScopeChange[] =>
  records.map((record) => ({ op, record }) as ScopeChange);

/** The attachment on h1, and what it said last. */
function attached(active: string, more: object = {}, claimed: typeof claims = claims) {
  const bound = { ...binding(active), claims: claimed };
  const records = [sw, port, workload, { ...gateway, ...more }, bound];
  const ground = testGround(records, [OUT]);
  const cuts = new Set<string>();
  const kept: TestGround = {
    ...ground,
    compile: (inputs) => {
      for (const change of inputs) {
        const { id } = 'record' in change ? change.record : change;
        if (change.op === 'put') cuts.add(id);
        else cuts.delete(id);
      }
      return [];
    },
  };
  const part = new Attachments(kept, new Vteps(kept, new Learning()));
  const first = part.scopeChanged(changes(records), 0);
  const link = (nowMs: number, isUp = true): Effect[] =>
    part.linksTold(new Map([['g', isUp ? { isUp } : { isUp, problem: 'eth1 has no link' }]]), nowMs);
  const counted = (nowMs: number, packets: number): Effect[] => part.counted(new Map([[OFPORT, packets]]), nowMs);
  const state = (): ReportedAttachment['state'] | undefined => {
    const said = ground.reports.findLast(({ type }) => type === 'attachments');
    return said?.type === 'attachments' ? said.attachments[0]?.state : undefined;
  };
  return { part, ground, first, link, counted, state, cuts };
}

const announced = (effects: readonly Effect[]): number =>
  effects.filter((e) => e.kind === 'packetOut' && decodePacket(e.frame).ethernet.etherType === ETHER_TYPE.rarp).length;

function hello(of: { readonly port: number; readonly place: number; readonly sinceMs?: number }): PacketIn {
  const said = { switch: sw.key, sinceMs: OWN_SINCE, ...of };
  const ethernet = { src: attachmentMac(of.port, of.place), dst: helloGroup(sw.key), etherType: HELLO_ETHER_TYPE };
  const frame = Uint8Array.of(...encodeEthernet({ ethernet, vlans: [] }), ...encodeHello(said));
  return { class: 20, cookie: 0n, inPort: OFPORT, frame } as PacketIn;
}

describe('an attachment of an L2 gateway', () => {
  test('is asked for where the host has a place, and taken back with its gateway', () => {
    const { first, part, ground } = attached('h1');
    const plan = { gateway: 'g', port: OUT, interface: 'eth1', vlan: 100 };
    assert.deepEqual(first, [{ kind: 'attach', plans: [plan] }]);
    ground.scope.apply(changes([gateway], 'delete'));
    assert.deepEqual(part.scopeChanged(changes([gateway], 'delete'), 1), [{ kind: 'attach', plans: [] }]);
    assert.deepEqual(attached('h1', { adminUp: false }).first, [{ kind: 'attach', plans: [] }]);
  });

  test('that forwards is up at once, one that does not after two seconds', () => {
    const active = attached('h1');
    active.link(0);
    assert.equal(active.state(), 'up');
    const standby = attached('h2');
    standby.link(0);
    assert.equal(standby.state(), undefined);
    standby.counted(1_000, 5);
    standby.counted(2_000, 6);
    assert.equal(standby.state(), 'up');
  });

  test('that forwards is not left unnamed by an agent that starts: nothing is told before it is known', () => {
    const active = attached('h1');
    assert.deepEqual(active.ground.reports, []);
    assert.deepEqual(active.part.all(), []);
    active.link(0, false);
    assert.equal(active.state(), 'down');
    const standby = attached('h2');
    assert.deepEqual(standby.part.all(), [{ type: 'attachments', attachments: [] }]);
  });

  test('without a link is down at once, and up again two seconds after frames come', () => {
    const { link, counted, state } = attached('h1');
    link(0);
    link(1_000, false);
    assert.equal(state(), 'down');
    link(1_500);
    assert.equal(state(), 'silent', 'what was heard before the link went does not count');
    counted(2_000, 10);
    counted(3_000, 11);
    counted(4_000, 12);
    assert.equal(state(), 'silent');
    counted(5_000, 13);
    assert.equal(state(), 'up');
  });

  test('falls silent where no frame came for so long', () => {
    const { link, counted, state } = attached('h1');
    link(0);
    counted(0, 1);
    counted(1_000, 2);
    counted(4_000, 2);
    assert.equal(state(), 'up');
    counted(4_001, 2);
    assert.equal(state(), 'silent');
  });

  test('says hello and asks for its probe every second', () => {
    const { part } = attached('h2', { probe: '192.0.2.1' });
    const frames = part
      .tick(1_000)
      .flatMap((effect) => (effect.kind === 'packetOut' ? [decodePacket(effect.frame)] : []));
    assert.deepEqual(
      frames.map(({ ethernet }) => ethernet.etherType),
      [HELLO_ETHER_TYPE, ETHER_TYPE.arp],
    );
    for (const { ethernet } of frames) assert.equal(ethernet.src, attachmentMac(port.key, 0));
  });

  test('hears its pair, and is cut off by its own hello or that of an older gateway of the switch', () => {
    const cases = [
      [{ port: port.key, place: 1 }, false],
      [{ port: port.key, place: 0 }, true],
      [{ port: 0x1ff, place: 0, sinceMs: OWN_SINCE - 1 }, true],
      [{ port: 0x1ff, place: 0 }, true],
      [{ port: 0x201, place: 0 }, false],
      [{ port: 0x1ff, place: 0, sinceMs: OWN_SINCE + 1 }, false],
    ] as const;
    for (const [said, isCut] of cases) {
      const { part, ground, link, state, cuts } = attached('h1');
      link(0);
      part.heard(hello(said), ground.scope.port(OUT)!, 100);
      assert.equal(cuts.has(OUT), isCut, JSON.stringify(said));
      assert.equal(state(), isCut ? 'loop' : 'up');
    }
  });

  test('that is new listens before it passes frames', () => {
    const fresh = attached('h2', {}, []);
    assert.ok(fresh.cuts.has(OUT));
    fresh.link(0);
    fresh.part.tick(2_000);
    assert.ok(fresh.cuts.has(OUT));
    assert.equal(fresh.state(), undefined);
    fresh.part.tick(2_500);
    assert.ok(!fresh.cuts.has(OUT));
    assert.ok(!attached('h2').cuts.has(OUT), 'but not where an agent before attached it');
  });

  test('that hears one which has to make way tells all MACs inside, once', () => {
    const { part, ground } = attached('h1');
    const rival = hello({ port: 0x300, place: 0, sinceMs: OWN_SINCE + 1 });
    const counts = [1_000, 2_000, 3_000, 4_000, 5_000].map((nowMs) => {
      part.heard(rival, ground.scope.port(OUT)!, nowMs);
      return announced(part.tick(nowMs));
    });
    assert.deepEqual(counts, [1, 1, 1, 0, 0]);
  });

  test('that was cut passes frames again ten seconds after the last such hello', () => {
    const { part, ground, link, counted, state, cuts } = attached('h1');
    link(0);
    const loop = hello({ port: port.key, place: 0 });
    part.heard(loop, ground.scope.port(OUT)!, 0);
    part.heard(loop, ground.scope.port(OUT)!, 5_000);
    part.tick(14_999);
    assert.ok(cuts.has(OUT));
    part.tick(15_000);
    assert.ok(!cuts.has(OUT));
    counted(15_500, 1);
    counted(16_000, 2);
    counted(18_000, 3);
    assert.equal(state(), 'up');
    assert.equal(ground.reports.filter(({ type }) => type === 'event').length, 1);
  });

  test('was not silent while its agent was held up', () => {
    const { part, link, counted, state } = attached('h1');
    link(0);
    counted(0, 1);
    for (const nowMs of [500, 1_500, 9_000]) part.tick(nowMs);
    assert.equal(state(), 'up', 'what came in meanwhile is not read yet');
    part.tick(10_000);
    assert.equal(state(), 'silent', 'three seconds of which the agent knows');
  });

  test('that is cut off stays so while its agent is held up: it could not have heard the hello that comes back', () => {
    const { part, ground, link, state } = attached('h1');
    link(0);
    part.tick(0);
    part.heard(hello({ port: port.key, place: 0 }), ground.scope.port(OUT)!, 100);
    assert.equal(state(), 'loop');
    part.tick(12_000);
    assert.equal(state(), 'loop');
    for (let nowMs = 13_000; nowMs <= 24_000; nowMs += 1_000) part.tick(nowMs);
    assert.notEqual(state(), 'loop');
  });

  test('that is new has as long to hear somebody, whenever its link is known', () => {
    const { link, state } = attached('h1');
    link(5_000);
    assert.equal(state(), 'up');
  });

  test('that is another than before has the link that was told', () => {
    const { part, ground, link, state } = attached('h1');
    link(0);
    const edited = { ...gateway, vlan: 200 };
    ground.put(edited);
    part.scopeChanged(changes([edited]), 1_000);
    for (const nowMs of [2_000, 3_000, 4_000, 5_000]) part.tick(nowMs);
    assert.deepEqual(
      part.all()[0]?.attachments.map(({ state: its }) => its),
      ['silent'],
    );
    assert.equal(state(), 'silent', 'nobody was heard in the other VLAN yet');
  });

  test('is down without Open vSwitch, but not while that is only restarted', () => {
    const { part, link, counted, state } = attached('h1');
    link(0);
    counted(0, 0);
    counted(800, 1);
    part.switchLost(1_000);
    // Nothing is counted meanwhile.
    for (const nowMs of [2_000, 3_000, 4_000]) part.tick(nowMs);
    assert.equal(state(), 'up');
    part.tick(4_001);
    assert.equal(state(), 'down');
    part.switchLost(4_500);
    part.switchConnected(4_600);
    for (const nowMs of [5_000, 6_000, 7_000]) counted(nowMs, nowMs);
    assert.equal(state(), 'up');
    part.switchLost(8_000);
    part.switchConnected(10_900);
    part.tick(11_000);
    assert.equal(state(), 'up', 'nobody could be heard for 2.9 s');
    for (const nowMs of [9_000, 11_000, 13_000]) counted(nowMs, nowMs);
    assert.equal(state(), 'up');
  });

  test('that becomes active tells all MACs inside, three times', () => {
    const { part, ground } = attached('h2');
    ground.put(binding('h1'));
    const counts = [announced(part.scopeChanged(changes([binding('h1')]), 1_000))];
    for (const nowMs of [2_000, 3_000, 4_000]) counts.push(announced(part.tick(nowMs)));
    assert.deepEqual(counts, [1, 1, 1, 0]);
  });

  test('bytes that are no hello are nothing', () => {
    const { part, ground } = attached('h1');
    const packet = hello({ port: port.key, place: 0 });
    for (let length = 0; length < packet.frame.length; length++)
      assert.deepEqual(
        part.heard({ ...packet, frame: packet.frame.subarray(0, length) }, ground.scope.port(OUT)!, 0),
        [],
      );
  });
});
