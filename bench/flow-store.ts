import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StoredConnection } from '../src/flow-database/flow-store.ts';
import { SqliteFlowStore } from '../src/flow-database/sqlite.ts';
import { type Bench, type BenchContext, type Figure, plain } from './bench.ts';

/** What the flow database costs the server for each short connection: it is told once and ends some seconds later. */
export const flowStore: Bench = {
  name: 'flow-store',
  about: 'processor time of the flow database per short connection, in its file and beside it in memory',
  needsRoot: false,
  run,
};

const HOSTS = 2;
/** As agents tell them at some 4,000 connections/s. */
const BATCH = 1_000;
/** So many batches later they end. */
const LASTS = 10;

async function run(context: BenchContext): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-bench-'));
  context.defer(() => rmSync(directory, { recursive: true, force: true }));
  const batches = context.quick ? 20 : 200;
  const figures: Figure[] = [];
  for (const [what, isTranslated] of [
    ['translated', true],
    ['not translated', false],
  ] as const) {
    const path = join(directory, `${isTranslated}.db`);
    context.progress(`connections that are ${what}`);
    const inMemory = await cost(':memory:', batches, isTranslated);
    const inFile = await cost(path, batches, isTranslated);
    figures.push(
      { ...plain(`a connection, ${what}`, inFile, 'µs'), reference: { name: 'in memory', value: inMemory } },
      plain(`file per connection, ${what}`, statSync(path).size / (batches * BATCH), 'bytes'),
    );
    await context.sleep(0);
  }
  return figures;
}

/** Microseconds of processor time per connection. */
async function cost(path: string, batches: number, isTranslated: boolean): Promise<number> {
  const store = new SqliteFlowStore({ path, nowMs: 0 });
  const all = Array.from({ length: batches }, (_, n) =>
    Array.from({ length: BATCH }, (_, m) => connection(n * BATCH + m, isTranslated)),
  );
  const begin = process.cpuUsage();
  for (let n = 0; n < batches + LASTS; n++) {
    const about = { host: `host-${n % HOSTS}`, epoch: 1, atMs: n * 250, heardMs: n * 250 };
    const gone = (all[n - LASTS] ?? []).map(({ key }) => key);
    await store.write({ ...about, put: all[n] ?? [], gone });
  }
  const { user, system } = process.cpuUsage(begin);
  await store.close();
  return (user + system) / (batches * BATCH);
}

function connection(n: number, isTranslated: boolean): StoredConnection {
  const host = `host-${Math.floor(n / BATCH) % HOSTS}`;
  const from = { address: `10.1.0.${n % 200}`, port: 1_024 + (n % 60_000) };
  return {
    key: `${n}-tcp-10.1.0.${n % 200}-203.0.113.9`,
    host,
    port: `01900000-0000-7000-8000-00000000${1_000 + (n % 200)}`,
    tenant: `01900000-0000-7000-8000-00000001${1_000 + (n % 7)}`,
    names: { host, port: `web-${n % 200}`, router: 'edge' },
    direction: 'out',
    protocol: 'tcp',
    ...{ from, to: { address: '203.0.113.9', port: 443 } },
    ...(isTranslated
      ? {
          seenAs: { address: '198.51.100.7', port: 1_024 + (n % 60_000) },
          router: '01900000-0000-7000-8000-000000020000',
        }
      : {}),
    state: 'ESTABLISHED',
    sinceMs: n,
  };
}
