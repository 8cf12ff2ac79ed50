import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, formatCidr, parseCidr } from './addresses.ts';
import { NO_SLOT, PrefixSlots } from './prefix-slots.ts';

/** Few enough that they meet again, and many of one hash's neighbourhood. */
const networks = fc.oneof(
  fc.integer({ min: 0, max: 300 }).map((n) => `10.${n >> 8}.${n & 0xff}.0/24`),
  fc.integer({ min: 0, max: 40 }).map((n) => `${128 + n}.0.0.0/${1 + (n % 8)}`),
  fc.constantFrom('0.0.0.0/0', '255.255.255.255/32', '::/0', '2001:db8::/32', '2001:db8::/33', '2001:db8:1::/48'),
);

test('after any takes and releases it holds what a Map holds', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(networks, fc.integer({ min: 0, max: 0xffff_ffff })), { maxLength: 600 }), (steps) => {
      const slots = new PrefixSlots(2);
      const map = new Map<string, number>();
      for (const [text, value] of steps) {
        const to = parseCidr(text) as Cidr;
        const key = formatCidr(to);
        // A third of them are releases.
        if (value % 3 === 0) {
          const slot = slots.find(to);
          assert.equal(slot !== NO_SLOT, map.delete(key), key);
          if (slot !== NO_SLOT) slots.release(slot);
          continue;
        }
        const slot = slots.take(to);
        assert.equal(slots.get(1, slot), map.get(key) ?? 0, `${key} before`);
        slots.set(1, slot, value);
        map.set(key, value);
      }
      assert.equal(slots.size, map.size);
      const held = [...slots.slots()].map((slot) => [formatCidr(slots.cidrOf(slot)), slots.get(1, slot)] as const);
      assert.deepEqual(new Map(held), map);
      assert.equal(held.length, map.size);
      for (const key of map.keys()) assert.equal(slots.get(1, slots.find(parseCidr(key)!)), map.get(key), key);
    }),
  );
});

test('a prefix and its address with another length are two', () => {
  const slots = new PrefixSlots(1);
  const [wide, narrow] = [slots.take(parseCidr('10.0.0.0/8')!), slots.take(parseCidr('10.0.0.0/24')!)];
  assert.notEqual(wide, narrow);
  slots.release(wide);
  assert.equal(slots.find(parseCidr('10.0.0.0/8')!), NO_SLOT);
  assert.equal(slots.find(parseCidr('10.0.0.0/24')!), narrow);
});
