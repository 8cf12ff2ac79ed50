import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ModelIndex } from '../model/model-index.ts';
import type { BgpPeer, Host } from '../model/objects.ts';
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
