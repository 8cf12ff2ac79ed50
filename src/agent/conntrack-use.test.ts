import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLimits } from './conntrack-link.ts';
import { ConntrackUse } from './conntrack-use.ts';
import { portId, testGround } from './testing/test-ground.ts';
import { Zones } from './zones.ts';

test('a port that has as many connections as one may have is named, as is a host whose connection tracking is nearly full', () => {
  const { scope } = testGround([{ kind: 'port', id: portId(1), key: 1, name: 'web-1' }]);
  const zones = new Zones();
  zones.give(portId(1));
  const use = new ConntrackUse();
  const told = (connections: number, count: number): string[] => {
    const read = readLimits(`default limit=0\nzone=4,limit=100,count=${count}\nzone=8,limit=0,count=5\n`);
    use.told({ kind: 'conntrack', connections, most: 800, zones: read });
    return [...use.problems(scope, zones)];
  };
  assert.deepEqual(told(120, 99), []);
  assert.deepEqual(told(123, 100), [
    'port web-1 has 100 connections, as many as one may have: new ones are refused until old ones end',
  ]);
  assert.deepEqual(use.use, { connections: 120, most: 800 });
  assert.match(told(790, 5)[0]!, /790 of 800/);
});

test('connection tracking is read every ten seconds', () => {
  const use = new ConntrackUse();
  const asked = [0, 1000, 9999, 10_000].map((nowMs) => use.tick(nowMs).length);
  assert.deepEqual(asked, [1, 0, 0, 1]);
});
