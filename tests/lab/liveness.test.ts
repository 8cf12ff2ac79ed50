// Measures: runs in pairs.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { launch, runOk } from '../../src/lab/command.ts';
import { inNamespace, ipBatch, killAll, scriptIn } from '../../src/lab/namespaces.ts';
import { labName, needsRoot } from './lab-name.ts';

const name = labName('live');
const END = join(import.meta.dirname, 'liveness-end.ts');
const HOSTS = ['watcher', 'east', 'west'] as const;
type Host = (typeof HOSTS)[number];
const PREFIX = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;
/** Each version of IP has its own. */
const spaceOf = (place: string, version: 4 | 6): string => `weft-${name}-${version}-${place}`;
const addressOf = (host: Host, version: 4 | 6): string => `${PREFIX[version]}${HOSTS.indexOf(host)}`;

/** The agent of a host, as far as liveness goes. */
class End {
  readonly #child: ChildProcess;
  /** What it said, with when it was heard. */
  readonly told: { readonly atMs: number; readonly lost: readonly string[]; readonly isSettled: boolean }[] = [];

  constructor(host: Host, version: 4 | 6) {
    const watched = host === 'watcher' ? ['east', 'west'] : [];
    const args = watched.map((each) => `${each}=${addressOf(each as Host, version)}`);
    const argv = inNamespace(spaceOf(host, version), [process.execPath, END, addressOf(host, version), ...args]);
    this.#child = launch(argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface(this.#child.stdout!).on('line', (line) =>
      this.told.push({ atMs: performance.now(), ...JSON.parse(line) }),
    );
  }

  get lost(): string {
    return this.told.at(-1)?.lost.join(' ') ?? '';
  }

  /** Waits until these are lost and nobody is unknown; returns after how many milliseconds it said so. */
  async says(lost: string, withinMs: number): Promise<number> {
    const fromMs = performance.now();
    while (!(this.told.at(-1)?.isSettled && this.lost === lost)) {
      if (performance.now() - fromMs > withinMs)
        assert.fail(`not "${lost}" within ${withinMs} ms: ${JSON.stringify(this.told)}`);
      await sleep(5);
    }
    return this.told.at(-1)!.atMs - fromMs;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    const ended = this.#child.exitCode !== null || this.#child.signalCode !== null;
    if (!ended) await killAll([this.#child.pid!]);
  }
}

function livenessOver(version: 4 | 6): void {
  const space = (place: string): string => spaceOf(place, version);
  const cable = (host: Host, state: 'up' | 'down'): Promise<string> =>
    runOk(['ip', '-n', space('net'), 'link', 'set', `to-${host}`, state]);
  let ends: Record<Host, End>;

  before(async () => {
    await ipBatch([
      ...['net', ...HOSTS].map((place) => `netns add ${space(place)}`),
      ...HOSTS.map((host) => `link add eth0 netns ${space(host)} type veth peer to-${host} netns ${space('net')}`),
    ]);
    await scriptIn(space('net'), [
      'ip link add br0 type bridge forward_delay 0 mcast_snooping 0',
      'ip link set br0 up',
      ...HOSTS.flatMap((host) => [`ip link set to-${host} up`, `ip link set to-${host} master br0`]),
    ]);
    for (const host of HOSTS)
      await scriptIn(space(host), [
        'ip link set lo up',
        'sysctl -qw net.ipv6.conf.all.keep_addr_on_down=1 net.ipv6.conf.eth0.keep_addr_on_down=1',
        `ip addr add ${addressOf(host, version)}/${version === 4 ? 24 : '64 nodad'} dev eth0`,
        'ip link set eth0 up',
      ]);
    ends = { watcher: new End('watcher', version), east: new End('east', version), west: new End('west', version) };
    // The kernel tells a bridge of a new carrier up to a second late.
    await ends.watcher.says('', 5_000);
  });
  afterEach(async () => {
    await ends.watcher.says('', 10_000);
  });
  after(async () => {
    await Promise.all(Object.values(ends ?? {}).map((end) => end.kill()));
    await ipBatch(['net', ...HOSTS].map((place) => `netns del ${space(place)}`));
  });

  test('a gateway whose agent is killed, or does not come to answer, is not lost', async () => {
    const { length } = ends.watcher.told;
    ends.west.signal('SIGSTOP');
    await ends.east.kill();
    // Who is cut off is lost within one.
    await sleep(2_000);
    ends.west.signal('SIGCONT');
    assert.deepEqual(ends.watcher.told.slice(length), []);
    // Without an agent it is watched as well as with one.
    await cable('east', 'down');
    const afterMs = await ends.watcher.says('east', 2_000);
    assert.ok(afterMs < 1_000, `${afterMs} ms`);
    // Its kernel alone does not say whether it was started anew.
    await cable('east', 'up');
    await sleep(2_000);
    assert.equal(ends.watcher.lost, 'east');
    ends.east = new End('east', version);
    await ends.watcher.says('', 10_000);
  });

  test('a gateway that is cut off is lost within a second, and is back when it is there again', async () => {
    await cable('west', 'down');
    const afterMs = await ends.watcher.says('west', 2_000);
    assert.ok(afterMs < 1_000, `${afterMs} ms`);
    await sleep(1_000);
    assert.equal(ends.watcher.lost, 'west');
    await cable('west', 'up');
  });

  test('an address that goes (as with Open vSwitch, whose bridge had it) is a loss, and one that comes back is none', async () => {
    await runOk(['ip', '-n', space('east'), 'link', 'set', 'eth0', 'down']);
    const afterMs = await ends.watcher.says('east', 2_000);
    assert.ok(afterMs < 1_000, `${afterMs} ms`);
    await runOk(['ip', '-n', space('east'), 'link', 'set', 'eth0', 'up']);
  });

  test('who is cut off itself loses all, and finds all again', async () => {
    await cable('watcher', 'down');
    await ends.watcher.says('east west', 2_000);
    await cable('watcher', 'up');
  });
}

// They wait most of the time.
describe('liveness', { skip: needsRoot, concurrency: true }, () => {
  for (const version of [4, 6] as const)
    describe(`over IPv${version}, real sockets and kernels`, { concurrency: false }, () => livenessOver(version));
});
