// Measures: runs alone.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { SERVER_PROCESS } from '../../src/lab/weft.ts';
import type { ShownConnection } from '../../src/server/routes/flows.ts';
import { needsRedis, program } from '../flow-database/redis-server.ts';
import { followWeft, weft } from './command.ts';
import { type Datacentre, eventually, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { type HeldConnection, hold, serve } from './services.ts';
import { acme, member, networks, workload } from './tenancy.ts';

const ROUNDS = 15;

describe('a datacentre whose connections are in Redis', { skip: needsRoot || needsRedis }, () => {
  let dc: Datacentre;
  let redis: ChildProcess | undefined;
  let held: HeldConnection;

  const startRedis = (): void => {
    redis = dc.lab.spawn(SERVER_PROCESS.place, [program!, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']);
    redis.stdout?.resume();
  };
  const stopRedis = async (): Promise<void> => {
    const process = redis;
    redis = undefined;
    if (!process || process.exitCode !== null) return;
    const ended = once(process, 'exit');
    process.kill('SIGKILL');
    await ended;
  };

  before(async () => {
    process.env.WEFT_FLOW_DATABASE = 'redis://127.0.0.1/3';
    dc = await startDatacentre({
      ...{ prefix: 'redis', hosts: ['east', 'west'] },
      objects: [
        ...networks(),
        acme('securityGroup', 'web', { ingress: [{ name: 'http', protocol: 'tcp', ports: '80' }] }),
        ...[member('a1'), member('b1', { groups: ['web'] })],
      ],
      workloads: [workload('a1', 'east'), workload('b1', 'west')],
    });
    await serve(dc.lab, 'b1', 'tcp', 80);
  });
  after(async () => {
    delete process.env.WEFT_FLOW_DATABASE;
    held?.stop();
    await stopRedis();
    await dc?.down();
  });

  const toB1 = async (): Promise<ShownConnection | undefined> => {
    const query = { port: 'b1', tenant: 'acme', state: 'established' };
    const { items } = await dc.weft.client.get<{ items: readonly ShownConnection[] }>('/v1/flows', { query });
    return items[0];
  };

  test('the server starts without it and says so; once it is there connections are listed, after it was emptied too', async () => {
    const status = await weft(dc, 'status');
    assert.equal(status.code, 7);
    assert.match(status.out, /flow database: Redis at 127\.0\.0\.1:6379 cannot be reached: .*; traffic goes on/);
    startRedis();
    held = await hold(dc.lab, 'a1', '10.0.2.11', 80);
    await eventually('status is well', 30_000, async () => (await weft(dc, 'status')).code === 0);
    const shown = await eventually('the connection is listed', 60_000, toB1);
    assert.equal(shown.allowedBy, 'acme/web: http (tcp/80 from anywhere)');
    const { out } = await weft(dc, 'flows', '--port', 'acme/b1', '--network', '10.0.1.0/24');
    const [header = '', line = ''] = out.trim().split('\n');
    assert.match(header, /^PORT +PROTOCOL +STATE +FROM +TO +PEER +ALLOWED BY +HOST +SINCE$/);
    assert.match(
      line,
      /^acme\/b1 +tcp +established +10\.0\.1\.11:\d+ +10\.0\.2\.11:80 +acme\/a1 +acme\/web: http \(tcp\/80 from anywhere\) +west +\d+ s$/,
    );
    await stopRedis();
    startRedis();
    await eventually('it is listed again', 60_000, () => toB1().catch(() => undefined));
    assert.ok(held.isOpen());
  });

  test('who follows sees what begins', async () => {
    const follower = followWeft(dc, 'flows', '--follow', '--port', 'acme/b1');
    await sleep(3_000); // it is connected by then
    const second = await hold(dc.lab, 'a1', '10.0.2.11', 80);
    await eventually('a line', 30_000, async () =>
      follower.lines.some((line) => / \+ acme\/b1 tcp .* -> 10\.0\.2\.11:80 established$/.test(line)),
    );
    second.stop();
    assert.equal(await follower.stop(), 0);
  });

  /** Milliseconds from a change until every host has it in its switch. */
  const programming = async (name: string): Promise<number[]> => {
    const took: number[] = [];
    for (let n = 0; n < ROUNDS; n++) {
      const begun = performance.now();
      const ingress = [
        { name: 'http', protocol: 'tcp', ports: '80' },
        { protocol: 'udp', ports: `${2000 + n}` },
      ];
      await dc.weft.client.post('/v1/apply', { objects: [acme('securityGroup', 'web', { ingress })] });
      await dc.weft.client.get('/v1/sync');
      took.push(performance.now() - begun);
      await sleep(150);
    }
    assert.ok(took.length === ROUNDS, name);
    return took.sort((a, b) => a - b);
  };

  test('while it is stopped, hosts are programmed as fast as before', async (t) => {
    await programming('warm');
    const well = await programming('well');
    redis!.kill('SIGSTOP');
    const stopped = await programming('stopped');
    await eventually('status says it', 30_000, async () =>
      /Redis at .* does not answer within 3 s/.test((await weft(dc, 'status')).out),
    );
    redis!.kill('SIGCONT');
    await eventually('status is well again', 60_000, async () => (await weft(dc, 'status')).code === 0);
    const middle = Math.floor(ROUNDS / 2);
    const text = `from a rule to the switch of each host: Redis well: median ${well[middle]!.toFixed(0)} ms; stopped: ${stopped[middle]!.toFixed(0)} ms, slowest ${stopped.at(-1)!.toFixed(0)} ms`;
    t.diagnostic(text);
    assert.ok(stopped[middle]! < 2 * well[middle]! + 20 && stopped.at(-1)! < 2_000, text);
    assert.ok(held.isOpen());
  });
});
