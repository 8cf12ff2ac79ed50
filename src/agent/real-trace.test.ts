import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trackedStates } from './real-trace.ts';

const passage = (more: string): string => `
===============================================================================
recirc(0x1f) - resume conntrack with default ct_state=trk|new (use --ct-next to customize)
${more}===============================================================================

Flow: recirc_id=0x1f,ct_state=new|trk,tcp,nw_src=10.0.1.11
`;
const replaced = (before: string, after: string): string =>
  `Replacing src/dst IP/ports to simulate NAT:\n Initial flow: ${before}\n Modified flow: ${after}\n`;

test('a passage through connection tracking is translated where Open vSwitch replaced an address or a port', () => {
  const plain = 'nw_src=10.0.0.1,tp_src=5,nw_dst=10.0.0.2,tp_dst=80';
  const text = [
    'Flow: tcp\n',
    passage(''),
    passage(replaced(plain, 'nw_src=10.0.0.1,tp_src=5,nw_dst=10.0.0.9,tp_dst=80')),
    passage(replaced(plain, 'nw_src=10.0.0.7,tp_src=9,nw_dst=10.0.0.2,tp_dst=80')),
    passage(replaced('ipv6_src=::1,ipv6_dst=::2', 'ipv6_src=::7,ipv6_dst=::8')),
  ].join('');
  assert.deepEqual(trackedStates(text), ['trk,new', 'trk,new,dnat', 'trk,new,snat', 'trk,new,snat,dnat']);
  assert.deepEqual(trackedStates('Flow: tcp\nDatapath actions: drop'), []);
});
