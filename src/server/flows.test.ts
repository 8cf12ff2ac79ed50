import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Clock, systemClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { type Connection, type ConnectionBatch, type FlowStore, SILENCE_MS } from '../flow-database/flow-store.ts';
import { SqliteFlowStore } from '../flow-database/sqlite.ts';
import { ModelIndex } from '../model/model-index.ts';
import { type Client, createClient } from './client.ts';
import { EventRing, type WeftEvent } from './events.ts';
import { FlowDatabase, type FlowNews } from './flows.ts';
import type { ConnectionsAnswer, ConnectionsReport } from './protocol.ts';
import type { FlowWatchMessage, NatAnswer, ShownConnection } from './routes/flows.ts';
import { type RunningServer, startServer } from './server.ts';

const NETWORK = [
  { kind: 'tenant', name: 'acme' },
  { kind: 'tenant', name: 'other' },
  { kind: 'tunnelZone', name: 'dc' },
  ...['h1', 'h2'].map((name, n) => ({ kind: 'host', name, zone: 'dc', tunnelAddress: `10.9.0.${n + 1}` })),
  { kind: 'switch', tenant: 'acme', name: 'lan', subnets: [{ cidr: '10.0.0.0/24' }] },
  { kind: 'switch', tenant: 'acme', name: 'public', shared: true, subnets: [{ cidr: '203.0.113.0/24' }] },
  { kind: 'switch', tenant: 'other', name: 'lan', subnets: [{ cidr: '10.0.0.0/24' }] },
  {
    ...{ kind: 'securityGroup', tenant: 'acme', name: 'web' },
    ingress: [
      { name: 'https', protocol: 'tcp', ports: '443' },
      { protocol: 'icmp', icmpType: 8 },
    ],
    egress: [{ name: 'db', protocol: 'tcp', ports: '5432', cidr: '10.0.0.0/24' }],
  },
  { kind: 'port', tenant: 'acme', name: 'web', switch: 'lan', addresses: ['10.0.0.5'], groups: ['web'] },
  { kind: 'port', tenant: 'acme', name: 'db', switch: 'lan', addresses: ['10.0.0.6'] },
  { kind: 'port', tenant: 'other', name: 'db', switch: 'lan', addresses: ['10.0.0.6'] },
  { kind: 'router', tenant: 'acme', name: 'r', snat: [{ from: '10.0.0.0/24', to: '203.0.113.2' }] },
  { kind: 'routerPort', tenant: 'acme', router: 'r', name: 'lan', switch: 'lan', addresses: ['10.0.0.1/24'] },
  {
    ...{ kind: 'routerPort', tenant: 'acme', router: 'r', name: 'out', outside: true },
    ...{ switch: 'public', addresses: ['203.0.113.1/24'] },
  },
];

const directory = mkdtempSync(join(tmpdir(), 'weft-flows-'));
let server: RunningServer;
let client: Client;
const ids = new Map<string, string>();

/** The store of the server, and what is to go wrong in it. */
const real = new SqliteFlowStore({ path: ':memory:', nowMs: Date.now() });
let blocked: Promise<void> | undefined;
let failure: WeftError | undefined;
const flowStore: FlowStore = {
  write: async (batch) => {
    await blocked;
    if (failure) throw failure;
    return await real.write(batch);
  },
  list: (filter, limit) => real.list(filter, limit),
  setLease: async (lease) => {
    if (failure) throw failure;
    await real.setLease(lease);
  },
  leases: () => real.leases(),
  whoHeld: (question) => real.whoHeld(question),
  expire: (nowMs) => real.expire(nowMs),
  close: () => real.close(),
};

before(async () => {
  const socket = `unix:${join(directory, 'weft.sock')}`;
  server = await startServer({ stateDir: directory, listen: [socket], log: silentLog, flowStore });
  client = createClient({ url: socket });
  await client.post('/v1/apply', { objects: NETWORK });
  for (const port of ['web', 'db']) {
    const { id } = await client.get<{ id: string }>(`/v1/ports/${port}`, { query: { tenant: 'acme' } });
    ids.set(port, id);
  }
  ids.set('r', (await client.get<{ id: string }>('/v1/routers/r')).id);
  const claims = ['web', 'db'].map((port) => ({ port: ids.get(port)!, interface: port }));
  await client.post('/v1/hosts/h1/reports', { reports: [{ type: 'claims', claims }] });
});
after(async () => {
  client.close();
  await server.close();
  rmSync(directory, { recursive: true });
});

const tell = (host: string, put: readonly Connection[], more: Partial<ConnectionsReport> = {}) =>
  client.post<ConnectionsAnswer>(`/v1/hosts/${host}/connections`, { epoch: 1, put, gone: [], ...more });
const flows = (query: Record<string, string | number> = {}) =>
  client.get<{ items: readonly ShownConnection[]; isMore: boolean }>('/v1/flows', { query });
function outward(n: number, more: Partial<Connection> = {}): Connection {
  return {
    ...{ key: `web ${n}`, port: ids.get('web')!, direction: 'out', protocol: 'tcp', state: 'established' },
    ...{ from: { address: '10.0.0.5', port: 1000 + n }, to: { address: '198.51.100.9', port: 80 } },
    ...{ seenAs: { address: '203.0.113.2', port: 1100 + n }, router: ids.get('r')!, sinceMs: Date.now() },
    ...more,
  };
}
const refusal = (code: string) => (error: unknown) => error instanceof WeftError && error.code === code;

test('what a host tells of its ports is listed with names, and found by each filter', async () => {
  const inside = outward(2, { key: 'to db', to: { address: '10.0.0.6', port: 5432 } });
  const { seenAs: _, router: __, ...toDb } = inside;
  assert.deepEqual(await tell('h1', [outward(1), toDb], { isWhole: true }), { refused: [] });
  const { items } = await flows({ port: 'web', tenant: 'acme' });
  const out = items.find(({ key }) => key === 'web 1')!;
  assert.deepEqual(out.names, { host: 'h1', port: 'acme/web', router: 'acme/r' });
  assert.equal(
    items.find(({ key }) => key === 'to db')?.peer,
    'acme/db',
    'the same address of another tenant is nobody here',
  );
  const found = async (query: Record<string, string | number>) => (await flows(query)).items.map(({ key }) => key);
  assert.deepEqual(await found({ address: '203.0.113.2' }), ['web 1']);
  assert.deepEqual(await found({ port: 'acme/db' }), []);
  assert.deepEqual(await found({ tenant: 'other' }), []);
  assert.equal((await found({ host: 'h1', state: 'established', protocol: 'tcp' })).length, 2);
  assert.equal((await flows({ limit: 1 })).isMore, true);
  await assert.rejects(flows({ port: 'nobody', tenant: 'acme' }), refusal('not-found'));
  await assert.rejects(flows({ address: '10.0.0.999' }), refusal('invalid'));
  for (const protocol of ['banana', '256', '6', '__proto__', ''])
    await assert.rejects(flows({ protocol }), refusal('invalid'), protocol);
  assert.deepEqual(await found({ protocol: '47' }), []);
  await assert.rejects(
    flows({ colour: 'red' }).then(() => flows({ limit: 0 })),
    refusal('invalid'),
  );
});

test('which rule allows a connection is told as the groups are now', async () => {
  const web = { address: '10.0.0.5', port: 443 };
  const client = { address: '198.51.100.9', port: 5000 };
  const inward = (n: number, more: Partial<Connection>) => {
    const {
      seenAs: _,
      router: __,
      ...others
    } = outward(n, { key: `why ${n}`, direction: 'in', from: client, ...more });
    return others;
  };
  const told = [
    inward(50, { to: web }),
    inward(51, { to: { ...web, port: 80 } }),
    inward(52, { protocol: 'icmp', from: { address: client.address }, to: { address: web.address } }),
    outward(53, { key: 'why 53', to: { address: '10.0.0.6', port: 5432 } }),
    outward(54, { key: 'why 54', port: ids.get('db')!, from: { address: '10.0.0.6', port: 1 } }),
  ];
  await tell('h1', told);
  const { items } = await flows({ host: 'h1' });
  const why = (n: number) => items.find(({ key }) => key === `why ${n}`)?.allowedBy;
  assert.deepEqual([50, 51, 52, 53, 54].map(why), [
    'acme/web: https (tcp/443 from anywhere)',
    null,
    'acme/web: ingress[1] (icmp/8 from anywhere)',
    'acme/web: db (tcp/5432 to 10.0.0.0/24)',
    undefined,
  ]);
  const keys = async (query: Record<string, string>) =>
    (await flows(query)).items.flatMap(({ key }) => (key.startsWith('why') ? [key] : [])).sort();
  assert.deepEqual(await keys({ network: '10.0.0.6/32' }), ['why 53', 'why 54']);
  assert.deepEqual(await keys({ router: 'r', tenant: 'acme', state: 'established', network: '198.51.100.0/24' }), [
    'why 54',
  ]);
  assert.deepEqual(await keys({ router: 'acme/r' }), ['why 53', 'why 54']);
  await assert.rejects(flows({ network: '10.0.0.6/24' }), refusal('invalid'));
  await assert.rejects(flows({ router: 'none' }), refusal('not-found'));
  await tell('h1', [], { gone: told.map(({ key }) => key) });
});

test('a host tells of ports that it has, of no others', async () => {
  assert.deepEqual(await tell('h2', [outward(7)], { isWhole: true }), { refused: ['web 7'] });
  assert.equal((await flows({ host: 'h2' })).items.length, 0);
  await assert.rejects(tell('h1', [outward(1, { direction: 'sideways' as 'in' })]), refusal('invalid'));
  await assert.rejects(
    tell(
      'h1',
      Array.from({ length: 2001 }, (_, n) => outward(n)),
    ),
    refusal('invalid'),
  );
});

test('of a port that moved, the former host keeps nothing that it told, also where it tells it otherwise once more', async () => {
  const claim = (host: string, ports: readonly string[]): Promise<unknown> =>
    client.post(`/v1/hosts/${host}/reports`, {
      reports: [{ type: 'claims', claims: ports.map((port) => ({ port: ids.get(port)!, interface: port })) }],
    });
  const told = [60, 61].map((n) => outward(n));
  await tell('h1', told);
  await claim('h1', ['db']);
  await claim('h2', ['web']);
  const { seenAs: _, router: __, ...other } = told[0]!;
  assert.deepEqual(await tell('h1', [other]), { refused: ['web 60'] });
  await tell('h2', told);
  const hosts = async (): Promise<string[]> =>
    (await flows({ port: 'acme/web' })).items
      .flatMap(({ key, names }) => (/ 6[01]$/.test(key) ? [names.host] : []))
      .sort();
  assert.deepEqual(await hosts(), ['h1', 'h2', 'h2']);
  await tell('h1', [], { gone: ['web 61'] });
  assert.deepEqual(await hosts(), ['h2', 'h2']);
  await tell('h2', [], { gone: told.map(({ key }) => key) });
  await claim('h2', []);
  await claim('h1', ['web', 'db']);
});

test('the SNAT log names host, port and workload; before anybody was translated, the host by its lease', async () => {
  const atMs = Date.now();
  await tell('h1', [], { gone: ['web 1'] });
  const ask = (query: Record<string, string | number>) =>
    client.get<NatAnswer>('/v1/flows/nat', { query: { address: '203.0.113.2', ...query } });
  const { holders } = await ask({ port: 1101, at: new Date(atMs).toISOString() });
  assert.deepEqual(
    holders.map(({ by, names, workload, other, toMs }) => [by, names, workload, other, toMs !== undefined]),
    [
      [
        'connection',
        { host: 'h1', port: 'acme/web', router: 'acme/r' },
        { address: '10.0.0.5', port: 1001 },
        { address: '198.51.100.9', port: 80 },
        true,
      ],
      ['lease', { host: 'h1', router: 'acme/r' }, undefined, undefined, false],
    ],
  );
  const leased = await ask({ port: 1300, at: Date.now() + 1000 });
  assert.deepEqual(
    leased.holders.map(({ by, names }) => [by, names]),
    [['lease', { host: 'h1', router: 'acme/r' }]],
  );
  assert.deepEqual((await ask({ port: 1300, at: atMs - 60_000 })).holders, []);
  assert.deepEqual((await ask({ port: 60_000 })).holders, []);
  await assert.rejects(ask({ at: 'yesterday' }), refusal('invalid'));
  await client.post('/v1/apply', { objects: NETWORK.map((o) => (o.name === 'r' ? { ...o, snat: [] } : o)) });
  assert.deepEqual(await real.leases(), [], 'the lease ended with its rule');
});

test('who follows hears what begins, changes and ends, of what was asked for', async () => {
  const stop = new AbortController();
  const heard: FlowWatchMessage[] = [];
  let isOpen = false;
  const stream = client.stream<FlowWatchMessage>('GET', '/v1/flows/watch', {
    query: { protocol: 'udp' },
    signal: stop.signal,
  });
  const ended = (async () => {
    for await (const message of stream) {
      isOpen = true;
      if (message.type !== 'alive') heard.push(message);
    }
  })().catch(() => {});
  const until = async (isSo: () => boolean): Promise<void> => {
    for (let n = 0; n < 250 && !isSo(); n++) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(isSo(), JSON.stringify(heard));
  };
  await until(() => isOpen);
  await tell('h1', [outward(20), outward(21, { protocol: 'udp' })]);
  await tell('h1', [], { gone: ['web 20', 'web 21'] });
  await until(() => heard.length >= 2);
  const told = heard.map((message) =>
    message.type === 'put' ? [message.connection.key, message.connection.names.port] : message,
  );
  const { id: host } = await client.get<{ id: string }>('/v1/hosts/h1');
  assert.deepEqual(told, [['web 21', 'acme/web'], { type: 'gone', host, key: 'web 21' }]);
  stop.abort();
  await ended;
});

test('a flow database that is full, slow or lost is said once, and holds up nothing else', async () => {
  failure = new WeftError('full', 'no room');
  for (let n = 0; n < 3; n++) await assert.rejects(tell('h1', [outward(1)]), refusal('full'));
  failure = undefined;
  const { items } = await client.get<{ items: readonly WeftEvent[] }>('/v1/events');
  assert.equal(items.filter(({ text }) => text.includes('flow database')).length, 1);
  let release = (): void => {};
  blocked = new Promise((resolve) => {
    release = resolve;
  });
  const waiting = Array.from({ length: 33 }, (_, n) => tell('h1', [outward(n)]).catch((error: unknown) => error));
  const first = await Promise.race(waiting);
  assert.ok(first instanceof WeftError && first.code === 'busy', 'the 33rd is refused at once');
  await client.post('/v1/apply', { objects: [{ kind: 'tenant', name: 'third' }] });
  release();
  blocked = undefined;
  assert.equal((await Promise.all(waiting)).filter((answer) => answer instanceof WeftError).length, 1);
});

test('a lease that the flow database did not take is told in the status, and taken later', async () => {
  const problems = async (): Promise<string[]> =>
    (await client.get<{ problems: { text: string }[] }>('/v1/status')).problems
      .map(({ text }) => text)
      .filter((text) => text.includes('SNAT addresses'));
  failure = new WeftError('full', 'no room');
  await client.post('/v1/apply', { objects: NETWORK });
  assert.match((await problems()).join(), /is not written down \(no room\)/);
  failure = undefined;
  // It is tried again every ten seconds.
  for (let n = 0; n < 150 && (await problems()).length > 0; n++)
    await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(await problems(), []);
  assert.equal((await real.leases()).length, 1);
});

test('a damaged flow database is set aside, the server starts with a new one, and people are told', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'weft-flows-'));
  writeFileSync(join(stateDir, 'flows.db'), 'no database at all; '.repeat(500));
  const socket = `unix:${join(stateDir, 'weft.sock')}`;
  const second = await startServer({ stateDir, listen: [socket], log: silentLog });
  const other = createClient({ url: socket });
  assert.deepEqual((await other.get<{ items: unknown[] }>('/v1/flows')).items, []);
  const { problems } = await other.get<{ problems: readonly { text: string }[] }>('/v1/status');
  const { items } = await other.get<{ items: readonly WeftEvent[] }>('/v1/events');
  for (const told of [problems, items])
    assert.match(
      told.map(({ text }) => text).join(),
      /^flow database: .*flows\.db was damaged.*damaged-\d{4}-.*move it away/,
    );
  other.close();
  await second.close();
  rmSync(stateDir, { recursive: true });
});

test('a wall clock that is set ends no connections; what the log is asked by is that clock', async () => {
  const [wall, steady] = [{ ms: Date.now() }, { ms: 5_000 }];
  const clock: Clock = { ...systemClock, now: () => wall.ms, monotonicMs: () => steady.ms };
  const batches: ConnectionBatch[] = [];
  const store = new SqliteFlowStore({ path: ':memory:', nowMs: wall.ms });
  const write = store.write.bind(store);
  store.write = (batch) => {
    batches.push(batch);
    return write(batch);
  };
  const flows = new FlowDatabase(new ModelIndex(), store, { events: new EventRing(), clock, log: silentLog });
  const kept = { ...outward(1), host: 'h1', tenant: 't', names: { host: 'h1', port: 'acme/web' } };
  await flows.take('h1', { epoch: 1, put: [], gone: [] });
  await store.write({ ...batches[0]!, put: [kept], isWhole: true });
  for (const stepMs of [3_600_000, -7_200_000]) {
    wall.ms += stepMs;
    steady.ms += 10_000;
    flows.expire();
    await flows.take('h1', { epoch: 1, put: [], gone: [] });
    assert.equal(batches.at(-1)!.atMs, wall.ms);
    flows.expire();
    assert.equal((await flows.list({}, 10)).length, 1);
  }
  steady.ms += SILENCE_MS + 1;
  flows.expire();
  assert.equal((await flows.list({}, 10)).length, 0);
  await flows.close();
});

test('where there is no room for a connection its host is told, and who follows hears what ends', async () => {
  const store = new SqliteFlowStore({ path: ':memory:', nowMs: Date.now(), mostConnections: 1 });
  const events = new EventRing();
  const index = new ModelIndex();
  index.put({ kind: 'port', id: 'p', name: 'web', tenant: 't', switch: 's', addresses: [], allowedPairs: [] } as never);
  index.put({ kind: 'binding', id: 'p', claims: [{ host: 'h1', interface: 'web' }] } as never);
  const flows = new FlowDatabase(index, store, { events, clock: systemClock, log: silentLog });
  const two = [1, 2].map((n) => outward(n, { port: 'p' }));
  const heard: FlowNews[] = [];
  flows.follow({}, (news) => void heard.push(news));
  await assert.rejects(flows.take('h1', { epoch: 1, put: two, gone: [], isWhole: true }), refusal('full'));
  assert.equal((await flows.list({}, 10)).length, 1);
  await assert.rejects(
    flows.take('h1', { epoch: 1, put: [3, 4].map((n) => outward(n, { port: 'p' })), gone: ['web 1'] }),
    refusal('full'),
  );
  assert.deepEqual(
    (await flows.list({}, 10)).map(({ key }) => key),
    ['web 3'],
  );
  assert.deepEqual(
    heard.map(({ type }) => type),
    ['put', 'put', 'gone'],
  );
  assert.match([...events.list({})].map(({ text }) => text).join(), /holds as many as it may/);
  await flows.close();
});

test('the flow database is well again when all parts of it are', () => {
  const events = new EventRing();
  const store = new SqliteFlowStore({ path: ':memory:', nowMs: 0 });
  const flows = new FlowDatabase(new ModelIndex(), store, { events, clock: systemClock, log: silentLog });
  const [connections, file] = ['Redis is gone', 'flows.db was damaged'];
  for (const troubles of [{ connections, file }, { file }, {}]) flows.setTroubles(troubles);
  assert.deepEqual(
    [...events.list({})].map(({ level, text }) => `${level} ${text.split(';')[0]}`),
    [
      `warning flow database: ${connections}`,
      `warning flow database: ${file}`,
      `info flow database: no longer: ${connections}`,
      'info the flow database is well again',
    ],
  );
});

test('what is wrong is told once a minute, whatever the wall clock is set to', async () => {
  const [wall, steady] = [{ ms: 1_000_000_000 }, { ms: 5_000 }];
  const clock: Clock = { ...systemClock, now: () => wall.ms, monotonicMs: () => steady.ms };
  const events = new EventRing();
  const store = new SqliteFlowStore({ path: ':memory:', nowMs: wall.ms });
  store.write = async () => {
    throw new WeftError('full', 'no room on the disk');
  };
  const flows = new FlowDatabase(new ModelIndex(), store, { events, clock, log: silentLog });
  const news = (): string[] => [...events.list({})].map(({ text }) => text);
  const fail = async (): Promise<void> => {
    flows.setTroubles({ connections: 'Redis is gone' });
    flows.setTroubles({});
    await assert.rejects(flows.take('h1', { epoch: 1, put: [], gone: [] }), refusal('full'));
  };
  const count = async (): Promise<number[]> => {
    await fail();
    return [/Redis is gone/, /not taken/].map((what) => news().filter((text) => what.test(text)).length);
  };
  assert.deepEqual(await count(), [1, 1]);
  // Set back an hour, and forth: neither silences it for long, nor lets it talk.
  wall.ms -= 3_600_000;
  assert.deepEqual(await count(), [1, 1]);
  steady.ms += 60_000;
  assert.deepEqual(await count(), [2, 2]);
  wall.ms += 7_200_000;
  assert.deepEqual(await count(), [2, 2]);
  await flows.close();
});
