// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { countingDrops } from '../../src/lab/machine-drops.ts';
import { startStream } from '../../src/lab/packet-stream.ts';
import { sendFrames } from '../../src/lab/spray.ts';
import { weft } from './command.ts';
import { applyEverywhere, type Datacentre, eventually, pings, sleep, startDatacentre } from './datacentre.ts';
import { udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { startLossless, undropped } from './lossless.ts';
import { ask, serve, unanswered } from './services.ts';
import { acme, member, networks, workload } from './tenancy.ts';

/**
 * DESIGN invariant 10: while the rules of a group go to and fro between two sets, what both allow is never lost and what neither allows never gets through, not even
 * what the source of a rule of the one and the ports of a rule of the other would make together. a1 (east) and a3 (west) send to b1 (west).
 */
const BOTH = 7000;
const BOTH_NEW = 7001;
/** Only a1 by the first set, only a3 by the second: neither has a3 at the first of these and a1 at the second. */
const FIRST_ONLY = 7030;
const SECOND_ONLY = 7031;
const NEITHER = 7011;
const PPS = 5000;
const ADDRESS = { a1: '10.0.1.11', a3: '10.0.1.13', b1: '10.0.2.11' } as const;
type Sender = 'a1' | 'a3';

const SETS: readonly Record<string, unknown>[] = [
  acme('securityGroup', 'web', {
    ingress: [
      { name: 'x', protocol: 'udp', ports: FIRST_ONLY, cidr: `${ADDRESS.a1}/32` },
      { name: 'shared', protocol: 'udp', ports: '7000-7004', cidr: '10.0.1.0/24' },
      { name: 'tcp', protocol: 'tcp', ports: '80', group: 'clients' },
    ],
  }),
  acme('securityGroup', 'web', {
    ingress: [
      { name: 'x', protocol: 'udp', ports: SECOND_ONLY, cidr: `${ADDRESS.a3}/32` },
      { name: 'shared', protocol: 'udp', ports: '6990-7010', group: 'clients' },
      { name: 'tcp', protocol: 'tcp', ports: '1-1023', cidr: '10.0.0.0/16' },
      { name: 'more', protocol: 'udp', ports: '8000-8099', cidr: '10.0.0.0/8' },
    ],
  }),
];

describe('a group whose rules change many times a second', { skip: needsRoot }, () => {
  let dc: Datacentre;
  before(async () => {
    dc = await startDatacentre({
      prefix: 'cg',
      hosts: ['east', 'west'],
      objects: [
        ...networks(),
        acme('securityGroup', 'clients', {}),
        SETS[0]!,
        ...['a1', 'a3'].map((name) => member(name, { groups: ['clients'] })),
        member('b1', { groups: ['web'] }),
        member('b2'),
      ],
      workloads: [workload('a1', 'east'), workload('a3', 'west'), workload('b1', 'west'), workload('b2', 'east')],
    });
    await serve(dc.lab, 'b1', 'tcp', 80);
    for (const from of ['a1', 'a3'] as const) await eventually(from, 10_000, () => pings(dc.lab, from, '10.0.2.12'));
  });
  after(() => dc?.down());

  /** By the API, as fast as it answers. */
  async function byApi(forMs: number): Promise<number> {
    const until = performance.now() + forMs;
    let changes = 0;
    for (; performance.now() < until; changes++)
      await dc.weft.client.post('/v1/apply', { objects: [SETS[(changes + 1) % 2]!] });
    return changes;
  }

  /** By `weft apply`, over and over. */
  async function byCommand(forMs: number): Promise<number> {
    const files = SETS.map((set, n) => {
      const file = join(dc.lab.state.dir, `set-${n}.json`);
      writeFileSync(file, JSON.stringify(set));
      return file;
    });
    const until = performance.now() + forMs;
    let changes = 0;
    for (; performance.now() < until; changes++) {
      const { code, out } = await weft(dc, 'apply', '-f', files[(changes + 1) % 2]!);
      assert.equal(code, 0, out);
    }
    return changes;
  }

  /** Ever other source ports: each packet begins a connection. */
  async function begins(from: Sender, port: number, pps: number) {
    const { items } = await dc.weft.client.get<{ items: { name: string; mac: string }[] }>('/v1/router-ports');
    const ends = { src: dc.ports.get(from)!.mac, dst: items.find(({ name }) => name === 'a')!.mac };
    const frames = Array.from({ length: 16_384 }, (_, i) => udp(ends, [ADDRESS[from], ADDRESS.b1], [20_000 + i, port]));
    return sendFrames(dc.lab, from, frames, { pps, loop: 'forever' });
  }

  /** All streams while the rules change. What is lost of those that both sets allow fails here. */
  async function round(change: (forMs: number) => Promise<number>) {
    await applyEverywhere(dc, [SETS[0]!]);
    const drops = await countingDrops(dc.lab);
    const filter = [BOTH_NEW, NEITHER, FIRST_ONLY, SECOND_ONLY].map((port) => `udp dst port ${port}`).join(' or ');
    const ear = await startCapture(dc.lab, 'b1', 'eth0', { filter, snapLength: 64 });
    const to = { to: 'b1', address: ADDRESS.b1 };
    const allowed = await startLossless(dc.lab, [
      { ...to, from: 'a1', port: BOTH, pps: PPS },
      { ...to, from: 'a3', port: BOTH + 2, pps: PPS / 10 },
    ]);
    const blind = { ...to, pps: 200, warmUpMs: 0 };
    const refused = await Promise.all([
      startStream(dc.lab, { ...blind, from: 'a1', port: NEITHER }),
      startStream(dc.lab, { ...blind, from: 'a3', port: FIRST_ONLY }),
      startStream(dc.lab, { ...blind, from: 'a1', port: SECOND_ONLY }),
    ]);
    const begun = await Promise.all([
      begins('a1', BOTH_NEW, 300),
      begins('a1', SECOND_ONLY, 300),
      begins('a3', FIRST_ONLY, 300),
    ]);
    const changes = await change(5000);
    const [rightly, ...wrongly] = await Promise.all(begun.map((spray) => spray.stop()));
    const reports = await Promise.all(refused.map((stream) => stream.stop()));
    const [fast] = await allowed.stop(`${changes} changes`);
    await sleep(300);
    const heard = await ear.stop();
    const at = (port: number, from: Sender): Promise<number> =>
      heard.count(`udp dst port ${port} and src ${ADDRESS[from]}`);
    return {
      ...{ changes, sent: fast!.sent, pps: fast!.pps, lost: fast!.lost, longestGapMs: fast!.longestGapMs },
      began: { sent: rightly!.sent, heard: await at(BOTH_NEW, 'a1') },
      tried: [...wrongly, ...reports].reduce((sum, { sent }) => sum + sent, 0),
      wrong: {
        streams: reports.map(({ received }) => received),
        begun: [await at(NEITHER, 'a1'), await at(FIRST_ONLY, 'a3'), await at(SECOND_ONLY, 'a1')],
      },
      machine: (await drops()) + heard.dropped,
    };
  }

  for (const [how, change] of Object.entries({ byApi, byCommand }))
    test(`${how}: what both sets allow is never lost, what neither allows never gets through`, async (t) => {
      const seen = await undropped(dc.lab, () => round(change));
      t.diagnostic(JSON.stringify(seen));
      assert.ok(seen.changes >= (how === 'byApi' ? 20 : 3), `${seen.changes} changes`);
      assert.ok(seen.tried > 1000, `${seen.tried} packets that neither allows`);
      assert.deepEqual(seen.wrong, { streams: [0, 0, 0], begun: [0, 0, 0] }, 'what neither allows');
      assert.ok(seen.began.sent > 300 && seen.began.sent - seen.began.heard <= seen.machine, 'what begins by both');
    });

  test('and then one of them holds', async () => {
    for (const [n, from] of [
      [0, 'a1'],
      [1, 'a3'],
    ] as const) {
      await applyEverywhere(dc, [SETS[n]!]);
      assert.equal((await ask(dc.lab, 'a1', 'tcp', ADDRESS.b1, 80)).by, 'b1');
      const port = n === 0 ? FIRST_ONLY : SECOND_ONLY;
      const service = await serve(dc.lab, 'b1', 'udp', port);
      assert.equal((await ask(dc.lab, from, 'udp', ADDRESS.b1, port)).by, 'b1', `${from} by set ${n}`);
      assert.ok(await unanswered(dc.lab, from === 'a1' ? 'a3' : 'a1', 'udp', ADDRESS.b1, port));
      await service.stop();
    }
  });
});
