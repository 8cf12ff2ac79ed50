import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { seededRandom } from '../base/random.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { groupText } from './group-text.fixture.ts';
import { OpenVswitchFixture } from './open-vswitch.fixture.ts';
import { createPipeline } from './pipeline.ts';
import { Generator, PORTS } from './random-tables.fixture.ts';
import type { Result } from './result.ts';

const [TABLE_SETS, PACKETS] = process.env.WEFT_CAMPAIGN ? [200, 50] : [6, 20];
const skip = OpenVswitchFixture.missing() ?? false;
const PORT_LIST = Array.from({ length: PORTS }, (_, i) => i + 1);

describe('frames that leave', { skip }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(PORTS);
  });
  after(() => ovs.stop());

  test('are byte for byte those of Open vSwitch, from random tables', async () => {
    const seed = Number(process.env.WEFT_SEED ?? 1);
    for (let set = 0; set < TABLE_SETS; set++) {
      const generator = new Generator(seededRandom(seed * 7919 + set));
      const [flows, groups] = [generator.flows(), generator.groups()];
      ovs.setFlows(flows.map(formatFlow), groups.map(groupText));
      await ovs.control('revalidator/purge');
      const pipeline = createPipeline({ flows, groups, ports: PORT_LIST });
      for (let n = 0; n < PACKETS; n++) {
        const [bytes, inPort] = [generator.packet(), 1 + (n % PORTS)];
        const theirs = await ovs.receive(inPort, bytes);
        const where = `seed ${seed}, set ${set}, packet ${n}, port ${inPort}: ${Buffer.from(bytes).toString('hex')}`;
        assert.deepEqual(framesOf(pipeline.run({ bytes, inPort })), theirs, where);
      }
    }
  });
});

function framesOf(result: Result): Map<number, string[]> {
  const out = new Map<number, string[]>();
  for (const port of PORT_LIST) {
    const frames = result.outputs.filter((output) => output.port === port);
    if (frames.length > 0)
      out.set(
        port,
        frames.map(({ bytes }) => Buffer.from(bytes).toString('hex')),
      );
  }
  return out;
}
