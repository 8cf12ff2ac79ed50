import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import type { RelayedRequest } from './protocol.ts';
import { Relay } from './relay.ts';

const REQUEST = { method: 'GET', path: '/status', body: '' } as const;
const answerOf = (text: string) => ({ status: 200, type: 'text/plain', body: Readable.from([text]) });

test('a request reaches the newest stream of the host, and its answer the one who asked', async () => {
  const relay = new Relay();
  const seen: RelayedRequest[] = [];
  relay.attach('h1', () => assert.fail('the older stream'));
  relay.attach('h1', (request) => void seen.push(request));
  const asked = relay.ask('h1', REQUEST);
  assert.equal(seen[0]!.path, '/status');
  assert.equal(relay.answer('h1', seen[0]!.id, answerOf('fine')), true);
  assert.equal((await asked).status, 200);
});

test('an answer of another host, and a second answer, are not taken', async () => {
  const relay = new Relay();
  let id = '';
  relay.attach('h1', (request) => {
    id = request.id;
  });
  const asked = relay.ask('h1', REQUEST);
  assert.equal(relay.answer('h2', id, answerOf('forged')), false);
  assert.equal(relay.answer('h1', id, answerOf('mine')), true);
  assert.equal(relay.answer('h1', id, answerOf('again')), false);
  await asked;
});

test('a host without a stream is unreachable, and one that is silent times out', async () => {
  const relay = new Relay({ timeoutMs: 10 });
  const isCode = (code: string) => (error: unknown) => error instanceof WeftError && error.code === code;
  await assert.rejects(relay.ask('h1', REQUEST), isCode('unreachable'));
  const detach = relay.attach('h1', () => {});
  await assert.rejects(relay.ask('h1', REQUEST), isCode('timeout'));
  detach();
  await assert.rejects(relay.ask('h1', REQUEST), isCode('unreachable'));
});
