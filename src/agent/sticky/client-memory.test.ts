import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClientConnection } from '../connections/clients-seen.ts';
import { ClientMemory } from './client-memory.ts';

/** `c1>a:1` is the first connection of client 10.0.0.1 with the member, `c1>a:1!` the same when both ends have closed it. */
function connection(text: string): ClientConnection {
  const [, client, member, key, over] = /^c(\d+)>(\w+):(\d+)(!?)$/.exec(text)!;
  return { client: `10.0.0.${client}`, member: member!, key: key!, isOver: over === '!' };
}

function setup(most = 100) {
  const memory = new ClientMemory(most);
  const elsewhere = new Map<string, string>();
  const may = new Set(['a', 'b', 'z']);
  const read = (nowMs: number, ...texts: string[]): string[] => {
    memory.read(texts.map(connection), nowMs, may, (client) => elsewhere.get(client.replace('10.0.0.', 'c')));
    return known();
  };
  const known = (): string[] =>
    [...memory.clients()]
      .map(({ address, member, seenMs }) => `${address.replace('10.0.0.', 'c')} ${member} ${seenMs}`)
      .sort();
  return { memory, elsewhere, may, read, known };
}

test('a client is remembered with its member, and until it is forgotten', () => {
  const { memory, read, known } = setup();
  assert.deepEqual(read(1, 'c1>a:1', 'c2>b:1'), ['c1 a 1', 'c2 b 1']);
  assert.deepEqual(read(5, 'c1>a:1'), ['c1 a 5', 'c2 b 1'], 'seen while it has a connection');
  memory.forgetBefore(1);
  assert.deepEqual(known(), ['c1 a 5']);
});

test('a connection that both ends have closed shows its client once', () => {
  const { read } = setup();
  assert.deepEqual(read(1, 'c1>a:1!'), ['c1 a 1']);
  assert.deepEqual(read(5, 'c1>a:1!'), ['c1 a 1']);
  assert.deepEqual(read(9, 'c1>a:1!', 'c1>a:2!'), ['c1 a 9']);
});

test('a client stays with its first member, whatever else it has connections with', () => {
  const { read } = setup();
  read(1, 'c1>a:1');
  assert.deepEqual(read(5, 'c1>a:1', 'c1>b:2'), ['c1 a 5']);
  assert.deepEqual(read(9, 'c1>b:2', 'c1>b:3'), ['c1 a 5'], 'those with others do not show it');
});

test('who was left is a client again by a new connection only', () => {
  const { memory, read, known } = setup();
  read(1, 'c1>a:1', 'c2>a:1');
  memory.leave(({ member }) => member === 'a');
  assert.deepEqual(known(), []);
  assert.deepEqual(read(5, 'c1>a:1', 'c2>a:1'), [], 'what they have still says nothing');
  assert.deepEqual(read(9, 'c1>a:1', 'c1>b:2', 'c2>a:1', 'c2>a:3'), ['c1 b 9', 'c2 a 9']);
});

test('connections with a member that keeps nobody show nothing, though they were not seen before', () => {
  const { memory, may, read } = setup();
  read(1, 'c1>a:1');
  may.delete('a');
  memory.leave(({ member }) => member === 'a');
  assert.deepEqual(read(5, 'c1>a:1', 'c1>a:2!', 'c1>b:3!'), ['c1 b 5']);
});

test('who is kept by another host is not remembered here, also when it is kept there no more', () => {
  const { elsewhere, read } = setup();
  elsewhere.set('c1', 'z');
  assert.deepEqual(read(1, 'c1>a:1'), []);
  elsewhere.clear();
  assert.deepEqual(read(5, 'c1>a:1'), []);
  assert.deepEqual(read(9, 'c1>a:1', 'c1>a:2'), ['c1 a 9']);
  elsewhere.set('c2', 'a');
  assert.deepEqual(read(13, 'c2>a:1'), ['c1 a 9', 'c2 a 13'], 'at the same member it is');
});

test('who was not seen for longest is forgotten first', () => {
  const { read } = setup(2);
  read(1, 'c1>a:1', 'c2>a:1');
  read(5, 'c1>a:1');
  assert.deepEqual(read(9, 'c3>a:1'), ['c1 a 5', 'c3 a 9']);
});
