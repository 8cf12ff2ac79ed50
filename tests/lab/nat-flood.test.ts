// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sendFrames } from '../../src/lab/spray.ts';
import { type Datacentre, eventually, startDatacentre } from './datacentre.ts';
import { udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { ask, serveAll } from './services.ts';
import { member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** Ports of an address that hosts share, when one of them wants all. */
describe('source translation in a flood', { skip: needsRoot }, () => {
  let dc: Datacentre;

  before(async () => {
    dc = await startDatacentre({
      prefix: 'natf',
      hosts: ['east', 'west', 'edge'],
      objects: [
        ...networks({ snat: [{ from: '10.0.0.0/16', to: '203.0.113.2' }] }),
        ...['a2', 'a3', 'b1'].map((name) => member(name)),
        outsider('o1', 1),
        outsider('o2', 2),
      ],
      workloads: [
        workload('a2', 'east'),
        workload('a3', 'west'),
        workload('b1', 'west'),
        outsideWorkload('o1', 1, 'edge'),
        outsideWorkload('o2', 2, 'east'),
      ],
    });
    await serveAll(dc.lab, ['o1', 'o2'], 'tcp/80');
    // Who shares the address has ports of it before the flood begins.
    for (const from of ['a2', 'a3', 'b1'])
      await eventually(
        `${from} is answered`,
        20_000,
        async () => (await ask(dc.lab, from, 'tcp', '203.0.113.101', 80)).by === 'o1',
      );
  });
  after(() => dc?.down());

  test('a workload that floods one destination leaves ports of the shared address to other hosts, which begin and grow', async () => {
    const { items } = await dc.weft.client.get<{ items: { name: string; mac: string }[] }>('/v1/router-ports');
    const gateway = (of: string): string => items.find(({ name }) => name === of[0])!.mac;
    /** Has so many connections to one port of o2. */
    const begins = (name: string, address: string, count: number) =>
      sendFrames(
        dc.lab,
        name,
        Array.from({ length: count }, (_, n) =>
          udp({ src: dc.ports.get(name)!.mac, dst: gateway(name) }, [address, '203.0.113.102'], [1024 + n, 9]),
        ),
        { pps: 6_000, loop: 'forever' },
      );
    const leased = async (): Promise<Record<string, number>> => {
      const { status } = await dc.weft.client.get<{
        status: { leases: { address: string; host: string; ports: number }[] };
      }>('/v1/routers/r?tenant=acme');
      const some = status.leases.filter(({ address }) => address === '203.0.113.2');
      return Object.fromEntries(some.map(({ host, ports }) => [host, ports]));
    };
    const flood = await begins('a2', '10.0.1.12', 60_000);
    try {
      await eventually('the flood has its share', 40_000, async () => {
        const { problems } = await dc.weft.client.get<{ problems: { text: string }[] }>('/v1/status');
        return problems.some(({ text }) => /^router acme\/r: east has its share of the ports of 203/.test(text));
      });
      // As many as stayed free, beside the 512 of west.
      assert.equal((await leased()).east, 32_000);
      for (const from of ['a3', 'b1'])
        assert.equal((await ask(dc.lab, from, 'tcp', '203.0.113.101', 80)).by, 'o1', `${from} during the flood`);
      const before = (await leased()).west!;
      const more = await begins('b1', '10.0.2.11', 2 * before);
      await eventually('another host grows', 10_000, async () => (await leased()).west! > before);
      await more.stop();
    } finally {
      await flood.stop();
    }
    for (const from of ['a3', 'b1'])
      assert.equal((await ask(dc.lab, from, 'tcp', '203.0.113.101', 80)).by, 'o1', `${from} after it`);
    await eventually('nothing is wrong any more', 20_000, async () => {
      const { problems } = await dc.weft.client.get<{ problems: { text: string }[] }>('/v1/status');
      return problems.every(({ text }) => !text.includes('203.0.113.2'));
    });
  });
});
