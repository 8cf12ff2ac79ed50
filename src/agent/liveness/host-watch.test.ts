import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../base/random.ts';
import { EchoDesk } from './echo-desk.ts';
import { HostWatch } from './host-watch.ts';

/** Who answers a probe. `early`: an agent whose flows are not in; `kernel`: of one whose agent is away, when the probe is a call too. */
type Answering = 'agent' | 'early' | 'kernel' | 'nobody';

/** One watch in a world where answers take `tripMs`. */
class World {
  readonly watch = new HostWatch(seededRandom(1));
  readonly hosts = new Map<string, Answering>();
  readonly sent: { readonly host: string; readonly atMs: number }[] = [];
  /** What is lost, whenever that changed. */
  readonly told: { readonly atMs: number; readonly lost: string }[] = [];
  intervalMs = 200;
  tripMs = 1;
  nowMs = 0;
  #coming: { readonly atMs: number; readonly host: string; readonly by: Answering }[] = [];

  constructor(...hosts: string[]) {
    for (const host of hosts) this.hosts.set(host, 'agent');
    this.watch.watch(
      hosts.map((host) => ({ host, address: `192.0.2.${host}` })),
      0,
    );
  }

  /** Until then. What came is told before what is due, as the link does. */
  run(forMs: number): void {
    const untilMs = this.nowMs + forMs;
    for (;;) {
      this.#coming.sort((a, b) => a.atMs - b.atMs);
      const nextMs = Math.min(this.watch.dueMs, this.#coming[0]?.atMs ?? Number.POSITIVE_INFINITY);
      if (nextMs > untilMs) break;
      this.nowMs = Math.max(nextMs, this.nowMs);
      while ((this.#coming[0]?.atMs ?? Number.POSITIVE_INFINITY) <= this.nowMs) {
        const { host, by } = this.#coming.shift()!;
        const hasFlows = by === 'agent';
        const { intervalMs } = this;
        this.watch.answered(host, by === 'kernel' ? 'kernel' : { intervalMs, hasFlows }, this.nowMs);
      }
      for (const { host, withCall } of this.watch.tick(this.nowMs)) {
        this.sent.push({ host, atMs: this.nowMs });
        const by = this.hosts.get(host)!;
        const atMs = this.nowMs + this.tripMs;
        // A kernel answers the calls only: its port unreachables are rationed.
        if (by !== 'nobody' && withCall) this.#coming.push({ atMs, host, by: 'kernel' });
        if (by === 'agent' || by === 'early') this.#coming.push({ atMs, host, by });
      }
      const lost = this.watch.lost.join(' ');
      if (lost !== (this.told.at(-1)?.lost ?? '')) this.told.push({ atMs: this.nowMs, lost });
    }
    this.nowMs = untilMs;
  }
}

test('a host that stops answering is lost within half a second, and is back soon after it answers again', () => {
  const world = new World('1', '2');
  world.run(1_050);
  assert.deepEqual([world.watch.isSettled, world.told], [true, []]);
  world.hosts.set('2', 'nobody');
  world.run(500);
  assert.deepEqual(world.watch.lost, ['2']);
  world.run(5_000);
  world.hosts.set('2', 'agent');
  world.run(400);
  assert.deepEqual(world.watch.lost, []);
  assert.equal(world.told.length, 2);
});

test('a host whose agent is away but whose kernel answers is never lost, and one whose kernel goes later is', () => {
  const world = new World('1', '2');
  world.run(500);
  world.hosts.set('1', 'kernel');
  world.run(60_000);
  assert.deepEqual(world.told, []);
  world.hosts.set('1', 'nobody');
  world.run(500);
  assert.deepEqual(world.watch.lost, ['1']);
  world.hosts.set('1', 'agent');
  world.run(500);
  assert.deepEqual(world.watch.lost, []);
});

test('a lost host is back when its flows are in, not when it answers; without its agent, after a minute', () => {
  const world = new World('1', '2');
  world.run(500);
  for (const by of ['kernel', 'early'] as const) {
    world.hosts.set('1', 'nobody');
    world.run(500);
    world.hosts.set('1', by);
    world.run(50_000);
    assert.deepEqual(world.watch.lost, ['1'], by);
    world.hosts.set('1', 'agent');
    world.run(500);
    assert.deepEqual(world.watch.lost, [], by);
    world.run(60_000);
  }
  world.hosts.set('1', 'nobody');
  world.run(500);
  world.hosts.set('1', 'kernel');
  world.run(61_000);
  assert.deepEqual(world.watch.lost, []);
});

test('a host that was not lost stays so while a new agent of it puts flows in', () => {
  const world = new World('1', '2');
  world.run(500);
  for (const by of ['kernel', 'early', 'agent'] as const) {
    world.hosts.set('1', by);
    world.run(5_000);
  }
  assert.deepEqual(world.told, []);
});

test('one that never answered is lost too, and until then it is not settled who lives', () => {
  const world = new World('1', '2');
  world.hosts.set('2', 'nobody');
  world.run(50);
  assert.deepEqual([world.watch.isSettled, world.watch.lost], [false, []]);
  world.run(300);
  assert.deepEqual([world.watch.isSettled, world.watch.lost], [true, ['2']]);
});

test('single probes that get lost, and answers that take three intervals, change nothing', () => {
  const world = new World('1');
  world.tripMs = 290;
  world.run(10_000);
  world.tripMs = 1;
  for (let i = 0; i < 20; i++) {
    world.hosts.set('1', 'nobody');
    world.run(190);
    world.hosts.set('1', 'agent');
    world.run(400);
  }
  assert.deepEqual(world.told, []);
});

test('a process that was held up holds nobody for dead', () => {
  const watch = new HostWatch(seededRandom(1));
  watch.watch([{ host: '1', address: '192.0.2.1' }], 0);
  watch.tick(0);
  watch.answered('1', { intervalMs: 200, hasFlows: true }, 1);
  for (const nowMs of [5_000, 10_000, 15_000, 20_000]) {
    assert.equal(watch.tick(nowMs).length, 1, 'one probe, however long it was');
    watch.answered('1', { intervalMs: 200, hasFlows: true }, nowMs + 3_000);
  }
  assert.deepEqual(watch.lost, []);
});

/** Two hosts that watch each other, `a` by `b` and the other way round; every way between them can be cut. */
class Pair {
  readonly watches = { a: new HostWatch(seededRandom(1)), b: new HostWatch(seededRandom(2)) };
  readonly cut = { a: false, b: false };
  readonly dead = { a: false, b: false };
  nowMs = 0;
  probes = 0;

  constructor() {
    this.watches.a.watch([{ host: 'b', address: 'b' }], 0);
    this.watches.b.watch([{ host: 'a', address: 'a' }], 40);
  }

  /** `cut.a`: nothing that `a` sends arrives. */
  run(forMs: number): void {
    for (const untilMs = this.nowMs + forMs; this.nowMs < untilMs; this.nowMs++)
      for (const [me, other] of [['a', 'b'] as const, ['b', 'a'] as const]) {
        if (this.dead[me]) continue;
        for (const { wasAnswered } of this.watches[me].tick(this.nowMs)) {
          this.probes++;
          if (this.cut[me] || this.dead[other]) continue;
          if (wasAnswered) this.watches[other].asked(me, this.nowMs);
          if (!this.cut[other]) this.watches[me].answered(other, { intervalMs: 200, hasFlows: true }, this.nowMs);
        }
      }
  }
}

test('of two that watch each other one asks; where it dies the other finds out within 0.6 s, and where one way is cut both within 0.8 s', () => {
  const pair = new Pair();
  pair.run(10_000);
  assert.ok(pair.probes >= 48 && pair.probes <= 55, `${pair.probes} probes in 10 s`);
  for (const [dies, other] of [['a', 'b'] as const, ['b', 'a'] as const]) {
    pair.dead[dies] = true;
    pair.run(570);
    assert.deepEqual(pair.watches[other].lost, [dies]);
    pair.dead[dies] = false;
    pair.run(20_000);
    assert.deepEqual(pair.watches[other].lost, []);
    pair.cut[dies] = true;
    pair.run(800);
    assert.deepEqual([pair.watches.a.lost, pair.watches.b.lost], [['b'], ['a']], `nothing from ${dies}`);
    pair.cut[dies] = false;
    pair.run(90_000);
    assert.deepEqual([pair.watches.a.lost, pair.watches.b.lost], [[], []]);
  }
});

test('one that comes and goes has to answer longer each time, up to 30 s; after a quiet minute it is as any other', () => {
  const world = new World('1', '2');
  const backAfter: number[] = [];
  const flap = (): void => {
    world.hosts.set('2', 'nobody');
    world.run(1_000);
    world.hosts.set('2', 'agent');
    const fromMs = world.nowMs;
    world.run(40_000);
    backAfter.push(world.told.at(-1)!.atMs - fromMs);
  };
  world.run(500);
  for (let i = 0; i < 7; i++) flap();
  const seconds = backAfter.map((ms) => Math.round(ms / 1000));
  assert.deepEqual(seconds, [0, 1, 2, 4, 8, 16, 30]);
  world.run(90_000);
  flap();
  assert.ok(backAfter.at(-1)! < 500);
});

test('with all lost, one that answers is back at once, however often it came and went', () => {
  const world = new World('1', '2');
  world.run(500);
  for (let i = 0; i < 4; i++) {
    world.hosts.set('2', 'nobody');
    world.run(1_000);
    world.hosts.set('2', 'agent');
    world.run(10_000);
  }
  world.hosts.set('2', 'nobody');
  world.run(1_000);
  world.hosts.set('2', 'agent');
  world.run(1_000);
  assert.deepEqual(world.watch.lost, ['2'], 'held');
  world.hosts.set('1', 'nobody');
  world.run(500);
  assert.deepEqual(world.watch.lost, ['1']);
});

test('a host that is asked by many is asked seldom, and at once when somebody suspects it', () => {
  const world = new World('1', '2');
  world.intervalMs = 5_000;
  world.run(60_000);
  const asked = world.sent.filter(({ host }) => host === '1').length;
  assert.ok(asked >= 12 && asked <= 16, `${asked} probes in a minute`);
  world.hosts.set('1', 'nobody');
  world.watch.suspect('192.0.2.1', world.nowMs);
  world.run(450);
  assert.deepEqual(world.watch.lost, ['1']);
  world.watch.suspect('192.0.2.2', world.nowMs);
  world.run(4_000);
  assert.deepEqual(world.watch.lost, ['1'], 'a suspicion alone is nothing');
});

test('who is watched anew is begun with, who is watched still is as before', () => {
  const world = new World('1', '2');
  world.hosts.set('2', 'nobody');
  world.run(1_000);
  world.watch.watch(
    ['2', '3'].map((host) => ({ host, address: `192.0.2.${host}` })),
    world.nowMs,
  );
  assert.deepEqual([world.watch.lost, world.watch.isSettled], [['2'], false]);
  world.watch.watch([], world.nowMs);
  assert.deepEqual([world.watch.lost, world.watch.isSettled, world.watch.dueMs], [[], true, Number.POSITIVE_INFINITY]);
});

test('ten thousand hosts send a gateway 2,000 probes a second; another gateway comes as often as ever and is not warned', () => {
  const desk = new EchoDesk();
  const ask = (address: string, isServing: boolean, nowMs: number): number => {
    const echo = desk.answer(
      { kind: 'probe', token: 7, sequence: 1, isServing, isWell: true },
      { address, port: 5 },
      nowMs,
    );
    assert.equal(echo.kind === 'echo' && echo.hasFlows, false, 'not before it is told so');
    return echo.kind === 'echo' ? echo.intervalMs : 0;
  };
  assert.equal(ask('192.0.2.1', true, 0), 200);
  for (let n = 0; n < 200; n++) assert.equal(ask(`10.0.0.${n}`, false, n), 200);
  assert.deepEqual([...desk.toWarn()], [], 'all would notice by themselves');
  for (let n = 0; n < 10_000; n++) ask(`10.1.${n >> 8}.${n & 255}`, false, 500);
  assert.equal(ask('10.1.0.0', false, 600), 5_100);
  assert.equal(ask('192.0.2.1', true, 600), 200);
  assert.equal([...desk.toWarn()].length, 10_200);
  const [first] = desk.toWarn();
  assert.deepEqual(first, { address: '10.0.0.0', port: 5, token: 7 });
  assert.equal(ask('10.1.0.0', false, 60_000), 200, 'who is silent counts no more');
});

test('those whom many ask come as often as ever as long as they are few; many of them seldom, and are warned', () => {
  const desk = new EchoDesk();
  const ask = (n: number): number => {
    const probe = { kind: 'probe', token: 7, sequence: 1, isServing: true, isWell: true } as const;
    const echo = desk.answer(probe, { address: `10.0.${n >> 8}.${n & 255}`, port: 5 }, 0);
    return echo.kind === 'echo' ? echo.intervalMs : 0;
  };
  assert.equal(desk.isServing, false);
  for (let n = 0; n < 400; n++) assert.equal(ask(n), 200);
  assert.equal(desk.isServing, false, 'all that ask come fast');
  for (let n = 400; n < 1_000; n++) ask(n);
  assert.deepEqual([ask(1), desk.isServing, [...desk.toWarn()].length], [500, true, 1_000]);
});

test('who watches a thousand hosts sends 2,000 probes a second, and finds one that is silent within a second', () => {
  const world = new World(...Array.from({ length: 1_000 }, (_, n) => `${n}`));
  world.run(5_000);
  const sent = world.sent.filter(({ atMs }) => atMs > 3_000).length;
  assert.ok(sent > 3_500 && sent < 4_500, `${sent} in two seconds`);
  world.hosts.set('7', 'nobody');
  world.run(1_000);
  assert.equal(world.told.at(-1)?.lost, '7');
});
