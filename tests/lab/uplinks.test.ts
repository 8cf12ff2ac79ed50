import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually, pings } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { undropped } from './lossless.ts';
import { ask, serve } from './services.ts';
import {
  CLIENT,
  CROSSED,
  FLOATING,
  peerOf,
  SNAT,
  shop,
  startTwoGateways,
  type TwoGateways,
  UPLINKS,
  type Uplink,
  unhurried,
  WEBS,
  waysOf,
} from './two-gateways.ts';

/** Uplinks come, go and return; MidoNet's scenarios 49 to 57. */
describe('uplinks', { skip: needsRoot }, () => {
  const [first, second] = UPLINKS.map(unhurried) as [Uplink, Uplink];
  let site: TwoGateways;

  before(async () => {
    site = await startTwoGateways('upl', [first]);
    await site.established('up-1');
    await serve(site.lab, 'client', 'tcp', 80);
  });
  after(() => site?.down());

  const put = async (...objects: object[]): Promise<void> => {
    await site.weft.client.post('/v1/apply', { objects });
  };
  /** In by the floating address, and out behind the shared one. */
  async function reached(when: string): Promise<void> {
    const [into, out] = await Promise.all([pings(site.lab, 'client', FLOATING), pings(site.lab, 'web-2', CLIENT)]);
    assert.deepEqual({ into, out }, { into: true, out: true }, when);
  }
  const giveFloating = async (port: string): Promise<void> => {
    await put(shop('floatingAddress', 'web-1', { address: FLOATING, router: 'edge', port }));
    await site.weft.client.get('/v1/sync');
  };
  /** How an attempt of the client to connect ends. */
  async function knock(address: string, port: number): Promise<string> {
    const script = `const s = require('net').connect({ host: '${address}', port: ${port}, timeout: 5000 });
      s.on('connect', () => end('connected')).on('timeout', () => end('silence')).on('error', ({ code }) => end(code));
      const end = (how) => { console.log(how); process.exit(); };`;
    return (await site.lab.exec('client', [process.execPath, '-e', script], { timeoutMs: 20_000 })).stdout.trim();
  }
  const goesBy = (outside: string, via: string): Promise<unknown> =>
    eventually(`${outside} sends by ${via}`, 10_000, async () =>
      (await waysOf(site.lab, outside, FLOATING)).includes(via),
    );

  test('one more is used, in and out (49, 54)', async () => {
    await reached('by one');
    await put(peerOf(second));
    await site.established('up-1', 'up-2');
    for (const via of ['up-1', 'up-2']) {
      await site.lab.sendVia('client', [via]);
      await reached(`in by ${via}`);
    }
  });

  test('shared addresses serve TCP and many pings over all of them (52, 53)', async () => {
    for (const via of ['up-1', 'up-2']) {
      await site.lab.sendVia('client', [via]);
      assert.equal((await ask(site.lab, 'web-2', 'tcp', CLIENT, 80)).seen, SNAT);
    }
    await site.lab.sendVia('client', ['up-1', 'up-2']);
    // Both are behind the shared address: who has a floating one goes by that.
    await giveFloating('web-3');
    // One number on two hosts, others beside it. Two of one host with one number: LIMITS.md, which says too that each of these gets the answers to
    // both: by their sizes it is seen that its own are among them, but for the last, which may be under way when it ends.
    const sizes = { 'web-1': 100, 'web-2': 200 };
    const ping = (web: string, number: string, ...more: string[]): Promise<{ readonly stdout: string }> =>
      site.lab.exec(web, ['ping', '-e', number, '-i', '0.2', ...more, CLIENT]);
    const [same, others] = await undropped(site.lab, () =>
      Promise.all([
        Promise.all(
          Object.entries(sizes).map(async ([web, size]) => ({
            size,
            ...(await ping(web, '77', '-w', '2', '-s', `${size}`)),
          })),
        ),
        Promise.all(WEBS.flatMap((web, n) => [1, 2, 3].map((m) => ping(web, `${100 * n + m}`, '-c', '3', '-W', '2')))),
      ]),
    );
    for (const { stdout, size } of same) {
      const sent = Number(/(\d+) packets transmitted/.exec(stdout)?.[1]);
      const own = stdout.match(new RegExp(`^${size + 8} bytes from`, 'gm'))?.length ?? 0;
      assert.ok(sent > 3 && own >= sent - 1, stdout);
    }
    for (const { stdout } of others) assert.match(stdout, / 3 received, 0% packet loss/);
    for (const web of ['web-1', 'web-2'])
      assert.equal((await ask(site.lab, web, 'tcp', CLIENT, 80)).seen, SNAT, `${web} is behind the shared address`);
    await giveFloating('web-1');
    await reached('the floating address is where it was');
  });

  test('who is no peer finds the port of BGP as closed as any other', async () => {
    await site.lab.sendVia('client', ['up-1']);
    for (const port of [22, 179]) assert.equal(await knock(first.here, port), 'ECONNREFUSED', `port ${port}`);
    await site.established('up-1', 'up-2');
  });

  test('one is taken away: the rest carries all (50, 55)', async () => {
    await site.lab.sendVia('client', ['up-2']);
    await site.weft.client.request('DELETE', '/v1/bgp-peers/isp%2Fcore%2Fup-2');
    await goesBy('up-2', '198.51.100.1');
    await eventually('its routes are gone', 10_000, async () => (await site.router()).learned === 2);
    await reached('by the other');
    await put(peerOf(second));
    await site.established('up-1', 'up-2');
    await reached('by both again');
  });

  test('a routing daemon outside dies, and returns (51, 56)', async () => {
    const outside = site.lab.upstream('up-2');
    await outside.killDaemon('bgpd');
    await eventually('the session is down', 12_000, async () => (await site.peer('up-2')).state !== 'established');
    await site.lab.sendVia('client', ['up-1']);
    await reached('without it');
    await outside.startDaemon('bgpd');
    await site.established('up-1', 'up-2');
    await site.lab.sendVia('client', ['up-2']);
    await reached('with it');
  });

  test('of four sessions one after the other goes: the last carries all; they return (57)', async () => {
    await put(...CROSSED.map((uplink) => peerOf(unhurried(uplink))));
    await site.established('up-1', 'up-2', 'cross-1', 'cross-2');
    await site.lab.sendVia('client', ['up-1', 'up-2']);
    const going = [first, second, CROSSED[0]!];
    for (const { name, router, here } of going) {
      await site.lab.upstream(router).shutSession(here);
      await eventually(`${name} is down`, 10_000, async () => (await site.peer(name)).state !== 'established');
      await reached(`without ${name}`);
    }
    for (const { router, here } of going) await site.lab.upstream(router).openSession(here);
    await site.established('up-1', 'up-2', 'cross-1', 'cross-2');
    await reached('by all four');
  });
});
