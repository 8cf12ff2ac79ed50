import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../base/errors.ts';
import { EAST, WEST } from './dump.fixture.ts';
import { parseTracked } from './dump.ts';

test("every line of real dumps parses, and says what Open vSwitch's text says", () => {
  const all = [EAST, WEST].map((text) => text.trim().split('\n').map(parseTracked));
  assert.deepEqual(
    all.map((entries) => entries.length),
    [17, 10],
  );
  assert.deepEqual(all[0]![7], {
    ...{ protocol: 'tcp', zone: 8, state: 'established' },
    original: { from: { address: '10.0.1.12', port: 52960 }, to: { address: '203.0.113.101', port: 80 } },
    reply: { from: { address: '203.0.113.101', port: 80 }, to: { address: '203.0.113.2', port: 1386 } },
  });
  assert.deepEqual(all[0]![9], {
    ...{ protocol: 'icmp', zone: 8 },
    original: { from: { address: '10.0.1.12' }, to: { address: '203.0.113.101' }, icmpId: 12523, icmpType: 8 },
    reply: { from: { address: '203.0.113.101' }, to: { address: '203.0.113.2' }, icmpId: 12523, icmpType: 0 },
  });
  assert.deepEqual(all[0]![5]!.original.from, { address: 'fd00:1::12', port: 55122 });
});

test('counters, labels, both states and protocols without ports are understood', () => {
  const counted = parseTracked(
    'tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2,packets=3,bytes=300),reply=(src=10.0.0.2,dst=10.0.0.1,sport=2,dport=1,packets=2,bytes=200),id=0,zone=7,status=0,timeout=9,labels=0x1,protoinfo=(state_orig=SYN_SENT,state_reply=LISTEN)',
  );
  assert.deepEqual(
    [counted.zone, counted.state, counted.original.packets, counted.reply.bytes],
    [7, 'syn-sent', 3, 200],
  );
  const gre = parseTracked(
    '47,orig=(src=10.0.0.1,dst=10.0.0.2,sport=0,dport=0),reply=(src=10.0.0.2,dst=10.0.0.1,sport=0,dport=0)',
  );
  assert.deepEqual(gre.original, { from: { address: '10.0.0.1' }, to: { address: '10.0.0.2' } });
  assert.equal(gre.zone, 0);
});

test('text that is no entry is a decode error, whatever it is', () => {
  const line = EAST.split('\n')[0]!;
  for (const bad of [
    '',
    'tcp',
    line.slice(0, 60),
    line.replace('sport=1196', 'sport=70000'),
    line.replace('203.0.113.2', '203.0.113.999'),
  ])
    assert.throws(() => parseTracked(bad), DecodeError, bad);
  assert.throws(() => parseTracked(line.replace('zone=4', 'zone=70000')), DecodeError);
  fc.assert(
    fc.property(fc.nat(line.length), fc.nat(20), fc.string(), (at, length, text) => {
      try {
        parseTracked(line.slice(0, at) + text + line.slice(at + length));
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
      }
    }),
  );
});
