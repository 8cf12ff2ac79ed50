import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { seededRandom } from '../base/random.ts';
import { formatFlow, parseFlow } from '../openflow/text/flow.ts';
import { decodePacket } from '../packet/packet.ts';
import { applyDatapath, type Delivered, headersOf } from './datapath.fixture.ts';
import { groupText } from './group-text.fixture.ts';
import { OpenVswitchFixture } from './open-vswitch.fixture.ts';
import { createPipeline } from './pipeline.ts';
import { Generator, PORTS } from './random-tables.fixture.ts';
import type { Result } from './result.ts';

const [TABLE_SETS, PACKETS] = process.env.WEFT_CAMPAIGN ? [400, 50] : [12, 25];
const skip = OpenVswitchFixture.missing() ?? false;

describe('the executor and Open vSwitch', { skip }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(PORTS);
  });
  after(() => ovs.stop());

  test('mean the same by the text of a dump', () => {
    const flows = new Generator(seededRandom(5)).flows();
    ovs.setFlows(flows.map(formatFlow), new Generator(seededRandom(5)).groups().map(groupText));
    const dumped = ovs.dumpFlows();
    assert.equal(dumped.length, flows.length);
    for (const line of dumped) {
      const plain = line.trim().replace(/ (duration|n_packets|n_bytes|idle_age|hard_age)=[^ ]*,/g, '');
      assert.equal(formatFlow(parseFlow(line)), plain);
    }
  });

  test('do the same to random packets in random tables', async () => {
    const seed = Number(process.env.WEFT_SEED ?? 1);
    for (let set = 0; set < TABLE_SETS; set++) {
      const generator = new Generator(seededRandom(seed * 1000 + set));
      const [flows, groups] = [generator.flows(), generator.groups()];
      ovs.setFlows(flows.map(formatFlow), groups.map(groupText));
      const ports = Array.from({ length: PORTS }, (_, i) => i + 1);
      const pipeline = createPipeline({ flows, groups, ports });
      for (let n = 0; n < PACKETS; n++) {
        const [bytes, inPort] = [generator.packet(), 1 + (n % PORTS)];
        const { actions, text } = await ovs.trace(inPort, bytes);
        const theirs = applyDatapath(actions, bytes, (port) => ovs.openflowPort(port));
        const result = pipeline.run({ bytes, inPort });
        assert.deepEqual(
          delivered(result),
          sorted(theirs),
          `seed ${seed}, set ${set}, packet ${n} (${Buffer.from(bytes).toString('hex')})\n${text}`,
        );
        for (const output of result.outputs) decodePacket(output.bytes, { verifyChecksums: true });
      }
    }
  });
});

/** Packets for controllers and for ports leave by different ways: only the order within each is the same. */
function sorted(all: readonly Delivered[]): Delivered[] {
  const toController = (one: Delivered): boolean => one.to.startsWith('controller');
  return [...all.filter((one) => !toController(one)), ...all.filter(toController)];
}

function delivered(result: Result): Delivered[] {
  return [
    ...result.outputs.map(({ port, bytes }) => ({ to: `${port}`, headers: headersOf(bytes) })),
    ...result.packetIns.map(({ reason, bytes }) => ({ to: `controller:${reason}`, headers: headersOf(bytes) })),
  ];
}
