import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { SpeakerPlan } from '../../src/agent/bgp/plan.ts';
import { SpeakerLink } from '../../src/agent/bgp/speaker-link.ts';
import { namespaceOf } from '../../src/agent/bgp/speaker-place.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { listNamespaces } from '../../src/base/namespaces.ts';
import { NamespaceDaemons } from '../../src/frr/daemons.ts';
import type { BgpPeer } from '../../src/model/objects.ts';
import type { ReportedSession } from '../../src/server/protocol.ts';
import { eventually, sleep } from '../lab/datacentre.ts';

const missing =
  process.getuid?.() !== 0 ? 'needs root' : existsSync('/usr/lib/frr/bgpd') ? false : 'needs FRR (package frr)';

const PREFIX = `weft-sl${process.pid}-`;

/** The speaker of router `n`, with so many peers; nobody answers as these. */
function planOf(n: number, peers: number): SpeakerPlan {
  const port = `port-${process.pid}-${n}`;
  const peer = (i: number): Partial<BgpPeer> => ({
    ...{ id: `peer-${n}-${i}`, name: `peer-${n}-${i}`, routerPort: port, address: `10.9.${n}.${10 + i}` },
    ...{ asn: 65_100 + i, keepaliveS: 3, holdS: 9, maxPrefixes: 100, adminUp: true, communities: [], bfd: false },
  });
  return {
    ...{ router: `router-${n}`, asn: 65_001, routerId: `10.9.${n}.2`, routes: [], bfd: [], leftOut: [] },
    ...{ isLeaving: false, networks: [] },
    ports: [{ id: port, mac: `02:99:00:00:00:0${n}`, addresses: [`10.9.${n}.2/24`] }],
    peers: Array.from({ length: peers }, (_, i) => peer(i) as BgpPeer),
  };
}

/** Two routers of one gateway, each with FRR of its own. */
describe('speakers of one gateway', { skip: missing, timeout: 120_000 }, () => {
  const stop = new AbortController();
  let link: SpeakerLink;
  let running: Promise<void>;
  let sessions: readonly ReportedSession[] = [];
  let problems: readonly string[] = [];
  /** Routers of which everything was told. */
  const whole: string[] = [];
  const states = (): string =>
    sessions
      .map(({ peer, problem }) => `${peer}${problem === 'bgpd does not run yet' ? '!' : ''}`)
      .sort()
      .join(' ');
  const tells = (text: string, withinMs: number): Promise<unknown> =>
    eventually(text, withinMs, async () => (states() === text ? true : undefined));
  const bgpdOf = (n: number): number =>
    new NamespaceDaemons({ namespace: namespaceOf(PREFIX, `router-${n}`) }).pidOf('bgpd')!;
  before(() => {
    link = new SpeakerLink({
      ...{ namespacePrefix: PREFIX, datapathType: 'system', setSpeakerPorts: async () => false },
      ...{ clock: systemClock, log: silentLog, signal: stop.signal },
      emit: (event) => {
        if (event.kind === 'sessions') sessions = event.sessions;
        if (event.kind === 'speakerProblems') problems = event.problems;
        if (event.kind === 'learnedRoutes' && event.isAll) whole.push(event.router);
      },
    });
    running = link.run();
  });
  after(async () => {
    link?.speak([]);
    await eventually('nothing is left', 30_000, async () => listNamespaces(PREFIX).length === 0 || undefined);
    stop.abort();
    await running;
  });

  test('one whose bgpd does not answer holds up no other, and catches up', async () => {
    link.speak([planOf(1, 1), planOf(2, 1)]);
    await tells('peer-1-0 peer-2-0', 30_000);
    const pid = bgpdOf(1);
    process.kill(pid, 'SIGSTOP');
    try {
      link.speak([planOf(1, 2), planOf(2, 2)]);
      // Less than it takes to give up waiting for an answer.
      await tells('peer-1-0 peer-2-0 peer-2-1', 9_000);
      link.speak([planOf(1, 2), planOf(2, 3)]);
      await tells('peer-1-0 peer-2-0 peer-2-1 peer-2-2', 9_000);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await tells('peer-1-0 peer-1-1 peer-2-0 peer-2-1 peer-2-2', 20_000);
    assert.deepEqual(problems, []);
    assert.equal(bgpdOf(1), pid, 'the same daemon');
  });

  test('one that was left out for a moment tells again what it knows', async () => {
    const both = [planOf(1, 2), planOf(2, 3)] as const;
    await eventually('told at first', 20_000, async () => whole.includes('router-2'));
    whole.length = 0;
    link.speak([both[0], planOf(2, 2)]); // takes a while
    link.speak([both[0]]);
    link.speak(both);
    await eventually('told again', 10_000, async () => whole.includes('router-2'));
    assert.deepEqual(whole, ['router-2']);
    await tells('peer-1-0 peer-1-1 peer-2-0 peer-2-1 peer-2-2', 10_000);
  });

  test('one that ends, whose bgpd does not answer, holds up no other, and goes', async () => {
    const pid = bgpdOf(1);
    process.kill(pid, 'SIGSTOP');
    link.speak([planOf(1, 3), planOf(2, 3)]); // bgpd of the first is asked, and does not say anything
    await sleep(300);
    link.speak([planOf(2, 1)]);
    await tells('peer-2-0', 9_000);
    await eventually('it is gone', 45_000, async () => listNamespaces(PREFIX).length === 1);
    // Whoever is to reap it may take a while.
    assert.ok(!existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/cmdline`, 'utf8') === '', 'killed at last');
    link.speak([planOf(1, 1), planOf(2, 1)]);
    await tells('peer-1-0 peer-2-0', 20_000);
  });
});
