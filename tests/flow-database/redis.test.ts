import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WeftError } from '../../src/base/errors.ts';
import { batch, CONTRACT_BOUNDS, flowStoreContract, outward } from '../../src/flow-database/contract.ts';
import { type FlowStore, SILENCE_MS, type Troubles } from '../../src/flow-database/flow-store.ts';
import { RedisConnections, type RedisOptions } from '../../src/flow-database/redis.ts';
import { parseRedisUrl } from '../../src/flow-database/redis-settings.ts';
import { SplitFlowStore } from '../../src/flow-database/split.ts';
import { SqliteFlowStore } from '../../src/flow-database/sqlite.ts';
import { openWorkerFlowStore } from '../../src/flow-database/worker-store.ts';
import { freePort, needsRedis, RedisServer } from './redis-server.ts';

const { mostConnections } = CONTRACT_BOUNDS;
const LONG_MS = 30_000;

const refusal = (code: string) => (error: unknown) => error instanceof WeftError && error.code === code;

async function until(what: string, isSo: () => unknown): Promise<void> {
  const end = performance.now() + LONG_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < end, `${what}: not within ${LONG_MS / 1000} s`);
    await sleep(20);
  }
}

const isWell = (store: Pick<FlowStore, 'list'>): Promise<void> =>
  until('the store is well', () =>
    store.list({}, 1).then(
      () => true,
      (error: unknown) => !(error instanceof WeftError),
    ),
  );

const openLog = (): FlowStore => new SqliteFlowStore({ path: ':memory:', ...CONTRACT_BOUNDS, isLogOnly: true });

describe('the flow database in Redis', { skip: needsRedis }, () => {
  let server: RedisServer;
  let lastPrefix = 0;
  before(async () => {
    server = await RedisServer.start();
  });
  after(() => server?.end());

  const options = (): RedisOptions => ({
    ...{ settings: parseRedisUrl(server.url), mostConnections, prefix: `weft-${++lastPrefix}:` },
  });

  flowStoreContract('redis', async () => {
    const connections = new RedisConnections(options());
    await isWell(connections);
    return new SplitFlowStore(connections, openLog());
  });

  test('in a thread of its own it is there before it has connected, and tells of its trouble', async () => {
    const told: Troubles[] = [];
    const store = await openWorkerFlowStore({ path: ':memory:', ...CONTRACT_BOUNDS, redis: options() }, (troubles) =>
      told.push(troubles),
    );
    await isWell(store);
    await store.write(batch([outward(1)], { isWhole: true }));
    assert.deepEqual(await store.list({}, 10), [outward(1)]);
    assert.deepEqual(told, [{ connections: undefined }]);
    await store.close();
    await assert.rejects(store.list({}, 1), refusal('closed'));
  });

  test('what many ports on many hosts have is walked in slices, each once', async () => {
    const connections = new RedisConnections({ ...options(), mostConnections: 10_000 });
    await isWell(connections);
    for (const host of ['h1', 'h2', 'h3'])
      for (let begin = 0; begin < 3000; begin += 1500) {
        const put = Array.from({ length: 1500 }, (_, n) =>
          outward(begin + n, { host, port: `p${n % 2}`, key: `p${n % 2} ${begin + n}` }),
        );
        await connections.write(batch(put, { host, ...(begin > 0 ? { isWhole: true } : {}) }));
      }
    const keysOf = async (filter: object, limit = 100_000): Promise<number> =>
      new Set((await connections.list(filter, limit)).map(({ host, key }) => `${host} ${key}`)).size;
    assert.equal(await keysOf({}), 9000);
    assert.equal(await keysOf({ port: 'p1' }), 4500);
    assert.equal(await keysOf({ port: 'p1', host: 'h2' }), 1500);
    assert.equal(await keysOf({}, 700), 700);
    assert.equal(await keysOf({ address: '10.0.0.51' }), 0);
    // The next epoch has a third of it: the rest is ended, in slices too.
    const put = Array.from({ length: 1000 }, (_, n) => outward(n, { port: `p${n % 2}`, key: `p${n % 2} ${n}` }));
    assert.deepEqual(await connections.write(batch(put, { epoch: 2, isWhole: true })), {});
    assert.equal(await keysOf({ host: 'h1' }), 1000);
    assert.equal(await keysOf({}), 7000);
    await connections.close();
  });

  test('where no server is left to say so connections expire by themselves', async () => {
    const { prefix = '', ...others } = options();
    const connections = new RedisConnections({ prefix, ...others });
    await isWell(connections);
    await connections.write(batch([outward(1)], { isWhole: true }));
    await connections.close();
    for (const key of [`c:h1:p1`, 'ports:h1', 'host:h1']) {
      const answer = Number((await server.command('PTTL', prefix + key)).slice(1));
      assert.ok(answer > SILENCE_MS && answer <= 2 * SILENCE_MS, `${key}: ${answer} ms`);
    }
  });

  test('what has expired by itself is not counted any more', async () => {
    const { prefix = '', ...others } = options();
    const store = new RedisConnections({ prefix, ...others });
    await isWell(store);
    await store.write(batch([outward(1), outward(2)], { isWhole: true }));
    for (const key of ['c:h1:p1', 'ports:h1', 'host:h1']) await server.command('DEL', prefix + key);
    await store.write(batch([outward(1)], { epoch: 2, isWhole: true }));
    assert.equal(await server.command('HLEN', `${prefix}c:h1:p1`), ':1');
    assert.equal(await server.command('HGET', `${prefix}counts`, 'h1'), '$1\r\n1');
    await store.close();
  });

  test('of a host that goes on in an epoch that is not here everything is wanted anew', async () => {
    const store = new RedisConnections(options());
    await isWell(store);
    assert.deepEqual(await store.write(batch([outward(1)], { isWhole: true })), {});
    assert.deepEqual(await store.write(batch([outward(2)])), {});
    await server.command('FLUSHALL');
    assert.deepEqual(await store.write(batch([outward(3)])), { isAgain: true });
    assert.deepEqual(await store.write(batch([outward(1)], { epoch: 2 })), { isAgain: true });
    assert.deepEqual(await store.write(batch([outward(3)], { epoch: 2, isWhole: true })), {});
    assert.equal((await store.list({}, 10)).length, 2);
    await store.close();
  });

  test('an epoch that begins before the former one is swept takes no harm from that', async () => {
    const store = new RedisConnections({ ...options(), mostConnections: 10_000 });
    await isWell(store);
    const some = (first: number) => Array.from({ length: 1500 }, (_, n) => outward(first + n));
    await store.write(batch(some(0), { isWhole: true }));
    await Promise.all([
      store.write(batch(some(2000), { epoch: 2, isWhole: true })),
      store.write(batch(some(4000), { epoch: 3 })),
    ]);
    const left = new Set((await store.list({}, 10_000)).map(({ key }) => Number(key.slice('out-'.length))));
    assert.ok(some(4000).every((_, n) => left.has(4000 + n)));
    assert.deepEqual(await store.write(batch(some(6000), { epoch: 3, isWhole: true })), {});
    assert.equal((await store.list({}, 10_000)).length, 3000);
    await store.close();
  });
});

/** A Redis of its own that is made unwell: what people are told, that nothing is held up, and that all is told again afterwards. */
describe('a Redis that is not well', { concurrency: 3, skip: needsRedis }, () => {
  const work = async (
    redis: RedisServer,
    settings: RedisOptions['settings'],
    check: (store: FlowStore, told: (string | undefined)[]) => Promise<void>,
  ): Promise<void> => {
    const told: (string | undefined)[] = [];
    const connections = new RedisConnections({ settings, onTrouble: (trouble) => void told.push(trouble) });
    const store = new SplitFlowStore(connections, openLog());
    try {
      await check(store, told);
    } finally {
      await store.close();
      await redis.end();
    }
  };
  const lastIs = (told: readonly (string | undefined)[], wanted: RegExp) =>
    until(`${wanted} is told, not ${told.at(-1)}`, () => wanted.test(told.at(-1) ?? ''));
  /** The log goes on; the rest is missed, and then wanted. */
  const missedOnce = async (store: FlowStore, n: number): Promise<void> => {
    const begun = performance.now();
    const { isAgain } = await store.write(batch([outward(n)], { epoch: n, isWhole: true }));
    assert.equal(isAgain, undefined, 'missed, not refused');
    assert.ok(performance.now() - begun < 5_000);
    const port = 40_000 + n;
    const { holders } = await store.whoHeld({ address: '203.0.113.2', port, atMs: CONTRACT_BOUNDS.nowMs + n });
    assert.equal(holders.length, 1);
  };
  const toldAgain = async (store: FlowStore, n: number): Promise<void> => {
    await isWell(store);
    assert.deepEqual(await store.write(batch([], { epoch: n, isWhole: true })), { isAgain: true });
    assert.deepEqual(await store.write(batch([outward(n)], { epoch: n + 1, isWhole: true })), {});
    assert.deepEqual(await store.list({}, 10), [outward(n)]);
  };

  test('gone and back, emptied', async () => {
    const redis = await RedisServer.start();
    await work(redis, parseRedisUrl(redis.url), async (store, told) => {
      await isWell(store);
      await store.write(batch([outward(1)], { isWhole: true }));
      await redis.kill();
      await lastIs(told, /^Redis at 127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/);
      await missedOnce(store, 2);
      await assert.rejects(store.list({}, 1), refusal('unreachable'));
      await store.expire(CONTRACT_BOUNDS.nowMs);
      await redis.start();
      await toldAgain(store, 2);
      assert.equal(told.at(-1), undefined);
    });
  });

  test('while an agent whose wall clock is set back is started anew: its epochs fall', async () => {
    const redis = await RedisServer.start();
    await work(redis, parseRedisUrl(redis.url), async (store) => {
      await isWell(store);
      await store.write(batch([outward(1), outward(2)], { epoch: 8, isWhole: true }));
      await redis.command('CONFIG', 'SET', 'maxmemory', '1');
      await missedOnce(store, 9);
      await redis.command('CONFIG', 'SET', 'maxmemory', '0');
      await isWell(store);
      assert.deepEqual(await store.write(batch([outward(2)], { epoch: 3, isWhole: true })), {});
      assert.deepEqual(await store.list({}, 10), [outward(2)]);
    });
  });

  test('not there from the beginning', async () => {
    const redis = await RedisServer.start();
    await redis.kill();
    await work(redis, parseRedisUrl(redis.url), async (store, told) => {
      await lastIs(told, /cannot be reached/);
      await missedOnce(store, 1);
      await redis.start();
      await toldAgain(store, 1);
    });
  });

  test('stopped, while it is asked and while it is not', async () => {
    const redis = await RedisServer.start();
    await work(redis, parseRedisUrl(redis.url), async (store, told) => {
      await isWell(store);
      redis.signal('SIGSTOP');
      await missedOnce(store, 1);
      assert.match(told.at(-1) ?? '', /does not answer within 3 s$/);
      const begun = performance.now();
      for (let n = 2; n < 50; n++) await missedOnce(store, n);
      assert.ok(performance.now() - begun < 1_000, 'nobody waits for it any more');
      redis.signal('SIGCONT');
      await toldAgain(store, 49);
      const count = told.length;
      redis.signal('SIGSTOP');
      await until('its silence is noticed', () => told.length > count);
      redis.signal('SIGCONT');
      await isWell(store);
    });
  });

  test('out of memory', async () => {
    const redis = await RedisServer.start();
    await work(redis, parseRedisUrl(redis.url), async (store, told) => {
      await isWell(store);
      await redis.command('CONFIG', 'SET', 'maxmemory', '1');
      await missedOnce(store, 1);
      await lastIs(told, /is out of memory \(its maxmemory\)/);
      await redis.command('CONFIG', 'SET', 'maxmemory', '0');
      await toldAgain(store, 1);
    });
  });

  test('with another password, which is read again from its file', async () => {
    const redis = await RedisServer.start('--requirepass', 'right: @/');
    const directory = mkdtempSync(join(tmpdir(), 'weft-redis-'));
    const passwordFile = join(directory, 'password');
    writeFileSync(passwordFile, 'wrong\n');
    await work(redis, parseRedisUrl(redis.url, { passwordFile }), async (store, told) => {
      await lastIs(told, /refuses user or password$/);
      await missedOnce(store, 1);
      writeFileSync(passwordFile, 'right: @/\n');
      await toldAgain(store, 1);
      assert.ok(!told.some((text) => /right|wrong/.test(text ?? '')));
    });
    rmSync(directory, { recursive: true });
  });

  test('that wants a password and gets none; and one by the URL', async () => {
    const redis = await RedisServer.start('--requirepass', 'right: @/');
    const url = redis.url.replace('//', '//:right%3A%20%40%2F@');
    const none = new SplitFlowStore(new RedisConnections({ settings: parseRedisUrl(redis.url) }), openLog());
    await until('a password is wanted', () =>
      none.list({}, 1).then(
        () => false,
        (error: Error) => /wants a password/.test(error.message),
      ),
    );
    await none.close();
    await work(redis, parseRedisUrl(url), isWell);
  });

  test('whose user may not write', async () => {
    const redis = await RedisServer.start();
    await redis.command('ACL', 'SETUSER', 'reader', 'on', '>secret', '~*', '+@read', '+@connection');
    const url = redis.url.replace('//', '//reader:secret@');
    await work(redis, parseRedisUrl(url), async (store, told) => {
      await lastIs(told, /does not allow its user/);
      await missedOnce(store, 1);
    });
  });

  test('a read-only replica, and then its primary', async () => {
    const redis = await RedisServer.start('--replicaof', '127.0.0.1', String(await freePort()));
    await work(redis, parseRedisUrl(redis.url), async (store, told) => {
      await lastIs(told, /is a read-only replica|is a replica without its primary/);
      await missedOnce(store, 1);
      await redis.command('REPLICAOF', 'NO', 'ONE');
      await toldAgain(store, 1);
    });
  });

  test('over TLS, and nothing else where TLS is meant', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'weft-redis-'));
    const [caFile, keyFile] = [join(directory, 'redis.crt'), join(directory, 'redis.key')];
    // Ours are for servers; this one is both the server's and the client's.
    const subject = ['-subj', '/CN=redis', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const make = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    execFileSync('openssl', [...make, ...subject, '-keyout', keyFile, '-out', caFile], { stdio: 'ignore' });
    const files = ['--tls-cert-file', caFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', caFile];
    const tlsPort = await freePort();
    const redis = await RedisServer.start('--tls-port', String(tlsPort), ...files);
    const url = `rediss://127.0.0.1:${tlsPort}`;
    const strange = new SplitFlowStore(new RedisConnections({ settings: parseRedisUrl(url) }), openLog());
    await until('a certificate of nobody we know is refused', () =>
      strange.list({}, 1).then(
        () => false,
        (error: Error) => /certificate/.test(error.message),
      ),
    );
    await strange.close();
    const nobody = new SplitFlowStore(new RedisConnections({ settings: parseRedisUrl(url, { caFile }) }), openLog());
    await until('who has no certificate is refused', () =>
      nobody.list({}, 1).then(
        () => false,
        (error: Error) => /certificate/.test(error.message),
      ),
    );
    await nobody.close();
    await work(redis, parseRedisUrl(url, { caFile, certFile: caFile, keyFile }), isWell);
    rmSync(directory, { recursive: true });
  });

  test('something else that listens there', async () => {
    const redis = await RedisServer.start();
    await redis.kill();
    const { createServer } = await import('node:net');
    const other = createServer((socket) => socket.on('error', () => {}).end('SSH-2.0-nothing\r\n')).listen(redis.port);
    await work(redis, parseRedisUrl(redis.url), async (store, told) => {
      await lastIs(told, /^Redis at/);
      await missedOnce(store, 1);
      other.close();
    });
  });
});
