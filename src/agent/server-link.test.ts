import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { systemRandom } from '../base/random.ts';
import type { Client } from '../server/client.ts';
import type { Report } from '../server/protocol.ts';
import type { AgentEvent } from './events.ts';
import { ServerLink } from './server-link.ts';

test('a transaction with a record that is none is not taken in, and the connection starts anew', async () => {
  const done = new AbortController();
  const messages = [
    { type: 'hello', incarnation: 'i', revision: 1, host: 'h1' },
    { type: 'put', record: { kind: 'tenant', id: 't', revision: 1 } },
    { type: 'put' },
    { type: 'commit', revision: 1 },
  ];
  const events: string[] = [];
  const link = new ServerLink({
    client: { stream: () => messages } as unknown as Client,
    host: 'h1',
    have: () => ({ have: {} }),
    emit: ({ kind }) => {
      events.push(kind);
      if (kind === 'serverLost') done.abort();
    },
    other: () => {},
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    signal: done.signal,
  });
  await link.run();
  assert.deepEqual(events, ['serverHello', 'serverLost']);
});

test('a report that the server does not understand is refused alone; those that came with it count', async () => {
  const taken: Report[] = [];
  const post = async (_path: string, body: unknown): Promise<unknown> => {
    const { reports } = body as { reports: Report[] };
    if (reports.some((report) => report.type === 'health')) throw new WeftError('invalid', 'health: unknown field');
    taken.push(...reports);
    return { refused: [] };
  };
  const events: AgentEvent[] = [];
  const link = new ServerLink({
    client: { post } as unknown as Client,
    host: 'h1',
    have: () => ({ have: {} }),
    emit: (event) => void events.push(event),
    other: () => {},
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    signal: new AbortController().signal,
  });
  const health = { type: 'health' } as Report;
  link.report([{ type: 'claims', claims: [] }, health, { type: 'applied', revision: 3 }]);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(taken, [
    { type: 'claims', claims: [] },
    { type: 'applied', revision: 3 },
  ]);
  assert.deepEqual(events, [
    { kind: 'reportRefused', report: health, code: 'invalid', message: 'health: unknown field' },
  ]);
});

test('what the server had no room for is told again after a while, in its order, and the connection stays', async () => {
  const tries: string[][] = [];
  const post = async (_path: string, body: unknown): Promise<unknown> => {
    const { reports } = body as { reports: Report[] };
    tries.push(reports.map(({ type }) => type));
    if (tries.length > 2) return { refused: [] };
    const refused = reports.flatMap(({ type }, index) =>
      type === 'applied' ? [] : [{ index, code: 'full', message: 'full' }],
    );
    return { refused };
  };
  const events: AgentEvent[] = [];
  const waits: number[] = [];
  const link = new ServerLink({
    client: { post } as unknown as Client,
    host: 'h1',
    have: () => ({ have: {} }),
    emit: (event) => void events.push(event),
    other: () => {},
    clock: { ...systemClock, sleep: async (ms) => void waits.push(ms) },
    random: systemRandom,
    log: silentLog,
    signal: new AbortController().signal,
  });
  link.report([
    { type: 'claims', claims: [] },
    { type: 'applied', revision: 3 },
    { type: 'unclaim', port: 'p' },
  ]);
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(tries, [
    ['claims', 'applied', 'unclaim'],
    ['claims', 'unclaim'],
    ['claims', 'unclaim'],
  ]);
  assert.deepEqual(waits, [5_000, 5_000]);
  assert.deepEqual(events, []);
});
