import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { ModelIndex } from '../model/model-index.ts';
import type { Binding } from '../model/objects.ts';
import type { ServerContext } from './context.ts';
import { importFrom } from './imports.ts';
import type { RelayedAnswer } from './relay.ts';

const PORT = 'p1';
const CLAIMS = ['here', 'there'].map((host) => ({ host, interface: 'if0', claimedAt: 0 }));

/** The agent of the other host begins its answer after so long, unless it is given up. */
function asked(active: string, answersAfterMs: number): Promise<RelayedAnswer | object> {
  const index = new ModelIndex();
  index.put({ kind: 'binding', id: PORT, revision: 1, claims: CLAIMS, active } as unknown as Binding);
  const relay = {
    ask: async (_host: string, _request: object, signal: AbortSignal): Promise<RelayedAnswer> => {
      await sleep(answersAfterMs, undefined, { signal }).catch(() => {
        throw new WeftError('aborted', 'the caller gave up');
      });
      return { status: 200, type: 'application/json', body: Readable.from([]) };
    },
  };
  const flows = { list: async () => [] };
  const context = { state: { index }, relay, flows, log: silentLog } as unknown as ServerContext;
  return importFrom(context, 'here', PORT, 'there', new AbortController().signal);
}

test('who asks ahead of a move has time: with thousands of connections a reading takes its own', async () => {
  assert.equal('status' in (await asked('there', 800)), true);
});

test('a workload that has moved already does not wait for it: the flow database has to do', async () => {
  assert.deepEqual(await asked('here', 800), { connections: [] });
});

test('a host without an interface of the port is told nothing', async () => {
  await assert.rejects(
    importFrom(
      { state: { index: new ModelIndex() } } as unknown as ServerContext,
      ...(['elsewhere', PORT, 'there', new AbortController().signal] as const),
    ),
    { code: 'denied' },
  );
});
