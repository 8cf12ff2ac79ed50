import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { ModelIndex } from '../model/model-index.ts';
import type { BgpPeer, Host } from '../model/objects.ts';
import { createClient } from './client.ts';
import type { WeftEvent } from './events.ts';
import { startServer } from './server.ts';
import { SessionNews } from './session-news.ts';

function trial() {
  const index = new ModelIndex();
  const peer = { kind: 'bgpPeer', id: 'p', revision: 1, name: 'up', tenant: 't', router: 'r', routerPort: 'rp' };
  const put = (adminUp: boolean): void => void index.put({ ...peer, address: '192.0.2.1', asn: 1, adminUp } as BgpPeer);
  put(true);
  index.put({ kind: 'host', id: 'h', revision: 1, name: 'h', zone: 'z', tunnelAddress: '192.0.2.9' } as Host);
  const news = new SessionNews();
  const texts = (notices: readonly { text: string }[]): string[] =>
    notices.map(({ text }) => text.replace(/^the session with \S+ \(192\.0\.2\.1\) at h /, ''));
  return {
    put,
    says: (nowMs: number, state: string, problem?: string) => {
      const session = { peer: 'p', state, sinceMs: 0, received: 0, accepted: 0, sent: 0 };
      return texts(news.take(index, 'h', [{ ...session, ...(problem === undefined ? {} : { problem }) }], nowMs));
    },
    isGone: (nowMs: number) => texts(news.take(index, 'h', [], nowMs)),
    ticks: (nowMs: number) => texts(news.tick(index, nowMs)),
  };
}

test('a session that ends is told to, and to be up again', () => {
  const { says, ticks } = trial();
  assert.deepEqual(says(0, 'established'), []);
  assert.deepEqual(says(1_000, 'active', 'the peer closed it'), ['ended: the peer closed it']);
  assert.deepEqual(ticks(100_000), []);
  assert.deepEqual(says(100_000, 'established'), ['is up again']);
  assert.deepEqual(ticks(200_000), []);
});

test('one that ends for good within a minute of its last end is told to when the minute is over', () => {
  const { says, ticks } = trial();
  says(0, 'established');
  assert.deepEqual(says(1_000, 'idle'), ['ended']);
  assert.deepEqual(says(2_000, 'established'), ['is up again']);
  assert.deepEqual(says(3_000, 'idle', 'hold timer'), []);
  assert.deepEqual(ticks(60_999), []);
  assert.deepEqual(ticks(61_000), ['ended: hold timer']);
  assert.deepEqual(ticks(300_000), []);
});

test('one that flaps is told to have ended once a minute', () => {
  const { says, ticks } = trial();
  says(0, 'established');
  const told: string[] = [];
  for (let nowMs = 1_000; nowMs < 120_000; nowMs += 1_000)
    told.push(...says(nowMs, nowMs % 2_000 === 0 ? 'established' : 'idle'), ...ticks(nowMs));
  assert.deepEqual(told, ['ended', 'is up again', 'ended', 'is up again']);
});

test('one that never was up is told of after ten seconds, with why, and when it comes up', () => {
  const { says, ticks } = trial();
  assert.deepEqual(says(0, 'connect'), []);
  assert.deepEqual(ticks(9_000), []);
  assert.deepEqual(says(9_500, 'active', 'the AS number is 7'), []);
  assert.deepEqual(ticks(10_000), ['does not come up: the AS number is 7']);
  assert.deepEqual(says(20_000, 'active', 'the AS number is 7'), []);
  assert.deepEqual(says(30_000, 'established'), ['is up again']);
});

test('one that comes up at once, goes, or should not be up is no news', () => {
  const { says, ticks, isGone, put } = trial();
  says(0, 'connect');
  assert.deepEqual([says(5_000, 'established'), ticks(20_000)], [[], []]);
  assert.deepEqual([isGone(21_000), ticks(90_000)], [[], []]);
  put(false);
  says(100_000, 'idle');
  assert.deepEqual(ticks(200_000), []);
});

const GATEWAY = [
  { kind: 'tunnelZone', name: 'dc' },
  { kind: 'host', name: 'gw', zone: 'dc', tunnelAddress: '10.9.0.1' },
  { kind: 'tenant', name: 'acme' },
  { kind: 'switch', tenant: 'acme', name: 'up' },
  { kind: 'router', tenant: 'acme', name: 'edge', bgp: { asn: 64512 } },
  {
    ...{ kind: 'routerPort', tenant: 'acme', router: 'edge', name: 'up', switch: 'up' },
    addresses: ['192.0.2.2/29'],
  },
  {
    ...{ kind: 'bgpPeer', tenant: 'acme', router: 'edge', name: 'isp', routerPort: 'edge/up' },
    ...{ address: '192.0.2.1', asn: 64513 },
  },
];

test('a wall clock that is set back keeps no end of a session from people, nor one that is set forth tells it too often', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'weft-news-'));
  const [wall, steady] = [{ ms: 1_000_000_000 }, { ms: 5_000 }];
  const clock = { ...systemClock, now: () => wall.ms, monotonicMs: () => steady.ms };
  const url = `unix:${join(stateDir, 'weft.sock')}`;
  const server = await startServer({ stateDir, listen: [url], log: silentLog, clock });
  const client = createClient({ url });
  try {
    await client.post('/v1/apply', { objects: GATEWAY });
    const { id: peer } = await client.get<{ id: string }>('/v1/bgp-peers/isp');
    /** It comes up and ends. How often people were told that it ended. */
    const flap = async (): Promise<number> => {
      for (const state of ['established', 'idle']) {
        const session = { peer, state, sinceMs: 0, accepted: 0, sent: 0 };
        await client.post('/v1/hosts/gw/reports', { reports: [{ type: 'bgp', peers: [session] }] });
      }
      const { items } = await client.get<{ items: WeftEvent[] }>('/v1/events', { query: { id: peer } });
      return items.filter(({ text }) => text.endsWith('ended')).length;
    };
    assert.equal(await flap(), 1);
    wall.ms -= 3_600_000;
    steady.ms += 60_000;
    assert.equal(await flap(), 2);
    wall.ms += 7_200_000;
    assert.equal(await flap(), 2);
  } finally {
    client.close();
    await server.close();
    rmSync(stateDir, { recursive: true });
  }
});
