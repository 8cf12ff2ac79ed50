import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCidr } from './addresses.ts';
import { type PrefixEntry, permits } from './prefix-lists.ts';

const network = '10.0.0.0/8';
const CASES: readonly (readonly [entry: PrefixEntry, permitted: readonly string[], refused: readonly string[]])[] = [
  [network, ['10.0.0.0/8', '10.1.2.3/32'], ['0.0.0.0/0', '11.0.0.0/8', '2001:db8::/32']],
  [{ network }, ['10.0.0.0/8'], ['10.0.0.0/9', '0.0.0.0/0']],
  [{ network, ge: 24 }, ['10.1.0.0/24', '10.1.0.1/32'], ['10.0.0.0/8', '10.0.0.0/23']],
  [{ network, le: 16 }, ['10.0.0.0/8', '10.1.0.0/16'], ['10.1.0.0/17']],
  [{ network, ge: 16, le: 24 }, ['10.1.0.0/16', '10.1.1.0/24'], ['10.0.0.0/8', '10.1.1.0/25']],
  [{ network: '::/0' }, ['::/0'], ['2001:db8::/32', '0.0.0.0/0']],
  ['2001:db8::/32', ['2001:db8:1::1/128'], ['::/0']],
];

test('an entry of a prefix list permits networks by their place and their length', () => {
  for (const [entry, permitted, refused] of CASES)
    for (const [texts, wanted] of [
      [permitted, true],
      [refused, false],
    ] as const)
      for (const text of texts)
        assert.equal(permits([entry], parseCidr(text)!), wanted, `${JSON.stringify(entry)} ${text}`);
  assert.equal(permits([], parseCidr(network)!), false);
  assert.equal(permits(['192.0.2.0/24', network], parseCidr(network)!), true);
});
