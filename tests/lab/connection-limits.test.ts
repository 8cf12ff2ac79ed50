// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ConnectionCrowd, startCrowd } from '../../src/lab/connection-crowd.ts';
import { applyEverywhere, type Datacentre, eventually, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { ask, serve } from './services.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** How many connections public addresses may have at a time (docs/design/gateways.md, §8): clients outside, o1 and o2, on another host. */
const FLOATING = '203.0.113.11';
const NEIGHBOUR = '203.0.113.12';
const VIP = '203.0.113.50';
const MOST = 20;
/** A reading each five seconds; the rest is for machines that have little time, where agents rest twenty times as long as one took. */
const DELAY_MS = 40_000;

const limited = { inboundLimit: { connections: MOST } };
const floating = (more: object = {}) =>
  acme('floatingAddress', 'f1', { address: FLOATING, router: 'r', port: 'a1', ...more });
const router = (more: object = {}) =>
  networks({ snat: [{ from: '10.0.0.0/16', to: '203.0.113.2' }], ...more }).find(({ kind }) => kind === 'router')!;
const tenant = (more: object = {}) => ({ kind: 'tenant', name: 'acme', ...more });
const balancer = (more: object = {}) =>
  acme('loadBalancer', 'vip', {
    ...{ address: VIP, router: 'r', listeners: [7100, 80].map((port) => ({ protocol: 'tcp', port })) },
    ...{ members: [{ port: 'b1' }, { port: 'b2' }], ...more },
  });

describe('a limit of connections at a time', { skip: needsRoot }, () => {
  let dc: Datacentre;
  before(async () => {
    dc = await startDatacentre({
      prefix: 'cli',
      hosts: ['east', 'west'],
      objects: [
        ...networks({ snat: [{ from: '10.0.0.0/16', to: '203.0.113.2' }] }),
        ...['a1', 'a2', 'b1', 'b2'].map((name) => member(name)),
        ...[floating(), acme('floatingAddress', 'f2', { address: NEIGHBOUR, router: 'r', port: 'a2' }), balancer()],
        ...[outsider('o1', 1), outsider('o2', 2)],
      ],
      workloads: [
        ...['a1', 'a2', 'b1', 'b2'].map((name) => workload(name, 'east')),
        ...[outsideWorkload('o1', 1, 'west'), outsideWorkload('o2', 2, 'west')],
      ],
    });
    for (const name of ['a1', 'a2', 'b1', 'b2', 'o1']) await serve(dc.lab, name, 'tcp', 80);
    await eventually(
      'the first answer',
      20_000,
      async () => (await ask(dc.lab, 'o1', 'tcp', FLOATING, 80)).by === 'a1',
    );
    await ask(dc.lab, 'a1', 'tcp', '203.0.113.101', 80);
  });
  after(() => dc?.down());

  const apply = (...changed: object[]): Promise<void> => applyEverywhere(dc, changed);
  const problems = async (): Promise<readonly string[]> => {
    const { problems } = await dc.weft.client.get<{ problems: { text: string }[] }>('/v1/status');
    return problems.map(({ text }) => text).filter((text) => text.includes('as many connections here as it may have'));
  };
  const refused = async (about: string): Promise<number> => {
    const { items } = await dc.weft.client.get<{ items: { reason: string; about?: string; packets: number }[] }>(
      '/v1/flows/drops',
    );
    return items
      .filter((item) => item.reason === 'connection-limit' && item.about?.includes(about))
      .reduce((sum, { packets }) => sum + packets, 0);
  };
  const byFrom = async (from: string, address: string): Promise<string | undefined> =>
    (await ask(dc.lab, from, 'tcp', address, 80)).by;

  /** As many as there may be; returns when the next one is refused, and how long that took. */
  async function fill(address: string, to: readonly string[]): Promise<{ crowd: ConnectionCrowd; tookMs: number }> {
    const crowd = await startCrowd(dc.lab, {
      ...{ from: 'o1', to, address, connections: MOST, perSecond: 200, intervalMs: 500, stallMs: 5000 },
    });
    const opened = performance.now();
    await eventually('a new connection is refused', DELAY_MS, async () => (await byFrom('o2', address)) === undefined);
    return { crowd, tookMs: Math.round(performance.now() - opened) };
  }

  test('refuses new ones to a floating address beyond it until some end, and nothing else', async (t) => {
    await apply(floating(limited));
    const { crowd, tookMs } = await fill(FLOATING, ['a1']);
    const many = await Promise.all(Array.from({ length: 10 }, () => ask(dc.lab, 'o2', 'tcp', FLOATING, 80)));
    assert.deepEqual(
      many.map(({ why }) => why),
      many.map(() => 'timeout'),
      'all beyond the limit are refused',
    );
    const known = await crowd.report('answered', 10_000);
    assert.deepEqual(
      [known.established, known.died, known.stalled, known.wrong],
      [MOST, 0, 0, 0],
      'those before go on',
    );
    assert.equal(await byFrom('o2', NEIGHBOUR), 'a2', 'another address of the router');
    assert.equal(await byFrom('a1', '203.0.113.101'), 'o1', 'what the workload itself begins');
    await eventually('weft status says so', 10_000, async () =>
      (await problems()).some((text) => text.includes(`floating address ${FLOATING}`) && text.includes(`(${MOST})`)),
    );
    await eventually('drops are told', 20_000, async () => (await refused('f1')) >= many.length);
    const trace = JSON.stringify(
      await dc.weft.client.post<object>('/v1/trace', {
        port: 'provider/o2',
        to: FLOATING,
        protocol: 'tcp/80',
      }),
    );
    assert.match(trace, /connection-limit/);
    await crowd.stop();
    const ended = performance.now();
    await eventually('new ones are let in', DELAY_MS, async () => (await byFrom('o2', FLOATING)) === 'a1');
    t.diagnostic(JSON.stringify({ tookMs, letInMs: Math.round(performance.now() - ended) }));
    const { items } = await dc.weft.client.get<{ items: { text: string }[] }>('/v1/events');
    assert.ok(items.some(({ text }) => text.includes(`floating address ${FLOATING} has as many connections`)));
    await apply(floating());
  });

  test('of a load balancer counts the connections of all its members here', async (t) => {
    await apply(balancer(limited));
    const { crowd, tookMs } = await fill(VIP, ['b1', 'b2']);
    const known = await crowd.report('answered', 10_000);
    assert.deepEqual([known.established, known.died, known.stalled, known.wrong], [MOST, 0, 0, 0]);
    assert.ok(
      Object.values(known.at).every((count) => count > 0 && count < MOST),
      JSON.stringify(known.at),
    );
    assert.equal(await byFrom('o2', FLOATING), 'a1');
    assert.ok(['b1', 'b2'].includes((await byFrom('a1', VIP)) ?? ''), 'clients inside');
    await eventually('drops are told', 20_000, async () => (await refused('vip')) > 0);
    await apply(balancer());
    const by = await eventually('without a limit all are let in', DELAY_MS, () => byFrom('o2', VIP));
    t.diagnostic(JSON.stringify({ tookMs, by }));
    await crowd.stop();
  });

  for (const [whose, limit, without] of [
    ['a router', router(limited), router()],
    ['a tenant', tenant(limited), tenant()],
  ] as const)
    test(`of ${whose} counts those of all its addresses, and refuses new ones to each of them`, async (t) => {
      await apply(limit);
      const crowds: ConnectionCrowd[] = [];
      for (const [address, to] of [
        [FLOATING, ['a1']],
        [NEIGHBOUR, ['a2']],
        [VIP, ['b1', 'b2']],
      ] as const)
        crowds.push(
          await startCrowd(dc.lab, {
            ...{
              from: 'o1',
              to: [...to],
              address,
              connections: MOST / 2,
              perSecond: 200,
              intervalMs: 500,
              stallMs: 5000,
            },
          }),
        );
      const opened = performance.now();
      for (const address of [FLOATING, NEIGHBOUR, VIP])
        await eventually(`new ones to ${address} are refused`, DELAY_MS, async () => !(await byFrom('o2', address)));
      t.diagnostic(JSON.stringify({ tookMs: Math.round(performance.now() - opened) }));
      for (const crowd of crowds) {
        const known = await crowd.report('answered', 10_000);
        assert.deepEqual([known.established, known.died, known.stalled, known.wrong], [MOST / 2, 0, 0, 0]);
      }
      assert.equal(await byFrom('a1', '203.0.113.101'), 'o1', 'what a workload itself begins');
      assert.equal(await byFrom('a1', '10.0.2.11'), 'b1', 'what stays inside');
      await eventually('weft status says so', 10_000, async () =>
        (await problems()).some((text) => text.includes(whose.split(' ')[1]!) && text.includes(`(${MOST})`)),
      );
      // Of three crowds two go: there is room.
      await crowds.pop()!.stop();
      await crowds.pop()!.stop();
      for (const [address, who] of [
        [FLOATING, /^a1$/],
        [NEIGHBOUR, /^a2$/],
        [VIP, /^b[12]$/],
      ] as const)
        await eventually(`new ones to ${address}`, DELAY_MS, async () => who.test((await byFrom('o2', address)) ?? ''));
      await crowds.pop()!.stop();
      await apply(without);
    });
});
