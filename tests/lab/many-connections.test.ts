// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MOST_AT_ONCE } from '../../src/agent/connections/reading.ts';
import type { StatusAnswer } from '../../src/cli/nouns/status.ts';
import { startStream } from '../../src/lab/packet-stream.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import type { ShownConnection } from '../../src/server/routes/flows.ts';
import { type Datacentre, eventually, sleep, startDatacentre } from './datacentre.ts';
import { udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { member, networks, workload } from './tenancy.ts';

/** Of each of so many workloads. Together they are more than a dump of everything may have. */
const CONNECTIONS = 5_000;
const TALKERS = ['a3', 'a4', 'a5', 'a6'];

describe('a host with many connections', { skip: needsRoot }, () => {
  let dc: Datacentre;
  before(async () => {
    const names = ['a1', 'a2', ...TALKERS];
    dc = await startDatacentre({
      ...{ prefix: 'many', hosts: ['east', 'west'] },
      objects: [
        ...networks({ snat: [{ from: '10.0.0.0/16', to: '203.0.113.2' }] }),
        ...[...names, 'b1'].map((name) => member(name)),
      ],
      workloads: [...names.map((name) => workload(name, 'east')), workload('b1', 'west')],
    });
  });
  after(() => dc?.down());

  const flowsOf = (port: string) =>
    dc.weft.client.get<{ items: readonly ShownConnection[] }>('/v1/flows', {
      query: { port, tenant: 'acme', limit: 20_000 },
    });
  const datapath = 'netdev@ovs-netdev';

  test('tells of every one of them, zone by zone; forwarding is held up by one zone at most', async (t) => {
    const { items } = await dc.weft.client.get<{ items: { name: string; mac: string }[] }>('/v1/router-ports');
    const router = items.find(({ name }) => name === 'a')!.mac;
    const talk = async (): Promise<void> => {
      for (const name of TALKERS) {
        const own = { src: dc.ports.get(name)!.mac, dst: router };
        const ends = [`10.0.1.${10 + Number(name[1])}`, '10.0.2.11'] as const;
        const frames = Array.from({ length: CONNECTIONS }, (_, n) => udp(own, ends, [1024 + n, 53]));
        await sendFramesOnce(dc.lab, name, frames, { pps: 5_000 });
      }
      talkedMs = performance.now();
    };
    let talkedMs = 0;
    await talk();
    const count = Number(await dc.lab.switchOf('east').appctl('dpctl/ct-get-nconns', datapath));
    assert.ok(count > MOST_AT_ONCE, `${count} connections: too few to mean anything`);
    const seen = new Map<string, number>();
    await eventually('every connection was told', 90_000, async () => {
      // They last 30 s.
      if (performance.now() - talkedMs > 12_000) await talk();
      for (const name of TALKERS) seen.set(name, Math.max(seen.get(name) ?? 0, (await flowsOf(name)).items.length));
      return TALKERS.every((name) => (seen.get(name) ?? 0) >= CONNECTIONS);
    });
    const expected = `host west: not all connections are told to the flow database: port b1 has ${CONNECTIONS * TALKERS.length}: at most ${MOST_AT_ONCE} of one and 100000 in all are read`;
    // West may have been read while they were still coming.
    const said = await eventually('all of them are counted in one zone', 30_000, async () => {
      // What a busy machine has lost of them comes again.
      if (performance.now() - talkedMs > 12_000) await talk();
      const { problems } = await dc.weft.client.get<StatusAnswer>('/v1/status');
      const texts = problems.flatMap(({ text }) => (text.includes('flow database') ? [text] : []));
      return texts.includes(expected) ? texts : undefined;
    });
    assert.deepEqual(said, [expected], 'what has too many in one zone is left out alone');
    // The same stream while everything is dumped at once, as was done before, and while zones are read.
    if (performance.now() - talkedMs > 12_000) await talk();
    const during = async (port: number, work: () => Promise<void>): Promise<string> => {
      const stream = await startStream(dc.lab, { from: 'a1', to: 'a2', port, pps: 2_000 });
      await sleep(100);
      await work();
      await sleep(100);
      const { sent, lost, longestGapMs } = await stream.stop();
      return `${lost} of ${sent} packets lost, longest gap ${longestGapMs.toFixed(0)} ms`;
    };
    const east = dc.lab.switchOf('east');
    const zones = [
      ...(await east.appctl('dpctl/ct-get-limits', datapath)).matchAll(/zone=(\d+),limit=\d+,count=(\d+)/g),
    ]
      .filter(([, , connections]) => Number(connections) > 0)
      .map(([, zone]) => zone!);
    t.diagnostic(
      `all ${count} at once: ${await during(7000, async () => void (await east.appctl('dpctl/dump-conntrack', '-s', datapath)))}`,
    );
    t.diagnostic(
      `zone by zone: ${await during(7001, async () => {
        for (const zone of zones) {
          await east.appctl('dpctl/dump-conntrack', '-s', datapath, `zone=${zone}`);
          await sleep(50);
        }
      })}`,
    );
  });
});
