// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCrowd } from '../../src/lab/connection-crowd.ts';
import { sendFrames } from '../../src/lab/spray.ts';
import { type Datacentre, eventually, startDatacentre } from './datacentre.ts';
import { udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { ask, serveAll } from './services.ts';
import { member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** Another tenant, with a workload beside the one that floods, behind a router and an address of its own on the same network outside. */
const beta = (kind: string, name: string, rest: object): Record<string, unknown> => ({
  ...{ kind, tenant: 'beta', name },
  ...rest,
});
const BETA_SNAT = '203.0.113.3';
const betaObjects = (): Record<string, unknown>[] => [
  { kind: 'tenant', name: 'beta' },
  beta('switch', 'net', { subnets: [{ cidr: '10.0.1.0/24' }] }),
  beta('router', 'r', { snat: [{ from: '10.0.1.0/24', to: BETA_SNAT }] }),
  beta('routerPort', 'net', { router: 'r', switch: 'net', addresses: ['10.0.1.1/24'] }),
  beta('routerPort', 'out', {
    ...{ router: 'r', switch: 'provider/public', addresses: [`${BETA_SNAT}/24`], outside: true },
  }),
  beta('port', 'c1', { switch: 'net', addresses: ['10.0.1.11'] }),
];
/** What, why, and how to mend it. */
const SHARE_IS_USED =
  /^router acme\/r: east has its share of the ports of 203\.0\.113\.2, the \d+ that are free are for others: new connections from east are dropped \(no-ports\) until old ones end; give the snat rule more addresses$/;
/** Connections of the other tenant: from before the flood, and begun in it. */
const HELD = 50;
const BEGUN = 100;

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
        ...betaObjects(),
      ],
      workloads: [
        workload('a2', 'east'),
        workload('a3', 'west'),
        workload('b1', 'west'),
        outsideWorkload('o1', 1, 'edge'),
        outsideWorkload('o2', 2, 'east'),
        { name: 'c1', host: 'east', port: 'beta/c1', addresses: ['10.0.1.11/24'], gateways: ['10.0.1.1'] },
      ],
    });
    await serveAll(dc.lab, ['o1', 'o2'], 'tcp/80');
    // Who shares the address has ports of it before the flood begins.
    for (const from of ['a2', 'a3', 'b1', 'c1'])
      await eventually(
        `${from} is answered`,
        20_000,
        async () => (await ask(dc.lab, from, 'tcp', '203.0.113.101', 80)).by === 'o1',
      );
  });
  after(() => dc?.down());

  /** What people are told of routers: now, and as it happened. */
  const told = async (): Promise<{ readonly now: readonly string[]; readonly events: readonly string[] }> => {
    const { problems } = await dc.weft.client.get<{ problems: { text: string }[] }>('/v1/status');
    const { items } = await dc.weft.client.get<{ items: { text: string }[] }>('/v1/events');
    const ofRouters = (some: readonly { readonly text: string }[]): string[] =>
      some.map(({ text }) => text).filter((text) => text.startsWith('router '));
    return { now: ofRouters(problems), events: ofRouters(items) };
  };

  test('a workload that floods one destination leaves ports of the shared address to other hosts, which begin and grow; another tenant beside it is well', async (t) => {
    const held = await startCrowd(dc.lab, {
      ...{ from: 'c1', to: 'o1', address: '203.0.113.101', port: 7101 },
      ...{ connections: HELD, perSecond: 100, intervalMs: 300 },
    });
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
        return (await told()).now.some((text) => SHARE_IS_USED.test(text));
      });
      await eventually('an event says so', 10_000, async () =>
        (await told()).events.some((text) => SHARE_IS_USED.test(text)),
      );
      // As many as stayed free, beside the 512 of west.
      assert.equal((await leased()).east, 32_000);
      for (const from of ['a3', 'b1'])
        assert.equal((await ask(dc.lab, from, 'tcp', '203.0.113.101', 80)).by, 'o1', `${from} during the flood`);
      const begun = await startCrowd(dc.lab, {
        ...{ from: 'c1', to: 'o2', address: '203.0.113.102', port: 7102 },
        ...{ connections: BEGUN, perSecond: 50, intervalMs: 300, openTimeoutMs: 30_000 },
      });
      for (const [crowd, wanted] of [
        [held, HELD],
        [begun, BEGUN],
      ] as const) {
        const { established, failed, died, stalled, troubles, answerMs } = await crowd.stop(30_000);
        t.diagnostic(`the other tenant: ${JSON.stringify({ established, answerMs })}`);
        assert.deepEqual(
          { established, failed, died, stalled, troubles },
          { established: wanted, failed: 0, died: 0, stalled: 0, troubles: [] },
        );
      }
      assert.equal((await ask(dc.lab, 'c1', 'tcp', '203.0.113.101', 80)).seen, BETA_SNAT);
      const { now, events } = await told();
      assert.deepEqual(
        [...now, ...events].filter((text) => !text.startsWith('router acme/r: ')),
        [],
        'nothing is said of the other tenant',
      );
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
