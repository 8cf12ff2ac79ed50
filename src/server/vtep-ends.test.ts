import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { createClient } from './client.ts';
import type { WeftEvent } from './events.ts';
import type { ReportedVtep } from './protocol.ts';
import { startServer } from './server.ts';

const NETWORK = [
  { kind: 'tunnelZone', name: 'dc' },
  { kind: 'host', name: 'h1', zone: 'dc', tunnelAddress: '10.9.0.1' },
  { kind: 'tenant', name: 'acme' },
  { kind: 'switch', tenant: 'acme', name: 'web' },
  {
    ...{ kind: 'vtep', name: 'tor', management: 'tcp:192.0.2.5:6640', physicalPorts: ['p1'] },
    places: [{ host: 'h1' }],
  },
];
const mirror = (name: string, address: string) => ({
  ...{ kind: 'mirror', tenant: 'acme', name, switch: 'web' },
  to: { collector: { address, key: 7 } },
});

test('no mirror is to send copies to where the tunnels of a VTEP end as its database says; of one that does people are told', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'weft-vteps-'));
  const url = `unix:${join(stateDir, 'weft.sock')}`;
  const server = await startServer({ stateDir, listen: [url], log: silentLog });
  const client = createClient({ url });
  const apply = (...objects: readonly object[]): Promise<unknown> => client.post('/v1/apply', { objects });
  const problems = async (): Promise<string[]> => {
    const status = await client.get<{ problems: { about: { kind: string }; text: string }[] }>('/v1/status');
    return status.problems.flatMap(({ about, text }) => (about.kind === 'mirror' ? [text] : []));
  };
  try {
    await apply(...NETWORK, mirror('early', '192.0.2.5'));
    const { id: vtep } = await client.get<{ id: string }>('/v1/vteps/tor');
    const report = (told: Partial<ReportedVtep>): Promise<unknown> =>
      client.post('/v1/hosts/h1/reports', {
        reports: [{ type: 'vteps', vteps: [{ vtep, state: 'connected', ...told }] }],
      });
    assert.deepEqual(await problems(), []);
    await report({ tunnelAddress: '192.0.2.5' });
    await report({ tunnelAddress: '192.0.2.5' });
    const said =
      'mirror acme/early sends copies to 192.0.2.5, where the tunnels of vtep tor end: it may take them for frames of its networks; name another collector';
    assert.deepEqual(await problems(), [said]);
    const { items } = await client.get<{ items: WeftEvent[] }>('/v1/events');
    assert.deepEqual(
      items.filter(({ about }) => about.kind === 'mirror').map(({ text }) => text),
      [said],
      'once',
    );
    // Its database is out of reach: the VTEP is where it was.
    await report({ state: 'unreachable', problem: 'it does not answer' });
    const isRefused = (error: unknown): boolean =>
      error instanceof WeftError && error.code === 'invalid' && /192\.0\.2\.5 is where the tunnels/.test(JSON.stringify(error.details) + error.message); // biome-ignore format: a condition
    await assert.rejects(apply(mirror('late', '192.0.2.5')), isRefused);
    await apply(mirror('late', '192.0.2.6'), mirror('early', '192.0.2.7'));
    assert.deepEqual(await problems(), []);
    await client.request('DELETE', '/v1/vteps/tor');
    await apply(mirror('late', '192.0.2.5'));
  } finally {
    client.close();
    await server.close();
    rmSync(stateDir, { recursive: true });
  }
});
