import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ShownConnection } from '../../server/routes/flows.ts';
import { UsageError } from '../exit-codes.ts';
import { formatFlows, formatHolders, parseEnd } from './flows.ts';

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
  assert.equal(
    lines[0],
    'PORT      PROTOCOL  STATE     FROM           SEEN AS  TO           ASKED  PEER     HOST  SINCE',
  );
  assert.equal(
    lines[1],
    'acme/web  icmpv6              fd00::5                 fd00::6             acme/db  east  0 s',
  );
  assert.equal(
    lines[2],
    'acme/web  tcp       syn-sent  10.0.0.5:1000           10.0.0.6:80         acme/db  east  30 s',
  );
  assert.match(formatFlows([six], NOW), /BYTES\n.*\[2001:db8::1\]:7 .*9$/);
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
