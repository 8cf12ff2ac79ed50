import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterEach, test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import type { AgentEvent, CopyRole } from '../events.ts';
import { CopyLink, WAIT_MS } from './copy-link.ts';
import { decodeCopyMessage, encodeCopyMessage, NONCE_BYTES } from './message.ts';
import { keyOf, Opener, Sealer } from './sealed.ts';

/** Agents of two hosts at two addresses of this machine; each listens at its own. */
const PORT = 'port-1';
const SECRET = 'a secret of sixteen bytes or more';
let tcpPort = 30_000 + (process.pid % 20_000);
const ADDRESS = { a: '127.0.0.11', b: '127.0.0.12' } as const;
/** A stranger has so long to show who it is. */
const STRANGER_MS = 200;
type Host = keyof typeof ADDRESS;

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
  tcpPort++;
});

function agent(
  host: Host,
  isActive: boolean,
  secret = SECRET,
  address?: string,
  mostTold = 100_000,
  mostHeld = 100_000,
) {
  const events: AgentEvent[] = [];
  const link = new CopyLink({
    ...{ emit: (event) => events.push(event), clock: systemClock, log: silentLog, tcpPort, mostTold, mostHeld },
    ...{ againMs: 100, strangerMs: STRANGER_MS },
  });
  closing.push(() => link.close());
  const other: Host = host === 'a' ? 'b' : 'a';
  const become = (active: boolean): void => {
    const role: CopyRole = {
      ...{ port: PORT, secret, isActive: active },
      others: [{ host: other, address: address ?? ADDRESS[other] }],
    };
    link.perform({ own: ADDRESS[host], roles: [role] });
  };
  become(isActive);
  const up = (): Promise<void> =>
    until(() => {
      const last = events.findLast((event) => event.kind === 'copies');
      return last !== undefined && last.problem === undefined;
    });
  return { link, events, become, up };
}

async function until(holds: () => boolean, timeoutMs = 5_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!holds()) {
    assert.ok(performance.now() < endMs, 'not in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function connection(n: number): ConnectionEntry {
  const [from, to] = [
    { address: '10.0.2.100', port: 40_000 + n },
    { address: '198.51.100.200', port: 80 },
  ];
  return {
    ...{ owner: PORT, kind: 'own', protocol: 'tcp', state: 'established', mark: 12 },
    ...{ original: { from, to }, reply: { from: to, to: from } },
  };
}

const held = (link: CopyLink): readonly ConnectionEntry[] => link.takeOver(PORT).entries;

const copied = (link: CopyLink, entry: ConnectionEntry): Promise<number> => {
  const sinceMs = performance.now();
  return new Promise((resolve) => link.copy(PORT, entry, () => resolve(performance.now() - sinceMs)));
};

test('a connection is held by the other host before it is said to be', async () => {
  const b = agent('b', false);
  const a = agent('a', true);
  await a.up();
  for (let n = 0; n < 3; n++) {
    await copied(a.link, connection(n));
    assert.equal(b.link.counts().held, n + 1);
  }
  b.become(true);
  assert.deepEqual(held(b.link), [0, 1, 2].map(connection));
});

test('a host that comes back is told everything, and that what is over is over', async () => {
  const a = agent('a', true);
  await copied(a.link, connection(1));
  await copied(a.link, connection(2));
  const first = agent('b', false);
  await a.up();
  await until(() => first.link.counts().held === 2);
  first.link.close();
  await until(() => a.events.some((event) => event.kind === 'copies' && event.problem !== undefined));
  // As if read ten seconds later.
  a.link.reconcile(PORT, [connection(2), connection(3)], systemClock.monotonicMs() + 10_000);
  const second = agent('b', false);
  await until(() => second.link.counts().held === 2);
  assert.deepEqual(
    held(second.link).map(({ original }) => original.from.port),
    [40_002, 40_003],
  );
});

test('of more than can be held the newest are, at both ends; a reading finds room for what has not ended', async () => {
  const b = agent('b', false);
  const a = agent('a', true, SECRET, undefined, 3);
  await a.up();
  const areHeld = async (...numbers: number[]): Promise<void> => {
    await until(() => b.link.counts().held === numbers.length);
    assert.equal(a.link.counts().told, numbers.length);
  };
  for (let n = 0; n < 3; n++) await copied(a.link, connection(n));
  await copied(a.link, connection(0));
  assert.equal(a.link.isFull(PORT), false);
  await copied(a.link, connection(3));
  assert.equal(a.link.isFull(PORT), true);
  await areHeld(0, 2, 3);
  // As if read ten seconds later.
  const laterMs = systemClock.monotonicMs() + 10_000;
  a.link.reconcile(PORT, [0, 1, 3, 4].map(connection), laterMs);
  assert.equal(a.link.isFull(PORT), true, 'four live');
  await areHeld(0, 3, 1);
  a.link.reconcile(PORT, [3, 4].map(connection), laterMs);
  assert.equal(a.link.isFull(PORT), false);
  await areHeld(3, 4);
  b.become(true);
  assert.deepEqual(
    held(b.link).map(({ original }) => original.from.port),
    [40_003, 40_004],
  );
});

test('an agent that started again knows of none: when it has read all, what ended meanwhile is held no more', async () => {
  const b = agent('b', false);
  const before = agent('a', true);
  await before.up();
  for (const n of [1, 2]) await copied(before.link, connection(n));
  before.link.close();
  const a = agent('a', true);
  await a.up();
  await copied(a.link, connection(3));
  assert.equal(b.link.counts().held, 3);
  a.link.reconcile(PORT, [connection(2)], systemClock.monotonicMs());
  await until(() => b.link.counts().held === 2);
  a.link.reconcile(PORT, [], systemClock.monotonicMs() + 10_000);
  await until(() => b.link.counts().held === 0);
  const last = agent('a', true);
  await last.up();
  await copied(last.link, connection(4));
  last.link.close();
  const none = agent('a', true);
  await none.up();
  assert.equal(b.link.counts().held, 1);
  none.link.reconcile(PORT, [], systemClock.monotonicMs());
  await until(() => b.link.counts().held === 0);
});

test('who holds as many as it may drops the oldest for what is new', async () => {
  const b = agent('b', false, SECRET, undefined, 100_000, 3);
  const a = agent('a', true);
  await a.up();
  for (const n of [0, 1, 2, 0, 3]) await copied(a.link, connection(n));
  b.become(true);
  assert.deepEqual(held(b.link), [2, 0, 3].map(connection));
});

test('all that goes on was told when the one that forwards has read all, not before, and not for the next time', async () => {
  const b = agent('b', false);
  assert.deepEqual(b.link.takeOver(PORT), { entries: [], isWhole: false });
  const a = agent('a', true);
  await a.up();
  await copied(a.link, connection(1));
  a.link.close();
  assert.deepEqual(b.link.takeOver(PORT), { entries: [connection(1)], isWhole: false });
  const again = agent('a', true);
  await again.up();
  again.link.reconcile(PORT, [], systemClock.monotonicMs());
  await copied(again.link, connection(2));
  assert.deepEqual(b.link.takeOver(PORT), { entries: [connection(2)], isWhole: true });
  assert.deepEqual(b.link.takeOver(PORT), { entries: [], isWhole: false });
});

test('what is told by one who only takes itself for active is held no longer than it is so', async () => {
  const b = agent('b', false);
  const a = agent('a', true);
  await a.up();
  await copied(a.link, connection(1));
  b.become(true);
  assert.deepEqual(held(b.link), [connection(1)]);
  // It has not heard yet, and comes again.
  await until(() => a.events.some((event) => event.kind === 'copies' && event.problem !== undefined));
  await until(() => b.link.counts().held === 1);
  a.become(false);
  await until(() => b.link.counts().held === 0);
  b.become(false);
  assert.deepEqual(b.link.takeOver(PORT), { entries: [], isWhole: false });
});

test('a host that hears and does not answer holds up nothing for longer than it may, and then nothing at all', async () => {
  const b = agent('b', false);
  // Between both: what b says can be kept back.
  let isMute = false;
  const proxy = createServer((near) => {
    const far = connect({ host: ADDRESS.b, port: tcpPort });
    for (const socket of [near, far]) socket.on('error', () => {});
    near.pipe(far);
    far.on('data', (bytes: Uint8Array) => isMute || near.write(bytes));
    closing.push(() => [near, far].map((socket) => socket.destroy()));
  });
  await new Promise<void>((resolve) => proxy.listen({ host: '127.0.0.13', port: tcpPort }, resolve));
  closing.push(() => proxy.close());
  const a = agent('a', true, SECRET, '127.0.0.13');
  await a.up();
  // On a busy machine it may be late itself; then nobody waits for it until it has caught up.
  while ((await copied(a.link, connection(0))) >= WAIT_MS - 1) await systemClock.sleep(500);
  isMute = true;
  const first = await copied(a.link, connection(1));
  assert.ok(first >= WAIT_MS - 1 && first < 10 * WAIT_MS, `${first} ms`);
  const rest = performance.now();
  for (let n = 2; n < 102; n++) await copied(a.link, connection(n));
  assert.ok(performance.now() - rest < 50 * WAIT_MS, 'nobody waits for who is late');
  await until(() => b.link.counts().held === 102);
});

test('who has not the secret is refused, whatever it says, and what was recorded is worth nothing', async () => {
  const b = agent('b', false);
  const a = agent('a', true, 'another secret of sixteen bytes');
  await until(() => b.link.refused > 0);
  assert.ok(a.events.every((event) => event.kind === 'copies' && event.problem !== undefined));
  const hello = encodeCopyMessage({ kind: 'hello', port: PORT, nonce: new Uint8Array(NONCE_BYTES) });
  const genuine = new Sealer(keyOf(SECRET), true).seal(hello);
  const copies = encodeCopyMessage({
    ...{ kind: 'copies', sequence: 1, isWhole: true },
    changes: [{ op: 'put', entry: connection(9) }],
  });
  const stale = new Sealer(keyOf(SECRET, new Uint8Array(NONCE_BYTES), new Uint8Array(NONCE_BYTES)), true);
  stale.seal(hello);
  const before = b.link.refused;
  for (const bytes of [
    new Uint8Array(300).fill(0xff),
    Buffer.concat([genuine.subarray(0, 4), new Uint8Array(16), genuine.subarray(20)]),
    Buffer.concat([genuine, stale.seal(copies)]),
  ]) {
    const socket = connect({ host: ADDRESS.b, port: tcpPort });
    closing.push(() => socket.destroy());
    socket.on('error', () => {});
    socket.write(bytes);
    await new Promise((resolve) => socket.on('close', resolve).resume());
  }
  assert.equal(b.link.refused - before >= 3, true);
  assert.equal(b.link.counts().held, 0);
});

test('who repeats a genuine hello is a stranger still: it is ended, and holds no connection of others off', async () => {
  const b = agent('b', false);
  const hello = encodeCopyMessage({ kind: 'hello', port: PORT, nonce: new Uint8Array(NONCE_BYTES) });
  const genuine = new Sealer(keyOf(SECRET), true).seal(hello);
  const repeat = (): Promise<number> =>
    new Promise((resolve) => {
      const sinceMs = performance.now();
      const socket = connect({ host: ADDRESS.b, port: tcpPort });
      closing.push(() => socket.destroy());
      socket.on('error', () => {});
      socket.on('close', () => resolve(performance.now() - sinceMs)).resume();
      socket.write(genuine);
    });
  await until(() => b.link.counts().held === 0);
  const ends = Array.from({ length: 3 }, repeat);
  for (const ms of await Promise.all(ends)) assert.ok(ms >= STRANGER_MS - 1 && ms < 10 * STRANGER_MS, `${ms} ms`);
  const a = agent('a', true);
  await a.up();
  await copied(a.link, connection(1));
  assert.equal(b.link.counts().held, 1);
});

test('with a new secret who has only the former one tells nothing more, though his connection stood; what he told is held', async () => {
  const b = agent('b', false);
  const a = agent('a', true);
  await a.up();
  await copied(a.link, connection(1));
  const role = { port: PORT, isActive: false, others: [{ host: 'a', address: ADDRESS.a }] };
  b.link.perform({ own: ADDRESS.b, roles: [{ ...role, secret: 'another secret of sixteen bytes' }] });
  await until(() => a.events.findLast((event) => event.kind === 'copies')?.problem !== undefined);
  await until(() => b.link.refused > 0);
  await copied(a.link, connection(2));
  assert.equal(b.link.counts().held, 1);
  b.become(false);
  await a.up();
  await until(() => b.link.counts().held === 2);
});

test('who had greeted a gateway that is gone, or has another secret, before he told anything leaves nothing behind', async () => {
  const b = agent('b', false);
  const nonce = new Uint8Array(NONCE_BYTES);
  const sealer = new Sealer(keyOf(SECRET), true);
  const socket = connect({ host: ADDRESS.b, port: tcpPort });
  closing.push(() => socket.destroy());
  socket.on('error', () => {});
  socket.write(sealer.seal(encodeCopyMessage({ kind: 'hello', port: PORT, nonce })));
  const opener = new Opener(keyOf(SECRET, nonce), false);
  const [bytes] = (await once(socket, 'data')) as [Uint8Array];
  opener.take(bytes);
  const welcome = decodeCopyMessage(opener.next()!);
  assert.ok(welcome.kind === 'welcome');
  sealer.setKey(keyOf(SECRET, nonce, welcome.nonce));
  b.link.perform({ own: ADDRESS.b, roles: [{ port: 'other', secret: SECRET, isActive: false, others: [] }] });
  const changes = [{ op: 'put', entry: connection(9) }] as const;
  socket.write(sealer.seal(encodeCopyMessage({ kind: 'copies', sequence: 1, isWhole: true, changes })));
  await once(socket, 'close');
  b.become(false);
  assert.deepEqual([b.link.refused, b.link.counts().held], [1, 0]);
});
