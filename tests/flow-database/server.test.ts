// Measures: runs in pairs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { silentLog } from '../../src/base/log.ts';
import type { StatusAnswer } from '../../src/cli/nouns/status.ts';
import type { Connection } from '../../src/flow-database/flow-store.ts';
import { parseRedisUrl } from '../../src/flow-database/redis-settings.ts';
import { type Client, createClient } from '../../src/server/client.ts';
import type { WeftEvent } from '../../src/server/events.ts';
import type { ConnectionsAnswer, ConnectionsReport } from '../../src/server/protocol.ts';
import type { NatAnswer, ShownConnection } from '../../src/server/routes/flows.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import { needsRedis, RedisServer } from './redis-server.ts';

const NETWORK = [
  { kind: 'tenant', name: 'acme' },
  { kind: 'tunnelZone', name: 'dc' },
  { kind: 'host', name: 'h1', zone: 'dc', tunnelAddress: '10.9.0.1' },
  { kind: 'switch', tenant: 'acme', name: 'lan', subnets: [{ cidr: '10.0.0.0/16' }] },
  { kind: 'port', tenant: 'acme', name: 'web', switch: 'lan', addresses: ['10.0.0.5'] },
];
const ROUNDS = 40;

describe('a server whose flow database is a Redis', { skip: needsRedis }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-redis-server-'));
  let redis: RedisServer;
  let server: RunningServer;
  let client: Client;
  let port: string;

  before(async () => {
    redis = await RedisServer.start();
    await redis.kill(); // the server starts before it
    const socket = `unix:${join(directory, 'weft.sock')}`;
    const flowDatabase = parseRedisUrl(redis.url);
    server = await startServer({ stateDir: directory, listen: [socket], log: silentLog, flowDatabase });
    client = createClient({ url: socket });
    await client.post('/v1/apply', { objects: NETWORK });
    port = (await client.get<{ id: string }>('/v1/ports/web')).id;
    const claims = [{ port, interface: 'web' }];
    await client.post('/v1/hosts/h1/reports', { reports: [{ type: 'claims', claims }] });
  });
  after(async () => {
    client?.close();
    await server?.close();
    await redis?.end();
    rmSync(directory, { recursive: true });
  });

  const connection = (n: number): Connection => ({
    ...{ key: `${port} ${n}`, port, direction: 'out', protocol: 'tcp', state: 'established', sinceMs: 1 },
    ...{ from: { address: '10.0.0.5', port: 1000 + n }, to: { address: '198.51.100.9', port: 80 } },
    seenAs: { address: '203.0.113.2', port: 2000 + n },
  });
  const tell = (epoch: number, put: readonly Connection[], more: Partial<ConnectionsReport> = {}) =>
    client.post<ConnectionsAnswer>('/v1/hosts/h1/connections', { epoch, put, gone: [], ...more });
  const flows = () => client.get<{ items: readonly ShownConnection[] }>('/v1/flows', { query: { port } });
  const trouble = async (): Promise<string | undefined> =>
    (await client.get<StatusAnswer>('/v1/status')).problems.find(({ about }) => about.kind === 'server')?.text;
  const events = async (): Promise<readonly string[]> =>
    (await client.get<{ items: readonly WeftEvent[] }>('/v1/events')).items
      .filter(({ about }) => about.id === 'flows')
      .map(({ text }) => text);
  const until = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
    for (let n = 0; n < 600 && !(await isSo()); n++) await sleep(50);
    assert.ok(await isSo(), what);
  };

  test('starts without it, says so in status and once in an event, and logs who had which address all the same', async () => {
    await until('status says it', async () =>
      /Redis at 127\.0\.0\.1:\d+ cannot be reached/.test((await trouble()) ?? ''),
    );
    assert.deepEqual(await tell(1, [connection(1)], { isWhole: true }), { refused: [] });
    const { holders } = await client.get<NatAnswer>('/v1/flows/nat', { query: { address: '203.0.113.2', port: 2001 } });
    assert.deepEqual(holders[0]?.workload, { address: '10.0.0.5', port: 1001 });
    await assert.rejects(flows(), /Redis at .* cannot be reached/);
    await redis.start();
    await until('it is well', async () => (await trouble()) === undefined);
    assert.equal((await tell(1, [connection(2)])).isAgain, true, 'what was missed is wanted');
    assert.equal((await tell(2, [connection(1), connection(2)], { isWhole: true })).isAgain, undefined);
    assert.equal((await flows()).items.length, 2);
    const told = await events();
    assert.deepEqual([told.length, told.at(-1)], [2, 'the flow database is well again'], told.join('\n'));
  });

  test('a password in a command line is refused, and not repeated', async () => {
    const run = promisify(execFile)(resolve('bin/weft'), [
      ...[
        'server',
        'run',
        '--state-dir',
        join(directory, 'never'),
        '--listen',
        `unix:${join(directory, 'never.sock')}`,
      ],
      ...['--flow-database', 'redis://weft:geheim@127.0.0.1'],
    ]);
    await assert.rejects(run, (error: { code: number; stderr: string }) => {
      assert.equal(error.code, 2);
      assert.match(error.stderr, /--flow-database-password-file FILE.*WEFT_FLOW_DATABASE/);
      assert.doesNotMatch(error.stderr, /geheim/);
      return true;
    });
  });

  /** Milliseconds of each of some writes and reads of people, while a host tells of 500 connections ten times a second. */
  const latencies = async (epoch: number): Promise<number[]> => {
    const done = new AbortController();
    const telling = (async () => {
      const put = Array.from({ length: 500 }, (_, n) => connection(n));
      while (!done.signal.aborted) {
        await Promise.race([tell(epoch, put), sleep(5_000)]);
        await sleep(100);
      }
    })();
    const took: number[] = [];
    for (let n = 0; n < ROUNDS; n++) {
      const begun = performance.now();
      await client.post('/v1/apply', {
        objects: [{ kind: 'port', tenant: 'acme', name: `p-${epoch}-${n}`, switch: 'lan' }],
      });
      await client.get('/v1/ports/web');
      took.push(performance.now() - begun);
      await sleep(25);
    }
    done.abort();
    await telling;
    return took.sort((a, b) => a - b);
  };

  test('while Redis is stopped, writes and reads of people take as long as before', async (t) => {
    await latencies(3); // warm
    const before = await latencies(4);
    redis.signal('SIGSTOP');
    const during = await latencies(5);
    redis.signal('SIGCONT');
    const text = (took: readonly number[]): string =>
      `median ${took[ROUNDS / 2]!.toFixed(1)} ms, slowest ${took.at(-1)!.toFixed(1)} ms`;
    t.diagnostic(`a write and a read: Redis well: ${text(before)}; stopped: ${text(during)}`);
    assert.ok(during[ROUNDS / 2]! < 2 * before[ROUNDS / 2]! + 5, `${text(before)}; stopped: ${text(during)}`);
    assert.ok(during.at(-1)! < 1_000, 'nobody waits for Redis');
    await until('it is well again', async () => (await trouble()) === undefined);
  });
});
