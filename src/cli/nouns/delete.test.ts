import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { WeftError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { type Client, createClient } from '../../server/client.ts';
import { type RunningServer, startServer } from '../../server/server.ts';
import type { Session } from '../session.ts';
import { remove } from './delete.ts';

const ID = '10420000-0000-4000-8000-000000000001';
const rule = (tenant: string, chain: string) => ({
  ...{ kind: 'rule', tenant, name: 'ssh', chain },
  ...{ position: 10, action: 'accept' },
});
const OBJECTS = ['acme', 'beta'].flatMap((tenant) => [
  { kind: 'tenant', name: tenant },
  { kind: 'switch', tenant, name: 'lan' },
  { kind: 'chain', tenant, name: 'in' },
  { kind: 'chain', tenant, name: 'out' },
  rule(tenant, 'in'),
  rule(tenant, 'out'),
]);
const PORT = { kind: 'port', tenant: 'beta', name: 'web', switch: 'lan', id: ID };

let directory: string;
let server: RunningServer;
let client: Client;
before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'weft-delete-'));
  const listen = [`unix:${join(directory, 'weft.sock')}`];
  server = await startServer({ stateDir: directory, listen, log: silentLog });
  client = createClient({ url: server.urls[0]! });
});
after(async () => {
  client.close();
  await server.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => client.post('/v1/apply', { objects: [...OBJECTS, PORT] }));

const session = (tenant?: string, isTenantTyped = false): Session => ({
  ...{ client, context: { server: server.urls[0]! }, tenant, isTenantTyped },
});
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => (error instanceof WeftError ? error.code : String(error)),
  );
const typed = (words: string[], by: Session) => codeOf(remove(words, { file: [] }, by));
const inFile = (objects: readonly object[], by: Session): Promise<string> => {
  const path = join(directory, 'objects.json');
  writeFileSync(path, JSON.stringify(objects));
  return codeOf(remove([], { file: [path] }, by));
};

test('the beginning of an id deletes where it is typed without a tenant, and nowhere else', async () => {
  assert.equal(await typed(['port', '1042'], session('acme', true)), 'not-found');
  assert.equal(await typed(['port', '1042'], session('beta', true)), 'not-found');
  assert.equal(await typed(['port', 'beta/1042'], session()), 'not-found');
  assert.equal(await typed(['port', '1042'], session('acme')), 'not-found');
  assert.equal(await inFile([{ kind: 'port', name: '1042' }], session()), 'not-found');
  for (const query of [{}, { tenant: 'beta' }])
    assert.equal(await codeOf(client.request('DELETE', '/v1/ports/1042', { query })), 'not-found');
  assert.equal(await typed(['port', '1042'], session()), 'ok');
});

test('a file names the rule of its own tenant and chain, or the object of its id', async () => {
  const left = async (): Promise<string[]> => {
    const { items } = await client.get<{ items: Record<string, string>[] }>('/v1/rules', { query: { names: true } });
    return items.map(({ tenant, chain }) => `${tenant}/${chain}`).toSorted();
  };
  assert.equal(await inFile([rule('acme', 'out')], session()), 'ok');
  assert.deepEqual(await left(), ['acme/in', 'beta/in', 'beta/out']);
  assert.equal(await inFile([rule('acme', 'out')], session('beta')), 'not-found');
  const { tenant: _ofSession, ...unowned } = rule('acme', 'out');
  assert.equal(await inFile([unowned], session('beta')), 'ok');
  assert.deepEqual(await left(), ['acme/in', 'beta/in']);
  assert.equal(await inFile([rule('acme', 'acme/in')], session()), 'ok');
  const chain = await client.get<{ id: string }>('/v1/chains/beta%2Fin');
  assert.equal(await inFile([rule('beta', chain.id)], session()), 'ok');
  assert.deepEqual(await left(), []);
  const { chain: _none, ...homeless } = rule('acme', 'in');
  assert.equal(await inFile([homeless], session()), 'invalid');
  assert.equal(await inFile([{ kind: 'port', tenant: 'acme', name: 'other', id: ID }], session()), 'ok');
  assert.equal(await codeOf(client.get(`/v1/ports/${ID}`)), 'not-found');
});

test('a kind alone is asked back for', async () => {
  await assert.rejects(remove(['ports'], { file: [] }, session()), /which port\? 'weft get ports' lists them/);
});
