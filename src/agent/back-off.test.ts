import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CompilerChange } from '../compile/compiler.ts';
import { PACKET_IN, type PacketInClass } from '../compile/tables.ts';
import { BACK_OFF, BackOff, TALK_BACK_OFF } from './back-off.ts';
import type { PacketIn } from './events.ts';
import { NO_REGISTERS } from './registers.ts';
import { portId, testGround } from './testing/test-ground.ts';

const [P, Q] = [portId(1), portId(2)];
const records = [
  { kind: 'port', id: P, key: 1, name: 'wire', switch: 's' },
  { kind: 'port', id: Q, key: 2, name: 'web', switch: 's' },
  { kind: 'router', id: 'r', key: 200, name: 'edge' },
  { kind: 'routerPort', id: 'out', key: 201, name: 'out', router: 'r', outside: true },
];

function setup() {
  const changes: CompilerChange[] = [];
  const ground = testGround(records, [P, Q]);
  const backOff = new BackOff({
    ...ground,
    compile: (more) => {
      changes.push(...more);
      return [];
    },
  });
  const packet = (wanted: PacketInClass, registers: object): PacketIn => ({
    ...{ ...NO_REGISTERS, cookie: 0n, inPort: 7, frame: new Uint8Array(), ...registers, class: PACKET_IN[wanted] },
  });
  /** How many of so many packets at once are looked at. */
  const heard = (count: number, wanted: PacketInClass, registers: object, nowMs: number): number =>
    Array.from({ length: count }, () => backOff.stops(packet(wanted, registers), nowMs)).filter((e) => e === undefined)
      .length;
  const told = (): string[] =>
    changes
      .splice(0)
      .map((change) =>
        'record' in change ? JSON.stringify(change.record) : `${change.op} ${change.kind} ${change.id}`,
      );
  return { ground, backOff, heard, told };
}

const texts = (ground: ReturnType<typeof setup>['ground']): string[] =>
  ground.reports.splice(0).flatMap((report) => (report.type === 'event' ? [`${report.level}: ${report.text}`] : []));

test('a port that provokes more errors than its share is held back, and nobody else', () => {
  const { ground, backOff, heard, told } = setup();
  assert.equal(heard(2000, 'ttl', { portKey: 1 }, 1000), BACK_OFF.burst);
  assert.deepEqual(told(), [JSON.stringify({ kind: 'heldBack', id: P, errors: true, hops: false, talk: false })]);
  const text =
    'more than 200 packets a second that cannot go on come by port wire; for 2 s their senders are told nothing';
  assert.deepEqual(texts(ground), [`warning: ${text}`]);
  assert.deepEqual([...backOff.problems()], [text]);
  assert.equal(heard(100, 'ttl', { portKey: 2 }, 1000), 100);
  assert.equal(heard(100, 'resolve', { portKey: 1 }, 1000), 100, 'next hops are another matter');
  backOff.tick(2999);
  assert.deepEqual(told(), []);
  backOff.tick(3000);
  assert.deepEqual(told(), [`delete heldBack ${P}`]);
  assert.deepEqual(texts(ground), ['info: packets by port wire are heard again']);
  assert.deepEqual([...backOff.problems()], []);
});

test('a port that talks to the agent without end is not heard in that, but for one behind which are many', () => {
  const { ground, backOff, heard, told } = setup();
  assert.equal(heard(3000, 'neighbour', { portKey: 1 }, 1000), TALK_BACK_OFF.burst);
  assert.equal(heard(10, 'dns', { portKey: 1 }, 1000), 0, 'nor in what else only the agent answers');
  assert.deepEqual(told(), [JSON.stringify({ kind: 'heldBack', id: P, errors: false, hops: false, talk: true })]);
  assert.deepEqual(texts(ground), [
    'warning: more than 1000 packets a second about addresses, names and health checks come by port wire; for 2 s they are dropped',
  ]);
  assert.equal(heard(100, 'probe', { portKey: 2 }, 1000), 100);
  backOff.tick(3000);
  assert.deepEqual(told(), [`delete heldBack ${P}`]);
  const packet = {
    ...NO_REGISTERS,
    cookie: 0n,
    inPort: 7,
    frame: new Uint8Array(),
    portKey: 2,
    class: PACKET_IN.neighbour,
  };
  for (let n = 0; n < 5000; n++)
    assert.equal(
      backOff.stops(packet, 4000, () => true),
      undefined,
    );
  assert.deepEqual(told(), []);
});

test('what still comes by a port that is held back is dropped before anybody looks at it', () => {
  const { backOff, heard } = setup();
  const arp = { ...NO_REGISTERS, cookie: 0n, inPort: 7, frame: new Uint8Array(), portKey: 1 };
  let asked = 0;
  const say = (nowMs: number): ReturnType<BackOff['stops']> =>
    backOff.stops({ ...arp, class: PACKET_IN.neighbour }, nowMs, () => {
      asked++;
      return false;
    });
  heard(3000, 'neighbour', { portKey: 1 }, 1000);
  for (let n = 0; n < 1000; n++) assert.deepEqual(say(1001), []);
  assert.equal(asked, 0);
  backOff.tick(3000);
  assert.equal(say(3000), undefined, 'heard again');
  assert.equal(asked, 1);
});

test('it is held back twice as long each time, and as at first when it has been quiet for a minute', () => {
  const { backOff, heard, told } = setup();
  let nowMs = 0;
  for (const seconds of [2, 4, 8, 16, 32, 64, 120, 120]) {
    heard(1000, 'unreachable', { portKey: 1 }, nowMs);
    backOff.tick(nowMs + seconds * 1000 - 1);
    assert.equal(told().length, 1, `${seconds}`);
    nowMs += seconds * 1000;
    backOff.tick(nowMs);
    assert.deepEqual(told(), [`delete heldBack ${P}`], `${seconds}`);
  }
  nowMs += BACK_OFF.forgiveAfterMs + 1000;
  heard(1000, 'unreachable', { portKey: 1 }, nowMs);
  told();
  backOff.tick(nowMs + 2000);
  assert.deepEqual(told(), [`delete heldBack ${P}`]);
});

test('errors and next hops of one port are held back each by itself, as one record', () => {
  const { backOff, heard, told } = setup();
  heard(1000, 'resolve', { portKey: 1 }, 0);
  heard(1000, 'reset', { portKey: 1 }, 1000);
  assert.deepEqual(told(), [
    JSON.stringify({ kind: 'heldBack', id: P, errors: false, hops: true, talk: false }),
    JSON.stringify({ kind: 'heldBack', id: P, errors: true, hops: true, talk: false }),
  ]);
  backOff.tick(2500);
  assert.deepEqual(told(), [JSON.stringify({ kind: 'heldBack', id: P, errors: true, hops: false, talk: false })]);
  backOff.forget(P);
  assert.deepEqual(told(), [`delete heldBack ${P}`]);
});

test('what other hosts hand on counts against the router port by which it came in', () => {
  const { heard, told } = setup();
  heard(1000, 'ttl', { fromTunnel: true, outPortKey: 201 }, 0);
  assert.deepEqual(told(), [JSON.stringify({ kind: 'heldBack', id: 'out', errors: true, hops: false, talk: false })]);
  assert.equal(heard(1000, 'ttl', { fromTunnel: true, outPortKey: 999 }, 0), 1000, 'nobody is known');
  assert.equal(heard(1000, 'dhcp', { portKey: 1 }, 0), 1000, 'has a budget of its own');
});

test('a router port that is gone leaves nothing behind, whether it was held back or not', () => {
  const { backOff, heard, told } = setup();
  const gone = (): unknown =>
    backOff.scopeChanged([{ op: 'delete', record: { kind: 'routerPort', id: 'out' } as never }]);
  const from = { fromTunnel: true, outPortKey: 201 };
  assert.equal(heard(BACK_OFF.burst, 'ttl', from, 0), BACK_OFF.burst);
  gone();
  assert.deepEqual(told(), []);
  assert.equal(heard(1000, 'ttl', from, 0), BACK_OFF.burst, 'it begins anew');
  told();
  gone();
  assert.deepEqual([told(), [...backOff.problems()]], [['delete heldBack out'], []]);
});
