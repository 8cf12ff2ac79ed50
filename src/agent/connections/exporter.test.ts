import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../base/clock.ts';
import { WeftError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { SILENCE_MS } from '../../flow-database/flow-store.ts';
import { type ConnectionsReport, MOST_CONNECTIONS_IN_REPORT } from '../../server/protocol.ts';
import type { ZoneUse } from '../events.ts';
import { EAST } from './dump.fixture.ts';
import { ConnectionExporter } from './exporter.ts';
import { EAST_ZONES, fixtureScope, PORT, ROUTER, zonesOf } from './network.fixture.ts';
import { MOST_AT_ONCE, MOST_CONNECTIONS, READ_MS, SLICE_CONNECTIONS } from './reading.ts';

function trial(zones: Readonly<Record<string, number>> = EAST_ZONES) {
  const clock = new (class extends ManualClock {
    /** By how much the wall clock was set. */
    setMs = 0;
    override now(): number {
      return super.now() + this.setMs;
    }
    override async sleep(ms: number): Promise<void> {
      this.advance(ms);
    }
  })(1_000_000);
  const state = {
    text: EAST,
    count: 17,
    dumpMs: 1,
    version: '3.5.0' as string | undefined,
    uses: [] as ZoneUse[],
    dumped: [] as (readonly number[] | undefined)[],
    failure: undefined as WeftError | undefined,
    unreadable: undefined as WeftError | undefined,
    isFull: false,
    refused: [] as string[],
    isAgain: false,
    problem: undefined as string | undefined,
    unread: undefined as ReadonlySet<string> | undefined,
    posted: [] as ConnectionsReport[],
  };
  const exporter = new ConnectionExporter({
    ...{ scope: fixtureScope(), zones: zonesOf(zones), clock, log: silentLog, signal: new AbortController().signal },
    datapathType: 'netdev',
    tracking: {
      count: async () => {
        if (state.unreadable) throw state.unreadable;
        return state.count;
      },
      version: async () => state.version,
      uses: async () => state.uses,
      dump: async (zones) => {
        clock.advance(state.dumpMs);
        state.dumped.push(zones);
        if (!zones) return state.text;
        const isIn = (line: string): boolean => zones.some((zone) => line.includes(`,zone=${zone},`));
        return state.text.split('\n').filter(isIn).join('\n');
      },
    },
    post: async (report) => {
      if (state.failure) throw state.failure;
      state.posted.push(report);
      if (state.isFull) throw new WeftError('full', 'it holds as many as it may');
      return { refused: state.refused, isAgain: state.isAgain };
    },
    seen: (_, unread) => {
      state.unread = unread;
    },
    setProblem: (problem) => {
      state.problem = problem;
    },
  });
  const round = async (): Promise<readonly ConnectionsReport[]> => {
    state.posted = [];
    clock.advance(READ_MS);
    await exporter.round();
    return state.posted;
  };
  return { exporter, state, clock, round };
}

test('tells everything first, then what is new, other or gone, and a sign of life where there is no news', async () => {
  const { state, clock, round } = trial();
  const [first, ...more] = await round();
  assert.deepEqual([first?.put.length, first?.gone, first?.isWhole, more.length], [9, [], true, 0]);
  assert.deepEqual(await round(), []);
  const lines = EAST.split('\n');
  state.text = lines
    .filter((line) => !line.includes('sport=52960,'))
    .map((line) =>
      line.replace(
        'dport=57884),zone=12,timeout=29,mark=4,protoinfo=(state=TIME_WAIT',
        'dport=57884),zone=12,protoinfo=(state=CLOSING',
      ),
    )
    .join('\n');
  const [second] = await round();
  assert.deepEqual(
    [second?.put.map(({ state: tcp, sinceMs }) => [tcp, sinceMs]), second?.gone, second?.isWhole, second?.epoch],
    [
      [['closing', first!.put[0]!.sinceMs]],
      [first!.put.find(({ from }) => from.port === 52960)!.key],
      undefined,
      first!.epoch,
    ],
  );
  clock.advance(20_000);
  assert.deepEqual(await round(), [{ epoch: first!.epoch, put: [], gone: [] }]);
});

test('where the server wants everything anew it is told in a new epoch, not more often than twice a minute', async () => {
  const { state, clock, round } = trial();
  state.isAgain = true;
  const [first] = await round();
  const epochs: (number | undefined)[] = [];
  for (let n = 0; n < 8; n++) {
    clock.advance(20_000);
    epochs.push((await round()).find(({ isWhole }) => isWhole)?.epoch);
  }
  assert.ok(first?.isWhole);
  assert.deepEqual(
    epochs.map((epoch) => epoch !== undefined),
    [false, false, true, false, false, true, false, false],
  );
  state.isAgain = false;
  await round();
  for (let n = 0; n < 4; n++) {
    clock.advance(20_000);
    assert.ok(!(await round()).some(({ isWhole }) => isWhole));
  }
});

test('a batch that does not arrive is dropped, and a new epoch tells everything again', async () => {
  const { state, round } = trial();
  const [first] = await round();
  state.text = EAST.split('\n').slice(0, 3).join('\n');
  state.failure = new WeftError('busy', 'it is behind');
  await round();
  assert.match(state.problem!, /it is behind/);
  state.failure = undefined;
  const [again] = await round();
  assert.equal(state.problem, undefined);
  assert.deepEqual([again?.put.length, again?.isWhole], [3, true]);
  assert.ok(again!.epoch > first!.epoch);
  state.failure = new WeftError('unreachable', 'no server');
  state.text = EAST;
  await round();
  assert.equal(state.problem, undefined, 'that the server is gone is said elsewhere');
});

test('a whole epoch tells first what ended, so that it makes room', async () => {
  const { state, round } = trial();
  const [first] = await round();
  state.failure = new WeftError('busy', 'it is behind');
  state.text = EAST.split('\n').slice(0, 3).join('\n');
  await round();
  state.failure = undefined;
  const [again, ...more] = await round();
  const kept = again!.put.map(({ key }) => key);
  assert.deepEqual(
    again!.gone.toSorted(),
    first!.put.flatMap(({ key }) => (kept.includes(key) ? [] : [key])).toSorted(),
  );
  assert.deepEqual([kept.length, again?.isWhole, more.length], [3, true, 0]);
});

test('a server without room is told on to the end of the epoch, and everything again two minutes later', async () => {
  const { state, clock, round } = trial({ [PORT.a2]: 12 });
  const line = (i: number): string =>
    `udp,orig=(src=10.0.1.12,dst=198.51.100.9,sport=${i},dport=80),reply=(src=198.51.100.9,dst=10.0.1.12,sport=80,dport=${i}),zone=12,mark=4`;
  const text = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => line(from + i)).join('\n');
  state.text = text(1_000, 5_500);
  state.isFull = true;
  const first = await round();
  assert.deepEqual(
    first.map(({ put, isWhole }) => [put.length, isWhole]),
    [
      [2000, undefined],
      [2000, undefined],
      [500, true],
    ],
  );
  assert.match(state.problem!, /are not told to the flow database: it holds as many as it may/);
  state.isFull = false;
  state.text = text(1_100, 5_501);
  const [second] = await round();
  assert.deepEqual([second?.put.length, second?.gone.length, second?.isWhole], [1, 100, undefined]);
  assert.match(state.problem!, /as many as it may/, 'what was left out still is');
  for (let n = 0; n < 4; n++) {
    clock.advance(20_000);
    assert.deepEqual(await round(), [{ epoch: first[0]!.epoch, put: [], gone: [] }], 'a sign of life');
  }
  clock.advance(20_000);
  const third = await round();
  assert.deepEqual([third.length, third.at(-1)?.isWhole], [3, true]);
  assert.equal(state.problem, undefined);
});

test('that nothing can be read is told after some failures in a row, and no more once it can', async () => {
  const { exporter, state, round } = trial();
  await round();
  state.unreadable = new WeftError('unreachable', 'no control socket');
  for (let n = 0; n < 3; n++) await round();
  assert.equal(state.problem, undefined, 'Open vSwitch may be starting');
  await round();
  assert.match(state.problem!, /cannot be read.*no control socket/);
  // Also where the server is not there to hear of it.
  state.failure = new WeftError('unreachable', 'no server');
  state.unreadable = undefined;
  await round();
  assert.equal(state.problem, undefined);
  state.unreadable = new WeftError('unreachable', 'no control socket');
  for (let n = 0; n < 3; n++) await round();
  assert.equal(state.problem, undefined, 'counted anew');
  assert.equal(exporter.lastRead, EAST);
  for (let n = 0; n < 120; n++) await round();
  assert.equal(exporter.lastRead, '', 'what was read ten minutes ago is not made again');
});

test('what the server does not take yet is told again', async () => {
  const { state, round } = trial();
  state.refused = ['no key of ours'];
  const [first] = await round();
  state.refused = first!.put.filter(({ port }) => port === PORT.a1).map(({ key }) => key);
  const whole = trial();
  whole.state.refused = state.refused;
  await whole.round();
  whole.state.refused = [];
  const [second] = await whole.round();
  assert.deepEqual(second?.put.map(({ key }) => key).sort(), [...state.refused].sort());
});

test('too many connections are not read, which people are told; lines that say nothing cost only themselves', async () => {
  const { exporter, state, round } = trial();
  await round();
  assert.equal(exporter.lastRead, EAST);
  state.version = '3.3.0';
  state.count = MOST_AT_ONCE + 1;
  assert.deepEqual(
    (await round()).map(({ put, gone }) => [put.length, gone.length]),
    [[0, 9]],
  );
  assert.equal(exporter.lastRead, '', 'what was read before would be made again after a restart of Open vSwitch');
  assert.match(state.problem!, /tracks 15001, more than 15000/);
  assert.deepEqual(state.unread, new Set(Object.keys(EAST_ZONES)));
  state.count = 17;
  state.text = `nonsense\n${EAST}tcp,orig=(`;
  assert.equal((await round())[0]?.put.length, 9);
  assert.equal(state.problem, undefined);
});

test('of many connections zones are read in turn, ports before routers, with rests; the result is the same', async () => {
  const whole = await trial().round();
  const { state, clock, round } = trial();
  state.count = 6_100;
  const use = (zone: number, connections: number): ZoneUse => ({ zone, connections, limit: 0 });
  state.uses = [use(4, 300), use(8, 5_000), use(12, 600), use(13, 200), use(5, 0)];
  state.dumpMs = 10;
  const begun = clock.now();
  const sliced = await round();
  assert.deepEqual(state.dumped, [[4], [12, 13], [8]]);
  assert.equal(clock.now() - begun, READ_MS + 3 * 10 + 2 * 200);
  const keys = (reports: readonly ConnectionsReport[]) =>
    reports.flatMap(({ put }) => put.map(({ key, seenAs, asked }) => [key, seenAs, asked]));
  assert.deepEqual(keys(sliced).sort(), keys(whole).sort());
  assert.equal(state.problem, undefined);
});

test('a router that nothing was counted of is read, since it may translate by the time that ports have been', async () => {
  const { state, round } = trial();
  state.count = SLICE_CONNECTIONS + 1;
  state.uses = [
    { zone: 12, connections: SLICE_CONNECTIONS + 1, limit: 0 },
    { zone: 8, connections: 0, limit: 0 },
  ];
  const [report] = await round();
  assert.deepEqual(state.dumped, [[12], [8]]);
  assert.ok(report?.put.some(({ seenAs }) => seenAs));
});

test('zones that do not count what they had before they were limited are read, too', async () => {
  const whole = await trial().round();
  const { state, round } = trial();
  state.count = 6_100;
  state.uses = [{ zone: 4, connections: 300, limit: 0 }];
  const sliced = await round();
  assert.deepEqual(
    sliced.flatMap(({ put }) => put.map(({ key }) => key)).sort(),
    whole.flatMap(({ put }) => put.map(({ key }) => key)).sort(),
  );
  assert.equal(state.problem, undefined);
  state.count = MOST_AT_ONCE + 301;
  await round();
  assert.match(state.problem!, /15001 are in zones that do not count them/);
  assert.ok(state.unread?.has(ROUTER) && state.unread.has(PORT.a1), 'zones behind ports are not counted either');
});

test('what is too much at once is left out alone, and said; what was known of its translations stays', async () => {
  const { state, round } = trial();
  const use = (zone: number, connections: number): ZoneUse => ({ zone, connections, limit: 0 });
  state.count = SLICE_CONNECTIONS + 1;
  state.uses = [use(4, 4), use(8, 8), use(12, 6), use(13, 1)];
  const [first] = await round();
  assert.equal(first?.put.length, 9);
  assert.deepEqual(state.unread, new Set());
  state.uses = [use(4, MOST_AT_ONCE + 1), use(8, MOST_AT_ONCE + 2), use(12, 6), use(13, 1)];
  const [second, ...more] = await round();
  assert.deepEqual([second?.put, more], [[], []], 'nothing of a2 has changed');
  assert.deepEqual(state.unread, new Set([PORT.a1, ROUTER]));
  assert.deepEqual(
    second?.gone,
    first?.put.flatMap(({ port, key }) => (port === PORT.a1 ? [key] : [])),
  );
  assert.match(
    state.problem!,
    /^not all .*: port \S+ has 15001, router \S+ translates 15002: at most 15000 of one and 100000 in all/,
  );
  state.uses = [use(4, 4), use(8, 8), use(12, MOST_CONNECTIONS)];
  await round();
  assert.match(state.problem!, /port \S+ has 100000: at most/);
});

test('a reading that takes long makes the next one wait', async () => {
  const { exporter, state } = trial();
  assert.equal(await exporter.round(), READ_MS);
  state.dumpMs = 700;
  assert.equal(await exporter.round(), 14_000);
  state.dumpMs = 3_000;
  assert.equal(await exporter.round(), SILENCE_MS / 2, 'but not so long that it would be taken for dead');
});

test('who was silent for so long that the server took its connections away tells everything again', async () => {
  const { clock, round } = trial();
  await round();
  clock.advance(SILENCE_MS);
  const [again] = await round();
  assert.deepEqual([again?.put.length, again?.isWhole], [9, true]);
});

test('a wall clock that is set back an hour holds up no sign of life, and no new epoch', async () => {
  const { clock, round } = trial();
  const [first] = await round();
  clock.setMs = -3_600_000;
  clock.advance(20_000);
  assert.deepEqual(await round(), [{ epoch: first!.epoch, put: [], gone: [] }]);
  clock.advance(SILENCE_MS);
  const [again] = await round();
  assert.deepEqual([again?.isWhole, again!.epoch > first!.epoch], [true, true]);
});

test('50,000 connections: in batches, and others have their turn every few milliseconds', async () => {
  const { state, round } = trial({ [PORT.a2]: 12 });
  const n = 50_000;
  state.text = Array.from({ length: n }, (_, i) => {
    const [source, port] = [`10.0.1.${12}`, 1024 + (i % 60_000)];
    return `tcp,orig=(src=${source},dst=198.51.100.9,sport=${port},dport=80),reply=(src=198.51.100.9,dst=${source},sport=80,dport=${port}),zone=12,timeout=86399,mark=4,protoinfo=(state=ESTABLISHED)`;
  }).join('\n');
  // Of the processor, not of the clock: machines that run tests are busy.
  const ownMs = (): number => Object.values(process.threadCpuUsage()).reduce((sum, us) => sum + us, 0) / 1000;
  let [turns, longestMs, lastMs] = [0, 0, ownMs()];
  let isOver = false;
  const turn = (): void => {
    const now = ownMs();
    longestMs = Math.max(longestMs, now - lastMs);
    lastMs = now;
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  const begun = ownMs();
  const posted = await round();
  isOver = true;
  const tookMs = ownMs() - begun;
  assert.equal(
    posted.reduce((sum, { put }) => sum + put.length, 0),
    n,
  );
  assert.ok(posted.every(({ put }) => put.length <= MOST_CONNECTIONS_IN_REPORT));
  assert.ok(turns > 40, `${turns} turns`);
  assert.ok(longestMs < 250, `${Math.round(longestMs)} ms in one piece, of ${Math.round(tookMs)}`);
  assert.deepEqual(await round(), [], 'no news of 50,000');
});
