import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Rule } from '../model/objects.ts';
import type { Journey } from '../pipeline/network.fixture.ts';
import type { InputRecord } from './inputs.ts';
import { PACKET_IN } from './tables.ts';
import * as example from './testing/example.ts';
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
import { MAX_JUMP_DEPTH } from './units/chain.ts';

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
