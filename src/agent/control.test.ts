import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../base/random.ts';
import { createCompiler } from '../compile/compiler.ts';
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
