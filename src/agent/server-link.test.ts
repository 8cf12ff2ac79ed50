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
