// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Datacentre, eventually, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { ask, serve, serveAll, tally } from './services.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

const STICKY_S = 20;
const VIP = '203.0.113.80';
const VIP6 = '2001:db8:f::80';
/** Agents read their connections every 5 s. */
const READ_MS = 7_000;

/** Clients of a balancer with `stickyS` (docs/design/layer3.md, §8, "Kept clients"): outside behind two gateways, and inside. */
describe('a load balancer that keeps its clients', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const put = async (...members: object[]): Promise<void> => {
    const more = { router: 'r', sticky: 'source', stickyS: STICKY_S, members };
    const objects = [
      acme('loadBalancer', 'web', {
        ...{ address: VIP, ...more },
        listeners: [{ protocol: 'tcp', port: 80, memberPort: 8080 }],
      }),
      acme('loadBalancer', 'names', { address: VIP6, ...more, listeners: [{ protocol: 'udp', port: 53 }] }),
    ];
    await dc.weft.client.post('/v1/apply', { objects });
    await dc.weft.client.get('/v1/sync');
  };
  const kept = async (): Promise<string[]> => {
    const { status } = await dc.weft.client.get<{ status: { kept: { client: string; member: string }[] } }>(
      '/v1/load-balancers/web',
      { query: { tenant: 'acme' } },
    );
    return status.kept.map((each) => `${each.client} ${each.member}`).sort();
  };
  const whoAnswers = async (...clients: string[]): Promise<string[]> =>
    Promise.all(
      clients.map(async (client) => `${client} ${[...(await tally(dc.lab, client, VIP, 80, 6)).keys()].sort().join()}`),
    );
  const [b1, b2] = [{ port: 'b1' }, { port: 'b2' }];
  const drained = { port: 'b1', drain: true };

  before(async () => {
    const outside = [1, 2, 3, 4].map((n) => [`o${n}`, n, n % 2 ? 'east' : 'west'] as const);
    dc = await startDatacentre({
      prefix: 'keep',
      hosts: ['east', 'west'],
      objects: [
        ...networks(),
        ...['a1', 'a2', 'b1', 'b2'].map((name) => member(name)),
        ...outside.map(([name, n]) => outsider(name, n)),
      ],
      workloads: [
        ...[workload('a1', 'west'), workload('a2', 'west'), workload('b1', 'east'), workload('b2', 'west')],
        ...outside.map(([name, n, host]) => outsideWorkload(name, n, host)),
      ],
    });
    await Promise.all(['b1', 'b2'].map((name) => serve(dc.lab, name, 'tcp', 8080)));
    await serveAll(dc.lab, ['b1', 'b2'], 'udp/53');
    await put(b1);
  });
  after(() => dc?.down());

  test('keeps those seen lately at a member that is drained, while others use the new one', async () => {
    assert.deepEqual(await whoAnswers('o1', 'o2', 'a1'), ['o1 b1', 'o2 b1', 'a1 b1']);
    for (const client of ['o2', 'a1']) assert.equal((await ask(dc.lab, client, 'udp', VIP6, 53)).by, 'b1', client);
    await sleep(READ_MS);
    await put(drained, b2);
    await eventually('its clients are kept', 5_000, async () => (await kept()).length === 3);
    assert.deepEqual(await kept(), ['10.0.1.11 b1', '203.0.113.101 b1', '203.0.113.102 b1']);
    assert.deepEqual(await whoAnswers('o1', 'o2', 'a1', 'o3', 'o4', 'a2'), [
      ...['o1 b1', 'o2 b1', 'a1 b1'],
      ...['o3 b2', 'o4 b2', 'a2 b2'],
    ]);
    for (const [client, by] of Object.entries({ o2: 'b1', a1: 'b1', o4: 'b2', a2: 'b2' }))
      assert.equal((await ask(dc.lab, client, 'udp', VIP6, 53)).by, by, `${client} over IPv6`);
  });

  test('keeps them over restarts of agents and server', async () => {
    const agents = ['east', 'west'].map((host) => dc.weft.agent(host));
    await Promise.all(agents.map((agent) => agent.kill()));
    assert.deepEqual(await whoAnswers('o1', 'a1'), ['o1 b1', 'a1 b1']);
    await Promise.all(agents.map((agent) => agent.start()));
    assert.deepEqual(await whoAnswers('o1', 'o2', 'a1'), ['o1 b1', 'o2 b1', 'a1 b1']);
    await dc.weft.server.kill();
    await dc.weft.server.start();
    // A connection that the client kept may be that to the former server.
    await eventually('the server knows them again', 10_000, async () => (await kept().catch(() => [])).length >= 3);
    assert.deepEqual(await whoAnswers('o1', 'o2', 'a1'), ['o1 b1', 'o2 b1', 'a1 b1']);
    assert.deepEqual(await whoAnswers('o3', 'o4', 'a2'), ['o3 b2', 'o4 b2', 'a2 b2']);
  });

  test('keeps each at its own where a member comes back', async () => {
    await sleep(READ_MS);
    await put(b1, b2);
    await sleep(1_000);
    assert.deepEqual(await whoAnswers('o1', 'o2', 'a1', 'o3', 'o4', 'a2'), [
      ...['o1 b1', 'o2 b1', 'a1 b1'],
      ...['o3 b2', 'o4 b2', 'a2 b2'],
    ]);
  });

  test('keeps nobody at a member that fails', async () => {
    await put({ ...b1, adminUp: false }, b2);
    for (const client of ['o1', 'o2', 'a1']) assert.equal((await ask(dc.lab, client, 'tcp', VIP, 80)).by, 'b2', client);
  });

  test('leads those who were not seen for so long by their slots', async () => {
    await sleep(READ_MS);
    await put(b1, { port: 'b2', drain: true });
    await eventually('its clients are kept', 5_000, async () => (await kept()).includes('10.0.1.11 b2'));
    assert.deepEqual(await whoAnswers('a1', 'o2'), ['a1 b2', 'o2 b2']);
    await eventually('nobody is kept', 4 * STICKY_S * 1000, async () => (await kept()).length === 0);
    assert.deepEqual(await whoAnswers('o1', 'o2', 'a1', 'o3'), ['o1 b1', 'o2 b1', 'a1 b1', 'o3 b1']);
  });
});
