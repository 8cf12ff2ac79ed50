import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ShownConnection } from '../../server/routes/flows.ts';
import { UsageError } from '../exit-codes.ts';
import { formatFlows, formatHolders, parseEnd, sizeText } from './flows.ts';

const NOW = 1_000_000;
const connection: ShownConnection = {
  ...{ key: 'k', host: 'id', port: 'id', tenant: 'id', direction: 'out', protocol: 'tcp', state: 'syn-sent' },
  ...{ from: { address: '10.0.0.5', port: 1000 }, to: { address: '10.0.0.6', port: 80 } },
  ...{ names: { host: 'east', port: 'acme/web' }, peer: 'acme/db', sinceMs: NOW - 30_000 },
};

test('an address with a port is read as people write it', () => {
  assert.deepEqual(parseEnd('203.0.113.10:40123'), { address: '203.0.113.10', port: '40123' });
  assert.deepEqual(parseEnd('203.0.113.10'), { address: '203.0.113.10' });
  assert.deepEqual(parseEnd('[2001:db8::1]:443'), { address: '2001:db8::1', port: '443' });
  assert.deepEqual(parseEnd('2001:db8::1'), { address: '2001:db8::1' });
  for (const wrong of ['', 'host:1', '203.0.113.10:', '203.0.113.10:x', '[2001:db8::1]443'])
    assert.throws(() => parseEnd(wrong), UsageError, wrong);
});

test('connections are a line each, with bytes where anybody counts them', () => {
  const icmp: ShownConnection = {
    ...connection,
    ...{ protocol: 'icmpv6', from: { address: 'fd00::5' }, to: { address: 'fd00::6' }, sinceMs: NOW },
  };
  const six: ShownConnection = { ...connection, seenAs: { address: '2001:db8::1', port: 7 }, bytes: 9 };
  const { state: _, ...stateless } = icmp;
  const lines = formatFlows([connection, stateless], NOW).split('\n');
  assert.deepEqual(lines, [
    'PORT      PROTOCOL  STATE     FROM           TO           PEER     HOST  SINCE',
    'acme/web  icmpv6              fd00::5        fd00::6      acme/db  east  0 s',
    'acme/web  tcp       syn-sent  10.0.0.5:1000  10.0.0.6:80  acme/db  east  30 s',
  ]);
  assert.match(formatFlows([six], NOW), /SEEN AS .* BYTES\n.*\[2001:db8::1\]:7 .* 9 B$/);
  const allowed = { ...connection, allowedBy: 'acme/web: https (tcp/443 from anywhere)' };
  const text = formatFlows([allowed, { ...connection, key: 'other', sinceMs: 0, allowedBy: null }], NOW);
  assert.match(
    text,
    / ALLOWED BY +HOST .*\n.* acme\/web: https \(tcp\/443 from anywhere\) +east .*\n.* no rule any more +east/,
  );
});

test('sizes are read at a glance', () => {
  assert.deepEqual([0, 999, 1000, 9949, 9950, 999_500, 12_345_678, 2.5e18].map(sizeText), [
    ...['0 B', '999 B', '1.0 kB', '9.9 kB', '10 kB', '1.0 MB', '12 MB', '2500 PB'],
  ]);
});

test('holders say by what they are known', () => {
  const text = formatHolders([
    {
      ...{ by: 'connection', host: 'id', names: { host: 'east', port: 'acme/web', router: 'acme/r' }, protocol: 'tcp' },
      ...{ workload: connection.from, other: connection.to, fromMs: 0, toMs: 1000 },
    },
    { by: 'lease', host: 'id', names: { host: 'east', router: 'acme/r' }, fromMs: 0 },
  ]);
  const [, first, second] = text.split('\n');
  assert.match(
    first!,
    /^east {2}acme\/web +tcp +10\.0\.0\.5:1000 +10\.0\.0\.6:80 +acme\/r +1970-\S+ +1970-\S+:01\.000Z +connection$/,
  );
  assert.match(second!, /^east {2}\(lease\) +acme\/r +1970-\S+ +now +lease$/);
});
