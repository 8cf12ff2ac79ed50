import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseObject } from './parse.ts';

test('values of a wrong form are told in words, with what is wanted', () => {
  const problems = [
    parseObject({ tenant: 'a', name: 'p', vlan: 5, addresses: 'x', adminUp: 'yes', groups: [7] }, '', 'port'),
    parseObject({ tenant: 'a', name: 's', key: 2 ** 24, mtu: 1.5 }, '', 'switch'),
    parseObject({ tenant: 'a', name: 'r', chain: 'c', position: 0, action: 'maybe' }, '', 'rule'),
    parseObject({ tenant: 'a', name: 'r', chain: 'c' }, '', 'rule'),
    parseObject({ name: 't', description: 'x'.repeat(1_001) }, '', 'tenant'),
  ].map((parsed) => parsed.problems!.map(({ path, message }) => `${path}: ${message}`));
  assert.deepEqual(problems, [
    [
      'switch: is missing; text is wanted',
      'addresses: a list is wanted, not text',
      'adminUp: true or false is wanted, not text',
      'vlan: an object is wanted, not 5',
      'groups[0]: text is wanted, not 7',
    ],
    ['mtu: a whole number is wanted, not 1.5', 'key: at most 16777215 is wanted'],
    ['position: at least 1 is wanted', 'action: one of accept, drop, reject, jump, return, log is wanted'],
    [
      'position: is missing; a number is wanted',
      'action: is missing; one of accept, drop, reject, jump, return, log is wanted',
    ],
    ['description: text of at most 1000 characters is wanted'],
  ]);
});
