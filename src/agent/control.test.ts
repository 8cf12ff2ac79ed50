import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { seededRandom } from '../base/random.ts';
import { createCompiler } from '../compile/compiler.ts';
import type { PortAsk } from './connections/of-port.ts';
import { answerControl, type ControlOptions } from './control.ts';
import { AgentCore } from './core.ts';
import type { SwitchLink } from './switch-link.ts';

const compiler = createCompiler();
const options: ControlOptions = {
  core: new AgentCore(compiler, { agentVersion: 'test', nowMs: 0, random: seededRandom(1) }),
  compiler,
  link: {} as SwitchLink,
  bridge: 'br-int',
  vswitchdControl: () => '/nowhere',
  connectionsOf: () => Promise.resolve([]),
  copies: () => ({ told: 0, held: 0 }),
};

test('no request, however wrong, is more than an answer', async () => {
  const { signal } = new AbortController();
  const wrong: [method: string, path: string, body: string][] = [
    ['GET', '//[', ''],
    ['GET', '', ''],
    ['POST', '/trace', 'null'],
    ['POST', '/trace', '5'],
    ['POST', '/trace', '{"frame":5}'],
    ['POST', '/trace', '{"frame":"zz"}'],
    ['POST', '/trace', '{"frame":"00","tunnel":{"encap":"vxlan"}}'],
    ['POST', '/trace', '{'],
    ['GET', '/doctor', ''],
    ['GET', '/capture?port=none', ''],
    ['GET', '/explain?cookie=%00', ''],
  ];
  for (const [method, path, body] of wrong) {
    const answer = await answerControl(options, method, path, body, signal);
    assert.ok(answer.status >= 400, `${method} ${path} ${body}: ${answer.status}`);
  }
});

test('who asks for connections ahead of a move, or waits no longer, is known to be', async () => {
  const asks: PortAsk[] = [];
  const asking: ControlOptions = {
    ...options,
    connectionsOf: async (_port, ask) => {
      asks.push(ask);
      if (!ask.signal!.aborted) await once(ask.signal!, 'abort', { signal: AbortSignal.timeout(5_000) });
      throw new WeftError('aborted', 'given up');
    },
  };
  const gone = new AbortController();
  const answers = [
    await answerControl(asking, 'GET', '/connections?port=p&withinMs=20&ahead', '', gone.signal),
    ...(await Promise.all([
      answerControl(asking, 'GET', '/connections?port=p', '', gone.signal),
      answerControl(asking, 'GET', '/connections?port=p&withinMs=1e99', '', gone.signal),
      Promise.resolve(gone.abort()).then(() => answerControl(asking, 'GET', '/connections', '', gone.signal)),
    ])),
  ];
  assert.deepEqual(
    answers.map(({ status }) => status),
    [503, 503, 503, 503],
  );
  assert.deepEqual(
    asks.map(({ urgency }) => urgency),
    ['ahead', 'now', 'now', 'now'],
  );
});

test('a filter that tcpdump does not take is refused before anything is captured, and what cannot be shown of it is escaped', async () => {
  const core = { interfaces: { get: () => ({ name: 'lo' }) } } as unknown as AgentCore;
  const filter = encodeURIComponent('tcp bogus \u001b[2J');
  const { signal } = new AbortController();
  const { status, body } = await answerControl({ ...options, core }, 'GET', `/capture?filter=${filter}`, '', signal);
  assert.equal(status, 400);
  assert.match(String(body), /tcp bogus \\+u001b\[2J: no filter of tcpdump \(/);
});
