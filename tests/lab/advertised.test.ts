// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually, pings } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import {
  CORE_ASN,
  FLOATING,
  isp,
  peerOf,
  ROUTED,
  SNAT,
  shop,
  startTwoGateways,
  type TwoGateways,
  UPLINKS,
  type Uplink,
  unhurried,
  VIP,
} from './two-gateways.ts';

/** What of the router's `bgp`, its static routes and its peers' timers upstream routers see, in sessions that do not end for it. */
const EACH = [SNAT, FLOATING, VIP].map((address) => `${address}/32`);
/** Those two of the addresses are in it, the VIP is not. */
const SOME = '203.0.113.8/29';
const ALL = '203.0.113.0/24';
/** Behind a workload that is a router itself. */
const BEHIND = { network: '10.77.0.0/24', address: '10.77.0.1' } as const;

describe('what is advertised', { skip: needsRoot, timeout: 300_000 }, () => {
  const uplinks = UPLINKS.map(unhurried);
  let site: TwoGateways;

  before(async () => {
    site = await startTwoGateways('adv', uplinks, [], true);
    await site.established('up-1', 'up-2');
    await put(core({}));
  });
  after(() => site?.down());

  const put = async (...objects: object[]): Promise<void> => {
    await site.weft.client.post('/v1/apply', { objects });
  };
  const core = (bgp: object, ...routes: readonly object[]): Record<string, unknown> =>
    isp('router', 'core', { bgp: { asn: CORE_ASN, ...bgp }, routes });

  /** What the upstream's bgpd has of the gateway, and what its zebra made of it. */
  async function tablesOf({ router, here }: Uplink): Promise<readonly string[][]> {
    const { daemons } = site.lab.upstream(router);
    const { routes } = await daemons.show<{ routes: Record<string, unknown> }>(
      `bgp ipv4 unicast neighbors ${here} routes`,
    );
    type Route = { readonly nexthops: readonly { readonly ip?: string; readonly active?: boolean }[] };
    const installed = Object.entries(await daemons.show<Record<string, readonly Route[]>>('ip route bgp')).filter(
      ([, [route]]) => route?.nexthops.some(({ ip, active }) => ip === here && active),
    );
    return [Object.keys(routes).sort(), installed.map(([to]) => to).sort()];
  }
  async function advertised(...wanted: readonly string[]): Promise<void> {
    const both = [wanted.toSorted(), wanted.toSorted()];
    for (const uplink of uplinks) {
      let tables: readonly string[][] = [];
      await eventually(`${wanted} at ${uplink.router}`, 20_000, async () => {
        tables = await tablesOf(uplink);
        return JSON.stringify(tables) === JSON.stringify(both);
      }).catch((error: unknown) => {
        throw new Error(`${error}; bgpd and zebra have ${JSON.stringify(tables)}`);
      });
    }
  }
  interface Session {
    readonly bgpState: string;
    readonly connectionsDropped: number;
    readonly bgpTimerHoldTimeMsecs: number;
    readonly bgpTimerKeepAliveIntervalMsecs: number;
    readonly messageStats: { readonly keepalivesRecv: number };
  }
  async function sessionOf({ router, here }: Uplink): Promise<Session> {
    const shown = await site.lab.upstream(router).daemons.show<Record<string, Session>>(`bgp neighbors ${here}`);
    return shown[here]!;
  }
  /** The sessions are those that they were before. */
  async function goingOn(does: () => Promise<void>): Promise<void> {
    const drops = (): Promise<(string | number)[][]> =>
      Promise.all(
        uplinks.map(async (uplink) => {
          const { bgpState, connectionsDropped } = await sessionOf(uplink);
          return [bgpState, connectionsDropped];
        }),
      );
    const before = await drops();
    await does();
    assert.deepEqual(await drops(), before);
    for (const [state] of before) assert.equal(state, 'Established');
  }
  const comesIn = async (address: string): Promise<void> => {
    for (const { router } of uplinks) {
      await site.lab.sendVia('client', [router]);
      assert.ok(await pings(site.lab, 'client', address), `${address} by ${router}`);
    }
  };

  test('a network in place of the addresses within it, as long as there are any', async () => {
    await advertised(...EACH);
    await goingOn(async () => {
      await put(core({ summarise: [ALL] }));
      await advertised(ALL);
      await comesIn(FLOATING);
      await put(core({ summarise: [SOME] }));
      await advertised(SOME, `${VIP}/32`);
      await site.weft.client.request('DELETE', '/v1/floating-addresses/web-1', { query: { tenant: 'shop' } });
      const edge = { routes: [{ to: '0.0.0.0/0', via: '203.0.113.1' }] };
      await put(shop('router', 'edge', { ...edge, snat: [{ from: '10.0.0.0/16', to: SNAT }] }));
      await advertised(SOME, `${VIP}/32`);
      await put(shop('router', 'edge', { ...edge, snat: [] }));
      await advertised(`${VIP}/32`);
      await put(
        shop('router', 'edge', { ...edge, snat: [{ from: '10.0.0.0/16', to: SNAT }] }),
        shop('floatingAddress', 'web-1', { address: FLOATING, router: 'edge', port: 'web-1' }),
      );
      await advertised(SOME, `${VIP}/32`);
      await comesIn(FLOATING);
      await put(core({}));
      await advertised(...EACH);
    });
  });

  test('static routes with a next hop, where they are to be, and by them what is behind comes in', async () => {
    const routes = [
      { to: BEHIND.network, via: ROUTED.address },
      { to: '0.0.0.0/0', via: UPLINKS[0]!.there, metric: 200 },
      { to: '10.9.0.0/16', action: 'blackhole' },
    ];
    const advertise = ['floating', 'vips', 'snat'];
    await site.lab.execOk(ROUTED.name, ['ip', 'addr', 'add', `${BEHIND.address}/32`, 'dev', 'lo']);
    await put(isp('port', ROUTED.name, { switch: 'routed', addresses: [ROUTED.address], portSecurity: false }));
    await goingOn(async () => {
      await put(core({ advertise: [...advertise, 'static'] }, ...routes));
      await advertised(BEHIND.network, ...EACH);
      await comesIn(BEHIND.address);
      await put(core({ advertise: [...advertise, 'static'], summarise: ['10.0.0.0/8'] }, ...routes));
      await advertised('10.0.0.0/8', ...EACH);
      await comesIn(BEHIND.address);
      await put(core({ advertise }, ...routes));
      await advertised(...EACH);
      await put(core({ advertise: ['static'] }, ...routes));
      await advertised(BEHIND.network);
      await put(core({}));
      await advertised(...EACH);
    });
  });

  test('timers that are changed end no session; the next one has them, and the other side keeps to the shorter', async () => {
    const [first] = uplinks as [Uplink];
    const timesOf = async (): Promise<readonly number[]> => {
      const { bgpTimerHoldTimeMsecs, bgpTimerKeepAliveIntervalMsecs } = await sessionOf(first);
      return [bgpTimerHoldTimeMsecs, bgpTimerKeepAliveIntervalMsecs];
    };
    assert.deepEqual(await timesOf(), [9000, 3000]);
    await goingOn(async () => {
      await put(peerOf(first, { keepaliveS: 1, holdS: 6 }));
      // As every change of a peer's policy, behind that of its timers, it goes on in the same session.
      await put(peerOf(first, { keepaliveS: 1, holdS: 6, advertise: [`${FLOATING}/32`] }));
      await eventually(
        'the change is there',
        20_000,
        async () => (await tablesOf(first))[0]!.join() === `${FLOATING}/32`,
      );
      assert.deepEqual(await timesOf(), [9000, 3000]);
    });
    await put(peerOf(first, { keepaliveS: 1, holdS: 6 }));
    await advertised(...EACH);
    await site.lab.upstream(first.router).shutSession(first.here);
    await site.lab.upstream(first.router).openSession(first.here);
    await site.established('up-1');
    assert.deepEqual(await timesOf(), [6000, 2000]);
    // The gateway's are heard each second.
    const heard = async (): Promise<number> => (await sessionOf(first)).messageStats.keepalivesRecv;
    const [before, sinceMs] = [await heard(), performance.now()];
    await eventually('ten keepalives', 40_000, async () => (await heard()) >= before + 10);
    const tookMs = performance.now() - sinceMs;
    assert.ok(tookMs > 5_000 && tookMs < 20_000, `ten keepalives took ${tookMs} ms`);
    await goingOn(async () => put(peerOf(first)));
  });
});
