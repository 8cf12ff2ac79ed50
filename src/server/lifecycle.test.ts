import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import type { LogicalPort } from '../model/objects.ts';
import type { EngineChange } from '../store/engine.ts';
import { EngineStore } from '../store/engine-store.ts';
import { MemoryEngine, openMemoryStore } from '../store/memory.ts';
import { type Client, createClient } from './client.ts';
import type { ReportsAnswer, WatchMessage, WatchRequest } from './protocol.ts';
import { type RunningServer, type ServerOptions, startServer } from './server.ts';

let directory: string;
let count = 0;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-lifecycle-'));
});
after(() => rmSync(directory, { recursive: true }));

const NETWORK = [
  { kind: 'tenant', name: 'acme' },
  { kind: 'tunnelZone', name: 'dc' },
  { kind: 'host', name: 'h1', zone: 'dc', tunnelAddress: '10.9.0.1' },
  { kind: 'host', name: 'h2', zone: 'dc', tunnelAddress: '10.9.0.2' },
  { kind: 'switch', tenant: 'acme', name: 'lan' },
  { kind: 'port', tenant: 'acme', name: 'a', switch: 'lan', host: 'h1', portSecurity: false },
  { kind: 'port', tenant: 'acme', name: 'b', switch: 'lan', host: 'h2', portSecurity: false },
];

async function withServer(
  options: Partial<ServerOptions>,
  work: (client: Client, server: RunningServer) => Promise<void>,
): Promise<void> {
  const listen = [`unix:${join(directory, `${++count}.sock`)}`];
  const server = await startServer({ stateDir: join(directory, String(count)), listen, log: silentLog, ...options });
  const client = createClient({ url: server.urls[0]! });
  try {
    await work(client, server);
  } finally {
    client.close();
    await server.close();
  }
}

/** One agent's stream, read a transaction at a time. */
class TestAgent {
  readonly #stream: AsyncGenerator<WatchMessage, void, void>;
  incarnation = '';
  readonly have: Record<string, Record<string, number>> = {};

  constructor(client: Client, host: string, request: WatchRequest = { have: {} }) {
    this.#stream = client.stream<WatchMessage>('POST', `/v1/hosts/${host}/watch`, { body: request });
  }

  /** What the next transaction says, `put port a` for example; records without a name by their id. */
  async next(): Promise<string[]> {
    const said: string[] = [];
    for (;;) {
      const { value: message } = await this.#stream.next();
      assert.ok(message, 'the stream ended');
      if (message.type === 'hello') this.incarnation = message.incarnation;
      if (message.type === 'put') {
        const { record } = message;
        const ofKind = this.have[record.kind] ?? {};
        this.have[record.kind] = ofKind;
        ofKind[record.id] = record.revision;
        said.push(`put ${record.kind} ${'name' in record ? record.name : record.id}`);
      }
      if (message.type === 'leave' || message.type === 'delete') {
        delete this.have[message.kind]?.[message.id];
        said.push(`${message.type} ${message.kind} ${message.id}`);
      }
      if (message.type === 'commit') return said;
    }
  }
  async close(): Promise<void> {
    await this.#stream.return();
  }
}

test('after a restart bindings hold, and an agent is told only what changed meanwhile', async () => {
  const stateDir = join(directory, 'restart');
  let agent: TestAgent | undefined;
  let port: LogicalPort | undefined;
  await withServer({ stateDir }, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
    port = await client.get<LogicalPort>('/v1/ports/b');
    await client.post('/v1/hosts/h2/reports', { reports: [{ type: 'claim', port: port.id, interface: 'tap1' }] });
    agent = new TestAgent(client, 'h1');
    assert.equal((await agent.next()).length, 8);
    await agent.close();
  });
  await withServer({ stateDir }, async (client) => {
    const shown = await client.get<{ status: { host: string; state: string } }>('/v1/ports/b');
    assert.deepEqual([shown.status.host, shown.status.state], ['h2', 'host-down']);
    await client.request('PATCH', '/v1/ports/b', { body: { adminUp: false } });
    const { incarnation, have } = agent!;
    const resumed = new TestAgent(client, 'h1', { incarnation, have });
    assert.deepEqual(await resumed.next(), ['put port b']);
    await resumed.close();
    const elsewhere = new TestAgent(client, 'h1', {
      incarnation: 'another store',
      have: { port: { gone: 3 }, tenant: have.tenant! },
    });
    const said = await elsewhere.next();
    assert.equal(said.filter((text) => text.startsWith('put')).length, 8);
    assert.ok(said.includes('delete port gone'));
    await elsewhere.close();
  });
});

test('after a restart sync waits for hosts whose agents have still to come back, as long as that may take', async () => {
  const stateDir = join(directory, 'back');
  await withServer({ stateDir }, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
  });
  let nowMs = 1_000_000;
  const clock = { now: () => nowMs, monotonicMs: () => nowMs, sleep: async () => {} };
  await withServer({ stateDir, clock }, async (client) => {
    const waitingFor = async (): Promise<readonly string[]> =>
      (await client.get<{ waitingFor: string[] }>('/v1/sync', { query: { timeoutMs: 20 } })).waitingFor.toSorted();
    assert.deepEqual(await waitingFor(), ['h1', 'h2']);
    const agent = new TestAgent(client, 'h1');
    await agent.next();
    assert.deepEqual(await waitingFor(), ['h1', 'h2']);
    const { revision } = await client.get<{ revision: number }>('/v1/ports');
    await client.post('/v1/hosts/h1/reports', { reports: [{ type: 'applied', revision }] });
    assert.deepEqual(await waitingFor(), ['h2']);
    // One that never had an agent is awaited by nobody.
    await client.post('/v1/hosts', { name: 'h3', zone: 'dc', tunnelAddress: '10.9.0.3' });
    assert.deepEqual(await waitingFor(), ['h2']);
    nowMs += 10_000;
    assert.deepEqual(await waitingFor(), []);
    await agent.close();
  });
});

test('learned addresses reach the other hosts, move with their workload, and go with a dead host', async () => {
  let nowMs = 1_000_000;
  const clock = { now: () => nowMs, monotonicMs: () => nowMs, sleep: async () => {} };
  await withServer({ clock }, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
    const [a, b] = await Promise.all(['a', 'b'].map((name) => client.get<LogicalPort>(`/v1/ports/${name}`)));
    const agent = new TestAgent(client, 'h1');
    await agent.next();
    const mac = '02:aa:00:00:00:01';
    const learned = `learned ${a!.switch}/0/${mac}`;
    const report = (host: string, type: string, port: LogicalPort) =>
      client.post(`/v1/hosts/${host}/reports`, { reports: [{ type, port: port.id, vlan: 0, mac }] });
    await report('h2', 'learned', b!);
    assert.deepEqual(await agent.next(), [`put ${learned}`]);
    await report('h1', 'learned', a!);
    assert.deepEqual(await agent.next(), [`put ${learned}`]);
    // Older news: the address is elsewhere by now.
    await report('h2', 'forgotten', b!);
    await client.post('/v1/hosts/h2/reports', {
      reports: [{ type: 'learnedAll', addresses: [{ port: b!.id, vlan: 0, mac }] }],
    });
    await report('h2', 'learned', b!);
    assert.deepEqual(await agent.next(), [`put ${learned}`]);
    nowMs += 9_000;
    // A stream that is open proves nothing (the cable may be pulled): agents answer every heartbeat with reports.
    await client.post('/v1/hosts/h1/reports', { reports: [] });
    nowMs += 9_000;
    assert.deepEqual(await agent.next(), [`delete ${learned}`]);
    const status = await client.get<{ hosts: { name: string; state: string }[] }>('/v1/status');
    assert.deepEqual(
      status.hosts.map((host) => `${host.name} ${host.state}`),
      ['h1 alive', 'h2 dead'],
    );
    await agent.close();
  });
});

test('a server that was held up finds no host silent before it has read what they said', async () => {
  let nowMs = 1_000_000;
  const clock = { now: () => nowMs, monotonicMs: () => nowMs, sleep: async () => {} };
  await withServer({ clock }, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
    const agent = new TestAgent(client, 'h1');
    await agent.next();
    nowMs += 60_000;
    const heldUpUntilMs = performance.now() + 4_500;
    while (performance.now() < heldUpUntilMs);
    const said = client.post('/v1/hosts/h1/reports', { reports: [] });
    await sleep(50);
    await said;
    const { items } = await client.get<{ items: { text: string }[] }>('/v1/events');
    assert.deepEqual(
      items.filter(({ text }) => text.includes('silent')),
      [],
    );
    await client.request('PATCH', '/v1/ports/a', { body: { adminUp: false } });
    assert.deepEqual(await agent.next(), ['put port a']);
    await agent.close();
  });
});

test('the stream of a host that was silent for too long ends, so that its agent tells everything again', async () => {
  let nowMs = 1_000_000;
  const clock = { now: () => nowMs, monotonicMs: () => nowMs, sleep: async () => {} };
  await withServer({ clock }, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
    const agents = [new TestAgent(client, 'h1'), new TestAgent(client, 'h2')] as const;
    for (const agent of agents) await agent.next();
    nowMs += 9_000;
    await client.post('/v1/hosts/h2/reports', { reports: [] });
    nowMs += 9_000;
    await assert.rejects(agents[0].next());
    await client.request('PATCH', '/v1/ports/b', { body: { adminUp: false } });
    assert.deepEqual(await agents[1].next(), ['put port b']);
    await agents[1].close();
  });
});

test('sync waits for the hosts that a change concerns, and not for others', async () => {
  await withServer({}, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
    const agents = [new TestAgent(client, 'h1'), new TestAgent(client, 'h2')];
    for (const agent of agents) await agent.next();
    const applied = (host: string, revision: number) =>
      client.post(`/v1/hosts/${host}/reports`, { reports: [{ type: 'applied', revision }] });
    const sync = (timeoutMs: number) =>
      client.get<{ isSynced: boolean; waitingFor: string[] }>('/v1/sync', { query: { timeoutMs } });
    assert.deepEqual((await sync(20)).waitingFor, ['h1', 'h2']);
    const { revision } = await client.get<{ revision: number }>('/v1/ports');
    await Promise.all([applied('h1', revision), applied('h2', revision)]);
    assert.equal((await sync(1000)).isSynced, true);
    // A switch without local ports concerns nobody.
    await client.post('/v1/switches', { tenant: 'acme', name: 'other' });
    assert.equal((await sync(20)).isSynced, true);
    const created = await client.request<LogicalPort>('POST', '/v1/ports', {
      body: { tenant: 'acme', name: 'c', switch: 'lan' },
    });
    const waiting = sync(5000);
    await applied('h1', created.revision!);
    assert.deepEqual((await sync(20)).waitingFor, ['h2']);
    await applied('h2', created.revision!);
    assert.equal((await waiting).isSynced, true);
    // Away for one that concerned it: it is behind that until it says otherwise, whatever came after.
    await agents[1]!.close();
    const missed = await client.request<LogicalPort>('PATCH', '/v1/ports/c', { body: { adminUp: false } });
    await client.post('/v1/switches', { tenant: 'acme', name: 'another' });
    agents[1] = new TestAgent(client, 'h2');
    await agents[1].next();
    await applied('h1', missed.revision!);
    const { waitingFor } = await client.get<{ waitingFor: string[] }>('/v1/sync', {
      query: { revision: missed.revision!, timeoutMs: 20 },
    });
    assert.deepEqual(waitingFor, ['h2']);
    for (const agent of agents) await agent.close();
  });
});

test('with a full disk writes are refused, reads and watches go on, and writes recover', async () => {
  let isFull = false;
  class FullEngine extends MemoryEngine {
    override write(changes: readonly EngineChange[]): void {
      if (isFull) throw new WeftError('full', 'no room on the disk');
      super.write(changes);
    }
  }
  const store = new EngineStore(new FullEngine(), systemClock);
  await withServer({ store }, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
    isFull = true;
    const body = { tenant: 'acme', name: 'late', switch: 'lan' };
    await assert.rejects(client.post('/v1/ports', body), { code: 'full' });
    assert.equal((await client.get<{ items: unknown[] }>('/v1/ports')).items.length, 2);
    await assert.rejects(client.get('/v1/ports/late'), { code: 'not-found' });
    // An agent tells it again, instead of all that it knows.
    const a = (await client.get<{ id: string }>('/v1/ports/a')).id;
    const claim = { type: 'claim', port: a, interface: 'tap-a' };
    const told = [claim];
    const { refused } = await client.post<ReportsAnswer>('/v1/hosts/h1/reports', { reports: told });
    assert.deepEqual(
      refused.map(({ index, code }) => ({ index, code })),
      [{ index: 0, code: 'full' }],
    );
    isFull = false;
    assert.deepEqual((await client.post<ReportsAnswer>('/v1/hosts/h1/reports', { reports: told })).refused, []);
    await client.post('/v1/ports', body);
    assert.ok(await client.get('/v1/ports/late'));
  });
});

test('agents are told of a write before the disk confirmed it; answers wait, and a disk that fails ends the server', async () => {
  class SlowEngine extends MemoryEngine {
    confirm = Promise.withResolvers<void>();
    override sync(): Promise<void> {
      return this.confirm.promise;
    }
  }
  const engine = new SlowEngine();
  engine.confirm.resolve();
  await withServer({ store: new EngineStore(engine, systemClock) }, async (client, server) => {
    await client.post('/v1/apply', { objects: NETWORK });
    const agent = new TestAgent(client, 'h1');
    await agent.next();
    const watch = client.stream<{ type: string; revision: number }>('GET', '/v1/watch', { query: { kinds: 'switch' } });
    while ((await watch.next()).value!.type !== 'revision');
    engine.confirm = Promise.withResolvers();
    const answers: string[] = [];
    const down = client.request('PATCH', '/v1/ports/a', { body: { adminUp: false } });
    const written = down.then(() => answers.push('write'));
    assert.deepEqual(await agent.next(), ['put port a']);
    const read = client.get<LogicalPort>('/v1/ports/a').then((port) => answers.push(`read ${port.adminUp}`));
    const same = client.request('PATCH', '/v1/ports/a', { body: { adminUp: false } }).then(() => answers.push('same'));
    const told = watch.next().then(() => answers.push('watch'));
    const refused = client
      .post('/v1/ports', { tenant: 'acme', name: 'a', switch: 'lan' })
      .catch((error: WeftError) => answers.push(`refused: ${error.code}`));
    const gone = client.get('/v1/ports/c').catch((error: WeftError) => answers.push(error.code));
    const traced = client
      .post('/v1/trace', { port: 'a', host: 'h1', to: '10.1.0.9', source: '10.1.0.1' })
      .then(() => answers.push('trace'));
    await sleep(50);
    assert.deepEqual(answers, []);
    engine.confirm.resolve();
    await Promise.all([written, read, same, told, refused, gone, traced]);
    const all = ['not-found', 'read false', 'refused: conflict', 'same', 'trace', 'watch', 'write'];
    assert.deepEqual(answers.toSorted(), all);
    await watch.return();

    engine.confirm = Promise.withResolvers();
    const lost = client.request('PATCH', '/v1/ports/a', { body: { adminUp: true } });
    await agent.next();
    engine.confirm.reject(new Error('EIO'));
    await assert.rejects(lost, { code: 'full', message: /EIO/ });
    await assert.rejects(client.get('/v1/ports/a'), { code: 'full' });
    assert.match((await server.failure).message, /EIO/);
    await agent.close();
  });
});

test('an agent that does not read is cut off, and nobody else notices', async () => {
  await withServer({}, async (client, server) => {
    await client.post('/v1/apply', { objects: NETWORK });
    const good = new TestAgent(client, 'h2');
    await good.next();
    const socketPath = server.urls[0]!.slice('unix:'.length);
    // It never reads, and so does not even see that it was cut off: the server has to say so.
    const deaf = httpRequest({ socketPath, method: 'POST', path: '/v1/hosts/h1/watch' }, (answer) => answer.pause());
    deaf.on('error', () => {});
    deaf.end();
    await sleep(50);
    const labels = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`l${i}`, 'x'.repeat(250)]));
    const ports = Array.from({ length: 600 }, (_, i) => ({
      kind: 'port',
      tenant: 'acme',
      name: `p${i}`,
      switch: 'lan',
      labels,
    }));
    let told = 0;
    for (const round of [1, 2, 3, 4, 5]) {
      await client.post('/v1/apply', { objects: ports.map((port) => ({ ...port, adminUp: round % 2 === 0 })) });
      told += (await good.next()).length;
      // Both live, however long this takes.
      for (const host of ['h1', 'h2']) await client.post(`/v1/hosts/${host}/reports`, { reports: [] });
    }
    assert.equal(told, 3000);
    await assert.rejects(client.get('/v1/hosts/h1/agent/status'), { code: 'unreachable' });
    deaf.destroy();
    await good.close();
  });
});

test('a request for an agent is relayed, and its answer comes back as it is written', async () => {
  await withServer({}, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
    await assert.rejects(client.get('/v1/hosts/h1/agent/status'), { code: 'unreachable' });
    const stream = client.stream<WatchMessage>('POST', '/v1/hosts/h1/watch', { body: { have: {} } });
    for (;;) if ((await stream.next()).value?.type === 'commit') break;
    const asked = client.get<{ ok: boolean }>('/v1/hosts/h1/agent/capture', { query: { port: 'a b' } });
    const { value: message } = await stream.next();
    assert.ok(message?.type === 'request');
    assert.deepEqual([message.method, message.path], ['GET', '/capture?port=a+b']);
    const body = async function* () {
      yield Buffer.from('{"ok"');
      await sleep(10);
      yield Buffer.from(':true}');
    };
    await client.upload(`/v1/hosts/h1/answers/${message.id}`, { status: 200, type: 'application/json', body: body() });
    assert.deepEqual(await asked, { ok: true });
    await stream.return();
  });
});

test('a watch for people begins with everything, follows, and resumes', async () => {
  await withServer({}, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
    const stream = client.stream<{ type: string; revision: number; object?: { name: string } }>('GET', '/v1/watch', {
      query: { kinds: 'port' },
    });
    const next = async () => (await stream.next()).value!;
    assert.deepEqual([(await next()).object?.name, (await next()).object?.name], ['a', 'b']);
    const { revision } = await next();
    await client.request('DELETE', '/v1/ports/a');
    assert.equal((await next()).type, 'delete');
    await stream.return();
    const resumed = client.stream<{ type: string }>('GET', '/v1/watch', { query: { after: revision } });
    assert.equal((await resumed.next()).value?.type, 'delete');
    await resumed.return();
  });
});

test('garbage is refused in words, whatever it is', async () => {
  await withServer({}, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK });
    const codeOf = (method: string, path: string, body?: unknown) =>
      client.request(method, path, body === undefined ? {} : { body }).then(
        () => 'ok',
        (error: WeftError) => error.code,
      );
    assert.equal(await codeOf('POST', '/v1/apply', [1, 2]), 'invalid');
    assert.equal(await codeOf('POST', '/v1/apply', { objects: [null, 7, 'x', [], { kind: '__proto__' }] }), 'invalid');
    assert.equal(await codeOf('POST', '/v1/apply', { objects: [], prune: true }), 'invalid');
    assert.equal(await codeOf('POST', '/v1/ports'), 'invalid');
    assert.equal(await codeOf('PATCH', '/v1/ports/a', 'text'), 'invalid');
    assert.equal(await codeOf('PATCH', '/v1/ports/a', { switch: null }), 'invalid');
    assert.equal(await codeOf('GET', '/v1/ports/%00'), 'not-found');
    assert.equal(await codeOf('GET', '/v1/nothing'), 'not-found');
    await assert.rejects(client.request('PUT', '/v1/trace', { body: {} }), {
      message: /no PUT \/v1\/trace; this path has POST$/,
    });
    await assert.rejects(client.request('POST', '/v1/ports/a'), {
      message: /this path has DELETE, GET, HEAD, PATCH, PUT$/,
    });
    assert.equal(await codeOf('GET', '/v1/ports?limit=x'), 'invalid');
    assert.equal(await codeOf('GET', '/v1/ports?tennant=acme'), 'invalid');
    assert.equal(await codeOf('GET', '/v1/watch?kinds=prot'), 'invalid');
    assert.equal(await codeOf('POST', '/v1/hosts/h1/reports', { reports: [{ type: 'nonsense' }] }), 'invalid');
    assert.equal(await codeOf('POST', '/v1/hosts/h9/reports', { reports: [] }), 'not-found');
    assert.equal(await codeOf('POST', '/v1/hosts/h1/watch', { have: 5 }), 'invalid');
    assert.equal(await codeOf('POST', '/v1/ports/a/activate', { host: 'h2' }), 'conflict');
    assert.equal(await codeOf('GET', '/v1/status'), 'ok');
  });
});

test('a host that is deleted while its reports wait leaves no claim behind', async () => {
  await withServer({ store: openMemoryStore() }, async (client) => {
    await client.post('/v1/apply', { objects: NETWORK.slice(0, 2) });
    await client.post('/v1/apply', { objects: NETWORK.slice(4, 5) });
    const port = await client.post<LogicalPort>('/v1/ports', { tenant: 'acme', name: 'c', switch: 'lan' });
    for (let round = 0; round < 10; round++) {
      await client.post('/v1/hosts', { name: 'h3', zone: 'dc', tunnelAddress: '10.9.0.3' });
      const report = { reports: [{ type: 'claims', claims: [{ port: port.id, interface: 'tap1' }] }] };
      await Promise.all([
        client.request('DELETE', '/v1/hosts/h3'),
        client.post('/v1/hosts/h3/reports', report).catch((error: unknown) => assert.ok(error instanceof WeftError)),
      ]);
      const shown = await client.get<{ status: { claims?: unknown[] } }>('/v1/ports/c');
      assert.deepEqual(shown.status.claims ?? [], []);
    }
  });
});
