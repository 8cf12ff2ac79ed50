import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../base/addresses.ts';
import type { Connection } from '../simulate/connections.ts';
import { group, threeTier } from '../simulate/three-tier.fixture.ts';
import { parseTuple, type Tuple, writeTuple } from '../simulate/tuple.ts';
import { connectionSchema, type ShownConnection, showConnection } from './shown-connections.ts';
import { traceFrame } from './trace.ts';
import { type ConversationRequest, traceConversation } from './trace-conversation.ts';

/** By way of JSON and schema, as a person gives an answer back. */
const given = (shown: readonly ShownConnection[]): Connection[] =>
  (JSON.parse(JSON.stringify(shown)) as unknown[]).map((one) => connectionSchema.parse(one));

test('tuples are read as they are written', () => {
  for (const text of [
    'tcp 10.0.0.5:49152 → 10.0.1.5:80',
    'sctp [2001:db8::5]:1 → [2001:db8::6]:65535',
    'icmp 10.0.0.5 → 10.0.1.5 type 8 code 0 id 7',
    'icmpv6 2001:db8::5 → 2001:db8::6 type 128 code 0 id 65535',
    'protocol 47 10.0.0.5:0 → 10.0.1.5:0',
  ])
    assert.equal(writeTuple(parseTuple(text)!), text);
  const [src, dst] = ['10.0.0.5', '10.0.1.5'].map((text) => parseIp(text)!) as [Tuple['src'], Tuple['dst']];
  assert.deepEqual(parseTuple('udp 10.0.0.5:53 -> 10.0.1.5:54'), {
    ...{ version: 4, protocol: 17, src, dst, srcPort: 53, dstPort: 54, id: 0 },
  });
  for (const text of [
    '',
    'tcp 10.0.0.5 → 10.0.1.5',
    'tcp 10.0.0.5:1 → [2001:db8::6]:1',
    'tcp 10.0.0.5:65536 → 10.0.1.5:1',
    'icmp 10.0.0.5:1 → 10.0.1.5:1',
    'icmp 10.0.0.5 → 10.0.1.5',
    'tcp 10.0.0.5 → 10.0.1.5 type 8 code 0 id 7',
    'protocol 256 10.0.0.5:0 → 10.0.1.5:0',
    'esp 10.0.0.5:0 → 10.0.1.5:0',
  ])
    assert.equal(parseTuple(text), undefined, text);
});

const CALLS: readonly ConversationRequest[] = [
  { port: 'app-1', to: 'db-1', protocol: 'tcp/5432' },
  { port: 'web-1', to: '10.0.2.100', protocol: 'tcp/8000' },
  { port: 'client', to: '203.0.113.80', protocol: 'tcp/80' },
  { port: 'client', to: '203.0.113.20', protocol: 'icmp' },
  { port: 'web-2', to: '203.0.113.200', protocol: 'udp/53' },
];

for (const call of CALLS)
  test(`a running connection of ${call.port} to ${call.to} is told as what began it, and can be asked about`, () => {
    const model = threeTier();
    const before = traceConversation(model, call);
    assert.ok(before.connections.length > 0);
    const connections = given(before.connections);
    assert.deepEqual(connections.map(showConnection), before.connections);
    const after = traceConversation(model, { ...call, connections });
    assert.deepEqual([after.isGood, after.verdict.split(':')[0]], [before.isGood, before.verdict.split(':')[0]]);
    assert.deepEqual(
      after.connections.map(({ zone }) => zone).sort(),
      before.connections.map(({ zone }) => zone).sort(),
    );
  });

test('a running connection is cut by a rule that is gone, and not by another change', () => {
  const call: ConversationRequest = { port: 'app-1', to: 'db-1', protocol: 'tcp/5432' };
  const connections = given(traceConversation(threeTier(), call).connections);
  const isGood = (ingress: Parameters<typeof group>[1]): boolean =>
    traceConversation(threeTier(group('db', ingress)), { ...call, connections }).isGood;
  assert.equal(
    isGood([
      { protocol: 'tcp', ports: '22' },
      { protocol: 'tcp', ports: '5432', group: 'app' },
    ]),
    true,
  );
  assert.equal(isGood([{ protocol: 'tcp', ports: '22' }]), false);
});

test('an answer alone is let in by the connection that is given', () => {
  const model = threeTier();
  const call = traceConversation(model, { port: 'app-1', to: 'db-1', protocol: 'tcp/5432' });
  const back = { port: 'db-1', frame: call.back!.frame };
  assert.equal(traceFrame(model, back).isGood, false);
  const known = traceFrame(model, { ...back, connections: given(call.connections) });
  assert.equal(known.isGood, true, known.verdict);
});

test('what is no connection is refused with what is wanted', () => {
  const right = { zone: 'port:a@h1', original: 'tcp 10.0.0.5:1 → 10.0.1.5:2', reply: 'tcp 10.0.1.5:2 → 10.0.0.5:1' };
  assert.ok(connectionSchema.safeParse(right).success);
  for (const wrong of [{ zone: 'a' }, { original: 'tcp 1' }, { mark: 4 }, { helper: 'irc' }, { more: 1 }])
    assert.equal(connectionSchema.safeParse({ ...right, ...wrong }).success, false, JSON.stringify(wrong));
});
