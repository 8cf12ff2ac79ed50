import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectedPeers, SessionWatch } from './session-watch.ts';

const a = '192.0.2.1';
const b = '192.0.2.5';
const mortal = new Set([a]);
const set = (...addresses: string[]): Set<string> => new Set(addresses);

test('a gateway is avoided from the end of its connection until its session is up again', () => {
  const watch = new SessionWatch();
  assert.deepEqual(watch.look(mortal, set(a), set(), 0), set(), 'it was never up');
  assert.deepEqual(watch.look(mortal, set(), undefined, 100), set());
  watch.look(mortal, set(a), set(a), 200);
  assert.deepEqual(watch.look(mortal, set(), undefined, 300), set(a));
  assert.deepEqual(watch.look(mortal, set(a), undefined, 400), set(a), 'a connection is no session yet');
  assert.deepEqual(watch.look(mortal, set(a), set(a), 500), set());
  assert.deepEqual(watch.look(mortal, set(a), set(), 600), set(a), 'bgpd says that it ended');
});

test('a gateway is avoided for ten seconds', () => {
  const watch = new SessionWatch();
  watch.look(mortal, set(a), set(a), 0);
  assert.deepEqual(watch.look(mortal, set(), set(), 1_000), set(a));
  assert.deepEqual(watch.look(mortal, set(), set(), 10_999), set(a));
  assert.deepEqual(watch.look(mortal, set(), set(), 11_000), set());
});

test('an answer of bgpd that is older than the end of the connection changes nothing', () => {
  const watch = new SessionWatch();
  watch.look(mortal, set(a), set(a), 0);
  assert.deepEqual(watch.look(mortal, set(), set(a), 100), set(a));
});

test('routes that are kept over a restart are not avoided', () => {
  const watch = new SessionWatch();
  watch.look(mortal, set(b), set(b), 0);
  assert.deepEqual(watch.look(mortal, set(), set(), 250), set());
});

test('the kernel’s tables of connections say who is connected', () => {
  const head = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
  const tcp = [
    '   0: 00000000:00B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 1',
    '   1: 0200000A:9C40 0100000A:00B3 01 00000000:00000000 00:00000000 00000000   105        0 2',
    '   2: 0200000A:9C41 0300000A:00B3 06 00000000:00000000 00:00000000 00000000     0        0 0',
    '   3: 0200000A:9C41 0400000A:0A3C 01 00000000:00000000 00:00000000 00000000     0        0 0',
  ].join('\n');
  const tcp6 = [
    '   0: B80D0120000000000000000002000000:00B3 B80D0120000000000000000001000000:9C40 01 00000000:00000000 0 0',
    '   1: 0000000000000000FFFF00000200000A:00B3 0000000000000000FFFF00000500000A:9C40 01 00000000:00000000 0 0',
  ].join('\n');
  assert.deepEqual([...connectedPeers(head + tcp, head + tcp6)].sort(), ['10.0.0.1', '10.0.0.5', '2001:db8::1']);
});
