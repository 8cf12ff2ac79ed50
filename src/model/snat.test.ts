import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../base/addresses.ts';
import { pooledAddress, poolOf, poolSlots, type SnatRule, snatAddresses, snatAddressFor, snatRuleFor } from './snat.ts';

test('of the networks that a source is in the narrowest counts, of two rules for one network the first, of the other version none', () => {
  const snat = [
    { from: '10.0.0.0/8', to: '203.0.113.1' },
    { from: '10.1.0.0/16', to: '203.0.113.2' },
    { from: '10.1.0.0/16', to: '203.0.113.3' },
    { from: '::/0', to: '2001:db8::1' },
  ];
  const toOf = (source: string) => snatRuleFor({ snat }, parseIp(source)!)?.to;
  assert.equal(toOf('10.1.2.3'), '203.0.113.2');
  assert.equal(toOf('10.2.2.3'), '203.0.113.1');
  assert.equal(toOf('192.0.2.1'), undefined);
  assert.equal(toOf('fd00::1'), '2001:db8::1');
});

const sources = Array.from({ length: 4096 }, (_, n) => parseIp(`10.0.${n >> 8}.${n & 255}`)!);
const pool = (to: SnatRule['to']): SnatRule => ({ from: '10.0.0.0/8', to });

test('a pool is what its addresses, ranges and networks have, each address once', () => {
  assert.deepEqual(poolOf(pool(['203.0.113.40', '203.0.113.8-203.0.113.10', '203.0.113.16/31'])), [
    ...['203.0.113.40', '203.0.113.8', '203.0.113.9', '203.0.113.10', '203.0.113.16', '203.0.113.17'],
  ]);
  assert.deepEqual(poolOf(pool('2001:db8::fe-2001:db8::101')).length, 4);
  assert.deepEqual(
    [...snatAddresses({ snat: [pool('192.0.2.1'), pool(['192.0.2.1', '192.0.2.2'])] })],
    [...['192.0.2.1', '192.0.2.2']],
  );
});

test('a source has one address of the pool, whatever the order in which that is written', () => {
  const [one, other] = [
    pool(['192.0.2.1-192.0.2.3', '192.0.2.9']),
    pool(['192.0.2.9', '192.0.2.2', '192.0.2.1', '192.0.2.3']),
  ];
  for (const source of sources) assert.equal(pooledAddress(one, source), pooledAddress(other, source));
  assert.equal(snatAddressFor({ snat: [one] }, parseIp('10.0.0.1')!), pooledAddress(one, sources[1]!));
  assert.equal(snatAddressFor({ snat: [one] }, parseIp('192.0.2.200')!), undefined);
  const six: SnatRule = { from: '::/0', to: '2001:db8::1-2001:db8::2' };
  assert.equal(pooledAddress(six, parseIp('fd00::5')!), pooledAddress(six, parseIp('fd00:9::1:5')!));
});

test('a pool of one is that address, and of more each has its share of the sources, as far as 64 slots go', () => {
  assert.deepEqual(new Set(poolSlots(pool('192.0.2.1'))), new Set(['192.0.2.1']));
  for (const size of [2, 3, 5, 10, 33, 64]) {
    const rule = pool(`192.0.2.1-192.0.2.${size}`);
    const counts = Map.groupBy(sources, (source) => pooledAddress(rule, source));
    assert.equal(counts.size, size);
    const slot = sources.length / 64;
    for (const { length } of counts.values())
      assert.ok(Math.abs(length - sources.length / size) < slot, `${size}: ${length}`);
  }
});

test('an address that comes or goes moves its share of the sources, and few others', () => {
  for (const size of [1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63]) {
    const without = pool(`192.0.2.1-192.0.2.${size}`);
    const whole = pool(['192.0.2.100', `192.0.2.1-192.0.2.${size}`]);
    const moved = sources.filter((source) => pooledAddress(without, source) !== pooledAddress(whole, source));
    const own = sources.filter((source) => pooledAddress(whole, source) === '192.0.2.100');
    const others = moved.length - own.length;
    assert.ok(own.every((source) => moved.includes(source)));
    assert.ok(others <= sources.length / 5, `${others} others moved with ${own.length} of ${sources.length}`);
    if (size < 8) assert.ok(others <= own.length, `${others} others moved with ${own.length}`);
  }
});
