import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EAST } from './dump.fixture.ts';
import { linesOf, parseTracked } from './dump.ts';
import { UsedPorts } from './used-ports.ts';

const place = (address: string, router = 'r') => ({ router, zone: router === 'r' ? 8 : 99, address });

test('ports of an SNAT address that connections have, those that are over too, in the zone of their router', () => {
  const used = new UsedPorts([place('203.0.113.2'), place('2001:db8:f::2'), place('203.0.113.2', 'unread')]);
  for (const line of linesOf(EAST)) used.take(parseTracked(line));
  const ports = used.result(new Set(['unread']));
  assert.deepEqual([...ports.keys()], ['r/203.0.113.2', 'r/2001:db8:f::2']);
  const known = new Set(
    [...EAST.matchAll(/dst=203\.0\.113\.2,sport=\d+,dport=(\d+)\),zone=8/g)].map(([, port]) => port),
  );
  assert.deepEqual([...ports.get('r/203.0.113.2')!].map(String).sort(), [...known].sort());
  assert.ok(known.has('1138') && known.size > 1);
  assert.deepEqual([...ports.get('r/2001:db8:f::2')!], [1167]);
  used.spoil();
  assert.equal(used.result(new Set()).size, 0, 'a line that is not understood may be any');
});
