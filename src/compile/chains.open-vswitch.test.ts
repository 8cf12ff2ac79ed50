import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { formatFlow } from '../openflow/text/flow.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import { createCompiler } from './compiler.ts';
import * as example from './testing/example.ts';
import { CASES, FRAMES, friends, from, group, member, type Name, net, strangers, to } from './testing/rule-cases.ts';
import { siteInputs } from './testing/sites.fixture.ts';

// Everything that a rule may ask, in Open vSwitch. Fragments are left out where conntrack, which waits for all of them, is asked.

const skip = OpenVswitchFixture.missing() ?? false;
const PORTS = 3;

describe('rules in Open vSwitch', { skip }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(PORTS);
    ovs.setFragments('nx-match');
  });
  after(() => ovs.stop());

  test('each kind fits what it should', async () => {
    const chain = example.chain(1);
    for (const [match, fitting] of CASES) {
      const compiler = createCompiler();
      const sites = [
        { port: { ...from, fromChain: chain.id }, on: 0, ofport: 1 },
        { port: to, on: 0, ofport: 2 },
      ] as const;
      const rules = [example.rule(1, chain, 20, 'drop', match), example.rule(2, chain, 30, 'accept', {})];
      const inputs = siteInputs([net, friends, strangers, group, member, chain, ...rules], sites, 0);
      compiler.update(
        inputs.map((record) => ({
          op: 'put',
          record: record.kind === 'self' ? { ...record, tunnelPorts: { geneve: PORTS } } : record,
        })),
      );
      ovs.setFlows([...compiler.flows()].map(formatFlow));
      await ovs.control('revalidator/purge');
      await ovs.control('dpctl/flush-conntrack');
      const isTracked = match.state !== undefined;
      for (const name of Object.keys(FRAMES) as Name[]) {
        if (isTracked && ['first', 'later', 'synAck'].includes(name)) continue;
        const arrived = [...(await ovs.receive(1, FRAMES[name])).keys()];
        assert.deepEqual(arrived, fitting.includes(name) ? [] : [2], `${JSON.stringify(match)}: ${name}`);
      }
    }
  });
});
