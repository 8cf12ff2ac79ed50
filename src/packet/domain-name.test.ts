import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteReader, formatHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { decodeDomainName, encodeDomainName } from './domain-name.ts';
import { domainName } from './testing/arbitraries.ts';
import { testCodec } from './testing/codec-contract.ts';

testCodec({
  name: 'domain name',
  values: fc.oneof(domainName, fc.constantFrom('.', 'a\\.b.c', '\\000\\255', 'x\\032y.z\\\\')),
  encode: (name) => encodeDomainName(name),
  decode: (bytes) => decodeDomainName(new ByteReader(bytes), 'name'),
});

test('a trailing dot changes nothing', () => {
  assert.equal(formatHex(encodeDomainName('ab.c.')), '0261620163 00'.replace(' ', ''));
  assert.deepEqual(encodeDomainName('ab.c.'), encodeDomainName('ab.c'));
});

test('text that is no domain name is refused', () => {
  for (const text of ['', 'a..b', '.a', `${'x'.repeat(64)}.y`, 'a b', 'ü', '\\999', 'a\\', `${'abcdefg.'.repeat(32)}x`])
    assert.throws(
      () => encodeDomainName(text),
      (e) => e instanceof DecodeError && e.code === 'bad-text',
      text,
    );
});
