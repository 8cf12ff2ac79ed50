import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { type Clock, systemClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { Draft } from '../model/draft.ts';
import { ModelIndex } from '../model/model-index.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { type Client, createClient } from './client.ts';
import { endLeases, idleLeases } from './nat-leases.ts';
import type { Report, ReportsAnswer, WatchMessage } from './protocol.ts';
import { startServer } from './server.ts';

let directory: string;
let count = 0;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-leases-'));
});
after(() => rmSync(directory, { recursive: true }));

const NETWORK = [
  { kind: 'tunnelZone', name: 'dc' },
  ...[1, 2].map((i) => ({ kind: 'host', name: `h${i}`, zone: 'dc', tunnelAddress: `10.9.0.${i}` })),
  { kind: 'tenant', name: 'acme' },
  { kind: 'switch', tenant: 'acme', name: 'web', subnets: [{ cidr: '10.1.0.0/24', gateway: '10.1.0.1' }] },
  { kind: 'switch', tenant: 'acme', name: 'public', subnets: [{ cidr: '203.0.113.0/24' }] },
  { kind: 'router', tenant: 'acme', name: 'r', snat: [{ from: '10.1.0.0/24', to: '203.0.113.9' }] },
  { kind: 'routerPort', tenant: 'acme', name: 'in', router: 'r', switch: 'web', addresses: ['10.1.0.1/24'] },
  {
    ...{ kind: 'routerPort', tenant: 'acme', name: 'out', router: 'r', switch: 'public', outside: true },
    addresses: ['203.0.113.2/24'],
  },
  { kind: 'port', tenant: 'acme', name: 'a', switch: 'web' },
  { kind: 'port', tenant: 'acme', name: 'b', switch: 'web' },
  {
    ...{ kind: 'loadBalancer', tenant: 'acme', name: 'vip', address: '10.1.0.200', router: 'r' },
    ...{ listeners: [{ protocol: 'tcp', port: 80 }], members: [{ port: 'a' }, { port: 'b' }] },
  },
];

/** An L2 gateway with a place on either host. */
const PLACES = ['h1', 'h2'].map((host) => ({ host, interface: 'eth-out' }));
const VLAN = [
  ...PLACES.map(({ host }, n) => ({
    ...{ kind: 'host', name: host, zone: 'dc', tunnelAddress: `10.9.0.${n + 1}` },
    gatewayInterfaces: ['eth-out'],
  })),
  { kind: 'port', tenant: 'acme', name: 'vlan', switch: 'web', portSecurity: false, addresses: [] },
  { kind: 'l2Gateway', tenant: 'acme', name: 'vlan', port: 'vlan', vlan: 100, places: PLACES },
];

/** A server with the network, and both ports claimed: a by h1, then b by h2. */
async function withNetwork(
  work: (world: {
    readonly client: Client;
    readonly id: (path: string) => Promise<string>;
    readonly report: (host: string, ...reports: readonly Report[]) => Promise<ReportsAnswer>;
    /** What h1's agent was told first. */
    readonly first: readonly WatchMessage[];
    /** The next transaction that it is told. */
    readonly told: () => Promise<readonly WatchMessage[]>;
    /** The server, on the same store; ends the agent's stream. Returns a client of the new one. */
    readonly restart: () => Promise<Client>;
    /** Lets time pass at once, for the server. */
    readonly pass: (ms: number) => void;
  }) => Promise<void>,
): Promise<void> {
  const path = join(directory, String(++count));
  let aheadMs = 0;
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + aheadMs,
    monotonicMs: () => systemClock.monotonicMs() + aheadMs,
  };
  const start = () => startServer({ stateDir: path, listen: [`unix:${path}.sock`], log: silentLog, clock });
  let server = await start();
  let client = createClient({ url: server.urls[0]! });
  try {
    await client.post('/v1/apply', { objects: NETWORK });
    const id = async (of: string): Promise<string> => (await client.get<{ id: string }>(`/v1/${of}`)).id;
    const report = (host: string, ...reports: readonly Report[]): Promise<ReportsAnswer> =>
      client.post(`/v1/hosts/${host}/reports`, { reports });
    await report('h1', { type: 'claims', claims: [{ port: await id('ports/a'), interface: 'tap1' }] });
    await report('h2', { type: 'claims', claims: [{ port: await id('ports/b'), interface: 'tap2' }] });
    const stream = client.stream<WatchMessage>('POST', '/v1/hosts/h1/watch', { body: { have: {} } });
    const told = async (): Promise<readonly WatchMessage[]> => {
      const messages: WatchMessage[] = [];
      for (;;) {
        const { value } = await stream.next();
        assert.ok(value, 'the stream ended');
        if (value.type === 'commit') return messages;
        messages.push(value);
      }
    };
    const first = await told();
    const restart = async (): Promise<Client> => {
      await stream.return();
      await server.close();
      client.close();
      server = await start();
      client = createClient({ url: server.urls[0]! });
      return client;
    };
    const pass = (ms: number): void => {
      aheadMs += ms;
    };
    await work({ client, id, report, first, told, restart, pass });
    await stream.return();
  } finally {
    client.close();
    await server.close();
  }
}

/** `<first>+<size> …` of the leases told of, in the order of their blocks. */
function leasesIn(messages: readonly WatchMessage[]): string[] {
  return messages
    .flatMap((message) => (message.type === 'put' && message.record.kind === 'natLease' ? [message.record.blocks] : []))
    .map((blocks) => blocks.map(({ first, size }) => `${first}+${size}`).join(' '))
    .toSorted();
}

function recordIn(messages: readonly WatchMessage[]): ScopeRecord {
  const [message] = messages;
  assert.ok(message?.type === 'put' && messages.length === 1, JSON.stringify(messages));
  return message.record;
}

test('a host gets a block of an address that nobody else has with the first port that needs one, and more when it asks', async () => {
  await withNetwork(async ({ client, id, report, first, told }) => {
    const need = { type: 'natNeed', router: await id('routers/r'), address: '203.0.113.9' } as const;
    assert.deepEqual(leasesIn(first), ['1024+512', '1536+512'], 'with its binding');
    // Noticed before the lease came: asking twice is asking once.
    await report('h1', { ...need, have: 0 }, { ...need, have: 512 }, { ...need, have: 512 });
    assert.deepEqual(leasesIn(await told()), ['1024+512 2048+512']);
    // A further port at a host that has some, and other words about one that is there, lease nothing.
    await client.post('/v1/ports', { tenant: 'acme', name: 'd', switch: 'web' });
    await told();
    await report('h2', { type: 'claim', port: await id('ports/d'), interface: 'tap4' });
    await client.request('PATCH', '/v1/ports/a', { body: { adminUp: false } });
    assert.deepEqual([leasesIn(await told()), leasesIn(await told())], [[], []]);
    const [unknown] = (await report('h1', { ...need, address: '203.0.113.77' })).refused;
    assert.equal(unknown?.code, 'no-snat');
  });
});

test('what a host gives back is free for others; what it does not have is not', async () => {
  await withNetwork(async ({ id, report, told }) => {
    const address = { router: await id('routers/r'), address: '203.0.113.9' };
    const need = { type: 'natNeed', ...address } as const;
    const blocks = async (): Promise<string> => leasesIn(await told()).join(', ');
    const giveBack = (host: string, ...some: { first: number; size: number }[]) =>
      report(host, { type: 'natReturn', ...address, blocks: some });
    await report('h1', need);
    await report('h1', need);
    assert.deepEqual([await blocks(), await blocks()], ['1024+512 2048+512', '1024+512 2048+512 3072+1024']);
    await giveBack('h2', { first: 1024, size: 512 });
    await giveBack('h1', { first: 8192, size: 8192 });
    await giveBack('h1', { first: 1024, size: 512 }, { first: 3072, size: 1024 });
    assert.equal(await blocks(), '2048+512');
    await giveBack('h1', { first: 2048, size: 512 });
    await report('h2', need);
    assert.equal(await blocks(), '1024+1024', "h2's; h1's last block stays");
    await assert.rejects(giveBack('h1', { first: 1024, size: 600 }), /power of two/);
    await assert.rejects(giveBack('h1', { first: 1024, size: 2048 }), /multiple/);
  });
});

test('a lease ends with its rule, and a host without a port behind the router gets none', async () => {
  await withNetwork(async ({ client, id, report, told }) => {
    const need = { type: 'natNeed', router: await id('routers/r'), address: '203.0.113.9' } as const;
    const kinds = async (): Promise<string[]> =>
      (await told())
        .flatMap((message) => {
          if (message.type === 'put') return [`put ${message.record.kind}`];
          return 'kind' in message ? [`${message.type} ${message.kind}`] : [];
        })
        .toSorted();
    await client.request('PATCH', '/v1/routers/r', { body: { snat: [] } });
    assert.deepEqual(await kinds(), ['delete natLease', 'delete natLease', 'put router']);
    await client.request('PATCH', '/v1/routers/r', { body: { snat: [{ from: '10.1.0.0/24', to: '203.0.113.9' }] } });
    assert.deepEqual(await kinds(), ['put natLease', 'put natLease', 'put router'], 'with the rule');
    const [refused] = (await report('h2', { type: 'unclaim', port: await id('ports/b') }, need)).refused;
    assert.equal(refused?.code, 'not-here');
  });
});

test('of a pool each address has leases of its own, which end with it', async () => {
  await withNetwork(async ({ client, id, report, told }) => {
    const poolIs = (...to: string[]) =>
      client.request('PATCH', '/v1/routers/r', { body: { snat: [{ from: '10.1.0.0/24', to }] } });
    await poolIs('203.0.113.9', '203.0.113.20-203.0.113.21');
    assert.deepEqual(leasesIn(await told()), ['1024+512'], 'of one of the hosts whose port has another address now');
    const router = await id('routers/r');
    assert.deepEqual((await report('h1', { type: 'natNeed', router, address: '203.0.113.21' })).refused, []);
    const lease = recordIn(await told());
    assert.ok(lease.kind === 'natLease');
    assert.deepEqual([lease.address, lease.blocks], ['203.0.113.21', [{ first: 1024, size: 512 }]]);
    await poolIs('203.0.113.9', '203.0.113.20');
    const gone = (await told()).flatMap((message) => (message.type === 'delete' ? [message.id.split('/')[1]] : []));
    assert.deepEqual(gone, ['203.0.113.21']);
    const [refused] = (await report('h1', { type: 'natNeed', router, address: '203.0.113.21' })).refused;
    assert.equal(refused?.code, 'no-snat');
  });
});

test("connections that moved are led to their port's host; who is about to get it adds to them, its active host says what holds", async () => {
  await withNetwork(async ({ id, report, told }) => {
    const [router, a] = [await id('routers/r'), await id('ports/a')];
    const move = (...connections: string[]) =>
      ({ type: 'natMove', port: a, router, address: '203.0.113.9', connections }) as const;
    const [one, two] = ['tcp/2100/198.51.100.7/80', 'udp/2101/2001:db8::7/53'] as const;
    assert.deepEqual(
      (await report('h2', move(one))).refused.map(({ code }) => code),
      ['no-claim'],
    );
    await report('h2', { type: 'claim', port: a, interface: 'tap9' });
    await told();
    await report('h2', move(one));
    const held = recordIn(await told());
    assert.ok(held.kind === 'natMove' && held.port === a);
    assert.deepEqual(held.connections, [one]);
    await report('h1', move(two, one));
    assert.deepEqual((recordIn(await told()) as typeof held).connections, [one, two], 'a is active at h1');
    await report('h1', move(two));
    assert.deepEqual((recordIn(await told()) as typeof held).connections, [two]);
    await report('h2', move());
    await report('h2', move(one));
    assert.deepEqual((recordIn(await told()) as typeof held).connections, [one, two], 'h2 cannot take any away');
    // Nobody gets a block with one of their ports, though no host has leased it.
    await report('h1', { type: 'natNeed', router, address: '203.0.113.9' });
    assert.deepEqual(leasesIn(await told()), ['1024+512 2560+512']);
    await report('h1', move());
    assert.deepEqual(
      (await told()).map(({ type }) => type),
      ['delete'],
    );
    assert.deepEqual(
      (await report('h1', { ...move(one), address: '203.0.113.77' })).refused.map(({ code }) => code),
      ['no-snat'],
    );
    await assert.rejects(report('h1', move('tcp/70000/198.51.100.7/80')), /no connection/);
  });
});

test('whoever has a port leads no connections of a router to it that the port is not behind', async () => {
  const beta = (kind: string, name: string, more: object = {}) => ({ kind, tenant: 'beta', name, ...more });
  await withNetwork(async ({ client, id, report }) => {
    await client.post('/v1/apply', {
      objects: [
        { kind: 'tenant', name: 'beta' },
        beta('switch', 'lan', { subnets: [{ cidr: '10.1.0.0/24' }] }),
        beta('router', 'other', { snat: [{ from: '10.1.0.0/24', to: '203.0.113.19' }] }),
        beta('routerPort', 'in', { router: 'other', switch: 'lan', addresses: ['10.1.0.1/24'] }),
        beta('port', 'c', { switch: 'lan' }),
      ],
    });
    const connections = ['tcp/1100/198.51.100.7/80'];
    const [router, port] = [await id('routers/other'), await id('ports/a')];
    const move = { type: 'natMove', port, router, address: '203.0.113.19', connections } as const;
    assert.deepEqual((await report('h1', move)).refused, [
      { index: 0, code: 'not-behind', message: 'the port is not behind the router' },
    ]);
    await report('h1', { type: 'claim', port: await id('ports/c'), interface: 'tap3' });
    assert.deepEqual((await report('h1', { ...move, port: await id('ports/c') })).refused, []);
  });
});

test('connections that moved are forgotten with the last interface of their port, and with the rule', async () => {
  await withNetwork(async ({ client, id, report, told }) => {
    const [router, a] = [await id('routers/r'), await id('ports/a')];
    const connections = ['tcp/1100/198.51.100.7/80'];
    const move = { type: 'natMove', port: a, router, address: '203.0.113.9', connections } as const;
    await report('h1', move);
    assert.equal(recordIn(await told()).kind, 'natMove');
    await report('h1', { type: 'unclaim', port: a });
    assert.ok((await told()).some((message) => message.type === 'delete' && message.kind === 'natMove'));
    await report('h1', { type: 'claim', port: a, interface: 'tap1' });
    await told();
    await report('h1', move);
    await told();
    await client.request('PATCH', '/v1/routers/r', { body: { snat: [] } });
    assert.ok((await told()).some((message) => message.type === 'delete' && message.kind === 'natMove'));
  });
});

test('one host that floods leaves ports for others, before and after; people are told who drops what; another tenant gets his', async () => {
  const beta = (kind: string, name: string, more: object = {}) => ({ kind, tenant: 'beta', name, ...more });
  await withNetwork(async ({ client, id, report, pass }) => {
    await client.post('/v1/apply', {
      objects: [
        { kind: 'tenant', name: 'beta' },
        { ...NETWORK.find(({ name }) => name === 'public'), shared: true },
        beta('switch', 'lan', { subnets: [{ cidr: '10.1.0.0/24' }] }),
        beta('router', 'other', { snat: [{ from: '10.1.0.0/24', to: '203.0.113.19' }] }),
        beta('routerPort', 'in', { router: 'other', switch: 'lan', addresses: ['10.1.0.1/24'] }),
        beta('routerPort', 'out', {
          router: 'other',
          switch: 'acme/public',
          outside: true,
          addresses: ['203.0.113.3/24'],
        }),
        beta('port', 'c', { switch: 'lan' }),
      ],
    });
    await report('h1', { type: 'claim', port: await id('ports/c'), interface: 'tap3' });
    const need = { type: 'natNeed', router: await id('routers/r'), address: '203.0.113.9' } as const;
    /** Asks until it gets no more. */
    const flood = async (host: string): Promise<readonly string[]> => {
      for (;;) {
        const { refused } = await report(host, need);
        if (refused.length > 0) return refused.map(({ code }) => code);
      }
    };
    const leases = async (router: string) => {
      const { status } = await client.get<{ status: { leases: readonly { host: string; ports: number }[] } }>(
        `/v1/routers/${router}`,
      );
      return status.leases.map(({ host, ports }) => `${host} ${ports}`);
    };
    const problems = async (): Promise<readonly string[]> =>
      (await client.get<{ problems: { text: string }[] }>('/v1/status')).problems
        .map(({ text }) => text)
        .filter((text) => text.startsWith('router '));
    assert.deepEqual(await flood('h1'), ['no-room']);
    const dropping =
      'router acme/r: h1 has its share of the ports of 203.0.113.9, the 32000 that are free are for others: new connections from h1 are dropped (no-ports) until old ones end; give the snat rule more addresses';
    assert.deepEqual(await problems(), [dropping]);
    const { items } = await client.get<{ items: { level: string; text: string }[] }>('/v1/events');
    assert.deepEqual([items.at(-1)!.level, items.at(-1)!.text], ['warning', dropping]);
    // Beside it, and after it, the other host begins and grows.
    assert.deepEqual(await flood('h2'), ['no-room']);
    assert.deepEqual(await leases('r'), ['h1 32000', 'h2 16256']);
    pass(21_000);
    assert.deepEqual(await problems(), [], 'who asks no more drops nothing');
    const others = { type: 'natNeed', router: await id('routers/other'), address: '203.0.113.19' } as const;
    assert.deepEqual((await report('h1', others)).refused, []);
    assert.deepEqual(await leases('other'), ['h1 1024']);
  });
});

test('health of members and neighbours go to agents, belong to the reporter, and show in the status', async () => {
  await withNetwork(async ({ client, id, report, told }) => {
    const [loadBalancer, a, b] = await Promise.all(['load-balancers/vip', 'ports/a', 'ports/b'].map(id));
    const status = async () =>
      (
        await client.get<{ status: { healthy: string; members: { name: string; state: string }[] } }>(
          '/v1/load-balancers/vip',
        )
      ).status;
    assert.equal((await status()).healthy, '2/2');
    await report('h2', { type: 'memberHealth', loadBalancer: loadBalancer!, port: b!, up: false });
    const health = recordIn(await told());
    assert.ok(health.kind === 'memberHealth' && !health.up && health.port === b);
    assert.equal((await status()).healthy, '1/2');
    // Not h1's to take back.
    await report('h1', { type: 'memberHealthGone', loadBalancer: loadBalancer!, port: b! });
    assert.equal((await status()).healthy, '1/2');
    // Its agent knows nothing yet: what was known holds.
    await report('h2', { type: 'memberHealthAll', members: [] });
    assert.equal((await status()).healthy, '1/2');
    await report('h2', { type: 'memberHealthGone', loadBalancer: loadBalancer!, port: b! });
    assert.deepEqual(
      (await told()).map(({ type }) => type),
      ['delete'],
    );

    const device = await id('switches/web');
    const seen = { switch: device, address: '10.1.0.77', mac: '02:aa:00:00:00:01', port: a! };
    await report('h1', { type: 'neighbour', ...seen });
    const neighbour = recordIn(await told());
    assert.ok(neighbour.kind === 'neighbour' && neighbour.id === `${device}/10.1.0.77` && neighbour.mac === seen.mac);
    await client.request('DELETE', '/v1/ports/b', { query: { tenant: 'acme' } }).catch(() => {});
    await report('h1', { type: 'neighbourGone', switch: device, address: '10.1.0.77' });
    assert.deepEqual(
      (await told()).map(({ type }) => type),
      ['delete'],
    );
    const [refused] = (
      await report('h1', { type: 'memberHealth', loadBalancer: loadBalancer!, port: device, up: true })
    ).refused;
    assert.ok(refused);
  });
});

test('a member that was found down is so while its agent is silent, until its interface goes or health is not asked for', async () => {
  await withNetwork(async ({ client, id, report, told, pass }) => {
    const [loadBalancer, port] = await Promise.all(['load-balancers/vip', 'ports/b'].map(id));
    const states = async (): Promise<string> => {
      const path = '/v1/load-balancers/vip';
      const { status } = await client.get<{ status: { members: { name: string; state: string }[] } }>(path);
      return status.members.map(({ name, state }) => `${name} ${state}`).join(', ');
    };
    const isDead = async (): Promise<boolean> =>
      (await client.get<{ status: { state: string } }>('/v1/hosts/h2')).status.state === 'dead';
    const vip = NETWORK.find(({ name }) => name === 'vip')!;
    await client.post('/v1/apply', { objects: [{ ...vip, health: { type: 'tcp' } }] });
    await told();
    const down = { type: 'memberHealth', loadBalancer: loadBalancer!, port: port!, up: false } as const;
    await report('h2', down);
    assert.equal(recordIn(await told()).kind, 'memberHealth');
    pass(9_000);
    await report('h1');
    pass(9_000);
    while (!(await isDead())) await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(await states(), 'a serving, b unhealthy');
    const isForgotten = async (): Promise<boolean> =>
      (await told()).some((message) => message.type === 'delete' && message.kind === 'memberHealth');

    await report('h2', { type: 'unclaim', port: port! });
    assert.ok(await isForgotten());
    assert.equal(await states(), 'a serving, b unbound');
    await report('h2', { type: 'claim', port: port!, interface: 'tap2' });
    await told();
    assert.equal(await states(), 'a serving, b serving', 'it is a new one');

    await report('h2', down);
    await told();
    await client.post('/v1/apply', { objects: [vip] });
    assert.ok(await isForgotten());

    pass(1_000);
    const health = { agentVersion: '1', openvswitchVersion: '3', datapathType: 'netdev', flows: 0, localPorts: 1 };
    const host = await id('hosts/h2');
    await report('h1', { type: 'health', health: { ...health, lost: [host], problems: [] } });
    assert.equal(await states(), 'a serving, b serving', 'it may show that it lives');
    pass(2_000);
    assert.equal(await states(), 'a serving, b host-lost');
    await report('h2');
    assert.equal(await states(), 'a serving, b serving', 'they do not hear each other, but we hear it');
  });
});

test('the example of static uplinks is right, and says which next hops nobody asks yet', async () => {
  await withNetwork(async ({ client }) => {
    const text = readFileSync(new URL('../../examples/static-uplinks.yaml', import.meta.url), 'utf8');
    await client.post('/v1/apply', { objects: parseAllDocuments(text).map((document) => document.toJS() as object) });
    const { problems } = await client.get<{ problems: { text: string }[] }>('/v1/status');
    assert.deepEqual(
      problems.map(({ text: each }) => /^router isp\/core: nobody asks whether next hop (\S+)/.exec(each)?.[1]),
      ['192.0.2.1', '192.0.2.5'],
    );
  });
});

test('states of next hops go to agents, show in status and router, and go with their probe', async () => {
  await withNetwork(async ({ client, id, report, told }) => {
    const routes = (probe: object) => [{ to: '0.0.0.0/0', via: '203.0.113.1', ...probe }];
    const router = { kind: 'router', tenant: 'acme', name: 'r', snat: [{ from: '10.1.0.0/24', to: '203.0.113.9' }] };
    const texts = async (): Promise<string[]> =>
      (await client.get<{ problems: { text: string }[] }>('/v1/status')).problems.map(({ text }) => text);
    const of = (hop: object): Report => ({ type: 'nextHop', router: own, address: '203.0.113.1', ...hop }) as Report;
    const own = await id('routers/r');
    const refused = async (): Promise<number> => (await report('h1', of({ up: true, sinceMs: 1 }))).refused.length;
    assert.equal(await refused(), 1);
    await client.post('/v1/apply', { objects: [{ ...router, routes: routes({ probe: {} }) }] });
    await told();
    assert.match((await texts()).join(), /nobody asks whether next hop 203\.0\.113\.1 answers/);
    await client.post('/v1/apply', {
      objects: [{ kind: 'port', tenant: 'acme', name: 'wire', switch: 'public', portSecurity: false }],
    });
    await told();
    await report('h2', { type: 'claim', port: await id('ports/wire'), interface: 'eth1' });
    await told();
    assert.deepEqual(await texts(), []);
    await report('h2', of({ up: false, sinceMs: 1_764_000_000_000 }));
    const state = recordIn(await told());
    assert.ok(state.kind === 'nextHopState' && !state.up && state.id.startsWith(`${own}/203.0.113.1/`));
    assert.deepEqual(await texts(), [
      'router acme/r: next hop 203.0.113.1 does not answer since 2025-11-24T16:00:00Z (asked by h2)',
    ]);
    const shown = async () => (await client.get<{ status: { nextHops?: object } }>('/v1/routers/r')).status.nextHops;
    assert.deepEqual(await shown(), [
      { address: '203.0.113.1', probe: 'arp', state: 'silent', hosts: ['h2'], sinceMs: 1_764_000_000_000 },
    ]);
    // Not h1's to take back.
    await report('h1', { type: 'nextHopGone', router: own, address: '203.0.113.1' });
    assert.equal((await texts()).length, 1);
    await report('h2', { type: 'nextHopsAll', hops: [] });
    assert.ok((await told()).some(({ type }) => type === 'delete'));
    await report('h2', of({ up: true, sinceMs: 5 }));
    await told();
    await client.post('/v1/apply', { objects: [{ ...router, routes: routes({}) }] });
    assert.ok((await told()).some((each) => each.type === 'delete' && each.kind === 'nextHopState'));
    assert.equal(await shown(), undefined);
  });
});

test('clients that a host keeps go to agents and show in the status, and go with what keeps them', async () => {
  await withNetwork(async ({ client, id, report, told }) => {
    const [loadBalancer, a, b] = await Promise.all(['load-balancers/vip', 'ports/a', 'ports/b'].map(id));
    const {
      revision: _,
      id: __,
      status: ___,
      ...vip
    } = await client.get<Record<string, unknown>>('/v1/load-balancers/vip');
    const put = (more: object) => client.post('/v1/apply', { objects: [{ ...vip, ...more }] });
    const keep = async (host: 'h1' | 'h2', ...members: { port: string; clients: Record<string, number> }[]) =>
      (await report(host, { type: 'keptClients', loadBalancer: loadBalancer!, members })).refused.length;
    const shown = async () =>
      (
        await client.get<{ status: { kept?: { client: string; member: string }[] } }>('/v1/load-balancers/vip')
      ).status.kept?.map((each) => `${each.client} ${each.member}`);
    const at = (port: string, ...clients: string[]) => ({
      port,
      clients: Object.fromEntries(clients.map((each) => [each, 1_764_000_000])),
    });
    assert.equal(await keep('h2', at(b!, '198.51.100.7')), 1, 'it keeps nobody');
    await assert.rejects(put({ sticky: 'none', stickyS: 60 }), /that needs sticky: source/);
    await assert.rejects(put({ sticky: 'source', stickyS: 86_401 }), /stickyS/);
    await put({ sticky: 'source', stickyS: 60 });
    await told();
    assert.deepEqual(await shown(), []);
    assert.equal(await keep('h2', at(b!, '2001:db8::7')), 1, 'another version of IP');
    assert.equal(await keep('h2', at(a!, '198.51.100.7'), at(b!, '198.51.100.7')), 1, 'one client at two members');
    assert.equal(await keep('h2', at(loadBalancer!, '198.51.100.7')), 1, 'no member');
    const many = Array.from({ length: 4_097 }, (_, n) => `198.51.${n >> 8}.${n & 255}`);
    assert.equal(await keep('h2', at(b!, ...many)), 1, 'too many');
    await assert.rejects(keep('h2', at(b!, '198.51.100.007')), /Invalid key/);
    assert.equal(await keep('h2', at(b!, '198.51.100.7')), 0);
    const record = recordIn(await told());
    assert.ok(record.kind === 'keptClients' && record.members[0]?.port === b);
    assert.deepEqual(await shown(), ['198.51.100.7 b']);
    assert.equal(await keep('h1'), 0);
    assert.deepEqual(await shown(), ['198.51.100.7 b'], 'not h1’s to take back');
    await report('h2', { type: 'keptClientsAll', kept: [] });
    await told();
    assert.deepEqual(await shown(), []);
    await keep('h2', at(b!, '198.51.100.7'));
    await told();
    await put({ sticky: 'source', stickyS: 120 });
    assert.deepEqual(await shown(), ['198.51.100.7 b']);
    await told();
    await put({});
    assert.ok((await told()).some((each) => each.type === 'delete' && each.kind === 'keptClients'));
    assert.equal(await shown(), undefined);
  });
});

test('over a restart of the server leases hold, and health that nobody reported again yet is left with agents', async () => {
  await withNetwork(async ({ id, report, first, told, restart }) => {
    const [loadBalancer, port] = await Promise.all(['load-balancers/vip', 'ports/b'].map(id));
    const lease = first.find((message) => message.type === 'put' && message.record.kind === 'natLease');
    assert.ok(lease?.type === 'put');
    await report('h2', { type: 'memberHealth', loadBalancer: loadBalancer!, port: port!, up: false });
    const health = recordIn(await told());
    const client = await restart();
    const status = (
      await client.get<{ status: { leases: readonly { host: string; ports: number }[] } }>('/v1/routers/r')
    ).status;
    assert.deepEqual(
      status.leases.toSorted((a, b) => a.host.localeCompare(b.host)),
      ['h1', 'h2'].map((host) => ({ address: '203.0.113.9', host, ports: 512 })),
    );
    const have = {
      natLease: { [lease.record.id]: lease.record.revision },
      memberHealth: { [health.id]: health.revision },
    };
    const resumed = client.stream<WatchMessage>('POST', '/v1/hosts/h1/watch', { body: { have } });
    for await (const message of resumed) {
      assert.ok(!(message.type === 'delete' && message.kind === 'memberHealth'), 'health was taken away at once');
      if (message.type === 'commit') break;
    }
  });
});

test('the port of an L2 gateway has a lease of its own, asked for where it is active, which moves with it and goes with the gateway', async () => {
  await withNetwork(async ({ client, id, report, told, pass }) => {
    await client.post('/v1/apply', { objects: VLAN });
    const [port, gateway] = [await id('ports/vlan'), await id('l2-gateways/vlan')];
    const shown = await client.get<{ secret: string }>('/v1/l2-gateways/vlan');
    assert.equal(shown.secret, '***');
    const attached = (state: 'up' | 'down'): Report => ({ type: 'attachments', attachments: [{ gateway, state }] });
    for (const host of ['h1', 'h2']) await report(host, { type: 'claim', port, interface: 'l2-vlan' }, attached('up'));
    const need = { type: 'natNeed', router: await id('routers/r'), address: '203.0.113.9' } as const;
    assert.deepEqual((await report('h1', { ...need, port })).refused, []);
    assert.equal((await report('h2', { ...need, port })).refused[0]?.code, 'not-here');
    assert.equal((await report('h1', { ...need, port: await id('ports/a') })).refused[0]?.code, 'not-here');
    const leases: string[] = [];
    const secrets = new Set<string>();
    const [h1, h2] = [await id('hosts/h1'), await id('hosts/h2')];
    /** What h1 is told of leases until this is so. */
    const until = async (wanted: string): Promise<void> => {
      while (leases.at(-1) !== wanted)
        for (const message of await told()) {
          if (message.type === 'put' && message.record.kind === 'l2Gateway') secrets.add(message.record.secret ?? '');
          if (message.type === 'put' && message.record.kind === 'natLease') {
            const { blocks, host, port: of } = message.record;
            leases.push(
              `${blocks[0]!.first} ${of === port ? 'vlan' : of} at ${host === h1 ? 'h1' : host === h2 ? 'h2' : host}`,
            );
          }
          if (message.type === 'delete' && message.kind === 'natLease') leases.push(`no ${message.id.endsWith(port)}`);
        }
    };
    await until('2048 vlan at h1');
    assert.deepEqual(
      [...secrets].map((secret) => secret.length),
      [64],
    );
    await report('h1', attached('down'));
    await until('2048 vlan at h2');
    await report('h1', attached('up'));
    pass(5_000); // a host is given back a gateway when it has been connected for so long
    await until('2048 vlan at h1');
    await client.request('DELETE', '/v1/l2-gateways/vlan');
    await until('no true');
    assert.deepEqual(leases, ['2048 vlan at h1', '2048 vlan at h2', '2048 vlan at h1', 'no true']);
  });
});

test('an L2 gateway stays where its agent has just come back and has not said anything of it yet', async () => {
  await withNetwork(async ({ client, id, report, pass }) => {
    await client.post('/v1/apply', { objects: VLAN });
    const [port, gateway] = [await id('ports/vlan'), await id('l2-gateways/vlan')];
    const says = (...states: readonly ('up' | 'down')[]): Report => ({
      type: 'attachments',
      attachments: states.map((state) => ({ gateway, state })),
    });
    const active = async (): Promise<string | undefined> =>
      (await client.get<{ status: { active?: string } }>('/v1/l2-gateways/vlan')).status.active;
    for (const host of ['h1', 'h2']) await report(host, { type: 'claim', port, interface: 'l2-vlan' }, says('up'));
    pass(11_000); // the server is no news itself by then
    for (const host of ['h1', 'h2']) await report(host, says('up'));
    assert.equal(await active(), 'h1');
    await report('h1', { type: 'claims', claims: [{ port, interface: 'l2-vlan' }] }); // as an agent begins
    await report('h1', says());
    assert.equal(await active(), 'h1', 'connected anew');
    await report('h1', says('down'));
    assert.equal(await active(), 'h2', 'bad news is news');
    await report('h1', says('up'));
    pass(6_000);
    await report('h1', says('up'));
    assert.equal(await active(), 'h1');
    await report('h1', says());
    assert.equal(await active(), 'h2', 'connected for long');
  });
});

test('an L2 gateway is given back to a host that was off when its agent has been here for a while, not when others hear the host again', async () => {
  await withNetwork(async ({ client, id, report, pass }) => {
    await client.post('/v1/apply', { objects: VLAN });
    const [port, gateway] = [await id('ports/vlan'), await id('l2-gateways/vlan')];
    const isUp: Report = { type: 'attachments', attachments: [{ gateway, state: 'up' }] };
    const loses = (...lost: readonly string[]): Report => ({
      type: 'health',
      health: {
        ...{ agentVersion: '1', openvswitchVersion: '3.5', datapathType: 'netdev', flows: 0, localPorts: 0 },
        ...{ problems: [], lost },
      },
    });
    const active = async (): Promise<string | undefined> =>
      (await client.get<{ status: { active?: string } }>('/v1/l2-gateways/vlan')).status.active;
    /** What the server does each second is done. */
    const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1_100));
    for (const host of ['h1', 'h2']) await report(host, { type: 'claim', port, interface: 'l2-vlan' }, isUp);
    pass(11_000);
    for (const host of ['h1', 'h2']) await report(host, isUp);
    pass(2_000);
    await report('h2', loses(await id('hosts/h1')));
    pass(2_000);
    await tick();
    assert.equal(await active(), 'h2', 'h1 is off');
    await report('h2', loses(), isUp);
    await tick();
    assert.equal(await active(), 'h2', 'its switch answers');
    const watched = client.stream<WatchMessage>('POST', '/v1/hosts/h1/watch', { body: { have: {} } });
    for await (const message of watched) if (message.type === 'commit') break;
    await tick();
    assert.equal(await active(), 'h2', 'its agent watches');
    await report('h1', { type: 'claims', claims: [{ port, interface: 'l2-vlan' }] }, isUp);
    pass(4_000);
    await report('h2', isUp);
    assert.equal(await active(), 'h2', 'its agent says that all is well');
    pass(1_500);
    await tick();
    assert.equal(await active(), 'h1', 'and has been here for a while');
  });
});

/** Leases of hosts h1 and h2 of a router with a switch inside and one outside, and a port on each. */
function leased() {
  const index = new ModelIndex();
  const put = (record: object): void => void index.put({ revision: 1, tenant: 't', ...record } as never);
  put({ kind: 'router', id: 'r', name: 'r', snat: [{ from: '10.0.0.0/8', to: '203.0.113.9' }], routes: [] });
  for (const [id, outside] of [['in', false], ['out', true]] as const) // biome-ignore format: a row
    put({ kind: 'routerPort', id, name: id, router: 'r', switch: id, outside, addresses: [] });
  for (const id of ['in', 'out'])
    put({ kind: 'port', id: `p-${id}`, name: id, switch: id, addresses: [], allowedPairs: [] });
  for (const host of ['h1', 'h2'])
    put({
      ...{ kind: 'natLease', id: `r/203.0.113.9/${host}`, router: 'r', address: '203.0.113.9', host },
      blocks: [{ first: 1024, size: 512 }],
    });
  const behind = new Map<string, string>();
  const routersBehind = (host: string): ReadonlySet<string> => new Set([behind.get(host) ?? '']);
  return {
    behind,
    idle: () => idleLeases(index.all('natLease'), routersBehind),
    claim: (port: string, active: string, ...hosts: readonly string[]) =>
      put({
        ...{ kind: 'binding', id: port, switch: port.slice(2), active },
        claims: hosts.map((host) => ({ host, interface: 'tap', sinceMs: 0 })),
      }),
    /** Hosts whose leases are left. */
    end: (ids: readonly string[]): string[] => {
      endLeases(new Draft(index), ids, routersBehind);
      return [...index.all('natLease')].map(({ host }) => host);
    },
  };
}

test('leases of hosts without a port behind the router end, and those that are gone already do no harm', () => {
  const { behind, idle, claim, end } = leased();
  behind.set('h1', 'r');
  // What is outside is not behind it.
  claim('p-out', 'h2', 'h2');
  assert.deepEqual(idle(), ['r/203.0.113.9/h2']);
  assert.deepEqual(end([...idle(), 'r/203.0.113.9/h3']), ['h1']);
  assert.deepEqual(end(['r/203.0.113.9/h2']), ['h1']);
});

test('a lease stays where its host has got a port behind the router since, active there or not, by a write that is stored together', () => {
  const { idle, claim, end } = leased();
  const ids = idle();
  assert.equal(ids.length, 2);
  claim('p-in', 'h1', 'h1', 'h2');
  assert.deepEqual(end(ids), ['h1', 'h2']);
});

test('a lease stays where its host has got a port since that is behind the router by another one', () => {
  const { behind, idle, end } = leased();
  const ids = idle();
  behind.set('h2', 'r');
  assert.deepEqual(end(ids), ['h2']);
});
