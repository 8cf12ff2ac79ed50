import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { KIND_NAMES } from '../model/kind.ts';
import { KINDS } from '../model/kinds.ts';
import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import type { PlannedChange } from './apply.ts';
import { type Client, createClient } from './client.ts';
import { problemsOf } from './problem.ts';
import type { WatchMessage } from './protocol.ts';
import { type RunningServer, startServer } from './server.ts';

const NETWORK = [
  { kind: 'port', tenant: 'acme', name: 'web-1', switch: 'lan', host: 'h1' },
  { kind: 'port', tenant: 'acme', name: 'web-2', switch: 'lan', fromChain: 'web-in' },
  { kind: 'tenant', name: 'acme' },
  { kind: 'tunnelZone', name: 'dc' },
  { kind: 'host', name: 'h1', zone: 'dc', tunnelAddress: '10.9.0.1' },
  { kind: 'host', name: 'h2', zone: 'dc', tunnelAddress: '10.9.0.2' },
  {
    kind: 'switch',
    tenant: 'acme',
    name: 'lan',
    subnets: [{ cidr: '10.0.0.0/24', gateway: '10.0.0.1' }, { cidr: '2001:db8::/64' }],
  },
  { kind: 'chain', tenant: 'acme', name: 'web-in', policy: 'drop' },
  { kind: 'rule', tenant: 'acme', name: 'ssh', chain: 'web-in', position: 10, action: 'accept' },
];

let directory: string;
let server: RunningServer;
let client: Client;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'weft-server-'));
  const socket = join(directory, 'weft.sock');
  server = await startServer({ stateDir: directory, listen: [`unix:${socket}`], log: silentLog });
  client = createClient({ url: server.urls[0]! });
});
after(async () => {
  client.close();
  await server.close();
  rmSync(directory, { recursive: true });
});

async function problemOf(work: Promise<unknown>): Promise<WeftError> {
  const error = await work.then(
    () => assert.fail('it was not refused'),
    (error: unknown) => error,
  );
  assert.ok(error instanceof WeftError, String(error));
  return error;
}

test('apply creates a network from names in any order, and applying it again changes nothing', async () => {
  const dry = await client.post<{ changes: PlannedChange[] }>('/v1/apply', { objects: NETWORK, dryRun: true });
  assert.deepEqual(new Set(dry.changes.map((change) => change.action)), new Set(['create']));
  const uncertain = dry.changes.flatMap(({ kind, changes }) =>
    changes.flatMap(({ path, isAllocated }) => (isAllocated ? `${kind} ${path}` : [])),
  );
  const chosen = ['chain key', 'port addresses', 'port key', 'port mac', 'switch key'];
  assert.deepEqual([...new Set(uncertain)].sort(), chosen, 'what the server chose may be another when it is written');
  const first = await client.post<{ revision: number; changes: { action: string }[] }>('/v1/apply', {
    objects: NETWORK,
    applySet: 'demo',
  });
  assert.equal(first.changes.length, NETWORK.length);
  assert.ok(first.changes.every((change) => change.action === 'create'));
  const again = await client.post<typeof first>('/v1/apply', { objects: NETWORK, applySet: 'demo', prune: true });
  assert.ok(
    again.changes.every((change) => change.action === 'unchanged'),
    JSON.stringify(again.changes),
  );
  assert.equal(again.revision, first.revision);
  const port = await client.get<LogicalPort>('/v1/ports/web-1', { query: { names: true } });
  assert.equal(port.switch, 'lan');
  assert.equal(port.addresses[0], '10.0.0.2');
  assert.match(port.mac, /^02:/);
  assert.match(port.addresses[1]!, /^2001:db8::.*ff:fe/);
});

test('a refused write names every problem and leaves nothing', async () => {
  const refused = await problemOf(
    client.post('/v1/apply', {
      objects: [
        { kind: 'tenant', name: 'other' },
        { kind: 'port', tenant: 'acme', name: 'web-3', switch: 'lam' },
        { kind: 'port', tenant: 'acme', name: 'web-4', switch: 'lan', addresses: ['10.0.0.2', '192.168.0.1'] },
        { kind: 'switch', tenant: 'acme', name: 'bad', subnetz: [], subnets: [{ cidr: '10.0.0.1/24' }] },
        { kind: 'prot', name: 'x' },
        { kind: 'port', tenant: 'acme', name: 'web-5', switch: 'lann', toChain: 'none', maac: 'x' },
      ],
    }),
  );
  assert.equal(refused.code, 'invalid');
  const codes = problemsOf(refused).map((p) => `${p.code} ${p.object} ${p.path} ${p.hint ?? ''}`);
  assert.deepEqual(codes.toSorted(), [
    'address-outside port acme/web-4 addresses[1] ',
    'duplicate-address port acme/web-4 addresses[0] ',
    'kind objects[4] kind did you mean "port"?',
    'reference port acme/web-3 switch did you mean "lan"?',
    'reference port acme/web-5 switch did you mean "lan"?',
    'reference port acme/web-5 toChain ',
    'schema port acme/web-5 maac did you mean "mac"?',
    'schema switch acme/bad subnets[0].cidr ',
    'schema switch acme/bad subnetz did you mean "subnets"?',
  ]);
  assert.equal((await problemOf(client.get('/v1/tenants/other'))).code, 'not-found');
});

test('an agent sees its scope, and a claim and a new port arrive as whole transactions', async () => {
  const stream = client.stream<WatchMessage>('POST', '/v1/hosts/h1/watch', { body: { have: {} } });
  const commit = async (): Promise<WatchMessage[]> => {
    const messages: WatchMessage[] = [];
    for (;;) {
      const { value } = await stream.next();
      assert.ok(value, 'the stream ended');
      if (value.type !== 'progress') messages.push(value);
      if (value.type === 'commit') return messages;
    }
  };
  const puts = (messages: WatchMessage[]): string[] =>
    messages.flatMap((m) => (m.type === 'put' ? [`${m.record.kind} ${'name' in m.record ? m.record.name : ''}`] : []));
  const first = await commit();
  assert.equal(first[0]?.type, 'hello');
  // web-2 is remote: its chain is not for h1.
  assert.deepEqual(puts(first).toSorted(), [
    'host h1',
    'port web-1',
    'port web-2',
    'switch lan',
    'tenant acme',
    'tunnelZone dc',
  ]);
  const web2 = await client.get<LogicalPort>('/v1/ports/web-2');
  const claim = { type: 'claim', port: web2.id, interface: 'tap2' };
  await client.post('/v1/hosts/h2/reports', { reports: [claim] });
  assert.deepEqual(puts(await commit()).toSorted(), ['binding ', 'host h2']);
  await client.post('/v1/ports', { tenant: 'acme', name: 'web-9', switch: 'lan' });
  assert.deepEqual(puts(await commit()), ['port web-9']);
  await client.request('DELETE', '/v1/ports/web-9');
  assert.equal((await commit())[0]?.type, 'delete');
  const status = await client.get<{ status: { state: string; host: string } }>('/v1/ports/web-2');
  assert.equal(status.status.host, 'h2');
  await stream.return();
});

test('a second host with the same port id is a claim, a warning, and active only after activation', async () => {
  const web2 = await client.get<LogicalPort>('/v1/ports/web-2');
  await client.post('/v1/hosts/h1/reports', { reports: [{ type: 'claim', port: web2.id, interface: 'tap7' }] });
  const { items } = await client.get<{ items: { text: string; level: string }[] }>('/v1/events');
  assert.ok(items.some((event) => event.level === 'warning' && event.text.includes('copied id')));
  const shown = await client.get<{ status: { host: string; problems: string[] } }>('/v1/ports/web-2');
  assert.equal(shown.status.host, 'h2');
  assert.equal(shown.status.problems.length, 1);
  await client.post('/v1/ports/web-2/activate', { host: 'h1' });
  const moved = await client.get<typeof shown>('/v1/ports/web-2');
  assert.equal(moved.status.host, 'h1');
  await client.post('/v1/hosts/h1/reports', { reports: [{ type: 'unclaim', port: web2.id }] });
  const back = await client.get<typeof shown>('/v1/ports/web-2');
  assert.equal(back.status.host, 'h2');
});

test('a claim of a port that does not exist is refused, and counts once it is created', async () => {
  const id = '11111111-2222-4333-8444-555555555555';
  const answer = await client.post<{ refused: { code: string }[] }>('/v1/hosts/h2/reports', {
    reports: [{ type: 'claim', port: id, interface: 'tap5' }],
  });
  assert.equal(answer.refused[0]?.code, 'no-port');
  await client.post('/v1/ports', { tenant: 'acme', name: 'late', switch: 'lan', id });
  await new Promise((resolve) => setTimeout(resolve, 50));
  const shown = await client.get<{ status: { host: string } }>('/v1/ports/late');
  assert.equal(shown.status.host, 'h2');
});

test('preconditions, merge patches and deletions of what is in use', async () => {
  const lan = await client.request<LogicalSwitch>('GET', '/v1/switches/acme%2Flan');
  const patched = await client.request<LogicalSwitch>('PATCH', `/v1/switches/${lan.body.id}`, {
    body: { mtu: 1400 },
    ifMatch: lan.revision!,
  });
  assert.equal(patched.body.mtu, 1400);
  const stale = await problemOf(
    client.request('PATCH', `/v1/switches/${lan.body.id}`, { body: { mtu: 1300 }, ifMatch: lan.revision! }),
  );
  assert.equal(stale.code, 'conflict');
  const used = await problemOf(client.request('DELETE', '/v1/switches/lan'));
  assert.equal(used.code, 'conflict');
  assert.match(problemsOf(used)[0]!.message, /port acme\/web-1, port acme\/web-2/);
  const twice = await problemOf(client.post('/v1/switches', { tenant: 'acme', name: 'lan' }));
  assert.equal(twice.code, 'conflict');
});

test('what changes something names an object by name or whole id; what reads may name the beginning of an id', async () => {
  const id = 'abcd0000-0000-4000-8000-000000000000';
  await client.post('/v1/ports', { tenant: 'acme', name: 'begun', switch: 'lan', id });
  assert.equal((await client.get<LogicalPort>('/v1/ports/abcd')).id, id);
  const refused = [
    client.request('DELETE', '/v1/ports/abcd'),
    client.request('DELETE', '/v1/ports/abcd', { query: { tenant: 'acme' } }),
    client.request('PATCH', '/v1/ports/abcd', { body: { adminUp: false } }),
    client.request('PUT', '/v1/ports/abcd', { body: { tenant: 'acme', name: 'begun', switch: 'lan' } }),
    client.post('/v1/ports/abcd/activate', { host: 'h1' }),
    client.get('/v1/ports/abcd', { query: { whole: true } }),
  ];
  for (const work of refused) {
    const { code, message } = await problemOf(work);
    assert.equal(code, 'not-found');
    assert.match(message, /whole id/);
  }
  await client.post('/v1/tenants', { name: 'twin' });
  await client.post('/v1/switches', { tenant: 'twin', name: 'lan' });
  const several = await problemOf(client.request('DELETE', '/v1/switches/lan'));
  assert.deepEqual([several.code, /2 tenants/.test(several.message)], ['invalid', true]);
  await client.request('DELETE', `/v1/ports/${id}`);
});

test('malformed JSON is answered with line and column', async () => {
  const { request } = await import('node:http');
  const text = await new Promise<string>((resolve, reject) => {
    const sent = request(
      {
        socketPath: server.urls[0]!.slice('unix:'.length),
        method: 'POST',
        path: '/v1/apply',
        headers: { 'content-type': 'application/json' },
      },
      (response) => {
        response.setEncoding('utf8');
        let body = '';
        response.on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('end', () => resolve(body));
      },
    );
    sent.on('error', reject);
    sent.end('{"objects": [\n  {"kind": "tenant",,}\n]}');
  });
  assert.match(JSON.parse(text).detail, /line 2, column 21/);
});

test('the API describes itself', async () => {
  const document = await client.get<{ openapi: string; paths: object; components: { schemas: object } }>(
    '/v1/openapi.json',
  );
  assert.equal(document.openapi, '3.1.0');
  assert.ok('/v1/tunnel-zones/{ref}' in document.paths);
  for (const kind of KIND_NAMES) {
    assert.ok(`/v1/${KINDS[kind].plural}/{ref}` in document.paths, kind);
    assert.ok(`${kind[0]!.toUpperCase()}${kind.slice(1)}` in document.components.schemas, kind);
  }
});

test('sync waits for hosts that are concerned and alive', async () => {
  const done = await client.get<{ isSynced: boolean; waitingFor: string[] }>('/v1/sync', { query: { timeoutMs: 50 } });
  assert.equal(typeof done.isSynced, 'boolean');
});
