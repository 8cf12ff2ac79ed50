import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_JUMP_DEPTH, MOST_CHAIN_STEPS } from '../model/chain-steps.ts';
import type { Rule } from '../model/objects.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import type { Journey } from '../pipeline/network.fixture.ts';
import { Pipeline } from '../pipeline/pipeline.ts';
import { createCompiler } from './compiler.ts';
import type { InputRecord } from './inputs.ts';
import { PACKET_IN, type Reason, TABLES } from './tables.ts';
import * as example from './testing/example.ts';
import { isMessage } from './testing/messages.ts';
import {
  ALL,
  CASES,
  FRAMES,
  friends,
  from,
  group,
  member,
  type Name,
  net,
  strangers,
  to,
} from './testing/rule-cases.ts';
import { HOSTS, siteNetwork } from './testing/sites.fixture.ts';
import { MOST_SEGMENTS } from './units/chain.ts';

// Everything that a rule of a chain may ask, executed: which of these frames fit it.

function chainNetwork(rules: readonly Rule[], records: readonly InputRecord[] = []): ReturnType<typeof siteNetwork> {
  const chain = example.chain(1);
  const sites = [
    { port: { ...from, fromChain: chain.id }, on: 0, ofport: 1 },
    { port: to, on: 0, ofport: 2 },
  ] as const;
  return siteNetwork([net, friends, strangers, group, member, chain, ...rules, ...records], sites);
}

const send = (network: ReturnType<typeof siteNetwork>, name: Name): Journey =>
  network.send(HOSTS[0].id, 1, FRAMES[name]);

for (const [match, fitting] of CASES)
  test(`what fits ${JSON.stringify(match)}, from a set's or a segment's place too`, () => {
    const chain = example.chain(1);
    // Rules around it show that what does not fit goes on, and that nothing is decided twice.
    const rules = [
      example.rule(1, chain, 10, 'log', { srcSet: strangers.id, etherType: 'ipv6' }),
      example.rule(2, chain, 20, 'drop', match),
      example.rule(3, chain, 21, 'accept', { srcSet: friends.id }),
      example.rule(4, chain, 30, 'accept', {}),
    ];
    const network = chainNetwork(rules);
    for (const name of ALL) {
      const { reasons, delivered } = send(network, name);
      if (reasons.includes('invalid')) continue;
      assert.deepEqual(
        [reasons.includes('rule'), delivered.length],
        fitting.includes(name) ? [true, 0] : [false, 1],
        `${name}: ${reasons}`,
      );
    }
  });

test('what is rejected goes to the agent where there is somebody to tell, and ends there', () => {
  const chain = example.chain(1);
  const network = chainNetwork([example.rule(1, chain, 10, 'reject', {})]);
  const classes = ({ packetIns }: Journey): number[] => packetIns.map(({ userdata }) => userdata[0]!);
  for (const name of ['syn', 'udp', 'syn6'] as const) {
    const journey = send(network, name);
    assert.deepEqual(
      [classes(journey), journey.reasons.at(-1), journey.delivered],
      [[PACKET_IN.reject], 'rejected', []],
    );
  }
  for (const name of ['arp', 'later'] as const) assert.deepEqual(classes(send(network, name)), [], name);
});

test('a rule that names a set that is not there drops everything from there on', () => {
  const chain = example.chain(1);
  const gone = example.addressSet(3, []);
  const network = chainNetwork([example.rule(1, chain, 10, 'accept', { srcSet: gone.id })]);
  assert.deepEqual(send(network, 'syn').reasons.slice(-1), ['rule']);
});

test('jumps by set, nested as deep as they may be, are followed, and deeper ones drop', () => {
  const nested = (length: number): Journey => {
    const chains = Array.from({ length: length + 1 }, (_, i) => example.chain(i + 1));
    const jumps = chains
      .slice(1)
      .map((next, i) => example.rule(i + 1, chains[i]!, 1, 'jump', { srcSet: friends.id }, next));
    const last = example.rule(90, chains.at(-1)!, 1, 'accept', { protocol: 'tcp' });
    return send(chainNetwork([...jumps, last], chains.slice(1)), 'syn');
  };
  const deepest = nested(MAX_JUMP_DEPTH / 2);
  assert.deepEqual([deepest.delivered.length, deepest.results[0]!.result.error], [1, undefined]);
  assert.equal(nested(MAX_JUMP_DEPTH / 2 + 2).reasons.at(-1), 'rule');
});

test('a chain whose start the switch has refused drops everything, and so does a jump to it', () => {
  const [chain, next] = [example.chain(1), example.chain(2)];
  const network = chainNetwork([example.rule(1, chain, 10, 'jump', { protocol: 'tcp' }, next)], [next]);
  const flows = [...network.compilerOf(HOSTS[0].id).flows()];
  const sent = (refused: number | undefined, name: Name): [number, Reason | undefined] => {
    const left = flows.filter(({ table, match }) => table !== TABLES.chainStart.number || match.reg5 !== refused);
    assert.equal(flows.length - left.length, refused === undefined ? 0 : 1);
    const { outputs, steps } = new Pipeline({ flows: left, fragments: 'nxMatch' }).run({
      inPort: 1,
      bytes: FRAMES[name],
    });
    const last = steps.findLast(({ flow }) => flow !== undefined)!.flow!;
    return [outputs.length, network.compilerOf(HOSTS[0].id).explain(last.cookie).reason];
  };
  assert.deepEqual(
    [sent(undefined, 'syn'), sent(undefined, 'udp')],
    [
      [1, undefined],
      [1, undefined],
    ],
  );
  assert.deepEqual(
    [sent(chain.key, 'syn'), sent(chain.key, 'udp')],
    [
      [0, 'rule'],
      [0, 'rule'],
    ],
  );
  assert.deepEqual(
    [sent(next.key, 'syn'), sent(next.key, 'udp')],
    [
      [0, 'rule'],
      [1, undefined],
    ],
  );
});

/** From one host to itself, by a chain whose rules, all but the last, ask for a set and drop, or only log. */
function longChain(length: number, action: 'drop' | 'log'): ReturnType<typeof chainNetwork> {
  const chain = example.chain(1);
  const asks = action === 'drop' ? { srcSet: strangers.id } : {};
  const rules = Array.from({ length: length - 1 }, (_, i) =>
    example.rule(i + 1, chain, i + 1, action, { protocol: 'udp', ...asks }),
  );
  return chainNetwork([...rules, example.rule(length, chain, length, 'accept', {})]);
}

test('the longest chain that the model takes is one that switches take, and follow to its end', () => {
  const network = longChain(MOST_CHAIN_STEPS, 'log');
  for (const flow of network.compilerOf(HOSTS[0].id).flows()) assert.ok(isMessage(flow), formatFlow(flow).slice(0, 80));
  const { delivered, packetIns, results } = send(network, 'udp');
  assert.deepEqual([delivered.length, packetIns.length], [1, MOST_CHAIN_STEPS - 1]);
  assert.equal(results[0]!.result.error, undefined);
});

test('a chain of more parts than fit a flow drops everything, and is reported', () => {
  const longest = longChain(MOST_SEGMENTS, 'log');
  for (const flow of longest.compilerOf(HOSTS[0].id).flows()) assert.ok(isMessage(flow), formatFlow(flow).slice(0, 80));
  assert.equal(send(longest, 'syn').delivered.length, 1);
  for (const action of ['drop', 'log'] as const) {
    const network = longChain(MOST_SEGMENTS + 1, action);
    const compiler = network.compilerOf(HOSTS[0].id);
    for (const flow of compiler.flows()) assert.ok(isMessage(flow), formatFlow(flow).slice(0, 80));
    const { delivered, reasons } = send(network, 'syn');
    assert.deepEqual([delivered, reasons.at(-1)], [[], 'rule'], action);
  }
});

test('a chain that is too long is reported with the chain, once', () => {
  const chain = example.chain(1);
  const rules = Array.from({ length: MOST_SEGMENTS }, (_, i) => example.rule(i + 1, chain, i + 1, 'log', {}));
  const compiler = createCompiler();
  const { problems } = compiler.update([chain, ...rules].map((record) => ({ op: 'put', record })));
  assert.deepEqual(
    problems.map(({ objects }) => objects),
    [[{ kind: 'chain', id: chain.id }]],
  );
  // One rule fewer, and it is followed again.
  const shorter = compiler.update([{ op: 'delete', kind: 'rule', id: rules[0]!.id }]);
  assert.deepEqual(shorter.problems, []);
});
