import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatCidr, parseCidr } from '../../base/addresses.ts';
import * as example from '../../compile/testing/example.ts';
import * as ups from '../../compile/testing/uplinks.fixture.ts';
import type { LearnedHop, ScopeRecord } from '../../model/objects.ts';
import { blockOf, livingHops, routesIn } from '../../model/packed-routes.ts';
import { MOST_BLOCKS_IN_REPORT, type Report, type ReportedBlock } from '../../server/protocol.ts';
import type { Effect, ScopeChange } from '../events.ts';
import { type TestGround, testGround } from '../testing/test-ground.ts';
import { plansOf } from './plan.ts';
import { Sessions, type ToldRoute } from './sessions.ts';

const host = example.host(1);
const RECORDS: readonly ScopeRecord[] = [
  ...[example.zone(), host, ups.core, ...ups.world],
  ...[ups.wire, ups.a].map((port) => example.binding(port, host)),
];
const via = (address: string) => [{ address, routerPort: ups.uplink.id, weight: 1 }];
const [ONE, TWO] = [via('192.0.2.1'), via('192.0.2.3')];

interface Started {
  readonly ground: TestGround;
  readonly sessions: Sessions;
  readonly effects: readonly Effect[];
}

/** Wakes it, and plans as `main.ts` does where it asks for that. */
function settle(ground: TestGround, sessions: Sessions, nowMs: number, lost: string[] = []): readonly Effect[] {
  const asked = sessions.wake(nowMs);
  return asked.length === 0 ? [] : sessions.planned(plansOf(ground.scope.everything(), host.id, lost, false));
}

/** A gateway whose scope has arrived. */
function start(records: readonly ScopeRecord[] = RECORDS): Started {
  const ground = { ...testGround(records), host: host.id };
  const sessions = new Sessions(ground);
  const changes = records.map((record) => ({ op: 'put', record }) as const);
  assert.deepEqual(sessions.scopeChanged(changes, 1000), [{ kind: 'wake', inMs: 100 }]);
  return { ground, sessions, effects: settle(ground, sessions, 1100) };
}

/** A change of the scope, as the core takes it in, and what it comes to. */
function change({ ground, sessions }: Started, changed: ScopeChange, nowMs: number): readonly Effect[] {
  ground.scope.apply([changed]);
  sessions.scopeChanged([changed], nowMs);
  return settle(ground, sessions, nowMs + 100);
}

const told = (routes: Readonly<Record<string, readonly LearnedHop[] | undefined>>): ToldRoute[] =>
  Object.entries(routes).map(([to, hops]) => ({ to: parseCidr(to)!, via: hops }));
const networksOf = (blocks: readonly Pick<ReportedBlock, 'routes'>[]): string[] =>
  blocks.flatMap(({ routes }) => [...routesIn(routes)].map(({ to }) => formatCidr(to)));

/** What reports say: `all` and `put` name the networks of blocks, `gone` the blocks. */
const saidIn = (reports: readonly Report[]): string[] =>
  reports
    .flatMap((report) => {
      if (report.type === 'learnedRoutesAll') return networksOf(report.blocks).map((to) => `all ${to}`);
      if (report.type !== 'learnedRoutes') return [];
      return [
        ...networksOf(report.blocks).map((to) => `put ${to}`),
        ...report.goneBlocks.map(({ block }) => `gone ${block}`),
      ];
    })
    .sort();
const goneIs = (to: string): string => `gone ${blockOf(parseCidr(to)!)}`;
/** As `network next hop`. */
const inScope = (ground: TestGround): string[] =>
  [...ground.scope.all('learnedRoutes')]
    .flatMap(({ router, host: of, routes }) =>
      [...routesIn(routes)].map(({ to, set }) => {
        const hops = livingHops(ground.scope.get('learnedSet', `${router}/${of}/${set}`)!);
        return `${formatCidr(to)} ${hops.map(({ address }) => address)}`;
      }),
    )
    .sort();

describe('sessions of a gateway', () => {
  test('are planned once the scope is quiet for a moment, and again only where something else comes of it', () => {
    const started = start();
    const { effects } = started;
    const [speak] = effects as readonly Extract<Effect, { kind: 'speak' }>[];
    assert.equal(speak?.kind, 'speak');
    assert.deepEqual(
      speak.plans.map(({ router, peers }) => [router, peers.map(({ address }) => address)]),
      [[ups.core.id, ['192.0.2.1']]],
    );
    const same = { ...ups.core, revision: 7 };
    assert.deepEqual(change(started, { op: 'put', record: same }, 2000), []);
    const gone = { kind: 'bgpPeer', id: ups.peer(1, ups.uplink, '192.0.2.1').id } as const;
    assert.deepEqual(change(started, { op: 'delete', record: gone }, 3000), [{ kind: 'speak', plans: [] }]);
  });

  test('hosts without peers in their scope plan nothing and are not woken', () => {
    const ground = { ...testGround([host]), host: host.id };
    const sessions = new Sessions(ground);
    assert.deepEqual(sessions.scopeChanged([{ op: 'put', record: host }], 0), []);
    assert.deepEqual(sessions.hostsTold(0), []);
    assert.deepEqual(sessions.wake(1000), []);
  });

  test('a virtual address whose members are on a lost host is advertised no more, until that answers again', () => {
    const there = example.host(2);
    const out = { ...ups.uplink, outside: true };
    const vip = example.loadBalancer(1, '192.0.2.5', [ups.a], { router: ups.core.id });
    const { ground, sessions } = start([...RECORDS, out, vip, there, example.binding(ups.a, there)]);
    const networks = (lost: string[], nowMs: number): readonly string[] => {
      assert.deepEqual(sessions.hostsTold(nowMs), [{ kind: 'wake', inMs: 100 }]);
      const [speak] = settle(ground, sessions, nowMs + 100, lost) as readonly Extract<Effect, { kind: 'speak' }>[];
      return speak!.plans[0]!.networks;
    };
    assert.deepEqual(networks([there.id], 2000), []);
    assert.deepEqual(networks([], 3000), ['192.0.2.5/32']);
  });

  test('where an earlier agent left speakers, also that there shall be none is planned', () => {
    const ground = { ...testGround([host]), host: host.id };
    const sessions = new Sessions(ground, true);
    assert.equal(sessions.scopeChanged([{ op: 'put', record: host }], 0).length, 1);
    assert.deepEqual(settle(ground, sessions, 100), [{ kind: 'speak', plans: [] }]);
  });

  test('routes that a speaker tells take effect here and are reported, each change once', () => {
    const { ground, sessions } = start();
    const both = told({ '0.0.0.0/0': ONE, '198.51.100.0/24': ONE });
    sessions.routesTold(ups.core.id, both, false);
    assert.deepEqual(saidIn(ground.reports), ['put 0.0.0.0/0', 'put 198.51.100.0/24']);
    assert.deepEqual(inScope(ground), ['0.0.0.0/0 192.0.2.1', '198.51.100.0/24 192.0.2.1']);
    assert.equal([...ground.scope.all('learnedSet')].length, 1);
    ground.reports.length = 0;
    sessions.routesTold(ups.core.id, both, false);
    assert.deepEqual(ground.reports, [], 'nothing new');
    sessions.routesTold(
      ups.core.id,
      told({ '0.0.0.0/0': TWO, '198.51.100.0/24': undefined, '10.0.0.0/8': undefined }),
      false,
    );
    assert.deepEqual(saidIn(ground.reports), [goneIs('198.51.100.0/24'), 'put 0.0.0.0/0']);
    assert.deepEqual(inScope(ground), ['0.0.0.0/0 192.0.2.3']);
    assert.equal([...ground.scope.all('learnedSet')].length, 1, 'the set that none has is gone');
  });

  test('what the server gives back late, and was told anew since, is none of its news', () => {
    const { ground, sessions } = start();
    const tell = (routes: Parameters<typeof told>[0]): readonly ScopeChange[] => {
      sessions.routesTold(ups.core.id, told(routes), false);
      return [...ground.scope.all('learnedSet'), ...ground.scope.all('learnedRoutes')].map((record) => ({
        ...{ op: 'put', record },
      }));
    };
    const [first, second] = [tell({ '198.51.100.0/24': ONE }), tell({ '198.51.100.0/24': TWO })];
    assert.deepEqual(sessions.withoutOutdated([...first, { op: 'put', record: host }]), [{ op: 'put', record: host }]);
    assert.deepEqual(sessions.withoutOutdated(second), second, 'what holds still');
    const gone = second.map(({ record }): ScopeChange => ({ op: 'delete', record }));
    assert.deepEqual(sessions.withoutOutdated(gone), [], 'told gone once, and again since');
    tell({ '198.51.100.0/24': undefined });
    assert.deepEqual(sessions.withoutOutdated(second), []);
    assert.deepEqual(sessions.withoutOutdated(gone), gone);
    // A server that remembers more than the agent before: its word counts until it hears ours.
    const older = second.map(({ op, record }): ScopeChange => ({ op, record: { ...record, told: 99 } as never }));
    assert.deepEqual(sessions.withoutOutdated(older), older);
  });

  test('of a session that ended the next hops go by their sets, whatever the number of routes, and come back so', () => {
    const { ground, sessions } = start();
    const both = [...ONE, ...TWO];
    const many = Array.from({ length: 1000 }, (_, n) => [`20.${n >> 8}.${n & 255}.0/24`, both] as const);
    sessions.routesTold(ups.core.id, told(Object.fromEntries(many)), false);
    ground.reports.length = 0;
    sessions.endedTold(ups.core.id, ['192.0.2.1']);
    const [report, ...others] = ground.reports;
    assert.ok(report?.type === 'learnedRoutes' && others.length === 0);
    assert.deepEqual([report.sets.map(({ ended }) => ended), report.blocks], [[['192.0.2.1']], []]);
    assert.deepEqual(new Set(inScope(ground).map((text) => text.split(' ')[1])), new Set(['192.0.2.3']));
    sessions.endedTold(ups.core.id, ['192.0.2.1']);
    assert.equal(ground.reports.length, 1, 'nothing new');
    sessions.endedTold(ups.core.id, []);
    assert.equal(ground.reports.length, 2);
    assert.deepEqual(new Set(inScope(ground).map((text) => text.split(' ')[1])), new Set(['192.0.2.1,192.0.2.3']));
  });

  test('what the disk or the server remembers holds until the speaker has told all that it knows', () => {
    const before = ups.records([
      ups.learned(ups.core, '0.0.0.0/0', host, '192.0.2.1'),
      ups.learned(ups.core, '10.0.0.0/8', host, '192.0.2.1'),
    ]);
    const { ground, sessions } = start([...RECORDS, ...before]);
    assert.deepEqual(saidIn(sessions.all()), [], 'the server knows better for now');
    sessions.routesTold(ups.core.id, told({ '0.0.0.0/0': ONE }), true);
    assert.deepEqual(saidIn(ground.reports), ['all 0.0.0.0/0', goneIs('10.0.0.0/8')]);
    assert.deepEqual(saidIn(sessions.all()), ['all 0.0.0.0/0']);
    assert.deepEqual(inScope(ground), ['0.0.0.0/0 192.0.2.1']);
  });

  test('all that a speaker knows is told the server also where the scope is not quiet just when it is known', () => {
    const started = start();
    const { ground, sessions } = started;
    assert.deepEqual(saidIn(sessions.all()), [], 'not known yet');
    const busy = { op: 'put', record: { ...ups.core, revision: 8 } } as const;
    sessions.scopeChanged([busy], 2000);
    ground.reports.length = 0;
    sessions.routesTold(ups.core.id, told({ '10.9.0.0/16': ONE }), true);
    assert.deepEqual(saidIn(ground.reports), ['put 10.9.0.0/16']);
    assert.deepEqual(saidIn(sessions.all()), [], 'a server that comes back now has to wait as well');
    ground.reports.length = 0;
    settle(ground, sessions, 2100);
    assert.deepEqual(saidIn(ground.reports), ['all 10.9.0.0/16']);
    change(started, { op: 'put', record: { ...ups.core, revision: 9 } }, 3000);
    assert.deepEqual(saidIn(ground.reports), ['all 10.9.0.0/16'], 'once');
  });

  test('a router whose sessions end takes its routes along', () => {
    const started = start();
    const { ground, sessions } = started;
    sessions.routesTold(ups.core.id, told({ '0.0.0.0/0': ONE }), true);
    ground.reports.length = 0;
    const down = { ...ups.core, adminUp: false };
    assert.equal(change(started, { op: 'put', record: down }, 2000)[0]?.kind, 'speak');
    assert.deepEqual(saidIn(ground.reports), [goneIs('0.0.0.0/0')]);
    assert.deepEqual([inScope(ground), [...ground.scope.all('learnedSet')]], [[], []]);
  });

  test('what the speaker of a router still says that has ended, routes and sessions, is not taken; when it is back all begins anew', () => {
    const started = start();
    const { ground, sessions } = started;
    sessions.routesTold(ups.core.id, told({ '0.0.0.0/0': ONE }), true);
    change(started, { op: 'put', record: { ...ups.core, adminUp: false } }, 2000);
    ground.reports.length = 0;
    const late = told({ '0.0.0.0/0': ONE, '10.9.0.0/16': TWO });
    for (const isAll of [false, true]) assert.deepEqual(sessions.routesTold(ups.core.id, late, isAll), []);
    assert.deepEqual(sessions.endedTold(ups.core.id, ['192.0.2.1']), []);
    assert.deepEqual([ground.reports, inScope(ground), saidIn(sessions.all())], [[], [], []]);
    change(started, { op: 'put', record: ups.core }, 3000);
    assert.deepEqual([ground.reports, inScope(ground)], [[], []]);
    sessions.routesTold(ups.core.id, told({ '10.9.0.0/16': ONE }), true);
    assert.deepEqual(inScope(ground), ['10.9.0.0/16 192.0.2.1'], 'the end of a session before is not held against it');
    assert.deepEqual(saidIn(ground.reports), ['all 10.9.0.0/16', 'put 10.9.0.0/16']);
  });

  test('routes of a router that has ended, which wait for their turn, do not come behind its end', () => {
    const started = start();
    const { ground, sessions } = started;
    const table = Array.from({ length: 1000 }, (_, n) => [`20.${n >> 8}.${n & 255}.0/24`, ONE] as const);
    sessions.routesTold(ups.core.id, told(Object.fromEntries(table)), false);
    const down = { ...ups.core, adminUp: false };
    ground.scope.apply([{ op: 'put', record: down }]);
    sessions.scopeChanged([{ op: 'put', record: down }], 2000);
    sessions.planned([]);
    sessions.wake(2001);
    assert.deepEqual([inScope(ground), [...ground.scope.all('learnedSet')]], [[], []]);
  });

  test('a full table is reported in parts, of which only the last ends it', () => {
    const { sessions } = start();
    const many = Array.from({ length: 10_000 }, (_, n) => [`10.${n >> 8}.${n & 255}.0/24`, ONE] as const);
    sessions.routesTold(ups.core.id, told(Object.fromEntries(many)), true);
    const parts = sessions.all().filter((report) => report.type === 'learnedRoutesAll');
    assert.equal(networksOf(parts.flatMap(({ blocks }) => blocks)).length, 10_000);
    assert.ok(parts.every(({ blocks }) => blocks.length <= MOST_BLOCKS_IN_REPORT));
    assert.deepEqual(parts[0]!.sets.length, 1, 'sets come first');
    assert.deepEqual(
      parts.map(({ isMore }) => isMore),
      [...parts.slice(1).map(() => true), false],
    );
  });

  test('a full table is reported a turn before it takes effect here, and nothing overtakes it', () => {
    const { ground, sessions } = start();
    const table = Array.from({ length: 1000 }, (_, n) => [`20.${n >> 8}.${n & 255}.0/24`, ONE] as const);
    const tell = (): readonly Effect[] => sessions.routesTold(ups.core.id, told(Object.fromEntries(table)), false);
    assert.deepEqual(tell().at(-1), { kind: 'wake', inMs: 0 });
    assert.deepEqual([saidIn(ground.reports).length, inScope(ground).length], [1000, 0]);
    sessions.wake(2000);
    assert.equal(inScope(ground).length, 1000);
    assert.deepEqual(sessions.wake(2001), [], 'once');
    for (const [n, [to]] of table.entries()) table[n] = [to, TWO];
    tell();
    sessions.routesTold(ups.core.id, told({ '20.0.0.0/24': ONE }), false);
    const hops = inScope(ground).map((text) => text.split(' ')[1]);
    assert.deepEqual([hops[0], ...new Set(hops.slice(1))], ['192.0.2.1', '192.0.2.3']);
  });
});

test('a host that is drained tells its peers for thirty seconds that others go before it, then nothing', () => {
  const { ground, sessions } = start();
  const drain = (isDrained: boolean, nowMs: number): void => {
    const record = { ...host, drain: isDrained };
    ground.put(record);
    sessions.scopeChanged([{ op: 'put', record }], nowMs);
  };
  drain(true, 5_000);
  assert.deepEqual(sessions.wake(5_100), [{ kind: 'planSpeakers', isLeaving: true }]);
  assert.deepEqual(sessions.wake(34_900), []);
  assert.deepEqual(sessions.wake(35_001), [{ kind: 'planSpeakers', isLeaving: false }]);
  assert.deepEqual(sessions.wake(38_000), []);
  drain(false, 40_000);
  assert.deepEqual(sessions.wake(40_100), [{ kind: 'planSpeakers', isLeaving: false }]);
  // Taken back before it is over.
  drain(true, 50_000);
  drain(false, 51_000);
  assert.deepEqual(sessions.wake(51_200), [{ kind: 'planSpeakers', isLeaving: false }]);
  assert.deepEqual(sessions.wake(90_000), []);
});

test('a drain lasts as long as the host says, and ends when nothing has come in for ten seconds but a few strays', () => {
  const { ground, sessions } = start();
  const put = (more: object, nowMs: number): void => {
    const record = { ...host, ...more };
    ground.put(record);
    sessions.scopeChanged([{ op: 'put', record }], nowMs);
    sessions.wake(nowMs + 100);
  };
  /** When it is over, where so many packets come in each second. */
  const lasts = (perSecond: (second: number) => number, drainWaitS: number, fromMs: number): number => {
    put({ drain: true, drainWaitS }, fromMs);
    let packets = 1000;
    for (let second = 1; ; second++) {
      const nowMs = fromMs + second * 1000;
      packets += perSecond(second);
      const effects = [...sessions.tick(nowMs), ...sessions.passingTold(packets, nowMs)];
      if (!effects.some((effect) => effect.kind === 'planSpeakers')) continue;
      put({ drain: false }, nowMs + 500);
      return second;
    }
  };
  assert.equal(
    lasts(() => 100, 120, 100_000),
    120,
  );
  assert.equal(
    lasts((second) => (second <= 20 ? 100 : second % 5 === 0 ? 1 : 0), 120, 300_000),
    30,
  );
  assert.equal(
    lasts(() => 1, 45, 500_000),
    45,
  );
});

test('a host that was drained before its agent started tells nothing from the start', () => {
  const { effects } = start(RECORDS.map((record) => (record.id === host.id ? { ...host, drain: true } : record)));
  const [speak] = effects;
  assert.ok(speak?.kind === 'speak' && speak.plans[0]?.isLeaving === false && speak.plans[0].networks.length === 0);
});
