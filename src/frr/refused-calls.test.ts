import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RefusedCalls } from './refused-calls.ts';

const LOG = [
  'bgpd 8.4.4 starting: vty@0, bgp@<all>:179',
  '%NOTIFICATION: sent to neighbor 192.0.2.1 2/2 (OPEN Message Error/Bad Peer AS) 2 bytes f',
  '[EC 33554451] bgp_process_packet: BGP OPEN receipt failed for peer: 192.0.2.1',
  '%NOTIFICATION: sent to neighbor 2001:db8::1(upstream) 2/6 (OPEN Message Error/Unacceptable Hold Time) 0 bytes',
  '%NOTIFICATION(Hard Reset): sent to neighbor 192.0.2.5 6/2 (Cease/Administrative Shutdown) 0 bytes',
  '%NOTIFICATION: received from neighbor 192.0.2.9 2/2 (OPEN Message Error/Bad Peer AS) 2 bytes',
].map((line) => `2026/11/30 07:51:00 BGP: [HZN6M-XRM1G] ${line}\n`);

test('who is refused is known by the notification that answered his OPEN, until he is let in or has not called for two minutes', () => {
  const calls = new RefusedCalls();
  const refused = (text: string, nowMs: number, ...letIn: string[]): string[] =>
    [...calls.look(text, letIn, nowMs)].map(([address, { code }]) => `${address} ${code}`);
  assert.deepEqual(refused(LOG.join(''), 0), ['192.0.2.1 0202', '2001:db8::1 0206']);
  assert.deepEqual(refused(LOG[1]!, 100_000), ['192.0.2.1 0202', '2001:db8::1 0206']);
  assert.deepEqual(refused('', 130_000), ['192.0.2.1 0202']);
  assert.deepEqual(refused('', 220_000), []);
  assert.deepEqual(refused(LOG[1]!, 230_000), ['192.0.2.1 0202']);
  assert.deepEqual(refused('', 231_000, '192.0.2.1'), []);
});
