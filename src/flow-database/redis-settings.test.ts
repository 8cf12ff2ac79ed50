import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { endOf, hasPassword, parseRedisUrl, withoutPassword } from './redis-settings.ts';

test('a URL says where, over what, as whom and in which database', () => {
  const plain = { host: '10.0.0.5', port: 6379, database: 0, isTls: false };
  assert.deepEqual(parseRedisUrl('redis://10.0.0.5'), plain);
  const none = { passwordFile: undefined, caFile: undefined, certFile: undefined, keyFile: undefined };
  assert.deepEqual(parseRedisUrl('valkey://10.0.0.5:6379/0', none), plain);
  assert.deepEqual(parseRedisUrl('rediss://weft:p%40ss@cache.example:7000/3'), {
    ...{ host: 'cache.example', port: 7000, database: 3, isTls: true, user: 'weft', password: 'p@ss' },
  });
  const six = parseRedisUrl('redis://[2001:db8::1]:7000');
  assert.deepEqual([six.host, endOf(six)], ['2001:db8::1', '[2001:db8::1]:7000']);
  assert.deepEqual(parseRedisUrl('redis://10.0.0.5', { passwordFile: '/dev/null' }), {
    ...{ ...plain, passwordFile: '/dev/null' },
  });
});

test('what is none is refused, with what is wrong, and without the password', () => {
  const wrong: [string, RegExp, object?][] = [
    ['', /no URL/],
    ['10.0.0.5:6379', /no URL/],
    ['http://10.0.0.5', /no URL/],
    ['redis://', /a host is missing|no URL/],
    ['redis://:secret@10.0.0.5/first', /the database, behind the host, is no number/],
    ['redis://:secret@10.0.0.5?db=1', /mean nothing/],
    ['redis://:secret@10.0.0.5', /in a file/, { passwordFile: '/dev/null' }],
    ['redis://10.0.0.5', /rediss:/, { caFile: '/dev/null' }],
    ['rediss://10.0.0.5', /go together/, { certFile: '/dev/null' }],
    ['redis://10.0.0.5', /\/nowhere cannot be read/, { passwordFile: '/nowhere' }],
    ['redis://:secret%zz@10.0.0.5', /as in URLs/],
    ['redis://u:pa/secret@10.0.0.5', /no URL|no number/],
    ['redis://u:12/secret@10.0.0.5', /no number/],
    ['redis:u:secret@10.0.0.5', /no URL|host is missing/],
  ];
  for (const [url, why, files] of wrong)
    assert.throws(
      () => parseRedisUrl(url, files),
      (error) =>
        error instanceof WeftError &&
        error.code === 'invalid' &&
        why.test(error.message) &&
        !error.message.includes('secret'),
      url,
    );
});

test('a password is never shown', () => {
  assert.equal(withoutPassword('rediss://weft:a:b/c@h:1/2'), 'rediss://weft:…@h:1/2', 'no URL: / is written %2F');
  assert.equal(withoutPassword('redis://u:a@b/c@h'), 'redis://u:…@h');
  assert.equal(withoutPassword('redis:u:secret@h'), 'redis:…@h');
  assert.equal(withoutPassword('redis://weft@[2001:db8::1]:7000/3'), 'redis://weft@[2001:db8::1]:7000/3');
  assert.equal(withoutPassword('rediss://weft:a:b@h:1/2'), 'rediss://weft:…@h:1/2');
  assert.equal(withoutPassword('redis://:x@h'), 'redis://:…@h');
  assert.deepEqual([hasPassword('redis://:x@h'), hasPassword('redis://x@h')], [true, false]);
});
