import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { systemRandom } from '../base/random.ts';
import type { Client } from '../server/client.ts';
import type { Report } from '../server/protocol.ts';
import type { AgentEvent } from './events.ts';
import { ServerLink, type ServerLinkOptions } from './server-link.ts';

/** A link to a server of which only this is there. */
function linkTo(client: Partial<Client>, options: Partial<ServerLinkOptions> = {}): ServerLink {
  return new ServerLink({
    ...{ client: client as Client, host: 'h1', have: () => ({ have: {} }), emit: () => {}, other: () => {} },
    ...{ clock: systemClock, random: systemRandom, log: silentLog, signal: new AbortController().signal },
    ...options,
  });
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test('a transaction with a record that is none is not taken in, and the connection starts anew', async () => {
  const done = new AbortController();
  const messages = [
    { type: 'hello', incarnation: 'i', revision: 1, host: 'h1' },
    { type: 'put', record: { kind: 'tenant', id: 't', revision: 1 } },
    { type: 'put' },
    { type: 'commit', revision: 1 },
  ];
  const events: string[] = [];
  const link = linkTo(
    { stream: (() => messages) as unknown as Client['stream'] },
    {
      emit: ({ kind }) => {
        events.push(kind);
        if (kind === 'serverLost') done.abort();
      },
      signal: done.signal,
    },
  );
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
  const link = linkTo({ post: post as Client['post'] }, { emit: (event) => void events.push(event) });
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
  const link = linkTo(
    { post: post as Client['post'] },
    {
      emit: (event) => void events.push(event),
      clock: { ...systemClock, sleep: async (ms) => void waits.push(ms) },
    },
  );
  link.report([
    { type: 'claims', claims: [] },
    { type: 'applied', revision: 3 },
    { type: 'unclaim', port: 'p' },
  ]);
  await turns(20);
  assert.deepEqual(tries, [
    ['claims', 'applied', 'unclaim'],
    ['claims', 'unclaim'],
    ['claims', 'unclaim'],
  ]);
  assert.deepEqual(waits, [5_000, 5_000]);
  assert.deepEqual(events, []);
});

test('what is to be written stays behind what the server had no room for; other news goes on', async () => {
  const tries: string[][] = [];
  let isFull = true;
  const post = async (_path: string, body: unknown): Promise<unknown> => {
    const { reports } = body as { reports: Report[] };
    tries.push(reports.map((report) => ('port' in report ? `${report.type} ${report.port}` : report.type)));
    const refused = isFull ? reports.map((_, index) => ({ index, code: 'full', message: 'full' })) : [];
    return { refused };
  };
  let wake = (): void => {};
  const sleep = (): Promise<void> => new Promise((resolve) => (wake = resolve));
  const link = linkTo({ post: post as Client['post'] }, { clock: { ...systemClock, sleep } });
  link.report([{ type: 'unclaim', port: 'p' }]);
  await turns(5);
  isFull = false; // a claim of what is claimed already needs no room
  link.report([{ type: 'claim', port: 'p', interface: 'tap0', ofport: 3 } as Report, { type: 'forgotten' } as Report]);
  link.report([{ type: 'activate', port: 'p' }]);
  await turns(5);
  assert.deepEqual(tries, [['unclaim p'], ['forgotten']]);
  wake();
  await turns(5);
  assert.deepEqual(tries.slice(2), [['unclaim p', 'claim p', 'activate p']]);
});

test('a new connection, on which all is told anew, ends the waiting', async () => {
  const tries: string[][] = [];
  const post = async (_path: string, body: unknown): Promise<unknown> => {
    const { reports } = body as { reports: Report[] };
    tries.push(reports.map(({ type }) => type));
    return { refused: tries.length === 1 ? [{ index: 0, code: 'full', message: 'full' }] : [] };
  };
  const wakes: (() => void)[] = [];
  let streams = 0;
  async function* stream(): AsyncGenerator<never> {
    if (streams++ > 0) await new Promise(() => {});
  }
  const link = linkTo(
    { post: post as Client['post'], stream: stream as unknown as Client['stream'] },
    { clock: { ...systemClock, sleep: () => new Promise((resolve) => wakes.push(resolve)) } },
  );
  link.report([{ type: 'unclaim', port: 'p' }]);
  await turns(5);
  void link.run(); // the first stream ends at once, the second goes on
  for (let round = 0; round < 3; round++) {
    await turns(5);
    for (const wake of wakes.splice(0)) wake();
  }
  assert.equal(streams, 2);
  link.report([{ type: 'activate', port: 'p' }]);
  await turns(5);
  assert.deepEqual(tries, [['unclaim'], ['activate']]);
});
