import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LearnedAddress } from '../model/objects.ts';
import { LEARNED_IDLE_MS, LEARNED_PER_PORT, Learning } from './learning.ts';

const MAC = '02:77:00:00:00:01';

function learned(port: string, mac = MAC, host = 'h1'): LearnedAddress {
  return { kind: 'learned', id: `s/0/${mac}`, revision: 3, switch: 's', port, host, mac, vlan: 0 };
}

test('an address is learned once, and again when it moves to another port', () => {
  const learning = new Learning();
  assert.equal(learning.learn('s', 'p1', 'h1', 0, MAC, 0)?.port, 'p1');
  assert.equal(learning.learn('s', 'p1', 'h1', 0, MAC, 1), undefined);
  assert.equal(learning.learn('s', 'p2', 'h1', 0, MAC, 2)?.port, 'p2');
  assert.deepEqual(learning.ofPort('p1'), []);
  assert.deepEqual(learning.all(), [{ port: 'p2', vlan: 0, mac: MAC }]);
});

test('an address ages from when it was last heard: taught again, or its flow counted', () => {
  const learning = new Learning();
  const { id } = learning.learn('s', 'p1', 'h1', 0, MAC, 0)!;
  assert.deepEqual(learning.idle(LEARNED_IDLE_MS), []);
  learning.heard(id, 5, LEARNED_IDLE_MS);
  learning.heard(id, 5, 2 * LEARNED_IDLE_MS); // the same count: nothing was heard
  assert.deepEqual(learning.idle(2 * LEARNED_IDLE_MS), []);
  assert.deepEqual(
    learning.idle(2 * LEARNED_IDLE_MS + 1).map((record) => record.id),
    [id],
  );
  learning.learn('s', 'p1', 'h1', 0, MAC, 2 * LEARNED_IDLE_MS + 1);
  assert.deepEqual(learning.idle(2 * LEARNED_IDLE_MS + 2), []);
});

test('a port teaches only so many, and room comes back with what is lost', () => {
  const learning = new Learning();
  const mac = (n: number): string =>
    `02:77:00:00:${Math.floor(n / 256)
      .toString(16)
      .padStart(2, '0')}:${(n % 256).toString(16).padStart(2, '0')}`;
  for (let n = 0; n < LEARNED_PER_PORT; n++) assert.ok(learning.learn('s', 'p1', 'h1', 0, mac(n), 0));
  assert.equal(learning.learn('s', 'p1', 'h1', 0, mac(LEARNED_PER_PORT), 0), undefined);
  assert.ok(learning.learn('s', 'p2', 'h1', 0, mac(LEARNED_PER_PORT), 0), 'another port has room of its own');
  learning.lose(`s/0/${mac(0)}`);
  assert.ok(learning.learn('s', 'p1', 'h1', 0, mac(LEARNED_PER_PORT + 1), 0));
});

test('what the disk kept of this host is taken up again, but for ports that are gone', () => {
  const learning = new Learning();
  const other = '02:77:00:00:00:02';
  learning.adopt([learned('p1'), learned('p2', other), learned('p3', '02:77:00:00:00:03', 'h2')], 'h1', 10);
  assert.deepEqual(
    learning.all().map((address) => address.port),
    ['p1', 'p2'],
  );
  assert.deepEqual(
    learning.loseAbsent((port) => port === 'p1').map((record) => record.port),
    ['p2'],
  );
  assert.deepEqual(
    learning.all().map((address) => address.port),
    ['p1'],
  );
});
