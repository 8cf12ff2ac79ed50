// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { applyEverywhere, type Datacentre, eventually, pings, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { acme, fiveMembers, member } from './tenancy.ts';

/** Rate limits of ports and floating addresses; MidoNet's scenarios 78 to 81. */
describe('limits', { skip: needsRoot, concurrency: true }, () => {
  let dc: Datacentre;
  /** How long a rate is measured: one that is limited until its burst counts for little. */
  const [FREE_S, LIMITED_S] = [1, 3];

  before(async () => {
    dc = await startDatacentre(fiveMembers('li'));
    await eventually('a1 reaches a2', 20_000, () => pings(dc.lab, 'a1', '10.0.1.12'));
  });
  after(() => dc?.down());

  const apply = (...objects: object[]): Promise<void> => applyEverywhere(dc, objects);

  /** Megabits a second that a TCP client gets over in some seconds. */
  async function rate(from: string, to: string, at: string, seconds: number, ...more: string[]): Promise<number> {
    const server = dc.lab.spawn(at, ['iperf3', '-s', '-1', '--forceflush']);
    const ended = once(server, 'close');
    let said = '';
    server.stdout?.on('data', (text) => {
      said += String(text);
    });
    await eventually('iperf3 listens', 30_000, async () => said.includes('listening'));
    const words = ['iperf3', '-c', to, '-t', `${seconds}`, '-J', ...more];
    const { stdout } = await dc.lab.exec(from, words);
    server.kill('SIGKILL');
    await ended; // the next one there listens at the same port
    return JSON.parse(stdout).end.sum_received.bits_per_second / 1e6;
  }

  // Each of ports of its own.
  test('what a port sends and receives is limited each way, and a change takes effect while it runs', async () => {
    assert.ok((await rate('a1', '10.0.1.12', 'a2', FREE_S)) > 10);
    await apply(member('a1', { limits: { sendKbps: 2000 } }));
    const sent = await rate('a1', '10.0.1.12', 'a2', LIMITED_S);
    assert.ok(sent > 0.3 && sent < 2.6, `sends ${sent} Mbit/s`);
    assert.ok((await rate('a2', '10.0.1.11', 'a1', FREE_S)) > 10, 'the other way is free');
    await apply(member('a1', { limits: { receiveKbps: 4000, burstKb: 800 } }));
    const received = await rate('a2', '10.0.1.11', 'a1', LIMITED_S);
    assert.ok(received > 0.6 && received < 5.2, `receives ${received} Mbit/s`);
    assert.ok((await rate('a1', '10.0.1.12', 'a2', FREE_S)) > 10, 'it sends what it likes again');
    await apply(member('a1', { limits: { receiveKbps: 2000 } }));
    const less = await rate('a2', '10.0.1.11', 'a1', LIMITED_S);
    assert.ok(less < 2.6, `receives ${less} Mbit/s`);
    await apply(member('a1', {}));
  });

  test('packets a second are limited', async () => {
    await apply(member('b1', { limits: { sendPps: 5 } }));
    const capture = await startCapture(dc.lab, 'b3', 'eth0', { filter: 'icmp[icmptype]=8' });
    await dc.lab.exec('b1', ['ping', '-c', '60', '-i', '0.1', '-W', '2', '10.0.2.13']);
    await sleep(200);
    const sent = await capture.stop();
    // Twenty at once, and five in each of six seconds.
    assert.ok(sent.captured >= 20 && sent.captured <= 59, `${sent.captured} of 60`);
    await apply(member('b1', {}));
  });

  test('a limit of a floating address holds each way, and none without it', async () => {
    const floating = { address: '203.0.113.12', router: 'r', port: 'b2' };
    await apply(acme('floatingAddress', 'g', { ...floating, limit: { kbps: 2000 } }));
    for (const more of [[], ['-R']]) {
      const limited = await rate('o1', '203.0.113.12', 'b2', LIMITED_S, ...more);
      assert.ok(limited > 0.3 && limited < 2.6, `${limited} Mbit/s ${more}`);
    }
    assert.ok((await rate('b3', '10.0.2.12', 'b2', FREE_S)) > 10, 'inside it is free');
    await apply(acme('floatingAddress', 'g', floating));
    assert.ok((await rate('o1', '203.0.113.12', 'b2', FREE_S)) > 10);
  });
});
