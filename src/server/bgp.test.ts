import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import type { LearnedHop, ScopeRecord } from '../model/objects.ts';
import { learnedRecords } from '../model/packed-routes.ts';
import type { BgpRoute, BgpRouter } from './bgp.ts';
import { type Client, createClient } from './client.ts';
import type { WeftEvent } from './events.ts';
import { MOST_BLOCKS_IN_REPORT, type Report, type ReportsAnswer, type WatchMessage } from './protocol.ts';
import { type RunningServer, startServer } from './server.ts';

// A provider with two gateways, and a tenant behind its shared switch (docs/design/gateways.md).

const NETWORK = [
  { kind: 'tenant', name: 'provider' },
  { kind: 'tenant', name: 'acme' },
  { kind: 'tunnelZone', name: 'dc' },
  ...['gw1', 'gw2', 'h1'].map((name, n) => ({ kind: 'host', name, zone: 'dc', tunnelAddress: `10.9.0.${n + 1}` })),
  { kind: 'switch', tenant: 'provider', name: 'public', shared: true, subnets: [{ cidr: '203.0.113.0/24' }] },
  { kind: 'router', tenant: 'provider', name: 'core', bgp: { asn: 64512, maxRoutes: 20_000 } },
  {
    ...{ kind: 'routerPort', tenant: 'provider', router: 'core', name: 'public' },
    ...{ switch: 'public', addresses: ['203.0.113.1/24'] },
  },
  ...[1, 2].flatMap((n) => [
    { kind: 'switch', tenant: 'provider', name: `up-${n}` },
    { kind: 'port', tenant: 'provider', name: `wire-${n}`, switch: `up-${n}`, portSecurity: false, host: `gw${n}` },
    {
      ...{ kind: 'routerPort', tenant: 'provider', router: 'core', name: `up-${n}` },
      ...{ switch: `up-${n}`, addresses: [`192.0.2.${8 * n + 2}/29`] },
    },
    {
      ...{ kind: 'bgpPeer', tenant: 'provider', router: 'core', name: `peer-${n}`, routerPort: `core/up-${n}` },
      ...{ address: `192.0.2.${8 * n + 1}`, asn: 64513, password: 'hush-hush' },
    },
  ]),
  { kind: 'switch', tenant: 'acme', name: 'lan', subnets: [{ cidr: '10.0.0.0/24' }] },
  { kind: 'port', tenant: 'acme', name: 'web', switch: 'lan', host: 'h1', addresses: ['10.0.0.5'] },
  { kind: 'router', tenant: 'acme', name: 'r', snat: [{ from: '10.0.0.0/24', to: '203.0.113.7' }] },
  { kind: 'routerPort', tenant: 'acme', router: 'r', name: 'lan', switch: 'lan', addresses: ['10.0.0.1/24'] },
  {
    ...{ kind: 'routerPort', tenant: 'acme', router: 'r', name: 'out', outside: true },
    ...{ switch: 'provider/public', addresses: ['203.0.113.2/24'] },
  },
  { kind: 'floatingAddress', tenant: 'acme', name: 'f', router: 'r', port: 'web', address: '203.0.113.50' },
];

let directory: string;
let server: RunningServer;
let client: Client;
const agents = new Map<string, Agent>();

/** What an agent was told. */
class Agent {
  readonly records = new Map<string, ScopeRecord>();
  readonly ended: Promise<void>;
  constructor(name: string) {
    const stream = client.stream<WatchMessage>('POST', `/v1/hosts/${name}/watch`, { body: { have: {} } });
    this.ended = (async () => {
      for await (const message of stream) {
        if (message.type === 'put') this.records.set(`${message.record.kind}/${message.record.id}`, message.record);
        if (message.type === 'delete' || message.type === 'leave') this.records.delete(`${message.kind}/${message.id}`);
      }
    })().catch(() => {});
  }
  has(kind: ScopeRecord['kind']): ScopeRecord[] {
    return [...this.records.values()].filter((record) => record.kind === kind);
  }
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let n = 0; n < 500; n++) {
    if (isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(what);
}

const report = (host: string, ...reports: readonly Report[]): Promise<ReportsAnswer> =>
  client.post<ReportsAnswer>(`/v1/hosts/${host}/reports`, { reports });
let core: string;
const ports = new Map<string, string>();
interface Told {
  readonly to: string;
  readonly via: readonly LearnedHop[];
}
const route = (to: string, address: string, port: string): Told => ({
  to,
  via: [{ address, routerPort: ports.get(port)!, weight: 1 }],
});
/** As a gateway says it. */
function packed(...routes: readonly Told[]) {
  const records = learnedRecords(core, 'any', routes);
  return {
    sets: records.flatMap((each) =>
      each.kind === 'learnedSet' ? [{ router: core, set: each.set, via: each.via }] : [],
    ),
    blocks: records.flatMap((each) => (each.kind === 'learnedRoutes' ? [{ ...each }] : [])),
  };
}
const change = (...routes: readonly Told[]): Report => ({
  ...{ type: 'learnedRoutes', ...packed(...routes), goneSets: [], goneBlocks: [] },
});
/** How many routes this host knows. */
const known = (host: string): number =>
  agents
    .get(host)!
    .has('learnedRoutes')
    .reduce((sum, each) => sum + (each.kind === 'learnedRoutes' ? each.count : 0), 0);
const many = (count: number, from = 0): Told[] =>
  Array.from({ length: count }, (_, n) => route(`20.${(from + n) >> 8}.${(from + n) & 255}.0/24`, '192.0.2.9', 'up-1'));

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'weft-bgp-'));
  server = await startServer({ stateDir: directory, listen: [`unix:${join(directory, 'weft.sock')}`], log: silentLog });
  client = createClient({ url: server.urls[0]! });
  await client.post('/v1/apply', { objects: NETWORK });
  core = (await client.get<{ id: string }>('/v1/routers/core')).id;
  for (const name of ['up-1', 'up-2'])
    ports.set(name, (await client.get<{ id: string }>(`/v1/router-ports/${encodeURIComponent(`core/${name}`)}`)).id);
  for (const [host, port] of [
    ['gw1', 'wire-1'],
    ['gw2', 'wire-2'],
    ['h1', 'web'],
  ] as const) {
    const { id } = await client.get<{ id: string }>(`/v1/ports/${port}`);
    await report(host, { type: 'claims', claims: [{ port: id, interface: port }] });
    agents.set(host, new Agent(host));
  }
});
after(async () => {
  client.close();
  await server.close();
  await Promise.all([...agents.values()].map(({ ended }) => ended));
  rmSync(directory, { recursive: true });
});

test('a password is written and never shown; only the gateway of the session has it', async () => {
  const shown = await client.get<Record<string, unknown>>('/v1/bgp-peers/peer-1');
  assert.equal(shown.password, '***');
  const { items } = await client.get<{ items: { password: string }[] }>('/v1/bgp-peers');
  assert.deepEqual(
    items.map(({ password }) => password),
    ['***', '***'],
  );
  await until('the gateway has its peer', () => agents.get('gw1')!.has('bgpPeer').length === 1);
  assert.match(JSON.stringify(agents.get('gw1')!.has('bgpPeer')), /hush-hush/);
  assert.match(JSON.stringify(agents.get('gw1')!.has('bgpPeer')), /192\.0\.2\.9/);
  assert.deepEqual(agents.get('h1')!.has('bgpPeer'), []);
});

test('*** leaves a password as it is, another is only said to be another, none takes it away', async () => {
  const { status: _, ...shown } = await client.get<Record<string, unknown>>('/v1/bgp-peers/peer-2', {
    query: { names: true },
  });
  await client.request('PUT', '/v1/bgp-peers/peer-2', { body: { ...shown, holdS: 30 } });
  const known = (): string => JSON.stringify(agents.get('gw2')!.has('bgpPeer'));
  await until('the hold time is there', () => known().includes('"holdS":30'));
  assert.match(known(), /hush-hush/);
  const plan = await client.post<object>('/v1/apply', { objects: [{ ...shown, password: 'louder' }], dryRun: true });
  assert.doesNotMatch(JSON.stringify(plan), /hush-hush|louder/);
  assert.match(JSON.stringify(plan), /"path":"password","before":"\*\*\*","after":"\*\*\*"/);
  const made = client.post('/v1/bgp-peers', { ...shown, id: undefined, name: 'new', address: '192.0.2.20' });
  await assert.rejects(made, (error) => error instanceof WeftError && /none is known/.test(error.message));
  await client.request('PATCH', '/v1/bgp-peers/peer-2', { body: { password: null } });
  await until('the password is gone', () => !known().includes('hush-hush'));
});

test('what a gateway learned is in scope where the router is; what others tell is refused', async () => {
  await report('gw1', { type: 'learnedRoutesAll', ...packed(route('0.0.0.0/0', '192.0.2.9', 'up-1')) });
  await report('gw2', change(route('0.0.0.0/0', '192.0.2.17', 'up-2')));
  // The router's inside port is on the shared switch: what h1 sends there is routed on h1.
  for (const host of ['gw1', 'gw2', 'h1']) {
    await until(`${host} has both`, () => known(host) === 2);
    assert.equal(agents.get(host)!.has('learnedSet').length, 2);
  }
  const { refused } = await report('h1', change(route('10.0.0.0/8', '192.0.2.9', 'up-1')));
  assert.deepEqual(
    refused.map(({ index, code }) => [index, code]),
    [[0, 'no-port']],
  );
  const { blocks } = packed(route('0.0.0.0/0', '192.0.2.17', 'up-2'));
  const nothing = { type: 'learnedRoutes', sets: [], blocks: [], goneSets: [], goneBlocks: [] } as const;
  await report('gw2', { ...nothing, goneSets: [{ router: core, set: '1' }], goneBlocks: blocks });
  await until('one is gone', () => known('gw1') === 1 && agents.get('gw1')!.has('learnedSet').length === 1);
});

test('next hops whose sessions ended are told of their set, and told back', async () => {
  const { sets } = packed(route('0.0.0.0/0', '192.0.2.9', 'up-1'));
  const nothing = { type: 'learnedRoutes', sets: [], blocks: [], goneSets: [], goneBlocks: [] } as const;
  const routes = async (): Promise<readonly BgpRoute[]> =>
    (await client.get<{ items: BgpRoute[] }>('/v1/bgp/routes', { query: { router: 'core' } })).items;
  await report('gw1', { ...nothing, sets: [{ ...sets[0]!, ended: ['192.0.2.9'] }] });
  await until('h1 knows', () => JSON.stringify(agents.get('h1')!.has('learnedSet')).includes('ended'));
  assert.match((await routes())[0]!.unused!, /the session that it came by ended/);
  await report('gw1', { ...nothing, sets });
  await until('h1 knows', () => !JSON.stringify(agents.get('h1')!.has('learnedSet')).includes('ended'));
  assert.equal((await routes())[0]!.unused, undefined);
});

test('a list of all comes in parts; what none of them names goes with the last', async () => {
  const { sets, blocks } = packed(...many(3000));
  const first = blocks.slice(0, MOST_BLOCKS_IN_REPORT);
  await report('gw1', { type: 'learnedRoutesAll', sets, blocks: first, isMore: true });
  const some = first.reduce((sum, { count }) => sum + count, 0);
  await until('the first part is there', () => known('gw2') >= some && known('gw2') <= some + 1);
  for (let at = MOST_BLOCKS_IN_REPORT; at < blocks.length; at += MOST_BLOCKS_IN_REPORT) {
    const isMore = at + MOST_BLOCKS_IN_REPORT < blocks.length;
    const part = blocks.slice(at, at + MOST_BLOCKS_IN_REPORT);
    await report('gw1', { type: 'learnedRoutesAll', sets: [], blocks: part, isMore });
  }
  await until('all are there, and the default route is gone', () => known('gw2') === 3000);
  const refusedIs = (what: Report): Promise<void> =>
    assert.rejects(report('gw1', what), (error) => error instanceof WeftError && error.code === 'invalid');
  await refusedIs({ type: 'learnedRoutesAll', sets, blocks: blocks.slice(0, MOST_BLOCKS_IN_REPORT + 1) });
  for (const v4 of ['IQ==', 'GAoAAA', 'GAoA', '!', 'CAoK'])
    await refusedIs({
      ...change(),
      blocks: [{ router: core, block: '00', routes: [{ set: '1', v4 }], count: 1 }],
    } as Report);
});

test('more routes than the router uses are left out, and somebody is told', async () => {
  const tell = async (routes: readonly Told[]): Promise<void> => {
    const { sets, blocks } = packed(...routes);
    for (let at = 0; at < blocks.length; at += MOST_BLOCKS_IN_REPORT)
      await report('gw1', { ...change(), sets, blocks: blocks.slice(at, at + MOST_BLOCKS_IN_REPORT) } as Report);
  };
  await tell(many(25_000));
  await until('20,000 are there', () => known('gw2') === 20_000);
  const { items } = await client.get<{ items: WeftEvent[] }>('/v1/events', { query: { id: core } });
  assert.match(items.at(-1)!.text, /router core learned more than 20000 routes at gw1; further ones are not used/);
  await tell(many(20_000, 5_000));
  await tell(many(20_000, 5_000));
  const last = async (): Promise<readonly BgpRoute[]> =>
    (await client.get<{ items: BgpRoute[] }>('/v1/bgp/routes', { query: { router: 'core', to: '20.97.167.0/24' } }))
      .items;
  assert.equal((await last()).length, 1);
  await until('all of the others', () => known('gw2') === 20_000);
});

test('people see peers, what is advertised, and why a route is not used', async () => {
  const peer = await client.get<{ id: string }>('/v1/bgp-peers/peer-1');
  const session = { peer: peer.id, state: 'established', sinceMs: 1, accepted: 20_000, refused: 1, sent: 2 };
  await report('gw1', { type: 'bgp', peers: [session] });
  const { routers } = await client.get<{ routers: BgpRouter[] }>('/v1/bgp');
  const [shown] = routers;
  assert.deepEqual(
    [routers.length, shown?.asn, shown?.routerId, shown?.gateways],
    [1, 64512, undefined, ['gw1', 'gw2']],
  );
  assert.deepEqual(
    shown!.peers.map(({ name, state, sent }) => [name, state, sent]),
    [
      ['peer-1', 'established', 2],
      ['peer-2', 'none', 0],
    ],
  );
  assert.deepEqual(
    shown!.advertised.map(({ network, why }) => `${network} ${why}`),
    ['203.0.113.50/32 floating', '203.0.113.7/32 snat'],
  );
  await report('gw2', {
    type: 'learnedRoutesAll',
    ...packed(route('203.0.113.0/24', '192.0.2.17', 'up-2'), route('10.0.0.0/8', '172.16.0.1', 'up-2')),
  });
  const unused = async (to: string): Promise<string | undefined> =>
    (await client.get<{ items: BgpRoute[] }>('/v1/bgp/routes', { query: { router: 'core', to } })).items[0]!.unused;
  assert.match((await unused('203.0.113.0/24'))!, /routerPort provider\/core\/public is in this network/);
  assert.match((await unused('10.0.0.0/8'))!, /no network of the router holds its next hop/);
  assert.equal(await unused('20.30.0.0/24'), undefined);
});

test('a default route that a peer tells and may not is an event, once', async () => {
  const { id } = await client.get<{ id: string }>('/v1/bgp-peers/peer-1');
  const session = { peer: id, state: 'established', sinceMs: 1, accepted: 2, sent: 2 };
  const texts = async (): Promise<readonly string[]> =>
    (await client.get<{ items: WeftEvent[] }>('/v1/events', { query: { id } })).items.map(({ text }) => text);
  await report('gw1', { type: 'bgp', peers: [{ ...session, refused: 3 }] });
  assert.doesNotMatch((await texts()).join(), /default route/);
  for (const refused of [4, 5])
    await report('gw1', { type: 'bgp', peers: [{ ...session, refused, refusesDefault: true }] });
  assert.deepEqual(
    (await texts()).filter((text) => text.includes('default route')),
    ['provider/core/peer-1 (192.0.2.9) tells a default route, which its accept refuses, at gw1'],
  );
  const { routers } = await client.get<{ routers: BgpRouter[] }>('/v1/bgp');
  const [shown] = routers[0]!.peers[0]!.sessions;
  assert.deepEqual([shown?.accepted, shown?.refused], [2, 5]);
});

test('the status names sessions that are not up, and says why; of a drained gateway only where it is the last', async () => {
  const bgpTexts = async (): Promise<readonly string[]> =>
    (await client.get<{ problems: { text: string }[] }>('/v1/status')).problems
      .map(({ text }) => text)
      .filter((text) => /^(bgpPeer|router) /.test(text));
  assert.deepEqual(await bgpTexts(), ['bgpPeer provider/core/peer-2: no host runs the session']);
  const { id } = await client.get<{ id: string }>('/v1/bgp-peers/peer-2');
  const session = { peer: id, state: 'active', sinceMs: Date.now() - 5000, accepted: 0, sent: 0 };
  await report('gw2', { type: 'bgp', peers: [{ ...session, problem: 'the peer does not answer' }] });
  assert.match(
    (await bgpTexts()).join(),
    /^bgpPeer provider\/core\/peer-2: active for \d+ s at gw2: the peer does not answer$/,
  );
  await report('gw2', change(route('20.30.0.0/24', '192.0.2.17', 'up-2')));
  await report('gw2', { type: 'bgp', peers: [{ ...session, state: 'established' }] });
  const drain = (host: string, isDrained: boolean): Promise<unknown> =>
    client.request('PATCH', `/v1/hosts/${host}`, { body: { drain: isDrained } });
  await drain('gw1', true);
  assert.deepEqual(await bgpTexts(), []);
  const { hosts } = await client.get<{ hosts: { name: string; drain?: true }[] }>('/v1/status');
  assert.deepEqual(
    hosts.filter((host) => host.drain).map(({ name }) => name),
    ['gw1'],
  );
  const { routers } = await client.get<{ routers: BgpRouter[] }>('/v1/bgp');
  assert.deepEqual(routers[0]!.drained, ['gw1']);
  const { items } = await client.get<{ items: BgpRoute[] }>('/v1/bgp/routes', {
    query: { router: 'core', to: '20.30.0.0/24' },
  });
  assert.deepEqual(items.map(({ host, unused }) => [host, unused]).sort(), [
    ['gw1', 'host gw1 is drained'],
    ['gw2', undefined],
  ]);
  await drain('gw2', true);
  assert.deepEqual(await bgpTexts(), ['router provider/core: all of its gateways are drained: nothing is advertised']);
  for (const host of ['gw1', 'gw2']) await drain(host, false);
});

test("routes by a dead gateway are not used while others are left, nor by a silent next hop; a static route that leads nowhere is in nobody's way", async () => {
  const [gw1, gw2] = [
    await client.get<{ id: string }>('/v1/hosts/gw1'),
    await client.get<{ id: string }>('/v1/hosts/gw2'),
  ];
  const loses = (...lost: readonly string[]): Report => ({
    type: 'health',
    health: {
      ...{ agentVersion: '1', openvswitchVersion: '3.5', datapathType: 'netdev', flows: 0, localPorts: 0 },
      ...{ problems: [], lost },
    },
  });
  const shown = async (to: string): Promise<readonly string[]> =>
    (await client.get<{ items: BgpRoute[] }>('/v1/bgp/routes', { query: { router: 'core', to } })).items
      .map(({ host, unused }) => `${host}: ${unused ?? 'used'}`)
      .sort();
  const both = ['gw1: used', 'gw2: used'];
  const [shared, alone] = ['20.30.0.0/24', '20.40.0.0/24'];
  await report('gw1', change(route(shared, '192.0.2.9', 'up-1'), route(alone, '192.0.2.9', 'up-1')));
  await report('h1', { type: 'claim', port: (await client.get<{ id: string }>('/v1/ports/web')).id, interface: 'tap' });
  assert.deepEqual(await shown(shared), both);
  await report('h1', loses(gw1.id));
  assert.deepEqual(await shown(shared), both, 'gw2 still reaches it');
  await report('gw2', loses(gw1.id));
  assert.deepEqual(await shown(shared), ['gw1: host gw1 does not answer', 'gw2: used']);
  assert.deepEqual(await shown(alone), ['gw1: used'], 'the only one there is stays');
  await client.request('PATCH', '/v1/hosts/gw2', { body: { drain: true } });
  assert.deepEqual(await shown(shared), ['gw1: host gw1 does not answer', 'gw2: used'], 'better than a dead one');
  await client.request('PATCH', '/v1/hosts/gw2', { body: { drain: false } });
  await report('h1', loses(gw1.id, gw2.id));
  assert.deepEqual(await shown(shared), both, 'h1 is the one that is cut off');
  for (const host of ['h1', 'gw2']) await report(host, loses());

  const statics = (...routes: object[]) => client.request('PATCH', '/v1/routers/core', { body: { routes } });
  await statics({ to: shared, via: '192.0.2.17', metric: 5 });
  assert.deepEqual(await shown(shared), ['gw1: a static route has metric 5', 'gw2: a static route has metric 5']);
  await statics({ to: shared, via: '192.0.2.14', metric: 5 });
  const up1 = (adminUp: boolean) => client.request('PATCH', '/v1/router-ports/up-1', { body: { adminUp } });
  await up1(false);
  assert.deepEqual(await shown(shared), ['gw1: no network of the router holds its next hop', 'gw2: used']);
  await up1(true);
  await statics({ to: shared, via: '192.0.2.14', metric: 5, probe: { type: 'ping' } });
  const wire = await client.get<{ id: string }>('/v1/ports/wire-1');
  await report('gw1', { type: 'claim', port: wire.id, interface: 'eth0' });
  const router = (await client.get<{ id: string }>('/v1/routers/core')).id;
  await report('gw1', { type: 'nextHop', router, address: '192.0.2.14', up: false, sinceMs: 1 });
  assert.deepEqual(await shown(shared), both, 'its next hop does not answer');
  await statics({ to: shared, action: 'blackhole', metric: 5 });
  assert.deepEqual(await shown(shared), ['gw1: a static route has metric 5', 'gw2: a static route has metric 5']);
  await statics();
});

test('a router that speaks BGP no more has learned nothing', async () => {
  await client.post('/v1/apply', { objects: [{ kind: 'tenant', name: 'provider' }] });
  for (const n of [1, 2]) await client.request('DELETE', `/v1/bgp-peers/peer-${n}`);
  await client.request('PATCH', '/v1/routers/core', { body: { bgp: null } });
  await until('none is left', () => known('gw1') === 0 && agents.get('gw1')!.has('learnedSet').length === 0);
  const asked = client.get('/v1/bgp', { query: { router: 'core' } });
  await assert.rejects(asked, (error) => error instanceof WeftError && /has no bgp/.test(error.message));
});
