import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PACKET_IN } from '../compile/tables.ts';
import type { PacketIn } from './events.ts';
import { Novelty, sampleKey } from './novelty.ts';
import { NO_REGISTERS } from './registers.ts';

function ipv4(source: number, id: number): PacketIn {
  const frame = new Uint8Array(60);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
  frame[19] = id; // varies from packet to packet
  frame.set([10, 0, source >> 8, source & 255], 26);
  return { ...NO_REGISTERS, class: PACKET_IN.guard, cookie: 0n, inPort: 1, portKey: 1, switchKey: 1, vlan: 0, frame };
}

test('one wrong address is new once, however often it is sent', () => {
  const novelty = new Novelty();
  assert.equal(novelty.isNew('p', sampleKey(ipv4(9, 0))), true);
  for (let id = 1; id < 200; id++) assert.equal(novelty.isNew('p', sampleKey(ipv4(9, id))), false);
  assert.equal(novelty.isNew('q', sampleKey(ipv4(9, 0))), true);
});

test('every packet of a spray is new, also when its addresses come around again', () => {
  const novelty = new Novelty();
  for (let i = 0; i < 1000; i++) assert.equal(novelty.isNew('p', sampleKey(ipv4(i % 300, 0))), true);
});

test('a sample of a cut frame has a key', () => {
  for (let length = 0; length < 20; length++) sampleKey({ ...ipv4(1, 1), frame: new Uint8Array(length) });
});
