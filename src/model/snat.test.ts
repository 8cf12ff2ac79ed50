import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../base/addresses.ts';
import { snatRuleFor } from './snat.ts';

test('of the networks that a source is in the narrowest counts, of two rules for one network the first, of the other version none', () => {
  const snat = [
    { from: '10.0.0.0/8', to: '203.0.113.1' },
    { from: '10.1.0.0/16', to: '203.0.113.2' },
    { from: '10.1.0.0/16', to: '203.0.113.3' },
    { from: '::/0', to: '2001:db8::1' },
  ];
  const toOf = (source: string): string | undefined => snatRuleFor({ snat }, parseIp(source)!)?.to;
  assert.equal(toOf('10.1.2.3'), '203.0.113.2');
  assert.equal(toOf('10.2.2.3'), '203.0.113.1');
  assert.equal(toOf('192.0.2.1'), undefined);
  assert.equal(toOf('fd00::1'), '2001:db8::1');
});
