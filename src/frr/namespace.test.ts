import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type InterfaceNow, planInterfaces } from './namespace.ts';

const lo: InterfaceNow = { ifname: 'lo', ifindex: 1, flags: ['LOOPBACK', 'UP'], addr_info: [] };
const w1: InterfaceNow = {
  ifname: 'w1',
  ifindex: 2,
  flags: ['UP'],
  addr_info: [
    { local: '192.0.2.2', prefixlen: 30, scope: 'global' },
    { local: 'fe80::1', prefixlen: 64, scope: 'link' },
  ],
};

test('interfaces that are as they should be need nothing', () => {
  assert.deepEqual(planInterfaces([lo, w1], [{ name: 'w1', addresses: ['192.0.2.2/30'] }]), []);
});

test('addresses come and go, link-local ones stay', () => {
  assert.deepEqual(planInterfaces([lo, w1], [{ name: 'w1', addresses: ['192.0.2.6/30', '2001:db8:0::2/64'] }]), [
    'addr del 192.0.2.2/30 dev w1',
    'addr add 192.0.2.6/30 dev w1',
    'addr add 2001:db8::2/64 dev w1 nodad',
  ]);
});

test('a new namespace has its interfaces brought up', () => {
  const bare = [
    { ...lo, flags: [] },
    { ...w1, flags: [], addr_info: [] },
  ];
  assert.deepEqual(planInterfaces(bare, [{ name: 'w1', addresses: ['192.0.2.2/30'] }]), [
    'link set lo up',
    'addr add 192.0.2.2/30 dev w1',
    'link set w1 up',
  ]);
});
