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

/** The agent of the other host begins its answer after so long, unless it is given up; meanwhile the port may move. */
function asked(
  active: string,
  answersAfterMs: number,
  paths: string[] = [],
  moved?: string,
  does: (path: string) => 'answers' | 'busy' = () => 'answers',
): Promise<RelayedAnswer | object> {
  const index = new ModelIndex();
  const bind = (host: string): void =>
    void index.put({ kind: 'binding', id: PORT, revision: 1, claims: CLAIMS, active: host } as unknown as Binding);
  bind(active);
  const relay = {
    ask: async (_host: string, request: { path: string }, signal: AbortSignal): Promise<RelayedAnswer> => {
      paths.push(request.path);
      if (moved !== undefined) bind(moved);
      await sleep(answersAfterMs, undefined, { signal }).catch(() => {
        throw new WeftError('aborted', 'the caller gave up');
      });
      return { status: does(request.path) === 'busy' ? 503 : 200, type: 'application/json', body: Readable.from([]) };
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

test('the agent hears whether the workload has moved, and how long it is waited for', async () => {
  const paths: string[] = [];
  await asked('there', 0, paths);
  await asked('here', 0, paths);
  assert.deepEqual(paths, ['/connections?port=p1&withinMs=1500&ahead', '/connections?port=p1&withinMs=400']);
});

test('where the workload has moved meanwhile the agent is asked again at once, and its first answer is taken', async () => {
  const paths: string[] = [];
  assert.equal('status' in (await asked('there', 0, paths, 'here')), true);
  assert.equal(paths.length, 1, 'it has answered already');
  paths.length = 0;
  const beganMs = performance.now();
  assert.equal('status' in (await asked('there', 200, paths, 'here')), true);
  assert.ok(performance.now() - beganMs < 1_000);
  assert.deepEqual(
    paths.map((path) => path.endsWith('&ahead')),
    [true, false],
  );
  // What waits ahead of a move there does not, when it is asked for as one that has moved.
  paths.length = 0;
  const answer = await asked('there', 200, paths, 'here', (path) => (path.endsWith('&ahead') ? 'busy' : 'answers'));
  assert.equal('status' in answer && answer.status, 200);
  const none = await asked('there', 200, paths, 'here', () => 'busy');
  assert.deepEqual(none, { connections: [] });
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
