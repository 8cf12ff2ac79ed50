import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { ackedBy, CopySender } from './copy-sender.ts';
import { decodeCopyMessage, encodeCopyMessage, NONCE_BYTES } from './message.ts';
import { keyOf, Opener, Sealer } from './sealed.ts';

const SECRET = 'a secret of sixteen bytes or more';

/** The other end: hears sequences, and answers each. */
function hear(socket: Socket, heard: (sequence: number) => void): void {
  const opener = new Opener(keyOf(SECRET), true);
  let sealer: Sealer | undefined;
  socket.on('error', () => {});
  socket.on('data', (bytes: Uint8Array) => {
    opener.take(bytes);
    for (let body = opener.next(); body; body = opener.next()) {
      const message = decodeCopyMessage(body);
      if (message.kind === 'hello') {
        const nonce = new Uint8Array(NONCE_BYTES);
        sealer = new Sealer(keyOf(SECRET, message.nonce), false);
        socket.write(sealer.seal(encodeCopyMessage({ kind: 'welcome', nonce })));
        const key = keyOf(SECRET, message.nonce, nonce);
        sealer.setKey(key);
        opener.setKey(key);
        opener.trust();
      } else if (message.kind === 'copies') {
        socket.write(sealer!.seal(encodeCopyMessage({ kind: 'ack', sequence: message.sequence })));
        heard(message.sequence);
      }
    }
  });
}

test('each connection counts from its beginning', async () => {
  const heard: number[][] = [];
  const server = createServer((socket) => {
    const sequences: number[] = [];
    heard.push(sequences);
    hear(socket, (sequence) => {
      sequences.push(sequence);
      if (sequences.length === 2) socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: tcpPort } = server.address() as { port: number };
  const sender = new CopySender({
    ...{ port: 'p', secret: SECRET, own: '127.0.0.1', to: { address: '127.0.0.1', tcpPort }, againMs: 50 },
    ...{ all: () => ({ changes: [], isWhole: true }), changed: () => {} },
  });
  try {
    for (const endMs = performance.now() + 5_000; heard.length < 3 && performance.now() < endMs; )
      await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(heard.slice(0, 2), [
      [1, 2],
      [1, 2],
    ]);
    // The next one may just be in the middle of what it says.
    for (const endMs = performance.now() + 5_000; !sender.isIdle && performance.now() < endMs; )
      await new Promise((resolve) => setTimeout(resolve, 1));
    assert.equal(sender.isIdle, true);
  } finally {
    sender.close();
    server.close();
  }
});

test('what is held is known also where 32 bits of its number are not enough', () => {
  const wrapped = 0x1_0000_0000;
  assert.equal(ackedBy(5, 3, 7), 5);
  assert.equal(ackedBy(2, wrapped - 3, wrapped + 4), wrapped + 2);
  assert.equal(ackedBy(2, 3, 7), 3, 'an older word');
  assert.equal(ackedBy(8, 3, 7), 3, 'never said');
});
