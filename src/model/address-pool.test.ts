import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp } from '../base/addresses.ts';
import { addressCount, addressesIn, canonicalRange, parseAddressRange, rangeProblem } from './address-pool.ts';

const all = (text: string): string[] => [...addressesIn(parseAddressRange(text)!)].map(formatIp);

test('an address stands for itself, a range for all from the first to the last, a network for all that it has', () => {
  assert.deepEqual(all('203.0.113.10'), ['203.0.113.10']);
  assert.deepEqual(all('203.0.113.254-203.0.114.1'), ['203.0.113.254', '203.0.113.255', '203.0.114.0', '203.0.114.1']);
  assert.deepEqual(all('203.0.113.16/30'), ['203.0.113.16', '203.0.113.17', '203.0.113.18', '203.0.113.19']);
  assert.deepEqual(all('2001:db8::ffff-2001:db8::1:0'), ['2001:db8::ffff', '2001:db8::1:0']);
  assert.equal(addressCount(parseAddressRange('::/0')!), 1n << 128n);
});

test('what is none, is upside down or goes from one IP version to the other is refused, and says how it is written', () => {
  for (const [text, problem] of [
    ['web', /an address, a range or a network is wanted/],
    ['203.0.113.1-203.0.113.2-203.0.113.3', /is wanted/],
    ['203.0.113.9-203.0.113.8', /upside down; write 203\.0\.113\.8-203\.0\.113\.9/],
    ['203.0.113.9-2001:db8::1', /from one IP version to the other/],
    ['203.0.113.9/24', /host bits are set in .*; write 203\.0\.113\.0\/24/],
  ] as const)
    assert.match(rangeProblem(text) ?? '', problem);
  for (const text of ['203.0.113.8', '203.0.113.8-203.0.113.8', '2001:db8::/120'])
    assert.equal(rangeProblem(text), undefined);
});

test('one spelling of equal ranges', () => {
  assert.equal(canonicalRange('2001:DB8:0::1-2001:db8::0:2'), '2001:db8::1-2001:db8::2');
  assert.equal(canonicalRange('2001:DB8:0::/120'), '2001:db8::/120');
  assert.equal(canonicalRange('203.0.113.1'), '203.0.113.1');
});
