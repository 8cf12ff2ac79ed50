import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { WeftError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { type Client, createClient } from '../client.ts';
import { type RunningServer, startServer } from '../server.ts';
import type { PeopleWatchMessage } from './status.ts';

let directory: string;
let server: RunningServer;
let client: Client;
before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'weft-status-'));
  const listen = [`unix:${join(directory, 'weft.sock')}`];
  server = await startServer({ stateDir: directory, listen, log: silentLog });
  client = createClient({ url: server.urls[0]! });
});
after(async () => {
  client.close();
  await server.close();
  rmSync(directory, { recursive: true });
});

test('a watch from a revision that the store has not reached is refused as one that is gone', async () => {
  await client.post('/v1/tenants', { name: 'acme' });
  const { revision } = (await client.request<object>('GET', '/v1/tenants/acme')) as { revision: number };
  const from = (after: number) => client.stream<PeopleWatchMessage>('GET', '/v1/watch', { query: { after } });
  await assert.rejects(from(revision + 1).next(), (error) => {
    assert.ok(error instanceof WeftError);
    assert.deepEqual([error.code, /list everything again/.test(error.message)], ['compacted', true]);
    return true;
  });
  const stream = from(revision);
  await client.post('/v1/tenants', { name: 'beta' });
  const { value } = await stream.next();
  assert.equal(value?.type, 'put');
  await stream.return();
});

test('a watch begins with a model of more than 32 MiB, and goes on', { timeout: 60_000 }, async () => {
  const labels = Object.fromEntries(Array.from({ length: 4000 }, (_, i) => [`l${i}`, 'x'.repeat(250)]));
  const count = Math.ceil((34 * 1024 * 1024) / (4000 * 250));
  const objects = Array.from({ length: count }, (_, i) => ({ kind: 'tenant', name: `t${i}`, labels }));
  for (let at = 0; at < count; at += 10) await client.post('/v1/apply', { objects: objects.slice(at, at + 10) });
  const stream = client.stream<PeopleWatchMessage>('GET', '/v1/watch');
  const seen = new Set<string>();
  const upTo = async (name: string): Promise<void> => {
    for await (const message of { [Symbol.asyncIterator]: () => ({ next: () => stream.next() }) }) {
      if (message.type === 'put') seen.add(String(message.object.name));
      if (seen.has(name)) return;
    }
    assert.fail('the stream ended');
  };
  await upTo(`t${count - 1}`);
  assert.ok(seen.size >= count);
  await client.post('/v1/tenants', { name: 'last' });
  await upTo('last');
  await stream.return();
});
