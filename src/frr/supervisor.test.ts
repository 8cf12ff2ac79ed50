import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ManualClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { createLog, silentLog } from '../base/log.ts';
import type { DaemonName } from './config.ts';
import type { Daemons } from './daemons.ts';
import { type DaemonTexts, Supervisor } from './supervisor.ts';
import type { VtyAnswer } from './vty.ts';

/** Daemons that exist only here: what happened to them is in `story`. */
class PretendedDaemons implements Daemons {
  readonly story: string[] = [];
  readonly running = new Map<DaemonName, number>();
  readonly configs = new Map<DaemonName, string>();
  readonly applied = new Map<DaemonName, string>();
  readonly refused = new Map<DaemonName, string>();
  refuse: RegExp = /^$/;
  broken: DaemonName | undefined;
  deaf = false;
  readsFiles = true;
  #pids = 100;

  pidOf(daemon: DaemonName): number | undefined {
    return this.running.get(daemon);
  }
  async launch(daemon: DaemonName): Promise<boolean> {
    this.story.push(`launch ${daemon}`);
    if (this.broken === daemon) throw new WeftError('refused', `${daemon} failed to start`);
    this.running.set(daemon, this.#pids++);
    return this.readsFiles;
  }
  async end(daemon: DaemonName): Promise<void> {
    if (this.running.delete(daemon)) this.story.push(`end ${daemon}`);
  }
  writeConfig(daemon: DaemonName, text: string): void {
    this.configs.set(daemon, text);
  }
  appliedConfig(daemon: DaemonName): string | undefined {
    return this.applied.get(daemon);
  }
  refusedConfig(daemon: DaemonName): string | undefined {
    return this.refused.get(daemon);
  }
  writeApplied(daemon: DaemonName, text: string, refused: string): void {
    this.applied.set(daemon, text);
    this.refused.set(daemon, refused);
  }
  async openVty(daemon: DaemonName): Promise<{ send(line: string): Promise<VtyAnswer>; close(): void }> {
    if (this.deaf) throw new WeftError('unreachable', 'nobody listens');
    return {
      send: async (line) => {
        this.story.push(`${daemon}: ${line}`);
        return this.refuse.test(line) ? { ok: false, output: `% Unknown command: ${line}` } : { ok: true, output: '' };
      },
      close: () => {},
    };
  }
  /** What happened since this was asked last. */
  told(): string[] {
    return this.story.splice(0);
  }
}

const texts = (bgpd: string): DaemonTexts => ({ zebra: 'z\n', bfdd: '', staticd: '', mgmtd: '', bgpd });
const ALL: readonly DaemonName[] = ['bgpd', 'zebra', 'bfdd'];

function setUp(): { daemons: PretendedDaemons; clock: ManualClock; supervisor: Supervisor } {
  const daemons = new PretendedDaemons();
  const clock = new ManualClock();
  return { daemons, clock, supervisor: new Supervisor(daemons, clock, silentLog) };
}

test('daemons are started in their order, with their files, and then left alone', async () => {
  const { daemons, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  assert.deepEqual(daemons.told(), ['launch zebra', 'launch bfdd', 'launch bgpd']);
  assert.equal(daemons.configs.get('bgpd'), 'a\n');
  await supervisor.tick();
  await supervisor.configure(texts('a\n'), ALL);
  assert.deepEqual(daemons.told(), []);
});

test('a changed configuration is told to the one daemon that it is for, without a start', async () => {
  const { daemons, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  daemons.told();
  assert.deepEqual(await supervisor.configure(texts('b\n'), ALL), []);
  assert.deepEqual(daemons.told(), ['bgpd: configure terminal', 'bgpd: b', 'bgpd: no a', 'bgpd: end']);
  assert.equal(daemons.configs.get('bgpd'), 'b\n', 'a restart would give the same');
});

test('running daemons of an earlier agent are taken over, and told only what changed since', async () => {
  const { daemons, supervisor } = setUp();
  for (const daemon of ALL) daemons.running.set(daemon, 1);
  daemons.applied.set('zebra', 'z\n').set('bfdd', '').set('bgpd', 'a\n');
  await supervisor.configure(texts('a\nb\n'), ALL);
  assert.deepEqual(daemons.told(), ['bgpd: configure terminal', 'bgpd: b', 'bgpd: end']);
});

test('a daemon that dies is started at once, then ever later, and the others are not touched', async () => {
  const { daemons, clock, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  daemons.told();
  const starts: number[] = [];
  for (let ms = 0; ms <= 4_000; ms += 100) {
    daemons.running.delete('bgpd');
    await supervisor.tick();
    if (daemons.told().includes('launch bgpd')) starts.push(clock.now());
    clock.advance(100);
  }
  assert.deepEqual(starts, [0, 500, 1_500, 3_500]);
  assert.equal(supervisor.states().find((s) => s.daemon === 'bgpd')!.restarts, 4);
  assert.equal(daemons.running.get('zebra'), 100);
});

test('a daemon that ran for a minute may die without waiting', async () => {
  const { daemons, clock, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  for (let i = 0; i < 3; i++) {
    daemons.running.delete('bgpd');
    await supervisor.tick();
    clock.advance(60_000);
  }
  daemons.told();
  daemons.running.delete('bgpd');
  await supervisor.tick();
  assert.deepEqual(daemons.told(), ['launch bgpd']);
});

test('a daemon that does not start is told as a problem, and tried again', async () => {
  const { daemons, clock, supervisor } = setUp();
  daemons.broken = 'bfdd';
  await supervisor.configure(texts('a\n'), ALL);
  assert.deepEqual(daemons.told(), ['launch zebra', 'launch bfdd', 'launch bgpd']);
  assert.match(supervisor.states().find((s) => s.daemon === 'bfdd')!.problem!, /failed to start/);
  daemons.broken = undefined;
  clock.advance(100);
  await supervisor.tick();
  assert.equal(supervisor.states().find((s) => s.daemon === 'bfdd')!.problem, undefined);
});

test('a configuration that cannot be written is told as a problem', async () => {
  const { daemons, supervisor } = setUp();
  daemons.writeConfig = () => void readFileSync('/nowhere/at/all');
  await supervisor.configure(texts('a\n'), ALL);
  assert.match(supervisor.states()[0]!.problem!, /ENOENT/);
});

test('a change that cannot be written is tried again, and nothing else comes of it', async () => {
  const { daemons, supervisor } = setUp();
  await supervisor.configure(texts('router bgp 1\nexit\n'), ALL);
  daemons.told();
  daemons.writeConfig = () => void readFileSync('/nowhere/at/all');
  await supervisor.configure(texts('router bgp 2\nexit\n'), ALL);
  await supervisor.tick();
  assert.deepEqual(daemons.told(), []);
  daemons.writeConfig = (daemon, text) => void daemons.configs.set(daemon, text);
  await supervisor.tick();
  assert.match(daemons.told().join('; '), /router bgp 2/);
});

test('a refused line is told, without a password, neither in the answer nor in the log', async () => {
  const daemons = new PretendedDaemons();
  const logged: string[] = [];
  const supervisor = new Supervisor(
    daemons,
    new ManualClock(),
    createLog('debug', (line) => logged.push(line)),
  );
  await supervisor.configure(texts('router bgp 1\n neighbor 192.0.2.1 remote-as 2\nexit\n'), ALL);
  daemons.refuse = /password/;
  const secret = 'router bgp 1\n neighbor 192.0.2.1 remote-as 2\n neighbor 192.0.2.1 password hush\nexit\n';
  assert.deepEqual(await supervisor.configure(texts(secret), ALL), [
    { daemon: 'bgpd', line: 'neighbor 192.0.2.1 password …', said: 'refused' },
  ]);
  assert.equal(logged.join('').includes('hush'), false);
  daemons.told();
  await supervisor.tick();
  assert.deepEqual(daemons.told(), [], 'saying it again would not help');
});

const ODD = { daemon: 'bgpd', line: 'odd', said: '% Unknown command: odd' };

test('what a daemon refused stays told while it is wanted, whatever else changes', async () => {
  const { daemons, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  daemons.refuse = /^odd$/;
  assert.deepEqual(await supervisor.configure(texts('a\nodd\n'), ALL), [ODD]);
  assert.deepEqual(await supervisor.tick(), [ODD]);
  assert.deepEqual(await supervisor.configure(texts('a\nodd\n'), ALL), [ODD]);
  assert.deepEqual(await supervisor.configure(texts('b\nodd\n'), ALL), [ODD], 'it was no part of the difference');
  assert.deepEqual(await supervisor.configure(texts('b\n'), ALL), []);
  daemons.refuse = /^$/;
  assert.deepEqual(await supervisor.configure(texts('b\nodd\n'), ALL), [], 'said again, and taken');
});

test('what a daemon refused is told by the next agent too, which does not say it again', async () => {
  const { daemons, clock, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  daemons.refuse = /^odd$/;
  await supervisor.configure(texts('a\nodd\n'), ALL);
  daemons.told();
  const next = new Supervisor(daemons, clock, silentLog);
  assert.deepEqual(await next.configure(texts('a\nodd\n'), ALL), [ODD]);
  assert.deepEqual(daemons.told(), []);
  assert.deepEqual(await next.configure(texts('a\n'), ALL), []);
  // Of an agent that wrote nothing of it, or half.
  for (const text of [undefined, '[{"daem']) {
    if (text === undefined) daemons.refused.delete('bgpd');
    else daemons.refused.set('bgpd', text);
    assert.deepEqual(await new Supervisor(daemons, clock, silentLog).configure(texts('a\n'), ALL), []);
  }
});

test('a daemon that died and had refused something is told all when it is back, and what it refuses of that is heard', async () => {
  const { daemons, clock, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  daemons.refuse = /^odd$/;
  await supervisor.configure(texts('a\nodd\n'), ALL);
  daemons.running.delete('bgpd');
  await supervisor.tick();
  assert.deepEqual(supervisor.refused(), [ODD], 'for all that is known');
  daemons.told();
  await supervisor.tick();
  assert.ok(daemons.told().includes('bgpd: odd'));
  assert.deepEqual(supervisor.refused(), [ODD]);
  // Another FRR was installed since.
  clock.advance(60_000);
  daemons.running.delete('bgpd');
  daemons.refuse = /^$/;
  await supervisor.tick();
  await supervisor.tick();
  assert.deepEqual(supervisor.refused(), []);
});

test('what a daemon refuses when it can be told at last is told', async () => {
  const { daemons, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  [daemons.deaf, daemons.refuse] = [true, /^odd$/];
  assert.deepEqual(await supervisor.configure(texts('a\nodd\n'), ALL), []);
  daemons.deaf = false;
  await supervisor.tick();
  assert.deepEqual(supervisor.refused(), [ODD]);
});

test('a removal of what is gone already is no problem', async () => {
  const { daemons, supervisor } = setUp();
  await supervisor.configure(texts('a\nb\n'), ALL);
  daemons.refuse = /^no b/;
  assert.deepEqual(await supervisor.configure(texts('a\n'), ALL), []);
});

test('a daemon that reads no file is told everything', async () => {
  const { daemons, supervisor } = setUp();
  daemons.readsFiles = false;
  await supervisor.configure(texts('a\n'), ALL);
  daemons.told();
  await supervisor.tick();
  assert.ok(daemons.told().includes('bgpd: a'));
});

test('a daemon that cannot be told now is told later', async () => {
  const { daemons, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  daemons.deaf = true;
  await supervisor.configure(texts('b\n'), ALL);
  daemons.deaf = false;
  daemons.told();
  await supervisor.tick();
  assert.deepEqual(daemons.told(), ['bgpd: configure terminal', 'bgpd: b', 'bgpd: no a', 'bgpd: end']);
});

test('the end is in the other order, and final', async () => {
  const { daemons, supervisor } = setUp();
  await supervisor.configure(texts('a\n'), ALL);
  daemons.told();
  await supervisor.end();
  await supervisor.tick();
  assert.deepEqual(daemons.told(), ['end bgpd', 'end bfdd', 'end zebra']);
});
